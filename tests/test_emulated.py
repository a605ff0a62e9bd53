"""Emulated boards end to end: PlatformIO builds the toy model, QEMU runs it, the link reads it back.

A missing tool is a failure here, not a skip.
"""

import os
import re
import signal
import time
import zlib
from pathlib import Path

import pytest
import toy_model
from rp2040 import BOARD, RP2040, needs_rp2040js

from tinygen import firmware
from tinygen.errors import BoardError, BoardFault, LinkLost, NoAnswer, OutputError, ToolFailed, ToolMissing
from tinygen.link import open_link
from tinygen.project import RUNNER_FOOTPRINT, project_files
from tinygen.session import Session
from tinygen.target import ARM, RISCV, load_board, load_core

# One for each kind of UART and timer, and a core that starts in a secure state; the others, by test_on_board.py.
BOARDS = ("qemu-mps2-an386", "qemu-mps3-an547", "netduino2plus", "stm32vldiscovery", "microbit", "qemu-riscv32-virt")
BAUD = 115_200

# Any download would fail at once instead of being made.
NO_NETWORK = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")


_links = []


@pytest.fixture(autouse=True)
def close_links():
    yield
    while _links:
        _links.pop().close()


def session(port):
    """A conversation whose port is closed when the test ends: ports are opened exclusively."""
    _links.append(open_link(port, BAUD))
    return Session(_links[-1])


