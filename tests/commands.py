"""The command line, called within the test's process, so that what it uses can be replaced."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tinygen import cli

Run = Callable[..., tuple[int, str, str]]
"""From arguments to the exit code, the standard output and the standard error: the fixture `run`."""


def caller(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tinygen", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return called
