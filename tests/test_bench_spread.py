"""tinygen bench --repeat: how the ticks of many invokes spread, layer by layer, and what is said of them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import toy_model
from hypothesis import given
from hypothesis import strategies as st

from tinygen import timing
from tinygen.cli.options import ports_of_boards
from tinygen.distribution import distribution
from tinygen.errors import UsageError
from tinygen.manifest import Manifest
from tinygen.report import timing_tables


@given(st.lists(st.integers(0, 50), min_size=1, max_size=250))
def test_percentiles_are_the_least_values_that_so_many_do_not_exceed(values: list[int]) -> None:
    found = distribution(values)
    assert (found.count, found.minimum, found.maximum) == (len(values), min(values), max(values))
    for percent, value in ((50, found.median), (99, found.p99)):
        enough = [each for each in values if sum(other <= each for other in values) * 100 >= percent * len(values)]
        assert value == min(enough)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    out = tmp_path_factory.mktemp("spread") / "toy"
    return out, toy_model.write_project(out, "qemu-mps2-an386")


@pytest.fixture(scope="module")
def measured(toy: tuple[Path, Manifest]) -> timing.Timing:
    return timing.time(*toy, repeat=5)


def test_an_emulators_ticks_are_counted_and_never_called_time(
    toy: tuple[Path, Manifest], measured: timing.Timing
) -> None:
    assert measured.ticks is not None and measured.ticks.count == 5
    assert 0 < measured.ticks.minimum <= measured.ticks.median <= measured.ticks.p99 <= measured.ticks.maximum
    assert len(measured.layers) == 2
    for layer in measured.layers:
        assert layer is not None and layer.count == 5
        assert 0 < layer.maximum < measured.ticks.maximum
    assert measured.conditions.emulated and measured.conditions.tick_hz is None
    notes = timing_tables.timing_notes(measured)
    assert "virtual time" in notes and "no time of any board" in notes
    assert " ms" not in notes
    cycles = dataclasses.replace(measured, conditions=dataclasses.replace(measured.conditions, cycles=True))
    notes = timing_tables.timing_notes(cycles)
    assert "cycles as the emulator counts them" in notes and "virtual time" not in notes and " ms" not in notes


def test_a_boards_ticks_are_shown_as_time(toy: tuple[Path, Manifest], measured: timing.Timing) -> None:
    real = dataclasses.replace(measured.conditions, emulated=False, tick_hz=1_000_000, clock_hz=64_000_000)
    ticks = distribution([25_000, 25_000, 26_000])
    timed = dataclasses.replace(measured, conditions=real, ticks=ticks)
    table = timing_tables.timing_table(timed, toy[1])
    last = [list(column.cells)[-1] for column in table.columns]
    assert last[-4:] == ["25 ms", "25 ms", "26 ms", "26 ms"]
    notes = timing_tables.timing_notes(timed)
    assert "ticks of 1 MHz" in notes and "64 MHz" in notes and "-O2" in notes
    uncounted = dataclasses.replace(timed, ticks=None)
    assert "too many to count" in list(timing_tables.timing_table(uncounted, toy[1]).columns[-4].cells)


def test_several_boards_are_measured_one_after_the_other(toy: tuple[Path, Manifest]) -> None:
    boards = ["--on", "qemu-mps2-an386", "--on", "netduino2plus"]
    command = [sys.executable, "-m", "tinygen", "bench", str(toy[0]), *boards, "--repeat", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["boards"]
    assert [each["conditions"]["board"] for each in found] == ["qemu-mps2-an386", "netduino2plus"]
    assert all(each["ticks"]["count"] == 3 for each in found)


def test_ports_belong_to_boards_in_their_order() -> None:
    assert ports_of_boards(["a", "b"], ["x"]) == [("a", "x"), ("b", None)]
    with pytest.raises(UsageError, match="2 times, for 1 boards"):
        ports_of_boards(["a"], ["x", "y"])
