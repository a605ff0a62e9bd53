"""Models that cannot be built are refused with node, operator, reason and remedy, and whatever else a file may hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from building import build_bytes, host, varied
from operator_cases import NAMED
from tflite_builder import OperatorSpec, build_case, build_model, build_object, pack

from tinygen import pipeline
from tinygen.errors import InvalidModel, ModelError, UnsupportedModel
from tinygen.ops.case import Case, CaseTensor

X = CaseTensor((1, 4, 4, 2), scale=0.1, zero_point=3)
ROW = CaseTensor((1, 8), scale=0.1, zero_point=3)
FLOAT = CaseTensor((1, 8), "float32")
PROBABILITY = CaseTensor((1, 8), scale=1 / 256, zero_point=-128)
POOL = {"padding": "VALID", "filter_height": 2, "filter_width": 2, "stride_h": 2, "stride_w": 2}


def read(data: bytes, folder: Path, name: str = "net.tflite") -> pipeline.Model:
    path = folder / name
    path.write_bytes(data)
    return pipeline.read(path)


def refused(data: bytes, folder: Path) -> UnsupportedModel:
    with pytest.raises(UnsupportedModel) as caught:
        read(data, folder)
    assert caught.value.message.startswith("net.tflite: ")
    return caught.value


CONV = NAMED["conv_2d-pointwise"]
PER_TENSOR = NAMED["conv_2d-per_tensor"]
DEPTHWISE = NAMED["depthwise_conv_2d-3x3"]
DENSE = NAMED["fully_connected-plain"]


def broken(base: Case, operand: int | None = None, *, output: bool = False, options: object = (), **changes: object):
    """A case with some fields of one of its tensors, or some options, replaced."""
    inputs, outputs = list(base.inputs), list(base.outputs)
    if operand is not None:
        inputs[operand] = dataclasses.replace(inputs[operand], **changes)  # type: ignore[type-var,arg-type]
    if output:
        outputs[0] = dataclasses.replace(outputs[0], **changes)  # type: ignore[arg-type]
    merged = {**base.options, **dict(options)}  # type: ignore[call-overload]
    return build_case(Case(base.name, base.op, tuple(inputs), tuple(outputs), merged))


def unary(op: str, x: CaseTensor, y: CaseTensor, **options: object) -> bytes:
    return build_case(Case(op, op, (x,), (y,), options))


def scaled_bias(factor: int) -> np.ndarray:
    (*_, bias) = CONV.inputs
    assert bias is not None and bias.data is not None
    return np.full_like(bias.data, factor)


# --- one reason each -------------------------------------------------------------------------------------------------

SCALES = (0.01, 0.02, 0.03)

REFUSALS: dict[str, tuple[Callable[[], bytes], Sequence[str]]] = {
    "float model": (
        lambda: build_model(
            [FLOAT, CaseTensor((3, 8), "float32", data=np.ones((3, 8), np.float32)), CaseTensor((1, 3), "float32")],
            [("FULLY_CONNECTED", [0, 1], [2], {})],
            [0],
            [2],
        ),
        ["the model: it computes in float", "tinygen quantize"],
    ),
    "hybrid: int8 weights, float activations": (
        lambda: build_model(
            [FLOAT, CaseTensor((3, 8), scale=0.1, data=np.ones((3, 8), np.int8)), CaseTensor((1, 3), "float32")],
            [("FULLY_CONNECTED", [0, 1], [2], {})],
            [0],
            [2],
        ),
        ["node 0 (tensor2) FULLY_CONNECTED", "the input 'tensor0' is float32", "quantise the whole model"],
    ),
    "int64 input": (
        lambda: unary("RESHAPE", CaseTensor((1, 4), "int64"), CaseTensor((4, 1), "int64")),
        ["tensor 0 (tensor0)", "the input is int64, supported are int8, uint8, int16", "the output is int64"],
    ),
    "int16 filter": (
        lambda: broken(DENSE, 1, dtype="int16", data=np.ones((9, 13), np.int16)),
        ["node 0 (tensor3) FULLY_CONNECTED", "the filter is int16, supported is int8"],
    ),
    "int64 bias": (
        lambda: broken(CONV, 2, dtype="int64", data=np.ones(4, np.int64)),
        ["node 0 (tensor3) CONV_2D", "the bias is int64, supported is int32"],
    ),
    "complex tensor": (
        lambda: unary("RESHAPE", CaseTensor((1, 4), "complex64"), CaseTensor((4, 1), "complex64")),
        ["the input is complex64"],
    ),
    "string tensor": (
        lambda: unary("RESHAPE", CaseTensor((1, 4), "string"), CaseTensor((4, 1), "string")),
        ["tensor 0 (tensor0)", "'tensor0' has the type string, which is not supported"],
    ),
    "activation TANH": (
        lambda: broken(CONV, options={"fused_activation_function": "TANH"}),
        ["node 0 (tensor3) CONV_2D", "the fused activation TANH is not supported", "supported are NONE, RELU, RELU6"],
    ),
    "filter computed at run time": (
        lambda: broken(DENSE, 1, data=None),
        ["FULLY_CONNECTED", "the filter is computed at run time, supported is a constant"],
    ),
    "bias computed at run time": (
        lambda: broken(CONV, 2, dtype="int32", data=None),
        ["CONV_2D: the bias is computed at run time, supported is a constant"],
    ),
    "no scale on the input": (
        lambda: broken(CONV, 0, scale=None),
        ["CONV_2D: the input 'tensor0' has no scale", "quantise the whole model to int8"],
    ),
    "no scale on the filter": (
        lambda: broken(CONV, 1, scale=None),
        ["CONV_2D: the filter 'tensor1' is not quantised", "quantise the whole model to int8"],
    ),
    "no scale on the output": (
        lambda: broken(CONV, output=True, scale=None),
        ["CONV_2D: the output 'tensor3' has no scale"],
    ),
    "per-channel activations": (
        lambda: broken(CONV, 0, scale=(0.1,) * 8, axis=3),
        ["CONV_2D: the input 'tensor0' has 8 scales, expected is one"],
    ),
    "scales along another axis": (
        lambda: broken(CONV, 1, axis=3, scale=(0.01,) * 8),
        ["CONV_2D: the filter's scales run along dimension 3, expected is 0"],
    ),
    "depthwise scales along another axis": (
        lambda: broken(DEPTHWISE, 1, axis=1, scale=SCALES),
        ["DEPTHWISE_CONV_2D: the filter's scales run along dimension 1, expected is 3"],
    ),
    "asymmetric filter": (
        lambda: broken(PER_TENSOR, 1, zero_point=1),
        ["CONV_2D: the filter has a zero point other than 0", "symmetric int8 weights"],
    ),
    "zero point outside int8": (
        lambda: broken(CONV, 0, zero_point=128),
        ["CONV_2D: the input 'tensor0' has the zero point 128, outside int8"],
    ),
    "output of another shape": (
        lambda: broken(CONV, output=True, shape=(1, 5, 5, 3)),
        ["CONV_2D: its inputs make int8 (1, 5, 5, 4), its output is declared int8 (1, 5, 5, 3)"],
    ),
    "output of another dtype": (
        lambda: broken(CONV, output=True, dtype="int16", zero_point=0),
        ["its inputs make int8 (1, 5, 5, 4), its output is declared int16 (1, 5, 5, 4)"],
    ),
    "bias of another length": (
        lambda: broken(CONV, 2, shape=(3,), data=np.ones(3, np.int32), scale=None),
        ["CONV_2D: the bias has shape (3,), the filter has 4 output channels"],
    ),
    "channels that make no groups": (
        lambda: broken(CONV, 0, shape=(1, 5, 5, 9)),
        ["CONV_2D: 9 input channels and 4 filters of depth 8 make no groups"],
    ),
    "rows that do not divide": (
        lambda: broken(DENSE, 0, shape=(1, 12)),
        ["FULLY_CONNECTED: the input (1, 12) does not divide into rows of 13"],
    ),
    "input of three dimensions": (
        lambda: broken(CONV, 0, shape=(5, 5, 8)),
        ["CONV_2D: the input has 3 dimensions (5, 5, 8), expected are 4"],
    ),
    "filter of two dimensions": (
        lambda: broken(CONV, 1, shape=(4, 8), data=np.ones((4, 8), np.int8)),
        ["CONV_2D: the filter has 2 dimensions (4, 8), expected are 4"],
    ),
    "window beyond the image": (
        lambda: unary("MAX_POOL_2D", X, X, **{**POOL, "filter_height": 9}),
        ["MAX_POOL_2D", "does not fit into the input (1, 4, 4, 2)"],
    ),
    "stride of zero": (
        lambda: unary("MAX_POOL_2D", X, X, **{**POOL, "stride_w": 0}),
        ["MAX_POOL_2D: kernel (2, 2), stride (2, 0) and dilation (1, 1) must all be at least 1"],
    ),
    "negative dilation": (
        lambda: broken(CONV, options={"dilation_h_factor": -1}),
        ["CONV_2D: kernel (1, 1), stride (1, 1) and dilation (-1, 1) must all be at least 1"],
    ),
    "filter zero point beyond every integer": (
        lambda: broken(DENSE, 1, zero_point=2**52),
        ["FULLY_CONNECTED", "zero point"],
    ),
    "filter zero point beyond 64 bits once multiplied": (
        lambda: broken(DENSE, 1, zero_point=2**62),
        ["FULLY_CONNECTED", "zero point"],
    ),
    "output scale below float32's normal range": (
        lambda: broken(CONV, output=True, scale=1e-39, options={"fused_activation_function": "RELU6"}),
        ["CONV_2D", "scale"],
    ),
    "softmax with a beta that is no number": (
        lambda: unary("SOFTMAX", ROW, PROBABILITY, beta=float("nan")),
        ["SOFTMAX", "beta"],
    ),
    "softmax with a negative beta": (
        lambda: unary("SOFTMAX", ROW, PROBABILITY, beta=-1.0),
        ["SOFTMAX: beta is -1, it must be positive"],
    ),
    "pool that rescales": (
        lambda: unary("AVERAGE_POOL_2D", X, CaseTensor((1, 2, 2, 2), scale=0.2, zero_point=3), **POOL),
        ["AVERAGE_POOL_2D: input and output have different scales or zero points"],
    ),
    "reshape to another size": (
        lambda: unary("RESHAPE", ROW, dataclasses.replace(ROW, shape=(1, 9))),
        ["RESHAPE: 8 elements (1, 8) do not become 9 (1, 9)"],
    ),
    "shapes that do not broadcast": (
        lambda: build_model([X, ROW, X], [("ADD", [0, 1], [2], {})], [0, 1], [2]),
        ["ADD: the shapes (1, 4, 4, 2) and (1, 8) do not broadcast"],
    ),
    "softmax of another scale": (
        lambda: unary("SOFTMAX", ROW, ROW, beta=1.0),
        ["SOFTMAX: the output must have scale 1/256 and zero point -128"],
    ),
    "dimension of zero": (
        lambda: unary("RESHAPE", dataclasses.replace(ROW, shape=(1, 0)), ROW),
        ["'tensor0' has the shape (1, 0), all dimensions must be known and positive"],
    ),
    "huge tensor": (
        lambda: unary("RESHAPE", dataclasses.replace(ROW, shape=(1 << 15, 1 << 16)), ROW),
        ["'tensor0' takes 2147483648 bytes, the limit is 1073741824"],
    ),
    "bias that overflows the accumulator": (
        lambda: broken(CONV, 2, data=scaled_bias(2**31 - 1)),
        ["CONV_2D: the accumulator of channel", "more than int32"],
    ),
    "negative bias that overflows": (
        lambda: broken(CONV, 2, data=scaled_bias(-(2**31))),
        ["CONV_2D: the accumulator of channel", "more than int32"],
    ),
    "gain that overflows": (
        lambda: broken(CONV, output=True, scale=1e-9),
        ["CONV_2D: the accumulator of channel", "what its scale leaves of int32"],
    ),
    "requantisation that overflows": (
        lambda: unary("QUANTIZE", ROW, dataclasses.replace(ROW, scale=1e-10)),
        ["QUANTIZE: the difference to the zero point can reach"],
    ),
    "sum that overflows": (
        lambda: build_model([ROW, ROW, dataclasses.replace(ROW, scale=1e-9)], [("ADD", [0, 1], [2], {})], [0, 1], [2]),
        ["ADD: the result can reach"],
    ),
    "missing operand": (
        lambda: build_model([ROW, ROW], [("ADD", [0], [1], {})], [0], [1]),
        ["ADD: its second input (input 1) is missing"],
    ),
    "absent operand": (
        lambda: build_model([ROW, ROW], [("ADD", [-1, 0], [1], {})], [0], [1]),
        ["ADD: its first input (input 0) is missing"],
    ),
    "two outputs": (
        lambda: build_model([ROW, ROW, ROW], [("RESHAPE", [0], [1, 2], {})], [0], [1]),
        ["RESHAPE: it has 2 outputs, expected is 1"],
    ),
    "no outputs of a node": (
        lambda: build_model([ROW], [("RESHAPE", [0], [], {})], [0], [0]),
        ["node 0 RESHAPE: it has 0 outputs, expected is 1"],
    ),
    "read before it is written": (
        lambda: build_model([ROW, ROW, ROW], [("ADD", [0, 2], [1], {}), ("ADD", [0, 0], [2], {})], [0], [1]),
        ["node 0 (tensor1) ADD: it reads 'tensor2', which nothing has written before"],
    ),
    "reads its own output": (
        lambda: build_model([ROW, ROW], [("ADD", [0, 1], [1], {})], [0], [1]),
        ["ADD: it reads 'tensor1', which nothing has written before"],
    ),
    "written twice": (
        lambda: build_model([ROW, ROW], [("ADD", [0, 0], [1], {}), ("ADD", [0, 0], [1], {})], [0], [1]),
        ["node 1 (tensor1) ADD: it writes 'tensor1' a second time"],
    ),
    "writes its input": (
        lambda: build_model([ROW, ROW], [("ADD", [0, 1], [0], {})], [0, 1], [0]),
        ["ADD: it writes 'tensor0' a second time"],
    ),
    "writes a constant": (
        lambda: build_model(
            [ROW, dataclasses.replace(ROW, data=np.ones((1, 8), np.int8))], [("ADD", [0, 0], [1], {})], [0], [1]
        ),
        ["ADD: it writes 'tensor1' a second time"],
    ),
    "output never written": (
        lambda: build_model([ROW, ROW, ROW], [("ADD", [0, 0], [1], {})], [0], [1, 2]),
        ["tensor 2 (tensor2): it is an output, but no operator writes it"],
    ),
    "one input twice": (
        lambda: build_model([ROW, ROW], [("ADD", [0, 0], [1], {})], [0, 0], [1]),
        ["inputs: one tensor is listed as an input twice"],
    ),
    "constant output": (
        lambda: build_model(
            [ROW, ROW, dataclasses.replace(ROW, data=np.ones((1, 8), np.int8))],
            [("ADD", [0, 0], [1], {})],
            [0],
            [1, 2],
        ),
        ["tensor 2 (tensor2)"],
    ),
    "output computed from constants only": (
        lambda: build_model(
            [ROW, ROW, dataclasses.replace(ROW, data=np.ones((1, 8), np.int8)), ROW],
            [("ADD", [0, 0], [1], {}), ("ADD", [2, 2], [3], {})],
            [0],
            [1, 3],
        ),
        ["tensor 3 (tensor3)"],
    ),
    "constant input": (
        lambda: build_model(
            [dataclasses.replace(ROW, data=np.ones((1, 8), np.int8)), ROW], [("ADD", [0, 0], [1], {})], [0], [1]
        ),
        ["tensor 0 (tensor0): it is an input, but the file holds a value for it"],
    ),
    "empty graph": (
        lambda: build_model([], [], [], []),
        ["outputs: the model has no outputs"],
    ),
    "no outputs": (
        lambda: build_model([ROW, ROW], [("ADD", [0, 0], [1], {})], [0], []),
        ["outputs: the model has no outputs"],
    ),
    "variable": (
        lambda: build_model([ROW, ROW, ROW], [("ADD", [0, 2], [1], {})], [0, 2], [1], variables=[2]),
        ["it reads the variable tensor 'tensor2', which is not supported there"],
    ),
}


DAMAGE: dict[str, tuple[Callable[[], bytes], Sequence[str]]] = {
    "too few scales": (
        lambda: broken(CONV, 1, scale=SCALES),
        ["tensor 1 (tensor1): it has 3 scales for the 4 indices of axis 0"],
    ),
    "dynamic shape": (
        lambda: unary("RESHAPE", dataclasses.replace(ROW, shape=(-1, 8)), ROW),
        ["tensor 0 (tensor0): its shape (-1, 8) has a negative dimension"],
    ),
    "tensor beyond 64 bits": (
        lambda: unary("RESHAPE", dataclasses.replace(ROW, shape=(2**31 - 1,) * 4), ROW),
        ["tensor 0 (tensor0): shape (2147483647, 2147483647", "more than"],
    ),
}
"""What the reader itself takes for no model."""


@pytest.mark.parametrize("reason", DAMAGE)
def test_what_is_no_model_is_refused_with_the_reason(reason: str, tmp_path: Path) -> None:
    make, fragments = DAMAGE[reason]
    with pytest.raises(InvalidModel) as caught:
        read(make(), tmp_path)
    for fragment in fragments:
        assert fragment in caught.value.message


@pytest.mark.parametrize("reason", REFUSALS)
def test_what_cannot_be_built_is_refused_with_the_reason(reason: str, tmp_path: Path) -> None:
    make, fragments = REFUSALS[reason]
    message = str(refused(make(), tmp_path))
    for fragment in fragments:
        assert fragment in message


def test_the_models_that_are_broken_above_are_sound_themselves(tmp_path: Path) -> None:
    for sound in (CONV, PER_TENSOR, DEPTHWISE, DENSE):
        read(build_case(sound), tmp_path)


def test_a_shape_that_the_converter_left_open_has_the_files_size(tmp_path: Path) -> None:
    model = build_object([ROW, ROW], [("ADD", [0, 0], [1], {})], [0], [1])
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = [-1, 8]
    graph = read(pack(model), tmp_path).graph
    assert [graph.tensors[name].shape for name in (*graph.inputs, *graph.outputs)] == [(1, 8), (1, 8)]


@pytest.mark.parametrize("dilation", [1 << 28, 1 << 29, 1 << 30, 2**31 - 1])
def test_windows_far_beyond_the_image_are_refused_or_sound(dilation: int, tmp_path: Path) -> None:
    """The reference cannot follow into such a padding, but the C must not overflow on the way there."""
    options = {"dilation_h_factor": dilation, "dilation_w_factor": 1}
    try:
        built = build_bytes(broken(NAMED["conv_2d-dilated"], options=options), tmp_path)
    except ModelError:
        return
    with host(built) as peer:
        for sample in varied(built, 3):
            peer.run(sample.bytes, sample.reset)


def test_the_accumulators_limit_is_exact(tmp_path: Path) -> None:
    """One more than the largest bias is refused, the largest is not: |b| + sum |w| (128 + |zero point|) < 2^31."""
    weights = np.full((1, 8), -127, np.int8)
    largest = 2**31 - 1 - 8 * 127 * (128 + 3)

    def dense(bias: int) -> bytes:
        tensors = [
            ROW,
            CaseTensor((1, 8), scale=0.001, data=weights),
            CaseTensor((1,), "int32", data=np.array([bias], np.int32)),
            CaseTensor((1, 1), scale=1000.0),
        ]
        return build_model(tensors, [("FULLY_CONNECTED", [0, 1, 2], [3], {})], [0], [3])

    for sign in (1, -1):
        read(dense(sign * largest), tmp_path)
        assert f"can reach {2**31}, more than int32" in str(refused(dense(sign * (largest + 1)), tmp_path))


# --- all reasons at once ---------------------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    operators: list[OperatorSpec] = [
        ("TANH", [0], [1], {}),
        ("ADD", [1, 0], [2], {"fused_activation_function": "SIGN_BIT"}),
        ("CUSTOM:detect", [2], [3], {}),
        ("RESHAPE", [3], [4], {}),
        ("HARD_SWISH", [4], [5], {}),
    ]
    tensors = [ROW, ROW, ROW, ROW, dataclasses.replace(ROW, shape=(1, 9)), ROW]
    names = ["in", "model/tanh;fused", "sum", "boxes", "flat", "out"]
    error = refused(build_model(tensors, operators, [0], [5], names=names), tmp_path)
    assert [(problem.node, problem.operator) for problem in error.problems] == [
        ("node 0 (model/tanh)", "TANH"),
        ("node 1 (sum)", "ADD"),
        ("node 2 (boxes)", "CUSTOM:detect"),
        ("node 3 (flat)", "RESHAPE"),
        ("node 4 (out)", "HARD_SWISH"),
    ]
    assert error.message.splitlines()[0] == "net.tflite: 5 things tinygen cannot build:"
    assert len(error.message.splitlines()) == 6
    for problem in error.problems:
        assert problem.reason and str(problem) in error.message
    assert all(problem.remedy for problem in error.problems if problem.reason == "the operator is not supported")


# --- files that are no models ----------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"there is no file .*none\.tflite"):
        pipeline.read(tmp_path / "none.tflite")


def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "saved_model.tflite"
    folder.mkdir()
    with pytest.raises(InvalidModel, match="is a folder"):
        pipeline.read(folder)


def test_what_has_no_end(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.tflite"):
        (tmp_path / name).symlink_to("/dev/zero")
        with pytest.raises(InvalidModel, match="is a device or a pipe"):
            pipeline.read(tmp_path / name)


@pytest.mark.parametrize("name", ["model.pt", "model.h5", "model", "model.tflite.gz"])
def test_another_suffix(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel) as caught:
        read(build_case(CONV), tmp_path, name)
    assert name in caught.value.message and ".tflite" in caught.value.message
    assert caught.value.remedy


def test_a_file_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidModel, match="cannot read"):
        pipeline.read(tmp_path / "file" / "model.tflite")


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\x08\x03\x12\x07pytorch", b"\x00" * 100, b"<html></html>"])
def test_other_content(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"net\.tflite"):
        read(data, tmp_path)
