"""Models of several operators in the making: by hand, and random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tflite_builder import OperatorSpec, build_model

from tinygen.ops.case import CaseTensor

Shape = tuple[int, ...]


@dataclass
class Network:
    """A model in the making; operators return the id of the tensor that they write."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    tensors: list[CaseTensor] = field(default_factory=list)
    operators: list[OperatorSpec] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: Sequence[int] = ()

    def input(self, shape: Shape, dtype: str = "int8") -> int:
        self.inputs.append(self._activation(shape, dtype))
        return self.inputs[-1]

    def constant(self, shape: Shape) -> int:
        data = self.rng.integers(-128, 128, shape, np.int8)
        return self._add(CaseTensor(shape, scale=0.1, zero_point=3, data=data))

    def reshape(self, x: int, shape: Shape) -> int:
        return self._run("RESHAPE", [x], shape, {"new_shape": shape})

    def flatten(self, x: int) -> int:
        return self.reshape(x, (1, self.elements(x)))

    def concatenate(self, parts: Sequence[int], axis: int) -> int:
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self._run("CONCATENATION", parts, tuple(shape), {"axis": axis})

    def slice(self, x: int, axis: int, begin: int, size: int) -> int:
        shape = self.shape(x)
        begins = [begin if index == axis else 0 for index in range(len(shape))]
        sizes = [size if index == axis else dim for index, dim in enumerate(shape)]
        return self._run("SLICE", [x, self.integers(begins), self.integers(sizes)], tuple(sizes), {})

    def split(self, x: int, axis: int, count: int) -> list[int]:
        shape = list(self.shape(x))
        shape[axis] //= count
        outputs = [self._activation(tuple(shape)) for _ in range(count)]
        axis_tensor = self._add(CaseTensor((), "int32", data=np.array(axis, np.int32)))
        self.operators.append(("SPLIT", [axis_tensor, x], outputs, {"num_splits": count}))
        return outputs

    def pack(self, parts: Sequence[int]) -> int:
        shape = (len(parts), *self.shape(parts[0]))
        return self._run("PACK", parts, shape, {"values_count": len(parts), "axis": 0})

    def unpack(self, x: int) -> list[int]:
        outputs = [self._activation(self.shape(x)[1:]) for _ in range(self.shape(x)[0])]
        self.operators.append(("UNPACK", [x], outputs, {"num": len(outputs), "axis": 0}))
        return outputs

    def variable(self, name: str) -> int:
        handle = self._add(CaseTensor((1,), "resource"))
        self.operators.append(("VAR_HANDLE", [], [handle], {"shared_name": name}))
        return handle

    def read(self, variable: int, shape: Shape) -> int:
        return self._run("READ_VARIABLE", [variable], shape, {})

    def assign(self, variable: int, value: int) -> None:
        self.operators.append(("ASSIGN_VARIABLE", [variable, value], [], {}))

    def integers(self, values: Sequence[int]) -> int:
        return self._add(CaseTensor((len(values),), "int32", data=np.array(values, np.int32)))

    def add(self, a: int, b: int) -> int:
        return self._run("ADD", [a, b], self.shape(a), {})

    def max_pool(self, x: int) -> int:
        """3x3 with overlapping windows: it reads neighbours long after it wrote the first pixel."""
        sides = {"filter_height": 3, "filter_width": 3, "stride_h": 1, "stride_w": 1, "padding": "SAME"}
        return self._run("MAX_POOL_2D", [x], self.shape(x), sides)

    def conv(self, x: int, filters: int, size: int = 3) -> int:
        options = {"stride_h": 1, "stride_w": 1, "padding": "SAME"}
        weights = self._weights((filters, size, size, self.shape(x)[3]))
        return self._run("CONV_2D", [x, weights], (*self.shape(x)[:3], filters), options)

    def dense(self, x: int, units: int) -> int:
        return self._run("FULLY_CONNECTED", [x, self._weights((units, self.elements(x)))], (1, units), {})

    def quantize(self, x: int) -> int:
        return self._run("QUANTIZE", [x], self.shape(x), {})

    def dequantize(self, x: int) -> int:
        return self._run("DEQUANTIZE", [x], self.shape(x), {}, "float32")

    def shape(self, tensor: int) -> Shape:
        return self.tensors[tensor].shape

    def elements(self, tensor: int) -> int:
        return int(np.prod(self.shape(tensor)))

    def file(self) -> bytes:
        return build_model(self.tensors, self.operators, self.inputs, self.outputs)

    def _weights(self, shape: Shape) -> int:
        return self._add(CaseTensor(shape, scale=0.01, data=self.rng.integers(-127, 128, shape, np.int8)))

    def _activation(self, shape: Shape, dtype: str = "int8") -> int:
        quantised = dtype == "int8"
        return self._add(CaseTensor(shape, dtype, scale=0.1 if quantised else None, zero_point=3 if quantised else 0))

    def _add(self, tensor: CaseTensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _run(
        self, op: str, inputs: Sequence[int], shape: Shape, options: Mapping[str, object], dtype: str = "int8"
    ) -> int:
        output = self._activation(shape, dtype)
        self.operators.append((op, inputs, [output], options))
        return output


def random_network(seed: int) -> Network:
    """Some operators on tensors drawn from all that are there, old ones as readily as new ones."""
    rng = np.random.default_rng(seed)
    net = Network(rng)
    for _ in range(rng.integers(1, 3)):
        net.input((1, int(rng.integers(2, 5)), int(rng.integers(2, 5)), int(rng.integers(1, 7))))
    written = list(net.inputs)
    variables: list[tuple[int, Shape]] = []
    for _ in range(rng.integers(0, 3)):
        shape = net.shape(int(rng.choice(written)))
        variables.append((net.variable(f"variable {len(variables)}"), shape))
        written.append(net.read(*variables[-1]))
    for _ in range(rng.integers(3, 11)):
        x = int(rng.choice(written))
        alike = [other for other in written if net.shape(other) == net.shape(x)]
        image = len(net.shape(x)) == 4
        choices = ["flatten", "dense", "add", "add", "join", "slice"] + ["conv", "conv", "max_pool", "split"] * image
        kind = rng.choice(choices)
        if kind == "join":
            parts = [int(part) for part in rng.choice(alike, rng.integers(1, 4))]
            written.append(net.concatenate(parts, int(rng.integers(len(net.shape(x))))))
        elif kind == "slice":
            axis = int(rng.integers(len(net.shape(x))))
            begin = int(rng.integers(net.shape(x)[axis]))
            written.append(net.slice(x, axis, begin, int(rng.integers(1, net.shape(x)[axis] - begin + 1))))
        elif kind == "split":
            axis = int(rng.integers(1, 4))
            written += net.split(x, axis, net.shape(x)[axis])
        elif kind == "add":
            written.append(net.add(x, int(rng.choice(alike))))
        elif kind == "conv":
            written.append(net.conv(x, int(rng.integers(1, 7)), int(rng.choice([1, 3]))))
        elif kind == "dense":
            written.append(net.dense(x, int(rng.integers(1, 30))))
        elif kind == "flatten":
            flat = (1, 1, 1, net.elements(x)) if rng.random() < 0.5 else (1, net.elements(x))
            written.append(net.reshape(x, flat))
        else:
            written.append(net.max_pool(x))
    for variable, shape in variables:
        net.assign(variable, int(rng.choice([tensor for tensor in written if net.shape(tensor) == shape])))
    read = {tensor for _, inputs, _, _ in net.operators for tensor in inputs}
    loose = [tensor for tensor in written if tensor not in read and rng.random() < 0.8]
    kept = [tensor for tensor in written if rng.random() < 0.15]
    net.outputs = list(dict.fromkeys([*loose, *kept])) or [written[-1]]
    rng.shuffle(net.outputs)
    net.outputs = [int(tensor) for tensor in net.outputs]
    return net
