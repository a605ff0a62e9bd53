"""The bound of the stack: what instructions move, where they lead, and where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import pytest

from tinygen.counting.disassembly import Instruction
from tinygen.errors import ToolFailed
from tinygen.report.stack_text import stack_text
from tinygen.stack import Bound, bound
from tinygen.stack_avr import AvrCalls
from tinygen.stack_riscv import RiscvCalls
from tinygen.stack_use import UNPAINTED, StackUse

NAMES = {0x100: "invoke", 0x200: "layer", 0x300: "helper"}


def found(**functions: str) -> Bound:
    """Of `invoke`: functions by name, an instruction in each line, two bytes each."""
    return bound(code_of(functions), NAMES, 0x100)


def found_on_riscv(**functions: str) -> Bound:
    """The same in RISC-V's instructions."""
    return RiscvCalls(code_of(dict.fromkeys(NAMES.values(), "ret") | functions), NAMES).bound(0x100)


def found_on_avr(return_bytes: int = 2, **functions: str) -> Bound:
    """The same in AVR's, of a function that returns to where two or three bytes say."""
    code = code_of(dict.fromkeys(NAMES.values(), "ret") | functions)
    return AvrCalls(code, NAMES, {0x106: "__tablejump2__", 0x204: "inside"}, return_bytes).bound(0x100)


def code_of(functions: Mapping[str, str]) -> dict[int, Instruction]:
    return {
        start + 2 * index: Instruction(*line.strip().partition(" ")[::2], previous="")
        for start, name in NAMES.items()
        for index, line in enumerate(functions.get(name, "bx lr").strip().splitlines())
    }


@pytest.mark.parametrize(
    ("body", "deepest"),
    [
        ("bx lr", 0),
        ("push {r4, r5, lr}\npop {r4, r5, pc}", 12),
        ("stmdb sp!, {r4, r5, r6, r7, r8, lr}\nvpush {d8-d15}\nvpop {d8-d15}\nldmia.w sp!, {r4, r5, pc}", 24 + 64),
        ("vpush {s16}\nvpop {s16}\nbx lr", 4),
        ("push {lr}\nsub sp, #20\nadd sp, #20\npop {pc}", 24),
        ("sub.w sp, sp, #512\nadd.w sp, sp, #512\nbx lr", 512),
        ("str.w lr, [sp, #-4]!\nstrd r4, r5, [sp, #-16]!\nldrd r4, r5, [sp], #16\nldr.w pc, [sp], #4", 20),
        ("str r0, [sp, #4]\nldmia.w sp, {r8, r9}\nldr r1, [sp]\nadd r2, sp, #64\ncmp sp, r2\nbx lr", 0),
    ],
)
def test_what_instructions_move(body: str, deepest: int) -> None:
    assert found(invoke=body) == Bound(deepest, ("invoke",))


@pytest.mark.parametrize(
    ("body", "deepest"),
    [
        # Around a frame that is larger than the other one.
        ("cbz r0, 10a\npush {r4, r5, r6, lr}\nnop\nnop\npop {r4, r5, r6, pc}\npush {lr}\npop {pc}", 16),
        # A loop, in which a value is pushed and popped again.
        ("push {lr}\npush {r0}\npop {r0}\nbne.n 102\npop {pc}", 8),
        ("push {lr}\npush {r0, r1}\npop {r0, r1}\nle lr, 102\npop {pc}", 12),
        # A return that is not always taken.
        ("push {lr}\nit eq\npopeq {pc}\npush {r0, r1}\nadd sp, #8\npop {pc}", 12),
        # What lies behind a return is reached by a jump only.
        ("b.w 106\npush {r0, r1, r2, r3}\nbx lr\npush {r0}\nadd sp, #4\nbx lr", 4),
        # A jump table, of halfwords behind the jump: to 0x102 + 2 * 3 and, padded with zero, nowhere else.
        ("tbh [pc, r0, lsl #1]\n.word 0x00000003\nbx lr\nbx lr\npush {r0, r1}\npop {r0, r1}\nbx lr", 8),
        # A jump by a table of addresses may lead to what no branch does, with the frame that it has.
        ("push {lr}\nmov pc, r3\npop {pc}\npush {r0, r1}\nadd sp, #8\npop {pc}\n.word 0x00000100", 12),
        ("push {lr}\nadd pc, sl\npop {pc}\npush {r0, r1}\nadd sp, #8\npop {pc}", 12),
    ],
)
def test_every_path_is_followed(body: str, deepest: int) -> None:
    assert found(invoke=body).bytes == deepest


def test_what_aligns_the_next_function_is_never_reached() -> None:
    jumps = "push {lr}\nmov pc, r3\npop {pc}\nnop"
    assert found(invoke=jumps, layer="push {r4, lr}\npop {r4, pc}") == Bound(4, ("invoke",))


