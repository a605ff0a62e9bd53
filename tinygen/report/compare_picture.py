"""Models and boards in a picture: how good the answers are over what they cost."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tinygen.comparing import MODELLED, Entry
from tinygen.quantize.programs import expect_package

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_MARKERS = "osD^vP*X<>"
_PANELS = (("instructions", "instructions an invoke"), ("ram_bytes", "RAM, bytes"), ("flash_bytes", "flash, bytes"))
_WIDE = 8


def expect() -> None:
    """Raises ToolMissing where there is nothing to draw with."""
    expect_package("matplotlib", "matplotlib", "plot")


def compare_picture(entries: Sequence[Entry]) -> bytes:
    """A PNG file: a panel for each cost, a colour for each model, a marker for each board, and the boards' fronts.

    What has no costs or no score is named below. There is something that has both.
    """
    from matplotlib.figure import Figure

    shown = [entry for entry in entries if entry.costs is not None and entry.score is not None]
    models = dict.fromkeys(entry.model for entry in shown)
    boards = dict.fromkeys(entry.board for entry in shown)
    styles = _Styles(
        {model: f"C{index % 10}" for index, model in enumerate(models)},
        {board: _MARKERS[index % len(_MARKERS)] for index, board in enumerate(boards)},
    )
    figure = Figure(figsize=(13, 5), layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, (field, title) in zip(panels, _PANELS, strict=True):
        points = [(entry, cost) for entry in shown if (cost := getattr(entry.costs, field)) is not None]
        costs = [cost for _, cost in points] or [1]
        end = 1.1 * max(costs)
        _draw_fronts(axes, points, styles.markers, _sign(shown), end)
        for entry, cost in points:
            _draw_point(axes, entry, cost, styles)
        _draw_costs(axes, costs, end, title)
    _draw_scores(panels[0], shown)
    handles = _handles(styles, any(entry.costs is not None and entry.costs.how == MODELLED for entry in shown))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(6, max(1, len(handles))), frameon=False)
    missing: dict[str, list[str]] = {}
    for entry in entries:
        if entry not in shown:
            missing.setdefault(entry.model, []).append(entry.board)
    if missing:
        text = "; ".join(f"{model} on {', '.join(names)}" for model, names in missing.items())
        figure.supxlabel(textwrap.fill(f"not possible: {text}", 180), fontsize=8, color="0.4")
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
        return file.getvalue()


class _Styles(NamedTuple):
    colours: Mapping[str, str]
    """Of models."""
    markers: Mapping[str, str]
    """Of boards."""


def _draw_fronts(
    axes: Axes, points: Sequence[tuple[Entry, float]], boards: Iterable[str], sign: int, end: float
) -> None:
    """The best of each board, as far as `end`."""
    for board in boards:
        front = _front([(cost, _score(entry)) for entry, cost in points if entry.board == board], sign)
        if front:
            front.append((end, front[-1][1]))
            axes.step(*zip(*front, strict=True), where="post", color="0.75", linewidth=1, zorder=1)


def _draw_point(axes: Axes, entry: Entry, cost: float, styles: _Styles) -> None:
    """Filled, unless it is modelled."""
    colour = styles.colours[entry.model]
    axes.scatter(
        cost,
        _score(entry),
        s=60,
        marker=styles.markers[entry.board],
        edgecolors=colour,
        facecolors=colour if entry.costs is not None and entry.costs.how != MODELLED else "none",
        zorder=2,
        clip_on=False,  # whole at 100 %
    )


def _draw_costs(axes: Axes, costs: Sequence[float], end: float, title: str) -> None:
    """The axis of costs, logarithmic where they lie far apart."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    is_wide = min(costs) > 0 and max(costs) > _WIDE * min(costs)
    if is_wide:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(min(costs) / 1.2 if is_wide else 0, end)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if is_wide else MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel(title)
    axes.grid(color="0.93", zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_scores(axes: Axes, shown: Sequence[Entry]) -> None:
    """The axis of scores."""
    axes.set_ylabel(_kind(shown))
    if _sign(shown) > 0:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
        scores = [_score(entry) for entry in shown]
        margin = max(0.1 * (max(scores) - min(scores)), 0.005)
        axes.set_ylim(min(scores) - margin, min(max(scores) + margin, 1.005))


def _handles(styles: _Styles, has_modelled: bool) -> list[Line2D]:
    """What the legend explains."""
    from matplotlib.lines import Line2D

    handles = [
        *(Line2D([], [], color=of, marker="o", linestyle="", label=model) for model, of in styles.colours.items()),
        *(Line2D([], [], color="0.3", marker=of, linestyle="", label=board) for board, of in styles.markers.items()),
        Line2D([], [], color="0.75", linewidth=1, label="best of a board"),
    ]
    if has_modelled:
        handles.append(Line2D([], [], color="0.3", marker="o", fillstyle="none", linestyle="", label="modelled"))
    return handles


def _score(entry: Entry) -> float:
    assert entry.score is not None
    return entry.score.value


def _kind(entries: Sequence[Entry]) -> str:
    return next((entry.score.kind for entry in entries if entry.score is not None), "")


def _sign(entries: Sequence[Entry]) -> int:
    return next((entry.score.sign for entry in entries if entry.score is not None), 1)


def _front(points: Sequence[tuple[float, float]], sign: int) -> list[tuple[float, float]]:
    """Of points by ascending cost, those that are better than all cheaper ones."""
    found: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if not found or sign * value > sign * found[-1][1]:
            found.append((cost, value))
    return found
