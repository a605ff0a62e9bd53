"""Calibration data from where people have them: .npz and .npy files, folders of images, folders of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tinygen.audio import FrontEnd
from tinygen.errors import InputError, UsageError
from tinygen.ir import Array
from tinygen.quantize import images, recordings
from tinygen.quantize.data import Data, FloatPort, as_samples, checked, source_name
from tinygen.samples import load_arrays

FOLDERS = "folders"
"""For labels: samples lie in a folder for each class, and classes are counted in the order of their names."""
_LABELS = "labels"


@dataclass(frozen=True)
class Wish:
    """Where samples are, and what is to be made of them."""

    path: Path
    labels: str | None = None
    """The name of an array of the .npz, a file, or FOLDERS; None: the array "labels", if there is one."""
    front_end: FrontEnd | None = None
    """For recordings: what makes features of them."""
    pictures: images.Pictures = field(default_factory=images.Pictures)
    """For images: what is made of them."""
    any_layout: bool = False
    """Whether channels may come first in an array, and last in the model, and the other way round."""


def read(wish: Wish, inputs: Sequence[FloatPort], outputs: Sequence[FloatPort]) -> Data:
    """All samples for a model with these inputs, and labels for its first output.

    Raises InputError for files that cannot be read and arrays that do not fit, UsageError for wishes that contradict
    each other, ToolMissing for images without pillow.
    """
    path = wish.path
    if path.is_dir():
        data = _folder(wish, inputs, outputs[0])
    elif path.suffix.lower() in (".npz", ".npy"):
        data = _arrays(wish, inputs)
    elif path.exists():
        raise InputError(f"{path}: data are an .npz or .npy file, or a folder of images or .wav files")
    else:
        raise InputError(f"there is no file or folder {path}", "Check the path.")
    if data.labels is not None:
        is_file = wish.labels not in (None, FOLDERS) and Path(str(wish.labels)).is_file()
        where = str(wish.labels) if is_file else data.source
        data = replace(data, labels=_fitting(data.labels, len(data), outputs[0], where))
    return checked(data)


def _arrays(wish: Wish, inputs: Sequence[FloatPort]) -> Data:
    if wish.front_end is not None:
        raise UsageError(f"{wish.path} holds no recordings", "--frontend is for folders of .wav files: leave it out.")
    arrays = load_arrays(wish.path)
    labels: Array | None = arrays.pop(wish.labels or _LABELS, None)
    if labels is None and wish.labels is not None:
        labels = _labels_file(wish, f"{wish.path} has no array {wish.labels!r}, it has {_listed(list(arrays))}")
    found, integers = {}, {}
    for port in inputs:
        array = _find(wish.path, arrays, port, len(inputs) == 1)
        found[port.name] = as_samples(array, port, str(wish.path), wish.any_layout)
        if array.dtype.kind in "iu":
            integers[port.name] = array.dtype.name
    return Data(str(wish.path), found, labels, integers)


def _find(path: Path, arrays: dict[str, Array], port: FloatPort, only: bool) -> Array:
    """The array for an input: under its name, or of an only input any that is alone."""
    # TensorFlow's converter makes serving_default_image:0 of an input that its user called image.
    for name in (port.name, port.name.removeprefix("serving_default_").removesuffix(":0")):
        if name in arrays:
            return arrays[name]
    if only:
        for name in ("", "inputs", "x"):
            if name in arrays:
                return arrays[name]
        if len(arrays) == 1:
            return next(iter(arrays.values()))
    raise InputError(
        f"{path} has no array for the input {port.name!r}, it has {_listed(list(arrays))}",
        "Name the arrays after the inputs: numpy.savez(FILE, **{name: array}).",
    )


def _folder(wish: Wish, inputs: Sequence[FloatPort], output: FloatPort) -> Data:
    if len(inputs) != 1:
        raise InputError(
            f"{wish.path} is a folder, and the model has {len(inputs)} inputs",
            "Give an .npz file with an array for each: numpy.savez(FILE, **{name: array}).",
        )
    suffixes = recordings.SUFFIXES if wish.front_end is not None else images.SUFFIXES
    files = sorted(path for path in wish.path.rglob("*") if path.suffix.lower() in suffixes)
    if not files:
        hint = "Recordings need --frontend." if any(wish.path.rglob("*.wav")) else "Check the path."
        raise InputError(f"{wish.path} holds no {', '.join(suffixes)} files, nor do its folders", hint)
    port = inputs[0]
    if wish.front_end is not None:
        samples = [recordings.samples(path, port, wish.front_end) for path in files]
    else:
        samples = [images.samples(path, port, wish.pictures) for path in files]
    labels: Array | None = None
    if wish.labels == FOLDERS:
        labels = _classes_of_folders(wish.path, files, output)
    elif wish.labels is not None:
        labels = _labels_file(wish, f"{wish.path} is a folder")
    if labels is not None and len(labels) == len(files):  # a recording can give several samples
        labels = np.repeat(labels, [len(each) for each in samples], axis=0)
    array = np.concatenate(samples)
    return Data(source_name(wish.path), {port.name: as_samples(array, port, source_name(wish.path))}, labels)


def _classes_of_folders(path: Path, files: Sequence[Path], output: FloatPort) -> Array:
    """The class of each file (files,): the place of its folder in `path` among all of these, empty ones too.

    Raises InputError where not all files lie in such folders, or where these are not as many as the output's classes:
    they would be counted wrongly.
    """
    classes = sorted(each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    folders = [file.relative_to(path).parts[0] for file in files]
    for file, folder in zip(files, folders, strict=True):
        if folder not in classes:
            raise InputError(
                f"--labels {FOLDERS}: {file} lies in no folder for its class",
                f"Make a folder in {path} for each class, or leave --labels out.",
            )
    if len(classes) != max(output.elements, 2):
        raise InputError(
            f"--labels {FOLDERS}: {path} has {len(classes)} folders, and the model {max(output.elements, 2)} classes",
            "Classes are counted in the order of the names: make a folder for each, empty where there is no sample.",
        )
    return np.asarray([classes.index(folder) for folder in folders])


def _labels_file(wish: Wish, otherwise: str) -> Array:
    """The labels of a file: .npy, .npz with one array, or text with a number in each line, in the samples' order."""
    path = Path(str(wish.labels))
    if not path.is_file():
        choice = f"Name an array of the .npz, a file, or {FOLDERS}."
        raise InputError(f"--labels {wish.labels}: there is no such file, and {otherwise}", choice)
    if path.suffix.lower() in (".npz", ".npy"):
        arrays = load_arrays(path)
        if _LABELS in arrays or len(arrays) == 1:
            return arrays.get(_LABELS, next(iter(arrays.values())))
        raise InputError(f"{path} has several arrays, and none is called {_LABELS!r}: {_listed(list(arrays))}")
    try:
        return np.loadtxt(path, ndmin=1, delimiter=None)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read labels from {path}: {error}",
            "Give a number in each line, the class of each sample counted from 0; or .npy.",
        ) from None


