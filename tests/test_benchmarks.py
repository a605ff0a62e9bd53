"""The benchmarks: the shipped example costs what was committed, and what gets worse is noticed."""

from __future__ import annotations

import copy
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SHORT = BENCHMARKS / "results" / "short.json"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """benchmarks/comparison.py and benchmarks/models.py."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("comparison"), importlib.import_module("models")


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(SHORT.read_text())["rows"]
    return loaded


def test_the_example_costs_no_more_than_was_committed(modules: tuple[ModuleType, ModuleType]) -> None:
    before = SHORT.read_bytes()
    versions = f"committed with {json.loads(before)['versions']}, here is {modules[1].versions()}"
    command = [sys.executable, str(BENCHMARKS / "models.py"), "--short", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{versions}"
    assert "digits" in done.stdout
    assert SHORT.read_bytes() == before


@pytest.mark.parametrize(
    ("figure", "factor", "worse"),
    [
        ("instructions", 1.011, True),
        ("instructions", 1.009, False),
        ("instructions", 0.5, False),
        ("cycles", 1.02, True),
        ("flash", 1.02, True),
        ("ram", 1.02, True),
        ("stack", 1.02, False),  # a register more
        ("stack", 1.5, True),
    ],
)
def test_what_gets_worse_by_more_than_a_hundredth_is_a_regression(
    modules: tuple[ModuleType, ModuleType], rows: list[dict[str, Any]], figure: str, factor: float, worse: bool
) -> None:
    comparison, _ = modules
    now = copy.deepcopy(rows)
    now[1][figure] = round(now[1][figure] * factor)
    (change,) = comparison.changes(rows, now)
    assert change.is_regression == worse
    assert f"digits on cortex-m4, speed: {figure} " in str(change)


def test_models_that_come_and_go_are_changes(
    modules: tuple[ModuleType, ModuleType], rows: list[dict[str, Any]]
) -> None:
    comparison, _ = modules
    assert comparison.changes(rows, rows) == []
    (gone,) = comparison.changes(rows, rows[1:])
    (new,) = comparison.changes(rows[1:], rows)
    assert (str(gone), str(new)) == ("digits on cortex-m4, balanced: gone", "digits on cortex-m4, balanced: new")
    assert not gone.is_regression and not new.is_regression


def test_layers_that_change_are_named_with_their_kernels(
    modules: tuple[ModuleType, ModuleType], rows: list[dict[str, Any]]
) -> None:
    comparison, _ = modules
    now = copy.deepcopy(rows)
    now[0]["layers"][2] |= {"instructions": 1, "kernel": "conv_2d.better"}
    (change,) = comparison.layer_changes(rows, now)
    assert f"layer 2 CONV_2D ({rows[0]['layers'][2]['kernel']} -> conv_2d.better)" in str(change)
    assert comparison.layer_changes(rows, rows) == []


def test_estimates_that_are_far_off_are_named(
    modules: tuple[ModuleType, ModuleType], rows: list[dict[str, Any]]
) -> None:
    comparison, _ = modules
    layers = rows[0]["layers"]
    for layer in (layer for row in rows for layer in row["layers"]):
        layer["estimate"] = None
    assert comparison.poor_estimates(rows) == []
    for layer, factor in zip(layers, (1.14, 0.86, 1.16, 0.84), strict=False):
        layer["estimate"] = round(layer["instructions"] * factor)
    high, low = comparison.poor_estimates(rows)
    assert "layer 2 CONV_2D" in high and "+16.0%" in high
    assert "layer 3 ADD" in low and "-16.0%" in low


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (0.9, 1), (1.1, 0)])
def test_the_exit_code_says_whether_something_got_worse(
    modules: tuple[ModuleType, ModuleType],
    rows: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    factor: float,
    code: int,
) -> None:
    _, models = modules
    committed = json.loads(SHORT.read_text())
    for row in committed["rows"]:
        row["instructions"] = round(row["instructions"] * factor)
    (tmp_path / "short.json").write_text(json.dumps(committed))
    counted = {(row["core"], row["objective"]): row for row in rows}
    monkeypatch.setattr(models, "RESULTS", tmp_path)
    monkeypatch.setattr(models, "measure", lambda task, folder: counted[task.core, task.objective])
    monkeypatch.setattr(sys, "argv", ["models.py", "--short", "--check"])
    with pytest.raises(SystemExit) as left:
        models.main()
    assert left.value.code == code


def test_results_are_written_as_they_are_read(
    modules: tuple[ModuleType, ModuleType], rows: list[dict[str, Any]]
) -> None:
    _, models = modules
    assert json.loads(models.to_json(rows)) == {"versions": models.versions(), "rows": rows}


def test_other_rows_of_a_file_stay(modules: tuple[ModuleType, ModuleType], rows: list[dict[str, Any]]) -> None:
    _, models = modules
    anew = rows[1] | {"instructions": 7}
    assert models.merged({"rows": rows}, [anew]) == [rows[0], anew, *rows[2:]]
