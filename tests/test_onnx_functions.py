"""What stands between DequantizeLinear and QuantizeLinear and depends on one integer is ONNX Runtime's table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto
from onnx_nets import Net
from test_onnx_models import assert_equal, session

from tinygen import pipeline, reference
from tinygen.errors import UnsupportedModel
from tinygen.ops.activations import Relu6
from tinygen.ops.curve import ChannelCurves, Curve
from tinygen.ops.float_add import FloatAdd
from tinygen.ops.weighted import Weighted

Chain = Callable[[Net, str], str]
IMAGE = (1, 3, 16, 16)
"""All 256 values in each channel."""
OPSET = 24
"""The first that has all of these."""


def of(op: str, *constants: object, **attributes: object) -> Chain:
    return lambda net, x: net.add(op, x, *(net.constant(value) for value in constants), **attributes)


def hard_swish(net: Net, x: str) -> str:
    bounded = net.add("Clip", net.add("Add", x, net.constant(3)), net.constant(0), net.constant(6))
    return net.add("Div", net.add("Mul", x, bounded), net.constant(6))


def hard_swish_by_operator(net: Net, x: str) -> str:
    return net.add("Mul", x, net.add("HardSigmoid", x, alpha=1 / 6))


def swish(net: Net, x: str) -> str:
    return net.add("Mul", x, net.add("Sigmoid", x))


def mish(net: Net, x: str) -> str:
    return net.add("Mul", x, net.add("Tanh", net.add("Softplus", x)))


def gelu(net: Net, x: str) -> str:
    error = net.add("Erf", net.add("Div", x, net.constant(np.sqrt(2))))
    return net.add("Mul", net.add("Mul", x, net.add("Add", error, net.constant(1))), net.constant(0.5))


def distance(net: Net, x: str) -> str:
    return net.add("Sqrt", net.add("Pow", net.add("Sub", x, net.constant(0.3)), net.constant(2)))


def scaled_channels(net: Net, x: str) -> str:
    x = net.add("Mul", x, net.constant([[[0.3]], [[-1.2]], [[2]]]))
    return net.add("Add", x, net.constant([[[[0.5]], [[0]], [[-3.2]]]]))


def normalised(net: Net, x: str) -> str:
    scale, bias, mean = (net.constant(net.rng.normal(size=3)) for _ in range(3))
    return net.add("BatchNormalization", x, scale, bias, mean, net.constant([0.2, 3, 1e-3]), epsilon=1e-3)


_EXACT = ("Abs", "Ceil", "Floor", "Neg", "Reciprocal", "Round", "Sign", "Softsign", "Sqrt")
_APPROXIMATED = (
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Log", "Mish"),
    *("Selu", "Sin", "Sinh", "Softplus", "Tan"),
)


def limited(net: Net, x: str) -> str:
    """What tools make of Clip, and of thresholds, by truth values."""
    is_low, is_high = net.add("Less", x, net.constant(-0.2)), net.add("GreaterOrEqual", x, net.constant(0.7))
    inner = net.add("Where", net.add("Or", is_low, is_high), net.add("Mul", x, net.constant(0.1)), x)
    is_inner = net.add("Not", net.add("Xor", is_low, is_high))
    return net.add("Add", inner, net.add("Cast", is_inner, to=TensorProto.FLOAT))


def masked_channels(net: Net, x: str) -> str:
    mask = net.constant([[[True]], [[False]], [[True]]], np.bool_)
    return net.add("Where", mask, net.add("Abs", x), net.constant(-0.3))


def truth_of_numbers(net: Net, x: str) -> str:
    is_there = net.add("Cast", net.add("Floor", x), to=TensorProto.BOOL)
    is_even = net.add("Equal", net.add("Mod", net.add("Round", x), net.constant(2), fmod=1), net.constant(0))
    return net.add("Mul", x, net.add("Cast", net.add("And", is_there, is_even), to=TensorProto.FLOAT))


EXACT: dict[str, Chain] = {
    "limited": limited,
    "masked_channels": masked_channels,
    "truth_of_numbers": truth_of_numbers,
    "swish_by_operator": of("Swish", alpha=1.7),
    "gelu_by_tanh": of("Gelu", approximate="tanh"),
    "shrink": of("Shrink", bias=0.3, lambd=0.4),
    "thresholded": of("ThresholdedRelu", alpha=0.3),
    "mean": lambda net, x: net.add("Mean", x, net.add("Neg", net.add("Abs", x)), net.constant(0.4)),
    "hard_swish": hard_swish,
    "hard_swish_by_operator": hard_swish_by_operator,
    "swish": swish,
    "distance": distance,
    "scaled_channels": scaled_channels,
    "normalised": normalised,
    "last_dimension": of("Mul", np.linspace(-1, 2, 16)),
    "slopes": lambda net, x: net.add("Abs", net.add("PRelu", x, net.constant([[[0.3]], [[-1.2]], [[2]]]))),
    "divided": of("Div", 3),
    "divisor": lambda net, x: net.add("Div", net.constant(3), net.add("Add", x, net.constant(20))),
    "added": of("Add", 0.77),
    "largest": of("Max", -0.4),
    "bounded_above": lambda net, x: net.add("Clip", net.add("Abs", x), "", net.constant(0.4)),
    "bounded_below": lambda net, x: net.add("Clip", net.add("Neg", x), net.constant(-0.1)),
    "cube": of("Pow", 3),
    **{op.lower(): of(op) for op in _EXACT},
    "sum": lambda net, x: net.add("Sum", x, x, x),
}
APPROXIMATED: dict[str, Chain] = {
    "gelu": gelu,
    "mish": mish,
    "root": of("Pow", 0.7),
    **{op.lower(): of(op) for op in _APPROXIMATED},
}
SCALES = np.exp(np.linspace(np.log(0.004), np.log(0.2), 5))


def compared(chain: Chain, dtype: type[np.generic], scale: float, output: tuple[float, int]) -> tuple[int, int]:
    """How many of all values differ from ONNX Runtime's, and how many of them a note allows. None by more than one."""
    net = Net(IMAGE, 4)
    zero_point = 7 if dtype is np.int8 else 120
    y = net.quantised(chain(net, net.quantised("x", scale, zero_point, dtype)), *output, dtype)
    data = net.model(y, opset=OPSET)
    graph = pipeline.decode(data, "net.onnx").graph
    assert any(isinstance(node.op, Curve | ChannelCurves) for node in graph.nodes)
    codes = np.arange(256).reshape(IMAGE[2:]) + int(np.iinfo(dtype).min)  # type: ignore[arg-type]
    x = np.broadcast_to((codes - zero_point) * np.float32(scale), IMAGE).astype(np.float32)
    (ours,), (theirs,) = reference.outputs(graph, [x]), session(data).run(None, {"x": x})
    steps = np.abs(np.rint((ours - theirs) / np.float32(output[0])))
    assert steps.max() <= 1
    allowed = [int(note.split(": ")[1].split(" of ")[0]) for note in graph.notes if "near to a tie" in note]
    return int(np.count_nonzero(steps)), sum(allowed)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("name", EXACT)
