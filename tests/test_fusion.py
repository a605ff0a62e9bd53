"""Groups of nodes that are computed row by row: the same bytes as one after the other, with less memory."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from accesses import allowed_by
from building import BOARD, Built, differences, host, varied
from emulated_bench import Bench
from qdq_net import QdqNet
from row_nets import random_chains, shortcut

from tinygen import output, pipeline
from tinygen.fit import room
from tinygen.fusion import fuse, fusible
from tinygen.goal import Goal
from tinygen.ir import Graph
from tinygen.ops.reduce import Mean
from tinygen.options import Options
from tinygen.plan import plan
from tinygen.row_schedule import Kind, Schedule, Stage, schedule
from tinygen.target import load_board, load_core

CHAINS = 6  # in a model
SEEDS = range(3)


def some_groups(graph: Graph, rng: np.random.Generator) -> list[range]:
    """Disjoint runs, mostly long ones."""
    found: list[range] = []
    possible = list(fusible(graph))
    start = 0
    while start < len(graph.nodes):
        here = sorted((run for run in possible if run.start == start), key=len)
        if here and rng.random() < 0.8:
            found.append(here[-1] if rng.random() < 0.6 else here[int(rng.integers(len(here)))])
            start = found[-1].stop
        else:
            start += 1
    return found


def fused(seed: int) -> tuple[pipeline.Model, pipeline.Model]:
    """A model, and the same with groups."""
    model = pipeline.decode(random_chains(seed, CHAINS), "chains.tflite", Options())
    groups = some_groups(model.graph, np.random.default_rng(seed))
    assert len(groups) >= CHAINS // 2
    return model, dataclasses.replace(model, graph=fuse(model.graph, groups))


def built(model: pipeline.Model, out: Path, objective: str) -> Built:
    build = pipeline.build(model, BOARD, "chains", Goal(objective))
    output.write(build.files, out)
    return Built(model, out, build.manifest)


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_compute_what_their_nodes_do(tmp_path: Path, seed: int) -> None:
    model, grouped = fused(seed)
    found = built(grouped, tmp_path / "out", "balanced")
    assert sum(layer.op == "ROW_GROUP" for layer in found.manifest.layers) >= CHAINS // 2
    original = dataclasses.replace(found, model=model)
    assert differences(original, varied(found, 6), host(found)) == []


def test_a_shortcut_may_go_ahead_of_the_longer_way(tmp_path: Path) -> None:
    model = pipeline.decode(shortcut(0), "shortcut.tflite", Options())
    grouped = dataclasses.replace(model, graph=fuse(model.graph, [range(len(model.graph.nodes))]))
    found = built(grouped, tmp_path / "out", "ram")
    assert [layer.op for layer in found.manifest.layers] == ["ROW_GROUP"]
    assert differences(dataclasses.replace(found, model=model), varied(found, 6), host(found)) == []


def test_groups_on_the_board_keep_to_their_memory(tmp_path: Path) -> None:
    model, grouped = fused(SEEDS[-1])
    found = built(grouped, tmp_path / "out", "ram")
    original = dataclasses.replace(found, model=model)
    folder = tmp_path / "bench"
    folder.mkdir()
    bench = Bench(BOARD, folder)
    board = load_board(BOARD)
    chosen = plan(grouped.graph, load_core(board.core), Goal("ram"), room(board))
    with bench.running(found, lambda image, of: allowed_by(image, of, chosen)) as peer:
        assert differences(original, varied(found, 3), contextlib.nullcontext(peer)) == []
    assert bench.recorded().outside.count == 0


# --- The schedule, without values -------------------------------------------------------------------------------------


def random_stages(rng: np.random.Generator) -> list[Stage]:
    """A chain with some additions of what came two or more stages before, from its end to its beginning."""
    stages: list[Stage] = []
    heights = {"x": int(rng.integers(3, 14))}
    names = ["x"]
    for index in range(int(rng.integers(2, 7))):
        read = names[-1]
        height = heights[read]
        output = f"t{index}"
        same = [name for name in names[:-1] if heights[name] == height and name != "x"]
        if same and rng.random() < 0.4:
            inputs, taps, stride, before, after = (read, str(rng.choice(same))), 1, 1, 0, 0
        else:
            taps, stride = int(rng.integers(1, 5)), int(rng.integers(1, 4))
            before, after = (int(rng.integers(0, taps)), int(rng.integers(0, taps))) if read != "x" else (0, 0)
            inputs = (read,)
        rows = (height + before + after - taps) // stride + 1
        if rows < 1:
            break
        most = int(rng.integers(1, 5))
        together = max(count for count in range(1, most + 1) if rows % count == 0)
        reach = (together - 1) * stride + taps
        stages.append(Stage(inputs, output, rows // together, together, reach, together * stride, before))
        heights[output] = rows
        names.append(output)
    # Every output but the last has a reader.
    while stages and any(s.output not in {n for o in stages for n in o.inputs} for s in stages[:-1]):
        stages.pop()
    return [dataclasses.replace(stage, early=may_be_early(stages, stage) and rng.random() < 0.5) for stage in stages]


def may_be_early(stages: list[Stage], stage: Stage) -> bool:
    """Whether it reads nothing but what others write, and another one reads its output."""
    return stage is not stages[-1] and stage.inputs != ("x",)


def check_rows(stages: list[Stage], found: Schedule) -> None:
    """Follow the events with rows' numbers instead of their values."""
    memory: dict[str, list[object]] = {name: [None] * line.rows for name, line in found.lines.items()}
    written = dict.fromkeys((stage.output for stage in stages), 0)
    calls = [0] * len(stages)
    for event in found.events:
        stage = stages[event.stage]
        if event.kind is Kind.RUN:
            first = stage.first(calls[event.stage])
            for name, start in zip(stage.inputs, event.rows, strict=False):
                wanted = list(range(first, first + stage.taps))
                if name in memory:
                    height = written_rows(stages, name)
                    seen = memory[name][start : start + stage.taps]
                    assert seen == [row if 0 <= row < height else "outside" for row in wanted]
                else:
                    assert start == first
            rows = list(range(written[stage.output], written[stage.output] + stage.rows))
            if stage.output in memory:
                assert event.rows[-1] + stage.rows <= len(memory[stage.output])
                memory[stage.output][event.rows[-1] : event.rows[-1] + stage.rows] = rows
            else:
                assert event.rows[-1] == rows[0]
            written[stage.output] += stage.rows
            calls[event.stage] += 1
        elif event.kind is Kind.PAD:
            start, count = event.rows
            assert start + count <= len(memory[stage.output])
            memory[stage.output][start : start + count] = ["outside"] * count
        else:
            start, count = event.rows
            memory[stage.output][:count] = memory[stage.output][start : start + count]
    assert calls[-1] == stages[-1].calls


