"""The host's side of the link against a board in Python: every fault is mended or reported, and never believed."""

import itertools
import struct

import pytest
import toy_model
from fakes import FAULTS, IMPATIENT, FakeBoard, LossyLine, SlowLine, StartingBoard
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.errors import BoardFault, InputError, LinkError, LinkLost, NoAnswer, WrongModel
from tinygen.frame import Broken, Decoder, Frame, encode
from tinygen.greeting import greet
from tinygen.link import Link, Patience, open_link
from tinygen.session import Session

ONE_RUN = 20  # more frames than any single request of these tests, fewer than a whole run


def session(board, plan=()):
    return Session(Link(LossyLine(board, plan), "fake port", IMPATIENT))


def run_everything(talk, data):
    """All results of a conversation, to compare with expected()."""
    talk.check_model(toy_model.manifest("none"))
    talk.reset()
    talk.load_inputs([data])
    talk.invoke()
    outputs = talk.outputs()
    talk.load_inputs([data])
    crcs = [run.crc32 for run in talk.trace()]
    return outputs, crcs, talk.read_layer()


def expected(data):
    return [toy_model.layers(data)[1]], toy_model.layer_crcs(data, 1), toy_model.layers(data, 1)[1]


def test_a_clean_line_carries_everything_once():
    board = FakeBoard()
    data = toy_model.example()
    assert run_everything(session(board), data) == expected(data)
    assert board.executed.count(4) == 1


def test_hello_says_what_is_on_the_board():
    hello = session(FakeBoard()).hello()
    assert (hello.name, hello.sha256, hello.layers) == ("toy", toy_model.SHA256, 2)
    assert (hello.input_bytes, hello.output_bytes) == ((toy_model.BYTES,), (toy_model.BYTES,))
    assert hello.emulated_ticks and hello.tick_hz is None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("phase", range(3))
def test_a_fault_in_every_third_frame_is_mended(fault, phase):
    plan = itertools.cycle([fault if index == phase else "none" for index in range(3)])
    board = FakeBoard()
    data = toy_model.example(2)
    assert run_everything(session(board, plan), data) == expected(data)
    assert board.executed.count(4) == 1


@settings(max_examples=60)
@given(plan=st.lists(st.sampled_from((*FAULTS, "none")), max_size=60), seed=st.integers(0, 255))
def test_data_arrive_intact_or_an_error_is_raised(plan, seed):
    data = toy_model.example(seed)
    board = FakeBoard()
    try:
        result = run_everything(session(board, plan), data)
    except LinkError:
        return
    assert result == expected(data)
    assert board.executed.count(4) == 1


@settings(max_examples=40)
@given(faults=st.lists(st.sampled_from(FAULTS), max_size=5), start=st.integers(0, ONE_RUN))
def test_up_to_five_faults_in_a_row_are_always_mended(faults, start):
    data = toy_model.example(start)
    assert run_everything(session(FakeBoard(), ["none"] * start + faults), data) == expected(data)


def test_text_that_the_board_prints_at_start_is_skipped():
    board = FakeBoard()
    board.say(b"ets Jun  8 2016 00:22:57\r\nrst:0x1 (POWERON)\0\xff\xfe")
    assert session(board).hello().name == "toy"


@pytest.mark.parametrize("says", [b"", b"text without end", b"\xff\0\x13\0\0"], ids=["nothing", "text", "garbage"])
def test_a_board_that_starts_when_its_port_is_opened_is_waited_for(says):
    # Garbage for longer than the attempts that damage gets elsewhere.
    assert IMPATIENT.attempts * IMPATIENT.damaged < 0.4 < IMPATIENT.boot
    board = FakeBoard()
    data = toy_model.example(4)
    talk = Session(Link(StartingBoard(board, 0.4, says), "fake port", IMPATIENT))
    assert run_everything(talk, data) == expected(data)
    assert board.executed.count(4) == 1


def test_garbage_without_end_is_reported():
    with pytest.raises(LinkError, match="damaged bytes"):
        Session(Link(StartingBoard(FakeBoard(), 60.0), "fake port", IMPATIENT)).hello()


