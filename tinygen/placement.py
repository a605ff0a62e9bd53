"""Which parts of a library go into which of a board's regions of memory."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tinygen.errors import UsageError
from tinygen.target import FLASH, RAM, Board, Region

PARTS: Mapping[str, str] = MappingProxyType(
    {"weights": FLASH, "code": FLASH, "arena": RAM, "state": RAM},
)
"""What can be placed, and where it goes otherwise. What belongs into flash may also lie in RAM: it is copied there."""

AUTO = "auto"
"""Instead of a region: the fastest one that has room."""

_SECTIONS = {
    "weights": ".region_{}.rodata",
    "code": ".region_{}.text",
    "arena": ".bss.region_{}",
    "state": ".bss.region_{}",
}
"""GCC takes what begins with ".bss." for memory without content. Foreign linker scripts leave that in their RAM."""


@dataclass(frozen=True)
class Section:
    """The linker's section for one part of a library."""

    part: str
    region: str

    @property
    def name(self) -> str:
        """As the linker script of emulated boards gathers it (templates/project/regions.ld.j2)."""
        return _SECTIONS[self.part].format(self.region)


def parsed(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(part, region) of words such as "weights=psram". Raises UsageError for what is no such word."""
    places: dict[str, str] = {}
    for word in words:
        part, _, region = word.partition("=")
        if part not in PARTS or not region:
            raise UsageError(f"--place {word}: not PART=REGION", f"PART is one of {', '.join(PARTS)}.")
        if part in places:
            raise UsageError(f"--place {word}: {part} is placed twice", f"It is in {places[part]} already.")
        places[part] = region
    return tuple(places.items())


def resolved(places: Sequence[tuple[str, str]], board: Board, sizes: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    """The same with a region of the board for each, in the order of PARTS.

    `sizes`: bytes of each part. "auto" becomes the region of the part's own kind with the fewest wait states, of those
    that have room; of equal ones, the one where the part lies anyway. Raises UsageError for a region that the board
    does not have, or that cannot hold the part.
    """
    wanted = dict(places)
    taken = dict.fromkeys((region.name for region in board.regions), 0)
    found = []
    for part in sorted(wanted, key=list(PARTS).index):
        size = sizes.get(part, 0)
        region = _fastest(part, size, board, taken) if wanted[part] == AUTO else _named(part, wanted[part], board)
        taken[region.name] += size
        found.append((part, region.name))
    return tuple(found)


def sections(places: Sequence[tuple[str, str]]) -> dict[str, Section]:
    """The sections of the parts that do not lie where they would anyway."""
    return {part: Section(part, region) for part, region in places if region != PARTS[part]}


def _fastest(part: str, size: int, board: Board, taken: Mapping[str, int]) -> Region:
    home = PARTS[part]
    kind = next(region.kind for region in board.regions if region.name == home)
    able = [region for region in board.regions if region.kind == kind and taken[region.name] + size <= region.bytes]
    return min(able, key=lambda region: (region.wait_states, region.name != home), default=_named(part, home, board))


def _named(part: str, name: str, board: Board) -> Region:
    names = [region.name for region in board.regions]
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise UsageError(f"--place {part}={name}: {board.name} has no such region", f"{hint}It has {', '.join(names)}.")
    region = next(region for region in board.regions if region.name == name)
    if PARTS[part] == RAM and region.kind != RAM:
        raise UsageError(
            f"--place {part}={name}: {name} cannot be written", f"The {part} of a model is written: choose RAM."
        )
    return region
