from atari_dqn import tensorflow_setup

# Once, before any test module imports TensorFlow by itself.
tensorflow_setup.start()
