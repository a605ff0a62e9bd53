"""Samples for a float model, and what is known about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tinygen.errors import InputError
from tinygen.ir import Array

FEWEST = 10
"""Ranges of fewer samples are chance."""


@dataclass(frozen=True)
class FloatPort:
    """An input or output of a float model, with a batch of one."""

    name: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Of one sample."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Data:
    """Samples: for each input a float32 array (samples, *shape), and labels where there are any.

    Labels are integers (samples,), the right class of each sample, or floats (samples, elements), the right output.
    """

    source: str
    inputs: Mapping[str, Array]
    labels: Array | None = None
    integers: Mapping[str, str] = field(default_factory=dict)
    """The dtypes of arrays that were given as integers, by input."""

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def sample(self, index: int) -> dict[str, Array]:
        """One array for each input, by name."""
        return {name: array[index] for name, array in self.inputs.items()}

    def spread(self, count: int) -> Data:
        """At most `count` of the samples, evenly spread over all of them, in their order."""
        if count >= len(self):
            return self
        chosen = np.linspace(0, len(self) - 1, count).round().astype(np.int64)
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, inputs={name: array[chosen] for name, array in self.inputs.items()}, labels=labels)


def as_samples(array: Array, port: FloatPort, where: str, any_layout: bool = False) -> Array:
    """Numbers as float32 (samples, *shape) of an input. Raises InputError where they are not such.

    With `any_layout`, the channels of images may come first where the input has them last, and the other way round.
    """
    if array.dtype.kind not in "fiub":
        raise InputError(f"{where}: the array for the input {port.name!r} holds {array.dtype}, not numbers")
    inner = port.shape[1:] if port.shape[:1] == (1,) else port.shape
    if any_layout and array.ndim == 4 and array.shape[1:] != inner:
        array = next((found for found in _with_other_layout(array) if found.shape[1:] == inner), array)
    if array.shape in (port.shape, inner) and array.shape != (len(array), *inner):
        array = array.reshape(1, *port.shape)
    if array.ndim == 0 or array.shape[1:] not in (inner, port.shape):
        raise InputError(
            f"{where}: the input {port.name!r} takes {_text((-1, *inner))} with the number of samples for -1, found "
            f"{_text(array.shape)}",
            _layout_hint(array.shape[1:], inner) or "Reshape the array, or give the data that the model is trained on.",
        )
    samples = np.ascontiguousarray(array, np.float32).reshape(len(array), *port.shape)
    if not np.isfinite(samples).all():
        at = int(np.argmax(~np.isfinite(samples).reshape(len(samples), -1).all(axis=1)))
        count = int((~np.isfinite(samples)).sum())
        raise InputError(
            f"{where}: {count:,} number{'s' if count > 1 else ''} for the input {port.name!r} "
            f"{'are' if count > 1 else 'is'} not finite (NaN or infinity), the first in sample {at}",
            "Leave such samples out: their ranges would make every other number vanish.",
        )
    return samples


def checked(data: Data) -> Data:
    """The data, when there are as many samples for each input, and any at all. Raises InputError."""
    counts = {name: len(array) for name, array in data.inputs.items()}
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
        raise InputError(f"{data.source}: the inputs have different numbers of samples: {listed}")
    if not len(data):
        raise InputError(f"{data.source} holds no sample", "Give some.")
    return data


def able_to_calibrate(data: Data) -> Data:
    """The data, when ranges can be taken from them. Raises InputError."""
    if len(data) < FEWEST:
        raise InputError(
            f"{data.source}: {len(data)} sample{'s are' if len(data) != 1 else ' is'} too few, the least is {FEWEST}",
            "The ranges of all layers are taken from these samples: give 100 or more, of every kind that there is.",
        )
    for name, array in data.inputs.items():
        if array.min() == array.max():
            raise InputError(
                f"{data.source}: every number for the input {name!r} is {array.flat[0]:g}, which has no range",
                "Give samples as the model will meet them.",
            )
    return data


def _with_other_layout(array: Array) -> tuple[Array, Array]:
    """Images (samples, height, width, channels) with channels first, and (samples, channels, ...) with them last."""
    return np.moveaxis(array, -1, 1), np.moveaxis(array, 1, -1)


def _layout_hint(found: Sequence[int], wanted: Sequence[int]) -> str:
    if len(found) == 3 and (found[2], *found[:2]) == tuple(wanted):
        return "Channels come first in this model: numpy.moveaxis(array, -1, 1)."
    if len(found) == 3 and (*found[1:], found[0]) == tuple(wanted):
        return "Channels come last in this model: numpy.moveaxis(array, 1, -1)."
    if int(np.prod(found, dtype=np.int64)) == int(np.prod(wanted, dtype=np.int64)):
        return (
            f"The numbers would be as many: array.reshape(-1, {', '.join(map(str, wanted))}), if that is their order."
        )
    return ""


def _text(shape: Sequence[int]) -> str:
    return str([int(dim) for dim in shape])


def source_name(path: Path) -> str:
    """How messages call a file or folder of samples."""
    return f"{path}/" if path.is_dir() else str(path)
