"""Small random graphs of operators between which dimensions change places, over and over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygen.ir import Array, Graph, Node, Op, Tensor, read_only
from tinygen.ops.arg_extremum import ArgMax
from tinygen.ops.common import INT8
from tinygen.ops.concatenation import Concatenation
from tinygen.ops.extremum import Maximum
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.gather import IrregularGather
from tinygen.ops.l2_normalization import L2Normalization
from tinygen.ops.mul import Mul
from tinygen.ops.pad import Pad
from tinygen.ops.quantize import Requantize
from tinygen.ops.reduce import Mean, ReduceMax
from tinygen.ops.reshape import Reshape
from tinygen.ops.strided_copy import Loop, Slice, StridedSlice, Transpose, Unpack, row_major
from tinygen.rescaling import Requant

FULL = (-128, 127)


@dataclass
class IrNet:
    """A graph under construction; every method appends a node, and returns its output's name."""

    rng: np.random.Generator
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def tensor(self, shape: Sequence[int], data: Array | None = None, dtype: np.dtype = INT8) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = Tensor(name, tuple(shape), dtype, data=None if data is None else read_only(data))
        return name

    def constant(self, shape: Sequence[int], dtype: type = np.int8, reach: int = 127) -> str:
        data = self.rng.integers(-reach, reach + 1, tuple(shape)).astype(dtype)
        return self.tensor(shape, data, data.dtype)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def add(self, op: Op, *inputs: str) -> str:
        (y,) = op.output_types([self.tensors[name] for name in inputs])
        name = self.tensor(y.shape, dtype=y.dtype)
        self.nodes.append(Node(f"#{len(self.nodes)}", op, inputs, (name,)))
        return name

    def transpose(self, x: str, axes: Sequence[int]) -> str:
        steps = row_major(self.shape(x))
        loops = tuple(Loop(self.shape(x)[axis], steps[axis]) for axis in axes)
        return self.add(Transpose(tuple(loop.trips for loop in loops), 0, loops), x)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        return self.add(Reshape.to(tuple(shape)), x)

    def box(self, x: str, kind: type[Slice | StridedSlice | Unpack], axis: int, begin: int, end: int, step: int) -> str:
        """Some indices of an axis; of UNPACK, one, and the axis is gone."""
        steps = row_major(self.shape(x))
        taken = [range(dim) for dim in self.shape(x)]
        taken[axis] = range(begin, end, step)
        loops = tuple(Loop(len(indices), indices.step * one) for indices, one in zip(taken, steps, strict=True))
        shape = [len(indices) for place, indices in enumerate(taken) if kind is not Unpack or place != axis]
        return self.add(kind(tuple(shape), begin * steps[axis], loops), x)

    def dense(self, x: str, filters: int) -> str:
        depth = self.shape(x)[-1]
        scales = self.rng.uniform(0.0005, 0.01, filters)
        op = FullyConnected(3, 0, -5, Requant.from_scales(scales), FULL, len(self.shape(x)) > 2)
        return self.add(op, x, self.constant((filters, depth)), self.constant((filters,), np.int32, 3000))

    def joined(self, xs: Sequence[str], axis: int) -> str:
        shape = list(self.shape(xs[0]))
        shape[axis] = sum(self.shape(x)[axis] for x in xs)
        return self.add(Concatenation(tuple(shape), math.prod(shape[:axis])), *xs)

    def graph(self, *outputs: str) -> Graph:
        inputs = tuple(name for name in self.tensors if self._is_input(name))
        return Graph("random", dict(self.tensors), tuple(self.nodes), inputs, outputs)

    def _is_input(self, name: str) -> bool:
        return self.tensors[name].data is None and all(name not in node.outputs for node in self.nodes)


def random_graph(rng: np.random.Generator, length: int = 14) -> Graph:
    """Random operators over a random tensor, or several; about every other one is a TRANSPOSE."""
    net = IrNet(rng)
    shape = tuple(int(dim) for dim in rng.choice([1, 2, 3, 4, 6], int(rng.integers(2, 5))))
    made = [net.tensor(shape)]
    for _ in range(length):
        x = str(rng.choice(made[-4:]))
        made.append(_step(net, x, made))
    read = {name for node in net.nodes for name in node.inputs}
    outputs = [name for name in made[1:] if name not in read or rng.random() < 0.1]
    return net.graph(*outputs)


def _step(net: IrNet, x: str, made: Sequence[str]) -> str:
    rng, shape = net.rng, net.shape(x)
    rank = len(shape)
    if net.tensors[x].dtype != INT8 or not rank:
        return net.reshape(x, (*shape, 1))
    axis = int(rng.integers(rank))
    kind = int(rng.integers(26))
    if kind < 11:
        return net.transpose(x, [int(place) for place in rng.permutation(rank)])
    if kind < 13:
        return net.add(Requantize(int(rng.integers(-9, 9)), 2, Requant.from_scales(0.7), INT8), x)
    if kind < 16:
        same = [name for name in made if net.tensors[name].type == net.tensors[x].type]
        small = [dim if rng.random() < 0.5 else 1 for dim in shape[int(rng.integers(rank)) :]]
        other = str(rng.choice(same)) if rng.random() < 0.5 else net.constant(small)
        op = Maximum() if rng.random() < 0.5 else Mul(1, -2, 3, Requant.from_scales(0.01), FULL)
        return net.add(op, x, other)
    if kind == 16:
        borders = rng.integers(0, 3, (2, rank)) * (rng.random(rank) < 0.5)
        return net.add(Pad(tuple(map(int, borders[0])), tuple(map(int, borders[1])), 7), x)
    if kind == 17:
        begin = int(rng.integers(shape[axis]))
        steps = (StridedSlice, int(rng.integers(1, 3))) if rng.random() < 0.5 else (Slice, 1)
        return net.box(x, steps[0], axis, begin, int(rng.integers(begin + 1, shape[axis] + 1)), steps[1])
    if kind == 18:
        begin = int(rng.integers(shape[axis]))
        return net.box(x, Unpack, axis, begin, begin + 1, 1)
    if kind == 19:
        keep = bool(rng.random() < 0.5)
        op: Op = ReduceMax((axis,), keep) if rng.random() < 0.5 else Mean((axis,), keep, 1, 2, Requant.from_scales(0.4))
        return net.add(op, x)
    if kind == 20:
        return net.add(L2Normalization(3), x)
    if kind == 21:
        indices: list[Sequence[int]] = [range(dim) for dim in shape]
        indices[axis] = tuple(int(index) for index in rng.integers(0, shape[axis], int(rng.integers(1, 5))))
        return net.add(IrregularGather(tuple(map(len, indices)), tuple(indices)), x)
    if kind == 22:
        return net.joined([x, x if rng.random() < 0.5 else net.constant(shape)], axis)
    if kind == 23:
        return net.dense(x, int(rng.integers(1, 5)))
    if kind == 24:
        merged = int(rng.integers(rank))
        return net.reshape(x, (*shape[:merged], math.prod(shape[merged:])))
    return net.reshape(x, (math.prod(shape),)) if rng.random() < 0.8 else net.add(ArgMax(axis), x)
