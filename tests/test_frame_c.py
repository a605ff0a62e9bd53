"""The runner's C code, compiled for this computer with sanitizers, against the host's Python."""

import os
import random
import select
import shutil
import subprocess
import time
import zlib

import pytest
import toy_model
from fakes import FAULTS, IMPATIENT, LossyLine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygen.errors import BoardFault, LinkError
from tinygen.frame import Decoder, Frame, encode
from tinygen.link import Link
from tinygen.resources import resource
from tinygen.session import Session
from tinygen.target import AVR, RISCV, load_board, load_core

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

PORT = """\
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include "runner/port.h"
static struct pollfd input = {0, POLLIN, 0};
void port_init(void) {}
int port_getc(void)
{
    uint8_t byte;
    if (poll(&input, 1, 0) < 1) return -1;
    if (read(0, &byte, 1) != 1) exit(0);
    return byte;
}
void port_putc(uint8_t byte) { if (write(1, &byte, 1) != 1) exit(1); }
void port_idle(void) { (void)poll(&input, 1, -1); }
void port_ticks_start(void) {}
uint32_t port_ticks(void) { return 7; }
uint32_t port_tick_hz(void) { return 1000; }
uint8_t port_flags(void) { return 0; }
uint8_t *port_stack_floor(void) { return NULL; }
"""


class Process:
    """The runner as a program, a transport over its standard input and output."""

    def __init__(self, program):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen([program], **pipes)

    def write(self, data, /):
        # Both directions at once: a full pipe of answers must not keep the runner from reading.
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read(self, size):
        ready, _, _ = select.select([self.process.stdout], [], [], 0.005)
        return os.read(self.process.stdout.fileno(), size) if ready else b""

    def close(self):
        _, errors = self.process.communicate(timeout=300)
        assert (self.process.returncode, errors.decode()) == (0, "")


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    out = tmp_path_factory.mktemp("runner")
    toy_model.write_project(out, "qemu-mps2-an386")
    (out / "port.c").write_text(PORT)
    sources = [*out.glob("src/runner/*.c"), *out.glob("src/*.c"), out / "lib/toy/src/toy.c", out / "port.c"]
    includes = [f"-I{out / 'src'}", f"-I{out / 'lib/toy/src'}"]
    subprocess.run(["gcc", "-std=c99", *SANITIZED, *includes, *sources, "-o", out / "runner"], check=True)
    return out / "runner"


@pytest.fixture
def board(runner):
    process = Process(runner)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.communicate()


def talk_to(transport):
    return Session(Link(transport, "runner", IMPATIENT))


@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
@pytest.mark.parametrize("optimize", ["-O0", "-Os"])
def test_the_runner_compiles_without_a_warning(compiler, optimize, tmp_path):
    assert shutil.which(compiler), f"{compiler} is not installed"
    toy_model.write_project(tmp_path, "qemu-mps2-an386")
    core = ["-mcpu=cortex-m4", "-mthumb"] if compiler.startswith("arm") else []
    includes = [f"-I{tmp_path / 'src'}", f"-I{tmp_path / 'lib/toy/src'}"]
    for source in sorted(tmp_path.glob("src/**/*.c")):
        subprocess.run(
            [compiler, *core, *STRICT, optimize, *includes, "-c", source, "-o", tmp_path / "object.o"], check=True
        )


# That only drivers for these processors include.
OWN_HEADERS = {RISCV: "csr.h", AVR: "<avr/io.h>"}


