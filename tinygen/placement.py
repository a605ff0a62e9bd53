"""Which parts of a library go into which of a board's regions of memory."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tinygen.errors import UsageError
from tinygen.project import runner_footprint
from tinygen.target import FLASH, RAM, Board, Region

PARTS: Mapping[str, str] = MappingProxyType(
    {"weights": FLASH, "code": FLASH, "hot": FLASH, "arena": RAM, "scratch": RAM, "state": RAM},
)
"""What can be placed, and where it goes otherwise. What belongs into flash may also lie in RAM: it is copied there.

"hot" is the code of those layers that execute most (see `tinygen.hot_code`), and else lies where "code" does; "scratch"
what kernels want for themselves, and else lies in the arena.
"""

AUTO = "auto"
"""Instead of a region: the fastest one that has room."""

_FIRST = ("scratch", "arena", "state", "weights", "code")
"""Whose choice comes first where not all find room in the fastest region: the most accesses for a byte."""

_SECTIONS = {
    "weights": ".region_{}.rodata",
    "code": ".region_{}.text",
    "hot": ".region_{}.text",
    "arena": ".bss.region_{}",
    "scratch": ".bss.region_{}",
    "state": ".bss.region_{}",
}
"""GCC takes what begins with ".bss." for memory without content. Foreign linker scripts leave that in their RAM."""

_IN_RAM = ".data"
"""What has content goes into the RAM that every board has with the variables that have some."""


@dataclass(frozen=True)
class Section:
    """The linker's section for one part of a library."""

    part: str
    region: str

    @property
    def name(self) -> str:
        """As the linker script of emulated boards gathers it (templates/project/regions.ld.j2)."""
        copied = _IN_RAM if self.region == RAM and PARTS[self.part] == FLASH else ""
        return copied + _SECTIONS[self.part].format(self.region)


def parsed(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(part, region) of words such as "weights=psram". Raises UsageError for what is no such word."""
    places: dict[str, str] = {}
    for word in words:
        part, _, region = word.partition("=")
        if part not in PARTS or not region:
            fixed = " A front end's memory stays in RAM, and its tables in flash." if part.startswith("front") else ""
            raise UsageError(f"--place {word}: not PART=REGION", f"PART is one of {', '.join(PARTS)}.{fixed}")
        if part in places:
            raise UsageError(f"--place {word}: {part} is placed twice", f"It is in {places[part]} already.")
        places[part] = region
    return tuple(places.items())


def resolved(places: Mapping[str, str], board: Board, sizes: Mapping[str, int]) -> dict[str, str]:
    """The same with a region of the board for each, in the order of PARTS.

    `sizes`: bytes of each part. "auto" becomes the region of the part's own kind with the fewest wait states, of those
    that have room; of equal ones, the one where the part lies anyway. Raises UsageError for a region that the board
    does not have, or that cannot hold the part.
    """
    found = {part: named(part, name, board).name for part, name in places.items() if name != AUTO}
    free = spare(board, {part: size for part, size in sizes.items() if places.get(part) != AUTO}, found)
    for part in _FIRST:
        if places.get(part) == AUTO:
            region = _fastest(part, sizes.get(part, 0), board, free)
            free[region.name] -= sizes.get(part, 0)
            found[part] = region.name
    return {part: found[part] for part in PARTS if part in found}


def spare(board: Board, sizes: Mapping[str, int], places: Mapping[str, str]) -> dict[str, int]:
    """Bytes of each region that parts of these sizes leave, where they are placed, or lie anyway; runner and stack."""
    free = {region.name: region.bytes for region in board.regions}
    free[RAM] -= runner_footprint(board).ram_bytes + board.stack_bytes
    free[FLASH] -= runner_footprint(board).flash_bytes
    for part, size in sizes.items():
        for name in lies_in(part, places.get(part, PARTS[part]), board):
            free[name] -= size
    return free


def lies_in(part: str, name: str, board: Board) -> tuple[str, ...]:
    """The regions that a part takes room in: what is copied into RAM lies in flash, too."""
    return (name, FLASH) if PARTS[part] == FLASH and region_of(board, name).kind == RAM else (name,)


def region_of(board: Board, name: str) -> Region:
    """The board's region of that name."""
    return next(region for region in board.regions if region.name == name)


def sections(places: Sequence[tuple[str, str]]) -> dict[str, Section]:
    """The sections of the parts that do not lie where they would anyway."""
    return {part: Section(part, region) for part, region in places if region != PARTS[part]}


def _fastest(part: str, size: int, board: Board, free: Mapping[str, int]) -> Region:
    home = region_of(board, PARTS[part])
    able = [region for region in board.regions if region.kind == home.kind and size <= free[region.name]]
    return min(able, key=lambda region: (region.wait_states, region is not home), default=home)


def named(part: str, name: str, board: Board) -> Region:
    """The region of that name. Raises UsageError where there is none, and for one that cannot hold the part."""
    names = [region.name for region in board.regions]
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise UsageError(f"--place {part}={name}: {board.name} has no such region", f"{hint}It has {', '.join(names)}.")
    region = region_of(board, name)
    if PARTS[part] == RAM and region.kind != RAM:
        raise UsageError(
            f"--place {part}={name}: {name} cannot be written", f"The {part} of a model is written: choose RAM."
        )
    return region
