"""ONNX files that are cut off, or damaged at random: read, or refused with a message, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from test_onnx_errors import integer_net, small_net

from tinygen import pipeline
from tinygen.errors import ModelError


@pytest.mark.parametrize("make", [small_net, integer_net])
def test_cut_files(make: Callable[[], onnx.ModelProto]) -> None:
    data = make().SerializeToString()
    for size in range(0, len(data), 37):
        with pytest.raises(ModelError) as caught:
            pipeline.decode(data[:size], "net.onnx")
        assert "net.onnx" in str(caught.value)


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(changed) - 8)
        kind = rng.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.randrange(256)
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 4)]
        else:
            changed[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 4)))
    return bytes(changed)


ODD = [0, 1, -1, 2, 3, 7, 127, 2**31, -(2**31), 2**62, -(2**63)]
OPERATORS = [
    "Conv",
    "MatMul",
    "Add",
    "Relu",
    "Reshape",
    "Softmax",
    "AveragePool",
    "Concat",
    "Slice",
    "Expand",
    "Resize",
]


def rewired(data: bytes, rng: random.Random) -> bytes:
    """The same model with other inputs, attributes, shapes, types or operators."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    names = [value.name for value in graph.initializer] + [name for found in graph.node for name in found.output]
    for _ in range(rng.choice([1, 1, 2, 3])):
        chosen, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
        kind = rng.randrange(7)
        if kind == 0 and chosen.input:
            chosen.input[rng.randrange(len(chosen.input))] = rng.choice([*names, "", "x"])
        elif kind == 1 and chosen.input:
            del chosen.input[rng.randrange(len(chosen.input))]
        elif kind == 2 and chosen.attribute:
            given = rng.choice(chosen.attribute)
            if given.ints:
                given.ints[rng.randrange(len(given.ints))] = rng.choice(ODD)
            else:
                given.i = rng.choice(ODD)
        elif kind == 3 and tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(ODD)
        elif kind == 4:
            tensor.data_type = rng.randrange(24)
        elif kind == 5:
            graph.input[0].type.tensor_type.shape.dim[rng.randrange(4)].dim_value = rng.choice(ODD)
        else:
            chosen.op_type = rng.choice(OPERATORS)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("damage", [damaged_bytes, rewired])
@pytest.mark.parametrize("make", [small_net, integer_net])
def test_damaged_models_are_read_or_refused(
    make: Callable[[], onnx.ModelProto], damage: Callable[[bytes, random.Random], bytes], tmp_path: Path
) -> None:
    data = make().SerializeToString()
    rng = random.Random(f"{make.__name__} {damage.__name__}")
    read_as_models, count = 0, 250
    for index in range(count):
        changed = damage(data, rng)
        try:
            pipeline.decode(changed, "net.onnx")
            read_as_models += 1
        except ModelError as error:
            assert "net.onnx" in str(error)
        except Exception as error:
            keep = tmp_path / f"damaged-{index}.onnx"
            keep.write_bytes(changed)
            error.add_note(f"mutation {index}: {keep}")
            raise
    assert count // 40 < read_as_models < count  # else the damage is too strong or too weak to say anything
