"""Models with something wrong in them are built or refused, never worse; what is built of them is exact."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from building import BOARD, DIGITS, build_bytes, differences, host, varied
from operator_cases import NAMED
from test_import_errors import POOL, ROW, X, read
from tflite_builder import build_case, build_model, build_object, pack

from tinygen import pipeline, reference
from tinygen.errors import ModelError, TinygenError
from tinygen.ir import Graph
from tinygen.ops.case import CaseTensor
from tinygen.ops.window import Window

PER_TENSOR = NAMED["conv_2d-per_tensor"]

# --- quantisation that makes no sense --------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, -0.1, float("nan"), float("inf"), -float("inf"), 1e-45])
@pytest.mark.parametrize("tensor", ["input", "filter", "output"])
def test_scales_that_are_no_scales(tensor: str, scale: float, tmp_path: Path) -> None:
    tensors = [each for each in (*PER_TENSOR.inputs, *PER_TENSOR.outputs) if each is not None]
    model = build_object(tensors, [("CONV_2D", [0, 1, 2], [3], PER_TENSOR.options)], [0], [3])
    index = {"input": 0, "filter": 1, "output": 3}[tensor]
    model.subgraphs[0].tensors[index].quantization.scale = [scale]
    data = pack(model)
    if scale == 1e-45 and tensor != "output":
        survive(data, tmp_path)  # tiny, but a number: every accumulator becomes the zero point
        return
    with pytest.raises(ModelError):
        read(data, tmp_path)


# --- damage ----------------------------------------------------------------------------------------------------------

LARGEST_RUN = 1 << 18
"""Elements and multiplications beyond which the reference is not run."""


def work(graph: Graph) -> int:
    """What the reference touches, roughly: tensors, multiplications, padded images under each tap."""
    total = sum(tensor.elements for tensor in graph.tensors.values()) + sum(map(graph.macs, graph.nodes))
    for node in graph.nodes:
        window = getattr(node.op, "window", None)
        if isinstance(window, Window):
            _, height, width, channels = graph.tensors[node.inputs[0]].shape
            rows, columns = window.rows, window.columns
            padded = (height + rows.before + rows.after) * (width + columns.before + columns.after) * channels
            total += padded + window.taps * graph.tensors[node.outputs[0]].elements
    return total


def survive(data: bytes, folder: Path) -> bool:
    """Import, passes and build succeed, and then the reference runs too, or they say what is wrong."""
    try:
        model = read(data, folder)
        pipeline.build(model, BOARD)
    except TinygenError as error:
        assert error.message
        return False
    graph = model.graph
    if work(graph) < LARGEST_RUN:
        rng = np.random.default_rng(0)
        arrays = []
        for name in graph.inputs:
            tensor = graph.tensors[name]
            arrays.append(rng.integers(-128, 128, tensor.shape).astype(tensor.dtype))
        reference.evaluate(graph, arrays)
    return True


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to three small changes: bits, bytes, and integers that mean something special."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        kind = rng.randrange(3)
        at = rng.randrange(len(damaged) - 8)
        if kind == 0:
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            damaged[at] = rng.choice([0, 1, 2, 3, 4, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        else:
            value = rng.choice([0, 1, -1, 2, 7, 128, -128, 255, 65_536, 2**31 - 1, -(2**31), rng.randrange(100)])
            struct.pack_into("<i", damaged, at & ~3, value)
    return bytes(damaged)


def small_chain() -> bytes:
    """Several operators in a small file, so that most bytes mean something."""
    filters = CaseTensor((2, 1, 1, 2), scale=0.02, data=np.array([1, -2, 3, 4], np.int8).reshape(2, 1, 1, 2))
    units = CaseTensor((2, 8), scale=0.03, data=np.arange(16, dtype=np.int8).reshape(2, 8))
    pooled = dataclasses.replace(X, shape=(1, 2, 2, 2))
    probability = CaseTensor((1, 2), scale=1 / 256, zero_point=-128)
    return build_model(
        [X, filters, X, X, pooled, ROW, units, CaseTensor((1, 2), scale=0.1), probability],
        [
            ("CONV_2D", [0, 1], [2], {"stride_h": 1, "stride_w": 1, "fused_activation_function": "RELU6"}),
            ("ADD", [0, 2], [3], {}),
            ("AVERAGE_POOL_2D", [3], [4], POOL),
            ("RESHAPE", [4], [5], {"new_shape": (1, 8)}),
            ("FULLY_CONNECTED", [5, 6], [7], {}),
            ("SOFTMAX", [7], [8], {"beta": 1.0}),
        ],
        [0],
        [8],
    )


VICTIMS: dict[str, tuple[Callable[[], bytes], int]] = {
    "conv": (lambda: build_case(PER_TENSOR), 300),
    "depthwise": (lambda: build_case(NAMED["depthwise_conv_2d-dilated"]), 300),
    "chain": (small_chain, 400),
    "digits": ((DIGITS / "digits.tflite").read_bytes, 80),
}


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_models_are_built_or_refused(victim: str, seed: int, tmp_path: Path) -> None:
    make, count = VICTIMS[victim]
    data = make()
    assert survive(data, tmp_path)
    rng = random.Random(f"{victim} {seed}")
    survived = 0
    for index in range(count // 2):
        damaged = mutated(data, rng)
        try:
            survived += survive(damaged, tmp_path)
        except Exception as error:
            keep = tmp_path / f"damaged-{index}.tflite"
            keep.write_bytes(damaged)
            error.add_note(f"mutation {index} of {victim}, seed {seed}: {keep}")
            raise
    # Else the mutations are too strong or too weak to say anything.
    assert count // 40 < survived < count // 2


@pytest.mark.parametrize("victim", ["conv", "depthwise", "chain"])
def test_damaged_models_that_are_built_are_exact(victim: str, tmp_path: Path) -> None:
    """Odd quantisation, windows and wiring that no converter writes, but that were accepted."""
    data = VICTIMS[victim][0]()
    rng = random.Random(f"exact {victim}")
    accepted: dict[bytes, bytes] = {}  # by the C that they become
    while len(accepted) < 12:
        damaged = mutated(data, rng)
        with contextlib.suppress(TinygenError):
            model = read(damaged, tmp_path)
            library = b"".join(
                content.replace(model.sha256.encode(), b"")
                for path, content in pipeline.build(model, BOARD).files.items()
                if path.endswith((".c", ".inc"))
            )
            if work(model.graph) < LARGEST_RUN:
                accepted.setdefault(library, damaged)
    for index, damaged in enumerate(accepted.values()):
        built = build_bytes(damaged, tmp_path / str(index))
        assert differences(built, varied(built, 4), host(built)) == []
