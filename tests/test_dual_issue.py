"""Code for cores that issue two instructions in a cycle: it does what it did, and what pairs is what is known to."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from board_cases import those_that_fit
from building import differences, varied
from case_files import case_file
from emulated_bench import Bench
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cases import NAMED, cases_of_each_kernel, named_cases
from symbolic import Machine, is_known

from tinygen import assembly, dual_issue
from tinygen.dual_issue.text import NOTE
from tinygen.emit import render
from tinygen.goal import STYLES
from tinygen.kernel import Kernel
from tinygen.ops import registry
from tinygen.pipeline import decode
from tinygen.select import site_of, usable
from tinygen.target import load_core

CORE = load_core("cortex-m7")
TABLE = CORE.cost.cycles
ASSEMBLY = [kernel for kernel in registry.KERNELS if kernel.assembly and kernel.requires <= CORE.features]


def pieces(text: str) -> list[list[str]]:
    """Lines that the symbolic machine can run one after the other, and between them, alone, every other line."""
    found = []
    for known, lines in itertools.groupby((line for line in text.splitlines() if line != NOTE), is_known):
        run = list(lines)
        found += [run] if known else [[line] for line in run]
    return found


def same(before: str, after: str) -> bool:
    """Whether two functions do the same, piece by piece, where only instructions that the machine knows have moved."""
    ours, theirs = pieces(before), pieces(after)
    return len(ours) == len(theirs) and all(
        Machine().run(a) == Machine().run(b) if is_known(a[0]) and is_known(b[0]) else a == b
        for a, b in zip(ours, theirs, strict=True)
    )


def texts() -> Iterator[tuple[str, str]]:
    """A function of every kernel in assembly, by the kernel's name."""
    for (name, _), cases in cases_of_each_kernel(NAMED, CORE).items():
        for kernel in ASSEMBLY:
            if kernel.name == name:
                yield from ((name, text) for text in itertools.islice(_functions(kernel, cases), 1))


def _functions(kernel: Kernel, cases: Sequence[str]) -> Iterator[str]:
    for case in cases:
        file, data = case_file(NAMED[case])
        graph = decode(data, file).graph
        for node, style in itertools.product(graph.nodes, STYLES):
            site = site_of(graph, node, CORE, style)
            if kernel in usable(site):
                yield render(kernel.template, **kernel.prepare(site).values).strip("\n")


def test_every_kernel_does_what_it_did() -> None:
    changed = set()
    for kernel, text in texts():
        for may_grow in (False, True):
            after = dual_issue.arranged(text, may_grow)
            assert same(text, after), kernel
            changed |= {kernel} if after != text else set()
    assert len(changed) > 20


REGISTERS = ("r0", "r1", "r2", "r3", "r4", "r12", "lr")
register = st.sampled_from(REGISTERS)
offset = st.sampled_from((0, 4, 8))


@st.composite
def instruction(draw: st.DrawFn) -> str:
    a, b, c, d, n = draw(register), draw(register), draw(register), draw(register), draw(offset)
    other = draw(st.sampled_from([name for name in REGISTERS if name != a]))
    listed = "{" + ", ".join(name for name in REGISTERS if name in {b, c, d} - {a}) + "}"
    forms = [
        f"ldr     {a}, [{other}, #{n}]",
        f"ldr     {a}, [{other}], #4",
        f"ldrsb   {a}, [{other}, #4]!",
        f"ldrd    {a}, {other}, [{b}, #{n}]" if b not in (a, other) else f"mov     {a}, {b}",
        f"str     {a}, [{b}, #{n}]",
        f"strb    {a}, [{other}], #1",
        f"strd    {a}, {b}, [{c}]",
        f"ldmia   {a}!, {listed}" if listed != "{}" else f"mvn     {a}, {b}",
        f"stmia   {a}!, {listed}" if listed != "{}" else f"mov     {a}, #3",
        f"smlad   {a}, {b}, {c}, {d}",
        f"smlal   {a}, {other}, {c}, {d}",
        f"smull   {a}, {other}, {c}, {d}",
        f"smulbb  {a}, {b}, {c}",
        f"add     {a}, {b}, {c}, lsl #2",
        f"adds    {a}, {b}, #{n}",
        f"adc     {a}, {b}, {c}",
        f"cmp     {a}, {b}",
        f"sxtb16  {a}, {b}, ror #8",
        f"sxtab16 {a}, {b}, {c}",
        f"pkhbt   {a}, {b}, {c}, lsl #16",
        f"ssat    {a}, #8, {b}, asr #3",
        f"bfi     {a}, {b}, #8, #8",
        f"movt    {a}, #{n}",
        f"vmov    s4, {a}",
        f"vmov    {a}, s4",
        f"vmov    {a}, {other}, s4, s5",
        "1:  @ a label, runs once",
        f"moveq   {a}, {b}",
    ]
    return "    " + draw(st.sampled_from(forms))


