"""What the manifest says of a layer."""

from __future__ import annotations

from tinygen import manifest
from tinygen.ir import Graph
from tinygen.layers import Layer
from tinygen.layout import Layout
from tinygen.select import Candidate


def manifest_layer(layer: Layer, graph: Graph, layout: Layout) -> manifest.Layer:
    """The layer with its kernel, the other kernels that there were, and where its output lies."""
    output = layer.output
    return manifest.Layer(
        index=layer.index,
        name=layer.output.name.split(";")[0],
        op=layer.step.node.op.name,
        symbol=layer.symbol,
        kernel=layer.step.kernel.name,
        rounding=layer.step.node.op.rounding,
        proof=layer.body.proof,
        macs=graph.macs(layer.step.node),
        output=manifest.LayerOutput(
            tensor=output.name,
            dtype=str(output.dtype),
            shape=output.shape,
            bytes=output.bytes,
            memory=layout.places[output.name].memory,
            offset=layout.places[output.name].offset,
        ),
        estimate=_estimate(layer.step.chosen),
        alternatives=tuple(_estimate(other) for other in layer.step.rejected),
    )


def _estimate(candidate: Candidate) -> manifest.LayerEstimate:
    found = candidate.estimate
    return manifest.LayerEstimate(candidate.kernel.name, found.instructions, found.cycles, found.flash, found.scratch)
