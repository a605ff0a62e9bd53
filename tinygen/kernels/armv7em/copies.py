"""Operators that only move bytes, on cores that load and store words at any address."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np

from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv7em.moves import Copy, Loop, Program, Statement, run, runs
from tinygen.ops import concatenation, gather, mirror_pad, pad, reshape, resize_nearest_neighbor, strided_copy
from tinygen.ops.concatenation import Concatenation
from tinygen.ops.pad import Pad, padded_levels
from tinygen.ops.strided_copy import StridedCopy

_MOST_POINTERS = 3
"""To inputs; with the one to the output, as many as come in registers."""
_DEEPEST = 6


def _copied(site: Site) -> Program:
    """Loops over the source, which is walked by one pointer."""
    op: StridedCopy = site.op
    size = site.inputs[0].dtype.itemsize
    *outer, inner = op.merged()
    if inner.stride == 1:
        count, trips, step = inner.trips * size, 1, inner.trips * size
        if outer and inner.trips * size < 64:
            row = outer.pop()
            trips, step = row.trips, row.stride * size
    else:
        count, trips, step = size, inner.trips, inner.stride * size
    statements: tuple[Statement, ...] = runs("r0", count, trips, step, site.objective)
    moved = trips * step
    for loop in reversed(outer):
        statements = (Loop(loop.trips, statements, "r0", loop.stride * size - moved),)
        moved = loop.trips * loop.stride * size
    return Program(_from(op.offset * size, statements), "r1")


def _from(offset: int, statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    return (*run("r0", 0, offset), *statements)


def _padded(site: Site) -> Program:
    """Borders and runs in turn."""
    op: Pad = site.op
    (x,) = site.inputs
    size = x.dtype.itemsize
    levels, inside = padded_levels(op, x.shape, site.outputs[0].shape)
    statements = run("r0", inside * size)
    for level in reversed(levels):
        body = (*run(None, level.before * size), *statements, *run(None, level.after * size))
        statements = (Loop(level.trips, body),) if level.trips > 1 else body
    value = np.full(4 // size, op.value, x.dtype).view(np.uint32)
    return Program(statements, "r1", int(value[0]))


def _joined(site: Site) -> Program:
    """A run of every input in turn, except of those that are in their place."""
    op: Concatenation = site.op
    target = f"r{len(site.inputs) - len(site.aliased)}"
    registers = itertools.count()
    body: list[Statement] = []
    for index, x in enumerate(site.inputs):
        count = x.bytes // op.outer
        body += [Copy(target, (), 0, count)] if index in site.aliased else run(f"r{next(registers)}", count)
    return Program((Loop(op.outer, tuple(body)),) if op.outer > 1 else tuple(body), target)


def _row(kernel: Kernel, make: Callable[[Site], Program], vectors: bool) -> Kernel:
    """The counterpart of a portable kernel; that with vectors is for what has long runs."""

    def prepare(site: Site) -> Body:
        program = make(site)
        count = len(site.inputs) - len(site.aliased)
        values = {
            "program": program,
            "sources": [f"r{index}" for index in range(count)],
            "what": site.op.describe(),
            "vectors": vectors,
        }
        return Body(values, variant=str(site.outputs[0].bytes))

    def accepts(site: Site) -> bool:
        if len(site.inputs) > _MOST_POINTERS or math.prod(site.outputs[0].shape) == 0 or site.outputs[0].packed:
            return False
        program = make(site)
        if vectors and not program.has_blocks:
            return False
        return program.slots <= _DEEPEST and site.outputs[0].dtype.itemsize <= 4

    return dataclasses.replace(
        kernel,
        name="moves.vectors" if vectors else "moves.words",
        prepare=prepare,
        requires=frozenset({"thumb2", "unaligned", *(("mve", "loops") if vectors else ())}),
        accepts=accepts,
        assembly=True,
    )


KERNELS = tuple(
    _row(kernel, make, vectors)
    for module, base, make in (
        (strided_copy, StridedCopy, _copied),
        (reshape, StridedCopy, _copied),
        (resize_nearest_neighbor, StridedCopy, _copied),
        (mirror_pad, StridedCopy, _copied),
        (gather, StridedCopy, _copied),
        (pad, Pad, _padded),
        (concatenation, Concatenation, _joined),
    )
    for kernel in module.KERNELS
    if issubclass(kernel.op, base)
    for vectors in (False, True)
)
"""Two for each portable kernel of such an operator, with the same wishes for memory."""
