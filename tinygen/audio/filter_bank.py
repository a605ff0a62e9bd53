"""The filter bank: energies of the spectrum's bins to magnitudes of channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tinygen.audio.description import LogMelFrontEnd, MfccFrontEnd, MicroFrontEnd
from tinygen.audio.float_log import log1p
from tinygen.audio.integers import IntArray, rounded_root
from tinygen.errors import FrontEndError
from tinygen.ir import Array, read_only

WEIGHT_BITS = 12
_ONE = 1 << WEIGHT_BITS


@dataclass(frozen=True, eq=False)
class Filters:
    """Filters as bands between the centres of neighbours.

    A bin of band c is on the rising side of filter c and on the falling side of filter c - 1. There is one band more
    than filters: band 0 has rising sides only, the last band falling ones.
    """

    first: int
    """The first bin of band 0."""
    widths: tuple[int, ...]
    """Bins of each band; may be 0."""
    falling: npt.NDArray[np.int16]
    """Weight of each bin in the filter before its band's, 0 to 4096."""
    rising: npt.NDArray[np.int16]
    """Weight of each bin in its band's filter."""

    @property
    def bins(self) -> int:
        """Of all bands."""
        return len(self.rising)

    @property
    def is_complementary(self) -> bool:
        """Whether the weights of every bin add up to one; a weight may be rounded up in both."""
        return bool(np.all(self.falling + self.rising == _ONE))

    @property
    def starts(self) -> tuple[int, ...]:
        """The first bin of each band, counted from `first`."""
        return tuple(np.cumsum((0, *self.widths[:-1])).tolist())


def mel(hertz: np.float32) -> np.float32:
    """A frequency on the mel scale, in the original's float32 steps."""
    return np.float32(1127) * log1p(hertz / np.float32(700))


@lru_cache(maxsize=8)
def filters(front_end: MicroFrontEnd) -> Filters:
    """The filters of a description: ``FilterbankPopulateState``, without its padding.

    Raises FrontEndError where the highest filter would take the last bin, which is not computed.
    """
    bank = front_end.filter_bank
    half = front_end.fft_size // 2
    spacing_hz = np.float32(0.5) * np.float32(front_end.sample_rate) / np.float32(half)
    lowest = mel(np.float32(bank.lower_hz))
    bands = bank.channels + 1
    spacing = (mel(np.float32(bank.upper_hz)) - lowest) / np.float32(bands)
    centres = [lowest + spacing * np.float32(band + 1) for band in range(bands)]
    first = int(np.float32(1.5) + np.float32(bank.lower_hz) / spacing_hz)
    widths, falling = [], []
    frequency = first
    for band, centre in enumerate(centres):
        below = centres[band - 1] if band else lowest
        start = frequency
        while (place := mel(np.float32(frequency) * spacing_hz)) <= centre:
            falling.append((centre - place) / (centre - below))
            frequency += 1
        widths.append(frequency - start)
    if frequency > half:
        raise FrontEndError(
            f"filter_bank.upper_hz = {bank.upper_hz:g} reaches half of the sample rate, {front_end.sample_rate} Hz",
            f"At most {half * float(spacing_hz) - 1:g} Hz.",
        )
    weights = np.array(falling, np.float32)
    return Filters(first, tuple(widths), _quantised(weights), _quantised(np.float32(1) - weights))


def even_filters(front_end: LogMelFrontEnd | MfccFrontEnd) -> Filters:
    """Filters whose edges and centres are evenly spaced, as ``tf.signal.linear_to_mel_weight_matrix`` places them."""
    bank = front_end.filter_bank
    half = front_end.fft_size // 2
    lowest, highest = _mel(np.array([bank.lower_hz, bank.upper_hz])).tolist()
    edges = np.linspace(lowest, highest, bank.channels + 2)
    places = _mel(np.arange(1, half) * (front_end.sample_rate / front_end.fft_size))
    reached = np.flatnonzero((places >= edges[0]) & (places < edges[-1]))
    places = places[reached]
    band = np.searchsorted(edges, places, side="right") - 1
    rising = np.rint((places - edges[band]) / (edges[band + 1] - edges[band]) * _ONE).astype(np.int16)
    widths = np.bincount(band, minlength=bank.channels + 1)
    first = int(reached[0]) + 1 if len(reached) else 1
    return Filters(first, tuple(widths.tolist()), read_only(_ONE - rising), read_only(rising))


def _mel(hertz: Array) -> Array:
    return np.asarray(1127 * np.log1p(hertz / 700))


def _quantised(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    return np.asarray(read_only(np.floor(weights * np.float32(_ONE) + np.float32(0.5)).astype(np.int16)))


def magnitudes(real: IntArray, imaginary: IntArray, found: Filters, shift: IntArray) -> IntArray:
    """Square roots of what each filter gathers, int64 (..., channels), from bins 1 and up (..., bins).

    `shift` (...): by how many bits the samples were shifted up, which is undone.
    """
    gathered = powers(real**2 + imaginary**2, found)
    return np.asarray(rounded_root(gathered) >> shift[..., np.newaxis], np.int64)


def powers(energies: IntArray, found: Filters) -> IntArray:
    """What each filter gathers, int64 (..., channels), from the energies of bins 1 and up (..., bins)."""
    reached = energies[..., found.first - 1 : found.first - 1 + found.bins]
    rising, falling = (_by_band(reached * weights, found) for weights in (found.rising, found.falling))
    return np.asarray(rising[..., :-1] + falling[..., 1:], np.int64)


def _by_band(values: IntArray, found: Filters) -> IntArray:
    """Sums over the bins of each band."""
    sums = np.zeros((*values.shape[:-1], found.bins + 1), np.int64)
    np.cumsum(values, axis=-1, out=sums[..., 1:])
    starts = np.array(found.starts)
    return np.asarray(sums[..., starts + np.array(found.widths)] - sums[..., starts], np.int64)
