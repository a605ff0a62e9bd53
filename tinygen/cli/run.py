"""tinygen run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygen.cli import options
from tinygen.cli.console import progress, show, show_json
from tinygen.errors import UsageError
from tinygen.report.plain import plain

if TYPE_CHECKING:
    from tinygen.manifest import Manifest


@click.command()
@options.OUT
@click.option(
    "--input",
    "-i",
    "file",
    required=True,
    type=options.PATH,
    help="Inputs, .npz or .npy: one sample or many. With a front end, a recording, .wav.",
)
@options.PORT
@options.OF
@options.JSON
def run(out: Path, file: Path, port: str | None, of: str | None, as_json: bool) -> None:
    """Send inputs to the board that runs OUT's firmware, and print what it answers.

    \b
    tinygen flash out
    tinygen run out --input samples.npz
    tinygen run out --input speech.wav        # built with --frontend
    """
    from tinygen import board as boards
    from tinygen import manifest, results
    from tinygen import samples as sampling
    from tinygen.report import answers

    content = manifest.load(out, of)
    if file.suffix.lower() == ".wav":
        _run_recording(out, content, file, port, as_json)
        return
    chosen = sampling.from_file(file, content.inputs)
    labels = sampling.read_labels(file, len(chosen))
    found = []
    with progress() as report, boards.connected(out, content, port) as peer:
        peer.session.reset()
        for index, sample in enumerate(chosen):
            data, ticks = peer.invoke(sample.bytes)
            found.append(results.result(sample.name, data, ticks, content))
            report.count(peer.name, index + 1, len(chosen))
        stack = peer.session.stack()
        hello = peer.session.hello()
    if as_json:
        show_json({"results": plain(found), "stack_bytes": stack, "tick_hz": hello.tick_hz})
        return
    show(answers.run_table(found, labels, content))
    show(f"\n{answers.footnote(stack, hello)}")


def _run_recording(out: Path, content: Manifest, file: Path, port: str | None, as_json: bool) -> None:
    """Play a recording to the board, and print what it heard."""
    from tinygen import board as boards
    from tinygen import results
    from tinygen.listening.wav import read_wav
    from tinygen.report import answers, heard_tables

    front_end = content.front_end
    if front_end is None:
        raise UsageError(
            f"{out} takes no recordings: it was built without a front end", "Build it with --frontend, or give .npz."
        )
    samples = read_wav(file, front_end.sample_rate)
    chunk = front_end.sample_rate // 10
    found = []
    with progress() as report, boards.connected(out, content, port) as peer:
        for start in range(0, len(samples), chunk):
            heard = peer.listen(samples[start : start + chunk], start == 0)
            found += [results.heard_result(each, content) for each in heard]
            report.count(peer.name, min(start + chunk, len(samples)), len(samples))
        stack = peer.session.stack()
        hello = peer.session.hello()
    if as_json:
        words = [{"seconds": each.seconds, "word": each.word} for each in found if each.word is not None]
        shown = {"words": words, "results": plain(found), "stack_bytes": stack, "tick_hz": hello.tick_hz}
        show_json(shown)
        return
    count = sum(each.word is not None for each in found)
    if front_end.detector is None:
        show(heard_tables.heard_table(found))
    elif count:
        show(heard_tables.words_table(found, front_end.detector.words))
    seconds = len(samples) / front_end.sample_rate
    heard_text = "" if front_end.detector is None else f"{count} word{'s' if count != 1 else ''} in "
    show(f"\n{heard_text}{len(found):,} results of {seconds:.1f} s. {answers.footnote(stack, hello)}")
