"""Boards and cores: the shipped files are valid, and files that are not say where and why."""

import itertools
import re
import subprocess
import tomllib

import pytest

from tinygen import costs_riscv, target
from tinygen.costs import CLASSES
from tinygen.errors import BoardError
from tinygen.resources import resource
from tinygen.target import ARM, AVR, DUAL_ISSUE, FEATURES, XTENSA, list_boards, load_board, load_core

VALID = resource("boards", "qemu-mps2-an386.toml").read_text()


def write(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text)
    return path


def changed(old, new):
    assert old in VALID
    return VALID.replace(old, new)


def test_the_shipped_boards_are_listed():
    emulated = {"qemu-mps2-an385-m0", "qemu-mps2-an385", "qemu-mps2-an386", "qemu-mps2-an500", "qemu-mps2-an505"}
    assert emulated | {"qemu-mps3-an547", "netduino2plus", "microbit", "stm32vldiscovery"} <= set(list_boards())
    assert list_boards() == sorted(list_boards())


@pytest.mark.parametrize("name", list_boards())
def test_shipped_boards_are_valid(name):
    board = load_board(name)
    core = load_core(board.core)
    assert board.name == name
    assert core.features <= set(FEATURES)
    assert 0 < board.stack_bytes < board.ram_bytes <= board.flash_bytes
    regions = sorted(board.regions, key=lambda region: region.address)
    for low, high in itertools.pairwise(regions):
        assert low.address + low.bytes <= high.address


CORES = sorted(path.stem for path in resource("boards", "cores").glob("*.toml"))
OF_ARM = [name for name in CORES if load_core(name).architecture == ARM]


@pytest.mark.parametrize("name", [name for name in CORES if load_core(name).architecture not in (AVR, XTENSA)])
def test_a_core_has_cycles_for_every_class_of_instructions_that_it_can_execute(name):
    core = load_core(name)
    executable = costs_riscv.CLASSES
    if core.architecture == ARM:
        executable = {key for key, known in CLASSES.items() if known.feature is None or known.feature in core.features}
    assert set(core.cost.cycles) == executable
    assert all(0 < cycles <= 14 for cycles in core.cost.cycles.values())
    assert core.cost.source
    assert core.cost.assumptions


# Of Arm's architectures, by what the compiler says of itself when given the core's flags.
PREDEFINED = {
    "divide": "__ARM_FEATURE_IDIV",
    "dsp": "__ARM_FEATURE_DSP",
    "mve": "__ARM_FEATURE_MVE",
    "saturate": "__ARM_FEATURE_SAT",
    "unaligned": "__ARM_FEATURE_UNALIGNED",
}


