"""The plug is pulled in the middle: boards come back and go on, or it is said, and nothing is left running."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import toy_model
from fakes import IMPATIENT, FakeBoard, LossyLine

from tinygen import manifest, output, pipeline, reference, samples, verify
from tinygen.board import BoardPeer
from tinygen.board_line import BoardLine
from tinygen.errors import LinkLost, NoAnswer, OutOfOrder, OutputError, WrongModel
from tinygen.link import Link
from tinygen.peer import Answer, RemotePeer
from tinygen.resources import resource
from tinygen.resume import Resume, about

TOY = toy_model.manifest("fake")
INPUTS = [toy_model.example(seed) for seed in range(4)]


class Desk:
    """A board that loses power after so many frames, each time; the next opening of its port finds it started anew."""

    def __init__(self, frames: int, boards: int = 100, sha256: str = toy_model.SHA256) -> None:
        self.boards: list[FakeBoard] = []
        self.said: list[str] = []
        self._frames = frames
        self._left = boards
        self._sha256 = sha256
        self.line = BoardLine(lambda: "fake", self.open, TOY, 0.0)

    def open(self, url: str) -> Link:
        if len(self.boards) == self._left:
            raise NoAnswer("cannot open the serial port fake", "Is it plugged in?")
        sha256 = self._sha256 if self.boards else toy_model.SHA256
        self.boards.append(FakeBoard(sha256))
        plan = itertools.chain(["none"] * self._frames, ["unplug"])
        return Link(LossyLine(self.boards[-1], plan), "fake", IMPATIENT)

    def peer(self, seconds: float = 5.0) -> BoardPeer:
        return BoardPeer(TOY, self.line.open(), lambda lost: self.line.again(lost, seconds, self.said.append))


def expected(calls: int) -> tuple[list[bytes], list[int]]:
    data = INPUTS[calls % len(INPUTS)]
    return [toy_model.layers(data, calls)[1]], toy_model.layer_crcs(data, calls)


@pytest.mark.parametrize("frames", range(45, 120, 5))
def test_wherever_it_is_unplugged_a_board_goes_on_in_the_state_that_it_had(frames: int) -> None:
    desk = Desk(frames)
    peer = desk.peer()
    for calls in range(6):
        answer = peer.run([INPUTS[calls % len(INPUTS)]], reset=calls == 0)
        assert (list(answer.outputs), list(answer.layer_crcs)) == expected(calls)
        assert answer.layer(0) == toy_model.layers(INPUTS[calls % len(INPUTS)], calls)[0]
        assert peer.state == bytes([calls + 1])
    assert len(desk.boards) > 2
    assert all(board.closed for board in desk.boards[:-1])
    assert "waiting up to 5 s" in desk.said[0]


def test_a_board_that_restarts_by_itself_goes_on() -> None:
    desk = Desk(10_000)
    peer = desk.peer()
    peer.run([INPUTS[0]], reset=True)
    (board,) = desk.boards
    run_layer = peer.session.run_layer

    def restarted(layer: int):
        board.__init__()
        return run_layer(layer)

    peer.session.run_layer = restarted  # type: ignore[method-assign]
    answer = peer.run([INPUTS[1]], reset=False)
    assert (list(answer.outputs), list(answer.layer_crcs)) == expected(1)
    assert len(desk.boards) == 2


def test_a_board_that_does_not_come_back_is_said() -> None:
    peer = Desk(60, boards=1).peer(0.5)
    with pytest.raises(LinkLost, match=r"went away during .*; it did not come back in 0\.5 s: cannot open"):
        for _ in range(10):
            peer.run([INPUTS[0]], reset=True)


def test_nobody_is_waited_for_when_nobody_can_come() -> None:
    desk = Desk(60)
    peer = desk.peer(0.0)
    with pytest.raises(LinkLost, match="went away"):
        for _ in range(10):
            peer.run([INPUTS[0]], reset=True)
    assert desk.said == []


def test_another_board_in_its_place_is_not_believed() -> None:
    peer = Desk(60, sha256="ab" * 32).peer()
    with pytest.raises(WrongModel):
        for _ in range(10):
            peer.run([INPUTS[0]], reset=True)


def test_a_board_that_goes_away_with_each_sample_is_given_up() -> None:
    desk = Desk(20)
    with pytest.raises((LinkLost, OutOfOrder)):
        desk.peer().run([INPUTS[0]], reset=True)
    assert 3 < len(desk.boards) < 10


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pipeline.Model, manifest.Manifest]:
    out = tmp_path_factory.mktemp("unplug") / "out"
    model = pipeline.read(resource("examples", "digits", "digits.tflite"))
    output.write(pipeline.build(model, "qemu-mps2-an386", "digits").files, out)
    return out, model, manifest.load(out)


class Counted:
    """A remote peer that answers with the reference, and is lost at a certain sample; its state counts samples."""

    profile = None
    stack_bytes: int | None = 40

    def __init__(self, model: pipeline.Model, content: manifest.Manifest, name: str, lost_at: int | None) -> None:
        self.name = name
        self.state = b"\0"
        self.asked: list[Sequence[bytes]] = []
        self._model = model
        self._content = content
        self._lost_at = lost_at

    def restore(self, state: bytes) -> None:
        self.state = state

    def run(self, inputs: Sequence[bytes], reset: bool) -> Answer:
        if self.state[0] == self._lost_at:
            raise LinkLost("unplugged")
        self.asked.append(inputs)
        self.state = bytes([self.state[0] + 1])
        arrays = [
            np.frombuffer(data, port.dtype).reshape(port.shape)
            for data, port in zip(inputs, self._content.inputs, strict=True)
        ]
        data = [array.tobytes() for array in reference.outputs(self._model.graph, arrays)]
        wrong = self.state[0] == 2
        return Answer(
            [bytes([data[0][0] ^ wrong]) + data[0][1:]], [None] * len(self._content.layers), lambda layer: b""
        )


def test_what_was_verified_is_not_verified_again(
    digits: tuple[Path, pipeline.Model, manifest.Manifest], tmp_path: Path
) -> None:
    out, model, content = digits
    chosen = samples.generated(content.inputs, 7, 0)
    file = tmp_path / "resume.json"

    def run(*peers: Counted) -> list[verify.PeerReport]:
        kept = Resume(file, about(out / "manifest.json", chosen))
        return verify.verify(model, content, chosen, [contextlib.nullcontext(each) for each in peers], resume=kept)

    whole = verify.verify(model, content, chosen, [contextlib.nullcontext(Counted(model, content, "one", None))])
    first, second = Counted(model, content, "one", 4), Counted(model, content, "two", None)
    assert isinstance(first, RemotePeer)
    with pytest.raises(LinkLost):
        run(first, second)
    assert Resume(file, about(out / "manifest.json", chosen)).done() == 4
    again, other = Counted(model, content, "one", None), Counted(model, content, "two", None)
    reports = run(again, other)
    assert reports[0] == whole[0]
    assert reports[0].differing == 1 and reports[0].differences[0].sample == "all maximum"
    assert reports[1].samples == 7
    assert [*first.asked, *again.asked] == [sample.bytes for sample in chosen]
    assert len(again.asked) == 3 and 3 <= len(other.asked) <= 4  # that was asked while the other one was lost
    idle = Counted(model, content, "one", None), Counted(model, content, "two", None)
    assert run(*idle)[0] == whole[0]
    assert idle[0].asked == idle[1].asked == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "x"}', '{"format": "tinygen verify, 1", "about": "", "peers": {"a": 1}}']
)
def test_a_file_of_somebody_else_is_left_alone(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(OutputError, match="is not what an interrupted"):
        Resume(file, "")
    assert file.read_text() == text


def test_other_inputs_are_not_resumed(digits: tuple[Path, pipeline.Model, manifest.Manifest], tmp_path: Path) -> None:
    out, model, content = digits
    file = tmp_path / "resume.json"
    for seed in (0, 1):
        chosen = samples.generated(content.inputs, 3, seed)
        described = about(out / "manifest.json", chosen)
        if seed:
            with pytest.raises(OutputError, match="other inputs"):
                Resume(file, described)
        else:
            peer = contextlib.nullcontext(Counted(model, content, "one", None))
            verify.verify(model, content, chosen, [peer], resume=Resume(file, described))


def emulators(out: Path) -> list[int]:
    """Running emulators of a folder's firmware."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().decode(errors="replace")
            if "qemu-system" in line.partition("\0")[0] and str(out) in line:
                found.append(int(path.parent.name))
    return found


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tinygen", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def pull_the_plug(out: Path, when: float) -> None:
    """Kill the emulator, so long after it came up."""
    deadline = time.monotonic() + 300
    while not (found := emulators(out)) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(when)
    for each in found:
        os.kill(each, signal.SIGKILL)


