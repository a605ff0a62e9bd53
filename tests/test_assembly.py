"""What assembly costs, from its text: counted against the emulator in test_ops_on_board.py and the benchmarks."""

from __future__ import annotations

import pytest

from tinygen import assembly, estimate

LOOPS = """
    @ r0 a pointer
    push    {r4-r7, lr}
    movs    r3, #10
1:  @ rows, runs 10 times
    ldr     r4, [r0], #4
    movs    r2, #100
2:  @ columns, runs 1,000 times
    smlad   r5, r4, r4, r5
    subs    r2, #1
    bne     2b
3:  @ the end of a row, runs 10 times
    subs    r3, #1
    bne.w   1b
4:  @ done, runs once
    .balign 4
    pop     {r4-r7, pc}
"""

ONE_CYCLE = {"alu": 1.0, "taken": 2.0, "register": 1.0}


def test_every_block_counts_as_often_as_it_runs() -> None:
    assert assembly.instructions(LOOPS) == 2 + 10 * 2 + 1000 * 3 + 10 * 2 + 1


def test_a_branch_falls_through_as_often_as_what_follows_runs() -> None:
    taken = {(str(i), n): t for i, n, t in assembly.executions(LOOPS) if assembly.is_branch(i)}
    assert sorted(taken.values()) == [1, 9, 990]  # the return, the rows, the columns


def test_cycles_are_the_instructions_costs_and_the_taken_branches() -> None:
    found = estimate.of_assembly(LOOPS, {}, data=0, scratch=0, table=ONE_CYCLE)
    moved = 5 + 5  # registers of push and pop
    wrapper = found.instructions - assembly.instructions(LOOPS)  # type: ignore[operator]
    assert found.cycles == found.instructions + moved + 2 * (1 + 9 + 990)  # type: ignore[operator]
    assert wrapper > 0


def test_without_a_cost_table_no_cycles_are_made_up() -> None:
    assert estimate.of_assembly(LOOPS, {}, data=0, scratch=0, table={}).cycles is None


def test_a_label_that_does_not_say_how_often_it_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="1:  @ rows"):
        assembly.blocks("1:  @ rows\n    nop\n")


def test_layers_that_share_a_text_have_their_own_numbers_for_names_in_it() -> None:
    named = LOOPS.replace("1,000", "{columns}")
    assert assembly.instructions(named, {"columns": 1000}) == assembly.instructions(LOOPS)
    each = LOOPS.replace("1,000", "250 * {columns}")
    assert assembly.instructions(each, {"columns": 4}) == assembly.instructions(LOOPS)
    assert assembly.instructions(named, {"columns": 7}) == assembly.instructions(LOOPS) - 3 * (1000 - 7)
    taken = [[t for _, _, t in assembly.executions(*text)] for text in ((named, {"columns": 1000}), (LOOPS,))]
    assert taken[0] == taken[1]
    with pytest.raises(ValueError, match="columns"):
        assembly.instructions(named, {"rows": 10})


def test_copies_of_a_block_take_as_many_bytes_and_run_together() -> None:
    once = "    add     pc, r1\n1:  @ some of them, runs 7 times\n    adds    r0, r0, r1\n    muls    r0, r1\n"
    repeated = once.replace("    adds", "    .rept   5\n    adds") + "    .endr\n"
    assert assembly.instructions(repeated) == assembly.instructions(once) == 1 + 7 * 2
    assert assembly.code_bytes(repeated) - assembly.code_bytes(once) == 4 * assembly.code_bytes(
        once[once.index("1:") :]
    )
    assert [taken for _, _, taken in assembly.executions(repeated)] == [1, 0, 0]
