"""Comparing who takes samples with the numpy reference, byte for byte."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from tinygen.audio import load
from tinygen.difference import Difference, first_difference
from tinygen.ir import Array, Graph
from tinygen.listening.frames import Frames
from tinygen.listening.heard import Heard
from tinygen.listening.listener import Listener
from tinygen.listening.peers import ListeningPeer
from tinygen.listening.recordings import cut
from tinygen.manifest import Manifest
from tinygen.verify import PeerReport, Progress


def listener(out: Path, content: Manifest, graph: Graph) -> Listener:
    """The reference of a library with a front end, in an output folder; `graph` is its model's."""
    found, (given,) = content.front_end, content.inputs
    assert found is not None
    frames = Frames(found.features, found.kept, found.new, given.zero_point or 0)
    return Listener(graph, load(out / found.path), frames, found.detector)


def enough(content: Manifest, results: int) -> int:
    """Samples for so many results, and so that a window that moves on is filled besides."""
    found = content.front_end
    assert found is not None
    return found.first + (results + -(-found.kept // found.new)) * found.step


def verify(
    reference: Listener,
    content: Manifest,
    recordings: Mapping[str, Array],
    peers: Sequence[AbstractContextManager[ListeningPeer]],
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> list[PeerReport]:
    """Feed recordings, each after a reset and cut at random, to the reference and every peer, and compare the results.

    A report's samples are results.
    """
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(peer) for peer in peers]
        found: list[list[Difference]] = [[] for _ in opened]
        results = 0
        for done, (name, samples) in enumerate(recordings.items(), 1):
            reference.reset()
            heard = 0
            for index, piece in enumerate(cut(samples, seed + done)):
                expected = reference.feed(piece)
                for peer, differences in zip(opened, found, strict=True):
                    answers = peer.listen(piece, index == 0)
                    differences += _differences(name, heard, expected, answers, content)
                heard += len(expected)
            results += heard
            progress(done, len(recordings))
    size = sum(port.bytes for port in content.outputs)
    return [
        PeerReport(f"{peer.name}, from samples", results, 0, results * size, len(differences), tuple(differences[:20]))
        for peer, differences in zip(opened, found, strict=True)
    ]


def _differences(
    recording: str,
    heard: int,
    expected: Sequence[Heard],
    answers: Sequence[Heard],
    content: Manifest,
) -> list[Difference]:
    """One for each result that differs, and one for results that are missing or that nobody expected."""
    differences = []
    for index, (ours, theirs) in enumerate(zip(expected, answers, strict=False), heard):
        for port, want, data in zip(content.outputs, ours.outputs, theirs.outputs, strict=True):
            if want != data:
                array = np.frombuffer(want, port.dtype).reshape(port.shape)
                differences.append(first_difference(recording, f"output {port.name!r} of result {index}", array, data))
                break
        else:
            if ours.word != theirs.word:
                place = f"word of result {index}"
                differences.append(Difference(recording, place, (), ours.word, theirs.word, 1, 1))
    if len(expected) != len(answers):
        place = f"number of results behind result {heard}"
        differences.append(Difference(recording, place, (), len(expected), len(answers), 1, 1))
    return differences
