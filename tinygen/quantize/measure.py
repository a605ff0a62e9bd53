"""What quantising costs: a float model and its int8 model on the same samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygen.ir import Array
from tinygen.quantize.data import Data
from tinygen.quantize.runner import Runner, Scaling

LAYER_SAMPLES = 100
"""As many are enough for what is measured layer by layer: every value of every layer counts."""
SATURATED = 1e-3
"""A channel is saturated when more of its float values than this lie outside of what its int8 can stand for."""
_BEYOND = 2
"""Steps beyond the int8 range that do not count: the fixed ranges of softmax and the like end a step short of one."""
MEAN_ERROR = "mean absolute error"
_CHANCE = 2
"""As many values outside say nothing: of a channel with a value in each sample, one in a hundred is such a share."""
_OUTLIERS = 99.9
_LEAST = 1e-30


@dataclass(frozen=True)
class FloatLayer:
    """A node of a float model: the tensor that it writes, and those that it reads, constants left out."""

    name: str
    op: str
    output: str
    inputs: tuple[str, ...]
    channel_axis: int = -1


@dataclass(frozen=True)
class LayerFigures:
    """What int8 makes of what one layer writes."""

    name: str
    op: str
    sqnr_db: float | None
    """10 log10 of the float values' power over that of the differences; None where there are no differences."""
    own_db: float | None
    """The same for the noise that the layer itself adds, relative to that of the worst of its inputs; None where it
    adds none."""
    channels: int
    saturated: int
    """Channels of which more than SATURATED lies outside of the int8 range, and more than a few values."""
    headroom: float
    """The greatest magnitude over that which 99.9 % of the values do not exceed."""
    used: float = 1.0
    """The greatest magnitude over that which its int8 can stand for."""


@dataclass(frozen=True)
class Score:
    """How good a model's first output is: "accuracy", or another share, or MEAN_ERROR."""

    kind: str
    value: float

    @property
    def sign(self) -> int:
        """1 where larger is better, -1 where smaller is."""
        return -1 if self.kind == MEAN_ERROR else 1

    def __str__(self) -> str:
        return f"{self.value:.4g}" if self.kind == MEAN_ERROR else f"{self.value:.2%}"


@dataclass(frozen=True)
class Figures:
    """A float model and its int8 model, compared."""

    float_score: Score | None
    int8_score: Score | None
    """None without labels."""
    agreement: float | None
    """Share of samples for which the same element of the first output is the largest; None for a single element."""
    sqnr_db: Mapping[str, float | None]
    """Of each output by name, over all samples."""
    layers: tuple[LayerFigures, ...]
    commonest_class: float | None = None
    """Share of the samples that are of the commonest class; None where labels are no classes."""


def score(outputs: Array, labels: Array) -> Score:
    """Of the first output, (samples, elements), for labels as `Data` has them.

    Classes: the share of samples whose largest element is the label's, or, of a single element, which is above one
    half where the label is 1. Right outputs: the mean absolute difference.
    """
    if labels.ndim == 1:
        answers = outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
        return Score("accuracy", float(np.mean(answers == labels)))
    return Score(MEAN_ERROR, float(np.mean(np.abs(outputs - labels))))


