"""Inputs and outputs of a library: for the manifest, and as its C has them."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen import c_text, manifest
from tinygen.c_text import C_TYPES
from tinygen.interface import EXTERNAL, ROWS, STATIC
from tinygen.ir import Graph, Shape, Tensor
from tinygen.layer_text import Pointers
from tinygen.ops.common import shape_text

_FUNCTIONS = {STATIC: "{}_{}", EXTERNAL: "{}_set_{}", ROWS: "{}_feed_row"}
"""What the application calls to get at an input or output, from the library's name and the port's."""


def ports_of(
    graph: Graph, names: Sequence[str], axes: Sequence[Shape | None], prefix: str, role: str, memory: str
) -> tuple[manifest.Port, ...]:
    """The tensors `names` as the manifest has them; `role` is "input" or "output", `memory` whose they are."""
    ports = []
    for index, name in enumerate(names):
        tensor = graph.tensors[name]
        suffix = f"_{index}" if len(names) > 1 else ""
        quantised = tensor.quant is not None and tensor.dtype.kind in "iu"
        ports.append(
            manifest.Port(
                name=name,
                symbol=_FUNCTIONS[memory].format(prefix, f"{role}{suffix}"),
                memory=memory,
                dtype=str(tensor.dtype),
                shape=tensor.shape,
                axes=axes[index] if axes else None,
                scale=float(tensor.quant.scale[0]) if tensor.quant is not None and quantised else None,
                zero_point=int(tensor.quant.zero_point[0]) if tensor.quant is not None and quantised else None,
                bytes=tensor.bytes,
            )
        )
    return tuple(ports)


def port_texts(
    ports: Sequence[manifest.Port], graph: Graph, pointers: Pointers, prefix: str, role: str
) -> list[dict[str, object]]:
    """The same as the templates of header and source have them."""
    variables = [f"{role}_{index}" if len(ports) > 1 else role for index in range(len(ports))]
    return [
        {
            **_port_text(port, graph.tensors[port.name]),
            "macro": f"{prefix}_{variable}".upper(),
            "variable": variable,
            "pointer": pointers.public(port.name),
        }
        for port, variable in zip(ports, variables, strict=True)
    ]


def _port_text(port: manifest.Port, tensor: Tensor) -> dict[str, object]:
    usage = f"{C_TYPES[port.dtype]}[{tensor.elements}], {shape_text(tensor.shape)}"
    if port.axes is not None:
        usage += f" (the file's dimensions {', '.join(map(str, port.axes))})"
    if port.scale is not None:
        usage += f", scale {float(str(tensor.quant.scale[0] if tensor.quant else 0))!r}, zero point {port.zero_point}"
    return {
        "symbol": port.symbol,
        "memory": port.memory,
        "c_type": C_TYPES[port.dtype],
        "usage": usage,
        "elements": tensor.elements,
        "bytes": port.bytes,
        "shape": port.shape or (1,),
        "scale": c_text.float_literal(port.scale) if port.scale is not None else "",
        "zero_point": port.zero_point,
    }
