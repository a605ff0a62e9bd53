"""Counting: a firmware whose instructions are known one by one, and what the counts of a real model add up to."""

from __future__ import annotations

import dataclasses
import os
import zlib
from pathlib import Path

import pytest
import toy_model

from tinygen import bench, costs_riscv, elf, firmware, manifest, output, pipeline, reference, timing, verify
from tinygen.access import Spacing
from tinygen.counting import plugin, record
from tinygen.counting.attribution import Figures
from tinygen.counting.disassembly import disassemble
from tinygen.errors import OutputError, ToolFailed, ToolMissing, UsageError
from tinygen.manifest import Manifest
from tinygen.report import bench_tables
from tinygen.resources import resource
from tinygen.stack import Bound
from tinygen.target import load_core

M4 = load_core("cortex-m4").cost.cycles

# Two layers in assembly. The first calls a helper twice; the second is the last thing that invoke does, so that it is
# entered by a jump. Both keep 16 bytes on the stack.
ASSEMBLY = """\
__asm(".syntax unified\\n.thumb\\n.text\\n"
      ".type helper, %function\\n"
      "helper: movs r3, #3\\n"
      "1: ldrsb r1, [r0]\\n"
      "   adds r1, #1\\n"
      "   strb r1, [r0], #1\\n"
      "   subs r3, #1\\n"
      "   bne 1b\\n"
      "   bx lr\\n"
      ".size helper, . - helper\\n"
      ".type layer_0, %function\\n"
      "layer_0: push {r4-r6, lr}\\n"
      "   ldr r0, =arena\\n"
      "   bl helper\\n"
      "   bl helper\\n"
      "   pop {r4-r6, pc}\\n"
      "   .ltorg\\n"
      ".size layer_0, . - layer_0\\n"
      ".type layer_1, %function\\n"
      "layer_1: push {r4-r6, lr}\\n"
      "   ldr r0, =arena\\n"
      "   movs r1, #2\\n"
      "   smulbb r2, r1, r1\\n"
      "   smlad r2, r1, r1, r2\\n"
      "   ldr r4, [r0]\\n"
      "   ldr r5, [r0, #4]\\n"
      "   ldrd r4, r5, [r0]\\n"
      "   sdiv r5, r1, r1\\n"
      "   pop {r4-r6, pc}\\n"
      "   .ltorg\\n"
      ".size layer_1, . - layer_1\\n");
void layer_0(void);
void layer_1(void);
"""

