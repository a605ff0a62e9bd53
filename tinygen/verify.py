"""Comparing peers with the numpy reference, byte for byte, layer by layer."""

from __future__ import annotations

import contextlib
import dataclasses
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen import pipeline, reference
from tinygen.attribution import Attribution, Cause
from tinygen.difference import Difference, first_difference
from tinygen.errors import OutputError, UnsupportedModel
from tinygen.ir import Array, Graph
from tinygen.manifest import Layer, Manifest
from tinygen.options import Options, Streaming
from tinygen.peer import Answer, Peer, RemotePeer
from tinygen.resume import Resume
from tinygen.samples import Sample
from tinygen.tally import Tally


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
    # An interpreter that keeps all tensors builds them with all channels, in the file's order.
    is_whole = not manifest.removed and all(layer.output.tensor in model.whole.tensors for layer in manifest.layers)
    return dataclasses.replace(model, graph=model.whole) if is_whole else model


def _streaming(manifest: Manifest) -> Streaming | None:
    found = manifest.streaming
    return None if found is None else Streaming(found.hop, found.axis)


def verify(
    model: pipeline.Model,
    manifest: Manifest,
    samples: Sequence[Sample],
    peers: Sequence[AbstractContextManager[Peer]],
    progress: Progress = lambda done, total: None,
    resume: Resume | None = None,
) -> list[PeerReport]:
    """Run the samples through the reference and every peer, and compare every layer and output.

    Several remote peers work at the same time. With `resume`, what each of them has done is written down after each
    sample, and not done again.
    """
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(peer) for peer in peers]
        asking = stack.enter_context(_Asking(opened))
        attributions = [_attribution(model, peer.profile) for peer in opened]
        tallies = [_earlier(peer, resume) for peer in opened]
        states = reference.initial_states(model.graph)
        for done, sample in enumerate(samples, 1):
            reset = sample.reset or done == 1
            if reset:
                states = reference.initial_states(model.graph)
            values = reference.evaluate(model.graph, sample.arrays, states)
            states = reference.next_states(model.graph, values)
            waiting = [index for index, tally in enumerate(tallies) if tally.samples < done]
            for index, answer in asking.answers(waiting, sample.bytes, reset):
                peer, attribution = opened[index], attributions[index]
                difference = compare(sample.name, model.graph, manifest, values, answer)
                if attribution is not None and (difference is not None or model.graph.states):
                    known = _known(model.graph, manifest, answer)
                    attribution.add(sample.arrays, reset or not model.graph.states, known)
                compared = [layer for layer, crc in enumerate(answer.layer_crcs) if crc is not None]
                tallies[index] = tallies[index].after(compared, difference, peer.stack_bytes)
                if resume is not None and isinstance(peer, RemotePeer):
                    resume.keep(peer.name, tallies[index], peer.state)
            progress(done, len(samples))
    outputs = sum(port.bytes for port in manifest.outputs)
    return [
        PeerReport(
            peer=peer.name,
            samples=len(samples),
            layers=len(tally.layers),
            bytes=len(samples) * (outputs + sum(manifest.layers[layer].output.bytes for layer in tally.layers)),
            differing=tally.differing,
            differences=tally.differences,
            causes=attribution.causes if attribution is not None else (),
            stack_bytes=tally.stack_bytes,
        )
        for peer, tally, attribution in zip(opened, tallies, attributions, strict=True)
    ]


def _earlier(peer: Peer, resume: Resume | None) -> Tally:
    """What a remote peer has done already; it is put into the state that it was in then."""
    if resume is None or not isinstance(peer, RemotePeer):
        return Tally()
    tally, state = resume.known(peer.name)
    if tally.samples:
        peer.restore(state)
    return tally


class _Asking(contextlib.AbstractContextManager["_Asking"]):
    """Peers are asked one after the other; where there are several remote ones, these meanwhile."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self._peers = peers
        remote = [index for index, peer in enumerate(peers) if isinstance(peer, RemotePeer)]
        self._remote = remote if len(remote) > 1 else []
        self._pool = ThreadPoolExecutor(max(1, len(self._remote)))

    def answers(self, wanted: Sequence[int], inputs: Sequence[bytes], reset: bool) -> Iterator[tuple[int, Answer]]:
        """Of the peers with these indices, for one sample."""
        futures = {
            index: self._pool.submit(self._peers[index].run, inputs, reset) for index in wanted if index in self._remote
        }
        for index in wanted:
            future = futures.get(index)
            yield index, self._peers[index].run(inputs, reset) if future is None else future.result()

    def __exit__(self, *error: object) -> None:
        # Whoever is still asked ends when the lines are closed, which comes next.
        self._pool.shutdown(wait=False, cancel_futures=True)


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
