"""tinygen: int8 models in, static-memory C out, checked byte for byte.

model = tinygen.read(Path("kws.tflite"))
built = tinygen.build(model, "qemu-mps2-an386", name="kws")
tinygen.write(built.files, Path("out"))
tensors = tinygen.evaluate(model.graph, [features])     # the numpy reference: every tensor by name

interpreter = tinygen.Interpreter("kws.tflite")         # the generated C, behind tf.lite.Interpreter's methods
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tinygen.version import VERSION as __version__

if TYPE_CHECKING:
    from tinygen.errors import TinygenError
    from tinygen.interpreter import Interpreter
    from tinygen.options import Options
    from tinygen.output import write
    from tinygen.pipeline import Build, Model, build, read
    from tinygen.reference import evaluate

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

_HOMES = {
    "Build": "pipeline",
    "Interpreter": "interpreter",
    "Model": "pipeline",
    "Options": "options",
    "TinygenError": "errors",
    "build": "pipeline",
    "evaluate": "reference",
    "read": "pipeline",
    "write": "output",
}


def __getattr__(name: str) -> object:
    """What is imported when it is first asked for: the command line should start at once, and end at Ctrl-C."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"tinygen.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
