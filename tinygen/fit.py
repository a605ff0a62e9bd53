"""Whether a model fits on a board, before anything is compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.errors import DoesNotFit
from tinygen.library import Library
from tinygen.placement import PARTS
from tinygen.plan import Plan, sizes_of
from tinygen.project import RUNNER_FOOTPRINT
from tinygen.select import Step
from tinygen.target import FLASH, RAM, Board


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
    rooms[RAM] -= RUNNER_FOOTPRINT.ram_bytes + board.stack_bytes
    return rooms.get(wanted, max(rooms.values()))


def measure(library: Library, chosen: Plan, board: Board, places: Sequence[tuple[str, str]] = ()) -> FitReport:
    """What is needed, with the library's parts where they are placed, and what the board has."""
    sizes = {**sizes_of(chosen), "weights": library.const_bytes}
    code = sizes.pop("code")
    parts: dict[str, dict[str, int]] = {region.name: {} for region in board.regions}
    code_in = dict.fromkeys(parts, 0)
    for part, home in PARTS.items():
        region = dict(places).get(part, home)
        copied = home == FLASH and _kind(board, region) == RAM
        for place in (region, FLASH) if copied else (region,):
            if part == "code":
                code_in[place] = code
            else:
                parts[place][part] = sizes[part]
    parts[RAM] |= {"stack": board.stack_bytes, "runner": RUNNER_FOOTPRINT.ram_bytes}
    parts[FLASH]["runner"] = RUNNER_FOOTPRINT.flash_bytes
    needs = {
        region.name: RegionNeed(region.name, parts[region.name], region.bytes, code_in[region.name])
        for region in board.regions
        if parts[region.name] or code_in[region.name]
    }
    return FitReport(
        ram_needed=needs[RAM].needed,
        ram_available=board.ram_bytes,
        flash_needed=needs[FLASH].needed,
        flash_available=board.flash_bytes,
        peak=_peak(chosen),
        regions=tuple(needs.values()),
    )


def fit(library: Library, chosen: Plan, board: Board, source: str, places: Sequence[tuple[str, str]] = ()) -> FitReport:
    """Compare needs and board. Raises DoesNotFit with what is needed, what there is, and where the peak is."""
    report = measure(library, chosen, board, places)
    names = {RAM: "RAM"}
    notes = {RAM: "", FLASH: "; the layers' code comes on top"}
    causes = {RAM: f"; the peak is {report.peak}", FLASH: _largest_layer(chosen.steps)}
    reasons = [
        f"{names.get(need.region, need.region)}: {need.needed:,} bytes needed "
        f"({need.text}{notes.get(need.region, '')}), {need.available:,} there{causes.get(need.region, '')}"
        for need in report.regions
        if need.needed > need.available
    ]
    if reasons:
        raise DoesNotFit(
            f"{source} does not fit on {board.name}:\n" + "\n".join(f"  - {reason}" for reason in reasons),
            "Choose a board with more memory (tinygen boards), or a smaller model.",
        )
    return report


def fit_together(reports: Sequence[FitReport], states: Sequence[int], board: Board) -> None:
    """Compare what models need that take turns in one arena, each with so many bytes of state. Raises DoesNotFit."""
    ram = max(report.ram_needed - state for report, state in zip(reports, states, strict=True))
    flash = sum(report.flash_needed - RUNNER_FOOTPRINT.flash_bytes for report in reports)
    reasons = [
        f"{what}: {needed:,} bytes needed, {there:,} there"
        for what, needed, there in (
            ("RAM", ram + sum(states), board.ram_bytes),
            ("flash", flash + RUNNER_FOOTPRINT.flash_bytes, board.flash_bytes),
        )
        if needed > there
    ]
    if reasons:
        raise DoesNotFit(
            f"the {len(reports)} models do not fit on {board.name} together:\n"
            + "\n".join(f"  - {reason}" for reason in reasons),
            "Choose a board with more memory (tinygen boards), or fewer models.",
        )


def _kind(board: Board, name: str) -> str:
    return next(region.kind for region in board.regions if region.name == name)


def _peak(chosen: Plan) -> str:
    if not chosen.steps:
        return "the model's input and output"
    index = chosen.layout.plan.peak_step
    live = [slot.buffer for slot in chosen.layout.plan.slots if slot.buffer.first <= index <= slot.buffer.last]
    tensors = " + ".join(f"{buffer.bytes:,}" for buffer in sorted(live, key=lambda buffer: -buffer.bytes))
    node = chosen.steps[index].node
    total = sum(buffer.bytes for buffer in live)
    overlapping = ", overlapping" if total > chosen.layout.plan.bytes else ""
    return f"{node.name} {node.op.name}, {total:,} bytes live ({tensors}{overlapping})"


def _largest_layer(steps: Sequence[Step]) -> str:
    sizes = [
        (sum(t.bytes for t in step.site.inputs if t.data is not None), f"{step.node.name} {step.node.op.name}")
        for step in steps
    ]
    if not sizes:
        return ""
    size, name = max(sizes)
    return f"; the largest layer is {name} with {size:,} bytes"
