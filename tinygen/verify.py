"""Comparing peers with the numpy reference, byte for byte, layer by layer."""

from __future__ import annotations

import contextlib
import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen import pipeline, reference
from tinygen.attribution import Attribution, Cause
from tinygen.errors import OutputError, UnsupportedModel
from tinygen.ir import Array, Graph
from tinygen.manifest import Layer, Manifest
from tinygen.options import Options, Streaming
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
    causes: tuple[Cause, ...] = ()
    """Of an original runtime that differs: the nodes that introduce differences."""
    stack_bytes: int | None = None
    """That an invoke has used at most, where the peer can tell."""

    @property
    def equal(self) -> bool:
        """Whether every byte was equal."""
        return not self.differing

    @property
    def explained(self) -> bool:
        """Whether there are differences, and the runtime's profile accounts for each of them."""
        return bool(self.causes) and all(cause.explained for cause in self.causes)


_KEPT_DIFFERENCES = 20

Progress = Callable[[int, int], None]
"""Called with samples done, and samples in all."""


def model_of(out: Path, manifest: Manifest) -> pipeline.Model:
    """The model that an output folder was built from.

    Raises OutputError when the copy in the folder is not the one that the manifest names.
    """
    options = Options(manifest.profile, manifest.batch, manifest.io, manifest.layout, _streaming(manifest))
    model = pipeline.read(out / manifest.model.path, options)
    if model.sha256 != manifest.model.sha256:
        raise OutputError(
            f"{out / manifest.model.path} is not the model that {out} was built from (sha256 {model.sha256[:12]}, "
            f"expected {manifest.model.sha256[:12]})",
            "Build again.",
        )
    # An interpreter that keeps all tensors builds them with all channels.
    return model if manifest.removed else dataclasses.replace(model, graph=model.whole)


def _streaming(manifest: Manifest) -> Streaming | None:
    found = manifest.streaming
    return None if found is None else Streaming(found.hop, found.axis)


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
        attributions = [_attribution(model, peer.profile) for peer in opened]
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
                attribution = attributions[index]
                if attribution is not None and (difference is not None or model.graph.states):
                    known = _known(model.graph, manifest, answer)
                    attribution.add(sample.arrays, reset or not model.graph.states, known)
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
            causes=attribution.causes if attribution is not None else (),
            stack_bytes=peer.stack_bytes,
        )
        for peer, layers, count, differences, attribution in zip(
            opened, compared, differing, found, attributions, strict=True
        )
    ]


def _attribution(model: pipeline.Model, profile: str | None) -> Attribution | None:
    """What explains the differences of an original runtime: the model read under its profile."""
    if profile is None:
        return None
    if profile == model.options.profile:
        return Attribution(model.graph, None, {})
    try:
        other = pipeline.decode(model.data, model.file, dataclasses.replace(model.options, profile=profile))
    except UnsupportedModel as refused:
        reasons = {problem.node: f"under {profile}: {problem.reason}" for problem in refused.problems}
        return Attribution(model.graph, None, {"": f"the model cannot be built under {profile}", **reasons})
    return Attribution(model.graph, other.whole, {})


def _known(graph: Graph, manifest: Manifest, answer: Answer) -> dict[str, Array]:
    """A runtime's tensors by their name in the graph."""
    data = {
        layer.output.tensor: answer.layer(layer.index)
        for layer, crc in zip(manifest.layers, answer.layer_crcs, strict=True)
        if crc is not None
    }
    data.update(zip(graph.outputs, answer.outputs, strict=True))
    tensors = ((name, graph.tensors[name], content) for name, content in data.items())
    return {name: np.frombuffer(content, tensor.dtype).reshape(tensor.shape) for name, tensor, content in tensors}


def compare(
    sample: str, graph: Graph, manifest: Manifest, values: Mapping[str, Array], answer: Answer
) -> Difference | None:
    """The first difference between a peer's answer and the reference's values, layers before outputs."""
    for layer, crc in zip(manifest.layers, answer.layer_crcs, strict=True):
        expected = values[layer.output.tensor]
        if crc is not None and zlib.crc32(expected.tobytes()) != crc:
            return first_difference(sample, _label(layer), expected, answer.layer(layer.index))
    for index, (name, data) in enumerate(zip(graph.outputs, answer.outputs, strict=True)):
        if values[name].tobytes() != data:
            return first_difference(sample, f"output {index} ({name}) of the whole model", values[name], data)
    return None


def _label(layer: Layer) -> str:
    return f"layer {layer.index} {layer.op} ({layer.symbol}, {layer.name})"


def first_difference(sample: str, place: str, expected: Array, data: bytes) -> Difference:
    """The first element that differs from what is expected, given the bytes that were found."""
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