def test_what_float32_rounds_is_the_same_everywhere(name: str, dtype: type[np.generic]) -> None:
    for scale in SCALES:
        assert compared(EXACT[name], dtype, float(scale), (float(scale) * 1.7, 9)) == (0, 0)


@pytest.mark.parametrize("name", APPROXIMATED)
def test_what_is_approximated_differs_where_a_note_says_so(name: str) -> None:
    uncertain = 0
    for scale in SCALES:
        for output in (0.011, 0.04, 0.15):
            differing, allowed = compared(APPROXIMATED[name], np.int8, float(scale), (output, -20))
            assert differing <= allowed * IMAGE[1]
            uncertain += allowed
    assert uncertain <= 0.01 * 256 * 3 * len(SCALES)


@pytest.mark.parametrize(
    "chain",
    [of("Tanh"), of("Sigmoid"), swish, hard_swish, distance, of("Clip", -1, 2)],
    ids=lambda chain: chain.__name__,
)
def test_results_that_stay_float32_are_onnx_runtimes(chain: Chain) -> None:
    """Also where another operator computes on them."""
    net = Net(IMAGE, 4)
    y = chain(net, net.quantised("x", 0.03, 7))
    data = net.model(y, net.quantised(net.add("Abs", y), 0.02, -3))
    x = np.broadcast_to((np.arange(256).reshape(IMAGE[2:]) - 135) * np.float32(0.03), IMAGE).astype(np.float32)
    graph = pipeline.decode(data, "net.onnx").graph
    for ours, theirs in zip(reference.outputs(graph, [x]), session(data).run(None, {"x": x}), strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(
    ("op", "words"), [("Erf", "stays float32, and ONNX Runtime approximates it"), ("Log", "approximates it|no finite")]
)
def test_float32_results_that_are_not_certain_are_refused(op: str, words: str) -> None:
    net = Net(IMAGE, 4)
    with pytest.raises(UnsupportedModel, match=words) as caught:
        pipeline.decode(net.model(net.add(op, net.quantised("x", 0.03, 7))), "net.onnx")
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(("dtype", "bounds"), [(np.uint8, (0, 127)), (np.uint8, (9,)), (np.int8, (-64, 63))])
def test_clip_of_integers_is_the_clamp_of_the_layer_before(dtype: type[np.generic], bounds: tuple[int, ...]) -> None:
    """As PyTorch exports quantisers of fewer bits."""
    net = Net([1, 3, 8, 6], 4)
    limits = [net.constant(bound, dtype) for bound in bounds]

    def clipped(x: str, scale: float, zero_point: int) -> str:
        quant = net.constant(scale), net.constant(zero_point, dtype)
        return net.add("DequantizeLinear", net.add("Clip", net.add("QuantizeLinear", x, *quant), *limits), *quant)

    x = clipped("x", 0.05, 40)
    y = clipped(net.add("Relu", net.add("Conv", x, net.weights(3, 3, 3, 3), pads=[1, 1, 1, 1])), 0.07, bounds[0])
    y = clipped(net.add("MaxPool", clipped(net.add("Add", x, y), 0.1, 33), kernel_shape=[2, 2]), 0.1, 33)
    y = clipped(net.add("Gemm", net.add("Flatten", y), net.weights(105, 5)), 0.2, 50)
    model = assert_equal(net.model(y), 20)
    writers = {node.outputs[0]: node.op for node in model.graph.nodes}
    clipped_ops = [writers[node.inputs[0]] for node in model.graph.nodes if isinstance(node.op, Relu6)]
    assert clipped_ops and not any(isinstance(op, Weighted | FloatAdd) for op in clipped_ops)
