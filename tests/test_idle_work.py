"""Padding, activations and copies that other operators can do as well: gone, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from building import assert_exact, build_bytes, varied
from random_nets import random_net
from tflite_builder import OperatorSpec, build_model

from tinygen import pipeline, reference
from tinygen.errors import UnsupportedModel
from tinygen.ops.case import CaseTensor
from tinygen.ops.window import Axis

SAME = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
VALID = SAME | {"padding": "VALID"}
DILATION = {"dilation_h_factor": 1, "dilation_w_factor": 1}
SCALE, ZERO_POINT = 0.05, -9


class Net:
    """Tensors and operators, one after the other; the first tensor is the model's input, (1, 5, 6, 4)."""

    def __init__(self, zero_point: int = ZERO_POINT, shape: Sequence[int] = (1, 5, 6, 4)) -> None:
        self.rng = np.random.default_rng(7)
        self.tensors = [CaseTensor(tuple(shape), scale=SCALE, zero_point=zero_point)]
        self.operators: list[OperatorSpec] = []

    def integers(self, *values: object) -> int:
        data = np.array(values, np.int32)
        self.tensors.append(CaseTensor(data.shape, "int32", data=data))
        return len(self.tensors) - 1

    def add(
        self,
        op: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        scale: float = SCALE,
        zero_point: int | None = None,
        **options: object,
    ) -> int:
        """An operator, and the id of its output; without a zero point, the output has the first input's."""
        zero_point = self.tensors[inputs[0]].zero_point if zero_point is None else zero_point
        self.tensors.append(CaseTensor(tuple(shape), scale=scale, zero_point=zero_point))
        self.operators.append((op, list(inputs), [len(self.tensors) - 1], options))
        return len(self.tensors) - 1

    def convolution(
        self, x: int, *, depthwise: bool = False, taps: int = 3, scale: float = 0.4, **options: object
    ) -> int:
        """4 channels to 4."""
        shape = (1, taps, taps, 4) if depthwise else (4, taps, taps, 4)
        scales = tuple(float(each) for each in self.rng.uniform(0.004, 0.02, 4))
        data = self.rng.integers(-127, 128, shape).astype(np.int8)
        self.tensors.append(CaseTensor(shape, scale=scales, axis=3 if depthwise else 0, data=data))
        bias = self.rng.integers(-2000, 2000, 4).astype(np.int32)
        self.tensors.append(CaseTensor((4,), "int32", data=bias))
        options = {**VALID, **DILATION, "fused_activation_function": "NONE", **options}
        if depthwise:
            options["depth_multiplier"] = 1
        axes = [
            Axis(taps, int(str(options[f"stride_{axis}"])), int(str(options[f"dilation_{axis}_factor"])))
            for axis in "hw"
        ]
        size = self.tensors[x].shape[1:3]
        if options["padding"] == "VALID":
            size = tuple(axis.output_size(dim) for axis, dim in zip(axes, size, strict=True))
        inputs = [x, len(self.tensors) - 2, len(self.tensors) - 1]
        op = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        return self.add(op, inputs, (1, *size, 4), scale, 5, **options)

    def pad(self, x: int, *borders: tuple[int, int], value: int | None = None) -> int:
        shape = [dim + sum(pair) for dim, pair in zip(self.tensors[x].shape, borders, strict=True)]
        inputs = [x, self.integers(*borders)]
        if value is not None:
            self.tensors.append(CaseTensor((1,), scale=SCALE, zero_point=ZERO_POINT, data=np.array([value], np.int8)))
            inputs.append(len(self.tensors) - 1)
        return self.add("PAD" if value is None else "PADV2", inputs, shape)

    def built(self, *outputs: int) -> bytes:
        return build_model(self.tensors, self.operators, [0], outputs or [len(self.tensors) - 1])


