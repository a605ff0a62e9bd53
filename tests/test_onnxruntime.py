"""The profile onnxruntime: operators' references and ONNX Runtime give the same bytes.

In both forms in which operators are quantised: between DequantizeLinear and QuantizeLinear, and as operators on
integers. Generated C is compared with the references elsewhere: what is drawn here is not compiled.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from building import build_bytes, differences, host, original, varied
from case_files import case_file
from onnx import helper
from onnx_builder import packed, value_info
from operator_cases import FAMILIES, NAMED

from tinygen import pipeline, reference
from tinygen.float32 import fused_multiply_add, logistic, tanh
from tinygen.ir import Array
from tinygen.ops.case import ONNX, Case, CaseTensor

Rng = np.random.Generator
ONNX_FAMILIES = sorted({name.partition("-")[0] for name, case in NAMED.items() if case.suffix == ONNX})
FEW, MANY = 6, 600
INPUTS = 4


def runtime(data: bytes, inputs: Sequence[Array]) -> list[Array]:
    """ONNX Runtime's outputs, with all its optimisations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return [np.asarray(y) for y in session.run(None, dict(zip(names, inputs, strict=True)))]


def drawn(rng: Rng, x: Array, attempt: int) -> Array:
    """Values of a tensor's type: all over the range, near its middle, and its ends."""
    limits = np.iinfo(str(x.dtype))
    if attempt == 0:
        return np.asarray(rng.choice([limits.min, limits.max], x.shape), x.dtype)
    if attempt == 1:
        near = rng.normal((int(limits.min) + int(limits.max)) / 2, 9, x.shape)
        return np.asarray(np.clip(np.rint(near), limits.min, limits.max), x.dtype)
    return rng.integers(limits.min, limits.max, x.shape, x.dtype, endpoint=True)


def assert_same(data: bytes, rng: Rng, what: object) -> int:
    """The number of values that were compared."""
    graph = pipeline.decode(data, "case.onnx").graph
    count = 0
    for attempt in range(INPUTS):
        inputs = [
            drawn(rng, np.empty(graph.tensors[name].shape, graph.tensors[name].dtype), attempt) for name in graph.inputs
        ]
        for ours, theirs in zip(reference.outputs(graph, inputs), runtime(data, inputs), strict=True):
            assert ours.dtype == theirs.dtype
            wrong = np.flatnonzero(ours.reshape(-1) != theirs.reshape(-1))
            assert not wrong.size, f"{wrong.size} of {ours.size} values of {what}"
            count += ours.size
    return count


# --- operators between DequantizeLinear and QuantizeLinear -----------------------------------------------------------


@dataclass(frozen=True)
class Quants:
    """Random scales and zero points of one type."""

    rng: Rng
    dtype: str

    def zero_point(self) -> int:
        limits = np.iinfo(self.dtype)
        return int(self.rng.choice([limits.min, limits.max, self.rng.integers(limits.min, limits.max)]))

    def scale(self, low: float = 0.002, high: float = 0.5) -> float:
        """Many are such that ratios end in ties."""
        if self.rng.random() < 0.3:
            return float(self.rng.choice([0.5, 0.25, 0.1, 0.05, 1 / 255, 0.0235294122]))
        return math.exp(self.rng.uniform(math.log(low), math.log(high)))

    def tensor(self, shape: Sequence[int], scale: float | None = None, data: Array | None = None) -> CaseTensor:
        given = self.scale() if scale is None else scale
        return CaseTensor(tuple(shape), self.dtype, given, self.zero_point(), data=data)


def conv(rng: Rng, dtype: str) -> Case:
    groups = int(rng.choice([1, 1, 2, 6]))
    filters, depth = groups * int(rng.integers(1, 4)), int(rng.integers(1, 5)) if groups < 6 else 1
    kernel = [int(taps) for taps in rng.integers(1, 4, 2)]
    return weighted(
        "Conv",
        Quants(rng, dtype),
        (1, groups * depth, *(int(size) for size in rng.integers(3, 8, 2))),
        (filters, depth, *kernel),
        filters,
        0,
        {
            "group": groups,
            "strides": [int(step) for step in rng.integers(1, 3, 2)],
            "pads": [int(rng.integers(0, taps)) for taps in (*kernel, *kernel)],
        },
    )


