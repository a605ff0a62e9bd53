"""The command line: the only module that prints, and the only one that exits."""

from __future__ import annotations

import json
import os
import shlex
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, RenderableType

from tinygen.errors import CannotCompare, TinygenError, UnsupportedModel, UsageError
from tinygen.goal import OBJECTIVES, Goal
from tinygen.interface import ARENAS, PORTS, ROWS, STATIC, Interface
from tinygen.options import INTERFACES, PROFILES, Options, Streaming
from tinygen.report.plain import plain
from tinygen.report.progress import Report, progress_on
from tinygen.version import VERSION

if TYPE_CHECKING:
    from tinygen.listening.hearing import Hearing
    from tinygen.manifest import Manifest
    from tinygen.pipeline import Model

DEFAULT_BOARD = "qemu-mps2-an386"

_PLAIN_WIDTH = 160

_PATH = click.Path(path_type=Path)
_OUT = click.argument("out", type=_PATH)
_MODEL = click.argument("model", type=_PATH)
_BOARD = click.option(
    "--board", "-b", default=DEFAULT_BOARD, show_default=True, help="A board's name (tinygen boards), or a TOML file."
)
_PORT = click.option(
    "--port", metavar="PORT", help="Serial port or pyserial URL: /dev/ttyACM0, COM3, socket://127.0.0.1:4000."
)
_PROFILE = click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default=PROFILES[0],
    show_default=True,
    help="Whose arithmetic to follow, to the last bit.",
)
_BATCH = click.option(
    "--batch",
    type=click.IntRange(1, 65_535),
    help="Inferences in one invoke, for models whose batch is open; by default as many as the file says, which is one.",
)
_IO = click.option(
    "--io",
    type=click.Choice(INTERFACES),
    default=INTERFACES[0],
    show_default=True,
    help="int8: take the integers behind float32 and uint8 inputs and outputs, without QUANTIZE and DEQUANTIZE.",
)
_STREAMING = click.option(
    "--streaming",
    is_flag=False,
    flag_value="0",
    type=click.IntRange(0),
    metavar="[HOP]",
    help="Take only HOP new frames in an invoke, where that gives what the whole window would; by default as few as "
    "the model's strides allow.",
)
_TIME_AXIS = click.option(
    "--time-axis",
    type=click.IntRange(0),
    metavar="N",
    help="For --streaming: the input's dimension of frames; by default the first after the batch that is not 1.",
)
_OPTIMIZE = click.option(
    "--optimize",
    type=click.Choice(OBJECTIVES),
    default=OBJECTIVES[0],
    show_default=True,
    help="What the kernels are chosen and written for.",
)
_KERNEL = click.option(
    "--kernel", "kernels", multiple=True, metavar="NAME", help="Take this kernel wherever it can be used."
)
_ARENA = click.option(
    "--arena",
    type=click.Choice(ARENAS),
    default=STATIC,
    show_default=True,
    help="external: the application gives the model its memory, and may use it for other things in between.",
)
_INPUT = click.option(
    "--input",
    "input_memory",
    type=click.Choice(PORTS),
    default=STATIC,
    show_default=True,
    help="external: inputs are read where the application has them, and take no memory of the model's.",
)
_OUTPUT = click.option(
    "--output",
    "output_memory",
    type=click.Choice(PORTS),
    default=STATIC,
    show_default=True,
    help="external: outputs are written where the application wants them, and take no memory of the model's.",
)
_ROWS = click.option(
    "--input-rows", is_flag=True, help="The input is fed row by row, as it comes, and is never there whole."
)
_PLACE = click.option(
    "--place",
    "places",
    multiple=True,
    metavar="PART=REGION",
    help="Put weights, code, hot code, arena, scratch or state into a region of the board; REGION auto: the fastest "
    "that has room.",
)
_HOT = click.option(
    "--hot",
    metavar="BYTES|LAYERS",
    default="",
    help="What --place hot=REGION is about: so many bytes of code, or layer_02,layer_05; by default what fits.",
)
_OF = click.option("--model", "of", metavar="NAME", help="Which of the models that OUT was built from.")
_FRONT_END = click.option(
    "--frontend",
    metavar="NAME|FILE.toml",
    help="Take samples: with this audio front end before the model, from samples to results.",
)
_HOP = click.option(
    "--hop",
    type=int,
    metavar="FRAMES",
    help="For --frontend before a model of whole windows: new frames for each result; by default 1.",
)
_DETECTOR = click.option(
    "--detector",
    metavar="FILE",
    help="For --frontend: hear words in results, as this TOML file says, or the JSON that a wake word came with.",
)
_LABELS = click.option(
    "--labels",
    metavar="A,B,...|FILE",
    help="For --frontend: the words that the model's outputs stand for; - for one that is no word.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, invoke_without_command=False
)
@click.version_option(VERSION, prog_name="tinygen")
def app() -> None:
    """From an int8 model to static-memory C, checked byte for byte, on the board.

    \b
    tinygen demo                         the whole path, on an emulated board
    tinygen inspect kws.tflite           what is in the model, and whether it can be built
    tinygen build kws.tflite -o out      C library and PlatformIO project
    tinygen verify out                   reference = generated C, every byte of every layer
    tinygen flash out                    compile, and put it on the board
    tinygen run out --input x.npz        what the board answers
    tinygen bench out                    instructions and cycles of every layer
    """


