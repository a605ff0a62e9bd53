"""Float .tflite models through ai-edge-quantizer: the program behind EDGE_QUANTIZER.

    python -m tinygen.quantize.with_edge_quantizer FLOAT.tflite INT8.tflite CALIBRATION.npz [TENSOR...]

The data are arrays (samples, *shape), called "0", "1", ... in the order of the model's inputs. Operators that write a
TENSOR have activations of int16.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tinygen.ir import Array
from tinygen.quantize.programs import Program

Ranges = Mapping[str, Mapping[str, Array]]

EDGE_QUANTIZER = Program(
    module="tinygen.quantize.with_edge_quantizer",
    title="ai-edge-quantizer",
    needs="ai_edge_quantizer",
    extra="tflite",
)


_KEY = "serving_default"


def _main(source: Path, out: Path, calibration: Path, int16: Sequence[str]) -> None:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    model = _signed(source)
    interpreter = Interpreter(model_content=model)
    key = next(iter(interpreter.get_signature_list()))
    arrays = np.load(calibration)
    details = interpreter.get_signature_runner(key).get_input_details()
    position = {detail["index"]: str(at) for at, detail in enumerate(interpreter.get_input_details())}
    columns = {name: arrays[position[detail["index"]]] for name, detail in details.items()}
    count = len(next(iter(columns.values())))
    samples = ({name: array[index] for name, array in columns.items()} for index in range(count))
    made = quantizer.Quantizer(model, recipe.static_wi8_ai8())
    for tensor in int16:
        made.add_static_config(re.escape(tensor), "*", activation_num_bits=16, weight_num_bits=8)
    # One by one, because over many it takes a moving average, which leaves out what is rare.
    ranges = functools.reduce(_wider, (made.calibrate({key: [sample]}) for sample in samples))
    out.write_bytes(bytes(made.quantize(ranges).quantized_model))


def _signed(source: Path) -> bytes:
    """The model with a signature, without which nothing is quantised: older converters write none."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(source)
    if model.signatureDefs:
        return source.read_bytes()
    graph, signature = model.subgraphs[0], schema.SignatureDefT()
    signature.signatureKey = _KEY
    signature.inputs, signature.outputs = (
        [schema.TensorMapT(name=f"{role}_{at}", tensorIndex=int(index)) for at, index in enumerate(indices)]
        for role, indices in (("input", graph.inputs), ("output", graph.outputs))
    )
    model.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _wider(ranges: Ranges, other: Ranges) -> Ranges:
    """What contains both: for each tensor the least "min" and the greatest "max"."""
    return {
        name: {"min": np.minimum(found["min"], other[name]["min"]), "max": np.maximum(found["max"], other[name]["max"])}
        if {"min", "max"} <= found.keys() & other[name].keys()
        else found
        for name, found in ranges.items()
    }


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
