"""The stack of an invoke: how deep it went, beside the bound for all inputs that the linked code has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinygen import elf, firmware, stack
from tinygen.counting.disassembly import Instruction, disassemble
from tinygen.errors import ToolError, ToolFailed
from tinygen.manifest import Manifest
from tinygen.stack_riscv import RiscvCalls
from tinygen.target import ARM, RISCV, load_core

_CALLS: Mapping[str, type[stack.Calls]] = {ARM: stack.Calls, RISCV: RiscvCalls}

UNPAINTED = 64
"""Bytes below the invoke's caller that the runner does not paint (firmware/runner/stack.c): no use is less."""


@dataclass(frozen=True)
class StackUse:
    """Bytes below the stack pointer of the invoke's caller."""

    invoke: str
    used: int | None
    """By the invokes that were measured; None where the board cannot tell."""
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


def stack_use(out: Path, content: Manifest, used: int | None) -> StackUse:
    """What was used, and the bound of the firmware that was built in `out`; no bound where its code cannot be read."""
    try:
        code = disassemble(firmware.firmware_path(out), load_core(content.core).toolchain)
        bound = stack_bound(firmware.firmware_image(out), code, content)
    except ToolError as error:
        bound = stack.Bound(None, (content.invoke,), error.message)
    return StackUse(content.invoke, used, bound, not firmware.is_emulated(out))


def stack_bound(image: elf.Image, code: Mapping[int, Instruction], content: Manifest) -> stack.Bound:
    """What the stack of an invoke, or of feeding, cannot exceed, from the instructions of a linked firmware."""
    calls = _CALLS.get(image.architecture)
    if calls is None:
        reason = f"no bound is looked for in the instructions of {image.architecture or 'this processor'}"
        return stack.Bound(None, (content.invoke,), reason)
    names = {symbol.address: symbol.name for symbol in image.symbols if symbol.kind == "function"}
    roots = [content.invoke, *([content.inputs[0].symbol] if content.begin else [])]
    return max(
        (calls(code, names).bound(image.symbol(root).address) for root in roots),
        key=lambda found: float("inf") if found.bytes is None else found.bytes,
    )
