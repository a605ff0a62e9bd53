"""Float ONNX models through ONNX Runtime's quantisation tools."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinygen.errors import ToolFailed
from tinygen.importers.onnx_operators import CONVERTERS
from tinygen.ir import Array
from tinygen.quantize.job import Choices
from tinygen.quantize.programs import expect_package

_ERRORS = 3
"""Of its C++ logger's severities: warnings are 2."""
_EDGES = {"QuantizeLinear", "DequantizeLinear"}
SCALED_INPUT = "_QuantizeLinear_Input"
"""What ONNX Runtime appends to the name of an output where it is not yet quantised."""


def expect() -> None:
    """Raises ToolMissing where ONNX Runtime is not installed."""
    expect_package("onnxruntime", "ONNX Runtime", "onnx")


def simplified(model: Any, folder: Path) -> Any:
    """The prepared float model as quantising begins with it: normalisations folded into convolutions, shapes inferred.

    Raises ToolFailed.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, target = folder / "prepared.onnx", folder / "float.onnx"
    onnx.save(model, source)
    try:
        with _quiet():
            # Shapes are fixed, so that symbols have nothing to find.
            quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    except Exception as error:  # its tools raise whatever they meet
        raise failed("prepare the model", error) from None
    return onnx.load(target)


def to_int8(model: Any, calibration: Mapping[str, Array], folder: Path, choices: Choices) -> Any:
    """An int8 model in QDQ form, with int8 edges or float32 ones, from a simplified one. Raises ToolFailed.

    `calibration` has for each input an array (samples, *shape). Weights are symmetric, with a scale for each channel.
    Between float32 edges, activations are uint8: on x86-64, ONNX Runtime computes on nothing else, and leaves operators
    in float whose int8 it cannot make that of.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            columns = zip(*calibration.values(), strict=True)
            self._samples = (dict(zip(calibration, arrays, strict=True)) for arrays in columns)

        def get_next(self) -> Mapping[str, Array] | None:
            return next(self._samples, None)

    source, target = folder / "to_quantise.onnx", folder / "qdq.onnx"
    onnx.save(model, source)
    percentile = choices.percentile
    try:
        with _quiet():
            quantize_static(
                str(source),
                str(target),
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=False,
                activation_type=QuantType.QInt8 if choices.int8_edges else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=sorted({*QDQRegistry, *QLinearOpsRegistry, *CONVERTERS} - _EDGES),
                calibrate_method=CalibrationMethod.MinMax if percentile is None else CalibrationMethod.Percentile,
                extra_options={} if percentile is None else {"CalibPercentile": percentile},
            )
    except Exception as error:  # its tools raise whatever they meet
        raise failed("quantise the model", error) from None
    made = onnx.load(target)
    return _tidied(int8_edges(made) if choices.int8_edges else made)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Its tools print and log what they do, and tracebacks of what fails: what matters of it, they raise."""
    import onnxruntime

    level = logging.root.manager.disable
    onnxruntime.set_default_logger_severity(_ERRORS)
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)


def int8_edges(model: Any) -> Any:
    """The model with int8 inputs and outputs, wherever all that reads one quantises it, and what writes one scales it.

    Names stay: what was called x in float is called x in int8. ONNX Runtime on x86-64 computes on uint8, and cannot
    make that of int8 edges: the first and the last operators then stay in float there.
    """
    import onnx

    graph = model.graph
    for value in graph.input:
        readers = [node for node in graph.node if value.name in node.input]
        if readers and all(node.op_type == "QuantizeLinear" for node in readers):
            alike = {tuple(node.input[1:]) for node in readers}
            if len(alike) == 1:
                for node in readers:
                    _rename(graph, node.output[0], value.name)
                    graph.node.remove(node)
                value.type.tensor_type.elem_type = onnx.TensorProto.INT8
    outputs = {value.name for value in graph.output}
    for value in graph.output:
        scaling = next(node for node in graph.node if value.name in node.output)
        written = {name for node in graph.node for name in node.output} - outputs
        if scaling.op_type == "DequantizeLinear" and scaling.input[0] in written:
            inner = scaling.input[0]
            graph.node.remove(scaling)
            _rename(graph, inner, value.name)
            value.type.tensor_type.elem_type = onnx.TensorProto.INT8
    return model


def _tidied(model: Any) -> Any:
    """Without shapes of names that are gone, and domains that nothing is of: its optimiser lists all that it knows."""
    del model.graph.value_info[:]
    used = {node.domain or "" for node in model.graph.node}
    for opset in [opset for opset in model.opset_import if opset.domain not in used]:
        model.opset_import.remove(opset)
    return model


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def failed(what: str, error: Exception) -> ToolFailed:
    """The error of ONNX Runtime's that says what it could not do, and why."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return ToolFailed(
        f"ONNX Runtime could not {what}: {type(error).__name__}{': ' + said if said else ''}",
        "Does the model run in ONNX Runtime? If it does, simplify it (onnxsim), or quantise it with tools of your own.",
    )
