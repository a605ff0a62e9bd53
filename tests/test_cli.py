"""The command line as people and scripts meet it: exit codes, messages, JSON, and no traceback for bad input."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from operator_cases import NAMED
from rich.console import Console
from tflite_builder import OperatorSpec, build_case, build_model, build_object, pack

from tinygen import cli
from tinygen.cli import console
from tinygen.ops.case import CaseTensor
from tinygen.report.tables import plain_table
from tinygen.resources import resource

DIGITS = resource("examples", "digits", "digits.tflite")
COMMANDS = ("build", "verify", "flash", "run", "bench", "export", "boards", "inspect", "quantize", "compare", "demo")


@dataclass
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def tinygen(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["tinygen", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capfd.readouterr()
        outcome = Outcome(int(caught.value.code or 0), captured.out, captured.err)
        assert "Traceback" not in outcome.out + outcome.err
        assert "\x1b[" not in outcome.out + outcome.err, "colours outside of a terminal"
        return outcome

    return run


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "digits"
    done = subprocess.run(
        [sys.executable, "-m", "tinygen", "build", DIGITS, "-o", out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


def test_several_models_are_asked_for_by_name(tinygen: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = tinygen("build", DIGITS, DIGITS, "--name", "one", "--name", "two", "-o", out)
    assert made.code == 0
    assert f"tinygen verify {out} --model one" in made.out
    verified = tinygen("verify", out, "--model", "two", "--samples", 3)
    assert verified.code == 0
    assert "TFLM interpreter" in verified.out
    unsaid = tinygen("verify", out)
    assert unsaid.code == 2
    assert "several models: one, two" in unsaid.err
    assert tinygen("build", DIGITS, DIGITS, "-o", out).code == 2


def test_help_of_every_command_has_an_example(tinygen: Run) -> None:
    overview = tinygen("--help")
    assert overview.code == 0
    for command in COMMANDS:
        assert re.search(rf"^ +{command} ", overview.out, re.M)
        shown = tinygen(command, "--help")
        assert shown.code == 0
        assert command == "boards" or f"tinygen {command} " in shown.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("build",),
        ("build", DIGITS),
        ("build", DIGITS, "-o", "x", "--optimize", "fastest"),
        ("verify", "x", "--samples", "-1"),
        ("verify", "x", "--samples", "many"),
        ("build", DIGITS, "-o", "x", "--name", "int"),
        ("build", DIGITS, "-o", "x", "--io", "float"),
        ("build", DIGITS, "-o", "x", "--batch", "0"),
        ("inspect", DIGITS, "--batch", "many"),
        ("inspect", DIGITS, "--place", "arena=psram", "--arena", "external"),
        ("inspect", DIGITS, "--memory", "--hot", "8000"),
        ("build", DIGITS, "-o", "x", "--name", "Ünsinn"),
        ("build", DIGITS, "-o", "x", "--name", "a__b"),
    ],
)
def test_wrong_usage_is_exit_code_2(tinygen: Run, arguments: tuple[object, ...], tmp_path: Path) -> None:
    os.chdir(tmp_path)
    outcome = tinygen(*arguments)
    assert outcome.code == 2
    assert outcome.err
    assert not outcome.out
    assert list(tmp_path.iterdir()) == []


def test_build_says_what_it_did_and_what_is_next(tinygen: Run, tmp_path: Path) -> None:
    outcome = tinygen("build", DIGITS, "-o", tmp_path / "out", "--name", "ziffern")
    assert outcome.code == 0
    for fragment in ("46,592 MACs", "arena", "flash", "tinygen verify", "int8 8x8x1 -> int8 10"):
        assert fragment in outcome.out
    assert (tmp_path / "out" / "lib" / "ziffern" / "src" / "ziffern.h").is_file()


def test_build_as_json_is_the_manifest(tinygen: Run, tmp_path: Path) -> None:
    outcome = tinygen("build", DIGITS, "-o", tmp_path / "out", "--json")
    fields = json.loads(outcome.out)
    assert fields["manifest"] == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert fields["fit"]["ram_needed"] <= fields["fit"]["ram_available"]


def test_verify_compares_host_and_original(tinygen: Run, built: Path) -> None:
    outcome = tinygen("verify", built, "--samples", 3, "--against", "tflm", "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert report["equal"] is True
    assert [peer["samples"] for peer in report["peers"]] == [3, 3]
    assert any("TFLM" in peer["peer"] for peer in report["peers"])


def test_verify_explains_what_differs_from_another_runtime(tinygen: Run, tmp_path: Path) -> None:
    model = tmp_path / "dense.tflite"
    model.write_bytes(build_case(NAMED["fully_connected-int16"]))
    assert tinygen("build", model, "-o", tmp_path / "out").code == 0
    outcome = tinygen("verify", tmp_path / "out", "--samples", 8, "--against", "litert", "--json")
    report = json.loads(outcome.out)
    assert (outcome.code, report["equal"], report["explained"]) == (0, False, True)
    (cause,) = next(peer["causes"] for peer in report["peers"] if "LiteRT" in peer["peer"])
    assert cause["operator"] == "FULLY_CONNECTED" and cause["theirs"] == "float64, single rounding"
    assert "every difference is explained" in tinygen("verify", tmp_path / "out", "--against", "litert").out
    assert tinygen("build", model, "--profile", "litert", "-o", tmp_path / "out").code == 0
    assert tinygen("verify", tmp_path / "out", "--samples", 8).code == 0


def test_verify_takes_inputs_of_a_file(tinygen: Run, built: Path) -> None:
    images = resource("examples", "digits", "digits_test.npz")
    outcome = tinygen("verify", built, "--samples", 0, "--inputs", images)
    assert outcome.code == 0
    assert "360" in outcome.out
    assert "Every byte is equal." in outcome.out


def test_verify_names_the_first_differing_layer(tinygen: Run, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "digits"
    shutil.copytree(built, out)
    source = out / "host" / "src" / "digits.c"
    text = source.read_text()
    broken = re.sub(r"(static inline int8_t layer_04_finish[^}]*? high >> \d+);", r"\1 ^ 1;", text)
    assert broken != text
    source.write_text(broken)
    outcome = tinygen("verify", out, "--samples", 2)
    assert outcome.code == 1
    assert re.search(r"layer 4 DEPTHWISE_CONV_2D .*element \[0, 0, 0, \d+\]: reference -?\d+, found -?\d+", outcome.out)
    assert "NOT equal" in outcome.out


def test_verify_reports_what_the_sanitizer_finds(tinygen: Run, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "digits"
    shutil.copytree(built, out)
    source = out / "host" / "src" / "digits.c"
    text = source.read_text()
    broken = text.replace(
        "void digits_invoke(void)\n{", "void digits_invoke(void)\n{\n    arena.i8[4 * 1024 * 1024] = 1;"
    )
    assert broken != text
    source.write_text(broken)
    outcome = tinygen("verify", out, "--samples", 1)
    assert outcome.code == 1
    assert "ended with code" in outcome.err


def test_verify_refuses_another_model_file(tinygen: Run, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "digits"
    shutil.copytree(built, out)
    path = out / "model" / "digits.tflite"
    path.write_bytes(path.read_bytes() + b"\0\0\0\0")
    outcome = tinygen("verify", out)
    assert outcome.code == 1
    assert "is not the model" in outcome.err


def test_verify_on_another_board_than_built_for(tinygen: Run, built: Path) -> None:
    outcome = tinygen("verify", built, "--on", "microbit")
    assert outcome.code == 2
    assert "was built for qemu-mps2-an386" in outcome.err


EDGES = [CaseTensor((1, 6), "float32"), CaseTensor((1, 6), "int8", 0.25, 3), CaseTensor((1, 6), "int8", 0.5, -7)]


def open_model(path: Path, file_batch: int) -> Path:
    """QUANTIZE and ADD of a float32 input, whose batch is open."""
    tensors = [dataclasses.replace(tensor, shape=(file_batch, 6)) for tensor in EDGES]
    model = build_object(tensors, [("QUANTIZE", [0], [1], {}), ("ADD", [1, 1], [2], {})], [0], [2])
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = [-1, 6]
    path.write_bytes(pack(model))
    return path


def test_the_interface_is_chosen_and_kept(tinygen: Run, tmp_path: Path) -> None:
    model, out = open_model(tmp_path / "net.tflite", 1), tmp_path / "out"
    outcome = tinygen("build", model, "-o", out, "--io", "int8", "--batch", 4)
    assert outcome.code == 0
    for fragment in ("int8 4x6, q = round(real / 0.25) + 3", "int8 4x6, q = round(real / 0.5) - 7"):
        assert fragment in outcome.out
    report = json.loads(tinygen("verify", out, "--samples", 4, "--against", "tflm", "--json").out)
    assert (report["equal"], len(report["peers"]), report["not_compared"]) == (True, 2, None)
    shown = tinygen("inspect", model, "--io", "int8", "--batch", 4, "--json")
    assert json.loads(shown.out)["manifest"]["inputs"] == json.loads((out / "manifest.json").read_text())["inputs"]
    np.save(tmp_path / "x.npy", np.zeros((8, 6), np.int8))
    two = json.loads(tinygen("verify", out, "--samples", 0, "--inputs", tmp_path / "x.npy", "--json").out)
    assert two["peers"][0]["samples"] == 2


def test_who_cannot_be_asked_is_named(tinygen: Run, tmp_path: Path) -> None:
    model, out = open_model(tmp_path / "net.tflite", 2), tmp_path / "out"
    assert tinygen("build", model, "-o", out, "--batch", 3).code == 0
    outcome = tinygen("verify", out, "--samples", 4)
    assert outcome.code == 0
    assert "Not compared with TensorFlow Lite Micro: the file has batches of 2" in outcome.out
    insisted = tinygen("verify", out, "--samples", 4, "--against", "tflm")
    assert insisted.code == 1
    assert "the file has batches of 2" in insisted.err


def test_a_model_of_uint8_says_that_it_is_computed_as_int8(tinygen: Run, tmp_path: Path) -> None:
    x, y = (CaseTensor((1, 6), "uint8", scale, 128) for scale in (0.25, 0.5))
    (tmp_path / "old.tflite").write_bytes(pack(build_object([x, y], [("ADD", [0, 0], [1], {})], [0], [1])))
    outcome = tinygen("build", tmp_path / "old.tflite", "-o", tmp_path / "out")
    assert outcome.code == 0
    assert "uint8 model, computed as int8: the same results" in outcome.out
    assert "uint8 6, q = round(real / 0.25) + 128" in outcome.out
    verified = tinygen("verify", tmp_path / "out", "--samples", 3)
    assert verified.code == 0
    assert "Not compared with TensorFlow Lite Micro" in verified.out


def test_a_batch_or_interface_that_cannot_be_is_refused(tinygen: Run, tmp_path: Path) -> None:
    outcome = tinygen("build", DIGITS, "-o", tmp_path / "out", "--batch", 4)
    assert outcome.code == 1
    assert "the file fixes their shape, (1, 8, 8, 1): it cannot be built with --batch 4" in outcome.err
    assert not (tmp_path / "out").exists()


def test_inspect_shows_what_was_proved(tinygen: Run) -> None:
    shown = " ".join(tinygen("inspect", DIGITS, "--proofs").out.split())
    assert "high half of a product" in shown and "takes every step" in shown
    layers = json.loads(tinygen("inspect", DIGITS, "--json").out)["manifest"]["layers"]
    proved = {layer["op"] for layer in layers if layer["proof"]}
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} <= proved


def test_inspect_shows_layers(tinygen: Run) -> None:
    outcome = tinygen("inspect", DIGITS)
    assert outcome.code == 0
    for fragment in ("DEPTHWISE_CONV_2D", "softmax.direct", "8x8x16", "MACs"):
        assert fragment in outcome.out


@pytest.mark.parametrize("columns", [30, 80, 100])
def test_no_number_is_cut_on_a_narrow_screen(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = plain_table("operator", "MACs", "name", right=["MACs"], wide=["name"])
    table.add_row("DEPTHWISE_CONV_2D", "1,234,567", "functional_1/" * 8)
    monkeypatch.setattr(console, "Console", functools.partial(Console, force_terminal=True))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    console.show(table)
    shown = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    assert "DEPTHWISE_CONV_2D  1,234,567  functional_1/" in shown
    assert (max(map(len, shown.splitlines())) <= columns) == (columns > 30)


def test_inspect_shows_what_build_would_do(tinygen: Run) -> None:
    words = ("--arena", "external", "--place", "scratch=psram", "--place", "hot=psram", "--hot", "layer_00")
    shown = json.loads(tinygen("inspect", DIGITS, *words, "--json").out)
    manifest = shown["manifest"]
    assert manifest["set_arena"] and manifest["scratch_bytes"] > 0
    assert manifest["arena_lower_bound"] <= manifest["arena_bytes"]
    psram = next(region for region in shown["fit"]["regions"] if region["region"] == "psram")
    assert psram["parts"] == {"scratch": manifest["scratch_bytes"]} and psram["code_expected"] > 0
    text = tinygen("inspect", DIGITS, *words).out
    assert re.search(r"^placed +hot code, that of layer_00, in psram; scratch, [\d,]+ bytes, in psram$", text, re.M)
    for command in (("build", DIGITS, "-o", "nowhere"), ("inspect", DIGITS)):
        outcome = tinygen(*command, "--ram-budget", 10)
        assert outcome.code == 1 and "try --optimize ram, or choose a smaller model" in outcome.err


def test_bench_counts_layer_by_layer(tinygen: Run, built: Path) -> None:
    outcome = tinygen("bench", built)
    assert outcome.code == 0, outcome.err
    assert re.search(r"^0 +CONV_2D +\w+ +9,216 ", outcome.out, re.M)
    assert re.search(r"^ +total +46,592 ", outcome.out, re.M)
    assert "modelled, never measured. Source: Arm Cortex-M4 Technical Reference Manual" in outcome.out
    count = json.loads(tinygen("bench", built, "--json").out)
    shown = count["total"]["instructions"]
    assert f" {shown:,} " in outcome.out
    assert shown == count["between"]["instructions"] + sum(row["figures"]["instructions"] for row in count["layers"])
    assert count["instructions_per_mac"] == pytest.approx(shown / 46_592)
    assert count["cost"]["cycles"]["load"] == 2
    assert count["cost"]["assumptions"]


def test_bench_refuses_boards_of_another_core_and_folders_of_nobody(tinygen: Run, built: Path, tmp_path: Path) -> None:
    other = tinygen("bench", built, "--on", "microbit")
    assert other.code == 2
    assert "tinygen build MODEL --board microbit" in other.err
    assert tinygen("bench", built, "--on", "nonsense").code == 1
    assert tinygen("bench", tmp_path).code == 1


def test_boards_are_listed(tinygen: Run) -> None:
    outcome = tinygen("boards")
    assert outcome.code == 0
    assert "qemu-mps2-an386" in outcome.out
    assert "netduino2plus" in outcome.out
    names = [board["name"] for board in json.loads(tinygen("boards", "--json").out)["boards"]]
    assert {"qemu-mps2-an386", "netduino2plus"} <= set(names)


def test_a_model_that_does_not_fit_is_refused_before_anything_is_written(tinygen: Run, tmp_path: Path) -> None:
    text = resource("boards", "qemu-mps2-an386.toml").read_text()
    small = re.sub(r"(\[regions.ram\][^\[]*bytes = )\S+", r"\g<1>10_240", text)
    assert small != text
    (tmp_path / "small.toml").write_text(small)
    outcome = tinygen("build", DIGITS, "--board", tmp_path / "small.toml", "-o", tmp_path / "out")
    assert outcome.code == 1
    peak = r"the peak is layer \d+, node \d+ \(.*\) \w+"
    assert re.search(rf"RAM: [\d,]+ bytes needed .* 10,240 there; {peak}", outcome.err)
    assert "Try --optimize ram, or choose a board" in outcome.err
    assert not (tmp_path / "out").exists()
    tiny = re.sub(r"(\[regions.flash\][^\[]*bytes = )\S+", r"\g<1>6_144", text)
    (tmp_path / "tiny.toml").write_text(tiny)
    outcome = tinygen("build", DIGITS, "--board", tmp_path / "tiny.toml", "-o", tmp_path / "out")
    assert outcome.code == 1
    assert re.search(r"flash: [\d,]+ bytes needed .* 6,144 there; the largest is layer \d+, node \d+", outcome.err)
    assert "Try --optimize size, or choose a board" in outcome.err


def test_bad_input_is_exit_code_1_and_json_when_asked(tinygen: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.tflite").write_bytes(b"not a model")
    os.chdir(tmp_path)
    cases: list[tuple[object, ...]] = [
        ("build", "bad.tflite", "-o", "out"),
        ("build", "missing.tflite", "-o", "out"),
        ("build", tmp_path, "-o", "out"),
        ("build", "model.onnx", "-o", "out"),
        ("build", DIGITS, "-o", "out", "--board", "qemu-mps2-an387"),
        ("build", DIGITS, "-o", "bad.tflite"),
        ("build", DIGITS, "-o", "bad.tflite/out"),
        ("inspect", "bad.tflite"),
        ("verify", "nowhere"),
        ("flash", "nowhere"),
        ("run", "nowhere", "--input", "x.npy"),
    ]
    for case in cases:
        outcome = tinygen(*case)
        assert outcome.code == 1, case
        assert outcome.err.startswith("error: "), case
        assert not outcome.out
        machine = tinygen(*case, "--json")
        assert machine.code == 1
        assert json.loads(machine.out)["error"]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tflite"]


def test_a_missing_compiler_is_named(tinygen: Run, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    outcome = tinygen("verify", built)
    assert outcome.code == 1
    assert "no-such-compiler" in outcome.err
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", "")
    outcome = tinygen("verify", built)
    assert outcome.code == 1
    assert "apt install gcc" in outcome.err
    outcome = tinygen("flash", built)
    assert outcome.code == 1
    assert "apt install" in outcome.err


def test_run_without_a_flashed_board(tinygen: Run, built: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 8, 8, 1), np.int8))
    outcome = tinygen("run", built, "--input", tmp_path / "x.npy")
    assert outcome.code == 1
    assert "tinygen flash" in outcome.err
    outcome = tinygen("run", built, "--input", tmp_path / "x.npy", "--port", "/dev/no-such-port")
    assert outcome.code == 1
    assert "/dev/no-such-port" in outcome.err


def test_unsupported_operators_are_listed_all_at_once(tinygen: Run, tmp_path: Path) -> None:
    values = CaseTensor((1, 4), scale=0.1)
    operators: list[OperatorSpec] = [("WHERE", [0], [1], {}), ("GELU", [1], [2], {}), ("ABS", [2], [3], {})]
    model = tmp_path / "exotic.tflite"
    model.write_bytes(build_model([values] * 4, operators, [0], [3]))
    outcome = tinygen("build", model, "-o", tmp_path / "out")
    assert outcome.code == 1
    assert "WHERE: the operator is not supported" in outcome.err
    assert "GELU: the operator is not supported (train with RELU or HARD_SWISH)" in outcome.err
    shown = tinygen("inspect", model, "--json")
    assert shown.code == 1
    assert json.loads(shown.out)["supported"] is False


def test_output_may_be_cut_off(built: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m tinygen inspect {DIGITS} | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout
    assert not done.stderr
