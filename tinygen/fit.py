"""Whether a model fits on a board, before anything is compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType

from tinygen.errors import DoesNotFit
from tinygen.memory_map import covered
from tinygen.part_sizes import PartSizes
from tinygen.placed import Placed
from tinygen.placement import PARTS, lies_in
from tinygen.plan import Plan
from tinygen.project import runner_footprint
from tinygen.select import Step
from tinygen.target import FLASH, RAM, Board

Beside = Mapping[str, PartSizes]
"""What there is besides the model's library and the runner, by what it is."""


@dataclass(frozen=True)
class RegionNeed:
    """What goes into one of a board's regions, in bytes by name, and its size."""

    region: str
    parts: Mapping[str, int]
    available: int
    code_expected: int
    """About what the layers' code comes to, on top of the parts."""

    @property
    def needed(self) -> int:
        """All parts."""
        return sum(self.parts.values())

    @property
    def text(self) -> str:
        """The parts in words."""
        return ", ".join(f"{count:,} {part}" for part, count in self.parts.items())


@dataclass(frozen=True)
class FitReport:
    """Bytes needed and available; what is known before compiling, without the layers' own code."""

    ram_needed: int
    ram_available: int
    flash_needed: int
    flash_available: int
    peak: str
    """The step that sets the arena's size, in words."""
    regions: tuple[RegionNeed, ...]
    """Those that something goes into; "ram" and "flash" always."""


def room(board: Board, places: Sequence[tuple[str, str]] = ()) -> int:
    """Bytes of RAM that a board has for arena and states, with the arena where it is placed."""
    wanted = dict(places).get("arena", RAM)
    rooms = {region.name: region.bytes for region in board.regions if region.kind == RAM}
    rooms[RAM] -= runner_footprint(board).ram_bytes + board.stack_bytes
    return rooms.get(wanted, max(rooms.values()))


def measure(placed: Placed, const_bytes: int, board: Board, beside: Beside = MappingProxyType({})) -> FitReport:
    """What is needed, with the library's parts where they are placed, and what the board has.

    `const_bytes`: those of the library, of which plans have an estimate only. `beside`: what else there is, by name.
    """
    sizes = {**placed.sizes, "weights": const_bytes}
    places = dict(placed.places)
    parts: dict[str, dict[str, int]] = {region.name: {} for region in board.regions}
    code = dict.fromkeys(parts, 0)
    for part, home in PARTS.items():
        if not sizes[part] and part not in _ALWAYS:
            continue
        for name in lies_in(part, places.get(part, home), board):
            if part in ("code", "hot"):
                code[name] += sizes[part]
            else:
                parts[name][part] = sizes[part]
    for name, taken in beside.items():
        parts[RAM][name], parts[FLASH][name] = taken.ram_bytes, taken.const_bytes
        code[FLASH] += taken.code_bytes
    parts[RAM] |= {"stack": board.stack_bytes, "runner": runner_footprint(board).ram_bytes}
    parts[FLASH]["runner"] = runner_footprint(board).flash_bytes
    needs = {
        region.name: RegionNeed(region.name, parts[region.name], region.bytes, code[region.name])
        for region in board.regions
        if parts[region.name] or code[region.name]
    }
    return FitReport(
        ram_needed=needs[RAM].needed,
        ram_available=board.ram_bytes,
        flash_needed=needs[FLASH].needed,
        flash_available=board.flash_bytes,
        peak=_peak(placed.chosen),
        regions=tuple(needs.values()),
    )


_ALWAYS = ("weights", "arena", "state")
"""Parts that are shown even where there are none of their bytes."""


def fit(
    placed: Placed,
    const_bytes: int,
    board: Board,
    source: str,
    objective: str,
    beside: Beside = MappingProxyType({}),
) -> FitReport:
    """Compare needs and board. Raises DoesNotFit with what is needed, what there is, and where the peak is."""
    report = measure(placed, const_bytes, board, beside)
    names = {RAM: "RAM"}
    notes = {RAM: "", FLASH: "; the layers' code comes on top"}
    causes = {RAM: f"; the peak is {report.peak}", FLASH: _largest_layer(placed.chosen.steps)}
    short = [need for need in report.regions if need.needed > need.available]
    reasons = [
        f"{names.get(need.region, need.region)}: {need.needed:,} bytes needed "
        f"({need.text}{notes.get(need.region, '')}), {need.available:,} there{causes.get(need.region, '')}"
        for need in short
    ]
    if reasons:
        raise DoesNotFit(
            f"{source} does not fit on {board.name}:\n" + "\n".join(f"  - {reason}" for reason in reasons),
            _remedy({need.region for need in short}, objective, "a smaller model"),
        )
    return report


def _remedy(short: Set[str], objective: str, instead: str) -> str:
    """What to do where these regions are too small for what the objective takes."""
    least = {frozenset({RAM}): "ram", frozenset({FLASH}): "size"}.get(frozenset(short))
    board = f"a board with more memory (tinygen boards), or {instead}"
    if least is None or least == objective:
        return f"Choose {board}."
    return f"Try --optimize {least}, or choose {board}."


_ONCE = ("arena", "stack", "runner")
"""Of models that take turns, the largest one's is all of theirs."""


def fit_together(reports: Sequence[FitReport], board: Board, objective: str) -> None:
    """Compare the board with what models need that take turns in one arena. Raises DoesNotFit."""
    names = {RAM: "RAM"}
    reasons = {}
    for region in board.regions:
        needs = [need for report in reports for need in report.regions if need.region == region.name]
        needed = 0
        for part in dict.fromkeys(part for need in needs for part in need.parts):
            each = [need.parts.get(part, 0) for need in needs]
            needed += max(each) if part in _ONCE else sum(each)
        if needed > region.bytes:
            name = names.get(region.name, region.name)
            reasons[region.name] = f"{name}: {needed:,} bytes needed, {region.bytes:,} there"
    if reasons:
        raise DoesNotFit(
            f"the {len(reports)} models do not fit on {board.name} together:\n"
            + "\n".join(f"  - {reason}" for reason in reasons.values()),
            _remedy(reasons.keys(), objective, "fewer models"),
        )


def _peak(chosen: Plan) -> str:
    if not chosen.steps:
        return "the model's input and output"
    index = chosen.layout.plan.peak_step
    live = [slot for slot in chosen.layout.plan.slots if slot.buffer.is_live(index)]
    tensors = " + ".join(f"{slot.buffer.bytes:,}" for slot in sorted(live, key=lambda slot: -slot.buffer.bytes))
    used = covered((slot.offset, slot.end) for slot in live)
    shared = sum(slot.buffer.bytes for slot in live) - used
    node = chosen.steps[index].node
    less = f" - {shared:,} shared" if shared else ""
    return f"layer {index}, {node.name} {node.op.name}, {used:,} bytes live ({tensors}{less})"


def _largest_layer(steps: Sequence[Step]) -> str:
    sizes = [
        (sum(t.bytes for t in step.site.inputs if t.data is not None), f"{index}, {step.node.name} {step.node.op.name}")
        for index, step in enumerate(steps)
    ]
    if not sizes:
        return ""
    size, name = max(sizes)
    return f"; the largest is layer {name} with {size:,} bytes"
