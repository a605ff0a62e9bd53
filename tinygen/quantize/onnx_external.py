"""Weights that an ONNX file keeps in another file beside it, as PyTorch's exporter writes them by default."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tinygen.errors import InvalidModel

_PUT = "Put the file beside the model, or export one file: torch.onnx.export(..., external_data=False)."
_LONGEST = 200
"""Letters of a name."""


def take_in(path: Path, model: Any) -> None:
    """Put the bytes of weights that are in other files into the model, an onnx.ModelProto of the file `path`.

    Such a file lies in the folder of the model, under a plain name: a model says nothing about other folders. No more
    is read than is there. Raises InvalidModel.
    """
    import onnx

    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        tensor.raw_data = _bytes(path, tensor.name, entries)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _bytes(path: Path, name: str, entries: dict[str, str]) -> bytes:
    location = entries.get("location", "")
    place = f"{path}: the weights {name!r} are in another file"
    is_plain = {PurePosixPath(location).name, PureWindowsPath(location).name} == {location}
    if not location or not is_plain or "\0" in location or len(location) > _LONGEST:
        raise InvalidModel(f"{place}, {location[:_LONGEST]!r}, which is no name in the model's folder", _PUT)
    file = path.parent / location
    if file.is_symlink() or not file.is_file():
        raise InvalidModel(f"{place}, {file}, which is missing, or no plain file", _PUT)
    size = file.stat().st_size
    offset = _number(place, entries, "offset", 0)
    length = _number(place, entries, "length", size - offset)
    if offset + length > size:
        raise InvalidModel(
            f"{place}, {file}, from byte {offset:,} on {length:,} bytes, and that has {size:,}", "Export it again."
        )
    with file.open("rb") as stream:
        stream.seek(offset)
        return stream.read(length)


def _number(place: str, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, "")
    if not text:
        return max(default, 0)
    if not text.isdecimal() or len(text) > 18:
        raise InvalidModel(f"{place}, at the {key} {text[:40]!r}, which is no number of bytes", "Export it again.")
    return int(text)
