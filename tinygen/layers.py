"""Layers: the steps that leave code, with what their templates need, and the functions in assembly that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from tinygen.c_text import C_TYPES
from tinygen.function_text import function_text
from tinygen.ir import Array, Tensor
from tinygen.kernel import Body
from tinygen.layout import Layout, Place
from tinygen.ops.row_group import RowGroup
from tinygen.select import Step


@dataclass(frozen=True)
class Layer:
    """A step that leaves code."""

    index: int
    step: Step
    body: Body
    id: str
    symbol: str
    scratch: Place | None
    """The kernel's memory for itself."""
    parts: tuple[Layer, ...] = ()
    """Of a group: what computes each of its nodes, a function that the layer calls, with the layer's index."""
    letter: str = ""
    """Of a part: which of its layer's."""
    calls: int = 1
    """How often it is called in one invocation."""
    is_hot: bool = False
    """Whether its code lies where that of the layers lies that cost most (see `tinygen.hot_code`)."""

    @property
    def number(self) -> str:
        """What it is called by: 3, or 3a for the first part of layer 3."""
        return f"{self.index}{self.letter}"

    @property
    def output(self) -> Tensor:
        """The first output, after which it is called."""
        return self.step.site.outputs[0]

    @property
    def is_fed(self) -> bool:
        """Whether it is called with each row of the model's input, and not in an invocation."""
        return isinstance(self.step.node.op, RowGroup) and self.step.node.op.fed

    @property
    def operands(self) -> list[tuple[str, int]]:
        """C name and index of the inputs that it reads."""
        site = self.step.site
        return [(name, index) for name, index in self.step.kernel.operands(site.inputs) if index not in site.aliased]

    @property
    def results(self) -> list[tuple[str, Tensor]]:
        """C name and tensor of the outputs that it writes through pointers of their own."""
        own = [t for index, t in enumerate(self.step.site.outputs) if index not in self.step.kernel.in_place]
        return [("y" if len(own) == 1 else f"y{index}", tensor) for index, tensor in enumerate(own)]


def coded_steps(steps: Sequence[Step], layout: Layout) -> list[tuple[str, int]]:
    """The layers' ids, and the indices of the steps that leave code.

    Of the others, every input lies where their output wants it.
    """
    found = [index for index, step in enumerate(steps) if len(layout.aliased[index]) < len(step.site.inputs)]
    width = max(2, len(str(len(found) - 1)))
    return [(f"layer_{layer:0{width}}", index) for layer, index in enumerate(found)]


def layers_of(steps: Sequence[Step], layout: Layout, name: str, hot: frozenset[str] = frozenset()) -> list[Layer]:
    """The steps that leave code; `hot`: ids of layers whose code lies apart."""
    layers = []
    for number, (layer_id, index) in enumerate(coded_steps(steps, layout)):
        site = steps[index].site._replace(aliased=layout.aliased[index])
        step = dataclasses.replace(steps[index], site=site)
        layer = _layer(number, step, layer_id, name, layout.scratch.get(index))
        layers.append(_heated(layer) if layer_id in hot else layer)
    return layers


def _heated(layer: Layer) -> Layer:
    return dataclasses.replace(layer, is_hot=True, parts=tuple(map(_heated, layer.parts)))


def _layer(index: int, step: Step, layer_id: str, name: str, scratch: Place | None) -> Layer:
    # Kernels in C, and copies in assembly, look at what is aliased, which is decided after they are chosen.
    keeps = step.kernel.assembly and not step.site.aliased
    body = step.chosen.body if keeps else step.kernel.prepare(step.site)
    operands = {
        parameter: data
        for parameter, operand in step.kernel.operands(step.site.inputs)
        if (data := step.site.inputs[operand].data) is not None
    }
    body = dataclasses.replace(body, constants={**operands, **body.constants})
    parts = []
    for letter, part in zip(ascii_lowercase, step.chosen.parts, strict=False):
        assert scratch is not None or not part.step.scratch
        own = scratch._replace(offset=scratch.offset + part.scratch) if scratch and part.step.scratch else None
        found = _layer(index, part.step, f"{layer_id}_{letter}", name, own)
        parts.append(dataclasses.replace(found, letter=letter, calls=part.calls))
    symbol = f"{name}_{layer_id}_{step.kernel.name.split('.')[0]}"
    return Layer(index, step, body, layer_id, symbol, scratch, tuple(parts))


