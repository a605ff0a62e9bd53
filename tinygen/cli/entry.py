"""The commands together, and how they end."""

from __future__ import annotations

import os
import signal
import sys
from io import TextIOWrapper

import click

from tinygen.cli.bench import bench
from tinygen.cli.boards import boards
from tinygen.cli.build import build
from tinygen.cli.compare import compare
from tinygen.cli.console import show_error, show_interrupted
from tinygen.cli.demo import demo
from tinygen.cli.export import export
from tinygen.cli.flash import flash
from tinygen.cli.inspect import inspect
from tinygen.cli.quantize import quantize
from tinygen.cli.run import run
from tinygen.cli.verify import verify
from tinygen.errors import TinygenError, UsageError
from tinygen.version import VERSION


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, invoke_without_command=False
)
@click.version_option(VERSION, prog_name="tinygen")
def app() -> None:
    """From an int8 model to static-memory C, checked byte for byte, on the board.

    \b
    tinygen demo                         the whole path, on an emulated board
    tinygen quantize kws.keras ...       an int8 model of a float one, and what that costs
    tinygen inspect kws.tflite           what is in the model, and whether it can be built
    tinygen build kws.tflite -o out      C library and PlatformIO project
    tinygen verify out                   reference = generated C, every byte of every layer
    tinygen flash out                    compile, and put it on the board
    tinygen run out --input x.npz        what the board answers
    tinygen compare a.tflite b.tflite ...  accuracy against instructions, RAM and flash
    tinygen bench out                    instructions and cycles of every layer
    tinygen export out --as arduino      a package for the project that you have
    """


for _command in (build, verify, flash, run, bench, export, boards, inspect, quantize, compare, demo):
    app.add_command(_command)


def main() -> None:
    """Entry point: errors become text and an exit code, 1 for failure and 2 for wrong usage."""
    # Ended from outside, or with its terminal gone, it stops what it started, as after Ctrl-C.
    for number in filter(None, (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP"))):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
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


def _end(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _run() -> int:
    as_json = "--json" in sys.argv[1:]
    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except TinygenError as error:
        show_error(error.message, error.remedy, as_json, type(error).__name__)
        return 2 if isinstance(error, UsageError) else 1
    except click.ClickException as error:
        if as_json:
            show_error(error.format_message(), "", as_json, "UsageError")
        else:
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        show_interrupted()
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        show_error(f"the system refused{place}: {error.strerror or error}", "", as_json, "OSError")
        return 1
