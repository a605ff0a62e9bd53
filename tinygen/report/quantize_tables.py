"""What quantising cost, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tinygen.ops.common import shape_text
from tinygen.quantize.measure import Figures, LayerFigures
from tinygen.quantize.quantising import OnBoard, Quantised
from tinygen.report.plain import plain
from tinygen.report.tables import plain_table

_MOST_LAYERS = 5


def summary_table(made: Quantised, out: str) -> Table:
    """The int8 model as a whole."""
    table = plain_table("figure", "value", wide=["value"])
    table.show_header = False
    figures = made.figures
    rows = [("model", f"{made.source} as {out}, quantised by {made.quantiser}")]
    for given in made.inputs:
        rows.append(
            ("input", f"{given.name} {shape_text(given.shape)}, samples from {given.low:.4g} to {given.high:.4g}")
        )
    rows.append(("samples", _samples(made)))
    if figures.float_score is not None and figures.int8_score is not None:
        rows.append((figures.float_score.kind, f"{figures.float_score} in float, {figures.int8_score} in int8"))
    if figures.agreement is not None:
        rows.append(("same answer", f"{figures.agreement:.2%} of the samples"))
    rows += [(f"SQNR of {name}", decibels_text(sqnr)) for name, sqnr in figures.sqnr_db.items()]
    rows.append(("size", f"{made.float_bytes:,} bytes in float, {made.int8_bytes:,} in int8"))
    rows += board_rows(made.on_board)
    for name, value in rows:
        table.add_row(Text(name, "bold"), Text(value))
    return table


def layers_table(figures: Figures, whole: bool) -> Table:
    """The layers that add most noise, the worst first; or with `whole` all of them, in their order."""
    table = plain_table(
        "operator", "SQNR", "own noise at", "saturated channels", "layer",
        right=("SQNR", "own noise at", "saturated channels"), wide=["layer"],
    )  # fmt: skip
    for layer in figures.layers if whole else worst_layers(figures.layers):
        table.add_row(
            layer.op,
            decibels_text(layer.sqnr_db),
            "-" if layer.own_db is None else decibels_text(layer.own_db),
            f"{layer.saturated} of {layer.channels}" if layer.saturated else "none",
            Text(layer.name),
        )
    return table


def worst_layers(layers: Sequence[LayerFigures]) -> list[LayerFigures]:
    """Those that add most noise."""
    adding = sorted((layer.own_db, index) for index, layer in enumerate(layers) if layer.own_db is not None)
    return [layers[index] for _, index in adding[:_MOST_LAYERS]]


def board_rows(found: OnBoard) -> list[tuple[str, str]]:
    """What the model takes of a board, or why it cannot be built."""
    if found.refusal:
        return [("board", f"{found.board}: {found.refusal}")]
    return [
        ("board", found.board),
        ("RAM", f"{found.ram_needed:,} of {found.ram_available:,} bytes, stack and runner included"),
        ("flash", f"{found.flash_needed:,} of {found.flash_available:,} bytes, and the layers' code on top"),
    ]


def decibels_text(value: float | None) -> str:
    """A ratio in dB; exact where there is no noise."""
    return "exact" if value is None else f"{value:.1f} dB"


def quantised_json(made: Quantised, out: str) -> dict[str, object]:
    """All but the model itself."""
    shown: dict[str, object] = plain(made) | {"out": out}
    del shown["data"]
    return shown


def _samples(made: Quantised) -> str:
    if made.are_others:
        return f"{made.calibrated:,} calibrated, {made.samples:,} others compared"
    if made.calibrated == made.samples:
        return f"{made.samples:,}, all of which calibrated: with --test, others are compared"
    return f"{made.samples:,}, {made.calibrated:,} of which calibrated"
