"""FloatConv by the kernels of ordinary convolutions, which mark the results that are not sure."""

from __future__ import annotations

from tinygen.kernels.armv7em import border_patches, matrix, patches, ring
from tinygen.kernels.marking import marking
from tinygen.ops.conv_2d import Conv2D

_MODULES = (matrix, patches, ring, border_patches)

KERNELS = tuple(marking(kernel) for module in _MODULES for kernel in module.KERNELS if kernel.op is Conv2D)
