"""Audio front ends in numpy: equal to the public implementation, however samples are cut; errors in words."""

from __future__ import annotations

import ctypes
import ctypes.util
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from float_features import exact_features
from hypothesis import given
from hypothesis import strategies as st
from pymicro_features import MicroFrontend
from sounds import DECIBELS, FRONT_ENDS, MFCC, MICRO, RAW, sounds

from tinygen import audio
from tinygen.audio import fft
from tinygen.audio.c_kinds import kind_of
from tinygen.audio.float_log import log1p
from tinygen.audio.integers import rounded_root
from tinygen.errors import FrontEndError, InputError
from tinygen.ir import Array
from tinygen.resources import resource

_CHUNK = RAW.step
_SCALE = 0.0390625  # the public implementation gives its integers times this


def of_public_implementation(samples: Array) -> Array:
    """uint16 (frames, channels)."""
    front_end, frames = MicroFrontend(), []
    for start in range(0, len(samples) - _CHUNK + 1, _CHUNK):
        output = front_end.process_samples(samples[start : start + _CHUNK].tobytes())
        frames += [output.features] if output.features else []
    return np.rint(np.array(frames) / _SCALE).astype(np.uint16)


def library_logarithms_are_ours() -> bool:
    """Whether this machine's C library, which the public implementation asks, places filters as ours does."""
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    library.log1pf.restype, library.log1pf.argtypes = ctypes.c_float, [ctypes.c_float]
    bins = np.arange(RAW.fft_size // 2, dtype=np.float32) * np.float32(RAW.sample_rate / RAW.fft_size)
    return all(library.log1pf(x) == log1p(x) for x in bins / np.float32(700))


# --- what is computed ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not library_logarithms_are_ours(), reason="this C library's log1pf() is not that of devices")
@pytest.mark.parametrize("kind", sounds(1))
def test_every_bit_is_that_of_the_public_implementation(kind: str) -> None:
    samples = sounds(RAW.window + 79 * RAW.step)[kind]
    expected = of_public_implementation(samples)
    assert expected.shape == (80, 40)
    assert np.array_equal(audio.features(RAW, samples), expected)


def test_models_get_the_public_features_as_their_training_quantised_them() -> None:
    samples = sounds(16_000)["growing noise"]
    raw = audio.features(RAW, samples).astype(np.int64)
    expected = np.clip((raw * 256 + 333) // 666 - 128, -128, 127)
    assert len(np.unique(expected)) > 50
    assert np.array_equal(audio.features(MICRO, samples), expected)


@pytest.mark.parametrize("size", [64, 128, 256, 512, 1024])
def test_the_spectrum_is_a_fourier_transform_up_to_rounding(size: int) -> None:
    samples = np.random.default_rng(size).integers(-(2**14), 2**14, (20, size))
    real, imaginary = fft.spectrum(samples)
    exact = np.fft.rfft(samples)[:, 1:-1] / size
    passes = np.log2(size)
    assert np.abs(real - exact.real).max() < passes and np.abs(imaginary - exact.imag).max() < passes
    assert np.abs(exact).max() > 10 * passes


@pytest.mark.parametrize("size", [128, 1024, 4096])
@pytest.mark.parametrize("bits", [10, 30])
def test_the_wide_spectrum_is_as_exact_as_its_factors(bits: int, size: int) -> None:
    samples = np.random.default_rng(0).integers(-(2**bits) + 1, 2**bits, (20, size))
    real, imaginary = fft.spectrum(samples, fft.BITS_32)
    exact = np.fft.rfft(samples)[:, 1:-1] / size
    error = np.hypot(real - exact.real, imaginary - exact.imag)
    assert error.max() < np.abs(exact).max() * 2**-12 + 2 * np.log2(size)
    assert max(np.abs(real).max(), np.abs(imaginary).max()) < 2**31


@pytest.mark.parametrize("gain", [1, 1 / 8])
@pytest.mark.parametrize("front_end", [DECIBELS, MFCC])
def test_features_are_those_of_floats_to_one_step_of_the_input(front_end: Any, gain: float) -> None:
    rng = np.random.default_rng(1)
    time = np.arange(5 * front_end.sample_rate) / front_end.sample_rate
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(5 * time)) / front_end.sample_rate
    voice = sum(np.sin(k * pitch) / k for k in range(1, 30)) * (1 + np.sin(20 * time)) ** 4
    wide = np.rint(gain * (700 * voice + 30 * rng.normal(size=len(time))))
    samples = np.clip(wide, -(2**15), 2**15 - 1).astype(np.int16)
    exact = exact_features(front_end, samples).astype(np.int64)
    error = np.abs(audio.features(front_end, samples) - exact)
    assert len(np.unique(exact)) > 50
    assert (error <= 1).mean() > 0.999 and (error == 0).mean() > 0.97


@given(st.lists(st.integers(0, 2**55), min_size=1))
def test_roots_are_rounded_to_nearest(squares: list[int]) -> None:
    for x, root in zip(squares, rounded_root(np.array(squares)).tolist(), strict=True):
        if x < 2**32 and x > (2**16 - 1) * 2**16:
            assert root == 2**16 - 1
        else:
            assert root == 0 or (2 * root - 1) ** 2 < 4 * x
            assert 4 * x < (2 * root + 1) ** 2


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_filters_share_each_frequency_between_neighbours(name: str) -> None:
    found = kind_of(FRONT_ENDS[name], has_dsp=False).filters
    total = found.falling.astype(int) + found.rising
    assert set(total) <= {4096, 4097}  # a half is rounded up twice
    assert sum(found.widths) == found.bins == len(found.falling)
    assert len(found.widths) == FRONT_ENDS[name].filter_bank.channels + 1


# --- how samples are fed ---------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 900), max_size=30), st.integers(0, 2**32))
def test_samples_cut_anywhere_give_the_same_features(lengths: list[int], seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-5000, 5000, sum(lengths)).astype(np.int16)
    stream = audio.Stream(MICRO)
    pieces = np.split(samples, np.cumsum(lengths[:-1])) if lengths else []
    fed = [stream.feed(piece) for piece in pieces]
    whole = audio.features(MICRO, samples)
    assert whole.shape == (max((len(samples) - MICRO.window) // MICRO.step + 1, 0), 40)
    assert np.array_equal(np.concatenate([*fed, np.zeros((0, 40), np.int8)]), whole)


def test_long_recordings_are_computed_in_blocks_that_do_not_show() -> None:
    samples = sounds(RAW.window + 599 * RAW.step)["growing noise"]
    stream = audio.Stream(RAW)
    fed = [stream.feed(piece) for piece in np.array_split(samples, 7)]
    assert np.array_equal(audio.features(RAW, samples), np.concatenate(fed))


def test_reset_forgets_everything() -> None:
    samples = sounds(3000)
    stream = audio.Stream(MICRO)
    first = stream.feed(samples["growing noise"])
    assert not np.array_equal(stream.feed(samples["growing noise"])[: len(first)], first)
    stream.reset()
    assert np.array_equal(stream.feed(samples["growing noise"]), first)


def test_recordings_side_by_side_are_each_their_own() -> None:
    recordings = np.stack(list(sounds(4000).values()))
    together = audio.features(MICRO, recordings)
    assert together.shape == (len(recordings), 23, 40)
    assert all(np.array_equal(one, audio.features(MICRO, x)) for one, x in zip(together, recordings, strict=True))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(16_000, np.float32), "samples are float32, and a front end takes int16\nFloats from -1 to 1: "),
        (
            np.zeros((16_000, 2), np.int16),
            r"16000 recordings that are shorter than a frame\n.*take one: samples\[:, 0\]",
        ),
        (np.int16(3) * np.ones((), np.int16), r"shape \(\)"),
    ],
)
def test_samples_that_cannot_be_are_refused_in_words(samples: Array, message: str) -> None:
    with pytest.raises(InputError, match=message):
        audio.features(MICRO, samples)