@pytest.mark.parametrize("name", OF_ARM)
def test_a_cores_features_are_those_that_the_compiler_is_told(name):
    core = load_core(name)
    command = [f"{core.toolchain}gcc", *core.flags, "-dM", "-E", "-xc", "/dev/null"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    defined = dict(re.findall(r"^#define (\w+) (.+)$", text, re.MULTILINE))
    expected = {feature for feature, macro in PREDEFINED.items() if defined.get(macro, "0") != "0"}
    floats = int(defined.get("__ARM_FP", "0"), 0)
    expected |= {"fpu"} if floats & 4 else set()
    expected |= {"fpu64"} if floats & 8 else set()
    if defined.get("__ARM_ARCH_ISA_THUMB") == "2":
        expected |= {"thumb2", "umull", "mla"}
    if defined.get("__ARM_ARCH_ISA_THUMB") == "1":
        expected |= {"thumb1"}
    if defined.get("__ARM_FEATURE_MVE"):  # of what GCC knows, the branch extension comes with Armv8.1-M alone
        expected |= {"loops"}
    assert core.features - {DUAL_ISSUE} == expected


@pytest.mark.parametrize("name", CORES)
def test_every_core_has_an_emulated_board(name):
    like = {"cortex-m0plus": "cortex-m0", "cortex-m85": "cortex-m55"}  # QEMU has none: its code is the other's
    if name in like:
        assert load_core(name).features == load_core(like[name]).features
        return
    boards = [load_board(board) for board in list_boards()]
    if load_core(name).architecture == XTENSA:  # portable C on real boards
        assert not load_core(name).features
        return
    assert [board.name for board in boards if board.core == name and board.emulator is not None]


def test_the_netduino_has_the_memory_of_an_stm32f405():
    board = load_board("netduino2plus")
    assert (board.flash_bytes, board.ram_bytes, board.clock_hz) == (1024 * 1024, 128 * 1024, 168_000_000)
    assert load_core(board.core).features >= {"dsp", "fpu"}


def test_the_microbit_has_the_memory_of_an_nrf51822():
    board = load_board("microbit")
    assert (board.flash_bytes, board.ram_bytes, board.clock_hz) == (256 * 1024, 16 * 1024, 16_000_000)
    assert load_core(board.core).features == {"thumb1"}  # no division, no unaligned access


def test_an_unknown_board_names_the_known_ones_and_the_closest():
    with pytest.raises(BoardError) as caught:
        load_board("netduino2pls")
    assert "netduino2pls" in caught.value.message
    assert "Did you mean netduino2plus?" in caught.value.remedy
    assert "qemu-mps2-an386" in caught.value.remedy


def test_an_unknown_core_names_the_known_ones():
    with pytest.raises(BoardError, match="unknown core 'cortex-m99'") as caught:
        load_core("cortex-m99")
    assert "cortex-m4" in caught.value.remedy


@pytest.mark.parametrize("name", ["../boards/netduino2plus", "", "cores", "no/such.toml", "/no/such.toml"])
def test_names_that_are_no_board(name):
    with pytest.raises(BoardError):
        load_board(name)


def test_a_board_of_the_users_own_is_one_file(tmp_path):
    board = load_board(
        write(tmp_path, changed("4_194_304\n\n[regions.psram]", "65_536\n\n[regions.psram]"), "mine.toml")
    )
    assert (board.name, board.ram_bytes) == ("mine", 65_536)
    assert load_board(str(tmp_path / "mine.toml")) == board


def test_a_real_board_names_its_framework(tmp_path):
    start = VALID.index("[platformio]")
    text = VALID[:start] + '[platformio]\nplatform = "atmelavr@5.1.0"\nboard = "uno"\nframework = "arduino"\n'
    board = load_board(write(tmp_path, text))
    assert (board.framework, board.emulator) == ("arduino", None)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (changed('core = "cortex-m4"', 'core = "cortex-m5"'), ["core", "cortex-m5", "one of", "cortex-m4"]),
        (changed("clock_hz = 25_000_000", 'clock_hz = "fast"'), ["clock_hz", "'fast'", "whole number"]),
        (changed("clock_hz = 25_000_000", "clock_hz = 0"), ["clock_hz", "0", "from 1 to"]),
        (changed("clock_hz = 25_000_000", "clock_hz = true"), ["clock_hz", "True"]),
        (changed("clock_hz = 25_000_000\n", ""), ["clock_hz is missing", "whole number"]),
        (changed("baud = 115_200", "baud = 115_200\nbaudrate = 1"), ["unknown key baudrate", "Did you mean baud?"]),
        (changed("uart_irq = 0", "uart_irq = 240"), ["emulator.uart_irq", "240", "239"]),
        (
            changed('uart = "cmsdk"', 'uart = "pl999"'),
            ["uart", "pl999", "cmsdk, nrf51, ns16550, pl011, stm32f"],
        ),
        (changed('machine = "mps2-an386"', 'machine = "a; rm -rf x"'), ["emulator.machine", "a; rm -rf x"]),
        (changed("[regions.ram]", "[regions.sram]"), ["regions.ram is missing"]),
        (changed("address = 0x2000_0000", "address = 0x1_0000_0000"), ["regions.ram.address", "4294967296"]),
        (changed("address = 0x2000_0000", "address = 0xFFFF_0000"), ["regions.ram.bytes", "65536"]),
        (changed("stack_bytes = 8_192", "stack_bytes = 8_000_000"), ["stack_bytes", "8000000", "4194304"]),
        (changed('title = "QEMU', 'title = "'), None),
        (changed('title = "QEMU mps2-an386 (Cortex-M4F, emulated)"', 'title = ""'), ["title", "not empty"]),
        (changed('platform = "tinygen_qemu"', 'platform = "ststm32"'), ["ststm32", "has an [emulator] table"]),
        (VALID[: VALID.index("[emulator]")], ["tinygen_qemu", "has no [emulator] table"]),
        (VALID + "\n[emulator.more]\nx = 1\n", ["unknown key emulator.more"]),
        ("regions = 3\n" + VALID[: VALID.index("[regions")] + VALID[VALID.index("[platformio]") :], ["regions", "3"]),
        ("not toml", ["cannot read"]),
    ],
)
def test_files_that_make_no_sense_say_what_is_wrong(tmp_path, text, parts):
    path = write(tmp_path, text)
    if parts is None:
        load_board(path)
        return
    with pytest.raises(BoardError) as caught:
        load_board(path)
    for part in (path.name, *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("alu = 1\n", "alu = 1\naluu = 1\n", ["unknown key cost.cycles.aluu", "Did you mean alu?"]),
        ("alu = 1\n", "alu = -1\n", ["cost.cycles.alu = -1", "not negative"]),
        ('"dsp"', '"dps"', ["features", "dps", "dsp"]),
        ("source = ", "sauce = ", ["cost.source is missing"]),
    ],
)
def test_core_files_that_make_no_sense_say_what_is_wrong(tmp_path, monkeypatch, old, new, parts):
    text = resource("boards", "cores", "cortex-m4.toml").read_text()
    assert old in text
    (tmp_path / "cores").mkdir()
    write(tmp_path / "cores", text.replace(old, new), "cortex-m4.toml")
    monkeypatch.setattr(target, "resource", lambda *names: tmp_path.joinpath(*names[1:]))
    with pytest.raises(BoardError) as caught:
        load_core("cortex-m4")
    for part in parts:
        assert part in str(caught.value)


def test_file_names_become_board_names(tmp_path):
    with pytest.raises(BoardError, match="cannot be a name"):
        load_board(write(tmp_path, VALID, "My Board.toml"))


def test_shipped_files_hold_facts_only():
    for path in resource("boards").rglob("*.toml"):
        assert tomllib.loads(path.read_text())["title"]
