"""What an invoke costs on an emulated board: instructions and modelled cycles, layer by layer."""

from __future__ import annotations

import contextlib
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tinygen import board as boards
from tinygen import elf, firmware, manifest, samples, stack, staging
from tinygen.counting import record
from tinygen.counting.attribution import Figures, Flash, figures, flash, library_flash, library_ram
from tinygen.counting.disassembly import disassemble, modelled_cycles
from tinygen.counting.link_map import library_pieces
from tinygen.counting.plugin import plugin
from tinygen.errors import TinygenError, ToolFailed, UsageError
from tinygen.link import open_link
from tinygen.listening.ticks import result_ticks
from tinygen.manifest import LayerEstimate, Manifest
from tinygen.project import project_files
from tinygen.samples import Sample
from tinygen.session import Session
from tinygen.stack_use import StackUse, feed_stack_bound, stack_bound
from tinygen.target import CostTable, load_board, load_core

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class LayerCount:
    """What one layer took, from its entry to its return, callees included; sizes in bytes."""

    index: int
    name: str
    op: str
    symbol: str
    kernel: str
    macs: int
    instructions_per_mac: float | None  # None without MACs
    figures: Figures
    code_bytes: int  # of functions that no other layer executes
    const_bytes: int
    estimate: LayerEstimate


@dataclass(frozen=True)
class Count:
    """What one invoke took on an emulated board, from entry to return; sizes in bytes."""

    board: str
    core: str
    cost: CostTable
    optimize: str
    macs: int
    instructions_per_mac: float | None
    total: Figures
    layers: tuple[LayerCount, ...]
    between: Figures  # the invoke's own instructions, outside of layers
    stack_bytes: int  # below the stack pointer at entry
    stack_bound: stack.Bound  # what they cannot exceed, whatever the input
    feed_stack_bound: stack.Bound | None  # of what takes samples, where there is a front end, invokes included
    flash: Flash
    flash_bytes: int  # of the library: code, constants, and initial values
    ram_bytes: int  # of the library's static memory, and of the arena where that is not its own
    outputs_crc32: tuple[int, ...]  # of what was computed
    result_instructions: int | None  # of a result from samples, about: front end and invoke; None without a front end


def sample_of(content: Manifest) -> Sample:
    """The input that is measured with: random, and the same for each model with such inputs."""
    return samples.generated(content.inputs, 3, 0)[2]


def count(out: Path, content: Manifest, on_line: OnLine | None = None) -> Count:
    """Build the firmware of an output folder for an emulated board, and count what one invoke executes.

    Raises ToolMissing, ToolFailed, OutputError, LinkError.
    """
    core = load_core(content.core)
    path = firmware.build(out, on_line)
    image = firmware.firmware_image(out)
    found, outputs = counted(out, content, watch(image, content))
    code = disassemble(path, core.toolchain)
    modelled = modelled_cycles(code, core)
    spans = {span.index: figures(span, code, modelled, core.cost.cycles["taken"]) for span in found.spans}
    pieces = library_pieces(path.with_suffix(".map"), content.name)
    size = library_flash(image, pieces)
    parts = flash(image, pieces, found, len(content.layers), size)
    between = spans[record.OUTSIDE_OF_PARTS]
    layers = tuple(
        LayerCount(
            index=index,
            name=layer.name,
            op=layer.op,
            symbol=layer.symbol,
            kernel=layer.kernel,
            macs=layer.macs,
            instructions_per_mac=_ratio(spans[index].instructions, layer.macs),
            figures=spans[index],
            code_bytes=parts.code[index],
            const_bytes=parts.constants[index],
            estimate=layer.estimate,
        )
        for index, layer in enumerate(content.layers)
    )
    total = sum((layer.figures for layer in layers), between)
    use = StackUse(content.invoke, found.stack_bytes, stack_bound(image, code, content), has_interrupts=False)
    use.check()
    return Count(
        board=content.board,
        core=core.name,
        cost=core.cost,
        optimize=content.optimize,
        macs=content.macs,
        instructions_per_mac=_ratio(total.instructions, content.macs),
        total=total,
        layers=layers,
        between=between,
        stack_bytes=found.stack_bytes,
        stack_bound=use.bound,
        feed_stack_bound=feed_stack_bound(image, code, content),
        flash=parts,
        flash_bytes=size,
        ram_bytes=library_ram(image, pieces) + content.borrowed_bytes,
        outputs_crc32=tuple(zlib.crc32(data) for data in outputs),
        result_instructions=_result_instructions(out, content, total.instructions),
    )