def gemm(rng: Rng, dtype: str) -> Case:
    rows, depth, filters = (int(size) for size in rng.integers(1, 40, 3))
    return weighted("Gemm", Quants(rng, dtype), (rows, depth), (filters, depth), filters, 0, {"transB": 1})


def matmul(rng: Rng, dtype: str) -> Case:
    rows, depth, filters = (int(size) for size in rng.integers(1, 40, 3))
    return weighted("MatMul", Quants(rng, dtype), (rows, depth), (depth, filters), 0, 1, {})


def product(rng: Rng, dtype: str) -> Case:
    """Matrices of both sides, of which one may be constant; the dimensions before broadcast."""
    quants = Quants(rng, dtype)
    rows, depth, columns = (int(size) for size in rng.integers(1, 20, 3))
    batch = [int(size) for size in rng.integers(1, 4, rng.integers(1, 3))]
    a_batch = [1 if rng.random() < 0.3 else size for size in batch]
    b_batch = [1 if rng.random() < 0.3 else size for size in batch][int(rng.integers(len(batch))) :]
    shapes = (*a_batch, rows, depth), (*b_batch, depth, columns)
    constant = int(rng.integers(3))
    limits = np.iinfo(dtype)  # type: ignore[arg-type]
    data = [
        rng.integers(limits.min, limits.max, shape, dtype, endpoint=True) if index == constant else None
        for index, shape in enumerate(shapes)
    ]
    operands = tuple(quants.tensor(shape, data=values) for shape, values in zip(shapes, data, strict=True))
    y = quants.tensor((*np.broadcast_shapes(a_batch, b_batch), rows, columns), quants.scale(0.02, 2.0))
    return Case("MatMul", "MatMul", operands, (y,), suffix=ONNX)


def weighted(
    op: str,
    quants: Quants,
    x: Sequence[int],
    weights: Sequence[int],
    biases: int,
    axis: int,
    attributes: Mapping[str, object],
) -> Case:
    """A layer with a scale for each filter, or one for all."""
    rng = quants.rng
    filters = weights[axis]
    scales = tuple(float(np.float32(quants.scale(1e-4, 0.02))) for _ in range(filters if rng.random() < 0.7 else 1))
    data = rng.integers(-127, 128, tuple(weights)).astype(np.int8)
    given = quants.tensor(x)
    scale = scales if len(scales) > 1 else scales[0]
    constants = [CaseTensor(tuple(weights), "int8", scale, 0, axis, data)]
    if biases:
        bias = rng.integers(-3000, 3000, biases).astype(np.int32)
        assert isinstance(given.scale, float)
        of_bias = np.float32(given.scale) * np.array(scales, np.float32)
        many = tuple(of_bias.tolist()) if len(scales) > 1 else float(of_bias[0])
        constants.append(CaseTensor((biases,), "int32", many, 0, 0, bias))
    y = quants.tensor(output_shape(op, x, weights, attributes), quants.scale(0.02, 2.0))
    return Case(op, op, (given, *constants), (y,), attributes, suffix=ONNX)


