"""Names, comments and literals of generated C, safe whatever the model's file says."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tinygen.errors import UsageError
from tinygen.ir import Array

C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "float32": "float",
    "float64": "double",
}
"""C type of each dtype that generated code handles."""

LONGEST_NAME = 32

# A library of one of these names would shadow a header, or make identifiers that the language keeps for itself.
_RESERVED = frozenset(
    (
        "alignas alignof and asm assert auto bitand bitor bool break case catch char class compl complex const "
        "constexpr continue ctype default delete do double else enum errno explicit export extern false fenv float "
        "for friend goto if inline int inttypes iso646 limits locale long main math mutable namespace new not operator "
        "or private protected public register restrict return setjmp short signal signed sizeof static stdalign stdarg "
        "stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string struct switch template tgmath this "
        "thread_local threads throw time true try typedef typename uchar union unsigned using virtual void volatile "
        "wchar wctype while xor arduino frame model port protocol runner_model"
    ).split()
)


def library_name(wanted: str | None, file_stem: str) -> str:
    """The C prefix: the one asked for, checked, or one made from the model's file name.

    Raises UsageError when the name asked for is no lower-case C identifier, or is reserved.
    """
    if wanted is None:
        name = re.sub(r"[^a-z0-9]+", "_", file_stem.lower()).strip("_")[:LONGEST_NAME].rstrip("_")
        if not name or not name[0].isalpha():
            name = f"model_{name}".rstrip("_")[:LONGEST_NAME]
        return f"{name[: LONGEST_NAME - 6]}_model" if name in _RESERVED else name
    if not re.fullmatch(rf"[a-z][a-z0-9_]{{0,{LONGEST_NAME - 1}}}", wanted) or "__" in wanted or wanted.endswith("_"):
        raise UsageError(
            f"{wanted!r} cannot be the model's name: it becomes the prefix of C functions and a file name",
            f"Use lower-case letters, digits and single underscores, a letter first, at most {LONGEST_NAME}: kws.",
        )
    if wanted in _RESERVED:
        raise UsageError(
            f"{wanted!r} cannot be the model's name: C or its libraries use it", "Choose another: my_model."
        )
    return wanted


def comment_text(text: str, longest: int = 60) -> str:
    """Text from a model, harmless in a C comment: no comment ends, line ends, continuations, trigraphs or non-ASCII."""
    safe = re.sub(r"[^A-Za-z0-9_ .,:;=+()\[\]/#-]", "_", text).replace("//", "/_").replace("*/", "_/")
    return safe if len(safe) <= longest else safe[: longest - 3] + "..."


def tensor_text(name: str) -> str:
    """A tensor's name in a comment. Converters join the names of what they fused by semicolons: the first is enough."""
    return comment_text(name.split(";")[0] or name)


def float_literal(value: float) -> str:
    """A float32 value as a C literal that reads back as the same bits."""
    return f"{float(str(np.float32(value)))!r}f"


def string_literal(text: str) -> str:
    """A text, in UTF-8, as a C literal."""
    harmless = re.compile(r"[A-Za-z0-9 _.,;:!()/'-]")
    letters = (chr(byte) if harmless.match(chr(byte)) else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(letters)}"'


_INT8_TEXT = tuple(str(value) for value in range(-128, 128))


def array_lines(array: Array) -> Sequence[str]:
    """The elements as comma-separated literals, in lines of at most 116 columns."""
    flat = array.reshape(-1)
    if array.dtype == np.int8:
        words = [_INT8_TEXT[value + 128] for value in flat.tolist()]
    elif array.dtype == np.float32:
        words = [float_literal(value) for value in flat.tolist()]
    elif array.dtype == np.float64:
        words = [repr(value) for value in flat.tolist()]
    else:
        words = [_integer_literal(value) for value in flat.tolist()]
    per_line = 24 if array.dtype == np.int8 else 8
    return [", ".join(words[start : start + per_line]) + "," for start in range(0, len(words), per_line)]


def _integer_literal(value: int) -> str:
    if value == -(2**63):
        return "INT64_MIN"
    return "(-2147483647 - 1)" if value == -(2**31) else str(value)
