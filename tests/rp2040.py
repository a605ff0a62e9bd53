"""Tests on the board that rp2040js emulates: where that is installed."""

from __future__ import annotations

import os
import shutil

import pytest

BOARD = "rp2040js-pico"

needs_rp2040js = pytest.mark.skipif(
    shutil.which("node") is None or "TINYGEN_RP2040JS" not in os.environ,
    reason="no rp2040js: apt install nodejs npm, npm install rp2040js, TINYGEN_RP2040JS=its full path",
)

RP2040 = pytest.param(BOARD, marks=needs_rp2040js)
