"""Drafts beside what is written: a living program's are left alone, a dead one's are removed by the next."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tinygen import staging

Beside = Callable[[Path], AbstractContextManager[Path]]

HOLD = """
import sys, time
from pathlib import Path
from tinygen import staging
with getattr(staging, sys.argv[1])(Path(sys.argv[2])) as draft:
    (draft / "part" if draft.is_dir() else draft).write_text("half")
    print(draft, flush=True)
    time.sleep(100)
"""


@pytest.mark.parametrize("beside", [staging.folder_beside, staging.file_beside])
def test_what_a_killed_program_left_is_removed_and_nothing_else(beside: Beside, tmp_path: Path) -> None:
    place = tmp_path / "out"
    kept = [tmp_path / name for name in (".out.mine", ".out2.tinygen-abcdefgh", "out.tinygen-abcdefgh")]
    for each in kept:
        each.mkdir()
    link = tmp_path / ".out.tinygen-link"
    link.symlink_to(kept[0])
    command = [sys.executable, "-c", HOLD, beside.__name__, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            held = Path(other.stdout.readline().strip())
            with beside(place):
                assert held.exists()
        finally:
            other.kill()
    assert held.parent == tmp_path and held.exists()
    with beside(place) as draft:
        assert draft.exists() and not held.exists()
    assert set(tmp_path.iterdir()) == {*kept, link}


@pytest.mark.parametrize("beside", [staging.folder_beside, staging.file_beside])
@pytest.mark.parametrize("before", ["_open", "_lock"])
def test_a_draft_that_was_swept_before_it_was_locked_is_made_again(
    beside: Beside, before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    does, swept = getattr(staging, before), []

    def late(*args: Any, **kwargs: Any) -> object:
        if not swept:
            swept.extend(tmp_path.iterdir())
            staging._remove(swept[0])
        return does(*args, **kwargs)

    monkeypatch.setattr(staging, before, late)
    with beside(tmp_path / "out") as draft:
        assert draft.exists() and len(swept) == 1
    assert list(tmp_path.iterdir()) == []


def test_temporary_ones_are_buried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging.tempfile, "tempdir", str(tmp_path))
    left, other, buried = tmp_path / "tinygen-board-abcdefgh", tmp_path / "tinygen-abcdefgh", []
    left.mkdir()
    other.mkdir()
    with staging.temporary("board", lambda path: buried.append((path, path.exists()))) as living:
        assert buried == [(left, True)] and not left.exists()
        with staging.temporary("board", buried.append):
            assert living.is_dir()
    assert len(buried) == 1 and list(tmp_path.iterdir()) == [other]


def test_what_belongs_to_others_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / ".out.tinygen-abcdefgh"
    left.mkdir()
    monkeypatch.setattr(staging.os, "getuid", lambda: left.stat().st_uid + 1)
    with staging.folder_beside(tmp_path / "out"):
        assert left.is_dir()


def test_without_locks_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "fcntl", None)
    left = tmp_path / ".out.tinygen-abcdefgh"
    left.mkdir()
    with staging.folder_beside(tmp_path / "out") as draft:
        assert draft.is_dir()
    assert list(tmp_path.iterdir()) == [left]
