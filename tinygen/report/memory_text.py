"""Memory in words, for the picture and the tables."""

from __future__ import annotations

from xml.sax.saxutils import escape

from tinygen.memory_map import Block, Inner, LayerMemory, MemoryMap

_SHOWN_BLOCKS = 4


def holds_text(memory: MemoryMap, index: int) -> str:
    """What lies in the arena while a layer runs: "8,000 in + 8,000 out + 512 scratch − 7,904 shared"."""
    layer = memory.layers[index]
    parts = " + ".join(f"{block.bytes:,} {_part(block, index)}" for block in layer.blocks[:_SHOWN_BLOCKS])
    rest = layer.blocks[_SHOWN_BLOCKS:]
    more = f" + {sum(block.bytes for block in rest):,} in {len(rest)} more" if rest else ""
    shared = f" − {layer.live - layer.used:,} shared" if layer.live > layer.used else ""
    return f"{parts}{more}{shared}"


def _part(block: Block, layer: int) -> str:
    """What a block is to a layer in which it is alive."""
    if block.role in ("scratch", "rows"):
        return "line buffers" if block.role == "rows" else "scratch"
    if block.alive.first == 2 * layer + 1:
        return "out"
    return "in" if block.alive.last == 2 * layer + 1 else "kept"


def peak_text(memory: MemoryMap) -> str:
    """Which layer sets the arena's size, and with what."""
    if memory.peak is None:
        return "no layers"
    layer = memory.layers[memory.peak]
    what = f"peak: layer {memory.peak}, {layer.operator} {shape_words(layer.output)}"
    of = f" of {memory.arena_bytes:,}" if layer.used < memory.arena_bytes else ""
    return f"{what}: {holds_text(memory, memory.peak)} = {layer.used:,}{of} bytes"


def totals_text(memory: MemoryMap, board: str, room: int) -> str:
    """The memory in figures: how good the plan is, and how much there is."""
    parts = [f"arena {memory.arena_bytes:,}"]
    if memory.arena_bytes == memory.lower_bound:
        parts[0] += " (the least possible with these kernels)"
    else:
        parts[0] += f" (no plan with these kernels is below {memory.lower_bound:,})"
    if memory.disjoint_bytes > memory.arena_bytes:
        parts.append(f"without sharing bytes {memory.disjoint_bytes:,}")
    if memory.state_bytes:
        parts.append(f"state {memory.state_bytes:,}")
    if memory.front_end_bytes:
        parts.append(f"front end {memory.front_end_bytes:,}")
    if memory.scratch_bytes:
        parts.append(f"scratch apart from it {memory.scratch_bytes:,}")
    over = memory.bytes - room
    parts.append(f"{over:,} too many for {board}" if over > 0 else f"fits on {board}, which has room for {room:,}")
    return " · ".join(parts)


def layer_text(layer: LayerMemory, index: int) -> str:
    """All about a layer."""
    attributes = f" ({layer.attributes})" if layer.attributes else ""
    return f"layer {index}, {layer.node}: {layer.operator} {layer.output}{attributes} by {layer.kernel}"


def block_text(block: Block) -> str:
    """All about a block."""
    kind = f"{block.dtype} {block.shape}, " if block.shape else ""
    return f"{block.role} {block.name}: {kind}{block.bytes:,} bytes at {block.offset:,}"


def inner_text(inner: Inner) -> str:
    """All about a part of a group's memory."""
    block = inner.block
    what = f"{inner.rows} rows of {block.name}, {block.dtype} {block.shape}" if inner.rows else f"scratch {block.name}"
    return f"{what}: {block.bytes:,} bytes at {block.offset:,}"


def shape_words(shape: str) -> str:
    """A shape with proper multiplication signs; nothing of a scalar."""
    return "" if shape == "scalar" else shape.replace("x", "×")


def short(text: str, longest: int) -> str:
    """The text, cut where it is too long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def xml_text(text: str) -> str:
    """Text from a model, harmless in XML."""
    return escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))
