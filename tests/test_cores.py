"""Cores of one architecture: what is generated depends on their features, not on their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygen import pipeline
from tinygen.resources import resource
from tinygen.target import load_board

DIGITS = resource("examples", "digits", "digits.tflite")


@pytest.mark.parametrize(
    ("emulated", "other"), [("qemu-mps3-an547", "cortex-m85"), ("qemu-mps2-an385-m0", "cortex-m0plus")]
)
def test_cores_with_the_same_features_get_the_same_kernels(emulated: str, other: str, tmp_path: Path) -> None:
    text = resource("boards", f"{emulated}.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace(f'core = "{load_board(emulated).core}"', f'core = "{other}"'))
    model = pipeline.read(DIGITS)
    known, mine = (pipeline.build(model, board).manifest for board in (emulated, str(tmp_path / "mine.toml")))
    assert (known.core, mine.core) == (load_board(emulated).core, other)
    assert [layer.kernel for layer in mine.layers] == [layer.kernel for layer in known.layers]