def written_rows(stages: list[Stage], name: str) -> int:
    """The height of a stage's output."""
    return next(stage.calls * stage.rows for stage in stages if stage.output == name)


@pytest.mark.parametrize("seed", range(5))
def test_every_call_finds_its_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tried = 0
    for _ in range(60):
        stages = random_stages(rng)
        if len(stages) > 1:
            found = schedule(stages)
            check_rows(stages, found)
            check_uses(stages, found)
            tried += 1
    assert tried > 30


def check_uses(stages: list[Stage], found: Schedule) -> None:
    """Follow the events once more, and forget what is not in use after each: every call still finds its rows."""
    memory = {name: [False] * line.rows for name, line in found.lines.items()}
    for event in found.events:
        for name, line in found.lines.items():
            used = {row for use in line.uses if use.first <= event.stage <= use.last for row in range(*use[:2])}
            memory[name] = [there and row in used for row, there in enumerate(memory[name])]
        stage = stages[event.stage]
        rows = memory.get(stage.output, [])
        if event.kind is Kind.RUN:
            for name, start in zip(stage.inputs, event.rows, strict=False):
                if name in memory:
                    assert all(memory[name][start : start + stage.taps])
            start, count = event.rows[-1], stage.rows
        elif event.kind is Kind.PAD:
            start, count = event.rows
        else:
            start, count = 0, event.rows[1]
            assert all(rows[event.rows[0] : event.rows[0] + count])
        if stage.output in memory:
            rows[start : start + count] = [True] * count


def test_what_goes_ahead_leaves_fewer_rows_to_wait_for_it() -> None:
    """Two ways to every other row: three rows of each, one of these three again; and one row alone."""

    def rows_kept(early: bool) -> int:
        stages = [
            Stage(("x",), "a", 20, 1, 1, 1, 0),
            Stage(("a",), "long", 10, 1, 3, 2, 1),
            Stage(("long",), "longer", 10, 1, 3, 1, 1),
            Stage(("a",), "short", 10, 1, 1, 2, 0, place="y", early=early),
            Stage(("longer", "short"), "y", 10, 1, 1, 1, 0),
        ]
        found = schedule(stages)
        check_rows(stages, found)
        return found.lines["a"].rows

    assert rows_kept(early=True) < rows_kept(early=False)


def test_what_a_later_node_reads_stays_whole() -> None:
    """A value that is read outside of a run is not inside of a group."""
    model = pipeline.decode(random_chains(0, CHAINS), "chains.tflite", Options())
    for run in fusible(model.graph):
        group = fuse(model.graph, [run])
        read = {name for node in group.nodes for name in node.inputs} | set(group.outputs)
        assert read <= set(group.tensors)


def test_groups_of_onnx_models_compute_what_their_nodes_do(tmp_path: Path) -> None:
    """Sums, differences, averages and convolutions as ONNX Runtime rounds them."""
    net = QdqNet("uint8")
    x = net.input(1, 4, 12, 6)
    y = net.add("Conv", x, net.weights(4, 4, 3, 3), pads=[1] * 4)
    y = net.add("Sub", net.add("Add", y, x), net.add("Conv", x, net.weights(4, 4, 1, 1)))
    y = net.add("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = net.add("GlobalAveragePool", net.add("Conv", y, net.weights(4, 4, 1, 1)))
    model = pipeline.decode(net.bytes(y), "net.onnx", Options(io="int8"))
    last = next(index for index, node in enumerate(model.graph.nodes) if isinstance(node.op, Mean))
    run = max((run for run in fusible(model.graph) if run.stop == last + 1), key=len)
    kinds = {type(node.op).__name__ for node in model.graph.nodes[run.start : run.stop]}
    assert kinds >= {"Conv2D", "FloatAdd", "FloatPair", "FloatAveragePool", "Mean"}
    found = built(dataclasses.replace(model, graph=fuse(model.graph, [run])), tmp_path / "out", "balanced")
    assert any(layer.op == "ROW_GROUP" for layer in found.manifest.layers)
    assert differences(dataclasses.replace(found, model=model), varied(found, 6), host(found)) == []
