"""A model behind the methods of TensorFlow Lite's interpreter, so that scripts which evaluate models run unchanged.

interpreter = tinygen.Interpreter(model_path="kws.tflite")      # instead of tf.lite.Interpreter
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], features)
interpreter.invoke()
scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from rich.console import Console

from tinygen import board as boards
from tinygen import output, pipeline
from tinygen.errors import CallError, NotReady
from tinygen.goal import Goal
from tinygen.importers import tflite
from tinygen.importers.tflite_file import RawSignature
from tinygen.interpreter import parallel
from tinygen.interpreter.arrays import conversion, results_of, steps_of
from tinygen.interpreter.backend import Backend, BoardBackend, CBackend, ReferenceBackend, compiled, read_reference
from tinygen.interpreter.details import Details, ModelTensors, mismatch
from tinygen.ir import Array, Tensor
from tinygen.options import Options
from tinygen.report.progress import progress_on

BACKENDS = ("c", "reference", "board")
"""The generated C, optimised for this machine; numpy; a board over its serial port."""


class Interpreter:
    """Runs a .tflite model with tinygen's arithmetic.

    Methods, tensor indices, dictionaries and kinds of exceptions are those of tf.lite.Interpreter. Besides, it is a
    context manager, has close(), and invoke_batch() for many inputs. What it compiled, and an emulator that it
    started, last until it is closed or collected.

    Different from TensorFlow Lite: tensors cannot be resized, only inputs can be set, inputs are zero until they are
    set, and get_tensor() refuses what it does not know instead of returning what happens to be in memory.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        model_content: bytes | None = None,
        experimental_delegates: Sequence[object] | None = None,
        num_threads: int | None = None,
        experimental_op_resolver_type: object = None,
        experimental_preserve_all_tensors: bool = False,
        *,
        backend: str = "c",
        board: str | None = None,
        port: str | None = None,
        out: str | os.PathLike[str] | None = None,
        options: Options | None = None,
        optimize: str = "balanced",
    ) -> None:
        """Read a model: the file `model_path`, or the bytes `model_content` of one.

        `backend` is one of BACKENDS. For "board", `board` is a board's name or TOML file, `port` its serial port where
        it is not found by itself, and `out` the folder of the project, kept; by default a temporary one. `options`
        are those of tinygen.read, `optimize` that of tinygen.build. With `experimental_preserve_all_tensors`,
        get_tensor() knows the results of all layers; of "reference", it always does. Nothing else changes:
        `num_threads` and `experimental_op_resolver_type` are there for scripts that give them.

        Raises CallError, which is a ValueError, for arguments that cannot be; InvalidModel, UnsupportedModel.
        """
        _check_threads(num_threads)
        if experimental_delegates:
            raise CallError("delegates cannot be used: the generated C computes everything", "Leave them out.")
        _check_backend(backend, board, port, out)
        read = _read(model_path, model_content, options)
        # Who asks for all tensors gets all of their channels.
        self._model = dataclasses.replace(read, graph=read.whole) if experimental_preserve_all_tensors else read
        file = tflite.view(self._model.data, self._model.file)
        self._tensors = ModelTensors(self._model.whole, file.tensors, file.indices)
        self._signatures = {signature.key: signature for signature in file.signatures}
        self._backend_name = backend
        self._board, self._port, self._out = board, port, out
        self._optimize = optimize
        self._keep = experimental_preserve_all_tensors
        self._inputs: dict[str, Array] = {}
        self._values: Mapping[str, Array] = {}
        self._backend: Backend | None = None
        self._make: parallel.Maker | None = None
        self._held = contextlib.ExitStack()
        self._finalizer = weakref.finalize(self, self._held.close)

    # --- as tf.lite.Interpreter -------------------------------------------------------------------------------------

    def allocate_tensors(self) -> None:
        """Make ready: compile the C, or build, flash and greet the board. Does nothing the second time.

        Raises ToolError; DoesNotFit, LinkError and BoardError with a board.
        """
        if not self._finalizer.alive:
            raise NotReady("the interpreter is closed", "Make a new one.")
        if self._backend is None:
            with contextlib.ExitStack() as stack:
                self._backend = self._open(stack)
                self._held.push(stack.pop_all())
            self._inputs = {name: np.zeros(tensor.shape, tensor.dtype) for name, tensor in self._input_tensors()}

    def get_input_details(self) -> list[Details]:
        """A dictionary for each input: name, index, shape, shape_signature, dtype, quantization, ..."""
        return [self._tensors.details(self._tensors.index(name)) for name in self._model.graph.inputs]

    def get_output_details(self) -> list[Details]:
        """The same for each output."""
        return [self._tensors.details(self._tensors.index(name)) for name in self._model.graph.outputs]

    def get_tensor_details(self, subgraph_index: int = 0) -> list[Details]:
        """The same for all tensors of the file."""
        if subgraph_index != 0:
            raise CallError(f"subgraph_index is out of range: {subgraph_index}", "Only subgraph 0 is run.")
        return [self._tensors.details(index) for index in range(len(self._tensors))]

    def set_tensor(self, tensor_index: int, value: npt.ArrayLike) -> None:
        """Copy `value` into an input. Raises CallError where shape or dtype are not exactly its own."""
        name, array = self._input(tensor_index), np.asarray(value)
        tensor = self._model.graph.tensors[name]
        if name not in self._inputs:
            raise CallError("Cannot set tensor: Tensor is unallocated. Try calling allocate_tensors() first")
        wrong = mismatch(array, tensor, self._model.graph.inputs.index(name))
        if wrong:
            raise CallError(f"Cannot set tensor: {wrong}", conversion(array, tensor))
        self._inputs[name][...] = array

    def get_tensor(self, tensor_index: int, subgraph_index: int = 0) -> Array:
        """A copy of an input, a constant, an output of the last invoke(), or another tensor where it is kept.

        Raises CallError for all others.
        """
        if subgraph_index != 0:
            raise CallError(f"there is no subgraph {subgraph_index} to read from", "Only subgraph 0 is run.")
        return self._value(tensor_index).copy()

    def tensor(self, tensor_index: int) -> Callable[[], Array]:
        """A function that gives the tensor itself: writing to an input's array sets it."""
        return lambda: self._value(tensor_index)

    def invoke(self) -> None:
        """Run the model on the inputs. Raises NotReady, which is a RuntimeError, before allocate_tensors()."""
        backend = self._ready()
        # Copies, because what the reference computes may be a view of its inputs.
        self._values = backend.run([self._inputs[name].copy() for name in self._model.graph.inputs])

    def reset_all_variables(self) -> None:
        """Give all variables their first values: those of layers with a memory, and those of VAR_HANDLE."""
        self._ready().reset()

    def resize_tensor_input(self, input_index: int, tensor_size: Sequence[int], strict: bool = False) -> None:
        """Accept the shape that the input has. Raises CallError for any other: all memory is planned beforehand."""
        tensor = self._model.graph.tensors[self._input(input_index)]
        if tuple(tensor_size) != tensor.shape:
            raise CallError(
                f"input {tensor.name!r} cannot be resized from {list(tensor.shape)} to {list(tensor_size)}: "
                "the generated C has one shape",
                "Give inputs one by one, many to invoke_batch(), or options=Options(batch=2) to the constructor.",
            )

    def num_subgraphs(self) -> int:
        """How many subgraphs can be asked about: the one that is run."""
        return 1

    def get_signature_list(self) -> dict[str, dict[str, list[str]]]:
        """The names of inputs and outputs, by signature."""
        return {
            key: {"inputs": list(signature.inputs), "outputs": list(signature.outputs)}
            for key, signature in self._signatures.items()
        }

    def get_signature_runner(self, signature_key: str | None = None) -> SignatureRunner:
        """A function of inputs by name to outputs by name; the key may be left out where there is one signature."""
        if signature_key is None:
            if len(self._signatures) != 1:
                raise CallError(
                    f"SignatureDef signature_key is None and model has {len(self._signatures)} Signatures. "
                    "None is only allowed when the model has 1 SignatureDef"
                )
            signature_key = next(iter(self._signatures))
        if signature_key not in self._signatures:
            raise CallError(f'Invalid signature_key provided: "{signature_key}".')
        return SignatureRunner(self, self._signatures[signature_key])

    # --- more than that ---------------------------------------------------------------------------------------------

    def invoke_batch(
        self,
        inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        *,
        lengths: Sequence[int] | None = None,
        processes: int | None = None,
        progress: bool = True,
    ) -> Any:
        """Run the model on many inputs, in several processes.

        `inputs` has a leading axis of samples, before the input's own shape or in place of its first dimension of 1;
        of a model with several inputs, it is such an array for each, by name. Outputs likewise: an array of
        (samples, *shape), where a first dimension of 1 is left out; a dictionary by name where `inputs` is one, or the
        model has several outputs.

        In a model with variables, samples are consecutive steps, from a reset on. `lengths` divides them into sequences
        with a reset before each; sequences run in parallel, steps do not. Afterwards, the variables are reset.

        `processes` is by default as many as there are processors, where it takes more than seconds; a board runs
        everything itself. With `progress`, a terminal shows how far it is. Calls allocate_tensors().

        Raises CallError for arrays that do not fit, ToolFailed where a process ends before it is done.
        """
        self.allocate_tensors()
        backend, graph = self._ready(), self._model.graph
        steps = steps_of(graph, inputs)
        lengths = [len(steps)] if lengths is None else list(lengths)
        if sum(lengths) != len(steps) or min(lengths, default=0) < 0:
            raise CallError(f"the lengths of the sequences, {lengths}, do not add up to the {len(steps)} samples")
        if processes is not None and processes < 1:
            raise CallError(f"{processes} processes cannot run anything", "Choose 1 or more, or leave it out.")
        parts = parallel.pieces(lengths, bool(graph.states))
        finished = 0
        with contextlib.ExitStack() as stack:
            report = stack.enter_context(progress_on(Console(stderr=True))) if progress else None

            def done() -> None:
                nonlocal finished
                finished += 1
                if report is not None:
                    report.count(f"running {self._model.file}", finished, len(steps))

            found = parallel.run(backend, self._make, graph.outputs, steps, parts, processes, done)
        backend.reset()
        results = results_of(graph, found)
        return results if isinstance(inputs, Mapping) or len(results) > 1 else results[graph.outputs[0]]

    def close(self) -> None:
        """Remove what was compiled, and stop an emulator that was started."""
        self._backend = None
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _open(self, stack: contextlib.ExitStack) -> Backend:
        model = self._model
        if self._backend_name == "reference":
            self._make = functools.partial(read_reference, model.data, model.file, model.options)
            return ReferenceBackend(model)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tinygen-")))
        if self._backend_name == "c":
            library = compiled(model, self._optimize, folder)
            self._make = functools.partial(CBackend, library)
            return CBackend(library, self._keep)
        assert self._board is not None
        built = pipeline.build(model, self._board, None, Goal(self._optimize))
        out = folder / "out" if self._out is None else Path(self._out)
        output.write(built.files, out)
        peer = stack.enter_context(boards.flashed(out, built.manifest, self._port))
        return BoardBackend(peer, built.manifest, self._keep)

    def _ready(self) -> Backend:
        if self._backend is None:
            raise NotReady("Invoke called on model that is not ready.", "Call allocate_tensors() first.")
        return self._backend

    def _input_tensors(self) -> list[tuple[str, Tensor]]:
        return [(name, self._model.graph.tensors[name]) for name in self._model.graph.inputs]

    def _input(self, index: int) -> str:
        name = self._tensors.name(index)
        if name not in self._model.graph.inputs:
            raise CallError(f"tensor {index} ({name}) is no input of the model", "get_input_details() lists them.")
        return name

    def _value(self, index: int) -> Array:
        name = self._tensors.name(index)
        constant = self._tensors.constant(index)
        if constant is not None:
            return constant
        if self._backend is None:
            raise CallError("Tensor data is null. Run allocate_tensors() first")
        for known in (self._inputs, self._values):
            if name in known:
                return known[name]
        if not self._values:
            raise CallError(f"tensor {index} ({name}) has no value yet", "Call invoke() first.")
        raise CallError(
            f"tensor {index} ({name}) is not kept: it is no output of the model",
            'With backend="reference", get_tensor() knows every tensor that is computed, with '
            "experimental_preserve_all_tensors=True the result of every layer. Steps that were fused have no tensor.",
        )


