"""Variables of a .tflite file: VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, and the CALL_ONCE that gives first values.

A variable becomes a state of the graph. Reading it before it is assigned gives the state's value from the invocation
before; reading it afterwards, the value that was assigned. What was assigned last is the state's next value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinygen.importers.converted import Converted, Refused
from tinygen.importers.tflite_file import RawModel, RawOperator, RawSubgraph
from tinygen.ir import Array, State, Tensor, read_only
from tinygen.ops.reshape import AssignVariable, ReadVariable

OPERATORS = frozenset(("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE"))

Key = tuple[str, str]


@dataclass
class _Variable:
    read: Tensor | None = None
    assigned: Tensor | None = None


@dataclass
class Variables:
    """The variables of the subgraph that runs, while its operators are read in order."""

    model: RawModel
    _keys: dict[int, Key] = field(default_factory=dict)
    _initial: dict[Key, Array] = field(default_factory=dict)
    _variables: dict[Key, _Variable] = field(default_factory=dict)

    def handle(self, raw: RawOperator) -> None:
        """VAR_HANDLE: its output stands for the variable of that name."""
        self._keys[raw.outputs[0]] = _key(raw)

    def call_once(self, raw: RawOperator) -> None:
        """CALL_ONCE: the subgraph that it runs assigns constants to variables. Raises Refused for any other."""
        index = int(str(raw.options["init_subgraph_index"]))
        if not 0 < index < len(self.model.subgraphs):
            raise Refused(f"it calls subgraph {index} of {len(self.model.subgraphs)}")
        self._initial.update(_assigned_constants(self.model.subgraphs[index]))

    def read(self, raw: RawOperator, y: Tensor) -> Converted:
        """READ_VARIABLE. Raises Refused where what it reads has another size or type."""
        key, variable = self._variable(raw)
        if variable.assigned is not None:
            value = variable.assigned
        else:
            value = variable.read or Tensor(f"variable {_name(key)}", y.shape, y.dtype, y.quant)
            variable.read = value
        _same(value, y, key)
        return Converted(ReadVariable.to(y.shape), (value,), (y,))

    def assign(self, raw: RawOperator, value: Tensor) -> None:
        """ASSIGN_VARIABLE."""
        _, variable = self._variable(raw)
        variable.assigned = value

    def states(self) -> list[tuple[Converted, State]]:
        """What to do after all other operators: each variable's next value, and the state that it is.

        Raises Refused where a variable is assigned something of another size or type than is read.
        """
        found = []
        for key, variable in self._variables.items():
            if variable.read is None or variable.assigned is None:
                continue
            read = variable.read
            _same(variable.assigned, read, key)
            following = dataclasses.replace(read, name=f"{read.name}, next")
            converted = Converted(AssignVariable.to(read.shape), (variable.assigned,), (following,))
            zero_point = int(read.quant.zero_point[0]) if read.quant is not None else 0
            found.append((converted, State(read.name, following.name, self._first(key, read, zero_point))))
        return found

    def constants(self) -> list[Tensor]:
        """The variables that are only read: they keep their first value.

        Without one, all their bits are zero: the runtime looks for the zero point where a variable is assigned.
        """
        return [
            dataclasses.replace(variable.read, data=self._first(key, variable.read, 0))
            for key, variable in self._variables.items()
            if variable.read is not None and variable.assigned is None
        ]

    def _variable(self, raw: RawOperator) -> tuple[Key, _Variable]:
        key = self._keys.get(raw.inputs[0]) if raw.inputs else None
        if key is None:
            raise Refused("its first input is not the output of a VAR_HANDLE before it")
        return key, self._variables.setdefault(key, _Variable())

    def _first(self, key: Key, read: Tensor, default: int) -> Array:
        """What CALL_ONCE assigned, if it did."""
        given = self._initial.get(key)
        if given is None:
            return read_only(np.full(read.shape, default, read.dtype))
        if given.dtype != read.dtype or given.size != read.elements:
            raise Refused(
                f"the variable {_name(key)} is read as {read.dtype} {read.shape}, "
                f"its first value is {given.dtype} {given.shape}"
            )
        return read_only(given.reshape(read.shape))


def _key(raw: RawOperator) -> Key:
    return str(raw.options["container"] or ""), str(raw.options["shared_name"] or "")


def _name(key: Key) -> str:
    return "/".join(part for part in key if part) or "without a name"


def _same(value: Tensor, other: Tensor, key: Key) -> None:
    if value.dtype != other.dtype or value.elements != other.elements:
        raise Refused(
            f"the variable {_name(key)} is {value.dtype} {value.shape} in one place and {other.dtype} {other.shape} "
            "in another"
        )


def _assigned_constants(subgraph: RawSubgraph) -> Mapping[Key, Array]:
    keys: dict[int, Key] = {}
    found: dict[Key, Array] = {}
    for raw in subgraph.operators:
        if raw.op == "VAR_HANDLE":
            keys[raw.outputs[0]] = _key(raw)
        elif raw.op == "ASSIGN_VARIABLE" and raw.inputs[0] in keys:
            found[keys[raw.inputs[0]]] = _constant(subgraph, raw.inputs)
        else:
            raise Refused(f"the subgraph that it calls holds {raw.op}, supported is assigning constants to variables")
    return found


def _constant(subgraph: RawSubgraph, inputs: Sequence[int]) -> Array:
    tensor = subgraph.tensors[inputs[1]]
    if tensor.data is None:
        raise Refused("the subgraph that it calls assigns a value that is no constant")
    return tensor.data