@pytest.mark.parametrize("baud", [9_600, 57_600])
def test_a_slow_line_is_not_asked_twice(baud):
    line = SlowLine(FakeBoard(), baud)
    ready = Patience.at(baud)
    assert ready.repeat > 2 * 256 * 10 / baud
    data = toy_model.example(5)
    talk = Session(Link(line, "fake port", ready))
    talk.load_inputs([data])
    talk.invoke()
    assert talk.outputs() == [toy_model.layers(data)[1]]
    chunks = -(-toy_model.BYTES // 235) + -(-toy_model.BYTES // 240)
    assert line.sent == 1 + 2 + chunks + 1  # the greeting, two sizes, data, the invoke


class Ports:
    """What a port is called, and what opening it brings, one time after the other."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.opened = []

    def find(self):
        if self.answers[0] == "gone":
            self.answers.pop(0)
            raise NoAnswer("no serial port of the board is plugged in")
        return f"/dev/fake{len(self.answers)}"

    def open(self, name):
        self.opened.append(name)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "locked":
            raise NoAnswer("cannot open the serial port: Permission denied")
        return Link(LossyLine(FakeBoard(**answer[1]), answer[0]), name, IMPATIENT)


WORKS = ((), {})


@pytest.mark.parametrize(
    "answers",
    [
        (WORKS,),
        ("gone", "gone", WORKS),
        ("locked", WORKS),
        ((["unplug"], {}), "gone", WORKS),
        ((["none", "none", "none", "unplug"], {}), "locked", WORKS),
        (([*["silent"] * 200], {}), WORKS),
    ],
    ids=["at once", "comes back", "permissions come later", "goes while opened", "goes while greeted", "old name"],
)
def test_a_port_that_goes_and_comes_back_is_greeted(answers):
    ports = Ports(*answers)
    link, talk = greet(ports.find, ports.open, toy_model.manifest("none"), 5.0)
    with link:
        talk.load_inputs([toy_model.example()])
        talk.invoke()
        assert talk.outputs() == [toy_model.layers(toy_model.example())[1]]
    assert len(set(ports.opened)) == len(ports.opened)


def test_a_port_that_stays_away_is_reported():
    with pytest.raises(NoAnswer, match="plugged in"):
        greet(Ports(*["gone"] * 9).find, open_link, toy_model.manifest("none"), 0.3)


def test_a_port_that_never_restarts_is_tried_once():
    ports = Ports("locked", WORKS)
    with pytest.raises(NoAnswer, match="Permission denied"):
        greet(ports.find, ports.open, toy_model.manifest("none"), 0.0)
    assert len(ports.opened) == 1


def test_another_model_is_not_waited_for():
    ports = Ports(((), {"sha256": "ab" * 32, "name": "other"}), WORKS)
    with pytest.raises(WrongModel):
        greet(ports.find, ports.open, toy_model.manifest("none"), 5.0)


def test_a_silent_board_is_reported_with_port_and_time():
    reported = r"fake port: no answer to the first greeting in 1\.\d s, nothing came"
    with pytest.raises(NoAnswer, match=reported) as caught:
        session(FakeBoard(), itertools.repeat("silent")).hello()
    assert "tinygen flash" in caught.value.remedy


def test_a_board_that_falls_silent_while_the_model_runs_is_reported():
    board = FakeBoard()
    talk = session(board, itertools.chain(["none"] * 40, itertools.repeat("silent")))
    talk.hello()
    with pytest.raises(NoAnswer):
        for _ in range(20):
            talk.load_inputs([toy_model.example()])
            talk.invoke()


def test_damage_without_end_is_reported():
    talk = session(FakeBoard(), itertools.chain(["none"] * 6, itertools.repeat("corrupt")))
    talk.hello()
    with pytest.raises(LinkError, match="12 times in a row on damaged bytes"):
        talk.stack()


@pytest.mark.parametrize("frames", range(0, 24, 3))
def test_an_unplugged_board_is_reported(frames):
    talk = session(FakeBoard(), ["none"] * frames + ["unplug"])
    with pytest.raises(LinkLost, match=r"fake port: the port went away during .*device disconnected"):
        run_everything(talk, toy_model.example())


def test_another_model_is_reported_with_both_names_and_hashes():
    with pytest.raises(WrongModel) as caught:
        session(FakeBoard(sha256="ab" * 32, name="other")).check_model(toy_model.manifest("none"))
    for part in ("toy", toy_model.SHA256[:12], "other", "abababababab", "fake port"):
        assert part in caught.value.message


def test_the_same_name_with_another_hash_is_another_model():
    with pytest.raises(WrongModel):
        session(FakeBoard(sha256="ab" * 32)).check_model(toy_model.manifest("none"))


def test_another_protocol_version_is_reported():
    with pytest.raises(WrongModel, match="the board speaks version 9 of the protocol, this tinygen version 1"):
        session(FakeBoard(version=9)).hello()


def test_a_processor_fault_is_reported_even_when_its_frame_is_lost():
    board = FakeBoard()
    talk = session(board, ["none"] * 6 + ["none", "drop"])
    talk.hello()
    board.fault = struct.pack("<IIII", 3, 0x1234, 0x10000, 0)
    with pytest.raises(BoardFault, match=r"HardFault .*pc 0x00001234"):
        talk.stack()


def test_a_refused_request_is_reported_in_words():
    with pytest.raises(BoardFault, match="out of order: the board may have restarted"):
        session(FakeBoard()).invoke()


def test_inputs_of_the_wrong_size_never_reach_the_board():
    board = FakeBoard()
    with pytest.raises(InputError, match="inputs of 600 bytes, not of 599 bytes"):
        session(board).load_inputs([bytes(599)])
    assert 3 not in board.executed


def test_progress_counts_up_to_the_total():
    seen = []
    talk = Session(Link(FakeBoard(), "fake port", IMPATIENT), lambda done, total: seen.append((done, total)))
    talk.load_inputs([toy_model.example()])
    assert seen[-1] == (toy_model.BYTES, toy_model.BYTES)
    assert seen == sorted(seen)


def test_a_port_that_does_not_exist_is_reported():
    with pytest.raises(NoAnswer, match="cannot open the serial port /dev/no-such-port"):
        open_link("/dev/no-such-port", 115200)


def test_an_unknown_url_is_reported():
    with pytest.raises(NoAnswer, match="cannot open"):
        open_link("nonsense://x", 115200)


def test_the_link_closes_its_port():
    board = FakeBoard()
    with Link(board, "fake port"):
        pass
    assert board.closed


@given(type=st.integers(0, 255), seq=st.integers(0, 255), payload=st.binary(max_size=600), cut=st.integers(1, 50))
def test_frames_survive_any_cutting(type, seq, payload, cut):
    data = encode(Frame(type, seq, payload))
    assert data.count(0) == 2
    decoder = Decoder()
    pieces = [data[start : start + cut] for start in range(0, len(data), cut)]
    assert [item for piece in pieces for item in decoder.feed(piece)] == [Frame(type, seq, payload)]


@given(st.binary(max_size=300))
def test_noise_is_never_a_frame(data):
    assert all(isinstance(item, Broken) for item in Decoder().feed(data + b"\0"))