class SignatureRunner:
    """One signature of a model, as a function."""

    def __init__(self, interpreter: Interpreter, signature: RawSignature) -> None:
        self._interpreter = interpreter
        self._signature = signature

    def get_input_details(self) -> dict[str, Details]:
        """Details of each input, by the signature's name for it."""
        return {name: self._interpreter._tensors.details(index) for name, index in self._signature.inputs.items()}

    def get_output_details(self) -> dict[str, Details]:
        """Details of each output, by the signature's name for it."""
        return {name: self._interpreter._tensors.details(index) for name, index in self._signature.outputs.items()}

    def __call__(self, **inputs: npt.ArrayLike) -> dict[str, Array]:
        """Outputs by name, of inputs by name. Calls allocate_tensors(). Raises CallError for inputs that do not fit."""
        if len(inputs) != len(self._signature.inputs):
            raise CallError(
                "Invalid number of inputs provided for running a SignatureDef, "
                f"expected {len(self._signature.inputs)} vs provided {len(inputs)}"
            )
        self._interpreter.allocate_tensors()
        for name, value in inputs.items():
            if name not in self._signature.inputs:
                raise CallError(f"Invalid Input name ({name}) for SignatureDef")
            self._interpreter.set_tensor(self._signature.inputs[name], value)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(index) for name, index in self._signature.outputs.items()}


def _check_threads(count: int | None) -> None:
    if count is not None and not isinstance(count, int):
        raise CallError("type of num_threads should be int")
    if count is not None and count < 1:
        raise CallError("num_threads should >= 1")


def _check_backend(backend: str, board: str | None, port: str | None, out: str | os.PathLike[str] | None) -> None:
    if backend not in BACKENDS:
        raise CallError(f"unknown backend {backend!r}", f"Choose one of {', '.join(BACKENDS)}.")
    if backend == "board" and board is None:
        raise CallError("which board?", 'Name it, board="qemu-mps2-an386"; tinygen boards lists them.')
    if backend != "board" and (board, port, out) != (None, None, None):
        raise CallError(f'board, port and out are for backend="board", not for {backend!r}', "Leave them out.")


def _read(path: str | os.PathLike[str] | None, content: bytes | None, options: Options | None) -> pipeline.Model:
    if path and content:
        raise CallError("Can't both provide `model_path` and `model_content`")
    if path:
        return pipeline.read(Path(path), options)
    if content:
        return pipeline.decode(bytes(content), "model.tflite", options)
    raise CallError("`model_path` or `model_content` must be specified.")
