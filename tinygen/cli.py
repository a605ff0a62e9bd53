"""The command line: the only module that prints, and the only one that exits."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from tinygen.errors import TinygenError, UnsupportedModel, UsageError

_PLAIN_WIDTH = 160

app = typer.Typer(
    help="From an int8 model to static-memory C, checked byte for byte, on the board.\n\n"
    "First steps:\n\n"
    "    tinygen demo                                     the whole path, on an emulated board\n\n"
    "    tinygen inspect kws.tflite                       what is in the model, and whether it can be built\n\n"
    "    tinygen build kws.tflite --board qemu-mps2-an386 -o out\n\n"
    "    tinygen verify out                               reference = generated C, every byte of every layer\n\n"
    "    tinygen flash out && tinygen run out --input samples.npz",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


class Objective(enum.StrEnum):
    """What generated code is optimised for."""

    balanced = "balanced"
    speed = "speed"
    size = "size"


class Original(enum.StrEnum):
    """Runtimes that the reference can be compared with."""

    tflm = "tflm"


ModelPath = Annotated[Path, typer.Argument(help="The model file (.tflite).", show_default=False)]
OutPath = Annotated[Path, typer.Argument(help="A folder that `tinygen build` wrote.", show_default=False)]
BoardOption = Annotated[str, typer.Option("--board", "-b", help="A board's name (tinygen boards), or a TOML file.")]
PortOption = Annotated[
    str | None, typer.Option(help="Serial port or pyserial URL: /dev/ttyACM0, COM3, socket://127.0.0.1:4000.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]

DEFAULT_BOARD = "qemu-mps2-an386"


@app.command()
def build(
    model: ModelPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; made when it does not exist.")],
    board: BoardOption = DEFAULT_BOARD,
    name: Annotated[
        str | None, typer.Option(help="C prefix and library name; by default made from the file's name.")
    ] = None,
    optimize: Annotated[Objective, typer.Option(help="What the kernels are chosen for.")] = Objective.balanced,
    as_json: JsonOption = False,
) -> None:
    """Generate C and a PlatformIO project from a model.

    \b
    tinygen build kws.tflite --board qemu-mps2-an386 -o out
    tinygen build kws.tflite -o out --name kws --optimize size
    """
    from tinygen import output, pipeline
    from tinygen.report import tables

    built = pipeline.build(pipeline.read(model), board, name, optimize.value)
    output.write(built.files, out)
    if as_json:
        _print_json({"out": str(out), "manifest": json.loads(built.manifest.to_json()), "fit": _plain(built.fit)})
        return
    _print(tables.build_table(built))
    _print(
        f"\nWritten to {out}. Next: tinygen verify {out}, tinygen flash {out}, or use {out}/lib/{built.manifest.name}."
    )


@app.command()
def verify(
    out: OutPath,
    inputs: Annotated[
        Path | None, typer.Option(help="Inputs of your own, .npz or .npy, besides the generated ones.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="How many generated inputs: all minimum, all maximum, random.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 0,
    on: Annotated[
        str, typer.Option(help="host, or the board that OUT was built for: flashed, asked, compared too.")
    ] = "host",
    against: Annotated[
        Original | None, typer.Option(help="Compare with this runtime as well (tflm: when it is installed, always).")
    ] = None,
    port: PortOption = None,
    as_json: JsonOption = False,
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
    from tinygen import host, manifest, tflm
    from tinygen import samples as sampling
    from tinygen import verify as verification
    from tinygen.report import tables

    content = manifest.load(out)
    if on not in ("host", content.board):
        raise UsageError(
            f"{out} was built for {content.board}, not for {on}",
            f"Use --on {content.board}, or build again with --board {on}.",
        )
    chosen = sampling.generated(content.inputs, samples, seed)
    chosen += sampling.from_file(inputs, content.inputs) if inputs else []
    if not chosen:
        raise UsageError("there is nothing to verify with: no samples and no inputs", "Use --samples 20, or --inputs.")
    model = verification.model_of(out, content)
    with _progress() as report:
        peers: list[Any] = [host.host_peer(out, content)]
        if against is Original.tflm or (against is None and tflm.is_installed()):
            peers.append(tflm.tflm_peer(out, content))
        if on != "host":
            peers.append(boards.flashed(out, content, port, report.line("building and flashing")))
        reports = verification.verify(model, content, chosen, peers, report.count)
    equal = all(found.equal for found in reports)
    if as_json:
        _print_json({"equal": equal, "peers": [_plain(found) | {"equal": found.equal} for found in reports]})
    else:
        _print(tables.verify_table(reports))
        for found in reports:
            for difference in found.differences[:3]:
                _print(f"\n{found.peer}: {difference}")
        _print("\nEvery byte is equal." if equal else "\nNOT equal: see the first differing layers above.")
    if not equal:
        raise typer.Exit(1)


@app.command()
def flash(
    out: OutPath,
    port: PortOption = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the emulator of an emulated board instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compile the firmware and put it on the board, through PlatformIO.

    An emulated board keeps running, like a real one, until --stop.

    \b
    tinygen flash out
    tinygen flash out --port /dev/ttyACM0
    tinygen flash out --stop
    """
    from tinygen import firmware, manifest

    content = manifest.load(out)
    if stop:
        said = firmware.stop(out)
        _print_json({"stopped": said}) if as_json else _print(said)
        return
    with _progress() as report:
        used = firmware.flash(out, port, report.line(f"building and flashing {content.board}"))
    size = firmware.firmware_size(out)
    if as_json:
        _print_json(
            {"board": content.board, "port": used, "flash_bytes": size.flash_bytes, "ram_bytes": size.ram_bytes}
        )
        return
    _print(f"{content.name} runs on {content.board}, serial port {used}.")
    _print(f"Firmware: {size.flash_bytes:,} bytes of flash, {size.ram_bytes:,} bytes of static RAM.")