@app.command()
@click.argument("models", metavar="MODEL...", type=_PATH, nargs=-1, required=True)
@click.option("--out", "-o", required=True, type=_PATH, help="Folder to write; made when it does not exist.")
@_BOARD
@click.option(
    "--name",
    "names",
    multiple=True,
    help="C prefix and library name, once for each model; by default made from the files' names.",
)
@_OPTIMIZE
@click.option("--flash-budget", type=click.IntRange(1), metavar="BYTES", help="For the library's code and constants.")
@click.option("--ram-budget", type=click.IntRange(1), metavar="BYTES", help="For the library's arena and states.")
@_PLACE
@_HOT
@_KERNEL
@_PROFILE
@_IO
@_BATCH
@_STREAMING
@_TIME_AXIS
@_ARENA
@_INPUT
@_OUTPUT
@_ROWS
@_FRONT_END
@_HOP
@_DETECTOR
@_LABELS
@_JSON
def build(
    models: tuple[Path, ...],
    out: Path,
    board: str,
    names: tuple[str, ...],
    optimize: str,
    flash_budget: int | None,
    ram_budget: int | None,
    places: tuple[str, ...],
    hot: str,
    kernels: tuple[str, ...],
    profile: str,
    io: str,
    batch: int | None,
    streaming: int | None,
    time_axis: int | None,
    arena: str,
    input_memory: str,
    output_memory: str,
    input_rows: bool,
    frontend: str | None,
    hop: int | None,
    detector: str | None,
    labels: str | None,
    as_json: bool,
) -> None:
    """Generate C and a PlatformIO project from a model.

    Several models become libraries of one firmware, which take turns in one arena.

    \b
    tinygen build kws.tflite --board qemu-mps2-an386 -o out
    tinygen build kws.tflite -o out --name kws --optimize size
    tinygen build kws.tflite -o out --io int8 --batch 4
    tinygen build kws.tflite -o out --optimize speed --flash-budget 60000
    tinygen build kws.tflite -o out --arena external
    tinygen build kws.tflite -o out --optimize ram --input-rows
    tinygen build kws.tflite -o out --place scratch=dtcm --place hot=itcm --hot 8000
    tinygen build wakeword.tflite -o out --streaming
    tinygen build wakeword.tflite -o out --frontend micro
    tinygen build kws.tflite vww.tflite -o out
    """
    from tinygen import manifest, output, pipeline
    from tinygen.placement import parsed
    from tinygen.report import tables

    goal = Goal(optimize, flash_budget, ram_budget, parsed(places), frozenset(kernels), hot=hot)
    options = Options(profile, batch, io, _streaming(streaming, time_axis))
    interface = _interface(arena, input_memory, output_memory, input_rows)
    hearing = _hearing(frontend, hop, detector, labels)
    read = [pipeline.read(model, options) for model in models]
    built = pipeline.build_together(read, board, names, goal, interface, hearing)
    output.write(built[0].files, out)
    content = manifest.to_json([part.manifest for part in built])
    if as_json:
        fits = [plain(part.fit) for part in built]
        _print_json({"out": str(out), "manifest": json.loads(content), "fit": fits[0] if len(fits) == 1 else fits})
        return
    for part in built:
        _print(tables.build_table(part))
        _print("")
    which = f" --model {built[0].manifest.name}" if len(built) > 1 else ""
    quoted = shlex.quote(str(out))
    used = f"{out}/lib/{built[0].manifest.name}" if len(built) == 1 else f"all of {out}/lib"
    _print(
        f"Written to {out}, with a picture of the memory. Next: tinygen verify {quoted}{which}, "
        f"tinygen flash {quoted}, or use {used}."
    )


