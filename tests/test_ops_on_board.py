"""A case of every kernel on emulated boards: the compiled firmware's bytes are the reference's; it touches no others.

Nor does its stack go deeper than the bound that was found without running it.

The boards have different cores; the cases are too small to tell boards with the same core apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from accesses import Expected, expected, reads_the_overwritten, too_near
from board_cases import few_rows, those_that_fit
from building import Built, differences, varied
from case_files import case_file
from emulated_bench import Bench
from operator_cases import FAMILIES, NAMED, build, cases_of_each_kernel, kernels_of, named_cases

from tinygen import elf, manifest, output, pipeline
from tinygen.board import BoardPeer
from tinygen.counting.disassembly import disassemble
from tinygen.goal import STYLES, Goal
from tinygen.ops import registry
from tinygen.resources import resource
from tinygen.stack_use import UNPAINTED, stack_bound
from tinygen.target import load_board, load_core

# A Cortex-M4F, a Cortex-M55, and a Cortex-M0 that, as the real one, faults on unaligned access.
BOARDS = ("qemu-mps2-an386", "qemu-mps3-an547", "microbit")
SAMPLES = 4
MUCH = 3000
"""Bytes of inputs from which on one random sample, a long one, does: the serial port takes most of the time."""
MOST_CASES = {"qemu-mps3-an547": 2}
"""Of a kernel in assembly that the Cortex-M4 has, too: the Cortex-M55 runs the same text, and the M4 gets all cases."""
MOST_OF_INT16 = 3
"""Cases of a kernel in assembly, from everywhere among them: int8 is tried in all, mostly by the same text."""
ON_CORTEX_M4 = {kernel.name for kernel in registry.KERNELS if kernel.requires <= load_core("cortex-m4").features}
MOST_STACK = 700
PORTABLE = {kernel.name for kernel in registry.KERNELS if kernel.portable}


@pytest.fixture(scope="module", params=BOARDS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(request.param, tmp_path_factory.mktemp("bench"))


def shared(kernel: str, names: list[str], others: Sequence[str]) -> list[str]:
    """Of the cases, those for this kernel: kernels that are printed by one template share them."""
    if kernel in PORTABLE:
        return names

    def text(name: str) -> str:
        (path,) = {each.template for each in registry.KERNELS if each.name == name}
        return resource("templates", path).read_text()

    alike = [other for other in others if text(other) == text(kernel)]
    return names[alike.index(kernel) :: len(alike)] if len(names) > len(alike) else names


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kernel_gives_the_references_bytes_on_the_board(bench: Bench, family: str, tmp_path: Path) -> None:
    core = load_core(bench.board.core)
    cases = cases_of_each_kernel(named_cases(family), core)
    for (kernel, dtype), every in cases.items():
        tried, names = 0, shared(kernel, every, [other for other, _ in cases])
        if dtype == "int16" and kernel not in PORTABLE:
            names = names[:: -(-len(names) // MOST_OF_INT16)]
        for name, built in those_that_fit(bench.board.name, kernel, names, tmp_path, overlap=False):
            inputs = varied(built, SAMPLES)
            if sum(map(len, inputs[0].bytes)) > MUCH:
                inputs = inputs[:3]
            found = differences(built, inputs, bench.running(built, expected))
            assert found == [], f"{kernel}: {name}"
            recorded = bench.recorded()
            outside = recorded.outside
            assert outside.count == 0, f"{kernel}: {name} touches {outside.address:#x} at {outside.pc:#x}: {outside}"
            assert too_near(bench.expected, recorded.spacings) == [], f"{kernel}: {name}"
            if reads_the_overwritten(bench.expected, recorded.spacings):
                ((_, in_place),) = those_that_fit(bench.board.name, kernel, [name], tmp_path / "in place")
                assert in_place.manifest.arena_bytes < built.manifest.arena_bytes
                found = differences(in_place, inputs, bench.running(in_place))
                assert found == [], f"{kernel}: {name} in place"
            used, bound = bench.stack(built)
            assert bound.bytes is not None and used <= bound.bytes <= MOST_STACK, f"{kernel}: {name}: {used}, {bound}"
            tried += 1
            if kernel in PORTABLE or (kernel in ON_CORTEX_M4 and tried == MOST_CASES.get(bench.board.name)):
                break  # the host compares all that are portable
        assert tried, f"{kernel} fits on {bench.board.name} in none of {', '.join(names)}: add a smaller case"


def test_every_portable_kernel_gives_the_references_bytes_on_riscv(tmp_path: Path) -> None:
    board, core = "qemu-riscv32-virt", load_core("rv32imc")
    wanted = set(PORTABLE)
    chosen: dict[str, list[str]] = {}
    for name in NAMED:
        for objective in STYLES if wanted & kernels_of(name, core) else ():
            model = _model(name)
            content = pipeline.build(model, board, "kernel", Goal(objective)).manifest
            used = {layer.kernel for layer in content.layers} & wanted
            if used:
                chosen.setdefault(objective, []).append(name)
                wanted -= used
    assert not wanted
    for objective, names in chosen.items():
        _compare_together(board, [_model(name) for name in names], Goal(objective), tmp_path / objective)


def test_kernels_with_riscvs_vectors_give_the_references_bytes(tmp_path: Path) -> None:
    """In each case that they accept; with a number of elements that fills vectors, and with any other."""
    board = "qemu-riscv32-virt-v"
    core = load_core(load_board(board).core)
    kernels = frozenset(kernel.name for kernel in registry.KERNELS if "rvv" in kernel.requires)
    models = [_model(name) for name in NAMED if kernels & kernels_of(name, core)]
    built = _compare_together(board, models, Goal(prefer=kernels), tmp_path)
    tried = [layer.kernel for each in built for layer in each.manifest.layers]
    assert all(tried.count(kernel) > 5 for kernel in kernels)


def _compare_together(board: str, models: list[pipeline.Model], goal: Goal, folder: Path) -> list[Built]:
    """Bytes and stacks of models in one firmware."""
    out = folder / "out"
    output.write(pipeline.build_together(models, board, goal=goal)[0].files, out)
    (folder / "bench").mkdir()
    bench = Bench(board, folder / "bench")
    built = [Built(model, out, content) for model, content in zip(models, manifest.load_all(out), strict=True)]
    with bench.running(built[0]) as peer:
        image = elf.read(bench.image)
        code = disassemble(bench.image, load_core(bench.board.core).toolchain)
        for each in built:
            peer.session.check_model(each.manifest)
            one = nullcontext(BoardPeer(each.manifest, peer.session))
            assert differences(each, varied(each, SAMPLES), one) == [], each.manifest.name
            used, bound = peer.session.stack(), stack_bound(image, code, each.manifest)
            assert used is not None and bound.bytes is not None, f"{each.manifest.name}: {bound}"
            assert used <= max(bound.bytes, UNPAINTED) <= MOST_STACK, f"{each.manifest.name}: {used}, {bound}"
    return built


def _model(name: str) -> pipeline.Model:
    file, data = case_file(few_rows(NAMED[name]))
    return pipeline.decode(data, f"{name}{Path(file).suffix}")


RANDOM_CASES = 3  # of each family


def test_no_random_case_wants_more_stack(tmp_path: Path) -> None:
    board = BOARDS[0]
    rng = np.random.default_rng(5)
    cases = {
        f"{family}_{index}": module.random_case(rng)
        for family, module in FAMILIES.items()
        for index in range(RANDOM_CASES)
    }
    files = {name: case_file(case) for name, case in cases.items()}
    models = [pipeline.decode(data, f"{name}{Path(file).suffix}") for name, (file, data) in files.items()]
    built = pipeline.build_together(models, board)
    output.write(built[0].files, tmp_path / "out")
    folder = tmp_path / "bench"
    folder.mkdir()
    path = Bench(board, folder).link(tmp_path / "out", built[0].manifest)
    image, code = elf.read(path), disassemble(path, load_core(built[0].manifest.core).toolchain)
    for (name, case), part in zip(cases.items(), built, strict=True):
        bound = stack_bound(image, code, part.manifest)
        assert bound.bytes is not None and bound.bytes <= MOST_STACK, f"{name}: {bound} of {case}"


def test_the_bench_compares(bench: Bench, tmp_path: Path) -> None:
    built = build(NAMED["add-same_shape"], tmp_path, board=bench.board.name, kernel="add.direct")
    text = built.board_source.read_text()
    changed = text.replace("b - 12)", "b - 11)")
    assert changed != text
    built.board_source.write_text(changed)
    (first, *_) = differences(built, varied(built, SAMPLES), bench.running(built))
    assert first.startswith(f"{bench.board.name}: layer 0 ADD")


@pytest.mark.parametrize("access", ["r", "w"])
def test_the_bench_watches(bench: Bench, tmp_path: Path, access: str) -> None:
    built = build(NAMED["add-same_shape"], tmp_path, board=bench.board.name, overlap=False)

    def shortened(image: elf.Image, built: Built) -> Expected:
        """Of the layer's tensors, the first that is read, or that which is written, is a byte shorter."""
        whole = expected(image, built)
        arena = image.symbol("arena")
        tensors = [each for each in whole.allowed if each.span == 0 and 0 <= each.low - arena.address < arena.bytes]
        first = next(each for each in tensors if access in each.access)
        changed = tuple(replace(each, high=each.high - 1) if each is first else each for each in whole.allowed)
        return replace(whole, allowed=changed)

    assert differences(built, varied(built, SAMPLES), bench.running(built, shortened)) == []
    outside = bench.recorded().outside
    assert outside.count > 0
    assert (outside.span, outside.access) == (0, access)


def test_a_kernel_that_says_too_little_is_found(bench: Bench, tmp_path: Path) -> None:
    case, kernel = NAMED["depthwise_conv_2d-3x3"], "depthwise_conv_2d.direct"
    built = build(case, tmp_path, board=bench.board.name, kernel=kernel, overlap=False)
    assert differences(built, varied(built, SAMPLES), bench.running(built, expected)) == []
    found = bench.recorded().spacings
    (true,) = bench.expected.declared
    assert too_near(bench.expected, found) == []
    for wrong in (
        true._replace(input_above=true.input_above - 1),
        true._replace(output_above=true.output_above - 1),
    ):
        assert len(too_near(replace(bench.expected, declared=(wrong,)), found)) == 1
    assert not reads_the_overwritten(bench.expected, found)
    assert reads_the_overwritten(replace(bench.expected, declared=(true._replace(in_place=True),)), found)
