"""The shipped keyword example on a board: a conversation goes there, and words come back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinygen import board as boards
from tinygen import manifest, output, pipeline
from tinygen.ir import Array
from tinygen.listening.detector import labels_of
from tinygen.listening.detector_file import detector_wish
from tinygen.listening.hearing import hear_with
from tinygen.listening.playing import Moment, pieces, play
from tinygen.listening.verify import listener
from tinygen.listening.wav import read_wav
from tinygen.manifest import Manifest
from tinygen.options import Options, Streaming
from tinygen.report import heard_picture
from tinygen.resources import resource
from tinygen.session import Hello

_EXAMPLE = ("examples", "keywords")
_FRONT_END = "micro-20ms"
_RECORDING = "conversation.wav"


@dataclass(frozen=True)
class Spoken:
    """What is said in a recording, in seconds from its beginning."""

    said: str
    start: float
    end: float


@dataclass(frozen=True)
class Conversation:
    """All that was seen."""

    out: str
    name: str
    board: str
    recording: str
    seconds: float
    words: tuple[str, ...]
    """That the model knows."""
    spoken: tuple[Spoken, ...]
    """As far as it was played to the end."""
    moments: tuple[Moment, ...]
    stack_bytes: int | None
    hello: Hello
    picture: str | None

    @property
    def success(self) -> bool:
        """Whether every byte, word and time was the reference's."""
        return bool(self.moments) and all(moment.equal for moment in self.moments)

    @property
    def answers(self) -> tuple[tuple[Spoken | None, Moment | None], ...]:
        """What was said, and what was heard from its beginning until the next word's; in the order of time."""
        rows: list[tuple[Spoken | None, Moment | None]] = []
        left = [moment for moment in self.moments if moment.matters]
        starts = [each.start for each in self.spoken]
        bounds = zip((None, *self.spoken), (0.0, *starts), (*starts, float("inf")), strict=True)
        for spoken, start, end in bounds:
            found = [moment for moment in left if start <= moment.seconds < end]
            rows += [(spoken if index == 0 else None, moment) for index, moment in enumerate(found)]
            rows += [(spoken, None)] if spoken is not None and not found else []
        return tuple(rows)


def run(
    out: Path,
    board: str,
    seconds: float | None,
    port: str | None,
    picture: Path | None,
    stage: Callable[[str], None],
    line: Callable[[str], Callable[[str], None]],
    progress: Callable[[str, int, int], None],
) -> Conversation:
    """Build the keyword model for a board, streamed, with front end and detector; flash it, and play the conversation.

    All of it, or only so many `seconds`; drawn into `picture`, a PNG file. `stage`, `line` and `progress` are told what
    happens. Raises TinygenError.
    """
    if picture is not None:
        heard_picture.require()
        output.expect_replaceable(picture)
    stage("generating C for the keyword model")
    folder = resource(*_EXAMPLE)
    wish = detector_wish(str(folder / "detector.json"), labels_of(str(folder / "labels.txt")))
    hearing = hear_with(_FRONT_END, detector=wish)
    model = pipeline.read(folder / "keywords.tflite", Options(streaming=Streaming()))
    output.write(pipeline.build(model, board, "keywords", hearing=hearing).files, out)
    content = manifest.load(out)
    samples = _samples(folder / "recordings" / _RECORDING, content, seconds)
    length = len(samples) / hearing.front_end.sample_rate
    spoken = [Spoken(**each) for each in json.loads((folder / "recordings" / "spoken.json").read_text())[_RECORDING]]
    done = 0

    def chunks() -> Iterator[Array]:
        nonlocal done
        for piece in pieces(samples, hearing.front_end.sample_rate):
            yield piece
            done += len(piece)
            progress("sending a conversation over serial", done, len(samples))

    with boards.flashed(out, content, port, line(f"building the firmware for {board} and flashing it")) as peer:
        moments = tuple(play(chunks(), content, listener(out, content, model.graph), peer))
        stack, hello = peer.feed_stack_bytes, peer.session.hello()
    if picture is not None:
        results = [moment.board for moment in moments if moment.board is not None]
        title = f"{content.name} on {content.board} hears {_RECORDING}"
        said = [(each.said, each.start, each.end) for each in spoken]
        drawn = heard_picture.heard_picture(samples, hearing.front_end, results, content, title, said)
        output.write_sealed(output.sealed_png(drawn), picture)
    return Conversation(
        out=str(out),
        name=content.name,
        board=content.board,
        recording=_RECORDING,
        seconds=length,
        words=tuple(label for label in wish.labels if label),
        spoken=tuple(each for each in spoken if each.end <= length),
        moments=moments,
        stack_bytes=stack,
        hello=hello,
        picture=None if picture is None else str(picture),
    )


def _samples(recording: Path, content: Manifest, seconds: float | None) -> Array:
    assert content.front_end is not None
    rate = content.front_end.sample_rate
    samples = read_wav(recording, rate)
    return samples if seconds is None else samples[: round(seconds * rate)]