@app.command()
@_OUT
@click.option("--inputs", type=_PATH, help="Inputs of your own, .npz or .npy, besides the generated ones.")
@click.option(
    "--samples",
    type=click.IntRange(0, 1_000_000),
    help="How many generated inputs: all minimum, all maximum, then random ones; by default 20, of a --streaming "
    "model as many as make three windows before a reset, and three after it.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random inputs.")
@click.option(
    "--on",
    default="host",
    show_default=True,
    metavar="host|BOARD",
    help="With the board that OUT was built for, it is flashed and compared, too.",
)
@click.option(
    "--against",
    type=click.Choice(PROFILES),
    help="Insist on comparing with this runtime; that of the model's profile is compared when it is installed.",
)
@_PORT
@_OF
@_JSON
def verify(
    out: Path,
    inputs: Path | None,
    samples: int | None,
    seed: int,
    on: str,
    against: str | None,
    port: str | None,
    of: str | None,
    as_json: bool,
) -> None:
    """Compare the generated C with the numpy reference: every byte of every layer.

    The C is compiled for this machine with address and undefined-behaviour sanitizers. The first layer that differs is
    named, with the element and both values.

    \b
    tinygen verify out
    tinygen verify out --inputs recordings.npz --samples 100 --seed 7
    tinygen verify out --on qemu-mps2-an386 --against tflm
    """
    from tinygen import board as boards
    from tinygen import host, manifest
    from tinygen import samples as sampling
    from tinygen import verify as verification
    from tinygen.listening import verify as listening
    from tinygen.listening.peers import host_listener
    from tinygen.listening.recordings import recordings
    from tinygen.report import tables
    from tinygen.report.stack_text import stack_text
    from tinygen.runtimes import RUNTIMES
    from tinygen.stack_use import stack_use
    from tinygen.streaming.window_peer import WindowPeer

    content = manifest.load(out, of)
    if on not in ("host", content.board):
        raise UsageError(
            f"{out} was built for {content.board}, not for {on}",
            f"Use --on {content.board}, or build again with --board {on}.",
        )
    count = sampling.enough(content.streaming) if samples is None else samples
    chosen = sampling.generated(content.inputs, count, seed)
    chosen += sampling.from_file(inputs, content.inputs) if inputs else []
    if not chosen:
        raise UsageError("there is nothing to verify with: no samples and no inputs", "Use --samples 20, or --inputs.")
    model = verification.model_of(out, content)
    with _progress() as report, ExitStack() as stays:
        peers: list[Any] = [host.host_peer(out, content)]
        listeners: list[Any] = [host_listener(out, content)] if content.front_end is not None else []
        if model.stream is not None:
            peers.append(nullcontext(WindowPeer(model.graph, model.stream, content)))
        original = RUNTIMES[against or content.profile]
        silent = None
        if against or original.is_installed:
            try:
                original.ask(out, content)
                peers.append(original.peer(out, content))
            except CannotCompare as reason:
                if against:
                    raise
                silent = f"Not compared with {original.title}: {reason}."
        if on != "host":
            line = report.line(f"building and flashing {content.board}")
            board = stays.enter_context(boards.flashed(out, content, port, line))
            peers.append(nullcontext(board))
            listeners += [nullcontext(board)] if content.front_end is not None else []
        report.stage("compiling the generated C")
        reports = verification.verify(
            model, content, chosen, peers, lambda done, total: report.count("comparing samples", done, total)
        )
        used = reports[-1].stack_bytes
        if listeners:
            reports += listening.verify(
                listening.listener(out, content, model.graph),
                content,
                recordings(listening.enough(content, count), seed),
                listeners,
                seed,
                lambda done, total: report.count("comparing recordings", done, total),
            )
    stack = stack_use(out, content, used) if on != "host" else None
    equal = all(found.equal for found in reports)
    explained = all(found.equal or found.explained for found in reports)
    if as_json:
        if stack:
            stack.check()
        verdicts = [plain(found) | {"equal": found.equal, "explained": found.explained} for found in reports]
        shown = {"equal": equal, "explained": explained, "peers": verdicts, "not_compared": silent}
        _print_json(shown | {"stack": plain(stack)})
    else:
        _print(tables.verify_table(reports))
        for found in reports:
            for difference in [] if found.explained else found.differences[:3]:
                _print(f"\n{found.peer}: {difference}")
            if found.causes:
                _print(f"\nWhere the {found.peer} begins to differ, and why:\n")
                _print(tables.causes_table(found.causes))
        if content.removed:
            _print(f"\n{tables.partial_text(content)}")
        if silent:
            _print(f"\n{silent}")
        if stack:
            _print(f"\n{stack_text(stack)}")
        _print(f"\n{tables.verify_verdict(equal, explained, content.profile)}")
    if stack:
        stack.check()
    if not explained:
        raise click.exceptions.Exit(1)


