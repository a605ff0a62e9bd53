"""Nodes may share a name, or have none: what is done with a graph goes by the tensors that they write."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from building import build_read, differences, host, varied
from onnx_nets import Net
from test_onnx_models import assert_equal

from tinygen import pipeline, reference
from tinygen.importers import onnx as importer
from tinygen.ir import Graph
from tinygen.options import Options, Streaming


def net_of_shared_weights() -> bytes:
    """Layers that read the same weights, of which each loses other channels; all are called the same."""
    net = Net([1, 4, 9, 1], 5)
    x = net.quantised("x", 0.02, 131, np.uint8)
    weights = net.weights(6, 4, 3, 1)
    parts = [net.add("Conv", x, weights, net.constant(net.rng.permutation([-900, -900, -900, 1, 2, 3]))) for _ in "ab"]
    relued = [net.quantised(net.add("Relu", part), 0.1, -128) for part in parts]
    shared = net.weights(3, 6, 1, 1)
    y = [net.quantised(net.add("Conv", part, shared), 0.3, 0) for part in relued]
    return net.model(net.quantised(net.add("Concat", *y, axis=1), 0.3, 0))


def named(data: bytes, name: str) -> bytes:
    """The same, whose nodes all have one name."""
    model = onnx.load_model_from_string(data)
    for node in model.graph.node:
        node.name = name
    return bytes(model.SerializeToString())


def test_nodes_of_a_file_need_no_names() -> None:
    assert_equal(named(net_of_shared_weights(), ""), 10)


def test_nodes_of_a_file_may_share_a_name() -> None:
    """ONNX Runtime refuses them."""
    graphs = [pipeline.decode(named(net_of_shared_weights(), name), "net.onnx").graph for name in ("", "same")]
    x = np.random.default_rng(0).normal(0, 1.5, graphs[0].tensors["x"].shape).astype(np.float32)
    expected, found = (reference.outputs(graph, [x]) for graph in graphs)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("streaming", [None, Streaming(None, 2)], ids=["whole", "frames"])
def test_graphs_of_one_name(streaming: Streaming | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead channels go, windows are streamed and memory is planned as with names that differ."""
    data = net_of_shared_weights()
    expected = pipeline.decode(data, "net.onnx", Options(streaming=streaming)).graph
    assert expected.removed and len({node.name for node in expected.nodes}) > 1
    original = importer.read

    def with_one_name(*given: Any) -> Graph:
        graph = original(*given)
        return dataclasses.replace(graph, nodes=tuple(dataclasses.replace(node, name="same") for node in graph.nodes))

    monkeypatch.setattr(importer, "read", with_one_name)
    model = pipeline.decode(data, "net.onnx", Options(streaming=streaming))
    assert [node.outputs for node in model.graph.nodes] == [node.outputs for node in expected.nodes]
    assert {name: x.type for name, x in model.graph.tensors.items()} == {
        name: x.type for name, x in expected.tensors.items()
    }
    built = build_read(model, tmp_path / "out")
    assert not differences(built, varied(built, 4), host(built))
