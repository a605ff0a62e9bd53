"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from tinygen.attribution import Cause
from tinygen.errors import Problem
from tinygen.importers import OutlineRow
from tinygen.manifest import FrontEnd, Layer, Manifest, Port, Streaming
from tinygen.ops.common import shape_text
from tinygen.pipeline import Build
from tinygen.report.names import readable
from tinygen.target import Board
from tinygen.verify import PeerReport


def plain_table(*columns: str, right: Sequence[str] = (), wide: Sequence[str] = ()) -> Table:
    """An empty table without lines; columns in `right` are aligned right, those in `wide` wrap on a narrow screen."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column not in wide,
            overflow="fold",
        )
    return table


def build_table(build: Build) -> Table:
    """What was built, in figures."""
    content, fit = build.manifest, build.fit
    table = plain_table("figure", "value", wide=["value"])
    table.show_header = False
    lost = content.arena_bytes - content.arena_lower_bound
    least = (
        f"{lost:,} more than the {content.arena_lower_bound:,} that no plan is below"
        if lost
        else "the least for these kernels"
    )
    given = f", which the application gives: {content.set_arena}()" if content.set_arena else ""
    if content.shared_arena:
        given = f", in {content.shared_arena.name} of {content.shared_arena.bytes:,}"
    rows = [
        ("model", f"{content.model.file} as {content.name}, {_ports(content)}"),
        ("work", f"{content.macs:,} MACs in {len(content.layers)} layers, arithmetic of {content.profile}"),
        ("arena", f"{content.arena_bytes:,} bytes ({least}){given}, peak at {fit.peak}"),
        *([("stream", _stream(content.streaming))] if content.streaming else []),
        *([("front end", _front_end(content.front_end))] if content.front_end else []),
        *([("state", f"{content.state_bytes:,} bytes, kept until {content.reset}()")] if content.reset else []),
        ("constants", f"{content.const_bytes:,} bytes"),
        *([("placed", _places_text(content))] if content.places else []),
        *_expected(content.layers),
        ("board", f"{content.board} ({content.core})"),
        ("RAM", f"{fit.ram_needed:,} of {fit.ram_available:,} bytes, stack and runner included"),
        ("flash", f"{fit.flash_needed:,} of {fit.flash_available:,} bytes, and the layers' code on top"),
    ]
    rows[1:1] = [
        (role, f"{port.name.split(';')[0]}: {_port(port)}")
        for role, ports in (("input", content.inputs), ("output", content.outputs))
        for port in ports
    ]
    if content.removed:
        rows.insert(-5 if content.reset else -4, ("removed", removed_text(content)))
    rows += [("note", note) for note in content.notes]
    for name, value in rows:
        table.add_row(Text(name, "bold"), Text(value))
    return table


def _places_text(content: Manifest) -> str:
    """Which part of the library lies where."""
    sizes = {"weights": content.const_bytes, "arena": content.arena_bytes, "scratch": content.scratch_bytes}
    parts = []
    for part, region in content.places.items():
        size = f", {sizes[part]:,} bytes," if sizes.get(part) else ""
        layers = f", that of {', '.join(content.hot_layers) or 'no layer'}," if part == "hot" else ""
        parts.append(f"{'hot code' if part == 'hot' else part}{size}{layers} in {region}")
    return "; ".join(parts)


def _stream(streaming: Streaming) -> str:
    frames = "frame" if streaming.hop == 1 else "frames"
    return (
        f"{streaming.hop:,} new {frames} in an invoke, answers for the last {streaming.frames:,}, which take "
        f"{streaming.window_macs:,} MACs at once; all of them are given after {streaming.full_after:,} invokes"
    )


def _front_end(found: FrontEnd) -> str:
    new = f"{found.new} new frame{'s' if found.new > 1 else ''} of {found.features} features"
    kept = f" behind {found.kept} earlier ones" if found.kept else ""
    return (
        f"{found.file}: {found.feed}() takes samples of {found.sample_rate:,} Hz, and has a result each {found.step:,} "
        f"of them, for {new}{kept}; {found.ram_bytes:,} bytes of RAM, {found.const_bytes:,} of tables"
    )


def removed_text(content: Manifest) -> str:
    """What is not computed, in a sentence."""
    constant, unread = (
        sum(len(part.indices) for part in content.removed if (part.value is None) is is_unread)
        for is_unread in (False, True)
    )
    what = [f"{constant:,} always the same"] * bool(constant) + [f"{unread:,} never read"] * bool(unread)
    saved = f": {content.macs:,} MACs of {content.model_macs:,} are left" if content.macs < content.model_macs else ""
    return f"{constant + unread:,} channels without effect, {' and '.join(what)}{saved}"


def partial_text(content: Manifest) -> str:
    """Which layers have fewer channels than the model's tensors."""
    partial = sum(layer.output.tensor in content.kept for layer in content.layers)
    return f"Of {partial} layers, the channels that are computed were compared: the others have no effect."


def _expected(layers: Sequence[Layer]) -> list[tuple[str, str]]:
    """What one invoke is expected to take, as far as it is known."""
    known = [layer.estimate for layer in layers if layer.estimate.instructions is not None]
    if not known:
        return []
    text = f"{sum(estimate.instructions or 0 for estimate in known):,} instructions"
    if all(estimate.cycles is not None for estimate in known):
        text += f", {sum(estimate.cycles or 0 for estimate in known):,} modelled cycles"
    others = dict.fromkeys(layer.op for layer in layers if layer.estimate.instructions is None)
    return [("expected", f"{text} an invoke" + (f", without {', '.join(others)}" if others else ""))]


