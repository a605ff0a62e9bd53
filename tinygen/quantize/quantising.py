"""From a float model's file to an int8 one, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinygen import pipeline, staging
from tinygen.errors import InvalidModel, TinygenError, UsageError
from tinygen.options import Options
from tinygen.quantize import reading
from tinygen.quantize.advice import advice
from tinygen.quantize.data import Data, able_to_calibrate
from tinygen.quantize.finite import expect_numbers
from tinygen.quantize.job import Choices, Job, expect_file
from tinygen.quantize.lite_job import LiteJob
from tinygen.quantize.measure import Figures, compare
from tinygen.quantize.onnx_job import OnnxJob

SAMPLES = 300
"""How many calibrate by default: ranges hardly widen with more."""

_SOURCES = ".keras, .h5, .onnx and .tflite files, and SavedModel folders"
_ELSEWHERE = {
    ".pt": "PyTorch models are exported first: see docs/pytorch.md.",
    ".pth": "PyTorch models are exported first: see docs/pytorch.md.",
    ".pb": "Give the SavedModel's folder, the one that holds saved_model.pb.",
}


@dataclass(frozen=True)
class InputRange:
    """What the samples that calibrated hold for one input."""

    name: str
    shape: tuple[int, ...]
    low: float
    high: float


@dataclass(frozen=True)
class OnBoard:
    """What the int8 model takes of a board, before anything is compiled; or why it cannot be built."""

    board: str
    ram_needed: int = 0
    ram_available: int = 0
    flash_needed: int = 0
    """Without the layers' code."""
    flash_available: int = 0
    refusal: str = ""


@dataclass(frozen=True)
class Quantised:
    """An int8 model, and what is known about it."""

    source: str
    quantiser: str
    data: bytes
    samples: int
    """That were compared."""
    calibrated: int
    are_others: bool
    """Whether those that calibrated were not compared."""
    inputs: tuple[InputRange, ...]
    figures: Figures
    float_bytes: int
    int8_bytes: int
    on_board: OnBoard
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """Who is told what goes on."""

    stage: Callable[[str], None] = lambda text: None
    count: Callable[[str, int, int], None] = lambda name, done, total: None


def expect_source(source: Path, out: Path) -> type[LiteJob] | type[OnnxJob]:
    """What quantises this source into this file. Raises UsageError and InvalidModel for what cannot be."""
    expect_file(source)
    suffix = source.suffix.lower()
    is_saved_model = source.is_dir() and (source / "saved_model.pb").is_file()
    if suffix == ".onnx" and source.is_file():
        kind: type[LiteJob] | type[OnnxJob] = OnnxJob
    elif is_saved_model or (suffix in (".keras", ".h5", ".hdf5", ".tflite") and source.is_file()):
        kind = LiteJob
    elif source.is_dir():
        raise InvalidModel(f"{source} is a folder without a saved_model.pb", f"Quantised are {_SOURCES}.")
    else:
        raise InvalidModel(f"{source} is none of {_SOURCES}", _ELSEWHERE.get(suffix, "Export the model to one first."))
    if out.suffix.lower() != kind.suffix:
        raise UsageError(
            f"{source} becomes a {kind.suffix} file, and {out} is not called so",
            f"Name the output -o {out.with_suffix(kind.suffix)}.",
        )
    return kind


def quantise(
    source: Path,
    wish: reading.Wish,
    out: Path,
    board: str,
    samples: int = SAMPLES,
    test: reading.Wish | None = None,
    choices: Choices | None = None,
    progress: Progress | None = None,
) -> Quantised:
    """Quantise to int8 with at most so many of the samples, and measure with those of `test`, or with all.

    Nothing is written: `out` is for the name.

    Raises UsageError, ModelError, InputError, ToolError.
    """
    progress = progress or Progress()
    kind = expect_source(source, out)
    with staging.temporary("work") as folder:
        progress.stage(f"reading {source}")
        job: Job = kind(source, folder, choices or Choices())
        given = reading.read(wish, job.inputs, job.outputs)
        calibration = able_to_calibrate(given.spread(samples))
        data = given if test is None else reading.read(test, job.inputs, job.outputs)
        progress.stage(f"quantising with {len(calibration)} samples")
        float_model = job.float_runner()
        expect_numbers(source, float_model, job.layers, calibration)
        content = job.to_int8(calibration.inputs)
        figures = compare(
            float_model,
            job.int8_runner(),
            job.layers,
            [port.name for port in job.outputs],
            data,
            lambda done, total: progress.count("comparing float with int8", done, total),
        )
    progress.stage(f"planning for {board}")
    return Quantised(
        source=str(source),
        quantiser=job.quantiser,
        data=content,
        samples=len(data),
        calibrated=len(calibration),
        are_others=test is not None,
        inputs=_ranges(calibration, job),
        figures=figures,
        float_bytes=job.float_bytes,
        int8_bytes=len(content),
        on_board=_on_board(content, out.name, board),
        advice=advice(figures, len(calibration), len(given), len(data), kind is LiteJob, given.integers),
    )


def _ranges(data: Data, job: Job) -> tuple[InputRange, ...]:
    return tuple(
        InputRange(port.name, port.shape, float(data.inputs[port.name].min()), float(data.inputs[port.name].max()))
        for port in job.inputs
    )


def _on_board(content: bytes, name: str, board: str) -> OnBoard:
    try:
        fit = pipeline.build(pipeline.decode(content, name, Options(io="int8")), board).fit
    except TinygenError as error:
        return OnBoard(board, refusal=str(error))
    return OnBoard(board, fit.ram_needed, fit.ram_available, fit.flash_needed, fit.flash_available)