def test_calls_add_up_along_the_deepest_path() -> None:
    layer = "push {r4, lr}\nsub sp, #40\nadd sp, #40\nbl 300\npop {r4, pc}"
    helper = "push {r4, r5, r6, r7, r8, lr}\nsub sp, #24\nadd sp, #24\npop {r4, r5, r6, r7, r8, pc}"
    calls = "push {r4, lr}\nbl 300\nbl 200\npop {r4, pc}"
    assert found(invoke=calls, layer=layer, helper=helper) == Bound(8 + 8 + 48, ("invoke", "layer", "helper"))
    assert found(invoke=calls, layer=layer) == Bound(8 + 48, ("invoke", "layer"))


def test_a_jump_out_of_a_function_is_a_call_with_its_own_frame_gone() -> None:
    jumps = "push {r4, lr}\npop {r4, lr}\nb.w 200"
    assert found(invoke=jumps, layer="push {r4, r5, r6, lr}\npop {r4, r5, r6, pc}") == Bound(16, ("invoke", "layer"))
    assert found(invoke=jumps, layer="push {lr}\npop {pc}") == Bound(8, ("invoke",))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("blx r3\nbx lr", "blx r3 goes where a register points to, at 0x200"),
        ("bx r3", "bx r3 goes where a register points to, at 0x200"),
        ("ldr.w pc, [pc, #0]", "where a register points to"),
        ("mov sp, r7\nbx lr", "mov sp, r7 moves the stack pointer"),
        ("sub.w sp, sp, r3\nbx lr", "sub sp, sp, r3 moves the stack pointer"),
        ("push {r0}\nb.n 200", "a loop moves the stack pointer"),
        ("push {lr}\nbl 200\npop {pc}", "it calls itself"),
        ("bl 100\nbx lr", "it calls itself"),
        (".word 0x00000000", "execution runs into data"),
        ("bl 400\nbx lr", "it goes on at 0x400, where there is no instruction"),
    ],
)
def test_where_there_is_no_bound_it_says_why(layer: str, reason: str) -> None:
    none = found(invoke="push {r4, lr}\nbl 200\npop {r4, pc}", layer=layer)
    assert none.bytes is None
    assert none.path[:2] == ("invoke", "layer")
    assert reason in none.reason


def test_veneers_lead_to_what_a_branch_does_not_reach() -> None:
    far = found(
        invoke="push {lr}\nbl 300\npop {pc}",
        helper="ldr.w pc, [pc]\nnop\n.word 0x00000201",
        layer="push {r4, lr}\nbx lr",
    )
    assert far == Bound(4 + 8, ("invoke", "helper", "layer"))
    assert found(invoke="ldr.w pc, [pc]").bytes is None


@pytest.mark.parametrize(
    ("used", "bound", "has_interrupts", "exceeds"),
    [
        (200, 200, False, False),
        (201, 200, False, True),
        (UNPAINTED, 8, False, False),  # painting cannot show less
        (UNPAINTED + 1, 8, False, True),
        (201, 200, True, False),
        (None, 200, False, False),
        (201, None, False, False),
    ],
)
def test_more_stack_than_the_bound_is_said_loudly(
    used: int | None, bound: int | None, has_interrupts: bool, exceeds: bool
) -> None:
    use = StackUse("kws_invoke", used, Bound(bound, ("kws_invoke", "layer_7"), "a reason"), has_interrupts)
    assert use.exceeds == exceeds
    assert stack_text(use).startswith("Stack of kws_invoke(): ")
    with pytest.raises(ToolFailed, match="kws_invoke > layer_7") if exceeds else nullcontext():
        use.check()


