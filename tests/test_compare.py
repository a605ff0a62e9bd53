"""tinygen compare: figures are those of bench and of the labels, and what cannot be had is said."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_nets import onnx_net, save

from tinygen import bench, cli, manifest, output, pipeline
from tinygen.comparing import MODELLED, Costs, Entry, _is_on_front, compare, names_of
from tinygen.goal import Goal
from tinygen.options import Options
from tinygen.quantize import Wish
from tinygen.quantize.measure import Score
from tinygen.report.compare_picture import compare_picture
from tinygen.report.compare_tables import compare_table
from tinygen.resources import resource

DIGITS = resource("examples", "digits", "digits.tflite")
DIGITS_ONNX = resource("examples", "digits", "digits.onnx")
IMAGES = resource("examples", "digits", "digits_test.npz")
ON = "qemu-mps2-an386"
REAL = "nucleo_f446re"
"""A board that is not emulated."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Entry, ...]:
    folder = tmp_path_factory.mktemp("models")
    damaged = folder / "damaged.tflite"
    damaged.write_bytes(DIGITS.read_bytes()[:2000])
    models = [DIGITS, DIGITS_ONNX, damaged, save(onnx_net(), folder / "float.onnx")]
    return compare(models, [ON, REAL], Wish(IMAGES, any_layout=True), Goal(), Options(io="int8"))


def test_every_model_is_there_for_every_board(found: tuple[Entry, ...]) -> None:
    names = ["digits.tflite", "digits.onnx", "damaged.tflite", "float.onnx"]
    assert [entry.model for entry in found] == [name for name in names for _ in range(2)]
    assert [bool(entry.refusal) for entry in found] == [False] * 4 + [True] * 4
    assert "quantize" in found[-1].refusal


def test_a_board_s_models_stand_together(found: tuple[Entry, ...]) -> None:
    boards, models, *_ = (list(column.cells) for column in compare_table(found).columns)
    assert boards == [ON] * 4 + [REAL] * 4
    assert [str(model) for model in models] == [entry.model for entry in found[::2]] * 2


def test_scores_are_those_of_the_labels(found: tuple[Entry, ...]) -> None:
    """354 of 360 as both runtimes count it: examples/digits/figures.json."""
    figures = json.loads(resource("examples", "digits", "figures.json").read_text())
    for entry, key in ((found[0], "int8_accuracy"), (found[2], "onnx_int8_accuracy")):
        assert entry.score is not None
        assert round(entry.score.value, 4) == figures[key]


def test_counts_are_those_of_bench(found: tuple[Entry, ...], tmp_path: Path) -> None:
    built = pipeline.build(pipeline.read(DIGITS, Options(io="int8")), ON, "network")
    output.write(built.files, tmp_path / "out")
    count = bench.count(tmp_path / "out", manifest.load(tmp_path / "out"))
    assert found[0].costs == Costs(count.total.instructions, count.ram_bytes, count.flash_bytes, ON)
    # Of the same core: the same library, in an emulator.
    assert replace(found[1].costs, how="") == replace(found[0].costs, how="")


def test_of_a_core_that_is_not_emulated_costs_are_modelled(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", inputs=np.load(IMAGES)["inputs"][:20])
    (only,) = compare([DIGITS], ["esp32dev"], Wish(tmp_path / "few.npz"), Goal(), Options())
    assert only.costs is not None
    assert only.costs.how == MODELLED
    assert only.costs.ram_bytes > 0
    assert only.costs.flash_bytes > DIGITS.stat().st_size / 4


def entry(model: str, accuracy: float, *costs: int, board: str = "b") -> Entry:
    return Entry(model, board, Score("accuracy", accuracy), Costs(*costs, how=board), "")


def test_models_of_one_name_are_told_apart_by_their_folders() -> None:
    paths = [Path(name) for name in ("a/x/net.onnx", "b/x/net.onnx", "b/x/small.onnx", "b/x/small.onnx")]
    assert names_of(paths) == ["a/x/net.onnx", "b/x/net.onnx", "small.onnx", "small.onnx"]


def test_the_front_is_what_nothing_beats() -> None:
    entries = [
        entry("large", 0.9, 100, 100, 100),
        entry("small", 0.8, 50, 50, 50),
        entry("worse", 0.8, 50, 50, 51),
        entry("small again", 0.8, 50, 50, 50),
        entry("other board", 0.1, 500, 500, 500, board="c"),
        Entry("none", "b", None, None, "cannot be had"),
    ]
    on = [each.model for each in entries if _is_on_front(each, entries)]
    assert on == ["large", "small", "small again", "other board"]


def test_picture_is_one(found: tuple[Entry, ...]) -> None:
    data = compare_picture(found)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert width > height > 300
    assert compare_picture(found) == data, "the same figures give the same file"


def test_command_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tinygen", "compare", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capfd.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    inputs = np.load(IMAGES)["inputs"][:20]
    np.savez(tmp_path / "few.npz", inputs=inputs)
    png = tmp_path / "x.png"
    code, said, _ = run(DIGITS, "--data", tmp_path / "few.npz", "-b", ON, "-o", png, "--json")
    assert code == 0
    (only,) = json.loads(said)["entries"]
    assert only["score"] == {"kind": "agreement", "value": 1.0}
    assert only["is_on_front"] is True
    assert png.read_bytes().startswith(b"\x89PNG")
    code, _, err = run(DIGITS, "--data", tmp_path / "few.npz", "-o", png)
    assert (code, "--force" in err) == (1, True)
    code, _, err = run(DIGITS, "--data", tmp_path / "few.npz", "-o", tmp_path / "x.svg")
    assert (code, ".png" in err) == (2, True)
    np.savez(tmp_path / "wrong.npz", inputs=np.zeros((5, 3), np.int8))
    code, said, _ = run(DIGITS, "--data", tmp_path / "wrong.npz")
    assert (code, "not possible" in said, "[5, 3]" in said) == (1, True, True)