@pytest.mark.parametrize("board", ["qemu-mps2-an386", "qemu-riscv32-virt", "simavr-atmega328p"])
def test_the_board_port_compiles_without_a_warning(board, tmp_path):
    defines = ["UART_BASE=0x40000000u", "UART_IRQ=37", "TICKS_BASE=0x40000000u", "TICKS_ARE_CYCLES=0"]
    defines += ["BOARD_CLOCK_HZ=1000000u", "BOARD_BAUD=1u"]
    toy_model.write_project(tmp_path, board)
    core = load_core(load_board(board).core)
    (folder,) = tmp_path.glob("platforms/*/core")
    others = [header for of, header in OWN_HEADERS.items() if of != core.architecture]
    drivers = [path for path in folder.glob("*.c") if not any(header in path.read_text() for header in others)]
    if core.architecture == AVR:
        drivers = [path for path in drivers if OWN_HEADERS[AVR] in path.read_text()]
    own = list(folder.glob(f"{core.architecture}/*.c"))
    assert (len(own), len(drivers)) == (1, 2) if core.architecture == AVR else len(own) == 2 and len(drivers) > 6
    for source in own + drivers:
        subprocess.run(
            [f"{core.toolchain}gcc", *core.flags, *core.libc, *STRICT, "-Os", *(f"-D{define}" for define in defines),
             f"-I{tmp_path / 'src'}", "-c", source, "-o", tmp_path / "object.o"],
            check=True,
        )  # fmt: skip


@pytest.mark.parametrize("header", ["frame.h", "model.h", "port.h", "protocol.h", "stack.h"])
def test_headers_stand_alone(header):
    subprocess.run(["gcc", *STRICT, "-x", "c", "-fsyntax-only", resource("firmware", "runner", header)], check=True)


def test_the_runner_serves_the_model(board):
    talk = talk_to(board)
    data = toy_model.example(5)
    hello = talk.check_model(toy_model.manifest("none"))
    assert (hello.tick_hz, hello.emulated_ticks, hello.arena_bytes) == (1000, False, toy_model.BYTES)
    for calls in range(2):
        talk.load_inputs([data])
        assert talk.invoke() == 7
        assert talk.outputs() == [toy_model.layers(data, calls)[1]]
    assert talk.stack() is None
    talk.reset()
    talk.load_inputs([data])
    for layer, output in enumerate(toy_model.layers(data)):
        assert talk.run_layer(layer).crc32 == zlib.crc32(output)
        assert talk.read_layer() == output
    assert talk.outputs() == [toy_model.layers(data)[1]]
    board.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.sampled_from((*FAULTS, "none", "none")), max_size=40), seed=st.integers(0, 255))
def test_data_arrive_intact_or_an_error_is_raised(runner, plan, seed):
    data = toy_model.example(seed)
    board = Process(runner)
    try:
        talk = talk_to(LossyLine(board, plan))
        talk.load_inputs([data])
        talk.invoke()
        first = talk.outputs()
        talk.load_inputs([data])
        crcs = [run.crc32 for run in talk.trace()]
    except LinkError:
        return
    finally:
        board.close()
    # A request that ran twice would show in the model's call counter.
    assert first == [toy_model.layers(data)[1]]
    assert crcs == toy_model.layer_crcs(data, 1)


@pytest.mark.parametrize(
    ("request_type", "payload", "reason"),
    [
        (0x01, b"", "wrong length"),
        (0x02, b"\x02\x00", "no such input"),
        (0x02, b"\x00\x01", "no such input"),
        (0x03, b"\x00", "wrong length"),
        (0x03, b"\x01\x00\x00\x00\x00", "no such input"),
        (0x03, b"\x00\xff\xff\xff\xff\x01", "leaves the buffer"),
        (0x03, b"\x00\x57\x02\x00\x00\x01\x01", "leaves the buffer"),
        (0x03, b"\x00\x01\x00\x00\x00\x01", "out of order"),
        (0x04, b"", "out of order"),
        (0x05, b"\x00\x00\x00\x00\x00\x01\x00", "out of order"),
        (0x05, b"\x01\x00\x00\x00\x00\x01\x00", "no such input"),
        (0x06, b"\x02\x00\x00\x00", "no such input"),
        (0x06, b"\x01\x00\x00\x00", "out of order"),
        (0x07, b"\x00\x00\x00\x00\x01\x00", "out of order"),
        (0x0C, b"", "no such .* model"),
        (0x0C, b"to", "no such .* model"),
        (0x0C, b"toys", "no such .* model"),
        (0x0D, b"\x00", "wrong length"),
        (0x0D, b"", "does not know this request"),
        (0x7F, b"x" * 240, "does not know this request"),
    ],
)
def test_requests_that_make_no_sense_are_refused(board, request_type, payload, reason):
    with pytest.raises(BoardFault, match=reason):
        Link(board, "runner", IMPATIENT).request(request_type, payload)


