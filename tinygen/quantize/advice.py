"""What the figures of a quantised model say that should be done next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from tinygen.quantize.measure import Figures, LayerFigures, Score

FEW_SAMPLES = 100
_SMALL_DROP = 0.005
_CLEAR_DB = 30.0
"""Differences a thirtieth of the values in size: what a network shrugs off."""
_DOMINANT = 0.4
"""Share of all noise that makes one layer the one to look at."""
_LARGE_HEADROOM = 4.0
_LITTLE_USED = 0.25
"""Of a range: two of its eight bits are never set."""
_NO_INT16 = "A layer of an .onnx file cannot be kept in int16 here: train with quantisation (QAT), or"
_CLIPPED = "Leave the few out of the ranges, --percentile 99.9, and see what that gives. "
_CHANCE = (
    "The float model itself is right no more often than one that always says the commonest class: are the samples "
    "prepared as in training (the range of their values, their order), and are classes numbered as the model does it?"
)


def advice(
    figures: Figures,
    calibrated: int,
    given: int,
    measured: int,
    has_int16: bool,
    integers: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Sentences, the most important first; at least one.

    Of the samples `given` to calibrate with, so many did; so many were measured. `has_int16`: whether layers
    can be kept in int16. `integers` are the dtypes of inputs that were given as integers.
    """
    good = _is_good(figures, measured)
    said = [_verdict(figures, measured, good)]
    if _is_chance(figures):
        said.append(_CHANCE)
    said += [
        f"The samples of {name} are {dtype}, and were taken as they are: if the model was trained on scaled numbers, "
        "such as 0 to 1, scale them."
        for name, dtype in (integers or {}).items()
    ]
    saturated = [layer for layer in figures.layers if layer.saturated]
    if saturated and not good:
        said.append(_saturation(saturated, calibrated, given))
    elif calibrated < FEW_SAMPLES:
        said.append(
            f"{calibrated} samples set the ranges of all layers: calibrate with {FEW_SAMPLES} or more, of every kind "
            "that there is, and see whether the figures change."
        )
    if not good:
        said += _about_layers(figures.layers, has_int16)
    if figures.float_score is None:
        said.append("Give --labels: then it is known what the differences do to the accuracy.")
    elif good and len(said) == 1:
        said[0] += " Nothing has to be done."
    return tuple(said)


def _is_chance(figures: Figures) -> bool:
    """Whether the float model is right no more often than it is to say the commonest class each time."""
    score, commonest = figures.float_score, figures.commonest_class
    return score is not None and commonest is not None and commonest < 1 and score.value <= commonest


def _telling_scores(figures: Figures) -> tuple[Score, Score] | None:
    """Those of the float and the int8 model, where they say anything: what is right by chance stays so in int8."""
    if figures.float_score is None or figures.int8_score is None or _is_chance(figures):
        return None
    return figures.float_score, figures.int8_score


def _is_good(figures: Figures, measured: int) -> bool:
    scores = _telling_scores(figures)
    if scores is not None:
        drop = _drop(*scores)
        if scores[0].kind == "accuracy":
            return drop <= max(_SMALL_DROP, 1 / measured)
        return drop <= 0.05 * scores[0].value
    return all(sqnr is None or sqnr >= _CLEAR_DB for sqnr in figures.sqnr_db.values())


def _drop(before: Score, after: Score) -> float:
    """How much worse."""
    return (before.value - after.value) * before.sign


def _verdict(figures: Figures, measured: int, good: bool) -> str:
    scores = _telling_scores(figures)
    if scores is not None:
        before, after = scores
        if before.kind == "accuracy":
            lost = round(_drop(before, after) * measured)
            one = f"one sample is {100 / measured:.2g} percentage points"
            if good:
                fewer = f"of {measured:,} answers, {lost} fewer {'is' if lost == 1 else 'are'} right"
                return f"Int8 does what float does: {'no fewer answers are right' if lost <= 0 else fewer}."
            return f"Int8 loses {lost} of {measured:,} right answers; {one}."
        worse = f"the mean absolute error is {after.value:.4g} instead of {before.value:.4g}"
        return f"Int8 does what float does: {worse}." if good else f"Int8 is worse: {worse}."
    worst = min((sqnr for sqnr in figures.sqnr_db.values() if sqnr is not None), default=None)
    if worst is None:
        return "Int8 gives exactly the float model's outputs."
    size = f"the outputs' differences are {10 ** (-worst / 20):.1%} of the outputs in size"
    return f"Int8 is close to float: {size}." if good else f"Int8 is not close to float: {size}."


def _saturation(saturated: Sequence[LayerFigures], calibrated: int, given: int) -> str:
    worst = max(saturated, key=lambda layer: layer.saturated / layer.channels)
    where = (
        f"{worst.saturated} of {worst.channels} channels of {worst.name}"
        + (f", and some of {len(saturated) - 1} other layers," if len(saturated) > 1 else "")
        + " leave the range that was calibrated"
    )
    if calibrated < given:
        return f"{where}: calibrate with more of the {given:,} samples: --samples {min(4 * calibrated, given)}."
    return f"{where}: calibrate with more samples, of the kinds that leave it."


def _about_layers(layers: Sequence[LayerFigures], has_int16: bool) -> list[str]:
    adding = [(10 ** (-layer.own_db / 10), layer) for layer in layers if layer.own_db is not None]
    noise, worst = max(adding, key=lambda each: each[0], default=(0.0, None))
    total = sum(each for each, _ in adding)
    if worst is not None and worst.used < _LITTLE_USED:
        return [
            f"{worst.name} uses {worst.used:.0%} of the range that was calibrated: some of the samples that calibrated "
            f"are much larger than those compared. Leave them out{'' if has_int16 else ', or --percentile 99.9'}."
        ]
    if worst is None or noise < _DOMINANT * total:
        return ["No layer by itself is to blame, all add noise: train with quantisation (QAT), or with more channels."]
    blamed = f"{worst.name} adds {noise / total:.0%} of the noise"
    if worst.headroom > _LARGE_HEADROOM:
        return [
            f"{blamed}, and its greatest values are {worst.headroom:.0f} times what 99.9 % of them stay below: int8's "
            f"steps are spent on those few. {_CLIPPED if not has_int16 else ''}Limit them in training (ReLU6, weight "
            "decay), or leave out the samples that cause them."
        ]
    remedy = f"Keep it in int16, --int16 {shlex.quote(worst.name)}, or" if has_int16 else _NO_INT16
    return [f"{blamed}: 256 steps are too few for it. {remedy} give it more channels."]