def left(data: bytes) -> list[str]:
    """The operators that are left; all tensors that are still computed are the same as before."""
    model = pipeline.decode(data, "net.tflite")
    rng = np.random.default_rng(1)
    for low, high in ((-128, -128), (127, 127), (-128, 127), (-30, 20)):
        shapes = [model.graph.tensors[name].shape for name in model.graph.inputs]
        images = [rng.integers(low, high, shape, np.int8, endpoint=True) for shape in shapes]
        before, after = (reference.evaluate(graph, images) for graph in (model.whole, model.graph))
        for name in (name for name, tensor in model.graph.tensors.items() if tensor.data is None):
            kept = model.graph.kept.get(name)
            assert np.array_equal(before[name] if kept is None else before[name][..., kept], after[name])
    assert model.graph.outputs == model.whole.outputs
    assert model.graph.inputs == model.whole.inputs
    return [node.op.name for node in model.graph.nodes]


# --- padding ---------------------------------------------------------------------------------------------------------

SPATIAL = ((0, 0), (1, 1), (1, 0), (0, 0))


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"stride_h": 2, "stride_w": 3}, {"dilation_h_factor": 2, "dilation_w_factor": 2}, {"padding": "SAME"}],
)
def test_padding_goes_into_the_window(depthwise: bool, options: dict[str, object]) -> None:
    net = Net()
    net.convolution(net.pad(0, *SPATIAL), depthwise=depthwise, **options)
    assert left(net.built()) == ["DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"]


@pytest.mark.parametrize("depthwise", [False, True])
def test_everybody_pads_alike(depthwise: bool, tmp_path: Path) -> None:
    net = Net()
    net.convolution(net.pad(0, *SPATIAL), depthwise=depthwise, stride_h=2, stride_w=2)
    built = build_bytes(net.built(), tmp_path)
    assert [layer.op for layer in built.manifest.layers] == ["DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"]
    assert_exact(built, varied(built, 6))


@pytest.mark.parametrize(
    ("borders", "value", "folds"),
    [
        (SPATIAL, ZERO_POINT, True),
        (SPATIAL, ZERO_POINT + 1, False),
        (((0, 0), (0, 0), (1, 0), (0, 0)), None, True),
        (((1, 0), (1, 1), (1, 1), (0, 0)), None, False),
        (((0, 0), (3, 0), (0, 0), (0, 0)), None, False),  # the first window would lie outside of the image
    ],
)
def test_only_what_a_window_pads_with_is_folded(
    borders: Sequence[tuple[int, int]], value: int | None, folds: bool
) -> None:
    net = Net()
    padded = net.pad(0, *borders, value=value)
    batch = net.tensors[padded].shape[0]
    if batch > 1:
        net.add("RELU", [padded], net.tensors[padded].shape)  # no batch of another size reaches a convolution here
        folds = False
    net.convolution(padded) if batch == 1 else None
    assert ("PAD" in left(net.built())) is not folds


def test_borders_of_channels_stay() -> None:
    net = Net(shape=(1, 5, 6, 3))
    net.convolution(net.pad(0, (0, 0), (1, 1), (1, 1), (0, 1)))
    assert left(net.built()) == ["PAD", "CONV_2D"]


def test_other_readers_keep_the_padding() -> None:
    net = Net()
    padded = net.pad(0, *SPATIAL)
    wide = net.convolution(padded)
    high = net.add("RELU", [padded], net.tensors[padded].shape)
    assert left(net.built(wide, high)) == ["PAD", "CONV_2D", "RELU"]
    assert left(net.built(wide, padded)) == ["PAD", "CONV_2D"]


@pytest.mark.parametrize(
    ("zero_point", "activated", "folds"), [(-128, False, True), (ZERO_POINT, True, True), (0, False, False)]
)
def test_padding_below_every_value_goes_into_max_pool(
    zero_point: int, activated: bool, folds: bool, tmp_path: Path
) -> None:
    net = Net(zero_point)
    x = net.add("RELU", [0], net.tensors[0].shape) if activated else 0
    padded = net.pad(x, (0, 0), (1, 0), (0, 1), (0, 0))
    shape = [1, 5, 6, 4]
    net.add("MAX_POOL_2D", [padded], shape, **VALID, filter_height=2, filter_width=2)
    data = net.built()
    assert ("PAD" in left(data)) is not folds
    if folds:
        built = build_bytes(data, tmp_path)
        assert_exact(built, varied(built, 6))


def test_average_pool_counts_what_is_padded() -> None:
    net = Net(-128)
    padded = net.pad(0, (0, 0), (1, 0), (0, 1), (0, 0))
    net.add("AVERAGE_POOL_2D", [padded], (1, 5, 6, 4), **VALID, filter_height=2, filter_width=2)
    assert left(net.built()) == ["PAD", "AVERAGE_POOL_2D"]


