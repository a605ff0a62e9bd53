"""What a build is to be best at, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.errors import UsageError

STYLES = ("balanced", "speed", "size")
"""What code can be written for."""

OBJECTIVES = (*STYLES, "ram")
"""The least product of time, flash and RAM; the least time; the least flash; the least RAM."""


@dataclass(frozen=True)
class Goal:
    """An objective, and limits in bytes.

    Raises UsageError for what cannot be chosen.
    """

    objective: str = "balanced"
    """One of OBJECTIVES."""
    flash_budget: int | None = None
    """For code and constants of the model's library."""
    ram_budget: int | None = None
    """For its arena and states."""
    places: tuple[tuple[str, str], ...] = ()
    """Which parts of the library go into which regions of the board (see `tinygen.placement`)."""
    prefer: frozenset[str] = frozenset()
    """Names of kernels to take wherever they can be used, whatever they cost."""
    overlap: bool = True
    """Whether outputs may overlap inputs that are not read again; if not, one can see what layers read and write."""
    patience: int = 1
    """How many times the objective's usual part of instructions, time and flash less RAM may cost."""
    hot: str = ""
    """Which layers' code is the part "hot": a number of bytes, or layers' names; empty: as many as find room."""

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UsageError(f"unknown objective {self.objective!r}", f"Choose one of {', '.join(OBJECTIVES)}.")
        for what, budget in (("flash", self.flash_budget), ("RAM", self.ram_budget)):
            if budget is not None and budget < 1:
                raise UsageError(f"a {what} budget of {budget} bytes leaves nothing", "Choose 1 or more.")

    @property
    def style(self) -> str:
        """What code is written for, one of STYLES: RAM is saved by the choice of kernels, not by other code."""
        return "balanced" if self.objective == "ram" else self.objective

    @property
    def words(self) -> tuple[str, ...]:
        """The command line's words for it."""
        flash = () if self.flash_budget is None else ("--flash-budget", str(self.flash_budget))
        ram = () if self.ram_budget is None else ("--ram-budget", str(self.ram_budget))
        prefer = (word for name in sorted(self.prefer) for word in ("--kernel", name))
        places = (word for part, region in self.places for word in ("--place", f"{part}={region}"))
        hot = ("--hot", self.hot) if self.hot else ()
        return ("--optimize", self.objective, *flash, *ram, *places, *hot, *prefer)
