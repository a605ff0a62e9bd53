"""The intermediate representation: a graph of operators with typed attributes and explicit integer arithmetic.

Everything is immutable. Passes build new graphs. Operators carry what they compute with (zero points, requantisation,
clamps) as data, so that the reference, the kernels and the reports all read the same facts.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tinygen.interval import BoolArray, IntArray, Interval

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Masks = Sequence[BoolArray]
"""For each input of a node, and then for its output: which channels of the last dimension stay."""


class TensorType(NamedTuple):
    """What a shape rule yields."""

    shape: Shape
    dtype: np.dtype[Any]


@dataclass(frozen=True, eq=False)
class Quant:
    """real = scale * (q - zero_point); arrays of one element, or one per index of `axis`."""

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int = 0

    def of_channels(self, kept: BoolArray | IntArray) -> Quant:
        """That of some indices of the axis, by mask or number."""
        return dataclasses.replace(self, scale=self.scale[kept], zero_point=self.zero_point[kept])


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph; `data` (read-only) makes it a constant."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    quant: Quant | None = None
    data: Array | None = None
    packed: bool = False
    """An int8 constant of values from -8 to 7, which is stored two to a byte. `data` are the values themselves."""
    bounds: Interval | None = None
    """What the values of each channel are proved to lie in, where that is less than the dtype holds (`note_bounds`)."""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(math.prod(self.shape))

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return (self.elements + 1) // 2 if self.packed else self.elements * self.dtype.itemsize

    def cut(self, kept: BoolArray) -> Tensor:
        """Only these channels of the last dimension; a scalar has one, which stays."""
        if not self.shape or kept.all():
            return self
        data = None if self.data is None else read_only(np.ascontiguousarray(self.data[..., kept]))
        quant = self.quant
        if quant is not None and quant.scale.size > 1 and quant.axis == len(self.shape) - 1:
            quant = quant.of_channels(kept)
        return dataclasses.replace(self, shape=(*self.shape[:-1], int(kept.sum())), data=data, quant=quant, bounds=None)

    @property
    def type(self) -> TensorType:
        """Shape and dtype."""
        return TensorType(self.shape, self.dtype)


@runtime_checkable
class Rescaling(Protocol):
    """An attribute that takes integers to another scale: `Requant` and its like."""

    @property
    def rounding(self) -> Enum:
        """How; the value is the rule's name."""

    @property
    def is_identity(self) -> bool:
        """Whether nothing is changed."""


class Arranged(NamedTuple):
    """An operator over tensors whose elements lie in another order, and are otherwise those of before.

    An order is an array with the shape of the rearranged tensor: for each element, its number in the tensor of before.
    """

    op: Op
    inputs: tuple[IntArray, ...]
    output: IntArray


OUTPUT = -1
"""The place of an operator's output, beside the inputs' 0, 1, …"""