def emulators(out):
    """Process ids of emulators that run an image of this project."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if command.startswith((b"qemu-system", b"node")) and os.fsencode(str(out)) in command:
            found.append(int(path.parent.name))
    return found


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module", params=[*BOARDS, RP2040])
def project(request, tmp_path_factory):
    """A built project, in a folder whose name has spaces; its emulator does not outlive the tests."""
    out = tmp_path_factory.mktemp("emulated") / f"a toy on {request.param}"
    described = toy_model.write_project(out, request.param)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in NO_NETWORK.items():
            patch.setenv(name, value)
        try:
            firmware.build(out)
            yield out, described
        finally:
            firmware.stop(out)


@pytest.fixture(params=["pty", "tcp"])
def port(project, request, monkeypatch):
    monkeypatch.setenv("TINYGEN_SERIAL", request.param)
    out, _ = project
    found = firmware.flash(out)
    assert found.startswith("/dev/pts/" if request.param == "pty" else "socket://127.0.0.1:")
    yield found
    firmware.stop(out)
    assert emulators(out) == []


def test_a_board_runs_the_model_and_says_how(project, port):
    out, described = project
    data = toy_model.example(9)
    talk = session(port)
    hello = talk.check_model(described)
    assert hello.emulated_ticks and hello.tick_hz is None
    assert hello.emulated_cycles == (described.board == BOARD)
    assert hello.arena_bytes == described.arena_bytes
    for calls in range(3):
        talk.load_inputs([data])
        talk.invoke()
        assert talk.outputs() == [toy_model.layers(data, calls)[1]]
    assert toy_model.STACK <= talk.stack() <= toy_model.STACK + 100
    talk.reset()
    talk.load_inputs([data])
    for layer, output in enumerate(toy_model.layers(data)):
        assert talk.run_layer(layer).crc32 == zlib.crc32(output)
        assert talk.read_layer() == output
    (pid,) = emulators(out)
    before = cpu_seconds(pid)
    time.sleep(1.0)
    assert cpu_seconds(pid) - before <= 0.03


def test_ticks_are_the_same_each_time(project, port):
    talk = session(port)
    seen = set()
    # Many times: QEMU's timers have been seen to go wrong only after some dozens of measurements.
    for _ in range(25):
        talk.reset()
        talk.load_inputs([toy_model.example()])
        ticks = talk.invoke()
        talk.load_inputs([toy_model.example()])
        seen.add((ticks, *(run.ticks for run in talk.trace())))
    assert len(seen) == 1
    assert min(seen.pop()) > 100


def test_a_killed_emulator_is_a_lost_link(project, port):
    out, _ = project
    talk = session(port)
    talk.hello()
    (pid,) = emulators(out)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(LinkLost, match="the port went away"):
        talk.load_inputs([toy_model.example()])
    with pytest.raises(NoAnswer, match="does not run"):
        firmware.serial_port(out)
    assert "had ended already" in firmware.stop(out)


def test_two_hosts_at_once_are_refused(project, monkeypatch):
    monkeypatch.delenv("TINYGEN_SERIAL", raising=False)
    out, _ = project
    try:
        port = firmware.flash(out)
        with open_link(port, BAUD), pytest.raises(NoAnswer, match="cannot open the serial port"):
            open_link(port, BAUD)
    finally:
        firmware.stop(out)


def test_the_next_host_finds_the_board_again(project, port):
    for index in range(3):
        with open_link(port, BAUD) as link:
            talk = Session(link)
            talk.load_inputs([toy_model.example(index)])


def test_the_project_says_what_it_occupies(project):
    out, described = project
    size = firmware.firmware_size(out)
    runner_ram = size.ram_bytes - described.arena_bytes - described.state_bytes
    # Tight enough to be of use before anything is compiled: the toy's own code is in the flash figure.
    assert 0.8 * RUNNER_FOOTPRINT.flash_bytes < size.flash_bytes < RUNNER_FOOTPRINT.flash_bytes
    assert 0.7 * RUNNER_FOOTPRINT.ram_bytes < runner_ram < RUNNER_FOOTPRINT.ram_bytes


def test_nothing_is_written_outside_of_the_project(project, monkeypatch, tmp_path):
    out, _ = project
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    firmware.build(out)
    assert list(home.iterdir()) == []


def test_flags_of_the_library_reach_its_compiler_without_the_cores_own(project):
    # That they arrive, and that nothing after them overrides -O2, is checked by #error in the toy's source.
    out, _ = project
    settings = (out / "platformio.ini").read_text()
    assert "    -O2\n    -DTOY_FLAG=5\n" in settings and "-mcpu" not in settings


def test_stopping_twice_and_asking_a_stopped_board(project):
    out, _ = project
    firmware.flash(out)
    assert firmware.serial_port(out).startswith("/dev/pts/")
    assert "Stopped the emulator" in firmware.stop(out)
    assert emulators(out) == []
    assert "No emulator was started" in firmware.stop(out)
    with pytest.raises(NoAnswer, match="does not run") as caught:
        firmware.serial_port(out)
    assert "tinygen flash" in caught.value.remedy


def test_flashing_again_replaces_the_emulator(project):
    out, _ = project
    try:
        firmware.flash(out)
        first = emulators(out)
        firmware.flash(out)
        second = emulators(out)
        assert len(first) == len(second) == 1
        assert first != second
    finally:
        firmware.stop(out)
    assert emulators(out) == []


UNDEFINED = {ARM: ("0xde00", "a HardFault"), RISCV: ("0", "an illegal instruction")}


@pytest.mark.parametrize("board", [*BOARDS, RP2040])
def test_a_processor_fault_is_reported_every_time(tmp_path, board):
    code, fault = UNDEFINED[load_core(load_board(board).core).architecture]
    toy_model.write_project(tmp_path, board, trap=f'__asm volatile(".hword {code}");')
    (flash,) = (region for region in load_board(board).regions if region.name == "flash")
    try:
        port = firmware.flash(tmp_path)
        for _ in range(2):
            with open_link(port, BAUD) as link, pytest.raises(BoardFault, match=fault) as caught:
                talk = Session(link)
                talk.load_inputs([toy_model.example()])
                talk.invoke()
            pc = int(re.search("pc (0x[0-9a-f]{8})", caught.value.message)[1], 16)
            assert 0 < pc - flash.address < firmware.firmware_size(tmp_path).flash_bytes
        (pid,) = emulators(tmp_path)
        before = cpu_seconds(pid)
        time.sleep(0.5)
        assert cpu_seconds(pid) - before <= 0.03
    finally:
        firmware.stop(tmp_path)


@pytest.mark.parametrize("board", ["microbit", RP2040])
def test_the_m0_faults_on_an_unaligned_access(tmp_path, board):
    # As the real core does, and the M4 does not. In assembly: from what the compiler sees through, it makes byte loads.
    trap = 'uintptr_t at = (uintptr_t)arena | 1u; __asm volatile("ldrh %0, [%0]" : "+l"(at));'
    toy_model.write_project(tmp_path, board, trap=trap)
    try:
        talk = session(firmware.flash(tmp_path))
        talk.load_inputs([toy_model.example()])
        with pytest.raises(BoardFault, match=r"HardFault \(pc 0x[01]0"):
            talk.invoke()
    finally:
        firmware.stop(tmp_path)


@pytest.mark.parametrize("board", ["netduino2plus", "microbit"])
@pytest.mark.parametrize("below", [-2048, 2048], ids=["into static memory", "out of RAM"])
def test_a_stack_overflow_is_never_a_result(tmp_path, board, below):
    # Down to that much below the end of RAM and back again, as a model with too small a stack reserve might.
    size = load_board(board).ram_bytes + below
    trap = f"volatile int8_t deep[{size}]; for (int i = {size}; i-- > 0;) deep[i] = 1;"
    toy_model.write_project(tmp_path, board, trap=trap)
    try:
        talk = session(firmware.flash(tmp_path))
        talk.load_inputs([toy_model.example()])
        with pytest.raises((BoardFault, LinkLost, NoAnswer)):
            talk.invoke()
    finally:
        firmware.stop(tmp_path)


def test_static_memory_that_does_not_fit_fails_to_link(tmp_path):
    trap = "static volatile int8_t big[122000]; big[calls] = 1;"
    toy_model.write_project(tmp_path, "netduino2plus", trap=trap)
    with pytest.raises(ToolFailed, match="less than stack_bytes"):
        firmware.build(tmp_path)


def test_library_functions_of_the_compiler_link(tmp_path):
    # 64-bit division comes with more of libgcc than its own code; models use it, and these functions.
    trap = """
    extern float expf(float), roundf(float);
    extern void *memset(void *, int, unsigned), *memcpy(void *, const void *, unsigned);
    volatile int64_t wide = 10000000000; volatile float small = 1.5f; int8_t part[9];
    wide /= calls + 3; small = roundf(expf(small)); memset(part, (int)wide, 9); memcpy(arena, part, (unsigned)small);
    """
    toy_model.write_project(tmp_path, "netduino2plus", trap=trap)
    firmware.build(tmp_path)


def test_an_emulator_that_does_not_start_is_shown(tmp_path):
    toy_model.write_project(tmp_path, "netduino2plus")
    board = tmp_path / "boards" / "netduino2plus.json"
    board.write_text(board.read_text().replace('"netduinoplus2"', '"no-such-machine"'))
    with pytest.raises(ToolFailed, match=r"qemu-system-arm ended:\s+qemu-system-arm: unsupported machine type"):
        firmware.flash(tmp_path)
    assert emulators(tmp_path) == []


@needs_rp2040js
def test_cycles_are_counted_over_many_rounds_of_a_timer(tmp_path):
    # SysTick has 24 bits; a subtraction and a branch that is taken are 3 cycles.
    times = 9_000_000
    trap = f'uint32_t left = {times}; __asm volatile("1: sub %0, #1\\n\\tbne 1b" : "+l"(left) : : "cc");'
    toy_model.write_project(tmp_path, BOARD, trap=trap)
    try:
        talk = session(firmware.flash(tmp_path))
        talk.load_inputs([toy_model.example()])
        ticks = talk.invoke()
    finally:
        firmware.stop(tmp_path)
    assert 3 * times < ticks < 3 * times + 50_000


@needs_rp2040js
def test_without_rp2040js_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYGEN_RP2040JS")
    monkeypatch.delenv("NODE_PATH", raising=False)
    toy_model.write_project(tmp_path, BOARD)
    with pytest.raises(ToolFailed, match="npm install rp2040js"):
        firmware.flash(tmp_path)
    assert emulators(tmp_path) == []


def test_a_compiler_error_is_shown(tmp_path):
    toy_model.write_project(tmp_path, "netduino2plus", trap="this is not C;")
    lines = []
    with pytest.raises(ToolFailed, match="unknown type name 'this'") as caught:
        firmware.build(tmp_path, lines.append)
    assert any("toy.c" in line for line in lines)
    assert (tmp_path / ".pio" / "tinygen-build.log").is_file()
    assert "tinygen-build.log" in caught.value.remedy


def test_missing_programs_are_named_with_their_packages(tmp_path, monkeypatch):
    toy_model.write_project(tmp_path, "netduino2plus")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="arm-none-eabi-gcc, qemu-system-arm") as caught:
        firmware.build(tmp_path)
    assert "apt install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm" in caught.value.remedy


def test_a_missing_python_package_names_the_extra(tmp_path, monkeypatch):
    toy_model.write_project(tmp_path, "netduino2plus")
    monkeypatch.setattr(firmware.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissing, match="platformio is not installed") as caught:
        firmware.build(tmp_path)
    assert "pip install 'tinygen[board]'" in caught.value.remedy


@pytest.mark.parametrize("ask", [firmware.build, firmware.flash, firmware.stop, firmware.serial_port])
def test_a_folder_without_a_project_is_said_to_be_one(tmp_path, ask):
    with pytest.raises(OutputError, match="holds no project"):
        ask(tmp_path)


def test_sizes_of_a_project_that_was_not_built(tmp_path):
    toy_model.write_project(tmp_path, "netduino2plus")
    with pytest.raises(OutputError, match="cannot read the firmware"):
        firmware.firmware_size(tmp_path)


def test_the_project_is_the_same_bytes_each_time():
    board = load_board("netduino2plus")
    described = toy_model.manifest(board.name)
    made = [project_files(board, load_core(board.core), [described]) for _ in range(2)]
    assert made[0] == made[1]
    assert list(made[0]) == sorted(made[0])


def test_a_board_without_a_port_of_the_runner_is_refused(tmp_path):
    text = Path(__file__).parent.parent.joinpath("boards", "netduino2plus.toml").read_text()
    start = text.index("[platformio]\n")
    path = tmp_path / "uno.toml"
    path.write_text(text[:start] + '[platformio]\nplatform = "x"\nboard = "uno"\nframework = "zephyr"\n')
    board = load_board(path)
    with pytest.raises(BoardError, match="no port of its serial runner to the framework 'zephyr'"):
        project_files(board, load_core(board.core), [toy_model.manifest("uno")])
