"""Kernels in assembly on tensors at any byte, of int16 at any two: parts of larger ones, between bytes of others.

Each case's operator stands between a slice, so that its inputs begin at an odd byte of a larger input, and a
concatenation, so that its output lies between other bytes of a larger output. All of those are compared, too: what a
kernel writes beside its output shows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from building import Built, build_bytes, differences, varied
from case_files import case_file
from emulated_bench import Bench
from operator_cases import NAMED, cases_of
from tflite_builder import OperatorSpec, build_model

from tinygen.goal import STYLES, Goal
from tinygen.ops import registry
from tinygen.ops.case import ONNX, TFLITE, Case, CaseTensor
from tinygen.ops.float_conv import FloatConv
from tinygen.plan import plan
from tinygen.target import Core, load_board, load_core

BOARDS = {"qemu-mps2-an386": 4, "qemu-mps3-an547": 2, "microbit": 1}
"""How many cases of each kernel are tried: on a Cortex-M4, a Cortex-M55, and a Cortex-M0, which faults on unaligned
access. Each tries kernels that those before have not."""
SAMPLES = 3
OF_ONNX = frozenset({"float_mean.vectors", "float_pool.vectors"})
"""Of operators that no .tflite file has, so that no slice can be put before them: their accesses are looked at."""
BYTES = frozenset({"ldrb", "strb", "vldrb", "vldrbt", "vstrb", "vstrbt"})


def core_of(board: str) -> Core:
    return load_core(load_board(board).core)


def only_of(board: str) -> list[str]:
    """Kernels in assembly for its core that no board before it has.

    Without those of FloatConv, which are the text of others, and whose cases are of ONNX.
    """
    features = {name: core_of(name).features for name in BOARDS}
    earlier = [features[name] for name in list(BOARDS)[: list(BOARDS).index(board)]]
    names = {
        kernel.name
        for kernel in registry.KERNELS
        if kernel.assembly
        and kernel.op is not FloatConv
        and kernel.requires <= features[board]
        and not any(kernel.requires <= f for f in earlier)
    }
    return sorted(names - OF_ONNX)


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    return cache(lambda board: Bench(board, tmp_path_factory.mktemp("bench")))


@pytest.mark.parametrize(("board", "kernel"), [(board, kernel) for board in BOARDS for kernel in only_of(board)])
def test_tensors_may_begin_at_any_byte(
    benches: Callable[[str], Bench], board: str, kernel: str, tmp_path: Path
) -> None:
    core = core_of(board)
    names = [name for name in cases_of(kernel, core) if is_simple(NAMED[name])]
    assert names, f"{kernel} has no case with inputs as its only output"
    for index, name in enumerate(some(names, BOARDS[board])):
        size = size_of(NAMED[name])
        shift = 1 + index % 3 if size == 1 else 1
        built = using(kernel, misaligned(NAMED[name], shift), board, tmp_path / name)
        assert offsets(built, kernel, core) == {shift * size}, f"{kernel}: {name} is aligned, and tests nothing"
        assert differences(built, varied(built, SAMPLES), benches(board).running(built)) == [], f"{kernel}: {name}"


@pytest.mark.parametrize("kernel", sorted(OF_ONNX))
def test_others_load_and_store_bytes(kernel: str, tmp_path: Path) -> None:
    board = "qemu-mps3-an547"
    for name in cases_of(kernel, core_of(board)):
        assert NAMED[name].suffix == ONNX
        file, data = case_file(NAMED[name])
        built = build_bytes(data, tmp_path / name, board=board, kernel=kernel, file=file)
        (text,) = (path.read_text() for path in (built.out / "lib").rglob("*_kernels.S"))
        _, _, function = text.partition(kernel.replace(".", "_"))
        accesses = set(re.findall(r"^ +(v?(?:ld|st)r\S*) ", function, re.MULTILINE))
        assert any(access.startswith("v") for access in accesses)
        assert {access.partition(".")[0] for access in accesses} <= BYTES


def some(names: list[str], most: int) -> list[str]:
    """So many of the cases, from everywhere, and one of int16 if there is any."""
    halfwords = [name for name in names if size_of(NAMED[name]) == 2][:1]
    others = [name for name in names if size_of(NAMED[name]) == 1] if len(halfwords) < most else []
    left = most - len(halfwords)
    return [*others[:: max(1, len(others) // max(left, 1))][:left], *halfwords]


def size_of(case: Case) -> int:
    """Bytes of a value of the output."""
    return np.dtype(case.outputs[0].dtype).itemsize


def using(kernel: str, model: bytes, board: str, out: Path) -> Built:
    """Built for the first objective that the kernel is for."""
    for objective in STYLES:
        built = build_bytes(model, out / objective, objective=objective, board=board, kernel=kernel)
        if kernel in {layer.kernel for layer in built.manifest.layers}:
            return built
    raise AssertionError(f"{kernel} is for no objective")


def is_simple(case: Case) -> bool:
    """Whether all that is computed is int8, or all is int16, and one tensor comes out."""
    computed = [tensor for tensor in (*case.inputs, *case.outputs) if tensor is not None and tensor.data is None]
    return (
        case.suffix == TFLITE
        and len(case.outputs) == 1
        and all(
            tensor.dtype == case.outputs[0].dtype
            and tensor.dtype in ("int8", "int16")
            and not tensor.is_variable
            and not isinstance(tensor.scale, tuple)
            for tensor in computed
        )
    )


def misaligned(case: Case, shift: int) -> bytes:
    """A model in which the case's inputs and its output lie `shift` bytes from the beginning of larger tensors."""
    tensors: list[CaseTensor] = []
    operators: list[OperatorSpec] = []
    inputs: list[int] = []

    def add(like: CaseTensor, shape: tuple[int, ...], data: object = None) -> int:
        tensors.append(CaseTensor(shape, like.dtype, like.scale, like.zero_point, data=data))  # type: ignore[arg-type]
        return len(tensors) - 1

    def constant(*values: int) -> int:
        tensors.append(CaseTensor((len(values),), "int32", data=np.array(values, np.int32)))
        return len(tensors) - 1

    operands = []
    for tensor in case.inputs:
        if tensor is None:
            operands.append(-1)
        elif tensor.data is not None:
            tensors.append(tensor)
            operands.append(len(tensors) - 1)
        else:
            count = math.prod(tensor.shape)
            whole, part, x = add(tensor, (1, count + 5)), add(tensor, (1, count)), add(tensor, tensor.shape)
            inputs.append(whole)
            operators.append(("SLICE", [whole, constant(0, shift), constant(1, count)], [part], {}))
            operators.append(("RESHAPE", [part], [x], {"new_shape": tensor.shape}))
            operands.append(x)
    while operands[-1] == -1:
        operands.pop()
    (output,) = case.outputs
    count = math.prod(output.shape)
    y, flat = add(output, output.shape), add(output, (1, count))
    before, after, whole = add(output, (1, shift)), add(output, (1, 7)), add(output, (1, shift + count + 7))
    inputs += [before, after]
    operators.append((case.op, operands, [y], case.options))
    operators.append(("RESHAPE", [y], [flat], {"new_shape": (1, count)}))
    operators.append(("CONCATENATION", [before, flat, after], [whole], {"axis": 1}))
    return build_model(tensors, operators, inputs, [whole])


def offsets(built: Built, kernel: str, core: Core) -> set[int]:
    """How far from a word the inputs and the output of the kernel's layer begin."""
    found = plan(built.model.graph, core, Goal(built.manifest.optimize, prefer=frozenset({kernel})))
    step = next(
        step
        for index, step in enumerate(found.steps)
        if step.kernel.name == kernel and len(found.layout.aliased[index]) < len(step.site.inputs)
    )
    constant = {t.name for t in step.site.inputs if t.data is not None}
    names = [*(name for name in step.node.inputs if name not in constant), *step.node.outputs]
    return {found.layout.places[name].offset % 4 for name in names}
