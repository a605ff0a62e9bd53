"""The inferences in a recording: the marker's pulses, and the energy of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.distribution import Distribution, distribution
from tinygen.energy.recording import Recording
from tinygen.errors import InputError
from tinygen.ir import Array


@dataclass(frozen=True)
class Alignment:
    """Where the inferences were found."""

    recording: str
    channel: str
    pulses: int
    first_seconds: float
    """In the recording: when the first one begins."""
    last_seconds: float
    """When the last one ends."""
    sample_seconds: float
    """Between rows, the median: how exactly the beginning and the end of a pulse are known."""
    least_samples: int
    """In the shortest pulse."""


@dataclass(frozen=True)
class Energy:
    """What inferences took."""

    alignment: Alignment
    joules: Distribution
    """Of an inference: all that the supply gave meanwhile."""
    seconds: Distribution
    watts: float
    """The mean while the model runs."""
    idle_watts: float | None
    """The mean between the inferences; None with a single one."""
    joules_above_idle: float | None
    """Of an inference on average, without what would have been used in that time anyway."""


def energy(recording: Recording, expected: int | None = None) -> Energy:
    """The energy of each pulse, of which so many are expected; a row's power holds until the next row.

    Raises InputError for another number of pulses, ones that are not whole, and rows that the meter lost.
    """
    begins, ends = _pulses(recording)
    if expected is not None and len(begins) != expected:
        raise InputError(
            f"{recording.name} has {len(begins)} whole pulses on {recording.channel}, and {expected} inferences are "
            f"expected: --repeat {expected}",
            "Record from before `tinygen bench` starts until it has ended, fast enough for the pulses to be seen.",
        )
    if not len(begins):
        raise InputError(
            f"{recording.name} has no whole pulse on {recording.channel}", "Does the board's file name its marker pin?"
        )
    lasts = np.diff(recording.seconds)
    # joules[i]: up to row i.
    joules = np.concatenate([[0.0], np.cumsum(np.nan_to_num(recording.watts[:-1] * lasts))])
    lost = np.concatenate([[0], np.cumsum(np.isnan(recording.watts))])
    if lost[ends[-1]] - lost[begins[0]]:
        raise InputError(
            f"{recording.name}: the meter lost {lost[ends[-1]] - lost[begins[0]]} samples between the first inference "
            "and the last",
            "Record again, at a lower rate or with another range.",
        )
    each = joules[ends] - joules[begins]
    seconds = recording.seconds[ends] - recording.seconds[begins]
    watts = float(each.sum() / seconds.sum())
    idle = None
    if len(begins) > 1:
        between = recording.seconds[begins[1:]] - recording.seconds[ends[:-1]]
        idle = float((joules[begins[1:]] - joules[ends[:-1]]).sum() / between.sum())
    return Energy(
        Alignment(
            recording.name,
            recording.channel,
            len(begins),
            float(recording.seconds[begins[0]]),
            float(recording.seconds[ends[-1]]),
            float(np.median(lasts)),
            int((ends - begins).min()),
        ),
        distribution(each.tolist()),
        distribution(seconds.tolist()),
        watts,
        idle,
        None if idle is None else float(each.mean() - idle * seconds.mean()),
    )


def _pulses(recording: Recording) -> tuple[Array, Array]:
    """First rows of whole pulses, and the first rows behind them."""
    edges = np.diff(recording.marker.astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1) + 1, np.flatnonzero(edges == -1) + 1
    if recording.marker[0]:
        ends = ends[1:]
    return begins[: len(ends)], ends
