"""A picture of what was heard: waveform, features, and what the model made of them, over time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen import audio
from tinygen.audio import FrontEnd
from tinygen.errors import ToolMissing
from tinygen.ir import Array
from tinygen.manifest import Manifest
from tinygen.results import HeardResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES_A_SECOND, _NARROWEST, _WIDEST = 0.9, 9.0, 60.0
_HEIGHT, _DPI = 7.2, 110
_MOST_POINTS = 20_000
"""Of the waveform; longer ones are drawn by the lowest and the highest of each stretch."""
_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b"),
    *("#56b4e9", "#5d3a9b", "#7f3b08", "#1b7837", "#525252"),
)
"""Told apart whatever the kind of colour vision, as far as ten can be."""
_QUIET, _TEXT = "#9aa5b1", "#4a5663"
_MOST_NAMED = 10


def require() -> None:
    """Raises ToolMissing without the extra `plot`."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ToolMissing(
            "pictures need the Python package matplotlib", "Install it: pip install 'tinygen[plot]'"
        ) from None


def heard_picture(
    samples: Array,
    front_end: FrontEnd,
    results: Sequence[HeardResult],
    content: Manifest,
    title: str,
    spoken: Sequence[tuple[str, float, float]] = (),
) -> bytes:
    """A PNG file of int16 (samples,), of the front end's features, and of results with their words.

    `spoken`: what is said in truth, from when to when in seconds, where that is known. Raises ToolMissing without the
    extra `plot`.
    """
    require()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rate = front_end.sample_rate
    seconds = max(len(samples) / rate, front_end.window / rate)
    width = min(max(_INCHES_A_SECOND * seconds, _NARROWEST), _WIDEST)
    figure = Figure(figsize=(width, _HEIGHT), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)  # draws it, wherever there is no screen
    wave, heat, values = figure.subplots(3, 1, sharex=True, height_ratios=[2, 3, 3])
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    _draw_waveform(wave, samples, rate)
    for said, start, end in spoken:
        if end <= seconds:
            wave.axvspan(start, end, color="#faedc1", linewidth=0, zorder=0)
            _note(wave, said, (start + end) / 2, 0.02, color=_TEXT, fontsize=9)
    _draw_features(heat, audio.features(front_end, samples), front_end)
    colours = _draw_results(values, results, content)
    for heard in results:
        if heard.word is not None:
            colour = colours.get(heard.word, _COLOURS[0])
            for axes in (wave, heat, values):
                axes.axvline(heard.seconds, color="white" if axes is heat else colour, linewidth=1.2, linestyle="--")
            _note(wave, heard.word, heard.seconds, 1.02, color=colour, fontsize=10, fontweight="bold")
    values.set_xlim(0, seconds)
    values.set_xlabel("seconds")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _draw_waveform(axes: Axes, samples: Array, rate: int) -> None:
    stretch = max(2 * len(samples) // _MOST_POINTS, 1)
    whole = samples[: len(samples) // stretch * stretch].reshape(-1, stretch).astype(np.float64) / 2**15
    at = np.arange(len(whole)) * stretch / rate
    if stretch == 1:
        axes.plot(at, whole[:, 0], color="#33475b", linewidth=0.6)
    else:
        axes.fill_between(at, whole.min(axis=1), whole.max(axis=1), color="#33475b", linewidth=0.4)
    peak = max(float(np.abs(whole).max(initial=0.0)), 0.01)
    axes.set_ylim(-1.08 * peak, 1.08 * peak)
    axes.set_ylabel("samples")
    _tidy(axes)


def _draw_features(axes: Axes, features: Array, front_end: FrontEnd) -> None:
    """Each frame where it ends: its features are known then, as results are."""
    rate, count = front_end.sample_rate, front_end.features
    end = front_end.window / rate
    step = front_end.step / rate
    extent = (end - step / 2, end + (len(features) - 0.5) * step, -0.5, count - 0.5)
    if len(features):
        axes.imshow(features.T, origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
    axes.set_facecolor("black")
    axes.set_ylabel(f"{count} features")


def _draw_results(axes: Axes, results: Sequence[HeardResult], content: Manifest) -> dict[str, str]:
    """The output's elements, in real numbers; the colours of words, by label."""
    found = content.front_end
    detector = None if found is None else found.detector
    at = [heard.seconds for heard in results]
    output = content.outputs[0]
    table = np.array([heard.result.real[output.name] for heard in results])
    table = table.reshape(len(results), int(np.prod(output.shape)))
    labels = {word.output: word.label for word in detector.words} if detector else {}
    heard_words = {heard.word for heard in results} - {None}
    named = [column for column in range(table.shape[1]) if not detector or labels.get(column) in heard_words]
    if detector and not named:
        named = sorted(labels)
    named = named[:_MOST_NAMED]
    colours = {column: _COLOURS[index % len(_COLOURS)] for index, column in enumerate(named)}
    for column in range(table.shape[1]):
        if column not in colours:
            axes.plot(at, table[:, column], color=_QUIET, linewidth=0.7)
    for column, colour in colours.items():
        label = _plain(labels.get(column, f"element {column}"))
        axes.plot(at, table[:, column], color=colour, linewidth=1.5, label=label)
    if detector:
        scale = output.scale or 1.0
        for threshold in sorted({word.threshold / detector.window * scale for word in detector.words}):
            axes.axhline(threshold, color=_TEXT, linewidth=0.8, linestyle=":")
            axes.annotate(
                f"mean of {detector.window} above {threshold:.2f}" if detector.window > 1 else f"above {threshold:.2f}",
                (0, threshold),
                xycoords=("axes fraction", "data"),
                xytext=(4, 2),
                textcoords="offset points",
                fontsize=8,
                color=_TEXT,
            )
    if colours:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    axes.set_ylabel("the model's output")
    _tidy(axes)
    return {labels[column]: colour for column, colour in colours.items() if column in labels}


def _note(axes: Axes, text: str, seconds: float, height: float, **look: Any) -> None:
    """Above a time, at a height that is counted in the axes'."""
    axes.annotate(_plain(text), (seconds, height), xycoords=("data", "axes fraction"), ha="center", **look)


def _tidy(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")
