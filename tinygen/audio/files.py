"""Front ends from TOML files: those that ship with tinygen, and anybody's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tinygen.audio.description import (
    FilterBank,
    FrontEnd,
    LogMelFrontEnd,
    LogScale,
    MfccFrontEnd,
    MicroFrontEnd,
    NoiseReduction,
    Pcan,
    Quantisation,
)
from tinygen.errors import FrontEndError
from tinygen.resources import resource
from tinygen.toml_table import Table, known

_WHOLE = (-(2**31), 2**31 - 1)  # the description has the limits that mean something


def names() -> list[str]:
    """Names of the front ends that ship with tinygen, sorted."""
    return sorted(path.stem for path in resource("front_ends").glob("*.toml"))


def load(name_or_path: str | Path) -> FrontEnd:
    """The front end of that name, or described by that TOML file.

    Raises FrontEndError for a name that is not known, and for a file that does not make sense.
    """
    path = path_of(name_or_path)
    table = Table.read(path, FrontEndError)
    try:
        return _front_end(table)
    except FrontEndError as error:
        if str(path) in error.message:
            raise
        raise FrontEndError(f"{path}: {error.message}", error.remedy) from None


def path_of(name_or_path: str | Path) -> Path:
    """The file of the front end of that name, or the path itself. Raises FrontEndError where there is none."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        path = Path(name_or_path)
        if not path.is_file():
            raise FrontEndError(f"there is no front end file {path}", known("front ends", names(), text))
        return path
    if text in names():
        return resource("front_ends", f"{text}.toml")
    raise FrontEndError(f"unknown front end {text!r}", known("front ends", names(), text))


def _front_end(table: Table) -> FrontEnd:
    kind = table.choice("kind", tuple(_KINDS))
    front_end = _KINDS[kind](table)
    table.finish()
    return front_end


def _filter_bank(table: Table) -> FilterBank:
    bank = table.table("filter_bank")
    found = FilterBank(
        channels=bank.integer("channels", *_WHOLE),
        lower_hz=bank.number("lower_hz"),
        upper_hz=bank.number("upper_hz"),
    )
    bank.finish()
    return found


def _log_mel(table: Table) -> LogMelFrontEnd:
    feature = table.table("feature")
    front_end = LogMelFrontEnd(
        title=table.text("title"),
        sample_rate=table.integer("sample_rate", *_WHOLE),
        window_ms=table.integer("window_ms", *_WHOLE),
        step_ms=table.integer("step_ms", *_WHOLE),
        pre_emphasis=table.number("pre_emphasis"),
        filter_bank=_filter_bank(table),
        offset_db=feature.number("offset_db"),
        range_db=feature.number("range_db"),
        scale=feature.number("scale"),
        zero_point=feature.integer("zero_point", *_WHOLE),
    )
    feature.finish()
    return front_end


def _mfcc(table: Table) -> MfccFrontEnd:
    feature = table.table("feature")
    front_end = MfccFrontEnd(
        title=table.text("title"),
        sample_rate=table.integer("sample_rate", *_WHOLE),
        window_ms=table.integer("window_ms", *_WHOLE),
        step_ms=table.integer("step_ms", *_WHOLE),
        filter_bank=_filter_bank(table),
        epsilon=feature.number("epsilon"),
        coefficients=feature.integer("coefficients", *_WHOLE),
        scale=feature.number("scale"),
        zero_point=feature.integer("zero_point", *_WHOLE),
    )
    feature.finish()
    return front_end


def _micro(table: Table) -> MicroFrontEnd:
    noise = table.table("noise_reduction")
    pcan, log, quantisation = (table.optional_table(key) for key in ("pcan", "log", "quantisation"))
    front_end = MicroFrontEnd(
        title=table.text("title"),
        sample_rate=table.integer("sample_rate", *_WHOLE),
        window_ms=table.integer("window_ms", *_WHOLE),
        step_ms=table.integer("step_ms", *_WHOLE),
        filter_bank=_filter_bank(table),
        noise_reduction=NoiseReduction(
            smoothing_bits=noise.integer("smoothing_bits", *_WHOLE),
            even_smoothing=noise.number("even_smoothing"),
            odd_smoothing=noise.number("odd_smoothing"),
            min_signal_remaining=noise.number("min_signal_remaining"),
        ),
        pcan=None
        if pcan is None
        else Pcan(pcan.number("strength"), pcan.number("offset"), pcan.integer("gain_bits", *_WHOLE)),
        log=None if log is None else LogScale(log.integer("scale_shift", *_WHOLE)),
        quantisation=None
        if quantisation is None
        else Quantisation(*(quantisation.integer(key, *_WHOLE) for key in ("multiplier", "divisor", "zero_point"))),
    )
    for part in (noise, pcan, log, quantisation):
        if part is not None:
            part.finish()
    return front_end


_KINDS: Mapping[str, Callable[[Table], FrontEnd]] = {"log-mel": _log_mel, "mfcc": _mfcc, "micro": _micro}
