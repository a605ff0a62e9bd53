"""FloatConv by kernels of ordinary convolutions, which mark the results that are not sure: see `ops.float_layer`."""

from __future__ import annotations

from functools import partial

from tinygen.kernel import Body, Kernel, Site
from tinygen.ops.float_conv import FloatConv
from tinygen.ops.float_layer import integer_layer, mark_words, takes_float, with_float


def marking(kernel: Kernel) -> Kernel:
    """The same for FloatConv, whose input is needed to the end, for the float32 sums."""
    return Kernel(
        f"float_conv.{kernel.name.split('.')[1]}",
        FloatConv,
        partial(_prepare, kernel),
        requires=kernel.requires,
        accepts=partial(takes_float, kernel),
        assembly=True,
        scratch=partial(_scratch, kernel),
    )


def _prepare(kernel: Kernel, site: Site) -> Body:
    return with_float(kernel.prepare(integer_layer(site)), site)


def _scratch(kernel: Kernel, site: Site) -> int:
    return 4 * mark_words(site) + kernel.scratch(integer_layer(site))
