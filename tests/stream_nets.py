"""Random models over windows of frames that can be computed frame by frame, and their streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from random_nets import Value
from row_nets import RowNet
from tflite_builder import build_model

from tinygen.ir import Array
from tinygen.manifest import Manifest
from tinygen.ops.case import CaseTensor
from tinygen.samples import Sample


class StreamNet(RowNet):
    """A model under construction whose layers see a few frames at a time, rows of (1, time, width, channels)."""

    def weights(self, shape: tuple[int, ...], axis: int) -> list[int]:
        """A filter and a bias that leave no output the same for most inputs."""
        rng, outputs = self.rng, shape[axis]
        scale = 0.03 / np.sqrt(np.prod(shape) / outputs)
        filters = CaseTensor(
            shape, "int8", scale=(scale,) * outputs, axis=axis, data=rng.integers(-127, 128, shape).astype(np.int8)
        )
        wide = "int64" if self.dtype == "int16" else "int32"
        data = rng.integers(-3000, 3000, outputs).astype(wide)
        bias = CaseTensor(data.shape, wide, scale=(scale * 0.05,) * outputs, data=data)
        self.tensors += [filters, bias]
        return [len(self.tensors) - 2, len(self.tensors) - 1]

    def seen(self, x: Value, **size: object) -> Value:
        """A convolution or a pool that pads nothing."""
        op = str(self.rng.choice(["CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D"]))
        return self.windowed(x, op, int(self.rng.integers(1, 7)), padding="VALID", **size)

    def some_frames(self, x: Value) -> Value:
        dilated = bool(self.rng.random() < 0.3)
        taps = int(self.rng.integers(1, 3 if dilated else 5))
        op = str(self.rng.choice(["CONV_2D", "DEPTHWISE_CONV_2D"]))
        size = {"kernel": (taps, int(self.rng.integers(1, 3))), "dilation": (2 if dilated else 1, 1)}
        return self.windowed(x, op, int(self.rng.integers(1, 7)), padding="VALID", **size)

    def crop(self, x: Value, first: int, count: int) -> Value:
        """Some rows."""
        begin, size = np.array([0, first, 0, 0], np.int32), np.array([1, count, *x.shape[2:]], np.int32)
        y = self.value((1, count, *x.shape[2:]), x.zero_point, self.tensors[x.id].scale)
        return self.append("SLICE", [x.id, self.constant(begin), self.constant(size)], y)

    def around(self, x: Value) -> Value:
        """Layers beside what they began with, which waits for them."""
        y = x
        for _ in range(int(self.rng.integers(1, 3))):
            y = self.windowed(y, "CONV_2D", x.shape[3], kernel=(int(self.rng.integers(1, 4)), 1), padding="VALID")
        lost = x.shape[1] - y.shape[1]
        late = self.crop(x, int(self.rng.integers(lost + 1)), y.shape[1])
        if self.rng.random() < 0.5:
            z = self.value(y.shape, scale=0.4)
            return self.append("ADD", [late.id, y.id], z, fused_activation_function="NONE")
        # CONCATENATION wants one scale.
        other = self.value((*y.shape[:3], 2 * y.shape[3]), x.zero_point, self.tensors[x.id].scale)
        same = self.crop(x, 0, y.shape[1])
        return self.append("CONCATENATION", [late.id, same.id], other, axis=3, fused_activation_function="NONE")

    def wide(self, x: Value) -> Value:
        """A border beside the frames, none before or after them."""
        amounts = np.array([[0, 0], [0, 0], [1, 1], [0, 0]], np.int32)
        shape = (*x.shape[:2], x.shape[2] + 2, x.shape[3])
        y = self.value(shape, x.zero_point, self.tensors[x.id].scale)
        return self.append("PAD", [x.id, self.constant(amounts)], y)

    def merged(self, x: Value) -> Value:
        """A frame's columns as channels."""
        shape = (*x.shape[:2], 1, x.shape[2] * x.shape[3])
        y = self.value(shape, x.zero_point, self.tensors[x.id].scale)
        return self.append("RESHAPE", [x.id, self.constant(np.array(shape, np.int32))], y, new_shape=shape)

    def flipped(self, x: Value) -> Value:
        """Frames as columns, and back."""
        return self.swap(self.activated(self.swap(x)))

    def fewer(self, x: Value) -> Value:
        """Every other row, where there are enough."""
        return self.seen(x, kernel=(2, 1), stride=(2, 1)) if x.shape[1] > 9 else x

    # --- what becomes of all frames -------------------------------------------------------------------------------

    def last(self, x: Value) -> Value:
        return self.crop(x, x.shape[1] - 1, 1)

    def all_frames(self, x: Value) -> Value:
        return self.seen(x, kernel=(x.shape[1], 1))

    def highest(self, x: Value) -> Value:
        axes = self.constant(np.array([1], np.int32))
        shape = (1, *x.shape[2:])
        y = self.value(shape, x.zero_point, self.tensors[x.id].scale)
        return self.append("REDUCE_MAX", [x.id, axes], y, keep_dims=False)


def random_stream(seed: int) -> bytes:
    """A model of 4 to 9 layers, int8 or int16, over a window of 12 to 28 frames."""
    rng = np.random.default_rng([37, seed])
    net = StreamNet(rng, "int16" if seed % 4 == 3 else "int8", "int8")
    width, channels = (int(size) for size in rng.integers(1, 5, 2))
    first = x = net.value((1, int(rng.integers(12, 29)), width, channels))
    between: list[Callable[[Value], Value]] = [
        net.some_frames, net.some_frames, net.around, net.wide, net.merged, net.activated, net.scaled, net.flipped,
        net.fewer,
    ]  # fmt: skip
    x = net.windowed(x, "CONV_2D", 4, kernel=(3, 1), padding="VALID")
    for _ in range(int(rng.integers(2, 6))):
        x = between[int(rng.integers(len(between)))](x)
    ends: list[Callable[[Value], Value]] = [
        lambda y: y, net.last, net.all_frames, net.mean, lambda y: net.dense(net.flat(y)),
    ]  # fmt: skip
    if net.dtype == "int8":
        ends.append(net.highest)
    x = ends[seed % len(ends)](x)
    return build_model(net.tensors, net.operators, [first.id], [x.id])


def stream_of(manifest: Manifest, windows: int, seed: int = 0) -> list[Sample]:
    """Random frames for so many windows, and for half as many after a reset."""
    streaming = manifest.streaming
    assert streaming is not None
    (port,) = manifest.inputs
    rng = np.random.default_rng(seed)
    count = -(-windows * streaming.frames // streaming.hop)
    return [
        Sample(f"frames {index}", (random_frames(rng, port.shape, port.dtype),), reset=index in (0, count))
        for index in range(count + count // 2)
    ]


def random_frames(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def windows_of(frames: Iterable[Array], shape: tuple[int, ...], axis: int, silence: int) -> Iterator[Array]:
    """Whole windows that end with each of the given frames, the first after nothing but `silence`."""
    window: Array | None = None
    for new in frames:
        window = np.full(shape, silence, new.dtype) if window is None else window
        window = np.concatenate([window, new], axis=axis).take(
            range(new.shape[axis], new.shape[axis] + shape[axis]), axis
        )
        yield window
