"""What the templates of each kind of front end print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.audio import filter_bank, gain, log_mel, log_scale, mfcc, noise, window
from tinygen.audio.c_tables import Table, common_tables, log_table
from tinygen.audio.description import FrontEnd, LogMelFrontEnd, MfccFrontEnd, MicroFrontEnd
from tinygen.audio.filter_bank import Filters


@dataclass(frozen=True, eq=False)
class Kind:
    """What is its own of one kind of front end, for a description and a core."""

    template: str
    arithmetic: str
    """The template of complex numbers."""
    value_bytes: int
    """Of a complex number, or an energy."""
    history: int
    """Samples before a frame that belong to it."""
    state_bytes: int
    filters: Filters
    tables: Sequence[Table]
    values: Mapping[str, object]


def kind_of(front_end: FrontEnd, has_dsp: bool) -> Kind:
    """For a core with packed 16-bit instructions, or for any."""
    if isinstance(front_end, MicroFrontEnd):
        return _micro(front_end, has_dsp)
    return _log_mel(front_end, has_dsp) if isinstance(front_end, LogMelFrontEnd) else _mfcc(front_end, has_dsp)


def _micro(front_end: MicroFrontEnd, has_dsp: bool) -> Kind:
    filters = filter_bank.filters(front_end)
    coefficients = window.coefficients(front_end.window)
    tables = common_tables(front_end, coefficients, window.COEFFICIENT_BITS, filters)
    if front_end.pcan is not None:
        comment = "Gains: start, slope and curvature for averages of each bit length."
        tables.append(Table("gains", comment, gain.gains(front_end)))
    if front_end.log is not None:
        tables.append(log_table())
    return Kind(
        template="audio/micro.c.j2",
        arithmetic="complex16.dsp" if has_dsp else "complex16.portable",
        value_bytes=4,
        history=0,
        state_bytes=4 * front_end.filter_bank.channels,
        filters=filters,
        tables=tables,
        values={
            "value_type": "complex16",
            "energy_type": "uint32_t",
            "is_scaled": True,
            "is_wide": False,
            "has_roots": True,
            "window_bits": window.COEFFICIENT_BITS,
            "noise": noise.noise_weights(front_end),
            "noise_bits": noise.WEIGHT_BITS,
            "pcan": None if front_end.pcan is None else gain.knee(front_end),
            "log": front_end.log,
            "ln_2": log_scale.LN_2,
            "correction_bits": front_end.correction_bits,
            "quantisation": front_end.quantisation,
        },
    )


def _log_mel(front_end: LogMelFrontEnd, has_dsp: bool) -> Kind:
    filters = filter_bank.even_filters(front_end)
    coefficients = log_mel.coefficients(front_end.window)
    return Kind(
        template="audio/log_mel.c.j2",
        arithmetic="complex32",
        value_bytes=8,
        history=1,
        state_bytes=0,
        filters=filters,
        tables=[*common_tables(front_end, coefficients, log_mel.WINDOW_BITS, filters), log_table()],
        values={
            "value_type": "complex32",
            "energy_type": "uint64_t",
            "is_scaled": False,
            "is_wide": True,
            "is_packed": has_dsp,
            "has_roots": False,
            "emphasis": log_mel.emphasis(front_end),
            "emphasis_one": 1 << log_mel.EMPHASIS_BITS,
            "product_shift": log_mel.PRODUCT_SHIFT,
            "energy_shift": log_mel.ENERGY_SHIFT,
            "line": log_mel.line(front_end),
            "scale_bits": log_mel.SCALE_BITS,
        },
    )


def _mfcc(front_end: MfccFrontEnd, has_dsp: bool) -> Kind:
    filters = filter_bank.even_filters(front_end)
    cosines = f"Cosines times ln(2), in {mfcc.FACTOR_BITS} fraction bits of a step of the feature."
    offsets = f"What makes them features, in {mfcc.SCALE_BITS} fraction bits."
    return Kind(
        template="audio/mfcc.c.j2",
        arithmetic="complex32",
        value_bytes=8,
        history=0,
        state_bytes=4 * front_end.filter_bank.channels,
        filters=filters,
        tables=[
            *common_tables(front_end, mfcc.window(front_end.window), mfcc.WINDOW_BITS, filters),
            log_table(),
            Table("cosines", cosines, mfcc.cosines(front_end)),
            Table("offsets", offsets, np.array(mfcc.offsets(front_end), np.int64)),
        ],
        values={
            "value_type": "complex32",
            "energy_type": "uint64_t",
            "is_scaled": False,
            "is_wide": True,
            "is_packed": has_dsp,
            "has_roots": True,
            "epsilon": mfcc.epsilon(front_end),
            "scale_bits": mfcc.SCALE_BITS,
        },
    )
