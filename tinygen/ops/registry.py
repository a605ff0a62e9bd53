"""Every operator and kernel, registered once: selection, tests and benchmarks enumerate these lists."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from tinygen.ir import Op
from tinygen.kernel import Kernel

FAMILIES = (
    "activations",
    "add",
    "add_n",
    "arg_extremum",
    "batch_matmul",
    "cast",
    "concatenation",
    "conv_2d",
    "curve",
    "depthwise_conv_2d",
    "div",
    "extremum",
    "float_add",
    "float_conv",
    "float_cubic",
    "float_curves",
    "float_expression",
    "float_instance_norm",
    "float_layer_norm",
    "float_mean",
    "float_pair",
    "float_pool",
    "float_resize",
    "float_softmax",
    "float_transpose_conv",
    "fully_connected",
    "gather",
    "l2_normalization",
    "log_softmax",
    "lstm",
    "mirror_pad",
    "mul",
    "pad",
    "pool_2d",
    "prelu",
    "quantize",
    "real_curve",
    "real_conv",
    "real_product",
    "real_softmax",
    "reduce",
    "reshape",
    "resize_bilinear",
    "resize_nearest_neighbor",
    "rsqrt",
    "sigmoid",
    "softmax",
    "softmax_int16",
    "space_to_batch",
    "squared_difference",
    "strided_copy",
    "svdf",
    "transpose_conv",
)
"""The modules of this package that are operator families: each has KERNELS, cases() and random_case(rng)."""

SPECIALISED: tuple[str, ...] = (
    "armv6m.add",
    "armv6m.depthwise",
    "armv6m.depthwise_lanes",
    "armv6m.float_conv",
    "armv6m.mul",
    "armv6m.packed",
    "armv6m.packed_bytes",
    "armv6m.packed_fours",
    "armv6m.winograd",
    "armv7em.add",
    "armv7em.border_patches",
    "armv7em.copies",
    "armv7em.depthwise",
    "armv7em.depthwise_3x3",
    "armv7em.depthwise_planes",
    "armv7em.depthwise_quads",
    "armv7em.extremum",
    "armv7em.float_conv",
    "armv7em.halfword_channels",
    "armv7em.halfwords",
    "armv7em.matrix",
    "armv7em.mul",
    "armv7em.patches",
    "armv7em.pools",
    "armv7em.ring",
    "armv7em.stationary",
    "armv7em.vector",
    "armv7em.winograd",
    "armv81m.add",
    "armv81m.add_halfwords",
    "armv81m.channels",
    "armv81m.columns",
    "armv81m.depthwise",
    "armv81m.lanes_of_channels",
    "armv81m.means",
    "armv81m.mul",
    "armv81m.pointwise",
    "armv81m.pools",
    "armv81m.single_row",
    "armv81m.stationary",
    "armv81m.window_rows",
    "armv81m.windows",
    "rv32v.dot",
)
"""The modules of `tinygen.kernels` that list kernels for particular cores in KERNELS: "armv7em.pointwise"."""

MODULES: tuple[ModuleType, ...] = tuple(import_module(f"tinygen.ops.{family}") for family in FAMILIES)

KERNELS: tuple[Kernel, ...] = tuple(
    kernel
    for module in (*(import_module(f"tinygen.kernels.{name}") for name in SPECIALISED), *MODULES)
    for kernel in module.KERNELS
)


def kernels_for(op: Op) -> Iterable[Kernel]:
    """The kernels registered for an operator, in the order of preference."""
    return (kernel for kernel in KERNELS if kernel.op is type(op))
