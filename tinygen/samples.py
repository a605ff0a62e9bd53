"""Inputs to check a model with: extremes, random ones, and those of a file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import InputError
from tinygen.ir import Array
from tinygen.manifest import Port, Streaming


@dataclass(frozen=True, eq=False)
class Sample:
    """One array for each input of the model."""

    name: str
    arrays: tuple[Array, ...]
    reset: bool = True
    """Whether a model with state forgets what came before."""

    @property
    def bytes(self) -> list[bytes]:
        """The inputs as a device holds them: little-endian, row-major."""
        return [array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in self.arrays]


_ENOUGH = 20
_LABELS = "labels"


def enough(streaming: Streaming | None) -> int:
    """How many samples to generate by default: those of a stream are for three windows before and after a reset."""
    return _ENOUGH if streaming is None else max(_ENOUGH, 2 * -(-3 * streaming.frames // streaming.hop))


def generated(ports: Sequence[Port], count: int, seed: int) -> list[Sample]:
    """`count` samples: all minimum, all maximum, then random ones, over the full range and around a random level.

    For a model with state they follow each other, with a reset before the first and in the middle.
    """
    samples = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        names = {0: "all minimum", 1: "all maximum"}
        arrays = tuple(_array(port, index, rng) for port in ports)
        samples.append(Sample(names.get(index, f"random {index}"), arrays, reset=index in (0, count // 2)))
    return samples


_FLOAT_EXTREME = 1000.0


def _array(port: Port, index: int, rng: np.random.Generator) -> Array:
    dtype = np.dtype(port.dtype)
    if dtype.kind == "f":
        if index < 2:
            return np.full(port.shape, (-_FLOAT_EXTREME, _FLOAT_EXTREME)[index], dtype)
        return np.asarray(rng.normal(size=port.shape) * 10.0 ** rng.uniform(-1, 2), dtype)
    info = np.iinfo(dtype)
    if index < 2:
        return np.full(port.shape, (info.min, info.max)[index], dtype)
    if index % 2:
        width = info.max - info.min
        level = rng.uniform(info.min, info.max)
        values = np.round(rng.normal(level, width / 12, port.shape))
        return np.asarray(np.clip(values, info.min, info.max), dtype)
    return rng.integers(info.min, info.max, port.shape, dtype, endpoint=True)


def from_file(path: Path, ports: Sequence[Port]) -> list[Sample]:
    """The samples of an .npy or .npz file.

    An .npy holds the only input: one sample, or several along a new first axis. An .npz holds an array for each input,
    under the input's name, or, for models with one input, a single array besides "labels", or one called "inputs" or
    "x". Raises InputError when a file cannot be read, or an array has another dtype or shape than the input. A model
    with state is reset before the first sample only.
    """
    arrays = load_arrays(path)
    columns = []
    for port in ports:
        array = _find(path, arrays, port, len(ports) == 1)
        columns.append(_split(path, array, port))
    counts = {len(column) for column in columns}
    if len(counts) != 1:
        raise InputError(f"{path}: its arrays hold different numbers of samples: {sorted(counts)}")
    return [
        Sample(f"{path.name}[{index}]", tuple(column[index] for column in columns), reset=index == 0)
        for index in range(counts.pop())
    ]


_FORMATS = "Give an .npy or .npz file, as numpy.save and numpy.savez write them."


def load_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an .npz by name, or that of an .npy under the empty name. Raises InputError."""
    try:
        loaded = np.load(path, allow_pickle=False)
        return dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {"": loaded}
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", _FORMATS) from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile):
        # What numpy says of them is how to load objects, which are programs.
        raise InputError(f"cannot read {path}: it holds no arrays of numbers", _FORMATS) from None


def _find(path: Path, arrays: dict[str, Array], port: Port, only: bool) -> Array:
    names = [port.name, *(("", "inputs", "x") if only else ())]
    for name in names:
        if name in arrays:
            return arrays[name]
    others = [name for name in arrays if name != _LABELS]
    if only and len(others) == 1:
        return arrays[others[0]]
    raise InputError(
        f"{path} holds no array for the input {port.name!r}: it holds {', '.join(map(repr, arrays)) or 'none'}",
        "Name the arrays after the inputs: numpy.savez(FILE, **{name: array}).",
    )


def _split(path: Path, array: Array, port: Port) -> Sequence[Array]:
    elements = int(np.prod(port.shape, dtype=np.int64))
    if array.dtype != np.dtype(port.dtype):
        hint = "Convert it first."
        if port.scale is not None and array.dtype.kind == "f":
            info = np.iinfo(port.dtype)
            low, high = info.min, info.max
            hint = (
                f"Quantise it: numpy.clip(numpy.round(x / {port.scale:.7g}) + {port.zero_point}, {low}, {high})"
                f".astype(numpy.{port.dtype})"
            )
        raise InputError(f"{path}: the input {port.name!r} takes {port.dtype}, the array is {array.dtype}", hint)
    if array.shape == port.shape or array.size == elements:
        return [array.reshape(port.shape)]
    is_rows = port.shape and array.size and array.shape[1:] == port.shape[1:]
    if is_rows and array.shape[0] % port.shape[0] == 0:  # several to a batch
        return [batch.reshape(port.shape) for batch in np.split(array, array.shape[0] // port.shape[0])]
    count = array.shape[0] if array.ndim else 0
    if not count or array.size != count * elements:
        raise InputError(
            f"{path}: the input {port.name!r} takes {_text(port.shape)}, the array is {_text(array.shape)}",
            f"Several samples go along the first axis: {_text((-1, *port.shape[1:]))} with any "
            + (f"multiple of {port.shape[0]}" if port.shape[:1] > (1,) else "number")
            + " for -1.",
        )
    return [row.reshape(port.shape) for row in array]


def _text(shape: Sequence[int]) -> str:
    return str([int(dim) for dim in shape])


def read_labels(path: Path, count: int) -> Array | None:
    """The array "labels" of an .npz, when there is one with an entry for each sample."""
    labels: Any = load_arrays(path).get(_LABELS)
    return labels.reshape(-1) if labels is not None and labels.size == count else None