@pytest.mark.parametrize(("offset", "count"), [(601, 0), (600, 1), (599, 2), (0, 241), (0xFFFFFFFF, 0xFFFF)])
def test_reading_beyond_an_output_is_refused(board, offset, count):
    link = Link(board, "runner", IMPATIENT)
    talk = Session(link)
    talk.load_inputs([toy_model.example()])
    talk.trace()
    where = offset.to_bytes(4, "little") + count.to_bytes(2, "little")
    for request_type, payload in ((0x05, b"\0" + where), (0x07, where)):
        with pytest.raises(BoardFault, match="leaves the buffer"):
            link.request(request_type, payload)


def test_selecting_a_model_forgets_what_was_loaded(board):
    link = Link(board, "runner", IMPATIENT)
    talk = Session(link)
    talk.load_inputs([toy_model.example()])
    with pytest.raises(BoardFault, match="no such"):
        link.request(0x0C, b"other")
    talk.invoke()
    assert link.request(0x0C, b"toy") == b""
    with pytest.raises(BoardFault, match="out of order"):
        talk.outputs()


def test_outputs_are_there_only_after_a_run(board):
    talk = talk_to(board)
    talk.load_inputs([toy_model.example()])
    talk.invoke()
    assert talk.outputs() == talk.outputs()
    with pytest.raises(BoardFault, match="out of order"):
        talk.invoke()
    talk.load_inputs([toy_model.example()])
    with pytest.raises(BoardFault, match="out of order"):
        talk.outputs()


def feed(board, data):
    """Send bytes while reading answers, so that neither pipe fills up."""
    received = b""
    for start in range(0, len(data), 1024):
        board.write(data[start : start + 1024])
        received += board.read(65536)
    return received


def still_answers(board):
    """Whatever it was sent before: a greeting is answered, behind the answers to all of that."""
    board.write(b"\0" + encode(Frame(0x01, 77, b"here")))
    decoder = Decoder()
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        answers = decoder.feed(board.read(65536))
        if any(isinstance(a, Frame) and a.type == 0x81 and a.payload[:4] == b"here" for a in answers):
            break
    assert talk_to(board).hello().name == "toy"
    board.close()


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_never_hurt(board, seed):
    feed(board, random.Random(seed).randbytes(100_000))
    still_answers(board)


@pytest.mark.parametrize("seed", range(4))
def test_random_requests_with_good_checksums_never_hurt(board, seed):
    rng = random.Random(seed)
    frames = []
    for index in range(3000):
        payload = rng.randbytes(rng.choice((0, 2, 4, 6, 7, 5, rng.randrange(241))))
        if rng.random() < 0.7:  # small numbers reach further into the code
            payload = bytes(byte & rng.choice((0, 1, 3)) for byte in payload)
        frames.append(encode(Frame(rng.choice((*range(11), rng.randrange(256))), index % 256, payload)))
    answers = Decoder().feed(feed(board, b"".join(frames)))
    assert all(isinstance(answer, Frame) for answer in answers)
    still_answers(board)


def test_mutated_frames_are_never_executed(board):
    rng = random.Random(1)
    frame = encode(Frame(0x0A, 1, rng.randbytes(200)))
    mutated = []
    for _ in range(2000):
        damaged = bytearray(frame)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(1, len(damaged) - 1)
            damaged[at] ^= rng.randrange(1, 256)
        mutated.append(bytes(damaged))
    answers = Decoder().feed(feed(board, b"".join(piece for piece in mutated if piece != frame)))
    assert {answer.type for answer in answers} == {0xE1}
    still_answers(board)


@pytest.mark.parametrize("size", [0, 1, 239, 240, 241, 300, 5000])
def test_frames_up_to_the_largest_payload_are_taken(board, size):
    board.write(encode(Frame(0x0A, 1, b"\x01" * size)))
    answers = []
    decoder = Decoder()
    while not answers:
        answers = decoder.feed(board.read(4096))
    assert answers[0].type == (0xE0 if size <= 240 else 0xE1)