HELPER = 1 + 3 * 5 + 1
KNOWN = [
    Figures(
        instructions=5 + 2 * HELPER,
        loads=2 + 2 * 3,
        stores=1 + 2 * 3,
        multiplies=0,
        taken_branches=2 * (1 + 2 + 1) + 1,  # call, loop, return; the return
        # push 5, ldr 2, two calls, pop 5; the helper's loop: ldrsb 2, adds, strb that moves its base 2, subs, bne.
        cycles=5 + 2 + 2 + 5 + 2 * (1 + 3 * 7 + 1) + (2 * 4 + 1) * M4["taken"],
    ),
    Figures(
        instructions=10,
        loads=5,
        stores=1,
        multiplies=2,
        taken_branches=1,
        # push 5, ldr 2, movs, smulbb, smlad, ldr 2, ldr behind it 1, ldrd 3, sdiv 7, pop 5.
        cycles=5 + 2 + 3 + 2 + 1 + 3 + 7 + 5 + M4["taken"],
    ),
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """The toy model with layers in assembly; its arena is not static, so that they can name it."""
    out = tmp_path_factory.mktemp("counted") / "a toy, with a comma"
    toy_model.write_project(out, "qemu-mps2-an386")
    source = out / "lib" / "toy" / "src" / "toy.c"
    text = source.read_text()
    start, end = text.index("__attribute__"), text.index("void toy_run_layer")
    text = text[:start] + ASSEMBLY + text[end:]
    source.write_text(
        text.replace("static int8_t arena", "int8_t arena").replace("static uint8_t calls", "uint8_t calls")
    )
    return out, manifest.load(out)


@pytest.fixture(scope="module")
def counted(toy: tuple[Path, Manifest]) -> bench.Count:
    return bench.count(*toy)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    return build_digits(tmp_path_factory.mktemp("digits"), "qemu-mps2-an386")


def build_digits(folder: Path, board: str) -> tuple[Path, Manifest]:
    model = pipeline.read(resource("examples", "digits", "digits.tflite"))
    output.write(pipeline.build(model, board).files, folder / board)
    return folder / board, manifest.load(folder / board)


def test_every_instruction_of_a_layer_is_counted_with_those_of_its_callees(counted: bench.Count) -> None:
    assert [layer.figures for layer in counted.layers] == KNOWN


def test_the_invoke_is_its_layers_and_what_is_between_them(counted: bench.Count) -> None:
    assert counted.total == KNOWN[0] + KNOWN[1] + counted.between
    assert 0 < counted.between.instructions < 10


def test_the_stack_is_what_lies_below_the_invokes_caller(counted: bench.Count) -> None:
    # The invoke's own two registers; the first layer's four.
    assert counted.stack_bytes == 8 + 16
    assert counted.stack_bound == Bound(8 + 16, ("toy_invoke", "layer_0"))


def assert_stack_is_bounded(count: bench.Count) -> None:
    bound = count.stack_bound.bytes
    assert bound is not None, count.stack_bound
    assert 0 < count.stack_bytes <= bound <= 700


def test_a_layers_flash_is_that_of_the_functions_that_it_alone_executes(counted: bench.Count) -> None:
    helper = 2 + 4 + 2 + 4 + 2 + 2 + 2
    assert counted.layers[0].code_bytes == helper + 2 + 2 + 4 + 4 + 2 + 4  # with the literal
    assert counted.flash.shared == ()


def test_what_was_counted_is_a_whole_invoke(digits: tuple[Path, Manifest]) -> None:
    out, content = digits
    expected = reference.outputs(verify.model_of(out, content).graph, bench.sample_of(content).arrays)
    assert bench.count(out, content).outputs_crc32 == tuple(zlib.crc32(array.tobytes()) for array in expected)


def test_counts_are_the_same_each_time(toy: tuple[Path, Manifest], counted: bench.Count) -> None:
    assert bench.count(*toy) == counted


def test_counts_do_not_depend_on_the_board(digits: tuple[Path, Manifest]) -> None:
    # Other addresses: other pages of the emulator's, where it splits what it translates.
    here = bench.count(*digits)
    assert_stack_is_bounded(here)
    with bench.for_board(*digits, "netduino2plus") as (out, content):
        there = bench.count(out, content)
    assert there.board == "netduino2plus"
    for name in (
        "outputs_crc32",
        "total",
        "layers",
        "between",
        "stack_bytes",
        "stack_bound",
        "feed_stack_bound",
        "flash_bytes",
        "ram_bytes",
    ):
        assert getattr(there, name) == getattr(here, name), name


@pytest.mark.parametrize("board", ["qemu-mps2-an385-m0", "qemu-mps2-an505", "qemu-mps3-an547"])
def test_other_cores_are_counted(tmp_path: Path, board: str) -> None:
    out, content = build_digits(tmp_path, board)
    count = bench.count(out, content)
    assert_stack_is_bounded(count)
    assert [layer.symbol for layer in count.layers] == [layer.symbol for layer in content.layers]
    for layer in count.layers:
        known = layer.figures.loads + layer.figures.stores + layer.figures.multiplies
        assert 0 < known < layer.figures.instructions < layer.figures.cycles
        assert layer.figures.multiplies >= layer.macs / 32  # of vectors: 16 at once; some of it may be padding


def test_riscv_is_counted_as_it_counts_itself(tmp_path: Path) -> None:
    out, content = build_digits(tmp_path, "qemu-riscv32-virt")
    count = bench.count(out, content)
    measured = timing.time(out, content).ticks
    ticks = None if measured is None else measured.median
    assert ticks is not None
    assert 0 < ticks - count.total.instructions < 50  # what reads the core's own counter, and the calls
    for layer in count.layers:
        known = layer.figures.loads + layer.figures.stores + layer.figures.multiplies
        assert layer.macs <= layer.figures.multiplies < known < layer.figures.instructions
        assert layer.figures.cycles == layer.figures.instructions + layer.figures.taken_branches
    assert_stack_is_bounded(count)


@pytest.mark.parametrize(
    ("kind", "mnemonics"),
    [
        ("load", "lb lbu lh lhu lw"),
        ("store", "sb sh sw"),
        ("multiply", "mul mulh mulhu mulhsu"),
        ("divide", "div divu rem remu"),
        ("branch", "beq bne blt bge bltu bgeu beqz bnez blez bgez bltz bgtz bgt ble bgtu bleu j jr jal jalr ret"),
        ("alu", "add addi li lui la mv slli srai sltu snez seqz neg not and bset csrr fence ecall nop"),
    ],
)
def test_riscvs_instructions_have_classes(kind: str, mnemonics: str) -> None:
    assert {costs_riscv.classify(name) for name in mnemonics.split()} == {kind}


def test_flash_is_told_to_the_last_byte(digits: tuple[Path, Manifest]) -> None:
    count = bench.count(*digits)
    told = sum(layer.code_bytes + layer.const_bytes for layer in count.layers) + count.flash.rest
    assert told + sum(item.bytes for item in count.flash.shared) == count.flash_bytes
    assert sum(layer.const_bytes for layer in count.layers) == digits[1].const_bytes
    assert count.flash_bytes < firmware.firmware_size(digits[0]).flash_bytes
    assert count.ram_bytes == digits[1].arena_bytes
    assert 0 <= count.flash.rest < 500


def test_accesses_outside_of_what_is_allowed_are_found(toy: tuple[Path, Manifest]) -> None:
    out, content = toy
    path = firmware.build(out)
    image = firmware.firmware_image(out)
    arena = image.symbol("arena")
    stack = (image.symbol("linker_bss_end").address, image.symbol("linker_stack_top").address)

    def outside(*allowed: record.Allowance) -> record.Outside:
        found, _ = bench.counted(out, content, bench.watch(image, content, allowed))
        return found.outside

    code = record.Allowance(record.ALL_SPANS, 0, 2**16, "r")
    saved = record.Allowance(record.ALL_SPANS, *stack, "rw")
    first = record.Allowance(0, arena.address, arena.address + 6, "rw")
    second = record.Allowance(1, arena.address, arena.address + 8, "r")
    assert outside(code, saved, first, second).count == 0
    # Three accesses to the last byte that the first layer changes: not even when another layer might.
    narrow = dataclasses.replace(first, high=first.high - 1)
    found = outside(code, saved, narrow, second)
    assert (found.count, found.span, found.address, found.access) == (2, 0, arena.address + 5, "r")
    assert disassemble(path, "arm-none-eabi-")[found.pc].mnemonic.startswith("ldrsb")
    # Reading is not writing.
    found = outside(code, saved, dataclasses.replace(first, access="r"), second)
    assert (found.count, found.address, found.access) == (6, arena.address, "w")
    # A word that begins inside and ends outside.
    found = outside(code, saved, first, dataclasses.replace(second, high=second.high - 1))
    assert (found.count, found.span, found.address) == (2, 1, arena.address + 4)


def test_reads_and_writes_are_followed(toy: tuple[Path, Manifest]) -> None:
    out, content = toy
    firmware.build(out)
    image = firmware.firmware_image(out)
    start = image.symbol("arena").address

    def bytes_of(first: int, last: int) -> range:
        return range(start + first, start + last)

    # The first layer reads and writes six bytes in turn; counted from the second of them, it reads each too late. The
    # second layer writes nothing.
    pairs = {
        record.Pair(0, bytes_of(0, 6), bytes_of(0, 6)): Spacing(0, 6, in_place=True),
        record.Pair(0, bytes_of(1, 6), bytes_of(0, 6)): Spacing(1, 5, in_place=False),
        record.Pair(0, bytes_of(0, 6), bytes_of(2, 6)): Spacing(-2, 6, in_place=True),
        record.Pair(1, bytes_of(0, 8), bytes_of(0, 6)): Spacing(-8, -6, in_place=True),
    }
    found, _ = bench.counted(out, content, bench.watch(image, content, pairs=tuple(pairs)))
    assert found.spacings == tuple(pairs.values())


def test_layers_that_are_not_the_manifests_are_noticed(toy: tuple[Path, Manifest]) -> None:
    out, content = toy
    swapped = dataclasses.replace(content, layers=content.layers[::-1])
    with pytest.raises(ToolFailed, match="in their order"):
        bench.count(out, swapped)
    gone = dataclasses.replace(content, layers=(dataclasses.replace(content.layers[0], symbol="nobody"),))
    with pytest.raises(ToolFailed, match="no symbol nobody"):
        bench.count(out, gone)


def test_a_board_with_another_core_is_refused(toy: tuple[Path, Manifest]) -> None:
    with pytest.raises(UsageError, match="another core, cortex-m0"), bench.for_board(*toy, "microbit"):
        pass


def test_the_plugin_is_compiled_once_for_each_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = plugin.plugin()
    compiled = first.stat().st_mtime_ns
    assert first.is_relative_to(tmp_path / "cache" / "tinygen")
    assert plugin.plugin() == first
    assert first.stat().st_mtime_ns == compiled
    source = tmp_path / "counter.c"
    source.write_text(resource("firmware", "counter", "counter.c").read_text() + "\n")
    monkeypatch.setattr(plugin, "resource", lambda *parts: source)
    assert plugin.plugin() != first
    source.write_text("this is not C")
    with pytest.raises(ToolFailed, match="could not compile the counting plugin"):
        plugin.plugin()
    assert len(list(first.parent.iterdir())) == 2


def test_without_a_compiler_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ToolMissing, match="no C compiler"):
        plugin.plugin()


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot keep the counting plugin"):
        plugin.plugin()