def with_parts(layers: Sequence[Layer]) -> list[Layer]:
    """All that leave a function: before each layer its parts."""
    return [each for layer in layers for each in (*layer.parts, layer)]


@dataclass(frozen=True)
class Function:
    """A function in assembly, and the layers that call it."""

    symbol: str
    text: str
    layers: Sequence[Layer]

    @property
    def title(self) -> str:
        """Whose it is, in words."""
        numbers = list(dict.fromkeys(str(layer.index) for layer in self.layers))
        which = f"layer {numbers[0]}" if len(numbers) == 1 else f"layers {', '.join(numbers[:-1])} and {numbers[-1]}"
        return f"{self.layers[0].step.kernel.name}, {which}"

    @property
    def is_hot(self) -> bool:
        """Whether one of the layers is: its code is the others', too."""
        return any(layer.is_hot for layer in self.layers)

    @property
    def runs(self) -> Sequence[str]:
        """For each layer, how often blocks run that the text counts by name."""
        counts = {layer.number: layer.body.runs for layer in self.layers if layer.body.runs}
        return [f"Layer {i}: {', '.join(f'{name} {n:,}' for name, n in named.items())}." for i, named in counts.items()]

    @property
    def prototype(self) -> str:
        """In C."""
        layer = self.layers[0]
        inputs = ((name, layer.step.site.inputs[index].dtype) for name, index in layer.operands)
        parameters = [
            *(f"const {C_TYPES[str(dtype)]} *{name}" for name, dtype in inputs),
            *(f"{C_TYPES[str(tensor.dtype)]} *{name}" for name, tensor in layer.results),
            *(f"const {C_TYPES[str(array.dtype)]} *{role}" for role, array in self._own(layer).items()),
            *(["void *scratch"] if layer.scratch else []),
        ]
        return f"void {self.symbol}({', '.join(parameters)});"

    @staticmethod
    def _own(layer: Layer) -> Mapping[str, Array]:
        """The body's constants, without inputs that are constants, and what only the C around the function reads."""
        around = layer.body.around
        others = {name for name, _ in layer.operands} | (around.constants if around else frozenset())
        return {role: array for role, array in layer.body.constants.items() if role not in others}

    def call(self, layer: Layer, scratch: str | None) -> str:
        """The statement that runs a layer; `scratch` is a pointer to its memory for itself."""
        arguments = [
            *(name for name, _ in (*layer.operands, *layer.results)),
            *(f"{layer.id}_{role}" for role in self._own(layer)),
            *([scratch] if scratch else []),
        ]
        return f"{self.symbol}({', '.join(arguments)});"


def functions_of(layers: Sequence[Layer], name: str) -> list[Function]:
    """The functions in assembly; layers whose kernels print the same text share one."""
    users: dict[tuple[str, str], list[Layer]] = {}
    for layer in with_parts(layers):
        kernel = layer.step.kernel
        if kernel.assembly:
            text = function_text(kernel, layer.body, layer.step.site)
            stem = "_".join(filter(None, (name, kernel.name.replace(".", "_"), layer.body.variant)))
            users.setdefault((stem, text), []).append(layer)
    functions = []
    count: dict[str, int] = {}
    for (stem, text), callers in users.items():
        count[stem] = count.get(stem, 0) + 1
        symbol = stem if count[stem] == 1 else f"{stem}_v{count[stem]}"
        functions.append(Function(symbol, text, callers))
    return functions
