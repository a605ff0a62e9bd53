"""The frameworks' converters as programs of their own: they print, they abort, and they take threads with them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.errors import ToolFailed, ToolMissing

_LAST_LINES = 3


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
        """Run it to its end. Raises ToolMissing, and ToolFailed with what it said last."""
        self.expect()
        command = [sys.executable, "-m", self.module, *map(str, arguments)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if done.returncode:
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()][-_LAST_LINES:]
            reason = "\n".join(said) or f"it ended with {done.returncode} and without a word"
            raise ToolFailed(f"{self.title} could not {what}:\n{reason}", remedy)


def expect_package(package: str, title: str, extra: str) -> None:
    """Raises ToolMissing where a Python package is not installed, with the extra that has it."""
    if importlib.util.find_spec(package) is None:
        raise ToolMissing(f"{title} is not installed", f"Install it: pip install 'tinygen[{extra}]'")
