"""tinygen: int8 models in, static-memory C out, checked byte for byte.

model = tinygen.read(Path("kws.tflite"))
built = tinygen.build(model, "qemu-mps2-an386", name="kws")
tinygen.write(built.files, Path("out"))
tensors = tinygen.evaluate(model.graph, [features])     # the numpy reference: every tensor by name

interpreter = tinygen.Interpreter("kws.tflite")         # the generated C, behind tf.lite.Interpreter's methods
"""

from tinygen.errors import TinygenError
from tinygen.interpreter import Interpreter
from tinygen.options import Options
from tinygen.output import write
from tinygen.pipeline import Build, Model, build, read
from tinygen.reference import evaluate
from tinygen.version import VERSION as __version__

__all__ = [
    "Build",
    "Interpreter",
    "Model",
    "Options",
    "TinygenError",
    "__version__",
    "build",
    "evaluate",
    "read",
    "write",
]
