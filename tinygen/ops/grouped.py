"""Filters (o, kh, kw, c / groups) of convolutions in groups: their sums, and some of them."""

from __future__ import annotations

import numpy as np

from tinygen.interval import BoolArray
from tinygen.ir import Array


def by_tap(taps: Array, x: Array) -> Array:
    """Each group's filters by its channels of x (c,): sums of products (kh, kw, o)."""
    depth = taps.shape[3]
    groups = len(x) // depth
    sums = taps.reshape(groups, -1, depth) @ x.reshape(groups, depth, 1)
    return np.asarray(sums.reshape(taps.shape[:3]).transpose(1, 2, 0))


def by_channel(taps: Array, channels: int) -> Array:
    """Sums over all taps (o, channels): each group's filters for its own channels, zero for others."""
    sums = taps.sum(axis=(1, 2))
    filters, depth = sums.shape
    groups = channels // depth
    whole = np.zeros((groups, filters // groups, groups, depth), sums.dtype)
    whole[np.arange(groups), :, np.arange(groups)] = sums.reshape(groups, -1, depth)
    return whole.reshape(filters, channels)


def shaped(x: BoolArray, y: BoolArray, depth: int) -> tuple[BoolArray, BoolArray]:
    """At least these channels and filters: of each group as many channels, and as many filters, or none."""
    groups = len(x) // depth
    if groups == 1:
        return x, y
    channels, filters = x.reshape(groups, depth), y.reshape(groups, -1)
    alive = np.asarray(channels.any(axis=1) | filters.any(axis=1))
    return evened(channels, alive).reshape(-1), evened(filters, alive).reshape(-1)


def evened(kept: BoolArray, alive: BoolArray) -> BoolArray:
    """As many of each row (rows, members) that is `alive`, at least one, those that are kept among them."""
    wanted = max(int(kept.sum(axis=1).max()), 1)
    first = np.argsort(~kept, axis=1, kind="stable")[:, :wanted]
    filled = np.zeros_like(kept)
    np.put_along_axis(filled, first, True, axis=1)
    return np.asarray(filled & alive[:, np.newaxis])


def cut(weights: Array, x: BoolArray, y: BoolArray) -> Array:
    """The kept filters, each of the kept channels of its group."""
    depth = weights.shape[3]
    channels, filters = x.reshape(-1, depth), y.reshape(len(x) // depth, -1)
    groups = np.split(weights, len(channels))
    parts = [part[rows][..., taken] for part, rows, taken in zip(groups, filters, channels, strict=True)]
    return np.concatenate([part for part in parts if part.size])