class Op(ABC):
    """An operator with its attributes; subclasses are frozen dataclasses in `tinygen.ops`, one file each."""

    name: ClassVar[str]
    """The field's name of the operator, as in TensorFlow Lite: "CONV_2D"."""

    @abstractmethod
    def output_types(self, inputs: Sequence[Tensor]) -> tuple[TensorType, ...]:
        """The shape rule."""

    @abstractmethod
    def reference(self, *inputs: Array) -> tuple[Array, ...]:
        """The exact result in numpy."""

    def problems(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """What in these inputs (dtypes, ranks, values) the operator is not defined for, in words."""
        yield from ()

    def notes(self, inputs: Sequence[Tensor]) -> Iterator[str]:
        """What is no problem, but what a user had better know, in words."""
        yield from ()

    def macs(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """Multiply-accumulates of one evaluation; zero for operators that do not multiply weights."""
        return 0

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """What the results lie in, for inputs of integers that lie in `given`; outputs are integers, too.

        Sound for any operator: whatever the outputs' types hold.
        """
        return tuple(Interval.full(y.dtype, y.shape) for y in self.output_types(inputs))

    def kept_channels(
        self, inputs: Sequence[Tensor], given: Sequence[Interval | None], kept: Masks
    ) -> tuple[BoolArray, ...] | None:
        """The channels that have to stay if those of `kept` do, so many that there is a `narrowed` operator for them.

        `given`: what the inputs lie in. None: all have to stay.
        """
        return None

    def narrowed(
        self, inputs: Sequence[Tensor], given: Sequence[Interval | None], kept: Masks
    ) -> tuple[Op, tuple[Tensor, ...]] | None:
        """This operator, and its inputs, with only the channels in `kept`; None where there is no such operator.

        Channels that are left out are unread, or constants, in `given`.
        """
        return self, tuple(x.cut(mask) for x, mask in zip(inputs, kept, strict=False))

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """What does the same where the tensor in this place (of an input, or OUTPUT) lies in this order.

        None where there is no such operator.
        """
        return None

    def describe(self) -> str:
        """The attributes in a few words, for comments and reports."""
        return ""

    @property
    def rounding(self) -> str:
        """The rule that results are rounded by, for comments and reports: that of its attributes.

        "exact" for what only moves, compares or counts.
        """
        rules = {
            value.rounding.value: None
            for name in getattr(self, "__dataclass_fields__", ())
            if isinstance(value := getattr(self, name), Rescaling) and not value.is_identity
        }
        return ", ".join(rules) or "exact"


@dataclass(frozen=True, eq=False)
class Node:
    """One operator in its place: names of the tensors that it reads and writes."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class State:
    """A value that goes from one invocation to the next: what was `written` in one is `read` in the next."""

    read: str
    """Name of the tensor that nodes read; none writes it."""
    written: str
    """Name of the tensor that holds the next value, of the same shape and dtype."""
    initial: Array
    """The value after a reset."""


@dataclass(frozen=True, eq=False)
class Removed:
    """Channels of a tensor's last dimension that a pass took away, all for one reason."""

    tensor: str
    of: int
    """How many channels the tensor had."""
    channels: tuple[int, ...]
    """Which of them are gone, ascending."""
    value: int | None
    """What they always are; None: nothing reads them."""
    bounds: tuple[tuple[int, int], ...] = ()
    """What proves it of constants that are sums: the ends of each channel's accumulator, which all round to `value`."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in an order of execution, and the tensors between them."""

    source: str
    """File name of the model, for messages."""
    tensors: Mapping[str, Tensor]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[State, ...] = ()
    notes: tuple[str, ...] = ()
    """What people should know about how the file was read."""
    removed: tuple[Removed, ...] = ()
    """Channels that the file's tensors have beyond those of the graph."""
    input_axes: tuple[tuple[int, ...] | None, ...] = ()
    """For each input, which of the file's dimensions each of its own is, None where they are the same; () for all."""
    output_axes: tuple[tuple[int, ...] | None, ...] = ()
    """The same of outputs."""
    outside: frozenset[str] = frozenset()
    """Inputs and outputs whose memory is the application's: they take none of the library's."""

    def input_tensors(self, node: Node) -> tuple[Tensor, ...]:
        """The tensors that a node reads."""
        return tuple(self.tensors[name] for name in node.inputs)

    def output_tensors(self, node: Node) -> tuple[Tensor, ...]:
        """The tensors that a node writes."""
        return tuple(self.tensors[name] for name in node.outputs)

    @property
    def kept(self) -> Mapping[str, BoolArray]:
        """Of tensors without some of the file's channels: which channels of the file's tensor are there."""
        masks = {removed.tensor: np.ones(removed.of, np.bool_) for removed in self.removed}
        for removed in self.removed:
            masks[removed.tensor][list(removed.channels)] = False
        return masks

    def macs(self, node: Node) -> int:
        """Multiply-accumulates of one node."""
        return node.op.macs(self.input_tensors(node), self.output_tensors(node))


def read_only(array: Array) -> Array:
    """The array, protected against writing."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def packed(values: Array) -> Array:
    """Values from -8 to 7, two to a byte of a uint8 (n,), the first in the low half; a last half may stay empty."""
    halves = np.resize(values.reshape(-1).astype(np.uint8) & 15, (values.size + 1) // 2 * 2)
    halves[values.size :] = 0
    return np.asarray(halves[0::2] | halves[1::2] << 4)


def unpacked(data: Array, shape: Shape) -> Array:
    """The int8 values of such bytes."""
    halves = np.stack([data & 15, data >> 4], axis=-1).reshape(-1)[: int(np.prod(shape, dtype=np.int64))]
    return ((halves.astype(np.int8) ^ 8) - 8).reshape(shape)
