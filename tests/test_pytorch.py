"""The way from PyTorch to a library, as docs/pytorch.md describes it, on the float model that ships with the docs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from tinygen import cli
from tinygen.resources import resource

EXAMPLE = resource("examples", "pytorch")
PAGE = Path(__file__).parents[1] / "docs" / "pytorch.md"


def commands() -> list[list[str]]:
    """What the page has one type, in its order."""
    lines = re.findall(r"^    (tinygen .*)$", PAGE.read_text(), re.M)
    return [shlex.split(line) for line in lines]


def follow(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """Type it in a folder that holds what the export wrote; what was said."""
    monkeypatch.chdir(folder)
    said = ""
    for command in commands():
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        shown = capfd.readouterr()
        said += shown.out
        assert caught.value.code == 0, (command, shown.err)
    return said


def test_the_way_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for path in EXAMPLE.iterdir():
        if path.suffix in (".onnx", ".npz"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    said = follow(tmp_path, monkeypatch, capfd)
    assert [command[1] for command in commands()] == ["quantize", "build", "verify"]
    assert re.search(r"^ONNX Runtime .* equal$", said, re.M)
    assert "Every byte is equal." in said
    built = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [port["dtype"] for port in (*built["inputs"], *built["outputs"])] == ["int8", "int8"]
    assert built["inputs"][0]["shape"] == [1, 1, 8, 8]
    accuracy = re.search(r"^accuracy +(\S+)% in float, (\S+)% in int8$", said, re.M)
    assert accuracy is not None
    assert float(accuracy[1]) - float(accuracy[2]) < 1.0


def test_the_page_shows_how_the_model_was_exported() -> None:
    """The call on the page is that of the script."""
    shown, used = (re.search(r"torch\.onnx\.export\((.*?)\n *\)", text, re.S) for text in (PAGE.read_text(), _script()))
    assert shown is not None
    assert used is not None
    for keyword in re.findall(r"^ *(\w+=.+),", shown[1], re.M):
        assert re.search(rf"^ *{re.escape(keyword.split('  ')[0])},", used[1], re.M), keyword


def _script() -> str:
    return (EXAMPLE / "train.py").read_text()


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "onnxscript", "sklearn")),
    reason="PyTorch, onnxscript or scikit-learn are not installed",
)
def test_the_way_works_from_pytorch_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    subprocess.run([sys.executable, str(EXAMPLE / "train.py"), "--out", str(tmp_path)], check=True, capture_output=True)
    shipped, made = onnx.load(EXAMPLE / "digits_float.onnx"), onnx.load(tmp_path / "digits_float.onnx")
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in shipped.graph.node]
    assert np.array_equal(np.load(tmp_path / "test.npz")["image"], np.load(EXAMPLE / "test.npz")["image"])
    assert "Every byte is equal." in follow(tmp_path, monkeypatch, capfd)
