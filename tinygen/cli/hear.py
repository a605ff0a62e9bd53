"""Recordings and microphones for `tinygen run`."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygen.cli.console import note, progress, show, show_json
from tinygen.errors import UsageError
from tinygen.report.plain import plain

if TYPE_CHECKING:
    from tinygen.board import BoardPeer
    from tinygen.ir import Array
    from tinygen.listening.playing import Moment
    from tinygen.manifest import FrontEnd, Manifest
    from tinygen.session import Hello

_LATE_S = 0.5
"""From when on people notice."""


def run_recording(
    out: Path, content: Manifest, file: Path, channel: int | None, play: Path | None, port: str | None, as_json: bool
) -> None:
    """Play a recording to the board, and print what it heard, beside the reference."""
    from tinygen import board as boards
    from tinygen.listening.playing import pieces
    from tinygen.listening.wav import read_wav

    front_end = _front_end(out, content, "recordings")
    _expect_drawable(play)
    samples = read_wav(file, front_end.sample_rate, channel)
    done = 0

    def counted() -> Iterator[Array]:
        nonlocal done
        for piece in pieces(samples, front_end.sample_rate):
            yield piece
            done += len(piece)
            report.count(peer.name, done, len(samples))

    with progress() as report, boards.connected(out, content, port) as peer:
        found = list(_moments(counted(), out, content, peer))
        stack, hello = peer.feed_stack_bytes, peer.session.hello()
    picture = _draw(play, samples, out, content, found, f"{content.name} on {content.board} hears {file.name}")
    _show_heard(found, len(samples), content, stack, hello, picture, as_json)


def run_microphone(
    out: Path, content: Manifest, seconds: float | None, play: Path | None, port: str | None, as_json: bool
) -> None:
    """Send what the microphone hears to the board, and print words when they are heard, until ctrl-C."""
    import numpy as np

    from tinygen import board as boards
    from tinygen.microphone import microphone
    from tinygen.report.heard_tables import word_line

    front_end = _front_end(out, content, "samples")
    detector = front_end.detector
    if detector is None:
        raise UsageError(
            f"--mic prints words, and {out} was built without a detector", "Build it with --detector or --labels."
        )
    _expect_drawable(play)
    heard: list[Array] = []
    found = []

    def kept(chunks: Iterable[Array]) -> Iterator[Array]:
        for chunk in chunks:
            heard.append(chunk)
            yield chunk

    with boards.connected(out, content, port) as peer:
        with _until_interrupted() as is_over, microphone(front_end.sample_rate, seconds, is_over) as source:
            until = "ctrl-C ends it" if seconds is None else f"for {seconds:g} s, or until ctrl-C"
            note(f"Listening for {', '.join(word.label for word in detector.words)}; {until}.")
            for moment in _moments(kept(source), out, content, peer):
                found.append(moment)
                if moment.matters and not as_json:
                    show(word_line(moment, detector.words))
        stack, hello = peer.feed_stack_bytes, peer.session.hello()
    if source.behind > _LATE_S:
        note(f"{content.board} was up to {source.behind:.1f} s behind: samples come faster than it takes them.")
    samples = np.concatenate(heard) if heard else np.zeros(0, np.int16)
    picture = _draw(play, samples, out, content, found, f"{content.name} on {content.board} hears the microphone")
    _show_heard(found, len(samples), content, stack, hello, picture, as_json, are_words_shown=True)


def _front_end(out: Path, content: Manifest, what: str) -> FrontEnd:
    if content.front_end is None:
        raise UsageError(
            f"{out} takes no {what}: it was built without a front end", "Build it with --frontend, or give .npz."
        )
    return content.front_end


def _expect_drawable(picture: Path | None) -> None:
    """Raise where a picture cannot be drawn, before anything is played for it."""
    from tinygen import output
    from tinygen.report import heard_picture

    if picture is not None:
        heard_picture.require()
        output.expect_replaceable(picture)


def _moments(chunks: Iterable[Array], out: Path, content: Manifest, peer: BoardPeer) -> Iterator[Moment]:
    from tinygen import verify
    from tinygen.listening.playing import play
    from tinygen.listening.verify import listener

    return play(chunks, content, listener(out, content, verify.model_of(out, content).graph), peer)


@contextlib.contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Whether ctrl-C was pressed: once ends what asks for it, twice everything."""
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def on_interrupt(number: int, frame: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _draw(
    file: Path | None, samples: Array, out: Path, content: Manifest, found: Sequence[Moment], title: str
) -> str | None:
    """The picture of what the board heard, written; its name."""
    from tinygen import audio, output
    from tinygen.report.heard_picture import heard_picture

    if file is None:
        return None
    assert content.front_end is not None
    front_end = audio.load(out / content.front_end.path)
    results = [moment.board for moment in found if moment.board is not None]
    output.write_sealed(output.sealed_png(heard_picture(samples, front_end, results, content, title)), file)
    return str(file)


def _show_heard(
    found: Sequence[Moment],
    samples: int,
    content: Manifest,
    stack: int | None,
    hello: Hello,
    picture: str | None,
    as_json: bool,
    are_words_shown: bool = False,
) -> None:
    """All that the board heard; exits with 1 where the reference heard anything else."""
    from tinygen.report import answers, heard_tables

    front_end = content.front_end
    assert front_end is not None
    equal = all(moment.equal for moment in found)
    if as_json:
        shown = {
            **heard_tables.heard_json(found),
            "equal": equal,
            "stack_bytes": stack,
            "tick_hz": hello.tick_hz,
            "picture": picture,
        }
        show_json(plain(shown))
    else:
        detector = front_end.detector
        if detector is None:
            show(heard_tables.heard_table(found))
        elif not are_words_shown and any(moment.matters for moment in found):
            show(heard_tables.words_table(found, detector.words))
        summary = heard_tables.heard_summary(found, samples / front_end.sample_rate, detector is not None)
        show(f"\n{summary} {answers.footnote(stack, hello, front_end.feed)}")
        if picture is not None:
            show(f"Drawn in {picture}.")
    if not equal:
        raise click.exceptions.Exit(1)
