"""Small TensorFlow Lite files to read, and how they are refused when something is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_builder import add_signature, build_case, build_object, pack
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as oracle

from tinygen.errors import InvalidModel
from tinygen.importers.tflite_file import read_tflite
from tinygen.ops.case import Case, CaseTensor

SOURCE = "some/model.tflite"


def conv_case() -> Case:
    """A convolution with per-channel weights: a small file with constants, scales, options and names."""
    weights = np.arange(3 * 2 * 2 * 2, dtype=np.int8).reshape(3, 2, 2, 2)
    scales = (0.01, 0.02, 0.03)
    return Case(
        "conv",
        "CONV_2D",
        (
            CaseTensor((1, 4, 5, 2), scale=0.1, zero_point=-3),
            CaseTensor((3, 2, 2, 2), scale=scales, data=weights),
            CaseTensor((3,), "int32", scale=(0.001, 0.002, 0.003), data=np.array([7, -8, 9], np.int32)),
        ),
        (CaseTensor((1, 2, 3, 3), scale=0.5, zero_point=4),),
        {"padding": "SAME", "stride_h": 2, "stride_w": 2, "fused_activation_function": "RELU6"},
    )


def conv_object() -> oracle.ModelT:
    """conv_case as an object tree, to be broken and packed."""
    case = conv_case()
    return build_object([*case.inputs, *case.outputs], [("CONV_2D", [0, 1, 2], [3], case.options)], [0], [3])


def chain() -> bytes:
    """Several operators, with options of every kind: vectors, strings, floats, enumerations."""
    x, resource = CaseTensor((1, 8), scale=0.1), CaseTensor((), "resource")
    weights = CaseTensor((8, 8), scale=0.05, data=np.ones((8, 8), np.int8))
    model = build_object(
        [x, weights, x, CaseTensor((1, 2, 4), scale=0.1), CaseTensor((1, 2, 4), scale=0.1), resource],
        [
            ("FULLY_CONNECTED", [0, 1, -1], [2], {"fused_activation_function": "RELU", "keep_num_dims": True}),
            ("RESHAPE", [2], [3], {"new_shape": (1, 2, 4)}),
            ("LEAKY_RELU", [3], [4], {"alpha": 0.25}),
            ("VAR_HANDLE", [], [5], {"container": "", "shared_name": "state"}),
            ("CUSTOM:detect", [4], [4], {}),
        ],
        inputs=[0],
        outputs=[4],
        names=["in", "weights/é", "dense", "shape", "out", "state"],
    )
    add_signature(model, "serving_default", {"audio": 0}, {"scores": 4, "dense": 2})
    return pack(model)


SMALL_MODELS = {"conv": lambda: build_case(conv_case()), "chain": chain}


def refused(data: bytes) -> InvalidModel:
    with pytest.raises(InvalidModel) as caught:
        read_tflite(data, SOURCE)
    assert caught.value.message.startswith(f"{SOURCE}: ")
    assert caught.value.remedy
    return caught.value
