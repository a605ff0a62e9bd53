"""ONNX files that say what cannot be: a message with file, place and remedy, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from onnx_nets import Net

from tinygen import pipeline
from tinygen.cli.entry import app
from tinygen.errors import InvalidModel, ModelError, TinygenError, UnsupportedModel, UsageError
from tinygen.options import LITERT, TFLM, Options


def small_net() -> onnx.ModelProto:
    """Conv, MaxPool and Gemm in QDQ form."""
    net = Net([1, 2, 6, 6], 9)
    x = net.quantised("x", 0.02, 3)
    y = net.quantised(net.add("Relu", net.add("Conv", x, net.weights(3, 2, 3, 3, scale=[0.1, 0.2, 0.3]))), 0.3, -128)
    y = net.quantised(net.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 0.3, -128)
    y = net.add(
        "Gemm", net.add("Flatten", y), net.weights(5, 12), net.weights(5, scale=0.003, dtype=np.int32), transB=1
    )
    return onnx.load_model_from_string(net.model(net.quantised(y, 0.5, 1)))


def integer_net() -> onnx.ModelProto:
    """QLinearConv, and ONNX Runtime's QLinearAdd."""
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.1),
        "z": np.uint8(128),
        "w": rng.integers(-128, 128, (4, 2, 1, 1)).astype(np.int8),
        "ws": rng.random(4, np.float32),
        "wz": np.zeros(4, np.int8),
        "b": rng.integers(-999, 999, 4).astype(np.int32),
    }
    nodes = [
        helper.make_node("QLinearConv", ["x", "s", "z", "w", "ws", "wz", "s", "z", "b"], ["t"]),
        helper.make_node("QLinearAdd", ["t", "s", "z", "t", "s", "z", "s", "z"], ["y"], domain="com.microsoft"),
    ]
    values = [
        helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 2, 4, 4]),
        helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 4, 4, 4]),
    ]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], tensors)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def read(model: onnx.ModelProto, options: Options | None = None) -> pipeline.Model:
    return pipeline.decode(model.SerializeToString(), "net.onnx", options)


def node(model: onnx.ModelProto, op: str) -> onnx.NodeProto:
    return next(found for found in model.graph.node if found.op_type == op)


def constant(model: onnx.ModelProto, kind: int, rank: int) -> onnx.TensorProto:
    return next(found for found in model.graph.initializer if found.data_type == kind and len(found.dims) == rank)


Change = Callable[[onnx.ModelProto], object]


def attribute(op: str, name: str, value: object) -> Change:
    def change(model: onnx.ModelProto) -> None:
        found = node(model, op)
        kept = [given for given in found.attribute if given.name != name]
        del found.attribute[:]
        found.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def cycle(model: onnx.ModelProto) -> None:
    node(model, "Conv").input[0] = node(model, "Gemm").output[0]


def dangling(model: onnx.ModelProto) -> None:
    node(model, "Conv").input[0] = "nowhere"


def twice_written(model: onnx.ModelProto) -> None:
    model.graph.node.append(model.graph.node[0])


def missing_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer.remove(constant(model, TensorProto.INT8, 4))


def short_constant(model: onnx.ModelProto) -> None:
    constant(model, TensorProto.INT8, 4).dims[0] = 4


def vast_constant(model: onnx.ModelProto) -> None:
    constant(model, TensorProto.INT8, 4).dims[0] = 2**62


def odd_constant(model: onnx.ModelProto) -> None:
    constant(model, TensorProto.INT8, 4).data_type = TensorProto.FLOAT8E4M3FN


def external(model: onnx.ModelProto) -> None:
    tensor = constant(model, TensorProto.INT8, 4)
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    tensor.ClearField("raw_data")


def wrong_rank(model: onnx.ModelProto) -> None:
    constant(model, TensorProto.INT8, 4).dims[:] = [3, 18]


def vast_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**40


def large_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2**20


def open_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def no_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def opset(version: int) -> Change:
    return lambda model: setattr(model.opset_import[0], "version", version)