def _port(port: Port) -> str:
    """A port in words, with what its numbers stand for."""
    kind = f"{port.dtype} {shape_text(port.shape)}"
    if port.scale is None or port.zero_point is None:
        return kind
    zero_point = f" {'-' if port.zero_point < 0 else '+'} {abs(port.zero_point)}" if port.zero_point else ""
    return f"{kind}, q = round(real / {np.float32(port.scale)!s}){zero_point}"


def _ports(content: Manifest) -> str:
    inputs = ", ".join(f"{port.dtype} {shape_text(port.shape)}" for port in content.inputs)
    outputs = ", ".join(f"{port.dtype} {shape_text(port.shape)}" for port in content.outputs)
    return f"{inputs} -> {outputs}"


def layer_table(layers: Sequence[Layer]) -> Table:
    """The layers that leave code."""
    table = plain_table(
        "#",
        "operator",
        "output",
        "MACs",
        "bytes",
        "kernel",
        "rounding",
        "name",
        right=("#", "MACs", "bytes"),
        wide=["name"],
    )
    names = readable(layer.name for layer in layers)
    for layer in layers:
        table.add_row(
            str(layer.index),
            layer.op,
            shape_text(layer.output.shape),
            f"{layer.macs:,}",
            f"{layer.output.bytes:,}",
            layer.kernel,
            layer.rounding,
            Text(names[layer.name]),
        )
    return table


PROOFS_EXPLAINED = (
    "Rescaling to int8, with zero point and clamp, is a staircase: for each channel, some sum is the least with each "
    "output. A cheaper formula stands in for the profile's where it takes every step at the same sum, and gives the "
    "same at both ends of what the channel can reach: in exact integers, and no register overflows. Where nothing "
    "cheaper is proved, the profile's own arithmetic stays."
)


def proofs_table(layers: Sequence[Layer]) -> Table:
    """What each layer rounds by, and what was proved to give the same."""
    table = plain_table("#", "operator", "channels", "rounding", "proved", right=("#", "channels"), wide=["proved"])
    for layer in layers:
        nothing = "-" if layer.rounding == "exact" else "the profile's own arithmetic"
        channels = f"{layer.output.shape[-1]:,}" if layer.output.shape else "1"
        table.add_row(str(layer.index), layer.op, channels, layer.rounding, Text(layer.proof or nothing))
    return table


def outline_table(rows: Sequence[OutlineRow], problems: Sequence[Problem]) -> Table:
    """The nodes of a model that cannot be built, and which of them are the reason."""
    broken = {problem.node for problem in problems}
    table = plain_table("", "operator", "node", "inputs", "output", wide=["node", "inputs"])
    for row in rows:
        bad = row.label in broken
        verdict = Text("unsupported", "red") if bad else Text("ok", "green")
        table.add_row(verdict, row.operator, Text(row.label), Text(row.inputs), Text(row.outputs))
    return table


def boards_table(boards: Sequence[Board]) -> Table:
    """All boards that are known."""
    table = plain_table(
        "board", "core", "clock", "flash", "RAM", "tried", "title", wide=["title"], right=("clock", "flash", "RAM")
    )
    for board in boards:
        table.add_row(
            board.name,
            board.core,
            f"{board.clock_hz / 1e6:g} MHz",
            _size(board.flash_bytes),
            _size(board.ram_bytes),
            board.tried,
            board.title,
        )
    return table


def _size(count: int) -> str:
    return f"{count // 2**20} MB" if count % 2**20 == 0 else f"{count // 1024} KB"


def verify_table(reports: Sequence[PeerReport]) -> Table:
    """How each peer compares with the reference."""
    table = plain_table(
        "compared with the reference", "samples", "layers", "bytes", "", right=("samples", "layers", "bytes")
    )
    for report in reports:
        differing = f"{report.differing:,} samples differ"
        verdict = Text("equal", "green") if report.equal else Text(differing, "red")
        if report.explained:
            verdict = Text(f"{differing}, explained", "yellow")
        table.add_row(report.peer, str(report.samples), str(report.layers), f"{report.bytes:,}", verdict)
    return table


def causes_table(causes: Sequence[Cause]) -> Table:
    """The nodes that introduce differences, and what explains them."""
    table = plain_table(
        "operator", "node", "elements", "of", "ours", "theirs", "", right=("elements", "of"), wide=["node"]
    )
    for cause in causes:
        verdict = Text("explained", "green") if cause.explained else Text("a bug", "bold red")
        if cause.reason:
            verdict = Text(f"not explained: {cause.reason}", "red")
        table.add_row(
            cause.operator,
            Text(cause.node),
            f"{cause.count:,}",
            f"{cause.of:,}",
            cause.ours,
            cause.theirs or "-",
            verdict,
        )
    return table


def verify_verdict(equal: bool, explained: bool, profile: str) -> str:
    """The comparison in a sentence."""
    if equal:
        return "Every byte is equal."
    if explained:
        return (
            "Not equal, and every difference is explained: given the same inputs, each node above computes exactly "
            f"what its runtime does, by another profile's arithmetic than {profile}."
        )
    return "NOT equal: see the first differing layers above."