# --- activations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "scale", "zero_point", "folds"),
    [
        ("RELU", 0.4, 5, True),
        ("RELU", 0.4, -128, True),
        ("RELU", 0.4, 60, True),
        ("RELU", 0.3, 5, False),
        ("RELU", 0.8, 5, False),
        ("RELU6", 0.4, 5, True),
    ],
)
def test_activations_of_the_same_scale_become_clamps(op: str, scale: float, zero_point: int, folds: bool) -> None:
    net = Net()
    net.add(op, [net.convolution(0)], (1, 3, 4, 4), scale, zero_point)
    assert left(net.built()) == (["CONV_2D"] if folds else ["CONV_2D", op])


def test_activations_behind_sums_and_products() -> None:
    net = Net()
    total = net.add("ADD", [0, 0], net.tensors[0].shape, 0.1, 3, fused_activation_function="NONE")
    net.add("RELU", [total], net.tensors[0].shape, 0.1, 3)
    product = net.add("MUL", [len(net.tensors) - 1, 0], net.tensors[0].shape, 0.2, 1, fused_activation_function="RELU6")
    net.add("RELU", [product], net.tensors[0].shape, 0.2, -20)
    assert left(net.built()) == ["ADD", "MUL"]


def test_everybody_clamps_alike(tmp_path: Path) -> None:
    net = Net()
    net.add("RELU", [net.convolution(0)], (1, 3, 4, 4), 0.4, -128)
    built = build_bytes(net.built(), tmp_path)
    assert [layer.op for layer in built.manifest.layers] == ["CONV_2D"]
    assert_exact(built, varied(built, 6))


def test_what_others_read_before_the_activation_stays() -> None:
    net = Net()
    made = net.convolution(0)
    high = net.add("RELU", [made], (1, 3, 4, 4), 0.4)
    assert left(net.built(made, high)) == ["CONV_2D", "RELU"]
    twice = net.add("ADD", [made, high], (1, 3, 4, 4), 0.8, fused_activation_function="NONE")
    assert left(net.built(twice)) == ["CONV_2D", "RELU", "ADD"]


# --- copies ----------------------------------------------------------------------------------------------------------


def reshaped(net: Net, x: int, *shape: int) -> int:
    return net.add("RESHAPE", [x, net.integers(*shape)], shape, net.tensors[x].scale, new_shape=shape)


def transposed(net: Net, x: int, *axes: int) -> int:
    shape = [net.tensors[x].shape[axis] for axis in axes]
    return net.add("TRANSPOSE", [x, net.integers(*axes)], shape, net.tensors[x].scale)


def relu(net: Net, x: int, scale: float = 0.03) -> int:
    """Something that is not a copy, of another scale."""
    return net.add("RELU", [x], net.tensors[x].shape, scale)


def test_reshapes_in_a_row_are_one() -> None:
    net = Net()
    relu(net, reshaped(net, reshaped(net, reshaped(net, 0, 30, 4), 2, 60), 3, 40))
    assert left(net.built()) == ["RESHAPE", "RELU"]


def test_reshapes_there_and_back_are_none() -> None:
    net = Net()
    relu(net, reshaped(net, reshaped(net, 0, 30, 4), 1, 5, 6, 4))
    assert left(net.built()) == ["RELU"]


def test_transposing_dimensions_of_one_is_a_reshape() -> None:
    net = Net(shape=(1, 6, 1, 4))
    relu(net, transposed(net, 0, 0, 2, 1, 3))
    assert left(net.built()) == ["RESHAPE", "RELU"]


@pytest.mark.parametrize(("first", "second"), [((0, 2, 1, 3), (0, 2, 1, 3)), ((3, 1, 0, 2), (2, 1, 3, 0))])
def test_transposing_there_and_back_is_nothing(first: Sequence[int], second: Sequence[int], tmp_path: Path) -> None:
    net = Net()
    relu(net, transposed(net, transposed(net, relu(net, 0, 0.04), *first), *second))
    assert left(net.built()) == ["RELU", "RELU"]
    built = build_bytes(net.built(), tmp_path)
    assert_exact(built, varied(built, 4))


