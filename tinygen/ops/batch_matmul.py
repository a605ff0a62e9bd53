"""BATCH_MATMUL: products of matrices, both of which may be computed at run time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.c_text import C_TYPES
from tinygen.fixedpoint import INT32_MAX
from tinygen.ir import Array, Op, Shape, Tensor, TensorType
from tinygen.kernel import Body, Kernel, Site
from tinygen.ops import common
from tinygen.ops.broadcast import Loop, broadcast_loops, broadcast_shape, index_expression
from tinygen.ops.case import Case, CaseTensor
from tinygen.ops.common import INT8, INT16, INT32, INT64
from tinygen.ops.proved_finish import finish_within
from tinygen.ops.work import Rates
from tinygen.rescaling import Rescaling

_LARGEST_RANK = 5  # of the runtimes


@dataclass(frozen=True)
class BatchMatmul(Op):
    """y[..,i,j] = saturate(requant(sum_k (a[..,i,k] - a_zero_point) * (b[..,k,j] - b_zero_point)) + output_zero_point).

    Both operands int8, or both int16, and y with them; a (.., i, k), or (.., k, i) if `transposed_a`; b (.., k, j), or
    (.., j, k) if `transposed_b`; the dimensions before broadcast. The sums are int32; of int16 operands, int64.
    """

    name: ClassVar[str] = "BATCH_MATMUL"
    transposed_a: bool
    transposed_b: bool
    a_zero_point: int
    b_zero_point: int
    output_zero_point: int
    requant: Rescaling

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """Dtypes, ranks, shapes, and the bound of the sums."""
        a, b = inputs
        broken = [*common.expect_dtype(a, "first input", INT8, INT16), *common.expect_dtype(b, "second input", a.dtype)]
        for tensor, role in ((a, "first input"), (b, "second input")):
            if not 2 <= len(tensor.shape) <= _LARGEST_RANK:
                broken.append(f"the {role} has {len(tensor.shape)} dimensions {tensor.shape}, expected are 2 to 5")
        yield from broken
        if broken:
            return
        (_, depth), (b_depth, _) = self.matrices(a.shape, b.shape)
        if depth != b_depth or broadcast_shape(a.shape[:-2], b.shape[:-2]) is None:
            yield f"the matrices {a.shape} and {b.shape} cannot be multiplied"
        elif self.bound(inputs) > (limit := int(self.requant.largest_accumulator()[0])):
            yield f"sums of {depth} products can reach {self.bound(inputs)}, their scale leaves {limit}"

    def bound(self, inputs: Sequence[Tensor]) -> int:
        """What the |sum| can reach."""
        a, b = inputs
        (_, depth), _ = self.matrices(a.shape, b.shape)
        largest = -common.full_range(a.dtype)[0]
        return depth * (largest + abs(self.a_zero_point)) * (largest + abs(self.b_zero_point))

    def matrices(self, a: Shape, b: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns of both operands, as they are multiplied."""
        (rows, depth), (b_depth, columns) = a[-2:], b[-2:]
        return (
            (depth, rows) if self.transposed_a else (rows, depth),
            (columns, b_depth) if self.transposed_b else (b_depth, columns),
        )

    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """(.., i, j) of the operands' dtype."""
        a, b = inputs
        (rows, _), (_, columns) = self.matrices(a.shape, b.shape)
        batch = broadcast_shape(a.shape[:-2], b.shape[:-2]) or ()
        return (TensorType((*batch, rows, columns), a.dtype),)

    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """Exact integers."""
        a, b = inputs
        left = a.astype(np.int64) - self.a_zero_point
        right = b.astype(np.int64) - self.b_zero_point
        acc = (left.swapaxes(-1, -2) if self.transposed_a else left) @ (
            right.swapaxes(-1, -2) if self.transposed_b else right
        )
        y = self.requant.apply(acc) + self.output_zero_point
        return (np.clip(y, *common.full_range(a.dtype)).astype(a.dtype),)

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Every output element is a dot product."""
        a, b = inputs
        (_, depth), _ = self.matrices(a.shape, b.shape)
        return outputs[0].elements * depth

    def describe(self) -> str:
        """Which operands are transposed."""
        sides = [side for side, flag in (("first", self.transposed_a), ("second", self.transposed_b)) if flag]
        return f"{' and '.join(sides)} transposed" if sides else ""


def _prepare(site: Site) -> Body:
    op: BatchMatmul = site.op
    a, b = site.inputs
    (rows, depth), (_, columns) = op.matrices(a.shape, b.shape)
    bound = op.bound(site.inputs)
    final = finish_within(
        op.requant, op.output_zero_point, common.full_range(a.dtype), site.outputs[0].dtype, -bound, bound
    )
    loops = [
        *(
            Loop(loop.trips, loop.a_stride * rows * depth, loop.b_stride * depth * columns)
            for loop in broadcast_loops(a.shape[:-2], b.shape[:-2])
        ),
        Loop(rows, 1 if op.transposed_a else depth, 0),
    ]
    loops = [loop for loop in loops if loop.trips > 1]
    return Body(
        values={
            "loops": loops,
            "a_index": index_expression([loop.a_stride for loop in loops]),
            "b_index": index_expression([loop.b_stride for loop in loops]),
            "a_step": rows if op.transposed_a else 1,
            "b_step": 1 if op.transposed_b else columns,
            "column_step": depth if op.transposed_b else 1,
            "depth": depth,
            "columns": columns,
            "a_zero_point": op.a_zero_point,
            "b_zero_point": op.b_zero_point,
            "acc_type": C_TYPES[str(INT32 if op.bound(site.inputs) <= INT32_MAX else INT64)],
            "finish": final.finish,
            **common.blocks(columns, depth, site.objective),
        },
        constants=final.constants,
        helpers=final.helpers,
        proof=final.proof,
    )


KERNELS = (
    Kernel("batch_matmul.direct", BatchMatmul, _prepare, work=Rates(360, output=12, mac=6), parameters=("a", "b")),
)


def cases() -> tuple[Case, ...]:
    """Named edges, as single-operator models."""
    return tuple(
        _case(f"{dtype}_{name}", dtype, **arguments)  # type: ignore[arg-type]
        for dtype in ("int8", "int16")
        for name, arguments in {
            "batch": {"a": (2, 3, 5), "b": (2, 5, 7)},
            "matrix": {"a": (3, 5), "b": (5, 4)},
            "one_by_one": {"a": (1, 1, 1), "b": (1, 1, 1)},
            "adj_x": {"a": (2, 5, 3), "b": (2, 5, 4), "adj_x": True},
            "adj_y": {"a": (2, 3, 5), "b": (2, 6, 5), "adj_y": True},
            "adj_both": {"a": (2, 5, 3), "b": (2, 4, 5), "adj_x": True, "adj_y": True},
            "first_broadcast": {"a": (1, 3, 5), "b": (2, 5, 4)},
            "second_broadcast": {"a": (2, 3, 5), "b": (1, 5, 4)},
            "second_of_lower_rank": {"a": (2, 3, 2, 5), "b": (5, 4)},
            "first_of_lower_rank": {"a": (3, 5), "b": (2, 5, 4)},
            "both_broadcast": {"a": (2, 1, 3, 5), "b": (1, 3, 5, 4)},
            "adj_x_broadcast": {"a": (2, 3, 5, 2), "b": (2, 1, 5, 4), "adj_x": True},
            "five_dimensions": {"a": (2, 1, 2, 3, 4), "b": (1, 3, 2, 4, 5)},
            "first_constant": {"a": (2, 3, 5), "b": (2, 5, 4), "constant": 0},
            "second_constant": {"a": (2, 3, 5), "b": (2, 5, 4), "constant": 1},
            "zero_points_at_the_ends": {"a": (2, 3, 5), "b": (2, 5, 4), "zero_points": (-128, 127, -128)},
            "gain_above_one": {"a": (1, 2, 3), "b": (1, 3, 2), "output_scale": 1e-5},
            "tiny_scale": {"a": (1, 2, 3), "b": (1, 3, 2), "output_scale": 900.0},
            "deep": {"a": (1, 2, 300), "b": (1, 300, 5)},
        }.items()
    )


def random_case(rng: np.random.Generator) -> Case:
    """Random matrices."""
    rows, depth, columns = (int(rng.integers(1, 10)) for _ in range(3))
    batch = [int(value) for value in rng.integers(1, 4, rng.integers(0, 3))]
    adj_x, adj_y = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    a_batch = [1 if rng.random() < 0.3 else dim for dim in batch]
    b_batch = [1 if rng.random() < 0.3 else dim for dim in batch][int(rng.integers(0, len(batch) + 1)) :]
    return _case(
        f"random_{rng.integers(1 << 30)}",
        str(rng.choice(["int8", "int16"])),
        a=(*a_batch, *((depth, rows) if adj_x else (rows, depth))),
        b=(*b_batch, *((columns, depth) if adj_y else (depth, columns))),
        adj_x=adj_x,
        adj_y=adj_y,
        constant=int(rng.integers(-1, 2)),
        zero_points=(int(rng.integers(-128, 128)), int(rng.integers(-128, 128)), int(rng.integers(-128, 128))),
        output_scale=float(np.exp(rng.uniform(np.log(0.01), np.log(3.0)))),
    )


def _case(
    name: str,
    dtype: str,
    *,
    a: Shape,
    b: Shape,
    adj_x: bool = False,
    adj_y: bool = False,
    constant: int = -1,
    zero_points: tuple[int, int, int] = (4, -7, 11),
    output_scale: float = 0.2,
) -> Case:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    # int16 has 256 times the steps for the same range, and no zero points.
    fineness = 1 if dtype == "int8" else 256
    a_zero, b_zero, y_zero = zero_points if dtype == "int8" else (0, 0, 0)
    info = np.iinfo(dtype)

    def operand(index: int, shape: Shape, scale: float, zero_point: int) -> CaseTensor:
        data = rng.integers(info.min, info.max, shape, np.dtype(dtype), endpoint=True) if index == constant else None
        return CaseTensor(shape, dtype, scale / fineness, zero_point, data=data)

    batch = np.broadcast_shapes(a[:-2], b[:-2])
    y = (*batch, a[-1] if adj_x else a[-2], b[-2] if adj_y else b[-1])
    return Case(
        name,
        "BATCH_MATMUL",
        (operand(0, a, 0.02, a_zero), operand(1, b, 0.03, b_zero)),
        (CaseTensor(y, dtype, output_scale / fineness, y_zero),),
        {"adj_x": adj_x, "adj_y": adj_y},
    )
