"""Models of uint8 against TensorFlow Lite's reference kernels: those of TensorFlow Lite Micro are gone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import interpreter as runtime
from building import Built, build_read, differences, host, varied
from tflite_builder import OperatorSpec, build_model, build_object, pack

from tinygen import pipeline, reference
from tinygen.errors import CannotCompare, UnsupportedModel
from tinygen.importers.tflite_uint8 import EXACT, NOTE
from tinygen.ir import Array, Graph
from tinygen.ops.case import CaseTensor
from tinygen.ops.fully_connected import FullyConnected
from tinygen.options import Options
from tinygen.runtimes import RUNTIMES
from tinygen.samples import Sample

SAMPLES = 12
SEEDS = range(3)

Rng = np.random.Generator
Model = tuple[Sequence[CaseTensor], Sequence[OperatorSpec], Sequence[int], Sequence[int]]
Quant = tuple[float, int]


def quant(rng: Rng) -> Quant:
    return float(np.exp(rng.uniform(np.log(0.004), np.log(0.3)))), int(rng.integers(0, 256))


def values(shape: Sequence[int], of: Quant, data: Array | None = None) -> CaseTensor:
    return CaseTensor(tuple(shape), "uint8", *of, data=data)


def constant(rng: Rng, shape: Sequence[int], of: Quant) -> CaseTensor:
    return values(shape, of, rng.integers(0, 256, shape).astype(np.uint8))


def integers(*numbers: object) -> CaseTensor:
    data = np.array(numbers, np.int32)
    return CaseTensor(data.shape, "int32", data=data)


def scalar(number: int) -> CaseTensor:
    return CaseTensor((), "int32", data=np.array(number, np.int32))


def bias(rng: Rng, count: int, scale: float) -> CaseTensor:
    return CaseTensor((count,), "int32", scale, 0, data=rng.integers(-2000, 2000, count).astype(np.int32))


# --- models ----------------------------------------------------------------------------------------------------------


def layer(
    op: str, x: Sequence[int], weights: Sequence[int], y: Sequence[int], **options: object
) -> Callable[[Rng], Model]:
    """With weights of a zero point, and a bias."""

    def made(rng: Rng) -> Model:
        given, filters = quant(rng), quant(rng)
        tensors = [values(x, given), constant(rng, weights, filters), bias(rng, y[-1], given[0] * filters[0])]
        return [*tensors, values(y, quant(rng))], [(op, [0, 1, 2], [3], options)], [0], [3]

    return made


def chain(
    op: str,
    x: Sequence[int],
    *ys: Sequence[int],
    parameters: Sequence[CaseTensor] = (),
    before: bool = False,
    y: Quant | None = None,
    rescales: bool = False,
    **options: object,
) -> Callable[[Rng], Model]:
    """RELU, which alone needs int8, and the operator: of one scale, or to a scale of its own, or to the scale `y`."""

    def made(rng: Rng) -> Model:
        of = quant(rng)
        to = y or (quant(rng) if rescales else of)
        tensors = [values(x, of), values(x, of), *parameters, *(values(shape, to) for shape in ys)]
        given = range(2, 2 + len(parameters))
        found = list(range(2 + len(parameters), len(tensors)))
        inputs = [*given, 1] if before else [1, *given]
        return tensors, [("RELU", [0], [1], {}), (op, inputs, found, options)], [0], found

    return made


def pair(op: str, rescales: bool = True, **options: object) -> Callable[[Rng], Model]:
    """Of two inputs, and of two constants as the second."""

    def made(rng: Rng) -> Model:
        of = quant(rng)
        a, b, y = (quant(rng) if rescales else of for _ in range(3))
        shape = (1, 7, 6)
        tensors = [values(shape, a), values(shape, b), values(shape, y), constant(rng, shape, b), values(shape, y)]
        return tensors, [(op, [0, 1], [2], options), (op, [0, 3], [4], options)], [0, 1], [2, 4]

    return made


def found_index(op: str) -> Callable[[Rng], Model]:
    def made(rng: Rng) -> Model:
        tensors = [values((5, 9), quant(rng)), scalar(1), CaseTensor((5,), "int32")]
        return tensors, [(op, [0, 1], [2], {"output_type": "INT32"})], [0], [2]

    return made


def prelu(rng: Rng) -> Model:
    tensors = [values((1, 3, 3, 4), quant(rng)), constant(rng, (1, 1, 4), quant(rng)), values((1, 3, 3, 4), quant(rng))]
    return tensors, [("PRELU", [0, 1], [2], {})], [0], [2]


def joined(op: str, y: Sequence[int]) -> Callable[[Rng], Model]:
    def made(rng: Rng) -> Model:
        of = quant(rng)
        tensors = [values((2, 3), of), values((2, 3), of), values(y, of), constant(rng, (2, 3), of)]
        options = {"axis": 1} if op == "CONCATENATION" else {"axis": 1, "values_count": 3}
        return tensors, [("RELU", [0], [1], {}), (op, [0, 1, 3], [2], options)], [0], [2]

    return made


def padded_with(rng: Rng) -> Model:
    of = quant(rng)
    value = values((), of, np.array(77, np.uint8))
    tensors = [values((1, 3, 4, 2), of), integers([0, 0], [1, 2], [0, 1], [0, 0]), value, values((1, 6, 5, 2), of)]
    return tensors, [("PADV2", [0, 1, 2], [3], {})], [0], [3]


def floats(rng: Rng) -> Model:
    of, to = quant(rng), quant(rng)
    tensors = [CaseTensor((1, 66), "float32"), values((1, 66), of), values((1, 66), to), CaseTensor((1, 66), "float32")]
    return tensors, [("QUANTIZE", [0], [1], {}), ("QUANTIZE", [1], [2], {}), ("DEQUANTIZE", [2], [3], {})], [0], [3]


def dimensions(rng: Rng) -> Model:
    of = quant(rng)
    tensors = [values((1, 2, 6), of), values((1, 2, 6), of), CaseTensor((3,), "int32"), values((1, 2, 6), of)]
    operators: list[OperatorSpec] = [
        ("RELU", [0], [1], {}),
        ("SHAPE", [1], [2], {"out_type": "INT32"}),
        ("RESHAPE", [1, 2], [3], {}),
    ]
    return tensors, operators, [0], [3]


def network(rng: Rng) -> Model:
    """What converters made of a small classifier, dilated by hand."""
    a, b, c, w, v = (quant(rng) for _ in range(5))
    tensors = [
        values((1, 8, 8, 3), a),
        constant(rng, (4, 3, 3, 3), w),
        bias(rng, 4, a[0] * w[0]),
        values((1, 8, 8, 4), b),
        values((1, 4, 4, 4), b),
        values((1, 64), b),
        constant(rng, (5, 64), v),
        bias(rng, 5, b[0] * v[0]),
        values((1, 5), (c[0] * 20, c[1])),
        values((1, 5), (1 / 256, 0)),
        integers(1, 64),
    ]
    operators: list[OperatorSpec] = [
        (
            "CONV_2D",
            [0, 1, 2],
            [3],
            {"padding": "SAME", "stride_h": 1, "stride_w": 1, "fused_activation_function": "RELU"},
        ),
        ("AVERAGE_POOL_2D", [3], [4], {**POOL, "stride_h": 2, "stride_w": 2, "filter_height": 2}),
        ("RESHAPE", [4, 10], [5], {"new_shape": (1, 64)}),
        ("FULLY_CONNECTED", [5, 6, 7], [8], {}),
        ("SOFTMAX", [8], [9], {"beta": 1.0}),
    ]
    return tensors, operators, [0], [9]


ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
POOL = {"padding": "SAME", "filter_height": 3, "filter_width": 2, "stride_h": 1, "stride_w": 1}
IMAGE, WIDE, ROW = (1, 7, 6, 5), (3, 99), (1, 12)
CORNERS = integers([0, 0], [1, 2], [0, 1], [0, 0])


def fused(name: str, make: Callable[..., Callable[[Rng], Model]], *arguments: object, **options: object):
    return {
        f"{name} {activation}": make(*arguments, fused_activation_function=activation, **options)
        for activation in ACTIVATIONS
    }


STRIDES = {"padding": "SAME", "stride_h": 2, "stride_w": 1}
MODELS: dict[str, Callable[[Rng], Model]] = {
    **fused("CONV_2D", layer, "CONV_2D", IMAGE, (4, 3, 2, 5), (1, 4, 6, 4), **STRIDES),
    **fused(
        "DEPTHWISE_CONV_2D",
        layer,
        "DEPTHWISE_CONV_2D",
        IMAGE,
        (1, 3, 2, 10),
        (1, 4, 6, 10),
        depth_multiplier=2,
        **STRIDES,
    ),
    **fused("FULLY_CONNECTED", layer, "FULLY_CONNECTED", (2, 13), (7, 13), (2, 7)),
    **fused("AVERAGE_POOL_2D", chain, "AVERAGE_POOL_2D", IMAGE, IMAGE, **POOL),
    **fused("MAX_POOL_2D", chain, "MAX_POOL_2D", IMAGE, IMAGE, **POOL),
    **fused("ADD", pair, "ADD"),
    **fused("SUB", pair, "SUB"),
    **fused("MUL", pair, "MUL"),
    "MAXIMUM": pair("MAXIMUM", rescales=False),
    "MINIMUM": pair("MINIMUM", rescales=False),
    "PRELU": prelu,
    "SOFTMAX": chain("SOFTMAX", WIDE, WIDE, y=(1 / 256, 0), beta=1.0),
    "LOG_SOFTMAX": chain("LOG_SOFTMAX", WIDE, WIDE, y=(16 / 256, 255)),
    "LOGISTIC": chain("LOGISTIC", WIDE, WIDE, y=(1 / 256, 0)),
    "TANH": chain("TANH", WIDE, WIDE, y=(1 / 128, 128)),
    "RELU": chain("RELU", WIDE, WIDE, rescales=True),
    "RELU6": chain("RELU6", WIDE, WIDE),
    "LEAKY_RELU": chain("LEAKY_RELU", WIDE, WIDE, rescales=True, alpha=0.3),
    "HARD_SWISH": chain("HARD_SWISH", WIDE, WIDE),
    "QUANTIZE": chain("QUANTIZE", WIDE, WIDE, rescales=True),
    "DEQUANTIZE": floats,
    "MEAN": chain("MEAN", (2, 5, 4, 9), (2, 9), parameters=[integers(1, 2)], rescales=True),
    "SUM": chain("SUM", (2, 5, 4, 9), (2, 9), parameters=[integers(1, 2)], rescales=True),
    "REDUCE_MAX": chain("REDUCE_MAX", (2, 5, 4, 9), (2, 9), parameters=[integers(1, 2)]),
    "REDUCE_MIN": chain("REDUCE_MIN", (2, 5, 4, 9), (2, 9), parameters=[integers(1, 2)]),
    "ARG_MAX": found_index("ARG_MAX"),
    "ARG_MIN": found_index("ARG_MIN"),
    "CONCATENATION": joined("CONCATENATION", (2, 9)),
    "PACK": joined("PACK", (2, 3, 3)),
    "UNPACK": chain("UNPACK", (2, 3), (3,), (3,), num=2, axis=0),
    "SPLIT": chain("SPLIT", (2, 6), (2, 3), (2, 3), parameters=[scalar(1)], before=True, num_splits=2),
    "SPLIT_V": chain("SPLIT_V", (2, 6), (2, 2), (2, 4), parameters=[integers(2, 4), scalar(1)], num_splits=2),
    "SLICE": chain("SLICE", (2, 6), (1, 3), parameters=[integers(1, 2), integers(1, 3)]),
    "STRIDED_SLICE": chain(
        "STRIDED_SLICE", (2, 6), (2, 3), parameters=[integers(0, 1), integers(2, 6), integers(1, 2)]
    ),
    "TRANSPOSE": chain("TRANSPOSE", (2, 3, 4), (4, 2, 3), parameters=[integers(2, 0, 1)]),
    "RESHAPE": chain("RESHAPE", ROW, (3, 4), parameters=[integers(3, 4)], new_shape=(3, 4)),
    "SQUEEZE": chain("SQUEEZE", (1, 3, 1, 4), (3, 4), squeeze_dims=(0, 2)),
    "EXPAND_DIMS": chain("EXPAND_DIMS", (3, 4), (3, 1, 4), parameters=[scalar(1)]),
    "SHAPE": dimensions,
    "PAD": chain("PAD", (1, 3, 4, 2), (1, 6, 5, 2), parameters=[CORNERS]),
    "PADV2": padded_with,
    "MIRROR_PAD": chain("MIRROR_PAD", (1, 3, 4, 2), (1, 6, 5, 2), parameters=[CORNERS], mode="REFLECT"),
    "RESIZE_NEAREST_NEIGHBOR": chain(
        "RESIZE_NEAREST_NEIGHBOR", (1, 3, 4, 2), (1, 6, 8, 2), parameters=[integers(6, 8)]
    ),
    "SPACE_TO_DEPTH": chain("SPACE_TO_DEPTH", (1, 4, 4, 3), (1, 2, 2, 12), block_size=2),
    "DEPTH_TO_SPACE": chain("DEPTH_TO_SPACE", (1, 2, 2, 12), (1, 4, 4, 3), block_size=2),
    "SPACE_TO_BATCH_ND": chain(
        "SPACE_TO_BATCH_ND", (1, 4, 4, 3), (4, 3, 2, 3), parameters=[integers(2, 2), integers([1, 1], [0, 0])]
    ),
    "BATCH_TO_SPACE_ND": chain(
        "BATCH_TO_SPACE_ND", (4, 2, 2, 3), (1, 3, 4, 3), parameters=[integers(2, 2), integers([1, 0], [0, 0])]
    ),
    "a network": network,
}

# --- comparison ------------------------------------------------------------------------------------------------------


def build(model: Model, folder: Path, options: Options | None = None) -> Built:
    return build_bytes(build_model(*model), folder, options)


def build_bytes(data: bytes, folder: Path, options: Options | None = None) -> Built:
    (folder / "net.tflite").write_bytes(data)
    return build_read(pipeline.read(folder / "net.tflite", options), folder / "out", "net")


def answers(data: bytes, inputs: Sequence[Sample]) -> list[list[Array]]:
    """The original's outputs."""
    resolver = runtime.OpResolverType.BUILTIN_REF
    interpreter = runtime.Interpreter(model_content=data, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    found = []
    for sample in inputs:
        for port, array in zip(interpreter.get_input_details(), sample.arrays, strict=True):
            interpreter.set_tensor(port["index"], array)
        interpreter.invoke()
        found.append([interpreter.get_tensor(port["index"]).copy() for port in interpreter.get_output_details()])
    return found


@dataclasses.dataclass(frozen=True)
class InReal:
    """A requantisation by a real number: what the original does to the sums of FULLY_CONNECTED since its 1.3."""

    scale: float

    def apply(self, acc: Array) -> Array:
        real = acc.astype(np.float64) * self.scale
        return np.asarray((np.sign(real) * np.floor(np.abs(real) + 0.5)).astype(np.int64))


def as_theirs(graph: Graph) -> Graph:
    """Its reference then differs from ours in that one rule."""

    def scale(name: str) -> float:
        found = graph.tensors[name].quant
        assert found is not None
        return float(found.scale[0])

    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, FullyConnected):
            x, weights, _ = node.inputs
            real = InReal(scale(x) * scale(weights) / scale(node.outputs[0]))
            node = dataclasses.replace(node, op=dataclasses.replace(node.op, requant=real))  # type: ignore[arg-type]
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", MODELS)
def test_uint8_gives_what_the_original_gives(name: str, seed: int, tmp_path: Path) -> None:
    built = build(MODELS[name](np.random.default_rng(seed)), tmp_path)
    assert NOTE in built.manifest.notes
    inputs = varied(built, SAMPLES)
    if seed == 0:
        assert differences(built, inputs, host(built)) == []
    graph = as_theirs(built.model.graph)
    for sample, theirs in zip(inputs, answers(built.model.data, inputs), strict=True):
        for found, expected in zip(reference.outputs(graph, sample.arrays), theirs, strict=True):
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            assert np.array_equal(found, expected), sample.name