def test_a_stream_refuses_channels() -> None:
    with pytest.raises(InputError, match=r"this stream takes \(samples\)\nOf interleaved channels, take one"):
        audio.Stream(MICRO).feed(np.zeros((160, 2), np.int16))


# --- descriptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate": 0}, "sample_rate = 0 cannot be\nFrom 1000 to 192000 Hz"),
        ({"step_ms": 31}, "step_ms = 31 cannot be\nFrom 1 to 30 ms: samples between windows would be lost"),
        ({"window_ms": 300}, "the window = 4800 cannot be\nFrom 33 to 4096 samples at 16000 Hz"),
        ({"filter_bank": audio.FilterBank(0, 125, 7500)}, "filter_bank.channels = 0"),
        (
            {"filter_bank": audio.FilterBank(40, 125, 9000)},
            "filter_bank.upper_hz = 9000 cannot be\nFrom 1 to 8000 Hz, half",
        ),
        ({"filter_bank": audio.FilterBank(40, 7600, 7500)}, "filter_bank.lower_hz = 7600"),
        ({"pcan": audio.Pcan(0.95, 80, 14)}, "pcan.gain_bits = 14 cannot be\nFrom 15 to 31"),
        ({"noise_reduction": audio.NoiseReduction(2, 0.1, 0.1, 0.1)}, "smoothing_bits = 2 cannot be\nFrom 3 to 16"),
        ({"noise_reduction": audio.NoiseReduction(10, 1.5, 0.1, 0.1)}, "even_smoothing = 1.5"),
        ({"log": audio.LogScale(12)}, "log.scale_shift = 12"),
        ({"quantisation": audio.Quantisation(256, 0, -128)}, "quantisation.divisor = 0"),
    ],
)
def test_descriptions_that_cannot_be_are_refused_in_words(change: dict[str, object], message: str) -> None:
    with pytest.raises(FrontEndError, match=message):
        dataclasses.replace(MICRO, **change)


