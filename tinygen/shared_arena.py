"""The library of an arena that several models share: it depends on no model, and the models' libraries on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinygen import library_json
from tinygen.emit import render
from tinygen.interface import SharedArena
from tinygen.placement import Section


def shared_arena_files(shared: SharedArena, sizes: Sequence[int], section: Section | None = None) -> Mapping[str, str]:
    """The files of the library, relative to its folder; `sizes` are bytes that each of the models needs.

    `section`: the linker's, where the arena does not lie where it would anyway.
    """
    values = {
        "name": shared.name,
        "prefix_upper": shared.name.upper(),
        "bytes": max(sizes),
        "section": section,
        "models": " and ".join(filter(None, (", ".join(shared.models[:-1]), shared.models[-1]))),
        "rows": [f"{size:>9,}  {model}" for model, size in zip(shared.models, sizes, strict=True)],
    }
    return {
        "library.json": library_json.text(shared.name, "The memory that neural networks take turns in"),
        f"src/{shared.name}.h": render("library/shared_arena.h.j2", **values),
        f"src/{shared.name}.c": render("library/shared_arena.c.j2", **values),
    }