def test_every_operator_that_is_said_to_be_exact_is_compared() -> None:
    rng = np.random.default_rng(0)
    assert {spec[0] for model in MODELS.values() for spec in model(rng)[1]} == EXACT


# --- the interface ---------------------------------------------------------------------------------------------------


def test_the_interface_stays_uint8_or_becomes_int8(tmp_path: Path) -> None:
    model = network(np.random.default_rng(4))
    plain, stripped = build(model, tmp_path), build(model, tmp_path, Options(io="int8"))
    assert [(port.dtype, port.zero_point) for port in plain.manifest.outputs] == [("uint8", 0)]
    assert [(port.dtype, port.zero_point) for port in stripped.manifest.outputs] == [("int8", -128)]
    assert len(stripped.manifest.layers) == len(plain.manifest.layers) - 2
    for sample in varied(plain, SAMPLES):
        moved = tuple((array.astype(np.int16) - 128).astype(np.int8) for array in sample.arrays)
        (expected,), (found,) = (
            reference.outputs(b.model.graph, a) for b, a in ((plain, sample.arrays), (stripped, moved))
        )
        assert np.array_equal(found.astype(np.int16) + 128, expected)


def test_micros_interpreter_is_not_asked(tmp_path: Path) -> None:
    built = build(network(np.random.default_rng(4)), tmp_path)
    with pytest.raises(CannotCompare, match="uint8"):
        RUNTIMES["tflm"].ask(built.out, built.manifest)
    assert json.loads((built.out / "manifest.json").read_text())["notes"] == [NOTE]


