"""FloatConv by the kernels of ordinary convolutions, which mark the results that are not sure.

Without the one that expands weights into RAM to save flash: the float32 sums need them in flash a second time.
"""

from __future__ import annotations

from tinygen.kernels.armv6m import packed
from tinygen.kernels.marking import marking
from tinygen.ops.conv_2d import Conv2D

KERNELS = tuple(
    marking(kernel) for kernel in packed.KERNELS if kernel.op is Conv2D and kernel.name != "conv_2d.packed_expanded"
)
