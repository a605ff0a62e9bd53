"""tinygen verify."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tinygen.cli import options, verdict
from tinygen.cli.console import progress
from tinygen.cli.verdict import Verdict
from tinygen.errors import CannotCompare, LinkError, UsageError
from tinygen.options import PROFILES

if TYPE_CHECKING:
    from tinygen.manifest import Manifest
    from tinygen.resume import Resume


@click.command()
@options.OUT
@click.option("--inputs", type=options.PATH, help="Inputs of your own, .npz or .npy, besides the generated ones.")
@click.option(
    "--samples",
    type=click.IntRange(0, 1_000_000),
    help="How many generated inputs: all minimum, all maximum, then random ones; by default 20, of a --streaming "
    "model as many as make three windows before a reset, and three after it.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random inputs.")
@click.option(
    "--on",
    multiple=True,
    metavar="BOARD",
    help="Flash this board, and compare it, too: that of OUT, or another one with its core. Several work side by side.",
)
@click.option(
    "--resume",
    type=options.PATH,
    metavar="FILE",
    help="Write down what boards have done, sample by sample, and go on there when the file exists.",
)
@click.option(
    "--reconnect",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait for a board that went away; by default 60 for real ones.",
)
@click.option(
    "--against",
    type=click.Choice(PROFILES),
    help="Insist on comparing with this runtime; that of the model's profile is compared when it is installed.",
)
@options.PORTS_OF_BOARDS
@options.OF
@options.JSON
def verify(
    out: Path,
    inputs: Path | None,
    samples: int | None,
    seed: int,
    on: Sequence[str],
    resume: Path | None,
    reconnect: float | None,
    against: str | None,
    port: Sequence[str],
    of: str | None,
    as_json: bool,
) -> None:
    """Compare the generated C with the numpy reference: every byte of every layer.

    The C is compiled for this machine with address and undefined-behaviour sanitizers. The first layer that differs is
    named, with the element and both values. A board that is unplugged is waited for, and goes on when it is back.

    \b
    tinygen verify out
    tinygen verify out --inputs recordings.npz --samples 100 --seed 7
    tinygen verify out --on qemu-mps2-an386 --against tflm
    tinygen verify out --on nucleo_f446re --samples 5000 --resume night.json
    """
    from tinygen import farm as farming
    from tinygen import host, manifest
    from tinygen import samples as sampling
    from tinygen import verify as verification
    from tinygen.listening import verify as listening
    from tinygen.listening.peers import host_listener
    from tinygen.listening.recordings import recordings
    from tinygen.resume import Resume, about
    from tinygen.stack_use import stack_uses
    from tinygen.streaming.window_peer import WindowPeer

    content = manifest.load(out, of)
    named = options.ports_of_boards([name for name in on if name != "host"], port)
    if resume is not None and not named:
        raise UsageError("--resume is about boards", "Add --on BOARD, or leave it out.")
    count = sampling.enough(content.streaming) if samples is None else samples
    chosen = sampling.generated(content.inputs, count, seed)
    chosen += sampling.from_file(inputs, content.inputs) if inputs else []
    if not chosen:
        raise UsageError("there is nothing to verify with: no samples and no inputs", "Use --samples 20, or --inputs.")
    model = verification.model_of(out, content)
    with progress() as report, ExitStack() as stays:
        peers: list[Any] = [host.host_peer(out, content)]
        listeners: list[Any] = [host_listener(out, content)] if content.front_end is not None else []
        if model.stream is not None:
            peers.append(nullcontext(WindowPeer(model.graph, model.stream, content)))
        original = _original(out, content, against)
        peers += original.peers
        farm = [
            stays.enter_context(
                farming.flashed(
                    out, content, place, report.line(f"building and flashing {place.name}"), reconnect, report.stage
                )
            )
            for place in farming.places(named)
        ]
        peers += [nullcontext(board.peer) for board in farm]
        listeners += [nullcontext(board.peer) for board in farm] if content.front_end is not None else []
        report.stage("compiling the generated C")
        remembered = None if resume is None else Resume(resume, about(out / manifest.FILE_NAME, chosen))
        try:
            reports = verification.verify(
                model,
                content,
                chosen,
                peers,
                lambda done, total: report.count("comparing samples", done, total),
                remembered,
            )
        except LinkError as lost:
            raise _interrupted(lost, remembered, resume, len(chosen)) from lost
        used = [found.stack_bytes for found in reports[len(reports) - len(farm) :]]
        if listeners:
            reports += listening.verify(
                listening.listener(out, content, model.graph),
                content,
                recordings(listening.enough(content, count), seed),
                listeners,
                seed,
                lambda done, total: report.count("comparing recordings", done, total),
            )
        by_board = [
            stack_uses(board.project, board.content, bytes, board.peer.feed_stack_bytes)
            for board, bytes in zip(farm, used, strict=True)
        ]
    verdict.finish(Verdict(reports, original.silent, original.remark, by_board), content, as_json)


class _Original(NamedTuple):
    """The runtime that is compared with the reference, too."""

    peers: list[Any]
    """It, or none."""
    silent: str | None
    """Why it is not asked."""
    remark: str
    """What is to be known about its answers."""


def _original(out: Path, content: Manifest, against: str | None) -> _Original:
    """That of the profile if it is installed. Raises CannotCompare for the one that the user insists on."""
    from tinygen.runtimes import RUNTIMES

    original = RUNTIMES[against or content.profile]
    if not (against or original.is_installed):
        return _Original([], None, "")
    try:
        original.ask(out, content)
        return _Original([original.peer(out, content)], None, original.remark)
    except CannotCompare as reason:
        if against:
            raise
        return _Original([], f"Not compared with {original.title}: {reason}.", "")


def _interrupted(lost: LinkError, remembered: Resume | None, file: Path | None, count: int) -> LinkError:
    """The same error, with how to go on."""
    if remembered is None:
        return type(lost)(lost.message, f"{lost.remedy} With --resume FILE, a next time goes on where this one ended.")
    said = f"{lost.message}\n{remembered.done()} of {count} samples were done, and are written down in {file}."
    return type(lost)(said, f"{lost.remedy} Then give the same command again: it goes on there.")
