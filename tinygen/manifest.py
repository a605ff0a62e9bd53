"""manifest.json: what `tinygen build` wrote, as a contract for tools.

Of several models that were built together, it is {schema, models, files}: `models` has an object of the following
fields for each, with empty `files`, and `files` those of the whole folder.

Schema 6. All paths are relative to the folder that holds manifest.json, with forward slashes. Sizes are bytes.

    schema            6
    tinygen           version that wrote it
    name              C prefix and library name
    model             {file, sha256, path}: the source file's name and hash, and the copy of it in this folder
    profile           arithmetic, e.g. "tflm"
    batch             inferences in one invoke, where the user chose that, else null
    streaming         {axis, frames, hop, full_after, window_macs}: each invoke takes the next `hop` of the frames that
                      follow each other along `axis` of the input, and answers as the model in the file does for the
                      last `frames` of them, which takes `window_macs` at once; after `full_after` invokes, all of those
                      were given, before, they begin with zeros. Or null for a model that takes what the file says
    front_end         {file, path, sample_rate, first, step, features, kept, new, feed, restart, detect, detector,
                      ram_bytes, const_bytes}: the front end that the library takes samples with, or null; `file` as the
                      user named it, and the copy of it in this folder. After the `first` samples there is a result,
                      after `step` more another one, for `new` more frames of `features`, behind `kept` earlier ones;
                      frames before the first are of zeros. `feed` is the C symbol, const T *(const int16_t **samples,
                      uint32_t *count), T the first output's type; `restart`, void (void), forgets all. Both are
                      declared in NAME_audio.h. Sizes are those besides the model's. `detect`, int32_t (const T *),
                      declared in NAME_detector.h, takes each result and returns the index of the word that is heard, or
                      -1; it is null without a `detector`, {words: [{label, output, threshold}], window, pause}: a word
                      is heard when the sum of that element of the last `window` results, less their zero points,
                      exceeds the threshold, and then none for `pause` results
    io                "model": inputs and outputs of the file; "int8": the integers behind float32 and uint8 ones
    layout            "model": dimensions of inputs and outputs as in the file; "nhwc": channels last where `axes` says
    notes             what to know about how the model was read, in words
    optimize          objective, e.g. "balanced"
    board, core       ids of boards/*.toml and boards/cores/*.toml
    include_dirs, sources, cflags           what the target build of the library uses
    host_include_dirs, host_sources         the same model with portable kernels only, for the host
    inputs, outputs   [{name, symbol, memory, dtype, shape, axes, scale, zero_point, bytes}]: `axes` says which of the
                      file's dimensions each is, null where they are the same; `memory` is "static", and the C
                      function `symbol` without arguments returns a pointer to the buffer; or "external", and `symbol`
                      takes a pointer to the application's, aligned to a word, before all else, and returns 0 if it will
                      do; or, of an input, "rows", and `symbol` takes a pointer to the next of its rows, of which it has
                      shape[1], before each invoke; scale and zero_point are null where the tensor is not quantised
    begin             C symbol, void (void), that forgets rows which were fed; null where none are
    invoke            C symbol, void (void)
    reset             C symbol, void (void), or null for a model without state
    arena_bytes       RAM for inputs, outputs, activations and scratch, static but for `set_arena`
    arena_lower_bound what no plan of the arena for these kernels can go below: the rest is lost in gaps
    set_arena         C symbol, int (void *memory, uint32_t bytes), that gives the library its arena: aligned to a word,
                      before all else; or null where the library has an arena of its own
    shared_arena      {name, bytes, models}: a C array of so many bytes, in a library of that name, that these models
                      take turns in, each using the first `arena_bytes` of it; or null where the arena is not shared
    scratch_bytes     static RAM of kernels for themselves, where that does not lie in the arena
    state_bytes       static RAM that lives from one invoke to the next
    const_bytes       weights, biases, requantisation and tables, in flash
    places            {part: region}: those of the parts weights, code, hot, arena, scratch, state that were placed
    hot_layers        names of the layers whose code is the part "hot"
    macs              multiply-accumulates of one invoke
    model_macs        the same with the channels that are `removed`, for comparison
    layers            [{index, name, op, symbol, kernel, rounding, proof, macs, output, estimate, alternatives}] in the
                      order of execution, one for each C function; rounding is the rule's name, "exact" where nothing
                      is rounded; proof says which cheaper arithmetic was proved to give the same, "" where the rule
                      itself is; output is {tensor, dtype, shape, bytes, memory, offset}, the offset within the memory
                      "arena" or "state"; estimate is what the kernel is expected to cost, {kernel, instructions,
                      cycles, flash, scratch}: executed instructions and modelled cycles of one invoke, null where
                      nothing is known, and bytes; alternatives are estimates of kernels that were not taken
    removed           [{tensor, of, channels, value, bounds}]: channels of the file's tensors, `of` so many each, that
                      are proved to have no effect and are not computed: `channels`, "3, 8-11", always are `value`, or,
                      where that is null, nothing reads them. Where a constant is a sum's result, `bounds`, one for each
                      channel, are what proves it: "-7..12, 5..5", the ends of its accumulator, both of which round to
                      `value`. A layer's output has the other channels, in their order
    files             {path: sha256} of every generated file but this one
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import OutputError, UsageError
from tinygen.interface import ROWS
from tinygen.ir import Removed
from tinygen.listening.detector import Detector, Word
from tinygen.unfinished import is_unfinished

SCHEMA = 6
FILE_NAME = "manifest.json"


@dataclass(frozen=True)
class Model:
    """The source model: its file name, hash, and the copy kept in the output folder."""

    file: str
    sha256: str
    path: str


@dataclass(frozen=True)
class Port:
    """An input or output of the model, as the C code presents it."""

    name: str
    symbol: str
    memory: str
    dtype: str
    shape: tuple[int, ...]
    axes: tuple[int, ...] | None
    scale: float | None
    zero_point: int | None
    bytes: int

    @property
    def row_bytes(self) -> int | None:
        """Of each row that is fed, where it is."""
        return self.bytes // self.shape[1] if self.memory == ROWS else None


@dataclass(frozen=True)
class LayerOutput:
    """Where a layer leaves its result."""

    tensor: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    memory: str
    offset: int


@dataclass(frozen=True)
class LayerEstimate:
    """What a kernel is expected to cost in a layer."""

    kernel: str
    instructions: int | None
    cycles: int | None
    flash: int
    scratch: int


@dataclass(frozen=True)
class Layer:
    """One C function of the generated library."""

    index: int
    name: str
    op: str
    symbol: str
    kernel: str
    rounding: str
    proof: str
    macs: int
    output: LayerOutput
    estimate: LayerEstimate
    alternatives: tuple[LayerEstimate, ...]


@dataclass(frozen=True)
class RemovedChannels:
    """Channels of a tensor that are not computed."""

    tensor: str
    of: int
    channels: str
    value: int | None
    bounds: str

    @staticmethod
    def noted(removed: Removed) -> RemovedChannels:
        """As the manifest has it."""
        bounds = ", ".join(f"{low}..{high}" for low, high in removed.bounds)
        return RemovedChannels(removed.tensor, removed.of, _ranges(removed.channels), removed.value, bounds)

    @property
    def indices(self) -> tuple[int, ...]:
        """The channels, ascending."""
        ends = [part.split("-") for part in self.channels.split(", ")]
        return tuple(index for span in ends for index in range(int(span[0]), int(span[-1]) + 1))


def _ranges(indices: Sequence[int]) -> str:
    """Ascending numbers as people write them: "3, 8-11"."""
    parts = np.split(np.array(indices), np.flatnonzero(np.diff(indices) != 1) + 1)
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


@dataclass(frozen=True)
class Streaming:
    """How a model that takes frames belongs to the one in its file, which takes windows of them."""

    axis: int
    frames: int
    hop: int
    full_after: int
    window_macs: int


@dataclass(frozen=True)
class FrontEnd:
    """How the library takes samples."""

    file: str
    path: str
    sample_rate: int
    first: int
    step: int
    features: int
    kept: int
    new: int
    feed: str
    restart: str
    detect: str | None
    detector: Detector | None
    ram_bytes: int
    const_bytes: int


@dataclass(frozen=True)
class SharedArena:
    """An arena of several models, of which one runs at a time."""

    name: str
    bytes: int
    models: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """The whole of manifest.json; the module's docstring documents each field."""

    schema: int
    tinygen: str
    name: str
    model: Model
    profile: str
    batch: int | None
    streaming: Streaming | None
    front_end: FrontEnd | None
    io: str
    layout: str
    notes: tuple[str, ...]
    optimize: str
    board: str
    core: str
    include_dirs: tuple[str, ...]
    sources: tuple[str, ...]
    cflags: tuple[str, ...]
    host_include_dirs: tuple[str, ...]
    host_sources: tuple[str, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    begin: str | None
    invoke: str
    reset: str | None
    arena_bytes: int
    arena_lower_bound: int
    set_arena: str | None
    shared_arena: SharedArena | None
    scratch_bytes: int
    state_bytes: int
    const_bytes: int
    places: Mapping[str, str]
    hot_layers: tuple[str, ...]
    macs: int
    model_macs: int
    layers: tuple[Layer, ...]
    removed: tuple[RemovedChannels, ...]
    files: Mapping[str, str]

    @property
    def kept(self) -> Mapping[str, tuple[int, ...]]:
        """Of tensors of which channels are removed: the others."""
        gone: dict[str, set[int]] = {}
        for part in self.removed:
            gone.setdefault(part.tensor, set()).update(part.indices)
        of = {part.tensor: part.of for part in self.removed}
        return {name: tuple(sorted(set(range(of[name])) - indices)) for name, indices in gone.items()}

    @property
    def borrowed_bytes(self) -> int:
        """The arena, where it is no part of the library."""
        return self.arena_bytes if self.set_arena or self.shared_arena else 0

    def to_json(self) -> str:
        """The text of the manifest.json of one model."""
        return to_json([self])


def to_json(models: Sequence[Manifest]) -> str:
    """The text of manifest.json: stable order, so that equal content is equal bytes. All models have the same files."""
    files = dict(sorted(models[0].files.items()))
    if len(models) == 1:
        fields = dataclasses.asdict(models[0]) | {"files": files}
    else:
        parts = [dataclasses.asdict(model) | {"files": {}} for model in models]
        fields = {"schema": SCHEMA, "models": parts, "files": files}
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def load(out: Path, name: str | None = None) -> Manifest:
    """What ``out/manifest.json`` says of the model `name`, which may be left out where there is only one.

    Raises UsageError where there is no such model or several, and OutputError as `load_all`.
    """
    models = load_all(out)
    found = [model for model in models if name in (None, model.name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(model.name for model in models)
    if found:
        raise UsageError(f"{out} holds several models: {names}", f"Say which one: --model {models[0].name}")
    raise UsageError(f"{out} holds no model {name}", f"It holds {names}.")


def load_all(out: Path) -> tuple[Manifest, ...]:
    """Read ``out/manifest.json``: all models of the folder, each with the files of all.

    Raises OutputError when the folder was not written by `tinygen build`, or by another schema of it.
    """
    path, fields = out / FILE_NAME, _fields(out)
    schema = fields.get("schema")
    if schema != SCHEMA:
        raise OutputError(f"{path} has schema {schema!r}, this tinygen reads {SCHEMA}", "Build it again.")
    try:
        parts = [part | {"files": fields["files"]} for part in fields.get("models", [fields])]
        return tuple(map(_decode, parts))
    except (KeyError, TypeError) as error:
        raise OutputError(f"{path} is damaged: {type(error).__name__} {error}", _ELSEWHERE) from None


def written_files(out: Path) -> Mapping[str, str]:
    """Paths and hashes of what `tinygen build` wrote, that of any schema. Raises OutputError."""
    files = _fields(out).get("files")
    if not isinstance(files, dict) or not all(isinstance(known, str) for known in files.values()):
        raise OutputError(f"{out / FILE_NAME} lists no files with their hashes", _ELSEWHERE)
    return files


_ELSEWHERE = "Build it again, into another folder."


def _fields(out: Path) -> dict[str, Any]:
    path = out / FILE_NAME
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if is_unfinished(out):
            raise OutputError(
                f"{out} is half written: the last `tinygen build` into it was ended",
                f"Build it again: tinygen build MODEL -o {out}",
            ) from None
        raise OutputError(
            f"{out} holds no {FILE_NAME}: it was not written by `tinygen build`",
            f"Build it first: tinygen build MODEL -o {out}",
        ) from None
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}", _ELSEWHERE) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise OutputError(f"cannot read {path}: {error}", _ELSEWHERE) from None
    if not isinstance(fields, dict):
        raise OutputError(f"{path} is damaged: it is no JSON object", _ELSEWHERE)
    return fields


def _port(fields: dict[str, Any]) -> Port:
    axes = fields["axes"]
    return Port(**{**fields, "shape": tuple(fields["shape"]), "axes": None if axes is None else tuple(axes)})


def _decode(fields: dict[str, Any]) -> Manifest:
    values = dict(fields)
    values["model"] = Model(**fields["model"])
    for key in ("inputs", "outputs"):
        values[key] = tuple(map(_port, fields[key]))
    for key in ("include_dirs", "sources", "cflags", "host_include_dirs", "host_sources", "notes", "hot_layers"):
        values[key] = tuple(fields[key])
    values["layers"] = tuple(_decode_layer(layer) for layer in fields["layers"])
    shared = fields["shared_arena"]
    values["shared_arena"] = shared and SharedArena(**{**shared, "models": tuple(shared["models"])})
    values["streaming"] = Streaming(**fields["streaming"]) if fields["streaming"] else None
    values["front_end"] = _decode_front_end(fields["front_end"]) if fields["front_end"] else None
    values["removed"] = tuple(RemovedChannels(**part) for part in fields["removed"])
    return Manifest(**values)


def _decode_front_end(fields: dict[str, Any]) -> FrontEnd:
    detector = fields["detector"]
    if detector:
        words = tuple(Word(**word) for word in detector["words"])
        return FrontEnd(**{**fields, "detector": Detector(**{**detector, "words": words})})
    return FrontEnd(**fields)


def _decode_layer(fields: dict[str, Any]) -> Layer:
    output = dict(fields["output"])
    output["shape"] = tuple(output["shape"])
    decoded = {
        "output": LayerOutput(**output),
        "estimate": LayerEstimate(**fields["estimate"]),
        "alternatives": tuple(LayerEstimate(**alternative) for alternative in fields["alternatives"]),
    }
    return Layer(**{**fields, **decoded})