@pytest.mark.parametrize(
    ("front_end", "change", "message"),
    [
        (DECIBELS, {"pre_emphasis": 0.95}, "pre_emphasis = 0.95 cannot be\nA multiple of 1/32"),
        (DECIBELS, {"pre_emphasis": 1}, "pre_emphasis = 1 cannot be\nFrom 0 to 0.96875"),
        (DECIBELS, {"scale": 0}, "scale = 0 cannot be"),
        (DECIBELS, {"window_ms": 300}, "the window = 4800 cannot be"),
        (MFCC, {"coefficients": 41}, "coefficients = 41 cannot be\nFrom 1 to 40 filter_bank.channels"),
        (MFCC, {"epsilon": 0}, "epsilon = 0 cannot be"),
        (MFCC, {"filter_bank": audio.FilterBank(40, 0, 8001)}, "filter_bank.upper_hz = 8001"),
    ],
)
def test_float_features_that_cannot_be_are_refused_in_words(
    front_end: Any, change: dict[str, object], message: str
) -> None:
    with pytest.raises(FrontEndError, match=message):
        dataclasses.replace(front_end, **change)


def test_filters_up_to_half_of_the_sample_rate_are_refused() -> None:
    to_the_end = dataclasses.replace(MICRO, filter_bank=audio.FilterBank(40, 125, 8000))
    with pytest.raises(FrontEndError, match="reaches half of the sample rate, 16000 Hz\nAt most 7999 Hz"):
        audio.features(to_the_end, np.zeros(1000, np.int16))


@pytest.mark.parametrize("name", audio.names())
def test_front_ends_that_ship_are_read_by_name_and_by_path(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "mine.toml"
    copy.write_text(resource("front_ends", f"{name}.toml").read_text())
    assert audio.load(copy) == audio.load(str(copy)) == audio.load(name)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("step_ms = 10", "", r"mine.toml: step_ms is missing"),
        ("step_ms = 10", "step_ms = 10.5", r"mine.toml: step_ms = 10.5\nAllowed: a whole number"),
        ("step_ms = 10", "step_ms = 40", r"mine.toml: a front end with step_ms = 40 cannot be\nFrom 1 to 30 ms"),
        ("step_ms = 10", "step_ms = 10\nhop = 3", r"mine.toml: unknown key hop\n"),
        ("gain_bits", "gain_bit", r"mine.toml: pcan.gain_bits is missing"),
        ("offset = 80", "offset = nan", r"mine.toml: pcan.offset = nan\nAllowed: a number"),
        ("[pcan]", "[pcan", r"cannot read .*mine.toml"),
        ('kind = "micro"', 'kind = "mel"', r"mine.toml: kind = 'mel'\nAllowed: one of log-mel, mfcc, micro"),
    ],
)
def test_files_that_make_no_sense_are_refused_in_words(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(resource("front_ends", "micro.toml").read_text().replace(old, new, 1))
    with pytest.raises(FrontEndError, match=message):
        audio.load(path)


def test_unknown_names_are_refused_with_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(FrontEndError, match="unknown front end 'mirco'\nDid you mean micro\\?"):
        audio.load("mirco")
    with pytest.raises(FrontEndError, match="there is no front end file"):
        audio.load(tmp_path / "none.toml")
