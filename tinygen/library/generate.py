"""The generated model library: graph, kernels and memory plan to C text, and the manifest's view of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinygen import library_json, manifest
from tinygen.emit import render
from tinygen.ir import Graph
from tinygen.layer_text import layer_call, layer_text
from tinygen.layers import with_parts
from tinygen.library import remarks
from tinygen.library.draft import Draft, draft_of
from tinygen.library.helpers import needed_helpers
from tinygen.library.manifest_layers import manifest_layer
from tinygen.library.origin import Origin
from tinygen.plan import Plan
from tinygen.streaming.text import stream_text
from tinygen.usage_text import usage


@dataclass(frozen=True)
class Library:
    """The files of a library, relative to its folder, and what the manifest says of it."""

    files: Mapping[str, str]
    inputs: tuple[manifest.Port, ...]
    outputs: tuple[manifest.Port, ...]
    layers: tuple[manifest.Layer, ...]
    begin: str | None
    arena_bytes: int
    set_arena: str | None
    state_bytes: int
    const_bytes: int
    macs: int


def generate(graph: Graph, chosen: Plan, name: str, origin: Origin, hot: frozenset[str] = frozenset()) -> Library:
    """All files of the library named `name`; `hot`: ids of layers whose code lies apart."""
    draft = draft_of(graph, chosen, name, origin, hot)
    files = {
        "library.json": library_json.text(name, "A neural network as static-memory C"),
        f"src/{name}.h": _header(draft),
        f"src/{name}.c": _source(draft),
        f"src/{name}_constants.inc": _constants(draft),
    }
    if draft.functions:
        files[f"src/{name}_kernels.S"] = _kernels(draft)
    return Library(
        files=files,
        inputs=draft.inputs,
        outputs=draft.outputs,
        begin=f"{name}_begin" if origin.interface.by_rows else None,
        layers=tuple(manifest_layer(layer, graph, draft.layout) for layer in draft.layers),
        arena_bytes=draft.layout.plan.bytes,
        set_arena=draft.set_arena,
        state_bytes=draft.layout.state_bytes,
        const_bytes=draft.const_bytes,
        macs=draft.macs,
    )


def _header(draft: Draft) -> str:
    memory = draft.memory
    stream = draft.origin.stream
    return render(
        "library/model.h.j2",
        **draft.names,
        **memory,
        usage=usage(draft.name, draft.origin.interface, memory["inputs"], memory["outputs"]),
        arena_bytes=draft.layout.plan.bytes,
        state_bytes=draft.layout.state_bytes,
        const_bytes=draft.const_bytes,
        macs=draft.macs,
        layer_count=len(draft.layers),
        stream=stream_text(stream, draft.name) if stream else None,
        takes_samples=draft.origin.hearing is not None,
    )


def _source(draft: Draft) -> str:
    layout, pointers, dialect = draft.layout, draft.pointers, draft.origin.dialect
    function_of = {layer.id: function for function in draft.functions for layer in function.layers}
    return render(
        "library/model.c.j2",
        **draft.names,
        **draft.memory,
        placed=draft.placed,
        totals=remarks.totals(draft.graph, draft.layers, draft.macs, draft.const_bytes, draft.origin.stream),
        arena_text=f"{layout.plan.bytes:,}",
        bound_text=remarks.bound_text(layout),
        arena_rows=remarks.rows(layout.plan.slots),
        arena_members=pointers.members("arena", layout.plan.bytes),
        scratch_text=f"{layout.scratch_bytes:,}",
        scratch_members=pointers.members("scratch", layout.scratch_bytes) if layout.scratch_bytes else [],
        has_hot_code=bool(draft.hot),
        state_bytes=layout.state_bytes,
        state_text=f"{layout.state_bytes:,}",
        state_rows=remarks.rows(layout.states),
        state_members=pointers.members("state", layout.state_bytes),
        resets=draft.resets,
        helpers=[
            render(f"helpers/{helper}.c.j2", prefix=draft.name, const=dialect.const)
            for helper in needed_helpers(draft.layers)
        ],
        functions=[function.prototype for function in draft.functions],
        texts=[
            layer_text(layer, draft.graph, pointers, draft.name, function_of.get(layer.id), dialect)
            for layer in with_parts(draft.layers)
        ],
        layers=[layer_call(layer, pointers) for layer in draft.layers],
        contents=remarks.contents(draft.steps, draft.layers, pointers),
    )


def _constants(draft: Draft) -> str:
    return render(
        "library/constants.inc.j2",
        **draft.names,
        placed=draft.placed,
        constants=draft.constants,
        const_text=f"{draft.const_bytes:,}",
        const=draft.origin.dialect.const,
        in_flash=draft.origin.dialect.in_flash,
    )


def _kernels(draft: Draft) -> str:
    return render(
        "library/kernels.S.j2",
        **draft.names,
        dialect=draft.origin.dialect,
        placed=draft.placed,
        functions=draft.functions,
    )
