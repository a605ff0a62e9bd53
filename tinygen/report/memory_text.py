"""Memory in words, for the picture and the tables."""

from __future__ import annotations

from tinygen.memory_map import Block, MemoryMap

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
    if block.role == "scratch":
        return "scratch"
    if block.alive.first == 2 * layer + 1:
        return "out"
    return "in" if block.alive.last == 2 * layer + 1 else "kept"
