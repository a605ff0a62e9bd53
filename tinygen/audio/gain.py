"""Per-channel amplitude normalisation (PCAN): a gain that falls with the average, from a table of parabolas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygen.audio.description import MicroFrontEnd
from tinygen.audio.integers import IntArray, as_int16, as_uint32, bit_length
from tinygen.ir import read_only

_INT16_MAX = 2**15 - 1
_SNR_BITS, _OUTPUT_BITS = 12, 6


@dataclass(frozen=True)
class Knee:
    """What becomes of a signal times its gain.

    Without `snr_shift` bits, it is the ratio of signal to noise. From `linear_from` on, the result grows with it;
    below, with its square.
    """

    snr_shift: int
    linear_from: int
    square_shift: int
    linear_shift: int

    @property
    def linear_offset(self) -> int:
        """So that both curves meet."""
        return self.linear_from // 2 >> self.linear_shift


def gains(front_end: MicroFrontEnd) -> npt.NDArray[np.int16]:
    """int16 (33, 3): start, slope and curvature of the gain for averages of each bit length, in the original's steps.

    The gain of an average x of `b` bits is start + (slope + curvature * t) * t for t = x / 2**(b - 1) - 1.
    """
    table = np.zeros((33, 3), np.int16)
    table[0, 0], table[1, 0] = _gain(front_end, 0), _gain(front_end, 1)
    for bits in range(2, 33):
        first = 1 << bits - 1
        last = 2 * first - (bits == 32)
        start, middle, end = (_gain(front_end, x) for x in (first, first + first // 2, last))
        slope = 4 * (middle - start) - (end - start)
        # Both are kept in int16, whatever they are.
        table[bits] = np.array([start, slope, end - start - slope]).astype(np.int16)
    return np.asarray(read_only(table))


def _gain(front_end: MicroFrontEnd, average: int) -> int:
    pcan = front_end.pcan
    assert pcan is not None
    one = np.float32(1 << front_end.noise_reduction.smoothing_bits - front_end.correction_bits)
    base = np.float32(average) / one + np.float32(pcan.offset)
    power = np.float32(float(base) ** float(-np.float32(pcan.strength)))
    gain = np.float32(1 << pcan.gain_bits) * power
    return _INT16_MAX if gain > _INT16_MAX else int(gain + np.float32(0.5))


def knee(front_end: MicroFrontEnd) -> Knee:
    """Where the result of a description's gain starts to grow linearly, and how."""
    return Knee(front_end.snr_shift, 2 << _SNR_BITS, 2 + 2 * _SNR_BITS - _OUTPUT_BITS, _SNR_BITS - _OUTPUT_BITS)


def normalised(signal: IntArray, average: IntArray, table: npt.NDArray[np.int16], rule: Knee) -> IntArray:
    """A frame times its gains, with the knee; uint32 (..., channels), as the signal and its average."""
    # A table's parabola may be negative somewhere, and is then taken for an uint32.
    product = signal.astype(np.uint64) * as_uint32(_interpolated(average, table)).astype(np.uint64)
    ratio = np.asarray((product >> np.uint64(rule.snr_shift)).astype(np.uint32), np.int64)
    small = np.minimum(ratio, rule.linear_from)
    linear = (ratio >> rule.linear_shift) - rule.linear_offset
    return np.where(ratio < rule.linear_from, small * small >> rule.square_shift, linear)


def _interpolated(average: IntArray, table: npt.NDArray[np.int16]) -> IntArray:
    bits = bit_length(average)
    start, slope, curvature = np.moveaxis(table[bits].astype(np.int64), -1, 0)
    place = (average << np.maximum(11 - bits, 0) >> np.maximum(bits - 11, 0)) & 0x3FF
    rise = ((curvature * place >> 5) + (slope << 5)) * place
    return as_int16(start + (rise + (1 << 14) >> 15))
