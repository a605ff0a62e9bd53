"""A model behind the methods of TensorFlow Lite's interpreter: the class, its backends, and batches of inputs."""

from tinygen.interpreter.interpreter import BACKENDS, Interpreter

__all__ = ["BACKENDS", "Interpreter"]
