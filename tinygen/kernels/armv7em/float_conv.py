"""FloatConv by the kernels of ordinary convolutions, which mark the results that are not sure."""

from __future__ import annotations

from tinygen.kernels.armv7em import border_patches, depthwise_quads, matrix, patches, ring
from tinygen.kernels.marking import marking
from tinygen.ops.fully_connected import FullyConnected

_MODULES = (matrix, patches, ring, border_patches, depthwise_quads)

KERNELS = tuple(marking(kernel) for module in _MODULES for kernel in module.KERNELS if kernel.op is not FullyConnected)
