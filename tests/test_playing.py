"""Recordings and the microphone, played to boards: what they hear is compared, printed and drawn."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from building import BOARD, Built
from commands import Run
from emulated_bench import Bench
from sounds import write_wav
from test_listening import decoded, hearing_for, window_model

from tinygen import board, output, pipeline
from tinygen.errors import InputError, OutputError, ToolFailed, ToolMissing, UsageError
from tinygen.ir import Array
from tinygen.listening import verify as listening
from tinygen.listening.detector import DetectorWish
from tinygen.listening.heard import Heard
from tinygen.listening.hearing import Hearing
from tinygen.listening.listener import Listener
from tinygen.listening.playing import pieces, play
from tinygen.listening.recordings import recordings
from tinygen.listening.wav import read_wav
from tinygen.microphone import microphone

RATE = 8000
# Of two outputs, one is a word as soon as it is above its zero point, for two results.
WISH = DetectorWish("", ("low", "high"), (0.5, 0.01), window=2, pause_ms=30)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("hears")
    model = decoded(window_model())
    fitting = hearing_for(model, folder)
    hearing = Hearing(fitting.source, fitting.text, fitting.front_end, 2, WISH)
    build = pipeline.build(model, BOARD, "net", hearing=hearing)
    output.write(build.files, folder / "out")
    return Built(model, folder / "out", build.manifest)


@pytest.fixture
def samples(built: Built) -> Array:
    return recordings(listening.enough(built.manifest, 20), 0)["noise in bursts"]


def listener(built: Built) -> Listener:
    return listening.listener(built.out, built.manifest, built.model.graph)


class FakePeer:
    """A board that hears what the reference does, but for what is done to it."""

    def __init__(self, built: Built, change: Callable[[list[Heard]], list[Heard]] = lambda heard: heard) -> None:
        self.name = BOARD
        self.feed_stack_bytes = 100
        self.session = SimpleNamespace(
            hello=lambda: SimpleNamespace(emulated_ticks=True, emulated_cycles=False, tick_hz=None)
        )
        self.heard = 0
        self._listener = listener(built)
        self._change = change

    def listen(self, samples: Array, reset: bool) -> list[Heard]:
        if reset:
            self._listener.reset()
        self.heard += len(samples)
        return self._change(self._listener.feed(samples))


def connect(monkeypatch: pytest.MonkeyPatch, peer: object) -> None:
    monkeypatch.setattr(board, "connected", lambda *_: contextlib.nullcontext(peer))


# --- recordings -------------------------------------------------------------------------------------------------------


def test_recordings_are_played_to_the_board(
    built: Built,
    samples: Array,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    recording = write_wav(tmp_path / "speech.wav", samples)
    both = write_wav(tmp_path / "both.wav", np.stack([samples[::-1], samples], axis=1), channels=2)
    folder = tmp_path / "bench"
    folder.mkdir()
    with Bench(BOARD, folder).running(built) as peer:
        connect(monkeypatch, peer)
        code, said, _ = run("run", built.out, "--input", recording, "--json")
        shown = run("run", built.out, "--input", both, "--channel", 2)[1]
    content = built.manifest
    assert code == 0 and content.front_end is not None
    expected = listener(built).feed(samples)
    labels = ("low", "high", None)
    found = json.loads(said)
    assert [each["word"] for each in found["results"]] == [labels[x.word] for x in expected]
    first, step = content.front_end.first, content.front_end.step
    assert [each["seconds"] for each in found["results"]] == [(first + i * step) / RATE for i in range(len(expected))]
    assert found["equal"] and all(each["equal"] for each in found["results"])
    assert 0 < len(found["words"]) < len(expected)
    for each in found["words"]:
        assert f"{each['seconds']:.3f} s  {each['word']}" in shown
    assert f"{len(found['words'])} word" in shown
    assert "All are what the reference says" in shown


def other_byte(heard: list[Heard]) -> list[Heard]:
    return [Heard([bytes([each.outputs[0][0] ^ 1]) + each.outputs[0][1:]], each.word, each.after) for each in heard]


def other_word(heard: list[Heard]) -> list[Heard]:
    return [Heard(each.outputs, 0 if each.word else 1, each.after) for each in heard]


def later(heard: list[Heard]) -> list[Heard]:
    return [Heard(each.outputs, each.word, (each.after or 0) + 1) for each in heard]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (other_byte, "DIFFER"),
        (other_word, "DIFFER"),
        (later, "DIFFER"),
        (lambda heard: [], "no result"),
        (lambda heard: heard * 2, "no result"),
    ],
)
def test_what_the_reference_does_not_say_is_shown_and_fails(
    change: Callable[[list[Heard]], list[Heard]],
    expected: str,
    built: Built,
    samples: Array,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    recording = write_wav(tmp_path / "speech.wav", samples)
    connect(monkeypatch, FakePeer(built, change))
    code, said, _ = run("run", built.out, "--input", recording)
    assert (code, expected in said, "NOT what the reference says" in said) == (1, True, True)
    code, said, _ = run("run", built.out, "--input", recording, "--json")
    assert (code, json.loads(said)["equal"]) == (1, False)


def test_libraries_without_words_show_all_results(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    samples: Array,
    run: Run,
) -> None:
    model = decoded(window_model())
    build = pipeline.build(model, BOARD, "net", hearing=hearing_for(model, tmp_path))
    output.write(build.files, tmp_path / "out")
    plain = Built(model, tmp_path / "out", build.manifest)
    connect(monkeypatch, FakePeer(plain))
    picture = tmp_path / "x.png"
    recording = write_wav(tmp_path / "x.wav", samples)
    code, said, _ = run("run", plain.out, "--input", recording, "--play", picture)
    assert (code, said.count("equal"), picture.is_file()) == (0, len(listener(plain).feed(samples)), True)
    code, _, said = run("run", plain.out, "--mic")
    assert (code, "was built without a detector" in said) == (2, True)


def test_the_reference_hears_the_same_however_samples_are_cut(built: Built, samples: Array) -> None:
    whole = listener(built).feed(samples)
    assert len(list(pieces(samples, RATE))) > 1
    for length in (1, 7, 641):
        chunks = (samples[start : start + length] for start in range(0, len(samples), length))
        moments = list(play(chunks, built.manifest, listener(built), FakePeer(built)))
        assert all(moment.equal for moment in moments)
        assert [moment.seconds for moment in moments] == [(heard.after or 0) / RATE for heard in whole]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rate": 16_000}, "has 1 channel of 16 bits at 16,000 Hz; the front end takes 1 of 16 bits at 8,000 Hz"),
        ({"channels": 2}, "has 2 channels of 16 bits(.|\n)*--channel 1"),
        ({"width": 1}, "has 1 channel of 8 bits"),
        ({"width": 3}, "has 1 channel of 24 bits"),
        ({"width": 4}, "has 1 channel of 32 bits"),
    ],
)
def test_recordings_of_other_kinds(change: dict[str, int], expected: str, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "x.wav", np.zeros(12, np.int16), **change)
    with pytest.raises(InputError, match=f"{expected}(.|\n)*sox .* -r 8000"):
        read_wav(path, RATE)


def test_one_of_several_channels(tmp_path: Path) -> None:
    samples = np.arange(12, dtype=np.int16)
    path = write_wav(tmp_path / "x.wav", samples, channels=3)
    for channel in (1, 2, 3):
        assert read_wav(path, RATE, channel).tolist() == samples[channel - 1 :: 3].tolist()
    with pytest.raises(UsageError, match=r"has no channel 4(.|\n)*1 to 3"):
        read_wav(path, RATE, 4)


def test_recordings_that_were_cut_off(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "x.wav", np.arange(100, dtype=np.int16))
    whole = path.read_bytes()
    for missing in (1, 2, 150):
        path.write_bytes(whole[:-missing])
        with pytest.raises(InputError, match=f"ends after {(200 - missing) // 2} of the 100 samples that it announces"):
            read_wav(path, RATE)
    # Who writes into a pipe cannot go back to say how much there is.
    unknown = struct.pack("<I", 0xFFFF_FFFF)
    path.write_bytes(whole[:4] + unknown + whole[8:40] + unknown + whole[44:])
    assert read_wav(path, RATE).tolist() == list(range(100))


def test_recordings_of_floats(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "x.wav", np.zeros(100, np.float32), width=4)
    data = bytearray(path.read_bytes())
    data[20] = 3
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"its samples are floats(.|\n)*sox"):
        read_wav(path, RATE)


def test_what_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    with pytest.raises(InputError, match="there is no file"):
        read_wav(path, RATE)
    for data in (b"", b"RIFF", b"no wave" * 100):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"cannot read .*x\.wav"):
            read_wav(path, RATE)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "Give --input FILE, or --mic"),
        (("--mic", "--input", "x.wav"), "Give --input FILE, or --mic"),
        (("--mic", "--channel", "1"), "--channel is for recordings"),
        (("--input", "x.npz", "--play", "x.png"), "--play is for recordings"),
        (("--input", "x y.mp3"), "sox 'x y.mp3' -r 8000 -c 1 -b 16 converted.wav"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: tuple[str, ...],
    expected: str,
    built: Built,
    run: Run,
) -> None:
    code, _, said = run("run", built.out, *arguments)
    assert (code, expected in said) == (2, True)


# --- the microphone ---------------------------------------------------------------------------------------------------


class PortAudioError(Exception):
    pass


def fake_sounddevice(
    samples: Array, on_end: Callable[[], object] = lambda: None, rates: tuple[int, ...] = (RATE,)
) -> Any:
    """sounddevice with a microphone that hears these samples, and then nothing."""
    module = ModuleType("sounddevice")
    opened: list[str] = []

    class RawInputStream:
        def __init__(self, samplerate: int, blocksize: int, channels: int, dtype: str, callback: Any) -> None:
            if samplerate != RATE:
                raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")
            assert (channels, dtype) == (1, "int16")
            self._thread = threading.Thread(target=self._hear, args=(blocksize, callback))

        def _hear(self, blocksize: int, callback: Any) -> None:
            for start in range(0, len(samples), blocksize):
                block = memoryview(bytearray(samples[start : start + blocksize].tobytes()))
                callback(block, blocksize, None, 0)
                block[:] = bytes(len(block))  # it is the device's again
            on_end()

        def __enter__(self) -> RawInputStream:
            opened.append("opened")
            self._thread.start()
            return self

        def __exit__(self, *_: object) -> None:
            self._thread.join()
            opened.append("closed")

    vars(module).update(RawInputStream=RawInputStream, PortAudioError=PortAudioError, opened=opened)
    return module


def test_words_from_the_microphone_are_printed_when_they_are_heard(
    built: Built,
    samples: Array,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    module = fake_sounddevice(samples)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    connect(monkeypatch, FakePeer(built))
    seconds = (len(samples) // 2) / RATE
    picture = tmp_path / "heard.png"
    code, said, asked = run("run", built.out, "--mic", seconds, "--play", picture)
    expected = [heard for heard in listener(built).feed(samples[: len(samples) // 2]) if heard.word >= 0]
    assert (code, module.opened, picture.is_file()) == (0, ["opened", "closed"], True)
    assert expected and said.count(" s  high") + said.count(" s  low") == len(expected)
    for heard in expected:
        assert f"{(heard.after or 0) / RATE:8.3f} s  {('low', 'high')[heard.word]}" in said
    assert "Listening for low, high" in asked
    code, said, _ = run("run", built.out, "--mic", seconds, "--json")
    assert [word["seconds"] for word in json.loads(said)["words"]] == [(x.after or 0) / RATE for x in expected]


def test_an_interrupt_ends_the_microphone_cleanly(
    built: Built,
    samples: Array,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    peer = FakePeer(built)

    def press() -> None:
        while peer.heard < len(samples):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    module = fake_sounddevice(samples, press)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    connect(monkeypatch, peer)
    before = signal.getsignal(signal.SIGINT)
    code, said, asked = run("run", built.out, "--mic", 10_000)
    assert (code, module.opened) == (0, ["opened", "closed"])
    assert "what the reference says" in said and "or until ctrl-C" in asked
    assert signal.getsignal(signal.SIGINT) is before


def test_microphones_that_are_not_there(monkeypatch: pytest.MonkeyPatch, samples: Array) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ToolMissing, match=r"pip install 'tinygen\[mic\]'"), microphone(RATE, None):
        pass
    module = fake_sounddevice(samples)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    said = "no microphone that gives one channel of 16 bits at 48,000 Hz"
    with pytest.raises(ToolFailed, match=said), microphone(48_000, None):
        pass
    monkeypatch.setattr("tinygen.microphone._PATIENCE_S", 0.01)
    with pytest.raises(ToolFailed, match="nothing came from the microphone"), microphone(RATE, None) as heard:
        list(heard)
    assert module.opened == ["opened", "closed"]


def test_boards_that_are_too_slow_for_the_microphone_are_told_of(
    built: Built, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    peer = FakePeer(built)
    all_there = threading.Event()
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(np.zeros(RATE // 2, np.int16)))
    connect(monkeypatch, peer)
    code, _, asked = run("run", built.out, "--mic", 0.5)
    assert (code, "behind" in asked) == (0, False)
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(np.zeros(2 * RATE, np.int16), all_there.set))
    listen = peer.listen
    monkeypatch.setattr(peer, "listen", lambda *heard: all_there.wait() and listen(*heard))
    code, _, asked = run("run", built.out, "--mic", 2)
    assert (code, f"{BOARD} was up to" in asked, "s behind" in asked) == (0, True, True)


def test_without_portaudio_its_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(ToolMissing, match=r"PortAudio library not found(.|\n)*libportaudio2"), microphone(RATE, 1):
        pass


# --- the picture ------------------------------------------------------------------------------------------------------


def chunks_of(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Of a PNG file, whose checksums are looked at."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at = 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(kind + data),)
        yield kind, data
        at += 12 + length


def test_pictures_replace_only_pictures_that_nobody_changed(
    built: Built,
    samples: Array,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    recording, picture = write_wav(tmp_path / "speech.wav", samples), tmp_path / "speech.png"
    peer = FakePeer(built)
    connect(monkeypatch, peer)
    arguments = ("run", built.out, "--input", recording, "--play", picture)
    code, said, _ = run(*arguments)
    assert (code, f"Drawn in {picture}" in said) == (0, True)
    data = picture.read_bytes()
    kinds = [kind for kind, _ in chunks_of(data)]
    assert (kinds[0], kinds[-1], b"tEXt" in kinds) == (b"IHDR", b"IEND", True)
    assert run(*arguments)[0] == 0
    assert picture.read_bytes() == data
    for foreign in (data[:100] + b"x" + data[101:], data + b"x", b"", data.replace(b"tEXttinygen", b"tEXtsomeone")):
        picture.write_bytes(foreign)
        with monkeypatch.context() as patch:
            patch.setattr(peer, "listen", None)  # it is noticed before anything is played
            code, _, said = run(*arguments)
        assert (code, "was not written by tinygen, or was changed since" in said) == (1, True)
        assert picture.read_bytes() == foreign


def test_pictures_need_their_extra(
    built: Built,
    tmp_path: Path,
    samples: Array,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    recording = write_wav(tmp_path / "speech.wav", samples)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, said = run("run", built.out, "--input", recording, "--play", tmp_path / "x.png")
    assert (code, "pip install 'tinygen[plot]'" in said) == (1, True)


def test_pictures_show_words_at_their_times(built: Built, samples: Array) -> None:
    from matplotlib.figure import Figure

    from tinygen.listening.playing import Moment
    from tinygen.report import heard_picture

    moments = list(play([samples], built.manifest, listener(built), FakePeer(built)))
    results = [moment.board for moment in moments if moment.board is not None]
    expected = [heard.seconds for heard in results if heard.word is not None]
    assert expected and isinstance(moments[0], Moment)
    drawn: list[Figure] = []
    keep = Figure.savefig

    def kept(figure: Figure, *args: Any, **options: Any) -> None:
        drawn.append(figure)
        keep(figure, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", kept)
        front_end = listening.load(built.out / "model" / "net_front_end.toml")
        heard_picture.heard_picture(samples, front_end, results, built.manifest, "a $ title")
    (figure,) = drawn
    wave, _, values = figure.axes
    assert [text.xy[0] for text in wave.texts] == expected
    columns = {line.get_label(): line for line in values.get_lines() if line.get_label() in ("low", "high")}
    for index, label in enumerate(("low", "high")):
        if label in columns:
            real = [next(iter(heard.result.real.values()))[index] for heard in results]
            assert list(columns[label].get_ydata()) == real
            assert list(columns[label].get_xdata()) == [heard.seconds for heard in results]
    assert columns


def test_pictures_of_nothing(built: Built) -> None:
    from tinygen.report.heard_picture import heard_picture

    front_end = listening.load(built.out / "model" / "net_front_end.toml")
    for length in (0, 1, 100_000):
        assert heard_picture(np.zeros(length, np.int16), front_end, [], built.manifest, "nothing").endswith(b"B`\x82")


def test_pictures_are_not_put_over_folders(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        output.expect_replaceable(tmp_path)
