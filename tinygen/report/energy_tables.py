"""What inferences took of energy, for the terminal."""

from __future__ import annotations

import textwrap

from rich.table import Table

from tinygen.distribution import Distribution
from tinygen.energy.inferences import Energy
from tinygen.report.tables import plain_table

_WIDTH = 120
_FEW_SAMPLES = 20
_FIGURES = ("minimum", "median", "99 %", "maximum")
_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def energy_table(found: Energy) -> Table:
    """How the energy of an inference, and its time, spread."""
    table = plain_table("of an inference", *_FIGURES, right=_FIGURES)
    table.add_row("energy", *_figures(found.joules, "J"))
    table.add_row("time", *_figures(found.seconds, "s"))
    return table


def _figures(spread: Distribution, unit: str) -> list[str]:
    return [_quantity(each, unit) for each in (spread.minimum, spread.median, spread.p99, spread.maximum)]


def _quantity(value: float, unit: str) -> str:
    factor, prefix = next((each for each in _PREFIXES if abs(value) >= each[0]), _PREFIXES[-1])
    return f"{value / factor:.4g} {prefix}{unit}"


def energy_notes(found: Energy) -> str:
    """Mean power, what was there anyway, and how recording and inferences were aligned."""
    at = found.alignment
    power = f"Mean power while the model runs: {_quantity(found.watts, 'W')}."
    if found.idle_watts is not None and found.joules_above_idle is not None:
        power += (
            f" Between inferences: {_quantity(found.idle_watts, 'W')}; above that, an inference takes "
            f"{_quantity(found.joules_above_idle, 'J')}."
        )
    aligned = (
        f"Measured by the meter. Aligned by the marker on {at.channel} of {at.recording}: {at.pulses:,} pulses, from "
        f"{at.first_seconds:.6g} s to {at.last_seconds:.6g} s, the shortest with {at.least_samples:,} samples; each "
        f"edge is known to a sample, {_quantity(at.sample_seconds, 's')}."
    )
    if at.least_samples < _FEW_SAMPLES:
        aligned += f" So few samples make energy and time uncertain by up to {2 / at.least_samples:.0%}."
    return "\n".join(textwrap.fill(line, _WIDTH, break_on_hyphens=False) for line in (power, aligned))
