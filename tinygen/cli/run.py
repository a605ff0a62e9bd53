"""tinygen run."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from tinygen.cli import options
from tinygen.cli.console import progress, show, show_json
from tinygen.cli.hear import run_microphone, run_recording
from tinygen.errors import UsageError
from tinygen.report.plain import plain


@click.command()
@options.OUT
@click.option(
    "--input",
    "-i",
    "file",
    type=options.PATH,
    help="Inputs, .npz or .npy: one sample or many. With a front end, a recording, .wav.",
)
@click.option(
    "--mic",
    is_flag=False,
    flag_value="inf",
    type=click.FloatRange(min=0, min_open=True),
    metavar="[SECONDS]",
    help="With a detector, instead of --input: this machine's microphone, for so long, or until ctrl-C.",
)
@click.option(
    "--channel", type=click.IntRange(1), metavar="N", help="Of a recording with several: the one to take, from 1 on."
)
@options.PLAY
@options.PORT
@options.OF
@options.JSON
def run(
    out: Path,
    file: Path | None,
    mic: float | None,
    channel: int | None,
    play: Path | None,
    port: str | None,
    of: str | None,
    as_json: bool,
) -> None:
    """Send inputs to the board that runs OUT's firmware, and print what it answers.

    With a front end, a recording or the microphone, in pieces as they come; what the board hears is compared with the
    reference, and the exit code is 1 where they differ.

    \b
    tinygen flash out
    tinygen run out --input samples.npz
    tinygen run out --input speech.wav        # built with --frontend
    tinygen run out --input speech.wav --play speech.png
    tinygen run out --mic                     # built with --frontend and --detector
    """
    from tinygen import board as boards
    from tinygen import manifest, results
    from tinygen import samples as sampling
    from tinygen.report import answers

    if (file is None) == (mic is None):
        raise UsageError("run takes inputs from a file, or from the microphone", "Give --input FILE, or --mic.")
    content = manifest.load(out, of)
    if mic is not None:
        if channel is not None:
            raise UsageError("--channel is for recordings, not for --mic", "Leave it out.")
        run_microphone(out, content, None if mic == float("inf") else mic, play, port, as_json)
        return
    assert file is not None
    if file.suffix.lower() == ".wav":
        run_recording(out, content, file, channel, play, port, as_json)
        return
    if content.front_end is not None and file.suffix.lower() not in (".npz", ".npy"):
        rate = content.front_end.sample_rate
        raise UsageError(
            f"{file} is neither a recording, .wav, nor inputs, .npz or .npy",
            f"Convert a recording: sox {shlex.quote(str(file))} -r {rate} -c 1 -b 16 converted.wav",
        )
    if channel is not None or play is not None:
        option = "--channel" if play is None else "--play"
        raise UsageError(f"{option} is for recordings, and {file} is none", "Give a .wav, or leave it out.")
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
