"""The shipped example on a board: what `tinygen demo` shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinygen import board as boards
from tinygen import manifest, output, pipeline, reference, samples, verify
from tinygen.resources import resource
from tinygen.results import result
from tinygen.session import Hello

_EXAMPLE = ("examples", "digits")


@dataclass(frozen=True)
class Row:
    """One image: its label, and what board and reference make of it (digit, probability)."""

    image: int
    label: int
    board: tuple[int, float]
    reference: tuple[int, float]
    equal: bool
    ticks: int | None


@dataclass(frozen=True)
class Demonstration:
    """All that was seen."""

    out: str
    name: str
    board: str
    layers: int
    accuracy: float
    """Of the int8 model over all held-out images, as measured when it was trained."""
    rows: tuple[Row, ...]
    differences: tuple[str, ...]
    """Layers or outputs in which the board differs from the reference."""
    stack_bytes: int | None
    hello: Hello

    @property
    def success(self) -> bool:
        """Whether every byte was equal."""
        return not self.differences and all(row.equal for row in self.rows)


def run(
    out: Path,
    board: str,
    count: int,
    port: str | None,
    stage: Callable[[str], None],
    line: Callable[[str], Callable[[str], None]],
    progress: Callable[[str, int, int], None],
) -> Demonstration:
    """Build the digits model for a board, flash it, and send it held-out images.

    `stage`, `line` and `progress` are told what happens. Raises TinygenError.
    """
    stage("generating C for the digits model")
    model = pipeline.read(resource(*_EXAMPLE, "digits.tflite"))
    built = pipeline.build(model, board, "digits")
    output.write(built.files, out)
    content = manifest.load(out)
    test_set = resource(*_EXAMPLE, "digits_test.npz")
    images = samples.from_file(test_set, content.inputs)
    labels = samples.read_labels(test_set, len(images))
    rows: list[Row] = []
    with boards.flashed(out, content, port, line(f"building the firmware for {board} and flashing it")) as peer:
        for index, image in enumerate(images[:count]):
            values = reference.evaluate(model.graph, image.arrays)
            wanted = [np.asarray(values[name]).tobytes() for name in model.graph.outputs]
            data, ticks = peer.invoke(image.bytes)
            answered, expected = result("", data, ticks, content), result("", wanted, None, content)
            label = -1 if labels is None else int(labels[index])
            rows.append(Row(index, label, answered.best, expected.best, data == wanted, ticks))
            progress("sending images over serial", index + 1, count)
        stack = peer.session.stack()
        # Layer by layer once, for the checksums; a difference names the layer.
        first = images[0]
        values = reference.evaluate(model.graph, first.arrays)
        difference = verify.compare(first.name, model.graph, content, values, peer.run(first.bytes, first.reset))
        hello = peer.session.hello()
    differences = () if difference is None else (str(difference),)
    figures = json.loads(resource(*_EXAMPLE, "figures.json").read_text())
    return Demonstration(
        out=str(out),
        name=content.name,
        board=content.board,
        layers=len(content.layers),
        accuracy=figures["int8_accuracy"],
        rows=tuple(rows),
        differences=differences,
        stack_bytes=stack,
        hello=hello,
    )