@pytest.mark.parametrize(
    ("body", "deepest"),
    [
        ("ret", 0),
        ("add sp,sp,-16\nsw ra,12(sp)\nlw ra,12(sp)\nadd sp,sp,16\nret", 16),
        ("addi sp,sp,-32\naddi sp,sp,-480\nmv a0,sp\nsw sp,4(a0)\naddi sp,sp,512\nret", 512),
        # Around a frame that is larger than the other one.
        ("beqz a0,10a\nadd sp,sp,-64\nadd sp,sp,64\nret\nnop\nadd sp,sp,-16\nadd sp,sp,16\nret", 64),
        # What lies behind a jump or a return is reached by a jump only.
        ("j 106\nadd sp,sp,-64\nret\nadd sp,sp,-16\nadd sp,sp,16\nret", 16),
        # A loop.
        ("add sp,sp,-16\nadd sp,sp,-16\nadd sp,sp,16\nbltu a0,a1,102\nadd sp,sp,16\nret", 32),
        # A jump by a table of addresses may lead to what no branch does, with the frame that it has.
        ("add sp,sp,-16\njr a5\nadd sp,sp,16\nret\nadd sp,sp,-32\nadd sp,sp,48\nret", 48),
        # To an address that was loaded just before.
        ("add sp,sp,-16\njalr -4(ra) # 200\nadd sp,sp,16\nret", 16 + 80),
        ("add sp,sp,-16\nadd sp,sp,16\njr 12(t1) # 200", 80),
        # At the end of the function: the other one has the frame to itself.
        ("add sp,sp,-16\nadd sp,sp,16\nj 200", 80),
        ("add sp,sp,-16\njal 200\njal ra,300\nadd sp,sp,16\nret", 16 + 80),
    ],
)
def test_every_path_is_followed_on_riscv(body: str, deepest: int) -> None:
    layer = "add sp,sp,-48\njal 300\nadd sp,sp,48\nret"
    helper = "add sp,sp,-32\nadd sp,sp,32\nret"
    assert found_on_riscv(invoke=body, layer=layer, helper=helper).bytes == deepest


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("jalr a5\nret", "jalr a5 goes where a register points to, at 0x200"),
        ("jal t0,300\nret", "keeps no return address in ra"),
        ("mv sp,s0\nret", "mv sp,s0 moves the stack pointer"),
        ("add sp,sp,t0\nret", "add sp,sp,t0 moves the stack pointer"),
        ("sub sp,sp,a0\nret", "sub sp,sp,a0 moves the stack pointer"),
        ("lw sp,0(a0)\nret", "lw sp,0(a0) moves the stack pointer"),
        ("add sp,sp,-16\nj 200", "a loop moves the stack pointer"),
        ("jal 100\nret", "it calls itself"),
        (".word 0x00000000", "execution runs into data"),
        ("jal 400\nret", "it goes on at 0x400, where there is no instruction"),
    ],
)
def test_where_there_is_no_bound_on_riscv_it_says_why(layer: str, reason: str) -> None:
    none = found_on_riscv(invoke="add sp,sp,-16\njal 200\nadd sp,sp,16\nret", layer=layer)
    assert none.bytes is None
    assert none.path[:2] == ("invoke", "layer")
    assert reason in none.reason


# As GCC makes room, and gives it back.
FRAME = "in r0, 0x3f\ncli\nout 0x3e, r29\nout 0x3f, r0\nout 0x3d, r28"
MAKES = f"push r28\npush r29\nin r28, 0x3d\nin r29, 0x3e\nsbiw r28, 0x16\n{FRAME}"
GIVES_BACK = f"adiw r28, 0x16\n{FRAME}\npop r29\npop r28\nret"


@pytest.mark.parametrize(
    ("body", "deepest"),
    [
        ("ret", 0),
        ("push r2\npop r2\nret", 1),
        ("rcall .+0\nrcall .+0\npop r0\npop r0\npop r0\npop r0\nret", 4),
        (f"{MAKES}\n{GIVES_BACK}", 2 + 22),
        (f"in r28, 0x3d\nin r29, 0x3e\nsubi r28, 0x2C\nsbci r29, 0x01\n{FRAME}\nret", 300),
        (f"in r28, 0x3d\nin r29, 0x3e\nsubi r28, 0x4F\nsbc r29, r1\n{FRAME}\nret", 79),
        (f"push r2\npush r3\nsubi r28, 0xFE\nsbci r29, 0xFF\n{FRAME}\npush r2\npop r2\nret", 2),
        # A skipped instruction, of one word or of two, and what is skipped to.
        ("sbrs r24, 0\nrjmp .+4\npush r2\nret\npush r2\npush r3\npush r4\nret", 3),
        # A loop, and a table of addresses, to whose code nothing else leads.
        ("push r2\npop r2\nbrne .-6\nret", 1),
        ("rjmp .+4\nnop\nret\nijmp\npush r2\npush r3\npop r3\npop r2\nret", 2),
    ],
)
def test_what_avrs_instructions_move_and_where_they_lead(body: str, deepest: int) -> None:
    assert found_on_avr(invoke=body) == Bound(2 + deepest, ("invoke",))


@pytest.mark.parametrize("return_bytes", [2, 3])
def test_avrs_calls_push_where_they_return_to(return_bytes: int) -> None:
    layer = "push r2\nrcall .+252\npop r2\nret"  # from 0x202 on to the helper
    helper = "push r2\npush r3\npop r3\npop r2\nret"
    nested = found_on_avr(return_bytes, invoke="call 0x200\nret", layer=layer, helper=helper)
    assert nested == Bound(3 * return_bytes + 3, ("invoke", "layer", "helper"))
    jump = found_on_avr(return_bytes, invoke="push r2\npop r2\njmp 0x300", helper=helper)
    assert jump == Bound(return_bytes + 2, ("invoke", "helper"))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("icall\nret", "icall goes where a register points to, at 0x200"),
        ("out 0x3d, r28\nret", "out 0x3d, r28 moves the stack pointer"),
        (f"sub r28, r26\nsbc r29, r27\n{FRAME}\nret", "moves the stack pointer no one knows how far"),
        ("push r0\nrjmp .-4", "a loop moves the stack pointer"),
        ("call 0x100\nret", "it calls itself"),
        (".word 0xffff", "execution runs into data"),
    ],
)
def test_where_avr_has_no_bound_it_says_why(layer: str, reason: str) -> None:
    none = found_on_avr(invoke="call 0x200\nret", layer=layer)
    assert none.bytes is None and none.path[:2] == ("invoke", "layer")
    assert reason in none.reason