def test_an_emulator_that_dies_is_an_error_and_verify_goes_on_where_it_was(
    digits: tuple[Path, pipeline.Model, manifest.Manifest], tmp_path: Path
) -> None:
    out = digits[0]
    file = tmp_path / "resume.json"
    asked = ("verify", out, "--on", "qemu-mps2-an386", "--samples", 60, "--resume", file)
    with started(*asked) as process:
        deadline = time.monotonic() + 300
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        pull_the_plug(out, 0.0)
        said = process.communicate(timeout=240)[1]
    assert process.returncode == 1, said
    assert f"of 60 samples were done, and are written down in {file}" in said
    assert "Traceback" not in said
    assert emulators(out) == []
    done = json.loads(file.read_text())["peers"]["qemu-mps2-an386"]["tally"]["samples"]
    assert 0 < done < 60
    with started(*asked, "--json") as process:
        answer = json.loads(process.communicate(timeout=240)[0])
    assert process.returncode == 0
    assert [peer["samples"] for peer in answer["peers"] if peer["peer"] == "qemu-mps2-an386"] == [60]
    assert emulators(out) == []

    with started("bench", out, "--repeat", 100_000) as process:
        pull_the_plug(out, 1.5)
        said = process.communicate(timeout=240)[1]
    assert process.returncode == 1 and "tinygen flash" in said and "Traceback" not in said
    assert emulators(out) == []

    subprocess.run([sys.executable, "-m", "tinygen", "flash", str(out)], check=True, capture_output=True)
    np.save(tmp_path / "x.npy", np.zeros((20_000, 8, 8, 1), np.int8))
    with started("run", out, "--input", tmp_path / "x.npy") as process:
        pull_the_plug(out, 2.5)
        said = process.communicate(timeout=240)[1]
    assert process.returncode == 1 and "tinygen flash" in said and "Traceback" not in said