@app.command()
@_OUT
@_PORT
@click.option("--stop", is_flag=True, help="End the emulator of an emulated board instead.")
@_JSON
def flash(out: Path, port: str | None, stop: bool, as_json: bool) -> None:
    """Compile the firmware and put it on the board, through PlatformIO.

    An emulated board keeps running, like a real one, until --stop.

    \b
    tinygen flash out
    tinygen flash out --port /dev/ttyACM0
    tinygen flash out --stop
    """
    from tinygen import firmware, manifest

    models = manifest.load_all(out)
    if stop:
        said = firmware.stop(out)
        _print_json({"stopped": said}) if as_json else _print(said)
        return
    with _progress() as report:
        used = firmware.flash(out, port, report.line(f"building and flashing {models[0].board}"))
    size = firmware.firmware_size(out)
    if as_json:
        _print_json({"board": models[0].board, "port": used, **plain(size)})
        return
    names = " and ".join(content.name for content in models)
    _print(f"{names} {'runs' if len(models) == 1 else 'run'} on {models[0].board}, serial port {used}.")
    _print(f"Firmware: {size.flash_bytes:,} bytes of flash, {size.ram_bytes:,} bytes of static RAM.")


@app.command()
@_OUT
@click.option(
    "--input",
    "-i",
    "file",
    required=True,
    type=_PATH,
    help="Inputs, .npz or .npy: one sample or many. With a front end, a recording, .wav.",
)
@_PORT
@_OF
@_JSON
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
    with _progress() as report, boards.connected(out, content, port) as peer:
        peer.session.reset()
        for index, sample in enumerate(chosen):
            data, ticks = peer.invoke(sample.bytes)
            found.append(results.result(sample.name, data, ticks, content))
            report.count(peer.name, index + 1, len(chosen))
        stack = peer.session.stack()
        hello = peer.session.hello()
    if as_json:
        _print_json({"results": plain(found), "stack_bytes": stack, "tick_hz": hello.tick_hz})
        return
    _print(answers.run_table(found, labels, content))
    _print(f"\n{answers.footnote(stack, hello)}")


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
    with _progress() as report, boards.connected(out, content, port) as peer:
        for start in range(0, len(samples), chunk):
            heard = peer.listen(samples[start : start + chunk], start == 0)
            found += [results.heard_result(each, content) for each in heard]
            report.count(peer.name, min(start + chunk, len(samples)), len(samples))
        stack = peer.session.stack()
        hello = peer.session.hello()
    if as_json:
        words = [{"seconds": each.seconds, "word": each.word} for each in found if each.word is not None]
        shown = {"words": words, "results": plain(found), "stack_bytes": stack, "tick_hz": hello.tick_hz}
        _print_json(shown)
        return
    count = sum(each.word is not None for each in found)
    if front_end.detector is None:
        _print(heard_tables.heard_table(found))
    elif count:
        _print(heard_tables.words_table(found, front_end.detector.words))
    seconds = len(samples) / front_end.sample_rate
    heard_text = "" if front_end.detector is None else f"{count} word{'s' if count != 1 else ''} in "
    _print(f"\n{heard_text}{len(found):,} results of {seconds:.1f} s. {answers.footnote(stack, hello)}")