def no_opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]


def domain(model: onnx.ModelProto) -> None:
    node(model, "MaxPool").domain = "org.example"
    model.opset_import.append(helper.make_opsetid("org.example", 1))


def unknown_operator(model: onnx.ModelProto) -> None:
    node(model, "MaxPool").op_type = "Magic"


def subgraph(model: onnx.ModelProto) -> None:
    node(model, "MaxPool").attribute.append(helper.make_attribute("body", model.graph))


def functions(count: int, *ends: onnx.NodeProto) -> Change:
    """Each one calls the next one twice; the last one has the nodes `ends`."""

    def change(model: onnx.ModelProto) -> None:
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        for index in range(count):
            called = f"f{index + 1}"
            twice = [helper.make_node(called, [a], [b], domain="local") for a, b in (("a", "c"), ("c", "b"))]
            nodes = twice if index + 1 < count else list(ends)
            model.functions.append(helper.make_function("local", f"f{index}", ["a"], ["b"], nodes, opsets))
        model.graph.node.append(helper.make_node("f0", ["x"], ["unread"], domain="local"))
        model.opset_import.append(opsets[1])

    return change


def same_function_twice(model: onnx.ModelProto) -> None:
    functions(1, helper.make_node("Relu", ["a"], ["b"]))(model)
    model.functions.append(model.functions[0])


RECURSION = helper.make_node("f0", ["a"], ["b"], domain="local")
CONDITION = helper.make_node("If", ["a"], ["b"], then_branch=onnx.GraphProto(), else_branch=onnx.GraphProto())


def no_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


