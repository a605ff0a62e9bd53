"""What the frameworks' converters say when they fail, and what of it people are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygen.errors import ToolFailed
from tinygen.quantize.programs import Program

LOG = "I0000 00:00:1795354890.211530 13741 port.cc:153] on"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ValueError(f'no {sys.argv[1]} here')", "ValueError: no layers here"),
        (f"say('failed')\nsay('{LOG}')\nsys.exit(1)", "failed"),
        (f"say('{LOG}')\nsys.exit(1)", "it ended with 1 and without a word"),
        (f"say('{LOG}')\nos.kill(os.getpid(), signal.SIGSEGV)", "it was ended by SIGSEGV"),
        ("try:\n 1 / 0\nexcept ZeroDivisionError:\n raise TypeError('one\\ntwo')", "TypeError: one\ntwo"),
        ("sys.exit('x' * 1000)", "x" * 300 + " ..."),
    ],
)
def test_the_cause_is_told_and_no_log(code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = "import os, signal, sys\ndef say(text): print(text, file=sys.stderr, flush=True)\nprint('noise')\n"
    (tmp_path / "converter.py").write_text(head + code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = Program("converter", "The converter", needs="numpy", extra="none")
    with pytest.raises(ToolFailed) as caught:
        program.run("quantise it", ["layers"], "")
    assert caught.value.message == f"The converter could not quantise it:\n{said}"
