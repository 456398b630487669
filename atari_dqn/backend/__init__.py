"""TensorFlow, Keras, OpenCV and the machine: what would be the same for any other network."""
