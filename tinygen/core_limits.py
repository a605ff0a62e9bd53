"""What some cores cannot do, however much memory a board has: floats as the runtimes', constants without end."""

from __future__ import annotations

from collections.abc import Iterator

from tinygen.errors import DoesNotFit, Problem, UnsupportedModel, UsageError
from tinygen.layers import Layer, layers_of, with_parts
from tinygen.ops.traits import Moving
from tinygen.plan import Plan
from tinygen.target import FLASH_SPACE, LOOSE_FLOATS, Core

FLASH_SPACE_BYTES = 65_024
"""Of constants: what an address of 16 bits reaches behind the interrupt vectors."""

LARGEST_ARRAY = 32_767
"""Bytes, where a ptrdiff_t has 16 bits."""

FLOAT_HELPERS = frozenset(
    {
        "exponential",
        "fused",
        "fused_sum",
        "natural_logarithm",
        "requantise_float",
        "requantise_float_shifted",
        "requantise_line",
        "requantise_real",
        "round_float",
        "square_root",
    }
)
"""C helpers that compute in float or double."""


def check_core(model: str, chosen: Plan, core: Core) -> None:
    """Whether the core can do what the plan's layers want.

    Raises UnsupportedModel where a layer computes in floats, and the core's need not be the runtime's, bit for bit;
    DoesNotFit where an array of constants is longer than the core's compiler takes.
    """
    if core.features.isdisjoint({FLASH_SPACE, LOOSE_FLOATS}):
        return
    layers = with_parts(layers_of(chosen.steps, chosen.layout, ""))
    found = [layer for layer in layers if LOOSE_FLOATS in core.features and any(_floats(layer))]
    if found:
        reason = f"it computes in floats, and those of {core.title} are not held to round as the runtime's do"
        remedy = "Quantise it to integers, edges too (--io may do that), or build it for another core."
        raise UnsupportedModel(
            model, [Problem(each.step.node.name, each.step.node.op.name, reason, "") for each in found], remedy
        )
    for layer in layers if FLASH_SPACE in core.features else ():
        _check_arrays(model, layer, core)


def _floats(layer: Layer) -> Iterator[bool]:
    """Whether there are some: in helpers, constants, and inputs and outputs that are more than bits to it."""
    body = layer.body
    yield not FLOAT_HELPERS.isdisjoint(body.helpers)
    yield from (array.dtype.kind == "f" for array in (*body.constants.values(), *body.shared.values()))
    if not (layer.step.kernel.takes_bits or isinstance(layer.step.node.op, Moving) or layer.parts):
        yield from (tensor.dtype.kind == "f" for tensor in (*layer.step.site.inputs, *layer.step.site.outputs))


def _check_arrays(model: str, layer: Layer, core: Core) -> None:
    for role, array in layer.body.constants.items():
        if array.nbytes > LARGEST_ARRAY:
            raise DoesNotFit(
                f"{model}: {layer.step.node.name} {layer.step.node.op.name} has {array.nbytes:,} bytes of {role}; "
                f"an array on {core.title} has up to {LARGEST_ARRAY:,}",
                "Choose a smaller model, or another core.",
            )


def check_beside(core: Core) -> None:
    """Raises UsageError on a core for which only models are written, not what is beside them."""
    if FLASH_SPACE in core.features:
        raise UsageError(
            f"front ends, parts in other regions, and firmware for MLPerf Tiny's runner are not for {core.title}",
            "Build the model alone, without --frontend, --place and --runner, or for another board.",
        )


def check_flash_space(const_bytes: int, core: Core) -> None:
    """Raises DoesNotFit where the constants of all models together are more than the core's addresses reach."""
    if FLASH_SPACE in core.features and const_bytes > FLASH_SPACE_BYTES:
        raise DoesNotFit(
            f"{const_bytes:,} bytes of constants; {core.title} reads up to {FLASH_SPACE_BYTES:,} from its flash",
            "Choose a smaller model, or another core.",
        )