def test_a_batch_of_uint8(tmp_path: Path) -> None:
    model = build_object(*network(np.random.default_rng(4)))
    for tensor in model.subgraphs[0].tensors:
        if list(tensor.shape)[:1] == [1]:
            tensor.shapeSignature = [-1, *tensor.shape[1:]]
    built = build_bytes(pack(model), tmp_path, Options(batch=3))
    single = pipeline.read(tmp_path / "net.tflite").graph
    for sample in varied(built, SAMPLES):
        rows = [reference.outputs(single, [sample.arrays[0][row : row + 1]])[0] for row in range(3)]
        assert np.array_equal(reference.outputs(built.model.graph, sample.arrays)[0], np.concatenate(rows))


def test_int8_models_with_uint8_at_the_edges_stay_as_they_are(tmp_path: Path) -> None:
    x, inner, y = values(ROW, (0.1, 131)), CaseTensor(ROW, "int8", 0.1, 3), values((3, 4), (0.2, 9))
    tensors = [x, inner, dataclasses.replace(inner, scale=0.2, zero_point=-7), dataclasses.replace(y, shape=ROW), y]
    operators: list[OperatorSpec] = [
        ("QUANTIZE", [0], [1], {}),
        ("RELU", [1], [2], {}),
        ("QUANTIZE", [2], [3], {}),
        ("RESHAPE", [3], [4], {}),
    ]
    built = build((tensors, operators, [0], [4]), tmp_path)
    assert built.manifest.notes == ()
    assert RUNTIMES["tflm"].ask(built.out, built.manifest)