@settings(deadline=None, max_examples=150)
@given(st.lists(instruction(), min_size=2, max_size=24), st.booleans())
def test_any_order_that_is_found_does_the_same(listed: list[str], may_grow: bool) -> None:
    text = "\n".join(listed)
    assert same(text, dual_issue.arranged(text, may_grow))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ldr     r0, [r1]", "add     r2, r0, #1"),  # a result that is used
        ("add     r2, r0, #1", "ldr     r0, [r1]"),  # a value that is overwritten
        ("ldr     r0, [r1]", "mov     r0, r2"),  # the same result
        ("str     r0, [r1]", "ldr     r2, [r3]"),  # memory that may be the same
        ("ldr     r2, [r3]", "str     r0, [r1]"),
        ("str     r0, [r1]", "strb    r2, [r3]"),
        ("ldr     r0, [r1], #4", "ldr     r2, [r1]"),  # an address that moves on
        ("ldr     r2, [r1]", "ldmia   r1!, {r3, r4}"),
        ("cmp     r0, r1", "adc     r2, r3, r4"),  # flags
        ("adds    r0, r1, r2", "cmp     r3, r4"),
        ("smlal   r0, r1, r2, r3", "mov     r4, r1"),
        ("vmov    d2, r0, r1", "vmov    r2, s5"),
    ],
)
def test_the_proof_sees_what_must_not_change_places(first: str, second: str) -> None:
    before, after = f"    {first}\n    {second}", f"    {second}\n    {first}"
    assert same(before, before)
    assert not same(before, after)
    # A multiplication that waits for nothing would be better beside either of them.
    text = f"    ldr     r11, [r9]\n    smulbb  r5, r11, r7\n{before}\n    smulbb  r10, r6, r7\n    smulbb  r8, r6, r6"
    order = [line for line in dual_issue.arranged(text, False).splitlines() if line.strip() in (first, second)]
    assert order == before.splitlines()


def cycles(*listed: str) -> float:
    return sum(dual_issue.cycles(TABLE, [tuple(text.split(" ", 1)) for text in listed]))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (["add r0, r1, r2", "add r3, r4, r5"], 1),
        (["add r0, r1, r2", "add r3, r0, r5"], 2),  # needs the result
        (["smlad r0, r1, r2, r0", "ldr r4, [r5]"], 1),
        (["ldr r4, [r5]", "smlad r0, r1, r2, r0"], 1),
        (["smlad r0, r1, r2, r0", "smlad r3, r1, r2, r3"], 2),  # one multiplier
        (["smlad r0, r1, r2, r0", "smlad r0, r3, r4, r0"], 2),  # sums are taken over without waiting
        (["smlad r0, r1, r2, r0", "str r4, [r5]"], 2),
        (["ldr r4, [r5]", "ldr r6, [r7]"], 2),
        (["ldr r4, [r5]", "str r6, [r7]"], 1),
        (["str r4, [r5]", "str r6, [r7]"], 2),
        (["add r0, r1, r2", "str r0, [r3]"], 1),  # stored as it is made
        (["ldr r0, [r1]", "add r2, r0, #1"], 2),
        (["ldr r0, [r1]", "smulbb r2, r0, r3"], 3),
        (["ldrb r0, [r1]", "add r2, r0, #1"], 3),
        (["ldr r0, [r1]", "ldr r2, [r0]"], 3),
        (["ldr r0, [r1], #4", "ldr r2, [r1]"], 2),
        (["sxtb16 r0, r1", "smlad r2, r3, r4, r2"], 1),
        (["smlad r2, r3, r4, r2", "sxtb16 r0, r1"], 2),  # its place is the first
        (["add r0, r1, r2, lsl #2", "add r3, r4, r5, lsl #2"], 2),  # one shifter
        (["ldm r0!, {r1, r2, r3, r4}", "add r5, r6, r7"], 3),
        (["ldm r0!, {r1, r2, r3}"], 2),
        (["sdiv r0, r1, r2", "add r3, r4, r5"], TABLE["divide"] + 1),
    ],
)
def test_what_pairs(listed: list[str], expected: float) -> None:
    assert cycles(*listed) == expected


def test_loads_of_several_registers_become_single_ones_only_where_they_may() -> None:
    sums = "\n".join(f"    smlad   r{n}, r8, r9, r{n}" for n in range(8))
    text = f"    ldmia   r12!, {{r10, r11}}\n{sums}\n    smlad   r0, r10, r11, r0"
    assert "ldmia" in dual_issue.arranged(text, may_grow=False)
    grown = dual_issue.arranged(text, may_grow=True)
    assert "ldmia" not in grown
    assert re.findall(r"ldr .*", grown) == ["ldr     r10, [r12], #8", "ldr     r11, [r12, #-4]"]
    before, after = (
        sum(dual_issue.cycles(TABLE, [each for block in assembly.blocks(of) for each in block.instructions]))
        for of in (text, grown)
    )
    assert after == before - 1


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench("qemu-mps2-an500", tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("family", ["conv_2d", "depthwise_conv_2d", "fully_connected"])
def test_arranged_kernels_give_the_references_bytes(bench: Bench, family: str, tmp_path: Path) -> None:
    kernels = {kernel.name for kernel in ASSEMBLY}
    for (kernel, _), names in cases_of_each_kernel(named_cases(family), CORE).items():
        if kernel in kernels:
            _, built = next(those_that_fit(bench.board.name, kernel, names, tmp_path))
            assert differences(built, varied(built, 2), bench.running(built)) == [], kernel
