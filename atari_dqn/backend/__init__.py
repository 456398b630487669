"""TensorFlow, Keras, OpenCV and the machine: code that does not depend on the network."""
