"""What a package's example computes: inputs, and the outputs that the numpy reference has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen import reference, samples
from tinygen import verify as verification
from tinygen.c_text import C_TYPES, array_lines
from tinygen.errors import InputError
from tinygen.ir import Array
from tinygen.listening import verify as listening
from tinygen.listening.listener import Listener
from tinygen.listening.recordings import recordings
from tinygen.listening.wav import read_wav
from tinygen.manifest import Manifest

_MOST_SAMPLES = 64_000
"""Of a recording, in the text of an example: four seconds at 16 kHz."""


@dataclass(frozen=True)
class SampleArray:
    """A constant array of the example."""

    name: str
    c_type: str
    lines: Sequence[str]
    elements: int


@dataclass(frozen=True)
class SampleModel:
    """What an example does with a model: its manifest, and arrays for its inputs and outputs."""

    manifest: Manifest
    given: tuple[SampleArray, ...]
    expected: tuple[SampleArray, ...]

    @property
    def header(self) -> str:
        """The header that the example includes."""
        return f"{self.manifest.name}_audio.h" if self.manifest.front_end else f"{self.manifest.name}.h"


def sample_of(out: Path, model: Manifest, file: Path | None = None) -> SampleModel:
    """Of a model in an output folder: the first sample of `file`, .npz, .npy or .wav, or a generated one.

    Raises InputError where the file does not fit the model, and OutputError where the folder does not hold what was
    built.
    """
    graph = verification.model_of(out, model).graph
    if model.front_end is not None:
        return _heard(out, model, file, listening.listener(out, model, graph))
    if file is not None and file.suffix.lower() == ".wav":
        raise InputError(f"{model.name} was built without a front end, and takes no recordings", "Give an .npz.")
    sample = samples.from_file(file, model.inputs)[0] if file else samples.generated(model.inputs, 4, 0)[-1]
    outputs = reference.outputs(graph, sample.arrays)
    return SampleModel(
        model,
        tuple(_array(model, "sample", index, array) for index, array in enumerate(sample.arrays)),
        tuple(_array(model, "answer", index, array) for index, array in enumerate(outputs)),
    )


def _heard(out: Path, model: Manifest, file: Path | None, listener: Listener) -> SampleModel:
    assert model.front_end is not None
    if file is None:
        recording: Array = recordings(listening.enough(model, 2), 0)["noise in bursts"]
    else:
        if file.suffix.lower() != ".wav":
            raise InputError(f"{model.name} was built with a front end, and takes recordings", "Give a .wav.")
        recording = read_wav(file, model.front_end.sample_rate)[:_MOST_SAMPLES]
    found = listener.feed(recording)
    if not found:
        first = model.front_end.first
        raise InputError(f"{file} has {len(recording):,} samples, the first result is due after {first:,}")
    expected = [
        np.frombuffer(data, port.dtype).reshape(port.shape)
        for port, data in zip(model.outputs, found[-1].outputs, strict=True)
    ]
    return SampleModel(
        model,
        (_array(model, "sample", 0, recording),),
        tuple(_array(model, "answer", index, array) for index, array in enumerate(expected)),
    )


def _array(model: Manifest, what: str, index: int, array: Array) -> SampleArray:
    name = f"{what}_{index}_of_{model.name}"
    return SampleArray(name, C_TYPES[array.dtype.name], array_lines(array), array.size)


def sample_values(models: Sequence[SampleModel]) -> Mapping[str, object]:
    """What templates of examples need."""
    return {
        "models": models,
        "arrays": [array for model in models for array in (*model.given, *model.expected)],
        "prints_floats": any(array.c_type in ("float", "double") for model in models for array in model.expected),
    }
