"""What changed from one benchmark to the next, and what got worse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# A row, as results/*.json has it: figures of one model for one core and objective, and of its layers.
Row = Mapping[str, Any]

FIGURES = ("instructions", "cycles", "flash", "ram", "stack")
TOLERANCE = 0.01
LEAST = {"stack": 32}  # bytes; a register more that is saved is no regression
ESTIMATE_TOLERANCE = 0.15


@dataclass(frozen=True)
class Change:
    """One figure that is not what it was; None where there was, or is, none."""

    where: str
    figure: str
    before: float | None
    after: float | None

    @property
    def is_regression(self) -> bool:
        """Whether it grew by more than is tolerated."""
        if self.before is None or self.after is None:
            return False
        grown = self.after - self.before
        return grown > TOLERANCE * self.before and grown > LEAST.get(self.figure, 0)

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            return f"{self.where}: {'gone' if self.after is None else 'new'}"
        relative = f" ({self.after / self.before - 1:+.2%})" if self.before else ""
        return f"{self.where}: {self.figure} {self.before:,.0f} -> {self.after:,.0f}{relative}"


def changes(before: Iterable[Row], after: Iterable[Row]) -> list[Change]:
    """Every figure of a whole model that changed, and rows that came or went."""
    earlier = {key(row): row for row in before}
    later = {key(row): row for row in after}
    found = []
    for name in dict.fromkeys([*earlier, *later]):
        old, new = earlier.get(name), later.get(name)
        if old is None or new is None:
            found.append(Change(name, "", 1 if old else None, 1 if new else None))
            continue
        found += [Change(name, f, old[f], new[f]) for f in FIGURES if old[f] != new[f]]
    return found


def layer_changes(before: Iterable[Row], after: Iterable[Row]) -> list[Change]:
    """Layers whose instructions changed by more than is tolerated; only of models that still have the same layers."""
    earlier = {key(row): row for row in before}
    found = []
    for row in after:
        old = earlier.get(key(row))
        if old is None or [layer["op"] for layer in old["layers"]] != [layer["op"] for layer in row["layers"]]:
            continue
        for was, now in zip(old["layers"], row["layers"], strict=True):
            if abs(now["instructions"] - was["instructions"]) > TOLERANCE * was["instructions"]:
                where = f"{key(row)}, layer {now['index']} {now['op']} ({was['kernel']} -> {now['kernel']})"
                found.append(Change(where, "instructions", was["instructions"], now["instructions"]))
    return found


def poor_estimates(rows: Iterable[Row]) -> list[str]:
    """Layers that take more or fewer instructions than the generator expected, by more than is tolerated."""
    return [
        f"{key(row)}, layer {layer['index']} {layer['op']} ({layer['kernel']}): estimated {layer['estimate']:,}, "
        f"counted {layer['instructions']:,} ({layer['estimate'] / layer['instructions'] - 1:+.1%})"
        for row in rows
        for layer in row["layers"]
        if layer["estimate"] is not None
        and abs(layer["estimate"] - layer["instructions"]) > ESTIMATE_TOLERANCE * layer["instructions"]
    ]


def key(row: Row) -> str:
    """What a row is about, in words."""
    return f"{row['model']} on {row['core']}, {row['objective']}"