@app.command()
@_OUT
@click.option(
    "--on",
    metavar="BOARD",
    help="Another board with the same core; by default the one that OUT was built for.",
)
@_PORT
@_OF
@_JSON
def bench(out: Path, on: str | None, port: str | None, of: str | None, as_json: bool) -> None:
    """Count what one invoke executes, layer by layer; on a real board, measure its ticks.

    An emulated board counts instructions, exactly. Its cycles are modelled: the source of the core's cost table and its
    assumptions are shown with them. Only a real board gives time.

    \b
    tinygen bench out
    tinygen bench out --on qemu-mps2-an386 --json
    """
    from tinygen import bench as benching
    from tinygen import firmware, manifest
    from tinygen.report import bench_tables

    content = manifest.load(out, of)
    with _progress() as report, benching.for_board(out, content, on or content.board) as (project, moved):
        on_line = report.line(f"building for {moved.board}")
        if firmware.is_emulated(project):
            count = benching.count(project, moved, on_line)
            shown = plain(count), bench_tables.count_table(count), bench_tables.count_notes(count)
        else:
            timing = benching.time(project, moved, port, on_line)
            shown = plain(timing), bench_tables.timing_table(timing, moved), bench_tables.timing_notes(timing)
    if as_json:
        _print_json(shown[0])
        return
    _print(shown[1])
    _print(f"\n{shown[2]}")


@app.command()
@_JSON
def boards(as_json: bool) -> None:
    """List the boards that can be built for.

    A board is one TOML file; give the path of your own to `tinygen build --board`.
    """
    from tinygen.report import tables
    from tinygen.target import list_boards, load_board

    known = [load_board(name) for name in list_boards()]
    if as_json:
        _print_json({"boards": plain(known)})
        return
    _print(tables.boards_table(known))
    for board in known:
        if board.notes:
            _print(f"\n{board.name}: {board.notes}")


