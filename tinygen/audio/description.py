"""What an audio front end computes: plain facts, checked when they are put together."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.errors import FrontEndError

SMALLEST_FFT, LARGEST_FFT = 64, 4096

_FILTER_BITS = 12
"""Fraction bits of the filters' weights."""
_SNR_BITS = 12
"""Fraction bits of the ratio of signal to noise."""
_VALUE = 10 / 256
"""What one of a value stands for, as trainings take the original's uint16."""


@dataclass(frozen=True)
class FilterBank:
    """Triangular filters, evenly spaced and overlapping by half on the mel scale, over magnitudes of the spectrum."""

    channels: int
    lower_hz: float
    upper_hz: float


@dataclass(frozen=True)
class NoiseReduction:
    """Takes away what stays: a slow average of each channel, but never more than leaves the least that may remain."""

    smoothing_bits: int
    """Fraction bits of the average."""
    even_smoothing: float
    """Weight of a new frame in the average, for channels 0, 2, 4, ..."""
    odd_smoothing: float
    min_signal_remaining: float


@dataclass(frozen=True)
class Pcan:
    """Per-channel amplitude normalisation: a gain of (average + offset) ** -strength, and a soft knee near silence."""

    strength: float
    offset: float
    gain_bits: int
    """Fraction bits of the gain."""


@dataclass(frozen=True)
class LogScale:
    """The natural logarithm, times 2 ** scale_shift."""

    scale_shift: int


@dataclass(frozen=True)
class Quantisation:
    """From what the other stages yield (uint16) to a model's int8 input.

    q = (value * multiplier + divisor // 2) // divisor + zero_point, saturated.
    """

    multiplier: int
    divisor: int
    zero_point: int


class Timed:
    """Anything that computes a frame from a window of samples, and the next one a step later."""

    sample_rate: int
    window_ms: int
    step_ms: int

    @property
    def window(self) -> int:
        """Samples that a frame is computed from."""
        return self.window_ms * self.sample_rate // 1000

    @property
    def step(self) -> int:
        """Samples from the start of a frame to the start of the next."""
        return self.step_ms * self.sample_rate // 1000

    @property
    def fft_size(self) -> int:
        """Points of the FFT: the samples of a window, and zeros."""
        return 1 << (self.window - 1).bit_length()


@dataclass(frozen=True)
class MicroFrontEnd(Timed):
    """The front end of TensorFlow Lite Micro, by its settings. Raises FrontEndError for those that cannot be.

    Hann window, real FFT of the next power of two, filter bank, square root, noise reduction, and where they are not
    None: gain, logarithm, quantisation.
    """

    sample_rate: int
    """Of mono int16 samples, in Hz."""
    window_ms: int
    step_ms: int
    filter_bank: FilterBank
    noise_reduction: NoiseReduction
    pcan: Pcan | None
    log: LogScale | None
    quantisation: Quantisation | None
    title: str = ""

    def __post_init__(self) -> None:
        _check(self)

    @property
    def correction_bits(self) -> int:
        """Bits that magnitudes lack: those of the FFT's size are divided by, half of the weights' are multiplied by."""
        return self.fft_size.bit_length() - 1 - _FILTER_BITS // 2

    @property
    def snr_shift(self) -> int:
        """By how much signal * gain exceeds the ratio of signal to noise, in bits; there must be a `pcan`."""
        assert self.pcan is not None
        return self.pcan.gain_bits - self.correction_bits - _SNR_BITS

    @property
    def dtype(self) -> str:
        """Of features."""
        return "uint16" if self.quantisation is None else "int8"

    @property
    def scale(self) -> float | None:
        """Of features that are quantised."""
        rule = self.quantisation
        return None if rule is None else rule.divisor / rule.multiplier * _VALUE

    @property
    def zero_point(self) -> int | None:
        """Of features that are quantised."""
        return None if self.quantisation is None else self.quantisation.zero_point

    @property
    def features(self) -> int:
        """Of a frame."""
        return self.filter_bank.channels


@dataclass(frozen=True)
class LogMelFrontEnd(Timed):
    """Decibels of the power in filters, as float features have them. Raises FrontEndError for what cannot be.

    From samples of -1 to 1: x[n] - pre_emphasis * x[n - 1], Hamming window, real FFT of the next power of two, power by
    the window's length, filters, and (decibels + offset_db) / range_db between 0 and 1, quantised by `scale` and
    `zero_point`. Computed in integers of 32 bits.
    """

    sample_rate: int
    """Of mono int16 samples, in Hz."""
    window_ms: int
    step_ms: int
    pre_emphasis: float
    """A multiple of 1/32."""
    filter_bank: FilterBank
    offset_db: float
    range_db: float
    scale: float
    zero_point: int
    title: str = ""

    def __post_init__(self) -> None:
        _check_times(self)
        _check_filter_bank(self.filter_bank, self.sample_rate)
        _within("pre_emphasis", self.pre_emphasis, 0, 31 / 32)
        if self.pre_emphasis * 32 % 1:
            wrong = f"a front end with pre_emphasis = {self.pre_emphasis:g} cannot be"
            raise FrontEndError(wrong, "A multiple of 1/32.")
        _within("offset_db", self.offset_db, -200, 200)
        _within("range_db", self.range_db, 1, 200)
        _within("scale", self.scale, 1 / 1024, 1)
        _within("zero_point", self.zero_point, -128, 127)

    @property
    def dtype(self) -> str:
        """Of features."""
        return "int8"

    @property
    def features(self) -> int:
        """Of a frame."""
        return self.filter_bank.channels


