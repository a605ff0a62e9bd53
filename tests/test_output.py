"""Output folders: complete or untouched, and never over what somebody else wrote."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tinygen import manifest, pipeline
from tinygen.errors import OutputError
from tinygen.output import write
from tinygen.resources import resource


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    model = pipeline.read(resource("examples", "digits", "digits.tflite"))
    return pipeline.build(model, "qemu-mps2-an386").files


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_writes_all_files_and_leaves_nothing_beside(files: Mapping[str, bytes], tmp_path: Path) -> None:
    write(files, tmp_path / "deep" / "er" / "out")
    assert tree(tmp_path / "deep" / "er" / "out") == dict(files)
    assert [p.name for p in (tmp_path / "deep" / "er").iterdir()] == ["out"]


def test_manifest_lists_every_other_file_with_its_hash(files: Mapping[str, bytes]) -> None:
    listed = json.loads(files[manifest.FILE_NAME])["files"]
    assert listed == {
        path: hashlib.sha256(data).hexdigest() for path, data in files.items() if path != manifest.FILE_NAME
    }


def test_writes_again_over_its_own_output(files: Mapping[str, bytes], tmp_path: Path) -> None:
    write(files, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write(files, tmp_path / "out")
    assert tree(tmp_path / "out") == {**files, "notes.txt": b"mine"}


def test_another_model_replaces_the_earlier_one(files: Mapping[str, bytes], tmp_path: Path) -> None:
    model = pipeline.read(resource("examples", "digits", "digits.tflite"))
    other = pipeline.build(model, "netduino2plus", "other").files
    write(files, tmp_path / "out")
    (tmp_path / "out" / "lib" / "digits" / "mine.c").write_text("mine")
    write(other, tmp_path / "out")
    assert tree(tmp_path / "out") == {**other, "lib/digits/mine.c": b"mine"}


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda out: out.write_text("x"), "is not a folder"),
        (lambda out: (out.mkdir(), (out / "thesis.tex").write_text("x")), "was not written by tinygen"),
        (lambda out: (out.mkdir(), (out / "manifest.json").write_text("{}")), "lists no files"),
        (lambda out: (out.mkdir(), (out / "manifest.json").write_text("{")), "cannot read"),
        (lambda out: (out.mkdir(), (out / "manifest.json").write_bytes(b"\xff\xfe")), "cannot read"),
    ],
)
def test_refuses_what_it_did_not_write(files: Mapping[str, bytes], tmp_path: Path, prepare: Any, expected: str) -> None:
    prepare(tmp_path / "out")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=expected):
        write(files, tmp_path / "out")
    assert tree(tmp_path) == before


def test_a_build_of_another_version_is_replaced(files: Mapping[str, bytes], tmp_path: Path) -> None:
    earlier = {"README": b"of another version", "src/main.c": b"int main(void);"}
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in earlier.items()}
    listed = json.dumps({"schema": manifest.SCHEMA - 1, "files": hashes}).encode()
    out = tmp_path / "out"
    for path, data in {**earlier, manifest.FILE_NAME: listed}.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(data)
    with pytest.raises(OutputError, match=f"schema {manifest.SCHEMA - 1}"):
        manifest.load_all(out)
    write(files, out)
    assert tree(out) == files


def test_refuses_to_overwrite_an_edited_file(files: Mapping[str, bytes], tmp_path: Path) -> None:
    write(files, tmp_path / "out")
    edited = tmp_path / "out" / "src" / "runner_model.c"
    edited.write_text("/* my own */")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=r"changed since .*src/runner_model\.c"):
        write(files, tmp_path / "out")
    assert tree(tmp_path) == before


def test_refuses_a_manifest_that_points_outside(files: Mapping[str, bytes], tmp_path: Path) -> None:
    write(files, tmp_path / "out")
    path = tmp_path / "out" / manifest.FILE_NAME
    fields = json.loads(path.read_text())
    fields["files"]["../precious"] = hashlib.sha256(b"x").hexdigest()
    path.write_text(json.dumps(fields))
    (tmp_path / "precious").write_bytes(b"x")
    with pytest.raises(OutputError, match="outside"):
        write(files, tmp_path / "out")
    assert (tmp_path / "precious").read_bytes() == b"x"


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("after", [0, 1, 7])
def test_full_disk_leaves_everything_as_it_was(
    files: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: bool, after: int
) -> None:
    if existing:
        write(files, tmp_path / "out")
    before = tree(tmp_path)
    calls = 0
    real = Path.write_bytes

    def failing(self: Path, data: Any) -> int:
        nonlocal calls
        calls += 1
        if calls > after:
            real(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises(OutputError, match="No space left") as caught:
        write(files, tmp_path / "out")
    assert "disk is full" in caught.value.remedy
    monkeypatch.undo()
    assert tree(tmp_path) == before


def test_a_really_full_disk(files: Mapping[str, bytes], tmp_path: Path) -> None:
    """A file-size limit of the operating system stands for the full disk: the program meets it as any would."""
    script = (
        "import resource, signal, sys, pathlib, pickle; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000));"
        "from tinygen.output import write; from tinygen.errors import OutputError\n"
        "try: write(pickle.load(open(sys.argv[1], 'rb')), pathlib.Path(sys.argv[2]))\n"
        "except OutputError as error: sys.exit(7)\n"
    )
    import pickle

    (tmp_path / "files").write_bytes(pickle.dumps(dict(files)))
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "files"), str(tmp_path / "disk" / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert list((tmp_path / "disk").iterdir()) == []


def killed_after(replaced: int, files: Mapping[str, bytes], out: Path) -> None:
    """Write, in a process that is killed when so many files are in their place."""
    child = os.fork()
    if child == 0:
        real, left = Path.replace, iter(range(replaced))

        def replace(self: Path, target: Path) -> Path:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, target)

        Path.replace = replace  # type: ignore[method-assign, assignment]
        write(files, out)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("replaced", [0, 1, 2, 9, -1])
def test_killed_in_the_middle_it_vouches_for_nothing_and_the_next_one_completes_it(
    files: Mapping[str, bytes], tmp_path: Path, replaced: int
) -> None:
    out = tmp_path / "out"
    write(files, out)
    (out / "mine.txt").write_text("mine")
    before = tree(out)
    other = pipeline.build(pipeline.read(resource("examples", "digits", "digits.tflite")), "microbit", "other").files
    killed_after(replaced % len(other) + (replaced < 0), other, out)
    if replaced == 0:
        assert tree(out) == before
    else:
        with pytest.raises(OutputError, match="is half written"):
            manifest.load(out)
    third = {**files, "lib/third.txt": b"a third build's"}
    fields = json.loads(third["manifest.json"])
    fields["files"]["lib/third.txt"] = hashlib.sha256(b"a third build's").hexdigest()
    third["manifest.json"] = json.dumps(fields).encode()
    write(third, out)
    assert tree(out) == {**third, "mine.txt": b"mine"}
    assert manifest.load(out).files == fields["files"]


def test_a_file_that_was_edited_since_is_kept_after_an_interrupted_build(
    files: Mapping[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write(files, out)
    other = pipeline.build(pipeline.read(resource("examples", "digits", "digits.tflite")), "microbit", "other").files
    killed_after(len(other), other, out)
    (out / "platformio.ini").write_text("; mine")
    before = tree(out)
    with pytest.raises(OutputError, match=r"were changed since tinygen wrote them: platformio\.ini"):
        write(files, out)
    assert tree(out) == before


@pytest.mark.parametrize("note", ["", "[]", '{"a": 1}', '{"../a": []}'])
def test_a_damaged_note_of_an_interrupted_build_changes_nothing(
    files: Mapping[str, bytes], tmp_path: Path, note: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".tinygen-unfinished.json").write_text(note)
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=r"cannot read|lies outside"):
        write(files, tmp_path / "out")
    assert tree(tmp_path) == before
