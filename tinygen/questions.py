"""What to ask a runtime that runs the model as it is in its file, about what was built of it.

Of an interface without its QUANTIZE and DEQUANTIZE, such a runtime gets what the inputs stand for, and is asked for the
tensors before its outputs, or, where it has none but these, for the integers behind them. Where inputs and outputs have
their dimensions in another order, so has what it gets and says. Of a batch that the file does not have, it is asked for
one part after the other. Of a model that takes frames, it gets the last window of them each time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinygen.errors import CannotCompare
from tinygen.importers import FileView
from tinygen.ir import Array, Shape
from tinygen.manifest import Manifest, Port
from tinygen.ops.common import FLOAT32, UINT8
from tinygen.ops.quantize import Dequantize
from tinygen.pipeline import IMPORTERS
from tinygen.streaming.window import in_window


@dataclass(frozen=True)
class Question:
    """One input: what is given in the port's terms, and what the file's input is."""

    port: Port
    dtype: str
    shape: Shape

    def parts(self, data: bytes, count: int) -> list[Array]:
        """The port's bytes as the file takes them, for each of `count` runs."""
        given = np.frombuffer(data, self.port.dtype).reshape(self.port.shape)
        split = given.size > np.prod(self.shape, dtype=np.int64)
        runs = np.split(given, count) if split else [given] * count
        turned = [run if self.port.axes is None else run.transpose(np.argsort(self.port.axes)) for run in runs]
        return [np.array(self._in_file(run).reshape(self.shape), order="C") for run in turned]

    def _in_file(self, values: Array) -> Array:
        """Quantising the result gives `values` again: what stripped the interface has made sure of it."""
        if self.dtype == self.port.dtype:
            return values
        if self.dtype == UINT8:
            return np.asarray((values.astype(np.int16) + 128).astype(np.uint8))
        assert self.dtype == FLOAT32 and self.port.scale is not None and self.port.zero_point is not None
        return Dequantize(self.port.scale, self.port.zero_point).reference(values)[0]


def _integers(values: Array, port: Port) -> Array:
    """Those that were dequantised to float32 `values`: products of an integer and a scale, rounded once."""
    assert port.scale is not None and port.zero_point is not None
    return np.asarray(np.rint(values / np.float64(port.scale)) + port.zero_point, port.dtype)


class Look(NamedTuple):
    """At a tensor of the file, by its index; or at some channels of its last dimension, or the last rows of another."""

    tensor: int
    channels: tuple[int, ...] | None = None
    rows: tuple[int, int] | None = None
    """The dimension, and how many."""
    axes: Shape | None = None
    """The order in which the dimensions are seen."""
    behind: Port | None = None
    """The integers of this port, which the tensor's float32 values were made of."""

    def at(self, content: Array) -> bytes:
        """What is seen of the tensor's content."""
        seen = content if self.channels is None else content[..., list(self.channels)]
        if self.rows is not None:
            axis, count = self.rows
            seen = seen.take(range(seen.shape[axis] - count, seen.shape[axis]), axis=axis)
        if self.axes is not None:
            seen = seen.transpose(self.axes)
        if self.behind is not None:
            seen = _integers(seen, self.behind)
        return np.ascontiguousarray(seen).tobytes()


@dataclass(frozen=True)
class Questions:
    """Inputs, and the file's tensors to look at."""

    runs: int
    """Parts of a batch; the bytes of each tensor follow each other."""
    inputs: tuple[Question, ...]
    layers: tuple[Look, ...]
    lacks: tuple[int, ...]
    """Layers (by their own index) whose output is no tensor of the file."""
    outputs: tuple[Look, ...]
    on_uint8: bool
    """Whether the file's operators compute on uint8."""
    operators: Collection[tuple[str, int]]
    """Their names and versions."""


def questions(out: Path, manifest: Manifest) -> Questions:
    """What to ask about an output folder. Raises CannotCompare, with the reason."""
    path = out / manifest.model.path
    file: FileView = IMPORTERS[path.suffix.lower()].view(path.read_bytes(), manifest.model.file)
    runs, rest = divmod(manifest.batch, file.batch) if manifest.batch and file.batch else (1, 0)
    if rest:
        raise CannotCompare(f"the file has batches of {file.batch}, which a batch of {manifest.batch} is not made of")
    if runs != 1 and manifest.reset is not None and manifest.streaming is None:
        raise CannotCompare(f"the model remembers: it cannot be asked for a batch of {manifest.batch} in parts")
    turned = {port.name: port.axes for port in manifest.outputs}
    kept, of = manifest.kept, {part.tensor: part.of for part in manifest.removed}
    answers = {}
    for layer in manifest.layers:
        name, shape = layer.output.tensor, layer.output.shape
        whole = (*shape[:-1], of[name]) if name in of else shape
        look = _look(file, name, layer.output.dtype, whole, turned.get(name), runs, manifest.streaming is not None)
        if look is not None:
            answers[layer.index] = look._replace(channels=kept.get(name))
    outputs = []
    for port, index in zip(manifest.outputs, file.outputs, strict=True):
        shape, axes = port.shape, port.axes
        look = _look(file, port.name, port.dtype, shape, axes, runs, manifest.streaming is not None)
        if look is None and file.tensors[index].dtype == FLOAT32 and port.scale is not None and runs == 1:
            is_whole = file.tensors[index].shape == _in_file(shape, axes)
            look = Look(index, axes=axes, behind=port) if is_whole else None
        if look is None:
            raise CannotCompare(f"the output {port.name!r}, {port.dtype} {port.shape}, is no tensor of the file")
        outputs.append(look)
    inputs = tuple(
        Question(in_window(port, manifest.streaming), file.tensors[index].dtype, file.tensors[index].shape)
        for port, index in zip(manifest.inputs, file.inputs, strict=True)
    )
    return Questions(
        runs,
        inputs,
        tuple(answers.values()),
        tuple(layer.index for layer in manifest.layers if layer.index not in answers),
        tuple(outputs),
        file.on_uint8,
        file.operators,
    )


def _look(
    file: FileView, name: str, dtype: str, shape: Shape, axes: Shape | None, runs: int, has_rows: bool
) -> Look | None:
    """Where a tensor of the graph is one of the file, or is made of `runs` of it, one behind the other.

    `axes`: which of the file's dimensions each is.
    `has_rows`: or is the last ones of its rows along one dimension.
    """
    index = file.indices.get(name)
    if index is None:
        return None
    tensor = file.tensors[index]
    shape = _in_file(shape, axes)
    if runs == 1 and not has_rows and tensor.may_have(shape):
        return Look(index, axes=axes) if tensor.dtype == dtype else None
    # Where the first dimension is more than the batch, the inferences need not lie one behind the other.
    whole = (
        (runs * tensor.shape[0], *tensor.shape[1:]) if runs > 1 and tensor.shape[:1] == (file.batch,) else tensor.shape
    )
    if (tensor.dtype, len(whole)) != (dtype, len(shape)):
        return None
    fewer = [axis for axis, (have, want) in enumerate(zip(whole, shape, strict=True)) if have != want]
    if not fewer:
        return Look(index, axes=axes)
    if has_rows and len(fewer) == 1 and shape[fewer[0]] < whole[fewer[0]]:
        return Look(index, rows=(fewer[0], shape[fewer[0]]), axes=axes)
    return None


def _in_file(shape: Shape, axes: Shape | None) -> Shape:
    """The file's shape of what has its dimensions in another order."""
    return shape if axes is None else tuple(shape[axes.index(axis)] for axis in range(len(axes)))
