"""The stack of an invoke, and of taking samples: how deep it went, beside the linked code's bound for all inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinygen import elf, firmware, stack
from tinygen.counting.disassembly import Instruction, disassemble
from tinygen.errors import ToolError, ToolFailed
from tinygen.manifest import Manifest
from tinygen.stack_avr import AvrCalls
from tinygen.stack_riscv import RiscvCalls
from tinygen.target import ARM, AVR, RISCV, load_core

_AVR_MACHINE, _AVR6 = 0x7F, 6
"""Of the flags in an ELF file for AVR: the processor's kind; the one whose return addresses have three bytes."""

UNPAINTED = 64
"""Bytes below the invoke's caller that the runner does not paint (firmware/runner/stack.c): no use is less."""


@dataclass(frozen=True)
class StackUse:
    """Bytes below the stack pointer of the invoke's caller."""

    invoke: str
    """The function: the invoke, or what takes samples."""
    used: int | None
    """By the calls that were measured; None where the board cannot tell."""
    bound: stack.Bound
    has_interrupts: bool
    """Whether what interrupts pushed is among the bytes that were used; the bound is without them."""

    @property
    def exceeds(self) -> bool:
        """Whether more was used than can be."""
        if self.used is None or self.bound.bytes is None or self.has_interrupts:
            return False
        return self.used > max(self.bound.bytes, UNPAINTED)

    def check(self) -> None:
        """Raises ToolFailed where more was used than can be: then something is wrong with the bound."""
        if self.exceeds:
            raise ToolFailed(
                f"{self.invoke}() used {self.used:,} bytes of stack, and the linked code says that it cannot use more "
                f"than {self.bound.bytes:,} (in {' > '.join(self.bound.path)})",
                "The bound is wrong, or something else runs on this stack. Please report it, with the model.",
            )


def stack_uses(out: Path, content: Manifest, used: int | None, fed: int | None) -> tuple[StackUse, ...]:
    """Of the invoke, and of a library with a front end also of what takes samples: what was used, and the bound.

    From the firmware that was built in `out`; no bound where its code cannot be read. `used` and `fed` are what the
    runner has measured.
    """
    # On AVR, ticks are counted by one.
    has_interrupts = load_core(content.core).architecture == AVR or not firmware.is_emulated(out)
    try:
        code = disassemble(firmware.firmware_path(out), load_core(content.core).toolchain)
        image = firmware.firmware_image(out)
        invoke, feed = stack_bound(image, code, content), feed_stack_bound(image, code, content)
        between = _between(image, code, content, feed)
    except ToolError as error:
        invoke = stack.Bound(None, (content.invoke,), error.message)
        feed = None if content.front_end is None else stack.Bound(None, (content.front_end.feed,), error.message)
        between = 0
    uses = [StackUse(content.invoke, used, invoke, has_interrupts)]
    if feed is not None and content.front_end is not None:
        own = None if fed is None else fed - between
        uses.append(StackUse(content.front_end.feed, own, feed, has_interrupts))
    return tuple(uses)


def stack_bound(image: elf.Image, code: Mapping[int, Instruction], content: Manifest) -> stack.Bound:
    """What the stack of an invoke, or of feeding rows, cannot exceed, from the instructions of a linked firmware."""
    roots = [content.invoke, *([content.inputs[0].symbol] if content.begin else [])]
    return max(
        (function_bound(image, code, root) for root in roots),
        key=lambda found: float("inf") if found.bytes is None else found.bytes,
    )


def feed_stack_bound(image: elf.Image, code: Mapping[int, Instruction], content: Manifest) -> stack.Bound | None:
    """The same for what takes samples, invokes included; None of a library without a front end."""
    return None if content.front_end is None else function_bound(image, code, content.front_end.feed)


def _between(image: elf.Image, code: Mapping[int, Instruction], content: Manifest, feed: stack.Bound | None) -> int:
    """Bytes of the runner's own function that calls what takes samples: they are among those that it measures."""
    if feed is None or feed.bytes is None:
        return 0
    return (function_bound(image, code, f"{content.name}_listen").bytes or feed.bytes) - feed.bytes


def function_bound(image: elf.Image, code: Mapping[int, Instruction], function: str) -> stack.Bound:
    """What a function and all that it calls cannot exceed."""
    names = {symbol.address: symbol.name for symbol in image.symbols if symbol.kind == "function"}
    entry = image.symbol(function).address
    if image.architecture == ARM:
        return stack.Calls(code, names).bound(entry)
    if image.architecture == RISCV:
        return RiscvCalls(code, names).bound(entry)
    if image.architecture == AVR:
        labels = {symbol.address: symbol.name for symbol in image.symbols if not symbol.kind}
        return_bytes = 3 if image.flags & _AVR_MACHINE == _AVR6 else 2
        return AvrCalls(code, names, labels, return_bytes).bound(entry)
    reason = f"no bound is looked for in the instructions of {image.architecture or 'this processor'}"
    return stack.Bound(None, (function,), reason)
