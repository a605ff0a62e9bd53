"""tinygen bench --energy: pulses of the marker in made recordings, and the energy that is in them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy_model
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.energy.inferences import Energy, energy
from tinygen.energy.recording import Recording, read
from tinygen.errors import BoardError, InputError
from tinygen.project import project_files
from tinygen.report import energy_tables
from tinygen.target import load_board, load_core

IDLE_A, BUSY_A, VOLTS = 0.002, 0.012, 3.0
STEP = 0.001


def levels(pulses: list[int], gap: int = 7) -> list[int]:
    """The marker, row by row: pulses of so many rows each."""
    found = [0] * gap
    for rows in pulses:
        found += [1] * rows + [0] * gap
    return found


def joulescope(path: Path, marker: list[int]) -> Path:
    lines = ["# made for a test", "time (s),current (A),voltage (V),power (W),gpi[0],gpi[1]"]
    for index, level in enumerate(marker):
        current = BUSY_A if level else IDLE_A
        lines.append(f"{5 + index * STEP:.6f},{current},{VOLTS},{current * VOLTS},{level},1")
    path.write_text("\n".join(lines) + "\n")
    return path


def ppk2(path: Path, marker: list[int], heading: str, others: str = "0") -> Path:
    """A meter without a column of voltage, and with one column for all channels, or one for each."""
    lines = [f"Timestamp(ms),Current(uA),{heading}"]
    for index, level in enumerate(marker):
        bits = [others, others, str(level), *[others] * 5]
        cells = ",".join(bits) if "," in heading else "".join(bits)
        lines.append(f"{index * STEP * 1e3:.3f},{(BUSY_A if level else IDLE_A) * 1e6},{cells}")
    path.write_text("\n".join(lines) + "\n")
    return path


def assert_is_of(found: Energy, pulses: list[int]) -> None:
    seconds = np.array(sorted(pulses)) * STEP
    joules = seconds * BUSY_A * VOLTS
    assert found.alignment.pulses == len(pulses)
    assert found.joules.minimum == pytest.approx(joules[0])
    assert found.joules.maximum == pytest.approx(joules[-1])
    assert found.seconds.median == pytest.approx(seconds[(len(seconds) - 1) // 2])
    assert found.watts == pytest.approx(BUSY_A * VOLTS)
    assert found.idle_watts == pytest.approx(IDLE_A * VOLTS)
    assert found.joules_above_idle == pytest.approx(seconds.mean() * (BUSY_A - IDLE_A) * VOLTS)
    assert found.alignment.least_samples == min(pulses)
    assert found.alignment.sample_seconds == pytest.approx(STEP)


PULSES = [10, 12, 9]


@pytest.mark.parametrize("meter", ["joulescope", "D0-D7", "D0,D1,D2,D3,D4,D5,D6,D7"])
def test_energy_is_that_of_the_pulses(meter: str, tmp_path: Path) -> None:
    path = tmp_path / "recorded.csv"
    if meter == "joulescope":
        recording = read(joulescope(path, levels(PULSES)))
    else:
        recording = read(ppk2(path, levels(PULSES), meter), VOLTS)
    found = energy(recording, 3)
    assert_is_of(found, PULSES)
    assert recording.channel == ("gpi[0]" if meter == "joulescope" else "D2")
    start = 5.0 if meter == "joulescope" else 0.0
    assert found.alignment.first_seconds == pytest.approx(start + 7 * STEP)
    assert found.alignment.last_seconds == pytest.approx(start + (len(levels(PULSES)) - 7) * STEP)


def test_all_channels_of_one_column_are_told_apart(tmp_path: Path) -> None:
    path = ppk2(tmp_path / "recorded.csv", levels(PULSES), "D0-D7", others="1")
    assert_is_of(energy(read(path, VOLTS)), PULSES)
    with pytest.raises(InputError, match="no whole pulse on D0"):
        energy(read(path, VOLTS, "d0"))


@settings(max_examples=50)
@given(
    pulses=st.lists(st.integers(1, 30), min_size=2, max_size=20),
    cut=st.integers(0, 60),
    seed=st.integers(0, 1000),
)
def test_energies_add_up_and_cut_pulses_do_not_count(pulses: list[int], cut: int, seed: int) -> None:
    """Against a loop over rows, for any power, uneven steps of time, and a recording that began too late."""
    rng = np.random.default_rng(seed)
    marker = np.array(levels(pulses)[cut:], bool)
    if len(marker) < 2:
        return
    seconds = np.cumsum(rng.uniform(0.5, 1.5, len(marker)))
    watts = rng.uniform(0, 1, len(marker))
    wanted, running = [], None
    for row in range(1, len(marker)):
        if marker[row] and not marker[row - 1]:
            running = 0.0
        if not marker[row] and marker[row - 1] and running is not None:
            wanted.append(running)
            running = None
        if running is not None and row + 1 < len(marker):
            running += watts[row] * (seconds[row + 1] - seconds[row])
    recording = Recording("made", seconds, watts, marker, "D0")
    if not wanted:
        with pytest.raises(InputError, match="no whole pulse"):
            energy(recording)
        return
    found = energy(recording)
    assert found.joules.count == len(wanted)
    assert (found.joules.minimum, found.joules.maximum) == pytest.approx((min(wanted), max(wanted)))
    with pytest.raises(InputError, match="inferences are expected"):
        energy(recording, len(wanted) + 1)


def test_lost_samples_are_not_guessed(tmp_path: Path) -> None:
    recording = read(joulescope(tmp_path / "recorded.csv", levels(PULSES)))
    watts = recording.watts.copy()
    watts[1] = np.nan
    assert_is_of(energy(replace(recording, watts=watts)), PULSES)  # before the first inference
    watts[8] = np.nan
    with pytest.raises(InputError, match="lost 1 samples between"):
        energy(replace(recording, watts=watts))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line names columns"),
        ("a,b,c\n1,2,3\n", "no line names columns"),
        ("time,current,D0\n0,1,0\n1,1,1\n", "no column of voltage"),
        ("time,current,voltage\n0,1,3\n1,1,3\n", "no channel that changes"),
        ("time,current,voltage,D0\n0,1,3,0\n", "has 1 rows"),
        ("time,current,voltage,D0\n0,1,3,0\n1,x,3,1\n", "could not convert"),
        ("time,current,voltage,D0\n0,1,3,0\n1,1,3\n", "column"),
        ("time,current,voltage,D0\n0,1,3,0\n1,1,3,1\n1,1,3,0\n", "time does not go on in row 2"),
        (
            "time,current,voltage,D0,D1\n0,1,3,0,0\n1,1,3,1,1\n2,1,3,0,0\n",
            "several .* that change: D0, D1",
        ),
    ],
)
def test_what_cannot_be_used_is_said(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "recorded.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read(path)


def test_a_channel_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = joulescope(tmp_path / "recorded.csv", levels(PULSES))
    with pytest.raises(InputError, match=r"no digital channel 'D0'; it has gpi\[0\], gpi\[1\]"):
        read(path, marker="D0")
    with pytest.raises(InputError, match="cannot read"):
        read(tmp_path / "nothing.csv")


def test_the_command_says_energy_power_and_alignment(tmp_path: Path) -> None:
    toy_model.write_project(tmp_path / "out", "nucleo_f446re")
    path = ppk2(tmp_path / "recorded.csv", levels(PULSES), "D0-D7")
    command = [sys.executable, "-m", "tinygen", "bench", str(tmp_path / "out"), "--energy", str(path)]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *more], capture_output=True, text=True, check=False)

    found = json.loads(run("--volts", "3", "--repeat", "3", "--json").stdout)
    assert found["joules"]["median"] == pytest.approx(10 * STEP * BUSY_A * VOLTS)
    assert found["alignment"]["pulses"] == 3
    wrong = run("--volts", "3", "--repeat", "20")
    assert wrong.returncode == 1
    assert "3 whole pulses on D2, and 20 inferences" in wrong.stderr


def test_what_is_shown_has_units_and_uncertainty(tmp_path: Path) -> None:
    found = energy(read(ppk2(tmp_path / "recorded.csv", levels(PULSES), "D0-D7"), VOLTS))
    cells = [list(column.cells) for column in energy_tables.energy_table(found).columns]
    assert cells[2] == ["360 µJ", "10 ms"]
    notes = energy_tables.energy_notes(found)
    for said in ("36 mW", "6 mW", "D2 of recorded.csv: 3 pulses", "1 ms", "uncertain by up to 22%"):
        assert said in notes.replace("\n", " ")


def test_a_board_file_names_the_marker_pin(tmp_path: Path) -> None:
    board = load_board("nucleo_f446re")
    assert board.port is not None
    files = project_files(
        replace(board, port=replace(board.port, marker="PA8")), load_core(board.core), [toy_model.manifest(board.name)]
    )
    assert "#define BOARD_MARKER PA8 " in str(files["src/port/board.h"])
    assert "BOARD_MARKER" not in str(
        project_files(board, load_core(board.core), [toy_model.manifest(board.name)])["src/port/board.h"]
    )
    text = (Path(__file__).parents[1] / "boards" / "nucleo_f446re.toml").read_text()
    for pin, is_taken in (("PA8", True), ("PA 8; evil()", False)):
        own = tmp_path / "mine.toml"
        own.write_text(text.replace("[port]", f'[port]\nmarker = "{pin}"'))
        if is_taken:
            port = load_board(str(own)).port
            assert port is not None and port.marker == pin
        else:
            with pytest.raises(BoardError, match="marker"):
                load_board(str(own))