# --- refusals --------------------------------------------------------------------------------------------------------


def two_zero_points() -> bytes:
    made = layer("CONV_2D", (1, 4, 4, 2), (2, 1, 1, 2), (1, 4, 4, 2), padding="SAME", stride_h=1, stride_w=1)
    model = build_object(*made(np.random.default_rng(0)))
    model.subgraphs[0].tensors[1].quantization.scale = [0.1, 0.1]
    model.subgraphs[0].tensors[1].quantization.zeroPoint = [3, 4]
    return pack(model)


def single(op: str, *ys: CaseTensor, parameters: Sequence[CaseTensor] = (), **options: object) -> bytes:
    return build_model(
        *chain(op, (1, 3, 4, 2), *(y.shape for y in ys), parameters=parameters, **options)(np.random.default_rng(0))
    )


def cast() -> bytes:
    x = values(ROW, (0.1, 3))
    return build_model([x, x, CaseTensor(ROW, "float32")], [("RELU", [0], [1], {}), ("CAST", [1], [2], {})], [0], [2])


REFUSED = {
    "node 1 (tensor3/int8) RESIZE_BILINEAR: of uint8, it is not known to give the same": single(
        "RESIZE_BILINEAR", values((1, 7, 9, 2), (0.1, 0)), parameters=[integers(7, 9)]
    ),
    "node 1 (tensor2) CAST: of uint8, it is not known to give the same": cast(),
    "CONV_2D: the filter has the zero points [-125, -124], expected is one": two_zero_points(),
    "L2_NORMALIZATION: of uint8, it is not known to give the same": single(
        "L2_NORMALIZATION", values((1, 3, 4, 2), (0.1, 0))
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_exact_is_refused_in_words(reason: str, tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(REFUSED[reason])
    with pytest.raises(UnsupportedModel) as caught:
        pipeline.read(tmp_path / "net.tflite")
    assert reason in caught.value.message
    labels = {row.label for row in pipeline.outline(tmp_path / "net.tflite")}
    assert {problem.node for problem in caught.value.problems} <= labels
