"""The frameworks' converters as programs of their own: they print, they abort, and they take threads with them."""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.errors import ToolFailed, ToolMissing

_LAST_LINES = 3
_LONGEST = 300
"""Letters of a line: some exceptions quote the whole model."""
_LOG_LINE = re.compile(r"[IWEF]\d{4} [\d:.]+|(WARNING|INFO):|\d{4}-\d\d-\d\d ")
"""As TensorFlow's C++ writes them, on what it found of the machine."""
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class Program:
    """A module that is run with arguments: it writes files, and answers with its exit code."""

    module: str
    title: str
    needs: str
    """The Python package without which it cannot run."""
    extra: str
    """The extra of tinygen that has the package."""

    def expect(self) -> None:
        """Raises ToolMissing where its package is not installed."""
        expect_package(self.needs, self.title, self.extra)

    def run(self, what: str, arguments: Sequence[object], remedy: str) -> None:
        """Run it to its end. Raises ToolMissing, and ToolFailed with its exception, or what it said last."""
        self.expect()
        command = [sys.executable, "-W", "ignore", "-m", self.module, *map(str, arguments)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise ToolFailed(f"{self.title} could not {what}:\n{_reason(done.stderr, done.returncode)}", remedy)


def _reason(said: str, code: int) -> str:
    """What made it end, of what it wrote to stderr: the last exception, or what it said last that is no log."""
    lines = said.splitlines()
    if _TRACEBACK in lines:
        last = len(lines) - lines[::-1].index(_TRACEBACK)
        lines = lines[next((at for at in range(last, len(lines)) if not lines[at].startswith(" ")), last) :]
    told = [line.strip() for line in lines if line.strip() and not _LOG_LINE.match(line)][-_LAST_LINES:]
    if code < 0:
        told.append(f"it was ended by {signal.Signals(-code).name}")
    cut = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..." for line in told]
    return "\n".join(cut) or f"it ended with {code} and without a word"


def expect_package(package: str, title: str, extra: str) -> None:
    """Raises ToolMissing where a Python package is not installed, with the extra that has it."""
    if importlib.util.find_spec(package) is None:
        raise ToolMissing(f"{title} is not installed", f"Install it: pip install 'tinygen[{extra}]'")
