"""Model files to graphs: one module per format, each with `read` and `outline`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tinygen.ir import Shape


@dataclass(frozen=True)
class OutlineRow:
    """One operator of a model file as it is, supported or not, in words."""

    label: str
    operator: str
    inputs: str
    outputs: str


class FileTensor(Protocol):
    """A tensor of a model file."""

    @property
    def dtype(self) -> str:
        """Its name in numpy."""

    @property
    def shape(self) -> Shape:
        """With the batch that `FileView.batch` says, where that is open."""

    def may_have(self, shape: Shape) -> bool:
        """Whether this is its shape, but for dimensions that the file leaves open."""


class FileView(Protocol):
    """A model as its file has it, for who runs the file."""

    @property
    def indices(self) -> Mapping[str, int]:
        """Index of each tensor that can be looked at, by the name that it has in the graph."""

    @property
    def tensors(self) -> Sequence[FileTensor]:
        """By index."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """Indices."""

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices."""

    @property
    def batch(self) -> int | None:
        """The batch that the file's shapes are for, where it is open."""

    @property
    def on_uint8(self) -> bool:
        """Whether operators compute on uint8."""

    @property
    def operators(self) -> Collection[tuple[str, int]]:
        """Names and versions of all operators of which some runtime may lack a version."""
