"""Float ONNX models that keep their weights in a file beside them, as PyTorch's exporter writes them by default."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from float_nets import answers, onnx_net, samples
from onnx import numpy_helper

from tinygen.errors import InvalidModel
from tinygen.quantize import onnx_float


def with_files(folder: Path) -> onnx.ModelProto:
    """The net in float, its weights in the file `weights` of the folder, one behind the other."""
    onnx.save(onnx_net(batch=1), folder / "net.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    return onnx_net(batch=1)


def changed(path: Path, key: str, value: str) -> None:
    model = onnx.load(path, load_external_data=False)
    external = model.graph.initializer[0].external_data
    entry = next((entry for entry in external if entry.key == key), None) or external.add(key=key)
    entry.value = value
    path.write_bytes(model.SerializeToString())


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    whole = with_files(tmp_path)
    model = onnx_float.prepared(tmp_path / "net.onnx")
    expected = {tensor.name: numpy_helper.to_array(tensor).tobytes() for tensor in whole.graph.initializer}
    found = {tensor.name: numpy_helper.to_array(tensor).tobytes() for tensor in model.graph.initializer}
    assert found == expected
    inputs = samples(3)
    assert (answers(model, inputs) == answers(whole, inputs)).all()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("location", "/etc/passwd", "no name in the model's folder"),
        ("location", "../weights", "no name in the model's folder"),
        ("location", "folder/weights", "no name in the model's folder"),
        ("location", "folder\\weights", "no name in the model's folder"),
        ("location", "..", "no name in the model's folder|no plain file"),
        ("location", "", "no name in the model's folder"),
        ("location", "missing", "missing, which is missing, or no plain file"),
        ("location", "link", "link, which is missing, or no plain file"),
        ("location", "a\0b", "no name in the model's folder"),
        ("location", "x" * 5000, "no name in the model's folder"),
        ("offset", "-4", "the offset '-4', which is no number of bytes"),
        ("offset", "9" * 99, "which is no number of bytes"),
        ("offset", "99999999", r"from byte 99,999,999 on .* and that has"),
        ("length", "2147483648", r"on 2,147,483,648 bytes, and that has"),
        ("length", "4", "not a readable ONNX model"),
    ],
)
def test_other_places_are_never_opened(key: str, value: str, said: str, tmp_path: Path) -> None:
    with_files(tmp_path)
    (tmp_path / "link").symlink_to("/dev/zero")
    path = tmp_path / "net.onnx"
    changed(path, key, value)
    with pytest.raises(InvalidModel, match=said):
        onnx_float.prepared(path)
    with pytest.raises(InvalidModel, match=r"net\.onnx"):
        onnx_float.prepared(path)


def test_notes_of_the_exporter_are_left_out(tmp_path: Path) -> None:
    model = onnx_net()
    model.graph.node[0].doc_string = "/home/somebody/train.py, line 7"
    onnx.helper.set_model_props(model, {"written by": "somebody"})
    onnx.save(model, tmp_path / "net.onnx")
    assert b"somebody" not in onnx_float.prepared(tmp_path / "net.onnx").SerializeToString()
