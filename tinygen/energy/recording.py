"""Recordings of meters: CSV files with time, current, voltage and digital channels, as Joulescope's and PPK2's are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen.errors import InputError
from tinygen.ir import Array

_UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_UNITS |= {f"{prefix}{unit}": factor for unit in "AV" for prefix, factor in
           {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9}.items()}  # fmt: skip
_KINDS = {
    "time": "time", "timestamp": "time", "t": "time",
    "current": "current", "i": "current",
    "voltage": "voltage", "v": "voltage",
}  # fmt: skip
_COLUMN = re.compile(r"(?P<name>.+?)\s*[(\[](?P<unit>[munµ]?[sAV])[)\]]")
_CHANNEL = re.compile(r"(d|gpi|gpio|in|digital)[ _]?\[?\d+\]?", re.IGNORECASE)
_CHANNELS = re.compile(r"(?P<name>[A-Za-z]+)(?P<first>\d+)-[A-Za-z]*(?P<last>\d+)")
_MOST_BITS = 15
"""Of channels in one column: as a decimal number, a float64 has their digits."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Arrays of one length: a row is what the meter saw from its time until that of the next one."""

    name: str
    seconds: Array
    """float64, increasing."""
    watts: Array
    """float64; NaN where the meter lost samples."""
    marker: Array
    """bool: the channel that the board's marker is connected to."""
    channel: str
    """Its name in the file."""


@dataclass(frozen=True)
class _Columns:
    """Where things are in a row, by index, with what their numbers are multiplied with."""

    delimiter: str
    skipped: int
    """Lines before the first row."""
    time: tuple[int, float]
    current: tuple[int, float]
    voltage: tuple[int, float] | None
    channels: dict[str, tuple[int, int]]
    """By name: the column, and which decimal digit of it, from the right."""


def read(path: Path, volts: float | None = None, marker: str | None = None) -> Recording:
    """A recording; `volts` is the supply's voltage where the file has none, `marker` names the digital channel.

    Without a name it is the only channel that ever changes. Raises InputError.
    """
    columns = _columns(path)
    rows = _rows(path, columns)
    seconds = rows[columns.time[0]] * columns.time[1]
    if not np.all(np.diff(seconds) > 0):
        row = int(np.argmin(np.diff(seconds) > 0)) + 1
        raise InputError(f"{path}: time does not go on in row {row} of the data", "Export the recording again.")
    if columns.voltage is not None:
        supply = rows[columns.voltage[0]] * columns.voltage[1]
    elif volts is not None:
        supply = np.full(len(seconds), volts)
    else:
        raise InputError(f"{path} has no column of voltage", "Say what the supply's is: --volts 3.3.")
    channels = {name: _bits(rows[column], digit) for name, (column, digit) in columns.channels.items()}
    channel = _marker(path, channels, marker)
    watts = rows[columns.current[0]] * columns.current[1] * supply
    return Recording(path.name, seconds, watts, channels[channel], channel)


def _columns(path: Path) -> _Columns:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            head = [line.strip() for _, line in zip(range(100), file, strict=False)]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", "Give a meter's CSV file.") from None
    for index, line in enumerate(head):
        for delimiter in ",;\t":
            found = _named(line.lstrip("# ").split(delimiter))
            if found is not None:
                time, current, voltage, channels = found
                return _Columns(delimiter, index + 1, time, current, voltage, channels)
    raise InputError(
        f"{path}: no line names columns of time and current",
        "Export it with a heading, as in: time (s),current (A),voltage (V),D0",
    )


_Found = tuple[tuple[int, float], tuple[int, float], tuple[int, float] | None, dict[str, tuple[int, int]]]


def _named(cells: Sequence[str]) -> _Found | None:
    """What the cells of a heading are; None where they are none."""
    values: dict[str, tuple[int, float]] = {}
    channels: dict[str, tuple[int, int]] = {}
    for index, cell in enumerate(each.strip().strip('"') for each in cells):
        several = _CHANNELS.fullmatch(cell)
        if several is not None:
            first, last = int(several["first"]), int(several["last"])
            for number in range(first, min(last, first + _MOST_BITS - 1) + 1):
                channels.setdefault(f"{several['name']}{number}", (index, last - number))
            continue
        if _CHANNEL.fullmatch(cell):
            channels[cell] = (index, 0)
            continue
        found = _COLUMN.fullmatch(cell)
        name, unit = (found["name"], found["unit"]) if found else (cell, "")
        kind = _KINDS.get(name.lower())
        if kind is not None:
            values.setdefault(kind, (index, _UNITS[unit]))
    if "time" not in values or "current" not in values:
        return None
    return values["time"], values["current"], values.get("voltage"), channels


def _rows(path: Path, columns: _Columns) -> dict[int, Array]:
    """The columns that are wanted, by index."""
    values = (columns.time, columns.current, columns.voltage)
    wanted = sorted({each[0] for each in (*values, *columns.channels.values()) if each is not None})
    try:
        rows = np.loadtxt(
            path,
            np.float64,
            comments=None,
            delimiter=columns.delimiter,
            skiprows=columns.skipped,
            usecols=wanted,
            unpack=True,
            ndmin=2,
            encoding="utf-8-sig",
            quotechar='"',
        )
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: {error}", "All rows have to be numbers, with a point in them.") from None
    if rows.shape[1] < 2:
        raise InputError(f"{path} has {rows.shape[1]} rows", "Record while `tinygen bench` runs.")
    return dict(zip(wanted, rows, strict=True))


def _bits(column: Array, digit: int) -> Array:
    """A digit of decimal numbers: several channels may be written as one text of zeros and ones."""
    return np.asarray(column // 10.0**digit % 10 != 0)


def _marker(path: Path, channels: dict[str, Array], wanted: str | None) -> str:
    listed = ", ".join(channels) or "none"
    if wanted is not None:
        named = [name for name in channels if name.lower() == wanted.lower()]
        if not named:
            raise InputError(f"{path} has no digital channel {wanted!r}; it has {listed}", "Name one of them.")
        return named[0]
    moving = [name for name, levels in channels.items() if levels.any() and not levels.all()]
    if len(moving) != 1:
        what = f"several digital channels that change: {', '.join(moving)}" if moving else "no channel that changes"
        raise InputError(
            f"{path} has {what} (channels: {listed})",
            "Connect the board's marker pin to one, record that channel, and name it with --marker.",
        )
    return moving[0]
