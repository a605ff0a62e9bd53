"""ONNX's operators that move values: as ONNX Runtime moves them, to and from whatever scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from building import build_file, build_read, differences, host, original, other_host, varied
from onnx_nets import Net
from qdq_net import SCALE, QdqNet, graph_of
from test_onnx_models import assert_equal

from tinygen import pipeline
from tinygen.errors import UnsupportedModel
from tinygen.ir import Graph
from tinygen.options import Options

IMAGE = (1, 8, 5, 6)


@dataclass(frozen=True)
class Move:
    """One operator of one input; constants are its further inputs, None where one is left out."""

    name: str
    op: str
    constants: Sequence[object] = ()
    attributes: Mapping[str, object] = field(default_factory=dict)
    shape: Sequence[int] = IMAGE
    parts: int = 1
    opset: int = 19

    def bytes(self, dtype: str, scale: float) -> bytes:
        net = QdqNet(dtype, self.opset)
        inputs = [net.input(*self.shape)]
        inputs += ["" if value is None else net.constant(value) for value in self.constants]
        if self.parts > 1:
            return net.bytes(*net.parts(self.op, self.parts, *inputs, **self.attributes))
        return net.bytes(net.add(self.op, *inputs, scale=scale, **self.attributes))


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def scales(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def pad(name: str, *pads: int, value: float | None = None, axes: Sequence[int] = (), mode: str = "constant") -> Move:
    constants = [integers(*pads), None if value is None else np.float32(value), *([integers(*axes)] if axes else [])]
    return Move(f"pad_{name}", "Pad", constants if value is not None or axes else constants[:1], {"mode": mode})


def sliced(name: str, *constants: Sequence[int], opset: int = 19) -> Move:
    return Move(f"slice_{name}", "Slice", [integers(*values) for values in constants], opset=opset)


MOVES = (
    Move("reshape", "Reshape", [integers(1, 48, -1)]),
    Move("reshape_copies_dimensions", "Reshape", [integers(0, 0, 30)]),
    Move("reshape_allowzero", "Reshape", [integers(8, 30)], {"allowzero": 1}),
    Move("flatten", "Flatten", [], {"axis": 2}),
    Move("flatten_from_the_end", "Flatten", [], {"axis": -1}),
    Move("squeeze", "Squeeze", [integers(0)]),
    Move("squeeze_all", "Squeeze", [], shape=(1, 6, 1, 5)),
    Move("squeeze_attribute", "Squeeze", [], {"axes": [2]}, (1, 6, 1, 5), opset=11),
    Move("unsqueeze", "Unsqueeze", [integers(1, -1)]),
    Move("unsqueeze_attribute", "Unsqueeze", [], {"axes": [0]}, opset=11),
    Move("identity", "Identity"),
    Move("transpose", "Transpose", [], {"perm": [0, 3, 1, 2]}),
    Move("transpose_all", "Transpose"),
    sliced("box", (1, 2), (5, 4), (1, 3)),
    sliced("first_axes", (0, 2), (1, 5)),
    sliced("steps", (0, 1), (99, -1), (2, 3), (2, 2)),
    sliced("backwards", (-1, 3), (-99, 0), (1, 2), (-2, -1)),
    sliced("from_the_end", (-3,), (2**62,), (-1,)),
    sliced("old", (1,), (3,), (1,), (1,), opset=10),
    Move("split", "Split", [integers(3, 5)], {"axis": 1}, parts=2),
    Move("split_equally", "Split", [], {"axis": -1, "num_outputs": 3}, parts=3),
    Move("split_unevenly", "Split", [], {"axis": 2, "num_outputs": 2}, parts=2),
    Move("split_attribute", "Split", [], {"axis": 1, "split": [6, 2]}, parts=2, opset=11),
    Move("split_old", "Split", [], {"axis": 1}, parts=4, opset=11),
    pad("border", 0, 0, 1, 2, 0, 0, 3, 0),
    pad("value", 0, 1, 1, 0, 0, 0, 0, 2, value=0.71),
    pad("saturated", 0, 1, 1, 0, 0, 0, 0, 2, value=-99.0),
    pad("axes", 1, 2, 0, 1, value=0.2, axes=(1, -1)),
    pad("reflect", 0, 0, 2, 1, 0, 0, 4, 3, mode="reflect"),
    pad("edge", 0, 0, 2, 1, 0, 0, 0, 3, mode="edge"),
    pad("wrap", 0, 0, 2, 1, 0, 0, 0, 3, mode="wrap"),
    Move("pad_old", "Pad", [], {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": 0.3}, opset=10),
    Move("depth_to_space", "DepthToSpace", [], {"blocksize": 2}),
    Move("depth_to_space_crd", "DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
    Move("space_to_depth", "SpaceToDepth", [], {"blocksize": 3}, (2, 2, 3, 6)),
    Move("expand", "Expand", [integers(2, 8, 5, 6)]),
    Move("expand_twice", "Expand", [integers(3, 1, 4, 5)], shape=(2, 1, 4, 1)[1:]),
    Move("tile", "Tile", [integers(1, 2, 1, 3)]),
    Move("gather", "Gather", [integers(3, -1, 0, 0)], {"axis": 1}),
    Move("gather_one", "Gather", [np.array(2, np.int64)], {"axis": 2}),
    Move("gather_table", "Gather", [np.array([[0, 2], [4, 1]], np.int64)], {"axis": 2}),
    Move("reduce_max", "ReduceMax", [integers(2, 3)]),
    Move("reduce_max_everything", "ReduceMax", [], {"keepdims": 0}),
    Move("reduce_min", "ReduceMin", [integers(-3)], {"keepdims": 0}),
    Move("reduce_min_nothing", "ReduceMin", [], {"noop_with_empty_axes": 1}),
    Move("reduce_max_attribute", "ReduceMax", [], {"axes": [1]}, opset=13),
    Move("resize_linear", "Resize", [None, scales(1, 1, 2, 1.5)], {"mode": "linear"}),
    Move("resize_linear_old", "Resize", [scales(1, 1, 2, 2)], {"mode": "linear"}, opset=10),
    Move("resize_old", "Resize", [scales(1, 1, 2, 3)], {"mode": "nearest"}, opset=10),
    Move("resize_old_smaller", "Resize", [scales(1, 1, 0.6, 0.5)], {"mode": "nearest"}, opset=10),
    Move("resize_sizes", "Resize", [None, None, integers(1, 8, 7, 9)], {"mode": "nearest"}),
    Move("resize_axes", "Resize", [None, scales(2, 1.5)], {"mode": "nearest", "axes": [2, 3]}),
    Move(
        "resize_twice",
        "Resize",
        [None, scales(1, 1, 2, 2)],
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.name)
def test_moves_are_those_of_onnx_runtime(move: Move, dtype: str) -> None:
    for scale in (SCALE, 0.031):
        graph_of(move.bytes(dtype, scale))


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize(
    "mode", ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "tf_half_pixel_for_nn"]
)
def test_pixels_are_those_of_onnx_runtime(mode: str, rounding: str) -> None:
    attributes = {"coordinate_transformation_mode": mode, "nearest_mode": rounding}
    net = QdqNet("int8", 12 if mode == "tf_half_pixel_for_nn" else 19)
    outputs = []
    for size in range(1, 12):
        x = net.input(1, 1, 1, size)
        for factor in (0.3, 0.6, 0.7, 1.3, 2.0, 2.5):
            # Where the size is on the edge between two, shape inference and ONNX Runtime are at odds.
            if 0 < int(size * np.float32(factor)) == int(size * float(np.float32(factor))):
                resized = [x, net.constant(scales()), net.constant(scales(1, 1, 1, factor))]
                outputs.append(net.add("Resize", *resized, **attributes))
        for wanted in (1, 2, 3, 5, 8, 13):
            sizes = net.constant(integers(1, 1, 2, wanted))
            outputs.append(net.add("Resize", x, net.constant(scales()), net.constant(scales()), sizes, **attributes))
    graph_of(net.bytes(*outputs))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_border_of_a_quantised_value_is_that_value(dtype: str) -> None:
    """As quantisers write it, with a scale and a zero point of its own."""
    net = QdqNet(dtype)
    value = net.quantised(net.constant(1.3, np.float32), 0.1, 40)
    x, pads = net.input(*IMAGE), net.constant(integers(0, 0, 1, 2, 0, 0, 3, 0))
    graph_of(net.bytes(net.add("Pad", x, pads, value)))


@pytest.mark.parametrize("opset", [10, 12, 13])
@pytest.mark.parametrize("axis", [1, 2, None])
def test_softmax_is_over_what_its_opset_says(axis: int | None, opset: int) -> None:
    """Before opset 13 over all dimensions from the axis on, which is 1 where it is not given."""
    net = QdqNet("uint8", opset)
    given = {} if axis is None else {"axis": axis}
    graph_of(net.bytes(net.add("Softmax", net.input(2, 3, 2, 4), scale=1 / 256, **given)))


TWICE = scales(1, 1, 2, 2)
REFUSED = (
    (Move("", "Resize", [None, TWICE], {"mode": "cubic", "exclude_outside": 1}), "its exclude_outside is 1"),
    (
        Move("", "Resize", [None, scales(1, 1, 2, 2)], {"coordinate_transformation_mode": "half_pixel_symmetric"}),
        "mode",
    ),
    (Move("", "Resize", [None, scales(1, 1, 1, 0.7)], shape=(1, 1, 1, 10)), "sizes instead of scales"),
    (Move("", "ReduceMean", [integers(1, -3)]), "name a dimension twice"),
    (Move("", "LpPool", [], {"kernel_shape": [2, 2]}), "AveragePool or MaxPool"),
    (pad("", 0, 0, -1, 0, 0, 0, 0, 0), "take something away"),
)


@pytest.mark.parametrize(("move", "reason"), REFUSED)
def test_what_cannot_be_exact_is_refused(move: Move, reason: str) -> None:
    with pytest.raises(UnsupportedModel, match=reason):
        graph_of(move.bytes("int8", SCALE))


# --- networks --------------------------------------------------------------------------------------------------------


def body(net: QdqNet, x: str, channels: int) -> str:
    """Convolutions with what lies between them: 12 channels of 4 x 4 pixels from 8 x 8."""
    wide = net.convolution(x, channels, 12)
    deep = net.convolution(wide, 12, 12, group=12)
    added = net.add("Add", net.add("Relu", deep), wide)
    halves = net.parts("Split", 2, added, net.constant(integers(4, 8)), axis=1)
    joined = net.add("Concat", halves[1], net.add("Clip", halves[0], net.constant(-1.0, np.float32)), axis=1)
    scaled = net.add("Mul", joined, net.quantised(net.constant(net.rng.uniform(-2, 2, (12, 1, 1)), np.float32)))
    border = net.add("Pad", scaled, net.constant(integers(0, 0, 1, 1, 0, 0, 0, 0)))
    return net.convolution(border, 12, 12, strides=[2, 2], pads=[0, 0, 0, 0])


def head(net: QdqNet, x: str, kind: str) -> str:
    if kind == "mean":
        pooled = net.add("GlobalAveragePool", x)
        return net.dense(net.add("Flatten", pooled), 12, 5)
    if kind == "reduced":
        return net.dense(net.add("ReduceMean", x, net.constant(integers(2, 3)), keepdims=0), 12, 5)
    if kind == "max":
        return net.dense(net.add("ReduceMax", x, net.constant(integers(2, 3)), keepdims=0), 12, 5)
    if kind == "flat":
        return net.dense(net.add("Reshape", net.add("Sigmoid", x), net.constant(integers(1, -1))), 192, 5)
    if kind == "image":
        up = net.add("Resize", x, "", net.constant(TWICE))
        return net.add("DepthToSpace", net.convolution(up, 12, 12), blocksize=2)
    softmax = net.add("Softmax", net.convolution(x, 12, 2), axis=1, scale=1 / 256)
    return net.add("ReduceMax", softmax, net.constant(integers(1, 2)), scale=1 / 256)


def transposed(graph: Graph) -> list[str]:
    """What goes into and comes out of transposes."""
    copies = [node for node in graph.nodes if node.op.name in ("TRANSPOSE", "DEPTH_TO_SPACE")]
    return [name for node in copies for name in (*node.inputs, *node.outputs)]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("kind", ["mean", "reduced", "max", "flat", "softmax"])
def test_only_the_input_is_transposed(kind: str, dtype: str) -> None:
    net = QdqNet(dtype)
    graph = graph_of(net.bytes(head(net, body(net, net.input(1, 3, 8, 8), 3), kind)))
    assert [node.op.name for node in graph.nodes].count("TRANSPOSE") == 1
    assert graph.tensors[transposed(graph)[0]].shape == (1, 3, 8, 8)


@pytest.mark.parametrize("kind", ["mean", "reduced", "max", "flat", "softmax"])
def test_one_channel_is_not_transposed(kind: str) -> None:
    net = QdqNet()
    graph = graph_of(net.bytes(head(net, body(net, net.input(1, 1, 8, 8), 1), kind)))
    assert not transposed(graph)


def test_images_are_transposed_at_the_edges_only() -> None:
    net = QdqNet()
    graph = graph_of(net.bytes(head(net, body(net, net.input(1, 3, 8, 8), 3), "image")))
    first, *_, last = transposed(graph)
    assert len(transposed(graph)) == 4
    assert graph.tensors[first].shape == (1, 3, 8, 8) and graph.tensors[last].shape == (1, 3, 16, 16)


@pytest.mark.parametrize(("kind", "copies"), [("mean", 0), ("flat", 0), ("image", 1)])
def test_with_channels_last_only_blocks_are_moved(kind: str, copies: int) -> None:
    net = QdqNet()
    graph = graph_of(net.bytes(head(net, body(net, net.input(1, 3, 8, 8), 3), kind)), layout="nhwc")
    assert len(transposed(graph)) == 2 * copies
    assert graph.inputs == ("x0",) and graph.tensors["x0"].shape == (1, 8, 8, 3)


def test_images_with_channels_last_come_and_go(tmp_path: Path) -> None:
    net = QdqNet()
    x = net.input(1, 2, 3, 3)
    path = tmp_path / "net.onnx"
    path.write_bytes(net.bytes(net.convolution(x, 2, 3), net.add("Flatten", x)))
    graph = graph_of(path.read_bytes(), layout="nhwc")
    # The second output is read in the file's order.
    assert (graph.input_axes, graph.output_axes) == ((None,), ((0, 2, 3, 1), None))


@pytest.mark.parametrize("io", ["model", "int8"])
def test_who_has_channels_last_is_asked_alike(io: str, tmp_path: Path) -> None:
    net = QdqNet()
    path = tmp_path / "net.onnx"
    path.write_bytes(net.bytes(net.convolution(net.input(1, 3, 3, 3), 3, 3)))
    built = build_read(pipeline.read(path, Options(layout="nhwc", io=io)), tmp_path / "out", "net")
    assert "the file's dimensions 0, 2, 3, 1" in (built.library / "net.h").read_text()
    assert built.manifest.inputs[0].axes == built.manifest.outputs[0].axes == (0, 2, 3, 1)
    assert differences(built, varied(built, 4), host(built), original(built)) == []


def test_the_c_code_is_exact(tmp_path: Path) -> None:
    net = QdqNet()
    (tmp_path / "net.onnx").write_bytes(net.bytes(head(net, body(net, net.input(1, 3, 8, 8), 3), "flat")))
    built = build_file(tmp_path / "net.onnx", tmp_path / "out", profile="onnxruntime")
    assert differences(built, varied(built, 4), host(built), other_host(built, 0), other_host(built, 1)) == []


def test_integers_behind_inputs_and_outputs_have_channels_last_too() -> None:
    net = QdqNet()
    data = net.bytes(net.convolution(net.input(1, 3, 4, 5), 3, 4))
    graph = pipeline.decode(data, "net.onnx", Options(layout="nhwc", io="int8")).graph
    assert [node.op.name for node in graph.nodes] == ["CONV_2D"]
    assert [graph.tensors[name].shape for name in (*graph.inputs, *graph.outputs)] == [(1, 4, 5, 3), (1, 4, 5, 4)]
    assert (graph.input_axes, graph.output_axes) == (((0, 2, 3, 1),), ((0, 2, 3, 1),))


def test_a_note_says_where_cubes_are_of_another_layout() -> None:
    """Between convolutions."""
    net = Net([1, 4, 6, 5], 3)
    y = net.quantised(net.add("Conv", net.quantised("x", 0.1, 3), net.weights(4, 4, 1, 1)), 0.1, 5)
    y = net.quantised(net.add("Resize", y, "", net.constant([1, 1, 2, 3]), mode="cubic"), 0.1, 5)
    assert not assert_equal(net.model(y), 12).graph.notes
    y = net.quantised(net.add("Conv", y, net.weights(4, 4, 1, 1)), 0.1, 5)
    graph = pipeline.decode(net.model(y), "net.onnx").graph
    assert any("channels last, and interpolates in another order" in note for note in graph.notes)


def test_what_holds_nothing_is_refused() -> None:
    net = Net([1, 5], 1)
    ends = [net.constant(integers(value), np.int64) for value in (5, 5, 1)]  # along dimension 1
    nothing = net.add("Slice", net.quantised("x", SCALE, 0), *ends)
    with pytest.raises(UnsupportedModel, match=r"Slice: .* has the shape \(1, 0\), which holds nothing"):
        pipeline.decode(net.model(net.quantised(nothing, SCALE, 0)), "net.onnx")