def _fitting(labels: Array, count: int, output: FloatPort, where: str) -> Array:
    """Integers (samples,) that are classes, or floats (samples, elements). Raises InputError for anything else."""
    if labels.size == count:
        flat = labels.reshape(count)
        if flat.dtype.kind in "iub" or (
            flat.dtype.kind == "f" and output.elements > 1 and (flat == flat.round()).all()
        ):
            return _classes(flat.astype(np.int64), output, where)
    if labels.dtype.kind in "fiu" and labels.size == count * output.elements:
        wanted = labels.reshape(count, output.elements)
        if output.elements > 1 and ((wanted == 0) | (wanted == 1)).all() and (wanted.sum(axis=1) == 1).all():
            return np.asarray(wanted.argmax(axis=1))  # one-hot
        return wanted.astype(np.float64)
    raise InputError(
        f"{where}: labels of shape {list(labels.shape)} and type {labels.dtype} do not fit {count:,} samples of an "
        f"output with {output.elements:,} elements",
        "Give a class for each sample, or the right output.",
    )


def _classes(labels: Array, output: FloatPort, where: str) -> Array:
    last = max(output.elements - 1, 1)
    if labels.size and not (labels.min() >= 0 and labels.max() <= last):
        wrong = int(labels.min() if labels.min() < 0 else labels.max())
        raise InputError(
            f"{where}: there is a label {wrong}, and the model's classes are 0 to {last}",
            "Labels are the index of the right output, counted from 0.",
        )
    return labels


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
