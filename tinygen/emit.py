"""Text from templates: the only module that imports jinja2. It computes nothing and touches no output folder."""

from __future__ import annotations

from functools import cache

import jinja2

from tinygen.resources import resource


def _plus(value: int) -> str:
    """An added literal as C writes it: "+ 3", "- 3", or nothing for zero."""
    return f" {'+' if value > 0 else '-'} {abs(value)}" if value else ""


def _times(value: int) -> str:
    """A literal factor as C writes it: " * 3", or nothing for one."""
    return f" * {value}" if value != 1 else ""


def _block(text: str) -> str:
    """The lines that a macro printed, to be called on a line of its own."""
    return text.strip("\n")


def _runs(count: int) -> str:
    """How often a block of assembly runs in one call; `tinygen.assembly` reads it back."""
    return "runs once" if count == 1 else f"runs {count:,} times"


def _runs_as(name: str, each: int = 1) -> str:
    """The same for a count that each layer has its own of, in `Body.runs`, times `each`."""
    return f"runs {{{name}}} times" if each == 1 else f"runs {each:,} * {{{name}}} times"


def _load(value: int, register: str) -> str:
    """Instructions that put a 32-bit value into a register."""
    low, high = value & 0xFFFF, value >> 16 & 0xFFFF
    return f"    movw    {register}, #{low}" + (f"\n    movt    {register}, #{high}" if high else "")


def _load_low(value: int, register: str) -> str:
    """Instructions of Armv6-M that put a value from 0 on into a low register."""
    shift = (value & -value).bit_length() - 1 if value else 0
    if value > 255 and value >> shift <= 255:
        return f"    movs    {register}, #{value >> shift}\n    lsls    {register}, {register}, #{shift}"
    first, *others = value.to_bytes(max((value.bit_length() + 7) // 8, 1), "big")
    lines = [f"    movs    {register}, #{first}"]
    for byte in others:
        lines.append(f"    lsls    {register}, {register}, #8")
        lines += [f"    adds    {register}, {register}, #{byte}"] if byte else []
    return "\n".join(lines)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates")),
        undefined=jinja2.StrictUndefined,
        line_statement_prefix="%%",
        line_comment_prefix="%#",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["block"] = _block
    environment.filters["plus"] = _plus
    environment.filters["times"] = _times
    environment.filters["runs"] = _runs
    environment.filters["runs_as"] = _runs_as
    environment.filters["load"] = _load
    environment.filters["load_low"] = _load_low
    return environment


def render(template: str, /, **values: object) -> str:
    """The text of ``templates/<template>`` with `values`; an undefined name is an error, never an empty string."""
    return _environment().get_template(template).render(**values)
