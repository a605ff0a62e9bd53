"""Comparing peers with the numpy reference, byte for byte, layer by layer."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen import pipeline, reference
from tinygen.errors import OutputError
from tinygen.ir import Array, Graph
from tinygen.manifest import Layer, Manifest
from tinygen.options import Options
from tinygen.peer import Answer, Peer
from tinygen.samples import Sample


@dataclass(frozen=True)
class Difference:
    """The first element in which a peer differs from the reference, for one sample."""

    sample: str
    place: str
    """The first differing layer, or the output."""
    element: tuple[int, ...]
    expected: float
    found: float
    count: int
    """How many elements of that tensor differ."""
    of: int

    def __str__(self) -> str:
        return (
            f"{self.place}, element {list(self.element)}: reference {self.expected:g}, found {self.found:g} "
            f"({self.count} of {self.of} elements differ; sample {self.sample})"
        )


@dataclass(frozen=True)
class PeerReport:
    """How one peer did."""

    peer: str
    samples: int
    layers: int
    bytes: int
    """Compared over all samples, layers and outputs."""
    differing: int
    """Samples that differ."""
    differences: tuple[Difference, ...]
    """The first of them, one for each sample."""

    @property
    def equal(self) -> bool:
        """Whether every byte was equal."""
        return not self.differing


_KEPT_DIFFERENCES = 20

Progress = Callable[[int, int], None]
"""Called with samples done, and samples in all."""


def model_of(out: Path, manifest: Manifest) -> pipeline.Model:
    """The model that an output folder was built from.

    Raises OutputError when the copy in the folder is not the one that the manifest names.
    """
    model = pipeline.read(out / manifest.model.path, Options(manifest.profile, manifest.batch, manifest.io))
    if model.sha256 != manifest.model.sha256:
        raise OutputError(
            f"{out / manifest.model.path} is not the model that {out} was built from (sha256 {model.sha256[:12]}, "
            f"expected {manifest.model.sha256[:12]})",
            "Build again.",
        )
    return model


def verify(
    model: pipeline.Model,
    manifest: Manifest,
    samples: Sequence[Sample],
    peers: Sequence[AbstractContextManager[Peer]],
    progress: Progress = lambda done, total: None,
) -> list[PeerReport]:
    """Run the samples through the reference and every peer, and compare every layer and output."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(peer) for peer in peers]
        found: list[list[Difference]] = [[] for _ in opened]
        differing = [0] * len(opened)
        compared: list[set[int]] = [set() for _ in opened]
        states = reference.initial_states(model.graph)
        for done, sample in enumerate(samples, 1):
            reset = sample.reset or done == 1
            if reset:
                states = reference.initial_states(model.graph)
            values = reference.evaluate(model.graph, sample.arrays, states)
            states = reference.next_states(model.graph, values)
            for index, peer in enumerate(opened):
                answer = peer.run(sample.bytes, reset)
                compared[index].update(layer for layer, crc in enumerate(answer.layer_crcs) if crc is not None)
                difference = compare(sample.name, model.graph, manifest, values, answer)
                if difference is not None:
                    differing[index] += 1
                    found[index] += [difference] if len(found[index]) < _KEPT_DIFFERENCES else []
            progress(done, len(samples))
    outputs = sum(port.bytes for port in manifest.outputs)
    return [
        PeerReport(
            peer=peer.name,
            samples=len(samples),
            layers=len(layers),
            bytes=len(samples) * (outputs + sum(manifest.layers[layer].output.bytes for layer in layers)),
            differing=count,
            differences=tuple(differences),
        )
        for peer, layers, count, differences in zip(opened, compared, differing, found, strict=True)
    ]


def compare(
    sample: str, graph: Graph, manifest: Manifest, values: Mapping[str, Array], answer: Answer
) -> Difference | None:
    """The first difference between a peer's answer and the reference's values, layers before outputs."""
    for layer, crc in zip(manifest.layers, answer.layer_crcs, strict=True):
        expected = values[layer.output.tensor]
        if crc is not None and zlib.crc32(expected.tobytes()) != crc:
            return _first(sample, _label(layer), expected, answer.layer(layer.index))
    for index, (name, data) in enumerate(zip(graph.outputs, answer.outputs, strict=True)):
        if values[name].tobytes() != data:
            return _first(sample, f"output {index} ({name}) of the whole model", values[name], data)
    return None


def _label(layer: Layer) -> str:
    return f"layer {layer.index} {layer.op} ({layer.symbol}, {layer.name})"


def _first(sample: str, place: str, expected: Array, data: bytes) -> Difference:
    found = np.frombuffer(data, expected.dtype).reshape(expected.shape)
    # Compared as bits, so that NaN equals NaN and -0 differs from 0.
    bits = f"u{expected.dtype.itemsize}"
    differs = np.ascontiguousarray(expected).view(bits) != found.view(bits)
    if not differs.any():
        return Difference(f"{sample}; its checksum differed, its bytes do not", place, (), 0, 0, 0, expected.size)
    element = tuple(int(i) for i in np.argwhere(differs)[0])
    return Difference(
        sample, place, element, float(expected[element]), float(found[element]), int(differs.sum()), expected.size
    )