@app.command()
@_MODEL
@_BOARD
@_PROFILE
@_IO
@_BATCH
@_STREAMING
@_TIME_AXIS
@_OPTIMIZE
@_PLACE
@_HOT
@_KERNEL
@_ARENA
@_INPUT
@_OUTPUT
@_ROWS
@click.option("--proofs", is_flag=True, help="Show which cheaper arithmetic was proved to give the profile's results.")
@click.option(
    "--memory", is_flag=True, help="Show what RAM holds layer by layer, what would save some, and the board's."
)
@click.option("--out", "-o", type=_PATH, metavar="FILE.svg", help="With --memory: draw it, too, as a picture.")
@_JSON
def inspect(
    model: Path,
    board: str,
    profile: str,
    io: str,
    batch: int | None,
    streaming: int | None,
    time_axis: int | None,
    optimize: str,
    places: tuple[str, ...],
    hot: str,
    kernels: tuple[str, ...],
    arena: str,
    input_memory: str,
    output_memory: str,
    input_rows: bool,
    proofs: bool,
    memory: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show a model's graph, shapes, MACs and sizes, and what in it cannot be built and why.

    The exit code is 1 when something cannot be built.

    \b
    tinygen inspect kws.tflite
    tinygen inspect kws.tflite --proofs
    tinygen inspect wakeword.tflite --streaming
    tinygen inspect kws.tflite --memory -o memory.svg
    tinygen inspect kws.tflite --json
    """
    from tinygen import pipeline
    from tinygen.placement import parsed
    from tinygen.report import tables

    if out is not None and not memory:
        raise UsageError("-o names the file for the picture of --memory", "Add --memory, or leave -o away.")
    if memory and proofs:
        raise UsageError("--memory and --proofs show different things", "Ask for one of them.")
    goal = Goal(optimize, places=parsed(places), prefer=frozenset(kernels), hot=hot)
    interface = _interface(arena, input_memory, output_memory, input_rows)
    try:
        read = pipeline.read(model, Options(profile, batch, io, _streaming(streaming, time_axis)))
        if memory:
            _inspect_memory(read, board, goal, interface, out, as_json)
            return
        built = pipeline.build(read, board, goal=goal, interface=interface)
    except UnsupportedModel as unsupported:
        rows = pipeline.outline(model)
        if as_json:
            _print_json({"supported": False, "nodes": plain(rows), "problems": plain(unsupported.problems)})
        else:
            _print(tables.outline_table(rows, unsupported.problems))
            _print(f"\n{unsupported}")
        raise click.exceptions.Exit(1) from None
    if as_json:
        _print_json({"supported": True, "manifest": json.loads(built.manifest.to_json()), "fit": plain(built.fit)})
        return
    if proofs:
        _print(tables.proofs_table(built.manifest.layers))
        _print(f"\n{tables.PROOFS_EXPLAINED}")
        return
    _print(tables.layer_table(built.manifest.layers))
    _print("")
    _print(tables.build_table(built))


def _streaming(hop: int | None, axis: int | None) -> Streaming | None:
    """What --streaming and --time-axis mean; a hop of 0 is the least."""
    if hop is None and axis is not None:
        raise UsageError("--time-axis is for --streaming", "Add --streaming, or leave it out.")
    return None if hop is None else Streaming(hop or None, axis)


def _hearing(front_end: str | None, hop: int | None, detector: str | None, labels: str | None) -> Hearing | None:
    """What --frontend, --hop, --detector and --labels mean."""
    from tinygen.listening.detector import labels_of
    from tinygen.listening.detector_file import detector_wish
    from tinygen.listening.hearing import hear_with

    if front_end is None:
        for option, value in (("--hop", hop), ("--detector", detector), ("--labels", labels)):
            if value is not None:
                raise UsageError(f"{option} is for --frontend", "Add --frontend, or leave it out.")
        return None
    wish = None
    if detector is not None or labels is not None:
        wish = detector_wish(detector, () if labels is None else labels_of(labels))
    return hear_with(front_end, hop, wish)


def _interface(arena: str, input_memory: str, output_memory: str, input_rows: bool) -> Interface:
    if input_rows and input_memory != STATIC:
        raise UsageError("--input-rows and --input external are two ways to give the input", "Choose one of them.")
    return Interface(arena, input=ROWS if input_rows else input_memory, output=output_memory)


def _inspect_memory(
    model: Model, board: str, goal: Goal, interface: Interface, out: Path | None, as_json: bool
) -> None:
    from tinygen import memory_report, output
    from tinygen.report import memory_tables

    if out is not None:
        output.expect_replaceable(out)
    found = memory_report.memory_report(model, board, goal, interface)
    if out is not None:
        output.write_sealed(found.picture, out)
    if as_json:
        shown = {"memory": found.memory, "now": found.figures, "savings": found.savings, "fit": found.fit}
        _print_json({**plain(shown), "fits": found.refusal is None, "picture": None if out is None else str(out)})
        if found.refusal is not None:
            raise click.exceptions.Exit(1)
        return
    _print(memory_tables.layers_table(found.memory))
    _print(f"\n{memory_tables.bound_text(found.memory)}\n")
    _print(memory_tables.savings_table(found))
    _print("")
    _print(memory_tables.fit_table(found.fit, found.board))
    if out is not None:
        _print(f"\nDrawn in {out}.")
    if found.refusal is not None:
        raise found.refusal


@app.command()
@click.option(
    "--out", "-o", type=_PATH, default=Path("tinygen-demo"), show_default=True, help="Folder for the demo's project."
)
@_BOARD
@click.option(
    "--images", type=click.IntRange(1, 360), default=20, show_default=True, help="How many held-out images to send."
)
@_PORT
@_JSON
def demo(out: Path, board: str, images: int, port: str | None, as_json: bool) -> None:
    """Build, flash and run the shipped digits model, and compare the board's answers with the reference.

    \b
    tinygen demo
    tinygen demo --board netduino2plus --images 100
    """
    from tinygen import demonstration
    from tinygen.report import answers

    with _progress() as report:
        shown = demonstration.run(out, board, images, port, report.stage, report.line, report.count)
    if as_json:
        _print_json(plain(shown) | {"success": shown.success})
    else:
        _print(answers.demo_table(shown))
        _print(f"\n{answers.demo_verdict(shown)}")
    if not shown.success:
        raise click.exceptions.Exit(1)


def main() -> None:
    """Entry point: errors become text and an exit code, 1 for failure and 2 for wrong usage."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be text
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has enough. Python flushes once more at exit: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _run() -> int:
    as_json = "--json" in sys.argv[1:]
    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except TinygenError as error:
        _fail(error.message, error.remedy, as_json, type(error).__name__)
        return 2 if isinstance(error, UsageError) else 1
    except click.ClickException as error:
        if as_json:
            _fail(error.format_message(), "", as_json, "UsageError")
        else:
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _stderr().print("\nInterrupted.")
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        _fail(f"the system refused{place}: {error.strerror or error}", "", as_json, "OSError")
        return 1


def _fail(message: str, remedy: str, as_json: bool, kind: str) -> None:
    if as_json:
        _print_json({"error": {"kind": kind, "message": message, "remedy": remedy}})
        return
    console = _stderr()
    console.print("error: ", style="bold red", end="")
    console.print(message, markup=False, highlight=False, soft_wrap=True)
    if remedy:
        console.print(remedy, markup=False, highlight=False, soft_wrap=True)


def _stdout() -> Console:
    return Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False)


def _stderr() -> Console:
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PLAIN_WIDTH, highlight=False)


def _print(what: RenderableType) -> None:
    console = _stdout()
    if isinstance(what, str):
        console.print(what, markup=False, soft_wrap=True)
    elif console.is_terminal:
        console.print(what)
    else:  # without the blanks that tables end their lines with
        with console.capture() as capture:
            console.print(what)
        sys.stdout.writelines(line.rstrip() + "\n" for line in capture.get().splitlines())


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _progress() -> AbstractContextManager[Report]:
    return progress_on(_stderr())