def output_shape(op: str, x: Sequence[int], weights: Sequence[int], attributes: Mapping[str, object]) -> Sequence[int]:
    if op != "Conv":
        return x[0], weights[0] if op == "Gemm" else weights[1]
    pads, strides = attributes["pads"], attributes["strides"]
    assert isinstance(pads, list) and isinstance(strides, list)
    sizes = ((x[2 + axis] + pads[axis] + pads[2 + axis] - weights[2 + axis]) // strides[axis] + 1 for axis in range(2))
    return x[0], weights[0], *sizes


def mul(rng: Rng, dtype: str) -> Case:
    quants = Quants(rng, dtype)
    b = [(1, 8, 11, 7), (8, 1, 1), (1,), (11, 1)][int(rng.integers(4))]
    x, other = quants.tensor((1, 8, 11, 7)), quants.tensor(b)
    return Case("Mul", "Mul", (x, other), (quants.tensor(x.shape),), suffix=ONNX)


def add(rng: Rng, dtype: str) -> Case:
    shapes = [(1, 8, 11, 7), (8, 1, 1), (1,), (11, 1), (1, 8, 11, 7)]
    a, b = (shapes[int(rng.integers(5))] for _ in range(2))
    quants = Quants(rng, dtype)
    y = quants.tensor(np.broadcast_shapes(a, b))
    return Case("Add", "Add", (quants.tensor(a), quants.tensor(b)), (y,), suffix=ONNX)


def global_average_pool(rng: Rng, dtype: str) -> Case:
    quants = Quants(rng, dtype)
    channels, height, width = (int(size) for size in rng.integers(1, 12, 3))
    x = quants.tensor((1, channels, height, width))
    return Case("GlobalAveragePool", "GlobalAveragePool", (x,), (quants.tensor((1, channels, 1, 1)),), suffix=ONNX)


def concat(rng: Rng, dtype: str) -> Case:
    quants = Quants(rng, dtype)
    parts = [quants.tensor((1, int(channels), 5, 4)) for channels in rng.integers(1, 6, 3)]
    y = quants.tensor((1, sum(part.shape[1] for part in parts), 5, 4))
    return Case("Concat", "Concat", tuple(parts), (y,), {"axis": 1}, suffix=ONNX)


def max_pool(rng: Rng, dtype: str) -> Case:
    quants = Quants(rng, dtype)
    x = quants.tensor((1, 5, 8, 9))
    return Case("MaxPool", "MaxPool", (x,), (quants.tensor((1, 5, 7, 8)),), {"kernel_shape": [2, 2]}, suffix=ONNX)


DRAWN: Mapping[str, Callable[[Rng, str], Case]] = {
    function.__name__: function
    for function in (add, concat, conv, gemm, global_average_pool, matmul, max_pool, mul, product)
}


ON_UINT8 = ("conv", "matmul", "product")
"""What ONNX Runtime fuses on x86 only where its input is uint8, or becomes that inside."""


def check_drawn(name: str, seeds: range) -> int:
    count = 0
    for seed in seeds:
        rng = np.random.default_rng([seed, *name.encode()])
        case = DRAWN[name](rng, "uint8" if name in ON_UINT8 else ("int8", "uint8")[seed % 2])
        count += assert_same(case_file(case)[1], rng, case)
    return count


def check_family(family: str, seeds: range) -> int:
    count = 0
    for seed in seeds:
        rng = np.random.default_rng([seed, *family.encode()])
        case = FAMILIES[family].random_case(rng)
        if case.suffix == ONNX:
            count += assert_same(case_file(case)[1], rng, case)
    return count


@pytest.mark.parametrize("name", DRAWN)
def test_operators_with_weights_and_others(name: str) -> None:
    assert check_drawn(name, range(2 * FEW)) > 0


@pytest.mark.parametrize("family", ONNX_FAMILIES)
def test_operators_in_float(family: str) -> None:
    assert check_family(family, range(FEW)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_many_operators_with_weights_and_others(name: str) -> None:
    assert check_drawn(name, range(MANY)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("family", ONNX_FAMILIES)
def test_many_operators_in_float(family: str) -> None:
    assert check_family(family, range(MANY)) > 0


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in DRAWN for dtype in ("int8", "uint8") if dtype == "uint8" or name not in ON_UINT8],
)
def test_the_generated_c_of_drawn_operators(name: str, dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng([7, *name.encode()])
    file, data = case_file(DRAWN[name](rng, dtype))
    built = build_bytes(data, tmp_path, file=file)
    assert differences(built, varied(built, 8), host(built), original(built)) == []


# --- operators on integers -------------------------------------------------------------------------------------------


def on_integers(op: str, case: Case, domain: str = "com.microsoft") -> bytes:
    """The same operator in the form that takes integers, their scales and zero points."""
    constants: dict[str, Array] = {}
    operands: list[str] = []
    for index, tensor in enumerate((*case.inputs, *case.outputs)):
        assert tensor is not None
        if tensor.dtype == "int32":
            continue  # the bias: its scale follows from the others'
        name = f"t{index}"
        scale = np.array(tensor.scale, np.float32)
        constants[f"{name}_scale"] = scale
        constants[f"{name}_zero_point"] = np.full(scale.shape, tensor.zero_point, tensor.dtype)
        is_output = index >= len(case.inputs)
        operands += [*([] if is_output else [name]), f"{name}_scale", f"{name}_zero_point"]
        if tensor.data is not None:
            constants[name] = tensor.data
    names = [f"t{index}" for index, tensor in enumerate(case.inputs) if tensor is not None and tensor.data is None]
    inputs = [value_info(f"t{index}", tensor) for index, tensor in enumerate(case.inputs) if f"t{index}" in names]  # type: ignore[arg-type]
    if op == "QLinearConcat":
        operands = operands[-2:] + operands[:-2]
    bias = next((tensor for tensor in case.inputs if tensor is not None and tensor.dtype == "int32"), None)
    if bias is not None:
        assert bias.data is not None
        constants["bias"] = bias.data
        operands = [*operands[:-2], "bias", *operands[-2:]] if op == "QGemm" else [*operands, "bias"]
    attributes = dict(case.options.items())
    node = helper.make_node(op, operands, ["y"], domain=domain, **attributes)
    return packed([node], inputs, [value_info("y", case.outputs[0])], constants, opset=17)


FORMS = {
    "QLinearConv": (conv, ""),
    "QLinearMatMul": (matmul, ""),
    "QGemm": (gemm, "com.microsoft"),
    "QLinearAdd": (add, "com.microsoft"),
    "QLinearMul": (mul, "com.microsoft"),
    "QLinearConcat": (concat, "com.microsoft"),
    "QLinearGlobalAveragePool": (global_average_pool, "com.microsoft"),
}


@pytest.mark.parametrize("op", FORMS)
def test_operators_on_integers(op: str) -> None:
    draw, domain = FORMS[op]
    for seed in range(FEW):
        rng = np.random.default_rng([seed, *op.encode()])
        case = draw(rng, ("int8", "uint8")[seed % 2])
        assert assert_same(on_integers(op, case, domain), rng, case) > 0


# --- approximations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "function"), [("Sigmoid", logistic), ("Tanh", tanh)])
def test_approximations_have_the_runtimes_bits(op: str, function: Callable[[Array], Array]) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-20, 20, 20_000), rng.normal(0, 1, 20_001)]).astype(np.float32)
    tensor = CaseTensor(x.shape, "float32")
    data = packed([helper.make_node(op, ["x"], ["y"])], [value_info("x", tensor)], [value_info("y", tensor)], {})
    (theirs,) = runtime(data, [x])
    assert function(x).tobytes() == theirs.tobytes()


