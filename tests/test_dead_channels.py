"""What is removed has no effect: networks with and without their dead channels, tensor by tensor."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from building import assert_exact, build_bytes, litert, varied
from random_nets import random_net
from shared import needs_shared_models, shared_models

from tinygen import check as grammar
from tinygen import manifest as manifests
from tinygen import pipeline, reference
from tinygen.attribution import Attribution
from tinygen.errors import UnsupportedModel
from tinygen.importers import tflite
from tinygen.interpreter import Interpreter
from tinygen.interval import Interval
from tinygen.ir import Array, Graph, Node, Op, Tensor, read_only
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.convolution import Convolution
from tinygen.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ops.traits import Increasing
from tinygen.ops.weighted import Weighted
from tinygen.ops.window import Axis, Window
from tinygen.options import Options
from tinygen.passes.remove_dead_channels import remove_dead_channels
from tinygen.range_analysis import tensor_intervals
from tinygen.rescaling import Requant, Rounding
from tinygen.verify import verify

SEEDS = range(120)


def read(seed: int, profile: str = "tflm") -> pipeline.Model | None:
    try:
        return pipeline.decode(random_net(seed), "net.tflite", Options(profile))
    except UnsupportedModel:
        return None


def inputs(graph: Graph, seed: int) -> Iterator[list[Array]]:
    """All minimum, all maximum, random, and random extremes."""
    rng = np.random.default_rng(seed)
    tensors = [graph.tensors[name] for name in graph.inputs]
    limits = [np.iinfo(str(tensor.dtype)) for tensor in tensors]
    yield [np.full(x.shape, limit.min, x.dtype) for x, limit in zip(tensors, limits, strict=True)]
    yield [np.full(x.shape, limit.max, x.dtype) for x, limit in zip(tensors, limits, strict=True)]
    for _ in range(4):
        pairs = list(zip(tensors, limits, strict=True))
        yield [rng.integers(limit.min, limit.max, x.shape, x.dtype, endpoint=True) for x, limit in pairs]
        yield [rng.choice([limit.min, limit.max], x.shape).astype(x.dtype) for x, limit in pairs]


def check(model: pipeline.Model, seed: int) -> None:
    """What is left is equal, what is gone is what the certificate says."""
    kept, whole = model.graph.kept, model.whole
    computed = [name for name, tensor in model.graph.tensors.items() if tensor.data is None]
    known = tensor_intervals(whole)
    for given in inputs(whole, seed):
        before, after = reference.evaluate(whole, given), reference.evaluate(model.graph, given)
        for name in computed:
            expected = before[name][..., kept[name]] if name in kept else before[name]
            assert np.array_equal(expected, after[name]), f"{name} of {seed}"
            assert known[name].holds(before[name]), f"{name} of {seed}"
        for removed in model.graph.removed:
            if removed.value is not None:
                assert (before[removed.tensor][..., list(removed.channels)] == removed.value).all()


@pytest.mark.parametrize("profile", tflite.PROFILES)
def test_what_is_kept_stays_the_same(profile: str) -> None:
    narrowed: Counter[str] = Counter()
    reasons: Counter[bool] = Counter()
    for seed in SEEDS:
        model = read(seed, profile)
        if model is None:
            continue
        check(model, seed)
        kept = model.graph.kept
        narrowed.update(node.op.name for node in model.graph.nodes if {*node.inputs, *node.outputs} & kept.keys())
        reasons.update(removed.value is None for removed in model.graph.removed)
    # Else the above compares nothing.
    assert {
        "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "MAXIMUM", "PAD", "SLICE", "TRANSPOSE",
        "RELU", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "CONCATENATION", "RESHAPE",
    } <= narrowed.keys()  # fmt: skip
    assert min(reasons[True], reasons[False]) > 20


@pytest.mark.parametrize("seed", [1, 4, 12, 18, 23, 37])
def test_everybody_gives_the_same_bytes(seed: int, tmp_path: Path) -> None:
    built = build_bytes(random_net(seed), tmp_path)
    assert built.manifest.removed
    samples = varied(built, 6)
    assert_exact(built, samples)
    # Where the runtimes differ, they are told apart by what each makes of the other's tensors.
    (report,) = verify(built.model, built.manifest, samples, [litert(built)])
    assert report.equal or report.explained
    assert report.layers == len(built.manifest.layers)


def _only_full_sets(op: Convolution, x: object) -> tuple[Array, Array]:
    return np.ones((1, op.window.rows.taps), np.bool_), np.ones((1, op.window.columns.taps), np.bool_)


@pytest.mark.parametrize(
    ("where", "method", "wrong"),
    [
        (Weighted, "_sums_are_alike", lambda op, x: True),
        (Weighted, "_shares", lambda op, inputs: np.zeros((inputs[2].elements, inputs[0].shape[-1]), np.int64)),
        (Convolution, "tap_sets", _only_full_sets),
        (
            Conv2D,
            "by_channel",
            lambda op, taps, x: taps.sum(axis=(1, 2)) * np.ones((1, x[3] // taps.shape[3]), np.int64),
        ),
        (Increasing, "intervals", lambda op, inputs, given: given[:1]),
        (Interval, "is_constant", property(lambda interval: interval.high - interval.low < 9)),
    ],
)
def test_a_wrong_rule_is_noticed(where: type, method: str, wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, method, wrong)
    with pytest.raises((AssertionError, IndexError, ValueError)):
        for seed in SEEDS:
            model = read(seed)
            if model is not None:
                check(model, seed)


# --- one at a time ---------------------------------------------------------------------------------------------------

UNIT = Requant((1 << 30,), (1,))
POINT = Window(Axis(1, 1), Axis(1, 1))
SAME = Window(Axis(3, 1, 1, 1, 1), Axis(3, 1, 1, 1, 1))


def constant(name: str, values: npt.ArrayLike, dtype: type[np.integer] = np.int8) -> Tensor:
    data = read_only(np.array(values, dtype))
    return Tensor(name, data.shape, data.dtype, data=data)


def layer(kind: type[Conv2D] | type[DepthwiseConv2D], window: Window = POINT, **attributes: int) -> Convolution:
    """Nothing is rescaled, and results are not below 0."""
    zero_points = {"zero_point": 0, "weight_zero_point": 0, "output_zero_point": 0, **attributes}
    return kind(**zero_points, requant=UNIT, clamp=(0, 127), window=window)


def chain(*layers: tuple[Op, npt.ArrayLike, Sequence[int]], channels: int = 3) -> Graph:
    """Layers with weights behind each other, on an image of 4x4: operator, filter, bias of each."""
    tensors = [Tensor("t0", (1, 4, 4, channels), np.dtype(np.int8))]
    nodes = []
    for index, (op, weights, bias) in enumerate(layers):
        x = tensors[-1]
        constants = [constant(f"w{index}", weights), constant(f"b{index}", bias, np.int32)]
        (y,) = op.output_types([x, *constants])
        made = Tensor(f"t{index + 1}", y.shape, y.dtype)
        tensors += [*constants, made]
        nodes.append(Node(f"node {index}", op, (x.name, *(tensor.name for tensor in constants)), (made.name,)))
    return grammar.check(Graph("chain", {t.name: t for t in tensors}, tuple(nodes), ("t0",), (made.name,)))


def pruned(graph: Graph) -> Graph:
    """Without dead channels: checked, and compared on random images."""
    after = grammar.check(remove_dead_channels(graph))
    rng = np.random.default_rng(0)
    for _ in range(4):
        image = rng.integers(-128, 128, graph.tensors["t0"].shape).astype(np.int8)
        for expected, found in zip(*(reference.outputs(each, [image]) for each in (graph, after)), strict=True):
            assert np.array_equal(expected, found)
    return after


def points(filters: npt.ArrayLike) -> Array:
    """1x1 filters from a matrix (filters, channels)."""
    return np.array(filters)[:, np.newaxis, np.newaxis, :]


DEAD = -(10**6)


def test_constants_and_what_nobody_reads_are_removed() -> None:
    first = (layer(Conv2D), points([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), [0, DEAD, 0, 10**6])
    graph = pruned(chain(first, (layer(Conv2D), points([[1, 5, 0, 7], [2, 5, 0, 0]]), [3, 0])))
    assert graph.tensors["t1"].shape == (1, 4, 4, 1)
    assert graph.kept["t1"].tolist() == [True, False, False, False]
    by_value = {removed.value: removed for removed in graph.removed}
    assert {value: removed.channels for value, removed in by_value.items()} == {0: (1,), 127: (3,), None: (2,)}
    assert by_value[0].bounds == ((DEAD - 128, DEAD + 127),)
    assert {removed.of for removed in graph.removed} == {4}
    bias = graph.tensors["b1"].data
    assert bias is not None
    assert bias.tolist() == [3 + 7 * 127, 0]


@pytest.mark.parametrize(("zero_point", "window", "left"), [(0, SAME, 2), (5, SAME, 1), (0, POINT, 1), (5, POINT, 1)])
def test_a_constant_besides_the_zero_point_stays_before_a_border(zero_point: int, window: Window, left: int) -> None:
    # The second channel is always 5. Windows over the border have fewer taps on it than others.
    first = (layer(Conv2D), points([[1, 1, 1], [0, 0, 0]]), [0, 5])
    taps = np.ones((1, window.rows.taps, window.columns.taps, 2))
    graph = pruned(chain(first, (layer(Conv2D, window, zero_point=zero_point), taps, [0])))
    assert graph.tensors["t1"].shape[3] == left


def test_depthwise_channels_keep_equal_numbers_of_filters() -> None:
    spread = (layer(DepthwiseConv2D), np.ones((1, 1, 1, 9)), [0, DEAD, 0, DEAD, 0, DEAD, DEAD, DEAD, DEAD])
    last = (layer(Conv2D), np.ones((1, 1, 1, 9)), [0])
    graph = pruned(chain((layer(Conv2D), points(np.eye(3)), [0, 0, 0]), spread, last))
    # Two of the first channel's filters live, one of the second's, none of the third's.
    assert graph.kept["t2"].tolist() == [True, False, True, True, True, False, False, False, False]
    assert graph.kept["t1"].tolist() == [True, True, False]


def test_groups_keep_equal_numbers() -> None:
    grouped = (layer(Conv2D), points(np.ones((6, 2))), [0, DEAD, DEAD, DEAD, DEAD, DEAD])
    first = (layer(Conv2D), points(np.ones((6, 3))), [0] * 6)
    graph = pruned(chain(first, grouped, (layer(Conv2D), points(np.ones((1, 6))), [0])))
    assert graph.tensors["t1"].shape[3] == 2
    assert graph.tensors["t2"].shape[3] == 1


def test_a_bias_that_would_not_fit_keeps_its_channels() -> None:
    # As int16 layers have it: sums of int64, but a bias of int32.
    first = (layer(Conv2D), points([[1, 1, 1], [0, 0, 0]]), [0, 127])
    wide = Requant((1 << 30,), (-20,), Rounding.INT64)
    bias = 2**31 - 2
    graph = chain(first, (dataclasses.replace(layer(Conv2D), requant=wide), points([[1, 2]]), [bias]))
    assert pruned(graph).tensors["t1"].shape[3] == 2
    bias -= 300
    graph = chain(first, (dataclasses.replace(layer(Conv2D), requant=wide), points([[1, 2]]), [bias]))
    assert pruned(graph).tensors["t1"].shape[3] == 1


def test_one_channel_stays_of_what_is_all_constant() -> None:
    silent = (layer(Conv2D), points(np.ones((4, 3))), [DEAD] * 4)
    graph = pruned(chain(silent, (layer(Conv2D), points(np.ones((2, 4))), [1, 2])))
    assert graph.tensors["t1"].shape[3] == 1
    assert graph.tensors["t2"].shape[3] == 2  # the model's output


def test_inputs_and_outputs_stay_whole() -> None:
    graph = pruned(chain((layer(Conv2D), points([[0, 0, 1], [0, 0, 0]]), [0, 5])))
    assert graph.removed == ()
    assert graph.tensors["t0"].shape[3] == 3


def test_a_constant_of_two_readers_is_cut_for_each() -> None:
    weights = points([[1, 1, 1], [1, 0, 0], [0, 1, 0]])
    graph = chain((layer(Conv2D), weights, [0, DEAD, 0]), (layer(Conv2D), weights, [0, 0, 0]))
    second = dataclasses.replace(graph.nodes[1], inputs=("t1", "w0", "b1"))
    shared = dataclasses.replace(graph, nodes=(graph.nodes[0], second))
    after = pruned(shared)
    filters = [after.tensors[node.inputs[1]].shape for node in after.nodes]
    assert filters == [(2, 1, 1, 3), (3, 1, 1, 2)]


# --- what people see -------------------------------------------------------------------------------------------------


def test_the_certificate_is_in_the_manifest(tmp_path: Path) -> None:
    built = build_bytes(random_net(4), tmp_path)
    content = manifests.load(built.out)
    assert content == built.manifest
    assert [part.indices for part in content.removed] == [part.channels for part in built.model.graph.removed]
    kept = {name: tuple(np.flatnonzero(mask)) for name, mask in built.model.graph.kept.items()}
    assert content.kept == kept
    assert content.model_macs == sum(built.model.whole.macs(node) for node in built.model.whole.nodes)
    assert content.macs < content.model_macs
    gone = sum(len(part.indices) for part in content.removed)
    assert f"{gone:,} channels are proved to have no effect" in built.source.read_text()


def test_an_interpreter_that_keeps_tensors_has_all_channels() -> None:
    data = random_net(4)
    model = pipeline.decode(data, "net.tflite")
    (image,) = next(inputs(model.whole, 0))
    expected = reference.evaluate(model.whole, [image])
    for backend in ("reference", "c"):
        with Interpreter(model_content=data, backend=backend, experimental_preserve_all_tensors=True) as interpreter:
            interpreter.allocate_tensors()
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
            interpreter.invoke()
            indices = {str(detail["name"]): int(detail["index"]) for detail in interpreter.get_tensor_details()}
            for name in model.graph.kept:
                assert np.array_equal(interpreter.get_tensor(indices[name]), expected[name])


@needs_shared_models
def test_person_detection_loses_half_of_its_work() -> None:
    models = shared_models()
    assert models is not None
    model = pipeline.read(models / "mlperf" / "vww_mobilenet_v1.tflite")
    assert sum(model.graph.macs(node) for node in model.graph.nodes) == 3_727_313
    weights = [
        graph.tensors[node.inputs[1]].bytes
        for graph in (model.graph,)
        for node in graph.nodes
        if isinstance(node.op, Weighted)
    ]
    assert sum(weights) == 29_066
    check(model, 0)


# --- other runtimes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_broken", [False, True])
def test_differences_are_explained_by_all_channels_of_the_other_profile(is_broken: bool) -> None:
    """The runtime's tensors are given in the kept channels only; its profile makes another constant of the others."""
    rng = np.random.default_rng(5)
    first = (layer(Conv2D), points(rng.integers(-3, 4, (4, 3))), [0, DEAD, 0, DEAD])
    graph = chain(first, (layer(Conv2D), points(rng.integers(-3, 4, (2, 4))), [1, 2]))
    (one, other) = graph.nodes
    assert isinstance(one.op, Conv2D)
    shifted = dataclasses.replace(one, op=dataclasses.replace(one.op, output_zero_point=1, clamp=(2, 127)))
    theirs = dataclasses.replace(graph, nodes=(shifted, other))
    ours = pruned(graph)
    assert ours.kept["t1"].tolist() == [True, False, True, False]
    attribution = Attribution(ours, theirs, {})
    image = rng.integers(-128, 128, (1, 4, 4, 3)).astype(np.int8)
    made = reference.evaluate(theirs, [image])
    given = {"t1": made["t1"][..., ours.kept["t1"]].copy(), "t2": made["t2"].copy()}
    given["t1"][0, 0, 0, 0] += is_broken
    attribution.add([image], True, given)
    causes = {cause.node: cause for cause in attribution.causes}
    assert causes["node 0"].count > 0
    assert causes["node 0"].unexplained == int(is_broken)
    if not is_broken:
        assert all(cause.explained for cause in causes.values())
