"""What many operators have in common, stated once: how far their results reach, and which channels they are made of.

An operator that has a trait derives from it. What has none is sound, too: its results can be anything, and its tensors
keep all their channels.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from tinygen.arrangement import Axes, along_axes, element_by_element, permuted
from tinygen.interval import BoolArray, IntArray, Interval
from tinygen.ir import Arranged, Array, Masks, Op, Shape, Tensor


class Increasing(Op):
    """No result falls when an element of an input rises: the reference of all ends bounds all results."""

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """Between the results of the lowest and of the highest inputs."""
        low = self.reference(*(_filled(x, interval.low) for x, interval in zip(inputs, given, strict=True)))
        high = self.reference(*(_filled(x, interval.high) for x, interval in zip(inputs, given, strict=True)))
        return tuple(Interval.between(*ends) for ends in zip(low, high, strict=True))


def _filled(x: Tensor, ends: IntArray) -> Array:
    return np.broadcast_to(ends.astype(x.dtype), x.shape).copy() if x.data is None else x.data


class ValueByValue(Op):
    """y[i] = f(x[i]), x of 8 or 16 bits: the results of all values of x are looked through."""

    def intervals(self, inputs: Sequence[Tensor], given: Sequence[Interval]) -> tuple[Interval, ...]:
        """The extremes of f over each channel's interval."""
        (x,), (interval,) = inputs, given
        limits = np.iinfo(str(x.dtype))
        (table,) = self.reference(np.arange(limits.min, limits.max + 1).astype(x.dtype))
        # Pairs of ends: of the runs from each to the next, every other one is an interval.
        ends = np.stack([interval.low, interval.high + 1], axis=-1).reshape(-1) - int(limits.min)
        values = np.append(table, table[-1:]).astype(np.int64)
        low, high = (extremum.reduceat(values, ends)[::2] for extremum in (np.minimum, np.maximum))
        return (Interval(low.reshape(interval.low.shape), high.reshape(interval.low.shape)),)


class Linked(Op):
    """Each channel of the output is made of certain channels of the inputs, and stays or goes together with them."""

    @abstractmethod
    def links(self, inputs: Sequence[Tensor]) -> Sequence[IntArray] | None:
        """For each input, pairs (n, 2): this channel of the input, and that of the output, are made of each other.

        None where it needs whole inputs after all. An input of one channel that serves all of the output has no pairs.
        """

    def kept_channels(
        self, inputs: Sequence[Tensor], given: Sequence[Interval | None], kept: Masks
    ) -> tuple[BoolArray, ...] | None:
        """Both ends of each pair, or neither."""
        links = self.links(inputs)
        if links is None:
            return None
        *ins, out = (mask.copy() for mask in kept)
        while True:
            before = sum(int(mask.sum()) for mask in (*ins, out))
            for mask, pairs in zip(ins, links, strict=True):
                out[pairs[mask[pairs[:, 0]], 1]] = True
                mask[pairs[out[pairs[:, 1]], 0]] = True
            if before == sum(int(mask.sum()) for mask in (*ins, out)):
                return (*ins, out)


class Channelwise(Linked):
    """Channel c of the output is made of channel c of every input that has as many, and of those that have just one."""

    def links(self, inputs: Sequence[Tensor]) -> Sequence[IntArray] | None:
        """Equal numbers."""
        (y,) = self.output_types(inputs)
        channels = int(np.prod(y.shape[-1:]))
        same = np.stack([np.arange(channels)] * 2, axis=-1)
        return [same if int(np.prod(x.shape[-1:])) == channels else same[:0] for x in inputs]


class Elementwise(Channelwise):
    """Element i of the output is made of element i of every input, once they are broadcast."""

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """The same operator over all of them in that order."""
        return element_by_element(self, inputs, place, order)


class Rowwise(Op):
    """Each row of the last dimension of the output, of the input's shape, is made of that of the input."""

    def arranged(self, inputs: Sequence[Tensor], place: int, order: IntArray) -> Arranged | None:
        """The same operator, where rows stay rows."""
        x = inputs[0].shape

        def rebuilt(axes: Axes) -> tuple[Op, Shape] | None:
            return (self, permuted(x, axes)) if axes[-1:] == (len(x) - 1,) else None

        return along_axes(inputs, place, order, x, rebuilt)


class Moving(Increasing, Linked):
    """Every element of the output is one of an input, or a constant: the reference moves whatever it is given."""

    def moved(self, *inputs: Array) -> Array:
        """The output with these elements; what is of no input is negative."""
        (y,) = self.reference(*inputs)
        return y

    def links(self, inputs: Sequence[Tensor]) -> Sequence[IntArray] | None:
        """Channel numbers in place of the inputs' elements, and where they come out."""
        sizes = [int(np.prod(x.shape[-1:])) for x in inputs]
        starts = np.cumsum([0, *sizes])
        numbered = [
            np.broadcast_to(np.arange(size).reshape(x.shape[-1:]) + start, x.shape).copy()
            for x, size, start in zip(inputs, sizes, starts, strict=False)
        ]
        sources = self.moved(*numbered)
        channels = int(np.prod(sources.shape[-1:]))
        codes = np.unique(sources.astype(np.int64) * channels + np.arange(channels).reshape(sources.shape[-1:]))
        source, out = np.divmod(codes[codes >= 0], channels)
        pairs = np.stack([source, out], axis=-1)
        found = []
        for start, stop in itertools.pairwise(starts):
            found.append(pairs[(source >= start) & (source < stop)] - [start, 0])
        return found

    def narrowed(
        self, inputs: Sequence[Tensor], given: Sequence[Interval | None], kept: Masks
    ) -> tuple[Op, tuple[Tensor, ...]] | None:
        """The operator that moves what is kept of the inputs to what is kept of the output, if there is one."""
        *ins, out = kept
        starts = np.cumsum([0, *(x.elements for x in inputs)])
        numbered = [np.arange(x.elements).reshape(x.shape) + start for x, start in zip(inputs, starts, strict=False)]
        wanted = picked(self.moved(*numbered), out)
        left = [picked(array, mask) for array, mask in zip(numbered, ins, strict=True)]
        for op in self.candidates(left, ins, wanted, out):
            if np.array_equal(np.maximum(op.moved(*left), -1), np.maximum(wanted, -1)):
                return op, tuple(x.cut(mask) for x, mask in zip(inputs, ins, strict=True))
        return None

    def candidates(
        self, inputs: Sequence[Array], kept: Sequence[BoolArray], output: Array, kept_output: BoolArray
    ) -> Iterator[Moving]:
        """Operators that may make `output` of `inputs`, both of the numbers of the elements that are kept."""
        yield self


def picked(array: Array, kept: BoolArray) -> Array:
    """The kept channels of the last dimension; a scalar has one."""
    return array[..., kept] if array.ndim else array
