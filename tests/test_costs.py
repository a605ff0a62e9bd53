"""Classes of instructions and their cycles: what the technical reference manuals say of single instructions."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tinygen import costs
from tinygen.target import load_core

M4 = load_core("cortex-m4").cost.cycles


def straight_line(table: Mapping[str, float], instructions: Sequence[str]) -> float:
    """Cycles of instructions executed one after the other."""
    total = 0.0
    for previous, text in zip(["", *instructions], instructions, strict=False):
        mnemonic, _, operands = text.partition(" ")
        total += costs.cycles(table, mnemonic, operands, previous)
    return total


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("add r0, r1", "alu"),
        ("addeq.w r0, r1, r2, lsl #4", "alu"),
        ("bic r0, r1", "alu"),
        ("bfi r0, r1, #0, #8", "alu"),
        ("teq r0, r1", "alu"),
        ("it eq", "alu"),
        ("nop", "alu"),
        ("ssat r3, #8, r3, asr #5", "alu"),
        ("sxtb16 r8, r9, ror #8", "alu"),
        ("pkhbt r8, r9, r10, lsl #16", "alu"),
        ("muls r0, r1, r0", "multiply"),
        ("smulbb r0, r1, r2", "multiply"),
        ("smuad r0, r1, r2", "multiply"),
        ("smmulr r0, r1, r2", "multiply"),
        ("mla r0, r1, r2, r3", "multiply_accumulate"),
        ("mlsne r0, r1, r2, r3", "multiply_accumulate"),
        ("smlad r0, r1, r2, r0", "multiply_accumulate"),
        ("smladx r0, r1, r2, r0", "multiply_accumulate"),
        ("smlatb r0, r1, r2, r0", "multiply_accumulate"),
        ("smlawb r0, r1, r2, r0", "multiply_accumulate"),
        ("smmla r0, r1, r2, r0", "multiply_accumulate"),
        ("umull r0, r1, r2, r3", "multiply_long"),
        ("smulls r0, r1, r2, r3", "multiply_long"),
        ("smlal r0, r1, r2, r3", "multiply_accumulate_long"),
        ("smlald r0, r1, r2, r3", "multiply_accumulate_long"),
        ("smlalbt r0, r1, r2, r3", "multiply_accumulate_long"),
        ("umaal r0, r1, r2, r3", "multiply_accumulate_long"),
        ("sdiv r0, r1, r2", "divide"),
        ("ldr.w r0, [r1, r2, lsl #2]", "load"),
        ("ldrsbne r0, [r1]", "load"),
        ("ldrh r0, [r1], #2", "load"),
        ("strb r0, [r1, #1]", "store_immediate"),
        ("str r0, [sp]", "store_immediate"),
        ("str r0, [r1, r2]", "store"),
        ("strb.w r0, [r1], #1", "store"),
        ("str r0, [r1, #4]!", "store"),
        ("ldrd r0, r1, [r2], #8", "load_pair"),
        ("strd r0, r1, [r2]", "store_pair"),
        ("ldmia.w r0!, {r1, r2}", "load_multiple"),
        ("pop {r4, lr}", "load_multiple"),
        ("pop {r4, pc}", "load_multiple_return"),
        ("ldmia.w sp!, {r4-r11, pc}", "load_multiple_return"),
        ("vpop {d8-d9}", "load_multiple"),
        ("stmdb sp!, {r4-r11, lr}", "store_multiple"),
        ("push {r4, lr}", "store_multiple"),
        ("b.n 8000", "branch"),
        ("bl 8000 <f>", "call"),
        ("ble.n 8000", "branch"),
        ("bls 8000", "branch"),
        ("blt 8000", "branch"),
        ("bx lr", "branch"),
        ("bxeq lr", "branch"),
        ("cbnz r0, 8000", "branch"),
        ("tbb [pc, r0]", "table_branch"),
        ("dlstp.8 lr, r0", "loop"),
        ("le lr, 8000", "loop"),
        ("letp lr, 8000", "loop"),
        ("vadd.f32 s0, s1, s2", "float"),
        ("vcvt.s32.f32 s0, s0", "float"),
        ("vcmpe.f32 s0, #0.0", "float"),
        ("vmla.f32 s0, s1, s2", "float_multiply_accumulate"),
        ("vfnms.f32 s0, s1, s2", "float_multiply_accumulate"),
        ("vsqrt.f32 s0, s1", "float_divide"),
        ("vmov s0, r1", "float_move"),
        ("vmov.f32 s0, #1.0", "float_move"),
        ("vmov r0, r1, s0, s1", "float_move_pair"),
        ("vmov d0, r0, r1", "float_move_pair"),
        ("vldr s0, [r0, #4]", "float_load"),
        ("vldr d0, [r0, #4]", "float_load_pair"),
        ("vstr s0, [r0]", "float_store"),
        ("vstr d0, [r0]", "float_store_pair"),
        ("vldrb.u8 q0, [r0], #16", "vector_load"),
        ("vld20.8 {q0, q1}, [r0]", "vector_load"),
        ("vstrw.32 q0, [r0]", "vector_store"),
        ("vldrb.u8 q2, [r9, q0]", "vector_gather"),
        ("vldrw.u32 q2, [q0, #4]", "vector_gather"),
        ("vstrb.16 q0, [r3, q7]", "vector_scatter"),
        ("vstrbt.32 q0, [r3, q7]", "vector_scatter"),
        ("vmladava.s8 r0, q0, q1", "vector_multiply"),
        ("vmlas.s32 q0, q1, r0", "vector_multiply"),
        ("vqrdmulh.s32 q0, q1, q2", "vector_multiply"),
        ("vqdmulh.s32 q0, q1, r2", "vector_multiply"),
        ("vrmulh.s8 q0, q1, q2", "vector_multiply"),
        ("vadd.i32 q0, q1, q2", "vector"),
        ("vqrshrnb.s32 q0, q1, #4", "vector"),
        ("vpst", "vector_control"),
        ("vpstt", "vector_control"),
        ("vctp.8 r0", "vector_control"),
        ("vcmp.s8 gt, q0, q1", "vector_compare"),
        ("vpt.s8 gt, q0, q1", "vector_compare"),
        ("vaddv.s32 r0, q0", "vector_compare"),
        ("vaddlva.s32 r0, r1, q0", "vector_compare"),
        ("vmov.i32 q0, #0", "vector"),
    ],
)
def test_classes(text: str, expected: str) -> None:
    mnemonic, _, operands = text.partition(" ")
    assert costs.classify(mnemonic, operands) == expected
    assert expected in costs.CLASSES


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        (["add r0, r1, r2"], 1),
        (["ldr r0, [r1]"], 2),
        (["ldr r0, [r1]", "ldr r2, [r3]"], 3),
        (["ldr r0, [r1]", "ldr r2, [r0]"], 4),  # needs the loaded address
        (["ldr r0, [r1]", "ldr r2, [r10]"], 3),  # r10 is not r1
        (["ldr r1, [r2]", "ldr r0, [r11]"], 3),
        (["ldr r0, [r1, r2]", "str r0, [r3, #20]"], 3),  # may store what was loaded
        (["ldr r0, [r1, r2]", "str r1, [r3, r2]"], 3),
        (["str r0, [r1, r2]", "ldr r3, [r4]"], 4),  # nothing is pipelined after a store
        (["ldr r0, [r1]", "add r4, r4, #1", "ldr r2, [r3]"], 5),
        (["ldr r0, [r1]", "ldrd r2, r3, [r4]"], 5),  # nor is LDRD
        (["ldrd r2, r3, [r4]", "ldr r0, [r1]"], 5),
        (["str r0, [r1, #4]"], 1),
        (["strb r0, [r1], #1"], 2),
        (["ldm r0!, {r1, r2, r3}"], 4),
        (["push {r4-r11, lr}"], 10),
        (["vpush {d8-d15}"], 17),
        (["vldm r0, {s0-s3}"], 5),
        (["smlad r0, r1, r2, r0"], 1),
        (["smlal r0, r1, r2, r3"], 1),
        (["vmov r0, s0", "vmov r0, r1, s0, s1"], 3),
    ],
)
def test_cycles_of_the_m4(instructions: list[str], expected: float) -> None:
    assert straight_line(M4, instructions) == expected


def test_vectors_of_addresses_cost_by_lane() -> None:
    table = load_core("cortex-m55").cost.cycles
    for text, lanes in (("vldrb.u8 q2, [r9, q0]", 16), ("vstrb.16 q0, [r3, q7]", 8), ("vstrw.32 q0, [r3, q7]", 4)):
        assert straight_line(table, [text]) == lanes * table["vector_gather"]
        assert straight_line(table, ["vmul.i32 q1, q2, q3", text]) == table["vector_multiply"] + lanes


def test_vector_units_overlap() -> None:
    table = load_core("cortex-m55").cost.cycles
    load, multiply = "vldrw.u32 q0, [r0], #16", "vmladava.s8 r2, q1, q2"
    assert straight_line(table, [load, multiply, load, multiply]) == 5
    assert straight_line(table, [load, load, multiply, multiply]) == 7
    store, shift = "vstrw.32 q0, [r1], #16", "vshr.s32 q0, q0, #4"
    assert straight_line(table, [load, store]) == 4  # both need the memory
    assert straight_line(table, [load, shift, store, multiply]) == 5


@pytest.mark.parametrize(
    ("core", "call", "branch", "push", "pop"), [("cortex-m0", 4, 3, 4, 7), ("cortex-m0plus", 3, 2, 4, 6)]
)
def test_calls_and_returns_of_small_cores(core: str, call: int, branch: int, push: int, pop: int) -> None:
    """As the manuals have them: BL, B taken, PUSH of three registers, POP of three with PC."""
    table = load_core(core).cost.cycles
    assert costs.cycles(table, "bl", "8000 <f>") + table["taken"] == call
    assert costs.cycles(table, "b.n", "8000") + table["taken"] == branch
    assert costs.cycles(table, "push", "{r4, r5, lr}") == push
    assert costs.cycles(table, "pop", "{r4, r5, pc}") + table["taken"] == pop


def test_what_a_core_cannot_execute_costs_as_data_processing_does() -> None:
    assert costs.cycles(load_core("cortex-m0").cost.cycles, "sdiv", "r0, r1, r2") == 1


def test_the_text_of_compiler_and_disassembler_are_classed_alike(tmp_path: Path) -> None:
    source = """
    typedef struct { int x[9]; } nine_t;
    int mixed(const signed char *a, const short *b, int n, nine_t *to, float *f, long long *wide)
    {
        int sum = 0;
        for (int i = 0; i < n; i++) { sum += a[i] * b[i]; wide[i] += (long long)a[i] * sum; f[i] *= 0.5f; }
        nine_t local = *to; local.x[n & 7] = sum / n; *to = local;
        return sum;
    }
    """
    (tmp_path / "m.c").write_text(source)
    core = load_core("cortex-m4")

    def run(*command: str) -> str:
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    run(f"{core.toolchain}gcc", *core.flags, "-O2", "-S", "m.c")
    run(f"{core.toolchain}gcc", *core.flags, "-c", "m.s")
    lines = re.findall(r"^\t([a-z].*)$", (tmp_path / "m.s").read_text(), re.MULTILINE)
    ours = [costs.classify(*re.split(r"\s+|$", line, maxsplit=1)) for line in lines]
    listed = run(f"{core.toolchain}objdump", "-d", "--no-show-raw-insn", "m.o")
    found = re.findall(r"^ +[0-9a-f]+:\t(\S+)(?:[ \t]+(.*))?$", listed, re.MULTILINE)
    theirs = [costs.classify(*words) for words in found if not words[0].startswith(".")]
    assert ours == theirs[: len(ours)]  # the section may end with a NOP
    assert {"load", "load_multiple", "multiply_accumulate", "divide", "branch"} <= set(ours)