def compare(
    float_model: Runner,
    int8_model: Runner,
    layers: Sequence[FloatLayer],
    outputs: Sequence[str],
    data: Data,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Figures:
    """Run both on all samples for the outputs, and on some of them for the layers."""
    pairs: list[tuple[list[Array], list[Array]]] = []
    for index in range(len(data)):
        inputs = list(data.sample(index).values())
        pairs.append((float_model.outputs(inputs), int8_model.outputs(inputs)))
        progress(index + 1, len(data))
    exact, rounded = (
        [np.stack([pair[side][at].ravel() for pair in pairs]) for at in range(len(outputs))] for side in (0, 1)
    )
    labels = data.labels
    several = exact[0].shape[1] > 1
    return Figures(
        float_score=None if labels is None else score(exact[0], labels),
        int8_score=None if labels is None else score(rounded[0], labels),
        agreement=float(np.mean(exact[0].argmax(axis=1) == rounded[0].argmax(axis=1))) if several else None,
        sqnr_db={name: _sqnr(x, y) for name, x, y in zip(outputs, exact, rounded, strict=True)},
        layers=_layers(float_model, int8_model, layers, data.spread(LAYER_SAMPLES)),
        commonest_class=None if labels is None or labels.ndim > 1 else float(np.bincount(labels).max() / len(labels)),
    )


@dataclass
class _Sums:
    """Of one tensor, over samples."""

    signal: float = 0.0
    noise: float = 0.0
    count: int = 0
    outside: Array | None = None
    magnitudes: list[Array] = field(default_factory=list)

    def add(self, x: Array, y: Array, axis: int, low: float, high: float) -> None:
        self.signal += float(np.sum(np.square(x)))
        self.noise += float(np.sum(np.square(x - y)))
        channels = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]) if x.ndim > 1 else x.reshape(-1, 1)
        outside = np.sum((channels < low) | (channels > high), axis=0)
        self.outside = outside if self.outside is None else self.outside + outside
        self.count += len(channels)
        self.magnitudes.append(np.asarray([np.max(np.abs(x), initial=0), np.percentile(np.abs(x), _OUTLIERS)]))

    @property
    def relative_noise(self) -> float:
        return self.noise / max(self.signal, _LEAST)


def _layers(
    float_model: Runner, int8_model: Runner, layers: Sequence[FloatLayer], data: Data
) -> tuple[LayerFigures, ...]:
    sums: dict[str, _Sums] = {}
    scalings = int8_model.scalings
    axes = {layer.output: layer.channel_axis for layer in layers}
    for index in range(len(data)):
        sample = data.sample(index)
        inputs = list(sample.values())
        exact, rounded = {**sample, **float_model.tensors(inputs)}, int8_model.tensors(inputs)
        for name, x in exact.items():
            scaling = scalings.get(name)
            if scaling is None or x.size == 0 or (name not in rounded and name not in sample):
                continue
            y = scaling.real(scaling.quantised(x)) if name in sample else rounded[name]
            if y.shape == x.shape:
                axis = axes.get(name, -1)
                sums.setdefault(name, _Sums()).add(
                    x.astype(np.float64),
                    y,
                    axis if -x.ndim <= axis < x.ndim else -1,
                    scaling.low - _BEYOND * scaling.scale,
                    scaling.high + _BEYOND * scaling.scale,
                )
    origins = _origins(layers, sums)
    return tuple(_figures(layer, sums, origins, scalings[layer.output]) for layer in layers if layer.output in sums)


def _origins(layers: Sequence[FloatLayer], sums: Mapping[str, _Sums]) -> Mapping[str, tuple[str, ...]]:
    """For each tensor, those that were measured and that it is computed from: itself, where it was."""
    found: dict[str, tuple[str, ...]] = {}
    for layer in layers:
        behind = tuple(at for name in layer.inputs for at in ((name,) if name in sums else found.get(name, ())))
        found[layer.output] = behind
    return found


def _figures(
    layer: FloatLayer, sums: Mapping[str, _Sums], origins: Mapping[str, tuple[str, ...]], scaling: Scaling
) -> LayerFigures:
    own = sums[layer.output]
    added = own.relative_noise - max((sums[name].relative_noise for name in origins[layer.output]), default=0.0)
    peak, usual = np.max(own.magnitudes, axis=0)
    assert own.outside is not None
    return LayerFigures(
        name=layer.name,
        op=layer.op,
        sqnr_db=decibels(1, own.relative_noise),
        own_db=decibels(1, max(added, 0)),
        channels=len(own.outside),
        saturated=int(np.sum(own.outside > max(SATURATED * own.count, _CHANCE))),
        headroom=float(peak / usual) if usual > 0 else 1.0,
        used=float(peak) / max(abs(scaling.low), abs(scaling.high)),
    )


def _sqnr(exact: Array, rounded: Array) -> float | None:
    return decibels(float(np.sum(np.square(exact))), float(np.sum(np.square(exact - rounded))))


def decibels(signal: float, noise: float) -> float | None:
    """10 log10 of a ratio of powers; None where there is no noise. No signal is counted as very little."""
    return None if noise == 0 else 10 * math.log10(max(signal, _LEAST) / noise)