@app.command()
def run(
    out: OutPath,
    input: Annotated[Path, typer.Option("--input", "-i", help="Inputs, .npz or .npy: one sample or many.")],
    port: PortOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send inputs to the board that runs OUT's firmware, and print what it answers.

    \b
    tinygen flash out
    tinygen run out --input samples.npz
    """
    from tinygen import board as boards
    from tinygen import manifest, results
    from tinygen import samples as sampling
    from tinygen.report import answers

    content = manifest.load(out)
    chosen = sampling.from_file(input, content.inputs)
    labels = sampling.read_labels(input, len(chosen))
    found = []
    with _progress() as report, boards.connected(out, content, port) as peer:
        for index, sample in enumerate(chosen):
            data, ticks = peer.invoke(sample.bytes)
            found.append(results.result(sample.name, data, ticks, content))
            report.count(peer.name, index + 1, len(chosen))
        stack = peer.session.stack()
        hello = peer.session.hello()
    if as_json:
        _print_json({"results": [_plain(result) for result in found], "stack_bytes": stack, "tick_hz": hello.tick_hz})
        return
    _print(answers.run_table(found, labels, content))
    _print(f"\n{answers.footnote(stack, hello)}")


@app.command()
def boards(as_json: JsonOption = False) -> None:
    """List the boards that can be built for.

    A board is one TOML file; give the path of your own to `tinygen build --board`.
    """
    from tinygen.report import tables
    from tinygen.target import list_boards, load_board

    known = [load_board(name) for name in list_boards()]
    if as_json:
        _print_json({"boards": [_plain(board) for board in known]})
        return
    _print(tables.boards_table(known))
    for board in known:
        if board.notes:
            _print(f"\n{board.name}: {board.notes}")


@app.command()
def inspect(model: ModelPath, board: BoardOption = DEFAULT_BOARD, as_json: JsonOption = False) -> None:
    """Show a model's graph, shapes, MACs and sizes, and what in it cannot be built and why.

    \b
    tinygen inspect kws.tflite
    tinygen inspect kws.tflite --json
    """
    from tinygen import pipeline
    from tinygen.report import tables

    try:
        built = pipeline.build(pipeline.read(model), board)
    except UnsupportedModel as unsupported:
        rows = pipeline.outline(model)
        if as_json:
            _print_json({"supported": False, "nodes": _plain(rows), "problems": _plain(unsupported.problems)})
        else:
            _print(tables.outline_table(rows, unsupported.problems))
            _print(f"\n{unsupported.message}")
        raise typer.Exit(1) from None
    if as_json:
        _print_json({"supported": True, "manifest": json.loads(built.manifest.to_json()), "fit": _plain(built.fit)})
        return
    _print(tables.layer_table(built.manifest.layers))
    _print("")
    _print(tables.build_table(built))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the demo's project.")] = Path("tinygen-demo"),
    board: BoardOption = DEFAULT_BOARD,
    count: Annotated[int, typer.Option("--images", min=1, max=360, help="How many images to send.")] = 20,
    port: PortOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build, flash and run the shipped digits model, and compare the board's answers with the reference.

    \b
    tinygen demo
    tinygen demo --board netduino2plus --images 100
    """
    from tinygen import demonstration
    from tinygen.report import answers

    with _progress() as report:
        shown = demonstration.run(out, board, count, port, report.stage, report.line, report.count)
    if as_json:
        _print_json(_plain(shown) | {"success": shown.success})
    else:
        _print(answers.demo_table(shown))
        _print(f"\n{answers.demo_verdict(shown)}")
    if not shown.success:
        raise typer.Exit(1)


def main() -> None:
    """Entry point: errors become text and an exit code, 1 for failure and 2 for wrong usage."""
    as_json = "--json" in sys.argv[1:]
    try:
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except TinygenError as error:
        _fail(error.message, error.remedy, as_json, type(error).__name__)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except click.ClickException as error:
        if as_json:
            _fail(error.format_message(), "", as_json, "UsageError")
        else:
            error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _stderr().print("\nInterrupted.")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has enough; Python must not complain about it at exit
        sys.exit(1)
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        _fail(f"the system refused{place}: {error.strerror or error}", "", as_json, "OSError")
        sys.exit(1)


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


def _plain(value: Any) -> Any:
    """Dataclasses as JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


class _Report:
    """Progress on standard error: moving on a terminal, a line per stage elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def stage(self, text: str) -> None:
        """A new stage without a known end."""
        if self._progress is None:
            sys.stderr.write(text + " …\n")
        else:
            self._finish()
            self._tasks[text] = self._progress.add_task(text, total=None)

    def line(self, text: str) -> Callable[[str], None]:
        """A stage that moves with every line that a program prints."""
        started = False

        def on_line(line: str) -> None:
            nonlocal started
            if not started:
                self.stage(text)
                started = True
            if self._progress is not None and line:
                self._progress.update(self._tasks[text], description=f"{text}: {line[:60]}")

        return on_line

    def count(self, name: str, done: int, total: int) -> None:
        """`done` of `total` of what `name` does."""
        if self._progress is None:
            return
        if name not in self._tasks:
            self._finish()
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done)

    def _finish(self) -> None:
        assert self._progress is not None
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks.clear()


@contextlib.contextmanager
def _progress() -> Iterator[_Report]:
    console = _stderr()
    if not console.is_terminal:
        yield _Report(None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Report(progress)
