"""Graphs whose tensors live, share memory and remember in awkward ways."""

from __future__ import annotations

from networks import Network

IMAGE = (1, 3, 4, 5)


def skip_connections() -> Network:
    net = Network()
    x = net.input(IMAGE)
    a = net.conv(x, 5)
    b = net.conv(a, 5)
    c = net.add(a, b)
    net.outputs = [net.dense(net.add(net.max_pool(c), x), 4)]
    return net


def branches() -> Network:
    net = Network()
    x = net.input(IMAGE)
    left, right = net.conv(x, 7, 1), net.conv(x, 7, 3)
    net.outputs = [net.add(net.max_pool(left), net.max_pool(right))]
    return net


def several_inputs_and_outputs() -> Network:
    net = Network()
    x, y = net.input(IMAGE), net.input((1, 7))
    a = net.conv(x, 3)
    net.outputs = [net.dense(y, 60), a, net.max_pool(a)]
    return net


def output_of_every_layer() -> Network:
    net = Network()
    x = net.input((1, 9))
    a = net.dense(x, 8)
    b = net.dense(a, 7)
    net.outputs = [net.dense(b, 6), b, a]
    return net


def unused_output() -> Network:
    net = Network()
    x = net.input(IMAGE)
    net.max_pool(net.conv(x, 4))
    net.outputs = [net.dense(x, 5)]
    return net


def unused_input() -> Network:
    net = Network()
    net.input((1, 50))
    net.outputs = [net.dense(net.input((1, 6)), 5)]
    return net


def input_is_also_an_output() -> Network:
    net = Network()
    x = net.input(IMAGE)
    net.outputs = [x, net.dense(net.max_pool(net.conv(x, 2)), 3)]
    return net


def view_and_its_source_both_live_on() -> Network:
    net = Network()
    x = net.input(IMAGE)
    a = net.conv(x, 5)
    flat = net.flatten(a)
    b = net.dense(flat, 60)
    net.outputs = [net.add(net.reshape(b, IMAGE), a), net.add(flat, b)]
    return net


def view_of_the_input() -> Network:
    net = Network()
    x = net.input(IMAGE)
    flat = net.flatten(x)
    a = net.conv(x, 5)
    net.outputs = [net.add(net.flatten(a), flat)]
    return net


def views_of_views() -> Network:
    net = Network()
    a = net.conv(net.input(IMAGE), 5)
    b = net.reshape(net.reshape(net.flatten(a), (5, 12)), (1, 4, 3, 5))
    net.outputs = [net.dense(net.max_pool(b), 9)]
    return net


def view_is_the_output() -> Network:
    net = Network()
    a = net.conv(net.input(IMAGE), 5)
    net.outputs = [net.dense(a, 3), net.flatten(a)]
    return net


def added_to_itself() -> Network:
    net = Network()
    x = net.input(IMAGE)
    net.outputs = [net.add(x, x)]
    return net


def folded_constant() -> Network:
    net = Network()
    x = net.input((1, 60))
    net.outputs = [net.add(x, net.flatten(net.constant(IMAGE)))]
    return net


def floats_beside_bytes() -> Network:
    net = Network()
    x, y = net.input((1, 7), "float32"), net.input((1, 3))
    a = net.dense(net.quantize(x), 3)
    net.outputs = [net.dequantize(net.add(a, y)), y]
    return net


def output_twice() -> Network:
    net = Network()
    a = net.dense(net.input((1, 6)), 5)
    net.outputs = [a, a]
    return net


def joined_rows() -> Network:
    net = Network()
    x = net.input(IMAGE)
    rows = net.concatenate([net.conv(x, 5), net.max_pool(x), net.conv(x, 5, 1)], 1)
    net.outputs = [net.conv(rows, 2)]
    return net


def joined_channels() -> Network:
    net = Network()
    x = net.input(IMAGE)
    net.outputs = [net.conv(net.concatenate([net.conv(x, 2), x, net.conv(x, 3)], 3), 2)]
    return net


def joined_twice() -> Network:
    net = Network()
    x = net.input((1, 12))
    a, b = net.dense(x, 5), net.dense(x, 7)
    net.outputs = [net.add(net.concatenate([a, b], 1), net.concatenate([b, a], 1))]
    return net


def joined_with_itself() -> Network:
    net = Network()
    a = net.dense(net.input((1, 6)), 4)
    net.outputs = [net.dense(net.concatenate([a, a], 1), 3)]
    return net


def joined_input_and_constant() -> Network:
    net = Network()
    net.outputs = [net.dense(net.concatenate([net.input((1, 6)), net.constant((1, 5))], 1), 3)]
    return net


def joined_long_before_it_is_needed() -> Network:
    net = Network()
    x = net.input((1, 8, 8, 4))
    small = net.conv(x, 1, 1)
    big = net.conv(net.conv(net.conv(x, 8), 8), 6)
    flat = net.concatenate([net.flatten(small), net.flatten(big)], 1)
    net.outputs = [net.dense(flat, 3)]
    return net


def split_and_joined_again() -> Network:
    net = Network()
    a = net.conv(net.input((1, 4, 3, 5)), 6)
    net.outputs = [net.concatenate(net.split(a, 1, 2), 1), net.concatenate(net.split(a, 3, 3)[::-1], 3)]
    return net


def parts_outlive_the_whole() -> Network:
    net = Network()
    a = net.conv(net.input((1, 4, 3, 5)), 6)
    first, second = net.split(a, 1, 2)
    net.outputs = [net.add(net.max_pool(net.conv(first, 6)), second), net.slice(a, 1, 3, 1)]
    return net


