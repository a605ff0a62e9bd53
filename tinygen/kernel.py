"""What a kernel is: a template, the contract under which it may be used, and how its values are prepared.

A kernel named ``conv_2d.direct`` is printed by ``templates/ops/conv_2d.direct.c.j2``, or, in assembly, by a template
that ends in ``.S.j2``. Kernels are listed in their operator's file and registered once, in `tinygen.ops.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from tinygen.access import Spacing
from tinygen.ir import Array, Op, Tensor


class Site(NamedTuple):
    """One place where a kernel is used: the operator, its tensors, and what the user optimises for."""

    op: Any  # the concrete Op subclass that the kernel is registered for
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    objective: str  # "balanced", "speed" or "size"
    aliased: frozenset[int] = frozenset()
    """Inputs (by index) whose bytes lie where the kernel's `aliases` wants them: nothing is left to do for them."""
    features: frozenset[str] = frozenset()
    """What the core can do (see `tinygen.target.FEATURES`)."""
    mixed: bool = False
    """Whether the function is to have float32 for some channels, or for near ties, as other layers' do."""


@dataclass(frozen=True)
class Body:
    """What a template needs: plain values, constant arrays (name -> array, emitted as C), shared C helpers."""

    values: Mapping[str, object]
    constants: Mapping[str, Array] = field(default_factory=dict)
    helpers: frozenset[str] = frozenset()
    shared: Mapping[str, Array] = field(default_factory=dict)
    """Constant arrays that all layers of a library read in common, by name."""
    variant: str = ""
    """What tells the assembly function from those of other layers, in a word for its name: "64x64_125"."""
    proof: str = ""
    """Cheaper arithmetic that was proved equal to the profile's, in words; empty where the profile's own is used."""
    runs: Mapping[str, int] = field(default_factory=dict)
    """How often blocks of assembly run that the template counts by these names, so that its text is every layer's."""

    around: Around | None = None
    """Of assembly: the C around the call of the function, where that is more than the call."""
    apart: bool = False
    """Of assembly that may be several layers': whether near ties are decided apart."""

    @property
    def mixed(self) -> bool:
        """Whether there are blocks for channels, or sums, in float32."""
        return self.apart or any(name.startswith("floats") for name in self.runs)


class Around(NamedTuple):
    """C that a kernel in assembly leaves a part of its work to.

    The template has the layer's names as those of kernels in C have, `scratch`, a pointer to the kernel's memory for
    itself, in words, and `call`: a macro that prints the call, given what the function takes for its own memory.
    """

    template: str
    values: Mapping[str, object]
    constants: frozenset[str]
    """Names of those of the body's constants that this C reads, and the function does not."""
    work: Work


class Work(NamedTuple):
    """What C compiles to: executed instructions of one invocation, None where nobody knows, and bytes of code."""

    instructions: int | None
    code: int


UNKNOWN_WORK = Work(None, 300)


@dataclass(frozen=True)
class ScratchOverlaps:
    """How a kernel's memory for itself may overlap its tensors; `Spacing` is of what is read and what is written."""

    inputs: Mapping[int, Spacing] = field(default_factory=dict)
    """By index, where nothing reads the input after the kernel: the memory takes the output's place."""
    output: Spacing | None = None
    """The memory takes the input's place: no byte of it is used after one of the only output was written there."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """One way of computing an operator in C."""

    name: str
    op: type[Op]
    prepare: Callable[[Site], Body]
    parameters: tuple[str, ...] = ("x",)
    """C names of the leading inputs that are passed as pointers; later inputs are constants that `prepare` uses up.

    A last name that ends in "*" stands for all inputs from there on: "x*" for x0, x1, and so on.
    """
    in_place: Mapping[int, int] = field(default_factory=dict)
    """Outputs (by index) that the kernel writes into the memory of an input (by index), without a pointer of their own.

    Such an input is passed as a pointer to what is not const: a state that goes from one invocation to the next.
    """
    requires: frozenset[str] = frozenset()
    """Features that the core must have; none: portable C."""
    accepts: Callable[[Site], bool] = lambda site: True
    """The contract on the node."""
    aliases: Callable[[Site], Mapping[int, int]] = lambda site: {}
    """Inputs that are a part of the output, or the output a part of them: how many bytes after the output they begin.

    Where the memory plan lets them lie so, nothing is copied, and a kernel all of whose inputs do leaves no code.
    """
    moves_down: Callable[[Site], bool] = lambda site: False
    """Whether the output may begin at or before the input in the same memory: it reads before it writes."""
    overlaps: Callable[[Site], Mapping[int, Spacing]] = lambda site: {}
    """How inputs (by index) may overlap the only output, where that is more than not at all. Constants have no entry.

    Where one tensor is several inputs, each entry holds. For the memory for itself see `scratch_overlaps`.
    """
    assembly: bool = False
    """Whether the template is assembly: the instructions of one function, from its entry to its return.

    The function takes pointers to the inputs, the outputs, each of the body's constants, and the scratch memory, in
    this order. Layers for which the template prints the same text share the function.
    """
    takes_bits: bool = False
    """Whether it takes floats apart, or puts them together, bit by bit: it computes in integers."""
    work: Callable[[Site], Work] = lambda site: UNKNOWN_WORK
    """For C: what it comes to when compiled for a Cortex-M4, about. Of assembly, the text is counted."""
    scratch: Callable[[Site], int] = lambda site: 0
    """Bytes of memory, aligned to words, that the kernel wants for itself while it runs."""
    scratch_overlaps: Callable[[Site], ScratchOverlaps] = lambda site: ScratchOverlaps()
    """How this memory may overlap inputs and output, where that is more than not at all."""

    @property
    def template(self) -> str:
        """Path below templates/."""
        return f"ops/{self.name}.{'S' if self.assembly else 'c'}.j2"

    @property
    def portable(self) -> bool:
        """Whether it is C for any core."""
        return not self.requires and not self.assembly

    def operands(self, inputs: Sequence[Tensor]) -> list[tuple[str, int]]:
        """C name and index of each input that is passed as a pointer."""
        names = list(self.parameters)
        if names and names[-1].endswith("*"):
            stem = names.pop().removesuffix("*")
            names += [f"{stem}{index}" for index in range(len(inputs) - len(names))]
        return [(name, index) for index, name in enumerate(names[: len(inputs)])]


def overlaps(kernel: Kernel, site: Site) -> Mapping[int, Spacing]:
    """As `Kernel.overlaps`, which follows from the order of all accesses: found once."""
    return _overlaps(kernel, site._replace(inputs=tuple(site.inputs), outputs=tuple(site.outputs)))


@lru_cache(maxsize=1024)
def _overlaps(kernel: Kernel, site: Site) -> Mapping[int, Spacing]:
    return kernel.overlaps(site)
