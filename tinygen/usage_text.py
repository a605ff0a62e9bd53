"""How an application uses a generated library, in the words and the C that begin its header."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from tinygen.interface import EXTERNAL, ROWS, STATIC, Interface
from tinygen.memory import ALIGNMENT

Texts = Sequence[dict[str, Any]]
"""What the header's template has of inputs, or outputs."""


def usage(name: str, interface: Interface, inputs: Texts, outputs: Texts) -> dict[str, object]:
    """`what` is to be done, in words; `code`, in C; `remarks`: whose memory is what, and until when."""
    remarks = (_input(name, interface), _output(interface), _arena(interface))
    return {
        "what": _what(interface),
        "code": list(_code(name, interface, inputs, outputs)),
        "remarks": [line for text in remarks for line in textwrap.wrap(text, 116)],
    }


def _what(interface: Interface) -> str:
    steps = {
        STATIC: "write the input",
        EXTERNAL: "say where the input is",
        ROWS: "feed the input's rows",
    }
    words = [steps[interface.input], "invoke", "read the output"]
    if interface.output == EXTERNAL:
        words = [words[0], "say where the output goes", "invoke"]
    text = ", ".join(words)
    return f"Give it memory to work in, then {text}" if interface.is_external else text[0].upper() + text[1:]


def _code(name: str, interface: Interface, inputs: Texts, outputs: Texts) -> Iterator[str]:
    if interface.is_external:
        yield f"static int32_t memory[{name.upper()}_ARENA_BYTES / 4];"
        yield f"{name}_set_arena(memory, sizeof memory);"
        yield ""
    for port in inputs:
        if interface.by_rows:
            yield f"for (int i = 0; i < {port['macro']}_ROWS; i++) {{"
            yield f"    {port['symbol']}(next_row());    {port['macro']}_ROW_BYTES of {port['usage']}"
            yield "}"
        elif interface.input == EXTERNAL:
            yield f"{port['symbol']}(data);    {port['usage']}"
        else:
            yield f"fill({port['symbol']}());    {port['usage']}"
    if interface.output == EXTERNAL:
        yield from (f"{port['symbol']}(result);    {port['usage']}" for port in outputs)
    yield f"{name}_invoke();"
    if interface.output == STATIC:
        yield from (f"use({port['symbol']}());     {port['usage']}" for port in outputs)


def _input(name: str, interface: Interface) -> str:
    if interface.input == EXTERNAL:
        return (
            f"The input is read where it is, aligned to {ALIGNMENT} bytes, and never written to: it may be in flash. "
            "It must stay as it is until invoking returns."
        )
    if interface.by_rows:
        return (
            "With each row, the first layers compute what they can; then it may be overwritten by the next one. After "
            f"the last row, {name}_invoke() computes the rest; before that, it does nothing. {name}_begin() forgets "
            "the rows that were fed so far, as when one was missed."
        )
    where = "All memory is static."
    if interface.is_external:
        where = f"Inputs{' and outputs' if interface.output == STATIC else ''} lie in that memory."
    return f"{where} Invoking overwrites the input: write it again each time."


def _output(interface: Interface) -> str:
    if interface.output == EXTERNAL:
        return (
            f"The output is written where it goes, aligned to {ALIGNMENT} bytes, and is there when invoking returns; "
            "what is there before may be anything. Not reentrant."
        )
    until = {STATIC: "write to an input or the next invoke", EXTERNAL: "invoke", ROWS: "row that is fed"}
    return f"Outputs stay valid until the next {until[interface.input]}. Not reentrant."


def _arena(interface: Interface) -> str:
    if not interface.is_external:
        return ""
    after = "invoking returns" if interface.output == EXTERNAL else "outputs are read"
    before = {STATIC: "when inputs are written", EXTERNAL: "the next invoke", ROWS: "when the first row is fed"}
    missing = ["inputs"] * (interface.input == STATIC) + ["outputs"] * (interface.output == STATIC)
    nothing = f"{' and '.join(missing)} are null pointers, and " if missing else ""
    return (
        f"From when {after} to {before[interface.input]}, the memory may serve another purpose: another model's arena. "
        f"Without an arena, {nothing}invoking does nothing."
    )