def test_an_emulator_without_plugins_is_said(
    toy: tuple[Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "qemu-system-arm"
    fake.write_text("#!/bin/sh\necho '-kernel bzImage'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ToolMissing, match="takes no plugins"):
        bench.count(*toy)


@pytest.mark.parametrize("text", [None, "", "span -1 100\n100 1 0\n"])
def test_a_record_that_is_not_whole_is_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "record").write_text(text)
    with pytest.raises(ToolFailed):
        record.read(tmp_path / "record")


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x01\x01", b"\x7fELF\x02\x01" + bytes(100), b"MZ"])
def test_what_is_no_elf_file_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match="ELF"):
        elf.read(tmp_path / "x")


def test_estimates_are_shown_with_how_far_they_are_off(counted: bench.Count) -> None:
    expected = dataclasses.replace(counted.layers[1].estimate, instructions=11)
    layers = (counted.layers[0], dataclasses.replace(counted.layers[1], estimate=expected))
    table = bench_tables.count_table(dataclasses.replace(counted, layers=layers))
    shown = {column.header: list(column.cells) for column in table.columns}
    assert shown["estimate"][:2] == ["-", "11"]
    assert shown["off"][:2] == ["", "+10.0%"]
    assert "estimate" not in {column.header for column in bench_tables.count_table(counted).columns}