def of_the_project(out: Path) -> list[str]:
    """Programs that run with something of the folder: PlatformIO, compilers, emulators."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().decode(errors="replace").replace("\0", " ")
            if str(out) in line:
                found.append(line)
    return found


def test_a_flash_that_is_ended_leaves_nothing_running_and_the_next_one_works(tmp_path: Path) -> None:
    out = tmp_path / "toy"
    toy_model.write_project(out, "qemu-mps2-an386")
    for how in (signal.SIGTERM, signal.SIGKILL):
        with started("flash", out) as process:
            deadline = time.monotonic() + 300
            while not list(out.glob(".pio/build/*/**/*.o")) and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(how)
            said = process.communicate(timeout=300)[1]
        assert process.returncode == (130 if how == signal.SIGTERM else -how) and "Traceback" not in said
        while of_the_project(out) and time.monotonic() < deadline:  # who is killed ends nothing itself
            time.sleep(0.01)
        assert of_the_project(out) == []
        shutil.rmtree(out / ".pio" / "build")
    try:
        done = subprocess.run([sys.executable, "-m", "tinygen", "flash", str(out)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(emulators(out)) == 1
    finally:
        subprocess.run([sys.executable, "-m", "tinygen", "flash", str(out), "--stop"], check=True, capture_output=True)
    assert emulators(out) == []


def test_boards_of_one_kind_work_side_by_side(digits: tuple[Path, pipeline.Model, manifest.Manifest]) -> None:
    board = "qemu-mps2-an386"
    boards = ["--on", board, "--on", board, "--on", "netduino2plus"]
    with started("verify", digits[0], *boards, "--samples", 4, "--json") as process:
        out, said = process.communicate(timeout=300)
    assert process.returncode == 0, out + said
    found = {peer["peer"]: peer for peer in json.loads(out)["peers"]}
    assert {board, f"{board} (2)", "netduino2plus"} <= found.keys()
    assert all(peer["equal"] and peer["samples"] == 4 for peer in found.values())
    assert emulators(digits[0]) == []
