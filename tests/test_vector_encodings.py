"""Vector instructions cost the same in a firmware, whatever objdump makes of them, as in the text that is assembled."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tinygen import costs
from tinygen.counting.disassembly import disassemble
from tinygen.counting.vector_encodings import vector_text
from tinygen.target import load_core

INSTRUCTIONS = """
vldrb.u8 q0, [r1, #16]
vldrb.u8 q0, [r1], #16
vldrw.u32 q4, [r9], #16
vldrb.s16 q0, [r1]
vldrb.u8 q0, [r1, q2]
vldrb.s16 q0, [r1, q2]
vldrb.u32 q0, [r1, q2]
vldrb.u16 q0, [r1, #8]
vldrh.u16 q0, [r1, q2, uxtw #1]
vldrw.u32 q0, [r1, q2]
vldrw.u32 q0, [q2, #8]
vldrw.u32 q0, [q2, #8]!
vldrd.u64 q0, [q2, #8]
vld40.32 {q0, q1, q2, q3}, [r1]
vld20.8 {q0, q1}, [r1]
vstrb.8 q0, [r3], #16
vstrb.16 q0, [r11, q7]
vstrb.32 q0, [r11, q7]
vstrw.32 q0, [r1, q7]
vstrw.32 q0, [q2, #8]
vst41.8 {q0, q1, q2, q3}, [r1]!
vstrb.16 q0, [r5], #8
vstrh.16 q0, [r5], #16
vstrh.16 q0, [r11, q7, uxtw #1]
vstrw.32 q0, [r1]
vmladav.s8 r0, q4, q0
vmladava.s8 lr, q4, q0
vmladava.s16 r2, q4, q1
vmladava.s32 r2, q4, q1
vmlaldava.s16 r0, r1, q0, q1
vmlas.s32 q0, q6, r0
vmla.s32 q0, q6, r0
vqdmulh.s32 q0, q0, r2
vqdmulh.s32 q0, q0, q2
vmul.i32 q0, q1, q2
vmul.i32 q0, q1, r2
vmulh.s8 q0, q0, q1
vmullb.s8 q0, q1, q2
vqrshrnb.s32 q0, q0, #12
vqrshrnt.s32 q0, q1, #12
vqmovnb.s16 q0, q0
vqmovnb.s32 q1, q1
vqmovnt.s32 q0, q1
vqadd.s16 q0, q0, q6
vqadd.s16 q0, q0, r9
vmvn.i16 q6, #127
vldrb.s32 q1, [r3], #32
vcvt.f32.s32 q0, q0
vcvtn.s32.f32 q0, q0
vmul.f32 q0, q0, r7
vmul.f32 q0, q2, q0
vadd.f32 q0, q0, q1
vadd.f32 q1, q1, r11
vfmas.f32 q1, q2, r6
vfma.f32 q1, q3, r10
vmovnb.i16 q0, q1
vmovlb.s8 q0, q1
vmov q0[2], q0[0], r0, r4
vmov r0, r4, q0[2], q0[0]
vmov.i8 q1, #3
vdup.32 q0, r1
vadd.i32 q0, q0, q1
vadd.i32 q0, q0, r2
vsub.i32 q0, q0, q1
vhadd.s8 q0, q0, q1
vqadd.s8 q0, q0, q1
vshl.s32 q0, q0, #3
vmax.s8 q0, q0, q1
vmaxv.s8 r0, q1
vabd.s8 q0, q0, q1
vrev32.8 q0, q1
vand q0, q1, q2
vpsel q0, q1, q2
vcmp.s32 lt, q0, q1
vcmp.s32 lt, q0, r1
vaddv.s8 r0, q0
vaddva.s8 r0, q0
vctp.16 r0
vpst
vldrbt.u8 q0, [r1]
vpt.s32 lt, q0, r1
vaddt.i32 q0, q0, r2
vpt.s32 gt, q0, q2
vaddt.i32 q2, q2, q1
dlstp.8 lr, r4
ldrd r0, r2, [r9], #8
vpush {d8-d15}
vldr s0, [r0]
vmla.f32 s0, s1, s2
"""


def test_vector_instructions_are_classed_alike(tmp_path: Path) -> None:
    lines = INSTRUCTIONS.strip().splitlines()
    (tmp_path / "v.S").write_text(".syntax unified\n.thumb\n" + INSTRUCTIONS)
    core = load_core("cortex-m55")
    command = [f"{core.toolchain}gcc", *core.flags, "-c", "v.S", "-o", "v.o"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found = [each for _, each in sorted(disassemble(tmp_path / "v.o", core.toolchain).items())]
    assert len(found) == len(lines)
    for line, instruction in zip(lines, found, strict=True):
        mnemonic, _, operands = line.partition(" ")
        assert instruction.kind == costs.classify(mnemonic, operands), line
        if instruction.kind in ("vector_gather", "vector_scatter"):
            table = core.cost.cycles
            assert instruction.cycles(table) == costs.cycles(table, mnemonic, operands), line


def test_coprocessors_keep_their_instructions() -> None:
    assert vector_text("ldc", 0xED91, 0x1200) is None
    assert vector_text("cdp", 0xEE21, 0x0242) is None
    assert vector_text("add.w", 0xEB00, 0x0F01) is None
