"""Interpreters as scripts use them, and what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from building import DIGITS
from tflite_builder import add_signature, build_case, build_object, pack

from tinygen import pipeline
from tinygen.interpreter import BACKENDS
from tinygen.ir import Array
from tinygen.ops import add, svdf

HOST = tuple(backend for backend in BACKENDS if backend != "board")
MODEL = DIGITS / "digits.tflite"


def images(count: int) -> Array:
    """int8 (count, 8, 8, 1)."""
    with np.load(DIGITS / "digits_test.npz") as arrays:
        return np.asarray(arrays["inputs"][:count])


def stateful() -> bytes:
    """A model of one layer with a memory."""
    return build_case(svdf.cases()[0])


def as_scripts_do(interpreter: Any, inputs: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """The outputs of each step, by the methods that evaluation scripts use."""
    interpreter.allocate_tensors()
    found = []
    for arrays in inputs:
        for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(details["index"], array)
        interpreter.invoke()
        found.append([interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()])
    return found


def same(found: Sequence[Sequence[Array]], expected: Sequence[Sequence[Array]]) -> bool:
    return all(
        ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()
        for our_step, their_step in zip(found, expected, strict=True)
        for ours, theirs in zip(our_step, their_step, strict=True)
    )


def signed() -> bytes:
    """A model of two inputs with a signature, whose names are not the tensors'."""
    case = add.cases()[0]
    model = build_object([*case.inputs, *case.outputs], [(case.op, [0, 1], [2], case.options)], [0, 1], [2])
    add_signature(model, "serving_default", {"right": 1, "left": 0}, {"sum": 2})
    return pack(model)


def random_steps(content: bytes, count: int) -> list[list[Array]]:
    graph = pipeline.decode(content, "model.tflite").graph
    rng = np.random.default_rng(1)
    found = []
    for _ in range(count):
        tensors = [graph.tensors[name] for name in graph.inputs]
        infos = [np.iinfo(tensor.dtype) for tensor in tensors]
        found.append(
            [
                rng.integers(info.min, info.max, tensor.shape, tensor.dtype, endpoint=True)
                for tensor, info in zip(tensors, infos, strict=True)
            ]
        )
    return found
