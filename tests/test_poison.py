"""Networks with outputs that overlap inputs, on the emulated board: between layers, bytes that are dead are changed.

A read of an overwritten byte could go unnoticed where the new value happens to be the old one, or does not matter. So
before each layer whatever holds no tensor that is still needed is filled with noise, and bytes around the arena are
watched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from building import Built, build_bytes, differences, varied
from emulated_bench import Bench
from random_nets import Net, Value
from tflite_builder import build_model

from tinygen.alias import lives
from tinygen.fit import room
from tinygen.goal import Goal
from tinygen.layers import layers_of
from tinygen.plan import Plan, plan
from tinygen.target import load_board, load_core

SAMPLES = 4


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench("qemu-mps2-an386", tmp_path_factory.mktemp("bench"))


def inverted_residuals(seed: int, size: int, channels: int) -> bytes:
    """Blocks that widen, go channel by channel, and narrow again, with a connection past them; then a classifier."""
    net = Net(np.random.default_rng(seed), "int8", "int8")
    first = net.value((1, size, size, 3))
    x = convolved(net, first, channels, 3)
    for _ in range(2):
        y = convolved(net, convolved(net, x, 4 * channels, 1), 0, 3)
        y = convolved(net, y, channels, 1)
        total = net.value(x.shape, scale=0.4)
        x = net.append("ADD", [x.id, y.id], total, fused_activation_function="NONE")
    x = convolved(net, convolved(net, x, 0, 3, stride=2), 2 * channels, 1)
    x = net.dense(net.mean(x))
    return build_model(net.tensors, net.operators, [first.id], [x.id])


def convolved(net: Net, x: Value, filters: int, taps: int, stride: int = 1) -> Value:
    """A convolution with SAME padding; without filters, a depthwise one."""
    depth = x.shape[3]
    size = (-(-dim // stride) for dim in x.shape[1:3])
    y = net.value((1, *size, filters or depth), scale=0.4)
    shape, axis = ((filters, taps, taps, depth), 0) if filters else ((1, taps, taps, depth), 3)
    options = {
        "padding": "SAME",
        "stride_h": stride,
        "stride_w": stride,
        "dilation_h_factor": 1,
        "dilation_w_factor": 1,
        "fused_activation_function": "NONE",
    }
    if not filters:
        options["depth_multiplier"] = 1
    constants = net.weights(shape, axis)
    return net.append("CONV_2D" if filters else "DEPTHWISE_CONV_2D", [x.id, *constants], y, **options)


NETS = {"small": inverted_residuals(1, 6, 4), "odd": inverted_residuals(2, 7, 5)}


def plan_of(built: Built) -> Plan:
    board = load_board(built.manifest.board)
    return plan(built.model.graph, load_core(board.core), Goal(built.manifest.optimize), room(board))


def dead_runs(chosen: Plan, built: Built) -> Mapping[int, list[range]]:
    """The runs of the arena's bytes that hold nothing before each layer, by its index, and after all of them."""
    steps, layout = chosen.steps, chosen.layout
    life = lives(built.model.graph, steps)
    layers = layers_of(steps, layout, built.manifest.name)
    index_of = {step.node.outputs: index for index, step in enumerate(steps)}
    times = [index_of[layer.step.node.outputs] for layer in layers] + [len(steps)]
    found = {}
    for layer, time in enumerate(times):
        is_live = np.zeros(layout.plan.bytes + 2, bool)
        is_live[[0, -1]] = True
        for name, place in layout.places.items():
            if life[name].first < time <= life[name].last:
                is_live[1 + place.offset :][: built.model.graph.tensors[name].bytes] = True
        starts, stops = (np.flatnonzero(np.diff(is_live.astype(int)) == step).tolist() for step in (-1, 1))
        found[layer] = [range(start, stop) for start, stop in zip(starts, stops, strict=True)]
    return found


GUARDS = """\
static struct {{
    uint8_t below[64];
    union {{{members}}} memory;
    uint8_t above[64];
}} guarded;
#define arena guarded.memory

/* Where a guard has changed, the whole arena does, so that the results show it. */
static void poison(uint32_t layer)
{{
    static const uint32_t dead[][3] = {{{runs}}};
    static uint8_t noise, is_set;
    uint8_t *const bytes = (uint8_t *)&guarded.memory;
    for (uint32_t i = 0; i < 64; i++) {{
        if (is_set && (guarded.below[i] != 0xA5 || guarded.above[i] != 0xA5)) {{
            for (uint32_t at = 0; at < sizeof guarded.memory; at++) {{
                bytes[at] ^= 0x55;
            }}
        }}
        guarded.below[i] = guarded.above[i] = 0xA5;
    }}
    is_set = 1;
    for (uint32_t i = 0; i < sizeof dead / sizeof dead[0]; i++) {{
        for (uint32_t at = dead[i][1]; dead[i][0] == layer && at < dead[i][2]; at++) {{
            bytes[at] = noise += 37;
        }}
    }}
}}
"""


def poison(built: Built, dead: Mapping[int, list[range]], before_last: str = "") -> None:
    """Change the generated C; `before_last` is a statement in front of the last look at the guards."""
    text = built.board_source.read_text()
    runs = ", ".join(f"{{{layer}, {run.start}, {run.stop}}}" for layer, those in dead.items() for run in those)
    text, count = re.subn(
        r"static union \{(.*?)\} arena;\n",
        lambda match: GUARDS.format(members=match[1], runs=runs),
        text,
        count=1,
        flags=re.DOTALL,
    )
    assert count == 1
    for layer in built.manifest.layers:
        call = rf"^( +){layer.symbol}\(.*\);$"
        text, count = re.subn(call, rf"\1poison({layer.index});\n\g<0>", text, flags=re.MULTILINE)
        assert count == 2  # in invoke, and by itself
    last = rf"(poison\({len(dead) - 2}\);\n.*;\n)\}}"
    text, count = re.subn(last, rf"\1    {before_last}\n    poison({len(dead) - 1});\n}}", text, count=1)
    assert count == 1
    built.board_source.write_text(text)


@pytest.mark.parametrize("objective", ["balanced", "ram"])
@pytest.mark.parametrize("net", NETS)
def test_nothing_is_read_that_was_overwritten(bench: Bench, net: str, objective: str, tmp_path: Path) -> None:
    built = build_bytes(NETS[net], tmp_path, objective=objective, board=bench.board.name)
    chosen = plan_of(built)
    dead = dead_runs(chosen, built)
    assert chosen.layout.plan.bytes < chosen.layout.disjoint_bytes
    assert any(dead.values())
    poison(built, dead)
    assert differences(built, varied(built, SAMPLES), bench.running(built)) == []


def test_poison_is_noticed(bench: Bench, tmp_path: Path) -> None:
    built = build_bytes(NETS["small"], tmp_path, board=bench.board.name)
    dead = dead_runs(plan_of(built), built)
    layer = built.manifest.layers[1]
    first = built.manifest.layers[0].output
    live = range(first.offset, first.offset + first.bytes)
    poison(built, {**dead, layer.index: [*dead[layer.index], live]})
    assert differences(built, varied(built, SAMPLES), bench.running(built)) != []


@pytest.mark.parametrize("guard", ["guarded.below[63]", "guarded.above[0]"])
def test_a_write_beside_the_arena_is_noticed(bench: Bench, guard: str, tmp_path: Path) -> None:
    built = build_bytes(NETS["small"], tmp_path, board=bench.board.name)
    poison(built, dead_runs(plan_of(built), built), f"{guard} = 0;")
    assert differences(built, varied(built, SAMPLES), bench.running(built)) != []