def no_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def output_of_nobody(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nowhere"


def output_is_input(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "x"


INVALID: dict[str, tuple[Change, str]] = {
    "cycle": (cycle, "reads what is computed from its own result"),
    "dangling": (dangling, "'nowhere', which nothing writes"),
    "twice_written": (twice_written, "which is there already"),
    "missing_constant": (missing_constant, "which nothing writes"),
    "short_constant": (short_constant, "54 values, its shape"),
    "vast_constant": (vast_constant, "has the shape"),
    "odd_constant": (odd_constant, "float8e4m3fn"),
    "external": (external, "in another file, which is never opened"),
    "wrong_rank": (wrong_rank, "shapes do not fit together"),
    "vast_input": (vast_input, "has the shape"),
    "no_shape": (no_shape, "has no shape"),
    "old_opset": (opset(9), "opset 9, supported are 10 to"),
    "future_opset": (opset(999), "opset 999, supported are 10 to"),
    "no_opset": (no_opset, "names no opset"),
    "domain": (domain, "of the domain 'org.example'"),
    "unknown_operator": (unknown_operator, "breaks the rules of ONNX"),
    "subgraph": (subgraph, "holds a graph of its own"),
    "recursive_function": (functions(3, RECURSION), "its function 'f0' calls itself"),
    "vast_functions": (functions(40, helper.make_node("Relu", ["a"], ["b"])), "take more than 268,435,456 bytes"),
    "condition_in_function": (functions(2, CONDITION), "'If' holds a graph of its own"),
    "function_twice": (same_function_twice, "two of its functions have the same name"),
    "no_nodes": (no_nodes, "holds no graph"),
    "no_outputs": (no_outputs, "no outputs|breaks the rules"),
    "output_of_nobody": (output_of_nobody, "is never written"),
    "output_is_input": (output_is_input, "is an input, or a constant"),
    "attribute_type": (attribute("Conv", "strides", 2), "breaks the rules of ONNX"),
}


@pytest.mark.parametrize("name", INVALID)
def test_files_that_are_no_models(name: str) -> None:
    change, words = INVALID[name]
    model = small_net()
    change(model)
    with pytest.raises(InvalidModel, match=words) as caught:
        read(model)
    assert "net.onnx" in caught.value.message


def dynamic_scale(model: onnx.ModelProto) -> None:
    scale = next(name for name in node(model, "QuantizeLinear").input[1:2])
    values = [found for found in model.graph.initializer if found.name == scale]
    model.graph.initializer.remove(values[0])
    model.graph.input.append(helper.make_tensor_value_info(scale, TensorProto.FLOAT, []))


def negative_scale(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == node(model, "QuantizeLinear").input[1]:
            tensor.CopyFrom(numpy_helper.from_array(np.float32(-1), tensor.name))


def zero_point_of_another_type(model: onnx.ModelProto) -> None:
    weights = constant(model, TensorProto.INT8, 2).name
    zero_point = next(found.input[2] for found in model.graph.node if found.input[0] == weights)
    for tensor in model.graph.initializer:
        if tensor.name == zero_point:
            tensor.CopyFrom(numpy_helper.from_array(np.uint8(3), zero_point))


def float_between(model: onnx.ModelProto) -> None:
    """Relu's result is read by Resize, too."""
    conv = node(model, "Conv")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"))
    model.graph.node.append(helper.make_node("Resize", [conv.output[0], "", "twice"], ["extra"], mode="linear"))
    model.graph.output.append(helper.make_tensor_value_info("extra", TensorProto.FLOAT, [1, 3, 8, 8]))


def float_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones((3, 2, 3, 3), np.float32), "float"))
    node(model, "Conv").input[1] = "float"


def unsupported_operator(model: onnx.ModelProto) -> None:
    node(model, "MaxPool").op_type = "LpPool"


UNSUPPORTED: dict[str, tuple[Change, str, str]] = {
    "open_size": (open_size, "dimension 2 .height. has no size", "fixed size"),
    "large_input": (large_input, "elements are the limit", ""),
    "dynamic_scale": (dynamic_scale, "is computed at run time", "quantize_static"),
    "negative_scale": (negative_scale, "no positive float32", ""),
    "zero_point_of_another_type": (
        zero_point_of_another_type,
        "its zero point is uint8, its integers are int8",
        "type",
    ),
    "float_between": (float_between, "stays float32: no DequantizeLinear makes it", "op_types_to_quantize"),
    "float_weights": (float_weights, "is float32: no DequantizeLinear makes it", "tinygen quantize"),
    "unsupported_operator": (unsupported_operator, "LpPool: the operator is not supported", "take AveragePool"),
    "indices": (lambda model: node(model, "MaxPool").output.append("indices"), "is not supported|not known", ""),
    "groups": (attribute("Conv", "group", 2), "make no 2 groups", ""),
    "beta": (attribute("Gemm", "beta", 0.5), "its beta is 0.5", "multiply the bias"),
    "alpha": (attribute("Gemm", "alpha", 2.0), "its alpha is 2", "multiply the weights"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_models_that_cannot_be_built(name: str) -> None:
    change, words, remedy = UNSUPPORTED[name]
    model = small_net()
    change(model)
    with pytest.raises(UnsupportedModel, match=words) as caught:
        read(model)
    problems = caught.value.problems
    assert any(remedy in problem.remedy for problem in problems)
    assert all(problem.node for problem in problems)


def test_no_scale_at_all() -> None:
    model = integer_net()
    for tensor in model.graph.initializer:
        if tensor.name == "s":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(0, np.float32), "s"))
    with pytest.raises(ModelError, match=r"net\.onnx"):
        read(model)


def test_all_reasons_are_listed_at_once() -> None:
    model = small_net()
    for change in (UNSUPPORTED[name][0] for name in ("unsupported_operator", "groups", "beta")):
        change(model)
    with pytest.raises(UnsupportedModel) as caught:
        read(model)
    assert [problem.operator for problem in caught.value.problems] == ["Conv", "LpPool", "Gemm"]


def test_names_that_are_no_text() -> None:
    data = small_net().SerializeToString()
    name = b"c0"
    assert name in data
    with pytest.raises(InvalidModel, match="no text"):
        pipeline.decode(data.replace(name, b"\xff\xfe"), "net.onnx")


def test_the_command_line_says_it_in_words(tmp_path: Path) -> None:
    model = small_net()
    dangling(model)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    for words in (["build", str(path), "-o", str(tmp_path / "out")], ["inspect", str(path)]):
        result = CliRunner().invoke(app, words)
        assert isinstance(result.exception, TinygenError | SystemExit)
        assert not (tmp_path / "out").exists()


def test_profiles_of_other_formats_are_refused() -> None:
    for profile in (TFLM, LITERT):
        with pytest.raises(UsageError, match=f"no profile {profile} for .onnx models"):
            read(small_net(), Options(profile))


def test_a_fixed_batch_stays() -> None:
    with pytest.raises(UnsupportedModel, match="its batch is fixed at 1, not 4"):
        read(small_net(), Options(batch=4))


def test_models_that_cannot_be_built_can_be_looked_at(tmp_path: Path) -> None:
    model = small_net()
    unsupported_operator(model)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    rows = pipeline.outline(path)
    assert [row.operator for row in rows] == [found.op_type for found in model.graph.node]


def test_scales_of_channels_ask_for_a_newer_opset() -> None:
    """ONNX Runtime's quantize_static writes them into older files, too, which it then refuses itself."""
    model = small_net()
    model.opset_import[0].version = 11
    with pytest.raises(InvalidModel, match="axis for operator DequantizeLinear") as caught:
        read(model)
    assert "opset 13 or newer" in str(caught.value)


def test_windows_that_begin_behind_the_input_are_refused() -> None:
    net = Net([1, 3, 9, 9], 5)
    y = net.add(
        "AveragePool", net.quantised("x", 0.1, 3), kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1
    )
    with pytest.raises(UnsupportedModel, match=r"with ceil_mode .* ONNX Runtime makes \(5, 5\)") as caught:
        pipeline.decode(net.model(net.quantised(y, 0.1, 3)), "net.onnx")
    assert "ceil_mode 0" in caught.value.problems[0].remedy


@pytest.mark.parametrize("is_quantised", [False, True])
def test_recurrent_layers_say_what_to_do(is_quantised: bool) -> None:
    """Also in float models: quantising those would not help."""
    net = Net([5, 1, 4], 3)
    x = net.quantised("x", 0.05, 3) if is_quantised else "x"
    y = net.add("LSTM", x, net.random(1, 24, 4), net.random(1, 24, 6), net.random(1, 48), hidden_size=6)
    y = net.add("Gemm", net.add("Reshape", y, net.constant([5, 6], np.int64)), net.random(6, 3))
    with pytest.raises(UnsupportedModel, match="LSTM: it stays float32 when the model is quantised") as caught:
        pipeline.decode(net.model(net.quantised(y, 0.1, 3) if is_quantised else y), "net.onnx")
    assert any("unroll it" in problem.remedy for problem in caught.value.problems)


def test_functions_that_a_layer_reads_unquantised_say_so() -> None:
    net = Net([1, 4], 3)
    x = net.quantised("x", 0.05, 3)
    for op, words in (
        ("Elu", r"Gemm: .* \(Elu\) stays float32, and ONNX"),
        ("Relu", "Gemm: its input .* stays float32"),
    ):
        y = net.add("Gemm", net.add(op, x), net.weights(4, 3))
        with pytest.raises(UnsupportedModel, match=words):
            pipeline.decode(net.model(net.quantised(y, 0.1, 3)), "net.onnx")


def test_a_norm_that_is_split_up_is_named() -> None:
    """Not only the square that breaks the chain."""
    net = Net([1, 4, 6], 3)
    x = net.quantised("x", 0.05, 3)
    deviation = net.add("Sub", x, net.add("ReduceMean", x, axes=[-1]))
    variance = net.add("ReduceMean", net.add("Pow", deviation, net.constant(2)), axes=[-1])
    with pytest.raises(UnsupportedModel, match="Pow: it squares deviations from a mean") as caught:
        pipeline.decode(net.model(net.quantised(variance, 0.1, 3)), "net.onnx")
    assert "opset 17 or newer" in caught.value.problems[0].remedy