def test_transposing_twice_is_transposing_once() -> None:
    net = Net()
    there = transposed(net, 0, 0, 2, 1, 3)
    relu(net, transposed(net, there, 0, 1, 3, 2))
    assert left(net.built()) == ["TRANSPOSE", "RELU"]


def test_slices_of_everything_and_paddings_by_nothing_are_nothing() -> None:
    net = Net()
    shape = net.tensors[0].shape
    sliced = net.add("SLICE", [0, net.integers(0, 0, 0, 0), net.integers(*shape)], shape)
    relu(net, net.pad(sliced, (0, 0), (0, 0), (0, 0), (0, 0)))
    assert left(net.built()) == ["RELU"]


@pytest.mark.parametrize(
    ("scale", "zero_point", "is_idle"), [(SCALE, ZERO_POINT, True), (SCALE, -8, False), (0.06, ZERO_POINT, False)]
)
def test_quantising_to_the_same_scale_is_nothing(scale: float, zero_point: int, is_idle: bool) -> None:
    net = Net()
    relu(net, net.add("QUANTIZE", [0], net.tensors[0].shape, scale, zero_point))
    assert left(net.built()) == (["RELU"] if is_idle else ["QUANTIZE", "RELU"])


@pytest.mark.parametrize("is_idle", [False, True])
def test_what_changes_no_value_that_there_is_is_nothing(is_idle: bool) -> None:
    # After RELU, no value is below the zero point, and no largest one of them, either.
    net = Net()
    x = net.add("RELU", [0], (1, 5, 6, 4)) if is_idle else 0
    pooled = net.add("MAX_POOL_2D", [x], (1, 4, 5, 4), **VALID, filter_height=2, filter_width=2)
    net.convolution(net.add("RELU", [pooled], (1, 4, 5, 4)))
    assert left(net.built()) == (["RELU"] if is_idle else []) + ["MAX_POOL_2D"] + ["RELU"] * (not is_idle) + ["CONV_2D"]


def test_outputs_keep_their_names(tmp_path: Path) -> None:
    net = Net()
    high = relu(net, 0)
    first = net.add("QUANTIZE", [high], net.tensors[0].shape, 0.03, ZERO_POINT)
    second = net.add("QUANTIZE", [high], net.tensors[0].shape, 0.03, ZERO_POINT)
    assert left(net.built(first)) == ["RELU"]
    # The one value cannot be two outputs, nor the input an output.
    assert left(net.built(first, second)) == ["RELU", "QUANTIZE"]
    assert left(net.built(high, first)) == ["RELU", "QUANTIZE"]
    alone = Net()
    alone.add("QUANTIZE", [0], net.tensors[0].shape)
    assert left(alone.built()) == ["QUANTIZE"]
    built = build_bytes(net.built(second, first), tmp_path)
    assert_exact(built, varied(built, 4))


# --- all of it -------------------------------------------------------------------------------------------------------


def test_random_networks_stay_the_same() -> None:
    dropped = 0
    for seed in range(200, 300):
        try:
            model = pipeline.decode(random_net(seed), "net.tflite")
        except UnsupportedModel:
            continue
        rng = np.random.default_rng(seed)
        (x,) = (model.whole.tensors[name] for name in model.whole.inputs)
        limits = np.iinfo(str(x.dtype))
        for _ in range(3):
            image = rng.integers(limits.min, limits.max, x.shape, x.dtype, endpoint=True)
            before, after = (reference.outputs(graph, [image]) for graph in (model.whole, model.graph))
            assert all(map(np.array_equal, before, after))
        dropped += len(model.whole.nodes) - len(model.graph.nodes)
    assert dropped > 5


def test_padding_is_compared_with_the_zero_point(monkeypatch: pytest.MonkeyPatch) -> None:
    # What the tests above would say to a pass that folds whatever is padded with.
    module = import_module("tinygen.passes.fold_padding")
    monkeypatch.setattr(module, "_is_the_same", lambda *arguments: True)
    net = Net()
    net.convolution(net.pad(0, *SPATIAL, value=ZERO_POINT + 1))
    with pytest.raises(AssertionError):
        left(net.built())
