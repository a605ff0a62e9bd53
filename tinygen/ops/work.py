"""What the portable kernels' C comes to on a Cortex-M4: instructions and bytes of code, about.

Lines through what arm-none-eabi-gcc 12.2 makes of them, in executed instructions, for the flags of each objective. They
decide where assembly is not worth its flash; what it costs itself is counted. The benchmark compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tinygen.kernel import Site, Work
from tinygen.ops.window import WindowLoops


class Line(NamedTuple):
    """Instructions of an output: some for each tap or element, some for itself; and the code's bytes."""

    slope: float
    start: float
    code: int

    def work(self, outputs: int, taps: int = 1) -> Work:
        """Of so many outputs with so many taps each."""
        return Work(round(outputs * max(self.slope * taps + self.start, 1)), self.code)


DOT_PRODUCT = {"balanced": Line(2.9, 14, 310), "speed": Line(2.6, 14, 420), "size": Line(5.2, 22, 145)}
"""Pointwise convolutions and fully connected layers."""
WINDOW = {"balanced": Line(3.0, 16, 760), "speed": Line(2.8, 16, 880), "size": Line(5.4, 40, 440)}
"""Other convolutions."""
DEPTHWISE = {"balanced": Line(3.0, 18, 580), "speed": Line(3.0, 18, 580), "size": Line(6.0, 36, 430)}
"""Depthwise convolutions whose taps are written out, unless size matters most."""
DEPTHWISE_LOOPS = {"balanced": Line(5.0, 38, 210), "speed": Line(5.0, 38, 210), "size": Line(6.0, 36, 140)}
"""Others."""
POOL = {"balanced": Line(6.5, -15, 100), "speed": Line(6.5, -15, 100), "size": Line(7.0, -15, 84)}
ELEMENTWISE = {"balanced": Line(0, 45, 160), "speed": Line(0, 45, 160), "size": Line(0, 90, 108)}
PLANE = {"balanced": Line(0, 15, 80), "speed": Line(0, 15, 80), "size": Line(0, 14, 76)}
"""Two operands whose result is one sum of two products."""
LOOKUP = {"balanced": Line(0, 6, 40), "speed": Line(0, 6, 40), "size": Line(0, 8, 32)}


@dataclass(frozen=True)
class Rates:
    """Instructions by the sizes of a node, for kernels without a form for each objective; and the code's bytes."""

    code: int
    output: float = 0
    """Of each element of the output."""
    input: float = 0
    """Of each element of the first input."""
    mac: float = 0
    """Of each multiply-accumulate."""
    in_float: bool = False
    """Whether it computes in float32: without an FPU nothing is known."""

    def __call__(self, site: Site) -> Work:
        """Of a node."""
        if self.in_float and "fpu" not in site.features:
            return Work(None, self.code)
        macs = site.op.macs(site.inputs, site.outputs) if self.mac else 0
        of_elements = self.output * site.outputs[0].elements + self.input * site.inputs[0].elements
        return Work(max(round(of_elements + self.mac * macs), 1), self.code)


_SHORT_PRODUCTS = 30
"""So many more half instructions an output takes on Armv6-M, where the requantisation's long products are calls."""
EDGE = 2
"""Outputs whose windows reach over the border cost about so many times others."""


def dot_product_work(site: Site, taps: int) -> Work:
    """Of outputs that are one run of products each."""
    line = DOT_PRODUCT[site.objective]
    if "thumb1" in site.features:
        line = line._replace(start=line.start + _SHORT_PRODUCTS)
    return line.work(site.outputs[0].elements, taps)


def window_work(site: Site, lines: dict[str, Line], taps: int) -> Work:
    """Of a window that slides over an image; `taps` are those of one output."""
    batch, *_, channels = site.outputs[0].shape
    inside, edge = pixels(WindowLoops.at(site))
    return lines[site.objective].work(batch * channels * (inside + EDGE * edge), taps)


def pixels(loops: WindowLoops) -> tuple[int, int]:
    """Output pixels whose windows lie inside the image, and those whose reach over its border."""
    inside = 1
    for segments in (loops.row_segments, loops.column_segments):
        inside *= sum(part.stop - part.start for part in segments if not part.edge)
    return inside, loops.out_height * loops.out_width - inside


def plane_work(site: Site) -> Work:
    """Of two operands, element by element, that are multiplied by constants and added."""
    return PLANE[site.objective].work(site.outputs[0].elements)


def elementwise_work(site: Site) -> Work:
    """Of two operands, element by element."""
    return ELEMENTWISE[site.objective].work(site.outputs[0].elements)