@dataclass(frozen=True)
class MfccFrontEnd(Timed):
    """Mel-frequency cepstral coefficients, as float features have them. Raises FrontEndError for what cannot be.

    From samples of -1 to 1: Hann window, real FFT of the next power of two, magnitudes, filters, ln(x + epsilon),
    orthonormal DCT-II but for its first coefficient, which is sqrt(2) times as large; of its results the first
    `coefficients`, quantised by `scale` and `zero_point`. Computed in integers of 32 bits.
    """

    sample_rate: int
    """Of mono int16 samples, in Hz."""
    window_ms: int
    step_ms: int
    filter_bank: FilterBank
    epsilon: float
    coefficients: int
    scale: float
    zero_point: int
    title: str = ""

    def __post_init__(self) -> None:
        _check_times(self)
        _check_filter_bank(self.filter_bank, self.sample_rate)
        _within("epsilon", self.epsilon, 2**-30, 1)
        _within("coefficients", self.coefficients, 1, self.filter_bank.channels, "filter_bank.channels")
        _within("scale", self.scale, 1 / 32, 1024)
        _within("zero_point", self.zero_point, -128, 127)

    @property
    def dtype(self) -> str:
        """Of features."""
        return "int8"

    @property
    def features(self) -> int:
        """Of a frame."""
        return self.coefficients


FrontEnd = MicroFrontEnd | LogMelFrontEnd | MfccFrontEnd


def _check_times(front_end: Timed) -> None:
    _within("sample_rate", front_end.sample_rate, 1000, 192_000, "Hz")
    _within("window_ms", front_end.window_ms, 1, 1000, "ms")
    _within("step_ms", front_end.step_ms, 1, front_end.window_ms, "ms: samples between windows would be lost")
    at_rate = f"samples at {front_end.sample_rate} Hz"
    _within("the window", front_end.window, SMALLEST_FFT // 2 + 1, LARGEST_FFT, at_rate)
    _within("the step", front_end.step, 1, front_end.window, at_rate)


def _check_filter_bank(bank: FilterBank, sample_rate: int) -> None:
    _within("filter_bank.channels", bank.channels, 1, 256)
    _within("filter_bank.upper_hz", bank.upper_hz, 1, sample_rate / 2, "Hz, half of the sample rate")
    _within("filter_bank.lower_hz", bank.lower_hz, 0, bank.upper_hz - 1, "Hz, below filter_bank.upper_hz")


def _check(front_end: MicroFrontEnd) -> None:
    """Raise FrontEndError unless every number that is computed from the description has its place."""
    _check_times(front_end)
    _check_filter_bank(front_end.filter_bank, front_end.sample_rate)
    noise, pcan = front_end.noise_reduction, front_end.pcan
    _within("noise_reduction.smoothing_bits", noise.smoothing_bits, 0, 16)
    for name in ("even_smoothing", "odd_smoothing", "min_signal_remaining"):
        _within(f"noise_reduction.{name}", getattr(noise, name), 0, 1)
    if pcan is not None:
        _within("pcan.strength", pcan.strength, 0, 10)
        _within("pcan.offset", pcan.offset, 1, 2**20)
        _within("pcan.gain_bits", pcan.gain_bits, front_end.correction_bits + _SNR_BITS, 31)
        bits = f"the {front_end.correction_bits} bits that an FFT of {front_end.fft_size} points takes, at least"
        _within("noise_reduction.smoothing_bits", noise.smoothing_bits, front_end.correction_bits, 16, bits)
    if front_end.log is not None:
        _within("log.scale_shift", front_end.log.scale_shift, 0, 11)
    if front_end.quantisation is not None:
        _within("quantisation.multiplier", front_end.quantisation.multiplier, 1, 2**14)
        _within("quantisation.divisor", front_end.quantisation.divisor, 1, 2**16)
        _within("quantisation.zero_point", front_end.quantisation.zero_point, -128, 127)


def _within(name: str, value: float, low: float, high: float, why: str = "") -> None:
    if not low <= value <= high:
        raise FrontEndError(
            f"a front end with {name} = {value:g} cannot be", f"From {low:g} to {high:g}" + (f" {why}." if why else ".")
        )