def test_fused_multiply_adds_round_once() -> None:
    # a * b is 1 + 2**-11 + 2**-24: half-way between two floats, but for what c adds.
    a = np.float32(1 + 2.0**-12)
    b = np.float32(1 + 2.0**-12)
    middle = np.float32(1 + 2.0**-11)
    above = np.float32(1 + 2.0**-11 + 2.0**-23)
    assert fused_multiply_add(a, b, np.float32(0)) == middle
    assert fused_multiply_add(a, b, np.float32(2.0**-80)) == above
    assert fused_multiply_add(a, b, np.float32(-(2.0**-80))) == middle


# --- verify ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder."""
    file, data = case_file(NAMED["float_add-per_channel"])
    return build_bytes(data, tmp_path_factory.mktemp("small"), file=file).out


def verify(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinygen", "verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_verify_asks_onnxruntime_and_says_how(small: Path) -> None:
    done = verify(small, "--samples", 4, "--against", "onnxruntime")
    assert done.returncode == 0, done.stderr
    assert re.search(r"ONNX Runtime +4 .* equal", done.stdout)
    assert "with all graph optimisations" in done.stdout


def test_verify_refuses_runtimes_of_other_formats(small: Path) -> None:
    done = verify(small, "--samples", 1, "--against", "tflm")
    assert done.returncode == 1
    assert "TensorFlow Lite Micro does not run .onnx files" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_notices_a_wrong_byte(small: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "out"
    shutil.copytree(small, wrong)
    for source in wrong.rglob("kws.c"):
        source.write_text(re.sub(r"clamp\(sum >> (\d+),", r"clamp((sum >> \1) + 1,", source.read_text()))
    done = verify(wrong, "--samples", 4)
    assert done.returncode == 1
    assert "elements differ" in done.stdout
