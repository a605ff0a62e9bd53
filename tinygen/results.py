"""What a board answered, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array
from tinygen.listening.heard import Heard
from tinygen.manifest import Manifest, Port


@dataclass(frozen=True)
class Result:
    """The outputs for one sample."""

    sample: str
    outputs: dict[str, list[float]]
    """Raw values by output name: integers where the output is quantised."""
    real: dict[str, list[float]]
    """The same in real numbers: scale * (q - zero point)."""
    ticks: int | None

    @property
    def best(self) -> tuple[int, float]:
        """Index and real value of the largest element of the first output."""
        values = next(iter(self.real.values()))
        index = int(np.argmax(values))
        return index, values[index]


def result(sample: str, data: Sequence[bytes], ticks: int | None, manifest: Manifest) -> Result:
    """Decode the bytes of all outputs."""
    arrays = {port.name: np.frombuffer(d, port.dtype) for port, d in zip(manifest.outputs, data, strict=True)}
    real = {port.name: real_values(arrays[port.name], port) for port in manifest.outputs}
    return Result(
        sample,
        {name: array.tolist() for name, array in arrays.items()},
        {name: [round(float(value), 6) for value in values] for name, values in real.items()},
        ticks,
    )


@dataclass(frozen=True)
class HeardResult:
    """A result of a library that takes samples."""

    seconds: float
    """From the beginning of the recording."""
    word: str | None
    """That was heard with it."""
    result: Result


def heard_result(heard: Heard, manifest: Manifest) -> HeardResult:
    """Decode it, and say when it was."""
    front_end = manifest.front_end
    assert front_end is not None and heard.after is not None
    words = front_end.detector.words if front_end.detector is not None else ()
    seconds = heard.after / front_end.sample_rate
    found = result(f"{seconds:.3f} s", heard.outputs, None, manifest)
    return HeardResult(seconds, None if heard.word < 0 else words[heard.word].label, found)


def real_values(array: Array, port: Port) -> Array:
    """scale * (q - zero point), or the values themselves where the port is not quantised."""
    if port.scale is None or port.zero_point is None:
        return array.astype(np.float64)
    return np.asarray(port.scale * (array.astype(np.float64) - port.zero_point))