def slice_of_a_slice() -> Network:
    net = Network()
    a = net.slice(net.dense(net.input((1, 9)), 12), 1, 2, 8)
    net.outputs = [net.add(net.slice(a, 1, 0, 4), net.slice(a, 1, 3, 4))]
    return net


def packed_and_unpacked() -> Network:
    net = Network()
    x = net.input((1, 9))
    rows = net.unpack(net.pack([net.dense(x, 5), net.dense(x, 5), net.dense(x, 5)]))
    net.outputs = [net.add(net.dense(rows[2], 5), rows[0])]
    return net


def streaming() -> Network:
    """The newest frame joins those remembered; all but the oldest are remembered."""
    net = Network()
    history = net.variable("history")
    frames = net.concatenate([net.read(history, (1, 4, 1, 5)), net.input((1, 1, 1, 5))], 1)
    net.assign(history, net.slice(frames, 1, 1, 4))
    net.outputs = [net.conv(frames, 3)]
    return net


def streaming_in_two_layers() -> Network:
    net = Network()
    first, second = net.variable("first"), net.variable("second")
    frames = net.concatenate([net.read(first, (1, 2, 1, 5)), net.input((1, 3, 1, 5))], 1)
    net.assign(first, net.slice(frames, 1, 3, 2))
    activations = net.concatenate([net.read(second, (1, 4, 1, 2)), net.conv(frames, 2)], 1)
    net.assign(second, net.slice(activations, 1, 5, 4))
    net.outputs = [net.dense(net.flatten(activations), 3)]
    return net


def remembers_its_output() -> Network:
    net = Network()
    last = net.variable("last")
    y = net.add(net.dense(net.input((1, 6)), 5), net.read(last, (1, 5)))
    net.assign(last, y)
    net.outputs = [y]
    return net


def remembers_its_input() -> Network:
    net = Network()
    last = net.variable("last")
    x = net.input((1, 6))
    net.outputs = [net.add(x, net.read(last, (1, 6)))]
    net.assign(last, x)
    return net


def variables_change_places() -> Network:
    net = Network()
    left, right = net.variable("left"), net.variable("right")
    a, b = net.read(left, (1, 6)), net.read(right, (1, 6))
    net.assign(left, b)
    net.assign(right, net.add(a, net.input((1, 6))))
    net.outputs = [net.dense(a, 3), b]
    return net


def a_delay_line() -> Network:
    net = Network()
    names = [net.variable(f"tap{index}") for index in range(4)]
    x = net.input((1, 6))
    taps = [x, *(net.read(name, (1, 6)) for name in names)]
    for name, tap in zip(names, taps, strict=False):
        net.assign(name, tap)
    net.outputs = [net.concatenate(taps, 1)]
    return net


def read_after_assigning() -> Network:
    net = Network()
    last = net.variable("last")
    before = net.read(last, (1, 6))
    net.assign(last, net.add(before, net.input((1, 6))))
    net.outputs = [net.add(before, net.dense(net.read(last, (1, 6)), 6))]
    return net


def assigned_twice() -> Network:
    net = Network()
    last = net.variable("last")
    before, x = net.read(last, (1, 6)), net.input((1, 6))
    net.assign(last, x)
    net.assign(last, net.dense(before, 6))
    net.outputs = [net.add(net.read(last, (1, 6)), x)]
    return net


def assigned_a_constant() -> Network:
    net = Network()
    last = net.variable("last")
    net.outputs = [net.add(net.read(last, (1, 6)), net.input((1, 6)))]
    net.assign(last, net.constant((1, 6)))
    return net


def only_read() -> Network:
    net = Network()
    net.outputs = [net.add(net.read(net.variable("never assigned"), (1, 6)), net.input((1, 6)))]
    return net


def only_assigned() -> Network:
    net = Network()
    x = net.input((1, 6))
    net.assign(net.variable("never read"), net.dense(x, 4))
    net.outputs = [net.dense(x, 3)]
    return net


WITH_STATE = (
    streaming,
    streaming_in_two_layers,
    remembers_its_output,
    remembers_its_input,
    variables_change_places,
    a_delay_line,
    read_after_assigning,
    assigned_twice,
    assigned_a_constant,
)

WITH_LAYERS = (
    skip_connections,
    branches,
    several_inputs_and_outputs,
    output_of_every_layer,
    unused_output,
    unused_input,
    input_is_also_an_output,
    view_and_its_source_both_live_on,
    view_of_the_input,
    views_of_views,
    view_is_the_output,
    added_to_itself,
    folded_constant,
    floats_beside_bytes,
    output_twice,
    joined_rows,
    joined_channels,
    joined_twice,
    joined_with_itself,
    joined_input_and_constant,
    joined_long_before_it_is_needed,
    split_and_joined_again,
    parts_outlive_the_whole,
    slice_of_a_slice,
    packed_and_unpacked,
    only_read,
    only_assigned,
    *WITH_STATE,
)


def straight_from_input_to_output() -> Network:
    net = Network()
    net.outputs = [net.flatten(net.input(IMAGE))]
    return net


def input_and_its_view_are_outputs() -> Network:
    net = Network()
    x = net.input(IMAGE)
    net.outputs = [net.flatten(x), x]
    return net


def nothing_but_views() -> Network:
    net = Network()
    x, y = net.input(IMAGE), net.input((1, 6))
    net.outputs = [net.reshape(y, (3, 2)), net.reshape(net.flatten(x), (5, 12))]
    return net


WITHOUT_LAYERS = (straight_from_input_to_output, input_and_its_view_are_outputs, nothing_but_views)
