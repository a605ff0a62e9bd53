"""What copies at regular distances: slices, transposed or reversed dimensions, blocks and channels, repetition."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tinygen.arrangement import Axes, along_axes, inverse, numbers, permuted, transposed
from tinygen.interval import BoolArray, IntArray
from tinygen.ir import Arranged, Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import FLOAT32, INT8, INT16, INT32, STORED, UINT8
from tinygen.ops.overlaps import by_copy
from tinygen.ops.traits import Moving
from tinygen.ops.work import Rates


class Loop(NamedTuple):
    """One loop over the source; a stride of zero repeats, a negative one goes backwards."""

    trips: int
    stride: int


def row_major(shape: Shape) -> tuple[int, ...]:
    """How many elements apart two neighbours of each dimension are."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


@dataclass(frozen=True)
class StridedCopy(Moving):
    """y, in the order of its elements, = x[offset + i0 * stride0 + i1 * stride1 + …] for nested loops over i0, i1, ….

    `loops` are outermost first, their strides in elements.
    """

    dtypes: ClassVar[tuple[np.dtype[Any], ...]]
    """What the runtime copies."""
    shape: Shape
    offset: int
    loops: tuple[Loop, ...]

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtype, and nothing read outside of the input."""
        (x,) = inputs
        if x.data is None:  # constants are copied while importing, whatever they are
            yield from common.expect_dtype(x, "input", *self.dtypes)
        reach = [(loop.trips - 1) * loop.stride for loop in self.loops]
        first = self.offset + sum(step for step in reach if step < 0)
        last = self.offset + sum(step for step in reach if step > 0)
        if first < 0 or last >= x.elements:
            yield f"elements {first} to {last} are read of the input {x.shape}"
        count = math.prod(loop.trips for loop in self.loops)
        if count != math.prod(self.shape):
            yield f"{count} elements do not make the output {self.shape}"

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The given shape."""
        return (TensorType(self.shape, inputs[0].dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The same steps through memory; `problems` has seen to it that they stay inside."""
        (x,) = inputs
        first = x.reshape(-1)[self.offset :]
        strides = [loop.stride * x.itemsize for loop in self.loops]
        walked = np.lib.stride_tricks.as_strided(first, [loop.trips for loop in self.loops], strides, writeable=False)
        return (walked.copy().reshape(self.shape),)

    def candidates(
        self, inputs: Sequence[Array], kept: Sequence[BoolArray], output: Array, kept_output: BoolArray
    ) -> Iterator[Moving]:
        """Loops through what is kept of the input, where its distances are regular."""
        # Both hold numbers of the whole input's elements, in ascending order in the input.
        indices = np.searchsorted(inputs[0].reshape(-1), output.reshape(-1))
        loops = nested_loops(indices)
        if loops is not None:
            yield dataclasses.replace(self, shape=output.shape, offset=int(indices[0]), loops=loops)

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """The loops through the rearranged input, where its dimensions are the output's, or more, and regular."""
        (x,) = (tensor.shape for tensor in inputs)
        whole = self._in_dimensions_of(x)
        if whole is None:
            return None
        taken = self.reference(numbers(x))[0].reshape(whole)

        def rebuilt(axes: Axes) -> tuple[Op, Shape] | None:
            found = inverse(transposed(x, axes))[taken.transpose(axes).reshape(-1)]
            loops = nested_loops(found)
            dims = permuted(whole, axes)
            shape = dims if len(self.shape) == len(whole) else tuple(dim for dim in dims if dim > 1)
            if loops is None:
                return None
            return dataclasses.replace(self, shape=shape, offset=int(found[0]), loops=loops), shape

        return along_axes(inputs, place, order, whole, rebuilt)

    def _in_dimensions_of(self, x: Shape) -> Shape | None:
        """The output's shape with all of the input's dimensions, of which it may lack some; None if it has others."""
        if len(self.shape) == len(x):
            return self.shape
        places = np.unravel_index(self.reference(numbers(x))[0].reshape(-1), x)
        taken = [np.unique(place) for place in places]
        whole = tuple(len(indices) for indices in taken)
        if math.prod(whole) != math.prod(self.shape):
            return None
        box = np.ravel_multi_index(np.ix_(*taken), x).reshape(-1)
        return whole if np.array_equal(box, np.ravel_multi_index(places, x)) else None

    def merged(self) -> tuple[Loop, ...]:
        """The fewest loops that read the same elements in the same order."""
        loops: list[Loop] = []
        for loop in self.loops:
            if loop.trips == 1:
                continue
            if loops and loops[-1].stride == loop.stride * loop.trips:
                loops[-1] = Loop(loops[-1].trips * loop.trips, loop.stride)
            else:
                loops.append(loop)
        return tuple(loops) or (Loop(1, 1),)

    def describe(self) -> str:
        """Where it starts, and its steps."""
        steps = ", ".join(f"{loop.trips} by {loop.stride}" for loop in self.merged())
        return f"elements from {self.offset} on, {steps}"


class Slice(StridedCopy):
    """A box of the input."""

    name: ClassVar[str] = "SLICE"
    dtypes = (INT8, INT16, INT32, FLOAT32)


class StridedSlice(StridedCopy):
    """Every so many elements of a box."""

    name: ClassVar[str] = "STRIDED_SLICE"
    dtypes = (INT8, INT16, INT32, FLOAT32)


class Split(StridedCopy):
    """One of the parts of the input along an axis."""

    name: ClassVar[str] = "SPLIT"
    dtypes = STORED


class Unpack(StridedCopy):
    """The input at one index of an axis."""

    name: ClassVar[str] = "UNPACK"
    dtypes = STORED


class Transpose(StridedCopy):
    """Dimensions in another order."""

    name: ClassVar[str] = "TRANSPOSE"
    dtypes = STORED


class SpaceToDepth(StridedCopy):
    """Blocks of pixels become channels."""

    name: ClassVar[str] = "SPACE_TO_DEPTH"
    dtypes = (INT8, FLOAT32)


class DepthToSpace(StridedCopy):
    """Channels become blocks of pixels."""

    name: ClassVar[str] = "DEPTH_TO_SPACE"
    dtypes = (INT8, FLOAT32)


class BroadcastTo(StridedCopy):
    """Dimensions of one, repeated; or a scalar, or all of the input."""

    name: ClassVar[str] = "BROADCAST_TO"
    dtypes = (INT8, UINT8, INT16, INT32, FLOAT32)


class Reverse(StridedCopy):
    """Some dimensions backwards."""

    name: ClassVar[str] = "REVERSE_V2"
    dtypes = STORED


def regular_loops(indices: Sequence[int], stride: int) -> tuple[Loop, ...] | None:
    """One loop, or two, that yield ``(index - indices[0]) * stride`` in order; None where the indices are irregular.

    4, 4, 5, 5, 6, 6 with a stride of 10 make Loop(3, 10) around Loop(2, 0).
    """
    if isinstance(indices, range):
        return (Loop(len(indices), indices.step * stride),)
    differences = np.diff(indices)
    if len(differences) == 0:
        return (Loop(1, stride),)
    changes = np.flatnonzero(differences != differences[0])
    run = int(changes[0]) + 1 if len(changes) else len(indices)
    starts = indices[::run]
    step = starts[1] - starts[0] if len(starts) > 1 else 0
    loops = (Loop(len(starts), step), Loop(run, int(differences[0])))
    expected = [i * step + j * loops[1].stride for i in range(len(starts)) for j in range(run)]
    if expected != [index - indices[0] for index in indices]:
        return None
    return tuple(Loop(loop.trips, loop.stride * stride) for loop in loops if loop.trips > 1)


def nested_loops(indices: IntArray) -> tuple[Loop, ...] | None:
    """The loops that yield ``indices - indices[0]`` in order, or None where the distances are irregular."""
    loops: list[Loop] = []
    while len(indices) > 1:
        stride = int(indices[1] - indices[0])
        changes = np.flatnonzero(np.diff(indices) != stride)
        trips = int(changes[0]) + 1 if len(changes) else len(indices)
        if len(indices) % trips:
            return None
        runs = indices.reshape(-1, trips)
        if (runs != runs[:, :1] + stride * np.arange(trips)).any():
            return None
        loops.insert(0, Loop(trips, stride))
        indices = runs[:, 0]
    return tuple(loops)


def _prepare(site: Site) -> Body:
    op: StridedCopy = site.op
    loops = op.merged()
    return Body({"loops": loops, "index": _index(op.offset, loops)})


def _index(offset: int, loops: Sequence[Loop]) -> str:
    """The C index inside the loops: ``5 + i0 * 12 - i1``."""
    terms = [str(offset)] if offset else []
    for axis, loop in enumerate(loops):
        if loop.stride and loop.trips > 1:
            factor = f" * {abs(loop.stride)}" if abs(loop.stride) > 1 else ""
            terms.append(f"{'-' if loop.stride < 0 else '+'} i{axis}{factor}")
    return " ".join(terms).removeprefix("+ ") or "0"


def _is_contiguous(site: Site) -> bool:
    op: StridedCopy = site.op
    loops = op.merged()
    return len(loops) == 1 and (loops[0].stride == 1 or loops[0].trips == 1)


def _alias(site: Site) -> Mapping[int, int]:
    """Where the elements are one run of the input, the output may lie in it."""
    op: StridedCopy = site.op
    return {0: -op.offset * site.inputs[0].dtype.itemsize} if _is_contiguous(site) else {}


def strided_copy_kernel(op: type[StridedCopy]) -> Kernel:
    """The kernel of such an operator."""
    return Kernel(
        "strided_copy.direct",
        op,
        _prepare,
        work=Rates(56, output=5.4),
        aliases=_alias,
        moves_down=_is_contiguous,
        overlaps=by_copy,
    )


KERNELS = tuple(
    strided_copy_kernel(op)
    for op in (Slice, StridedSlice, Transpose, SpaceToDepth, DepthToSpace, BroadcastTo, Split, Unpack, Reverse)
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    image = (1, 5, 6, 4)
    return (
        _slice("slice_box", image, (0, 1, 2, 1), (1, 3, 2, 2)),
        _slice("slice_to_the_end", image, (0, 1, 0, 1), (-1, -1, 6, -1)),
        _slice("slice_rows", image, (0, 2, 0, 0), (1, 2, 6, 4)),
        _slice("slice_all", (3, 4), (0, 0), (-1, -1)),
        _slice("slice_one", (9,), (4,), (1,)),
        _slice("slice_five_dimensions", (2, 3, 2, 3, 2), (1, 0, 1, 1, 0), (1, 2, 1, 2, 2)),
        _slice("slice_float", image, (0, 1, 2, 1), (1, 3, 2, 2), dtype="float32"),
        _strided("strided_box", image, (0, 1, 2, 1), (1, 4, 6, 3), (1, 1, 1, 1)),
        _strided("strided_steps", image, (0, 0, 1, 0), (1, 5, 6, 4), (1, 2, 3, 2)),
        _strided("strided_masks", image, (0, 1, 2, 3), (1, 2, 3, 4), (1, 1, 1, 1), begin_mask=0b0101, end_mask=0b1010),
        _strided("strided_shrink", image, (0, -1, 0, 0), (1, 0, 0, 0), (1, 1, 1, 1), end_mask=0b1100, shrink=0b0010),
        _strided("strided_last_channel", image, (0, 0, 0, 3), (1, 5, 6, 4), (1, 1, 1, 1), shrink=0b1001),
        _strided("strided_negative", image, (0, -4, -3, 0), (1, -1, -1, 4), (1, 1, 1, 1)),
        _strided("strided_backwards", image, (0, -1, 4, -1), (1, -6, 0, 1), (1, -2, -3, -1)),
        _strided("strided_mirror", (1, 7, 2), (0, 0, 0), (1, 0, 2), (1, -1, 1), begin_mask=0b010, end_mask=0b010),
        _strided("strided_beyond", image, (0, 2, -9, 0), (9, 99, 99, 4), (1, 2, 1, 1)),
        _strided("strided_float", image, (0, 0, 1, 0), (1, 5, 6, 4), (1, 2, 3, 2), dtype="float32"),
        _transpose("transpose_matrix", (5, 7), (1, 0)),
        _transpose("transpose_channels_first", image, (0, 3, 1, 2)),
        _transpose("transpose_channels_last", image, (0, 2, 3, 1)),
        _transpose("transpose_rows", image, (0, 2, 1, 3)),
        _transpose("transpose_nothing", (2, 3, 4), (0, 1, 2)),
        _transpose("transpose_five_dimensions", (2, 3, 2, 1, 4), (4, 1, 3, 0, 2)),
        _transpose("transpose_float", (5, 7), (1, 0), dtype="float32"),
        _blocks("space_to_depth", "SPACE_TO_DEPTH", (1, 6, 4, 3), 2),
        _blocks("space_to_depth_batch", "SPACE_TO_DEPTH", (2, 3, 6, 2), 3),
        _blocks("depth_to_space", "DEPTH_TO_SPACE", (1, 3, 4, 12), 2),
        _blocks("depth_to_space_batch", "DEPTH_TO_SPACE", (2, 2, 3, 9), 3),
        _slice("slice_int16", image, (0, 1, 2, 1), (1, 3, 2, 2), dtype="int16"),
        _slice("slice_int32", image, (0, 1, 2, 1), (1, 3, 2, 2), dtype="int32"),
        _slice("slice_int64_indices", image, (0, 1, 2, 1), (1, 3, 2, -1), index="int64"),
        _strided("strided_int16", (1, 1, 9, 6), (0, 0, 2, 0), (0, 0, 0, 0), (1, 1, 1, 1), end_mask=15, dtype="int16"),
        _strided("strided_int32", (9,), (7,), (1,), (-3,), dtype="int32"),
        _strided("strided_dropped_first", image, (0, 3, 0, 0), (1, 0, 6, 4), (1, 1, 1, 1), begin_mask=2, shrink=2),
        _transpose("transpose_int16", image, (0, 3, 1, 2), dtype="int16"),
        _transpose("transpose_ones", (1, 5, 1, 4), (1, 0, 3, 2)),
        _blocks("space_to_depth_float", "SPACE_TO_DEPTH", (1, 4, 6, 1), 2, dtype="float32"),
        _blocks("space_to_depth_of_one", "SPACE_TO_DEPTH", (1, 4, 6, 3), 1),
        _blocks("depth_to_space_float", "DEPTH_TO_SPACE", (1, 1, 2, 4), 2, dtype="float32"),
        _reverse("reverse_time", (1, 9, 4), (1,)),
        _reverse("reverse_last", (2, 3, 5), (-1,)),
        _reverse("reverse_vector", (9,), (0,)),
        _reverse("reverse_rows_and_columns", image, (2, 1)),
        _reverse("reverse_everything", (2, 3, 4), (0, 1, 2)),
        # Converters write such; the runtime does not look at scales.
        _reverse("reverse_to_another_scale", (1, 9, 4), (1,), output_scale=0.07),
        _reverse("reverse_one", (1, 4), (0,)),
        _reverse("reverse_six_dimensions", (1, 2, 3, 2, 1, 2), (2, 3)),
        _reverse("reverse_int16", (1, 9, 4), (1,), dtype="int16"),
        _reverse("reverse_uint8", (1, 9, 4), (1,), dtype="uint8"),
        _reverse("reverse_int32", (1, 9, 4), (1,), dtype="int32"),
        _reverse("reverse_float", (1, 9, 4), (1,), dtype="float32"),
        _broadcast("broadcast_rows", (1, 1, 5, 3), (2, 4, 5, 3)),
        _broadcast("broadcast_columns", (3, 1), (3, 7)),
        _broadcast("broadcast_apart", (2, 1, 3, 1), (2, 4, 3, 5), dtype="int16"),
        _broadcast("broadcast_more_dimensions", (3,), (2, 5, 3), dtype="int32"),
        _broadcast("broadcast_scalar", (), (2, 3), dtype="float32"),
        _broadcast("broadcast_nothing", (2, 3), (2, 3), dtype="uint8"),
        _broadcast("broadcast_int64_shape", (1, 2, 1, 2, 1), (2, 2, 2, 2, 2), index="int64"),
        _fill("fill", (2, 3, 4)),
        _fill("fill_one", (1,)),
        _fill("fill_float", (5, 3), dtype="float32"),
        _fill("fill_int32", (7,), dtype="int32"),
        _fill("fill_int64_shape", (2, 3), index="int64"),
    )


def random_case(rng: np.random.Generator) -> Case:
    """A random slice, transposition, reversal or broadcast."""
    name = f"random_{rng.integers(1 << 30)}"
    kind = rng.choice(["SLICE", "STRIDED_SLICE", "TRANSPOSE", "BROADCAST_TO", "REVERSE_V2"])
    rank = int(rng.integers(1, 5 if kind == "STRIDED_SLICE" else 6))
    shape = tuple(int(dim) for dim in rng.integers(1, 7, rank))
    if kind == "TRANSPOSE":
        return _transpose(name, shape, tuple(int(axis) for axis in rng.permutation(rank)))
    if kind == "REVERSE_V2":
        start, stop = sorted(int(axis) for axis in rng.integers(0, rank, 2))
        return _reverse(name, shape, tuple(range(start, stop + 1)))
    if kind == "BROADCAST_TO":
        return _broadcast(name, tuple(dim if rng.random() < 0.5 else 1 for dim in shape), shape)
    first = tuple(int(rng.integers(0, size)) for size in shape)
    last = tuple(int(rng.integers(start, size)) for start, size in zip(first, shape, strict=True))
    if kind == "SLICE":
        return _slice(name, shape, first, tuple(b - a + 1 for a, b in zip(first, last, strict=True)))
    steps = tuple(int(step) for step in rng.integers(1, 4, rank))
    masks = [int(mask) for mask in rng.integers(0, 1 << rank, 2)]
    shrink = int(rng.integers(0, 1 << rank)) if rng.random() < 0.3 else 0
    if rng.random() < 0.3 and not shrink:
        ends = tuple(a - 1 if a else -size - 1 for a, size in zip(first, shape, strict=True))
        back = tuple(-step for step in steps)
        return _strided(name, shape, last, ends, back, begin_mask=masks[0], end_mask=masks[1])
    ends = tuple(b + 1 for b in last)
    return _strided(name, shape, first, ends, steps, begin_mask=masks[0] & ~shrink, end_mask=masks[1], shrink=shrink)


def _tensor(shape: Shape, dtype: str = "int8") -> CaseTensor:
    if dtype == "int8":
        return CaseTensor(shape, dtype, scale=0.05, zero_point=-11)
    return CaseTensor(shape, dtype, scale=0.05 if dtype == "int16" else None)


def _indices(values: Sequence[int], dtype: str = "int32") -> CaseTensor:
    return CaseTensor((len(values),), dtype, data=np.array(values, dtype))


def _slice(name: str, x: Shape, begin: Shape, size: Shape, dtype: str = "int8", index: str = "int32") -> Case:
    y = tuple(dim - start if count == -1 else count for dim, start, count in zip(x, begin, size, strict=True))
    limits = (_indices(begin, index), _indices(size, index))
    return Case(name, "SLICE", (_tensor(x, dtype), *limits), (_tensor(y, dtype),))


def _strided(
    name: str,
    x: Shape,
    begin: Shape,
    end: Shape,
    strides: Shape,
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    shrink: int = 0,
    dtype: str = "int8",
) -> Case:
    index = tuple(
        (0 if begin_mask >> axis & 1 else begin[axis])
        if shrink >> axis & 1
        else slice(
            None if begin_mask >> axis & 1 else begin[axis],
            None if end_mask >> axis & 1 else end[axis],
            strides[axis],
        )
        for axis in range(len(x))
    )
    y = np.empty(x)[index].shape
    return Case(
        name,
        "STRIDED_SLICE",
        (_tensor(x, dtype), _indices(begin), _indices(end), _indices(strides)),
        (_tensor(y, dtype),),
        {"begin_mask": begin_mask, "end_mask": end_mask, "shrink_axis_mask": shrink},
    )


def _transpose(name: str, x: Shape, order: Shape, dtype: str = "int8") -> Case:
    y = tuple(x[axis] for axis in order)
    return Case(name, "TRANSPOSE", (_tensor(x, dtype), _indices(order)), (_tensor(y, dtype),))


def _reverse(
    name: str, x: Shape, axes: tuple[int, ...], dtype: str = "int8", output_scale: float | None = None
) -> Case:
    y = _tensor(x, dtype)
    if output_scale is not None:
        y = dataclasses.replace(y, scale=output_scale)
    return Case(name, "REVERSE_V2", (_tensor(x, dtype), _indices(axes)), (y,))


def _blocks(name: str, op: str, x: Shape, block: int, dtype: str = "int8") -> Case:
    batch, height, width, channels = x
    if op == "SPACE_TO_DEPTH":
        y = (batch, height // block, width // block, channels * block * block)
    else:
        y = (batch, height * block, width * block, channels // (block * block))
    return Case(name, op, (_tensor(x, dtype),), (_tensor(y, dtype),), {"block_size": block})


def _broadcast(name: str, x: Shape, y: Shape, dtype: str = "int8", index: str = "int32") -> Case:
    return Case(name, "BROADCAST_TO", (_tensor(x, dtype), _indices(y, index)), (_tensor(y, dtype),))


def _fill(name: str, y: Shape, dtype: str = "int8", index: str = "int32") -> Case:
    return Case(name, "FILL", (_indices(y, index), _tensor((), dtype)), (_tensor(y, dtype),))
