"""Kernels of Armv7E-M that requantise some channels in float32: the reference's bytes where results end in ties."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from building import Built, build_read, differences, varied
from case_files import case_file
from emulated_bench import Bench
from operator_cases import NAMED
from tflite_builder import build_model

from tinygen import pipeline
from tinygen.check import check
from tinygen.errors import DoesNotFit
from tinygen.ops import registry
from tinygen.ops.case import CaseTensor
from tinygen.ops.weighted import Weighted
from tinygen.proofs.high_product import prove_high_product
from tinygen.proofs.mixed_product import MixedProduct, mixed_product
from tinygen.rescaling import FloatRequant
from tinygen.select import site_of, usable
from tinygen.target import load_core

BOARD = "qemu-mps2-an386"
CORE = load_core("cortex-m4")
TIES = 2.0**-7
"""A factor that no line stands for."""
NO_TIES = 0.0123456789
KERNELS = sorted(
    k.name
    for k in registry.KERNELS
    if k.assembly and issubclass(k.op, Weighted) and k.requires <= CORE.features and "halfword" not in k.name
)
"""Of int8; for int16 there is one rule."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


def in_floats(name: str) -> pipeline.Model | None:
    """The model of a case of one int8 layer, two of three channels rescaled by a power of two, to many ties."""
    file, data = case_file(NAMED[name])
    model = pipeline.decode(data, file)
    if len(model.graph.nodes) != 1:
        return None
    (node,) = model.graph.nodes
    if not isinstance(node.op, Weighted) or model.graph.tensors[node.inputs[0]].dtype != np.int8:
        return None
    channels = model.graph.tensors[node.outputs[0]].shape[-1]
    factors = np.where(np.arange(channels) % 3, TIES, np.float32(NO_TIES)).tolist()
    op = dataclasses.replace(node.op, requant=FloatRequant(tuple(factors)))
    graph = check(dataclasses.replace(model.graph, nodes=(dataclasses.replace(node, op=op),)))
    return dataclasses.replace(model, graph=graph)


def used(kernel: str, folder: Path) -> Iterator[Built]:
    """Builds with the kernel, which has no line to take."""
    family = kernel.partition(".")[0]
    for name in NAMED:
        if not name.startswith(f"{family}-") or (model := in_floats(name)) is None:
            continue
        (node,) = model.graph.nodes
        if kernel not in {k.name for k in usable(site_of(model.graph, node, CORE, "balanced"))}:
            continue
        try:
            built = build_read(model, folder / name, board=BOARD, kernel=kernel)
        except DoesNotFit:
            continue
        (layer,) = built.manifest.layers
        if layer.kernel == kernel and "float32" in layer.proof:
            yield built


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_round_ties_to_even(bench: Bench, kernel: str, tmp_path: Path) -> None:
    built = next(used(kernel, tmp_path))
    assert differences(built, varied(built, 4), bench.running(built)) == []


def test_layers_without_ties_share_the_function_of_those_with(bench: Bench, tmp_path: Path) -> None:
    """Of three alike, the middle one has ties."""
    rng = np.random.default_rng(2)
    image = CaseTensor((1, 5, 25, 64), scale=0.1, zero_point=-128)
    weights = CaseTensor((64, 1, 1, 64), scale=0.01, data=rng.integers(-127, 128, (64, 1, 1, 64)).astype(np.int8))
    bias = CaseTensor((64,), "int32", scale=0.001, data=rng.integers(-999, 999, 64).astype(np.int32))
    step = {"stride_h": 1, "stride_w": 1, "padding": "SAME", "fused_activation_function": "NONE"}
    layers = [("CONV_2D", [i, 4, 5], [i + 1], step) for i in range(3)]
    model = pipeline.decode(build_model([*[image] * 4, weights, bias], layers, [0], [3]), "net.tflite")
    factors = np.full((3, 64), np.float32(NO_TIES))
    factors[:, 0] = np.float32(0.0171)  # constants that all channels have would be stored once
    factors[1, 1::3] = TIES
    nodes = [
        dataclasses.replace(node, op=dataclasses.replace(node.op, requant=FloatRequant(tuple(row))))
        for node, row in zip(model.graph.nodes, factors.tolist(), strict=True)
    ]
    model = dataclasses.replace(model, graph=check(dataclasses.replace(model.graph, nodes=tuple(nodes))))
    built = build_read(model, tmp_path / "out", board=BOARD)
    assert ["float32" in layer.proof for layer in built.manifest.layers] == [False, True, False]
    assert (built.board_library / f"{built.manifest.name}_kernels.S").read_text().count(".global") == 1
    assert differences(built, varied(built, 4), bench.running(built)) == []


@pytest.mark.parametrize("scale", [1, 256, 576])
@pytest.mark.parametrize("factor", [2.0**-7, 0.0123456789, 1e-4])
def test_the_form_is_the_rule(scale: int, factor: float) -> None:
    (stored,) = np.array([factor], np.float32).tolist()
    requant = FloatRequant((stored,))
    reach = np.array([-80_000]), np.array([80_000])
    form = mixed_product(requant, -3, (-3, 127), *reach, scale=scale)
    assert isinstance(form, MixedProduct)
    acc = np.arange(-80_000, 80_001)[:, None]
    assert np.array_equal(form.apply(acc), np.clip(requant.apply(acc) - 3, -3, 127))


def test_only_channels_without_a_line_are_in_float() -> None:
    rng = np.random.default_rng(1)
    factors = np.where(np.arange(60) % 3, rng.uniform(0.004, 0.01, 60), TIES).astype(np.float32)
    requant = FloatRequant(tuple(factors.tolist()))
    low, high = np.full(60, -40_000), np.full(60, 40_000)
    form = mixed_product(requant, -128, (-128, 127), low, high, scale=256)
    assert isinstance(form, MixedProduct)
    assert form.in_float[::3].all()
    assert not form.in_float.all()
    for channel in np.flatnonzero(form.in_float):
        ends = low[channel, None], high[channel, None]
        alone = FloatRequant((requant.factors[channel],))
        assert prove_high_product(alone, -128, (-128, 127), *ends, scale=256, with_step=False) is None
    acc = np.arange(-40_000, 40_001)[:, None]
    assert np.array_equal(form.apply(acc), np.clip(requant.apply(acc) - 128, -128, 127))


def test_what_the_form_is_not_for() -> None:
    reach = np.array([-80_000]), np.array([80_000])
    added = FloatRequant((0.01,), 5)
    assert mixed_product(added, 0, (-128, 127), *reach, scale=1) is None  # the zero point comes first
    assert mixed_product(FloatRequant((0.01,)), 0, (-128, 127), *reach, scale=1 << 16) is None  # sums do not fit
