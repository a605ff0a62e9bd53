"""Who writes and who reads each value of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.importers.onnx_file import RawNode
from tinygen.importers.onnx_graph import RawGraph


@dataclass(frozen=True)
class Wiring:
    """Of the values that nodes write or read; a node that reads a value twice stands among its readers once."""

    outputs: frozenset[str]
    """Of the model."""
    writers: Mapping[str, RawNode]
    _readers: Mapping[str, Sequence[RawNode]]

    @classmethod
    def of(cls, graph: RawGraph) -> Wiring:
        """As the nodes of a graph say."""
        readers: dict[str, list[RawNode]] = {}
        for node in graph.nodes:
            for name in dict.fromkeys(filter(None, node.inputs)):
                readers.setdefault(name, []).append(node)
        writers = {name: node for node in graph.nodes for name in node.outputs}
        return cls(frozenset(graph.outputs), writers, readers)

    def readers(self, name: str) -> Sequence[RawNode]:
        """The nodes that read a value, in their order."""
        return self._readers.get(name, ())

    def only_reader(self, name: str) -> RawNode | None:
        """The node that alone reads a value; None where there are others, or where it is an output of the model."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def times_read(self, name: str) -> int:
        """How many inputs of nodes a value is."""
        return sum(reader.inputs.count(name) for reader in self.readers(name))