def _result_instructions(out: Path, content: Manifest, of_invoke: int) -> int | None:
    """From the emulator's ticks, which go with instructions: an invoke tells how many these are."""
    if content.front_end is None:
        return None
    with boards.flashed(out, content) as peer:
        of_result, ticks = result_ticks(peer.session, content), invoke_once(peer.session, content)
    return None if of_result is None or not ticks else round(of_result * of_invoke / ticks)


def _ratio(count: int, macs: int) -> float | None:
    return count / macs if macs else None


def watch(
    image: elf.Image,
    content: Manifest,
    allowed: tuple[record.Allowance, ...] = (),
    pairs: tuple[record.Pair, ...] = (),
) -> record.Watch:
    """The invoke and its layers in a linked firmware; what they may touch, if that is limited, and pairs to follow.

    Raises ToolFailed when a layer has no function of its own.
    """
    feed = content.inputs[0].symbol if content.begin else None
    try:
        return record.Watch(
            root=image.symbol(content.invoke).address,
            parts=tuple(image.symbol(layer.symbol).address for layer in content.layers),
            architecture=image.architecture,
            stack=(image.symbol("linker_bss_end").address, image.symbol("linker_stack_top").address),
            allowed=allowed,
            pairs=pairs,
            feed=image.symbol(feed).address if feed else None,
            begin=image.symbol(content.begin).address if content.begin else None,
        )
    except ValueError as error:
        raise ToolFailed(f"the firmware of {content.name} cannot be counted: {error}", "Build it again.") from None


def counted(out: Path, content: Manifest, watched: record.Watch) -> tuple[record.Record, list[bytes]]:
    """Run one invoke of a built firmware on the sample, from its first state, under the counting plugin.

    What was counted, and the bytes of the outputs.

    Raises ToolMissing, ToolFailed, LinkError.
    """
    with staging.temporary("work") as folder:
        answer = folder / "record"
        port = firmware.emulate(out, watched.arguments(plugin(), answer))
        try:
            with open_link(port, firmware.baud(out)) as link:
                session = Session(link)
                invoke_once(session, content)
                outputs = session.outputs()
        finally:
            firmware.stop(out)
        return checked(record.read(answer), watched, content), outputs


def invoke_once(session: Session, content: Manifest) -> int | None:
    """One invoke on the sample, from the model's first state; its ticks."""
    session.check_model(content)
    session.reset()
    session.load_inputs(sample_of(content).bytes)
    return session.invoke()


def checked(found: record.Record, watched: record.Watch, content: Manifest) -> record.Record:
    """The record, when its spans are the model's layers in their order. Raises ToolFailed."""
    called = [span.function for span in found.spans if span.index >= 0]
    if called != list(watched.parts):
        raise ToolFailed(
            f"{content.invoke}() called {len(called)} layers, not the manifest's {len(watched.parts)} in their order",
            "Was the library changed since it was generated? Build it again.",
        )
    return found


def _stop_emulator(left: Path) -> None:
    with contextlib.suppress(TinygenError):  # it got no further
        firmware.stop(left)


@contextlib.contextmanager
def for_board(out: Path, content: Manifest, name: str, apart: bool = False) -> Iterator[tuple[Path, Manifest]]:
    """An output folder for a board: `out` itself, or the same library in a temporary project for one of its core.

    `apart`: in any case a temporary project. Raises UsageError for a board with another core than the library was
    generated for, and for firmware that does not talk to tinygen.
    """
    firmware.expect_runner(out)
    if name == content.board and not apart:
        yield out, content
        return
    board = load_board(name)
    if board.core != content.core:
        raise UsageError(
            f"{out} was built for {content.board} ({content.core}); {board.name} has another core, {board.core}",
            f"Build for it: tinygen build MODEL --board {name}.",
        )
    moved = replace(content, board=board.name)
    models = [replace(model, board=board.name) for model in manifest.load_all(out)]
    project = project_files(board, load_core(board.core), models)
    with staging.temporary("board", _stop_emulator) as target:
        shutil.copytree(out / "lib", target / "lib")
        for path, data in (project | {manifest.FILE_NAME: manifest.to_json(models)}).items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(data if isinstance(data, bytes) else data.encode())
        yield target, moved
