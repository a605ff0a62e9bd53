"""What people see of the memory: blocks are drawn where the plan has them, and the figures of the tables come true."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from building import BOARD, DIGITS
from named_networks import joined_rows, streaming_in_two_layers
from row_nets import random_chains

from tinygen import cli, pipeline
from tinygen.alias import lives
from tinygen.errors import OutputError
from tinygen.fusion import fuse, fusible
from tinygen.goal import Goal
from tinygen.ir import Graph
from tinygen.layout import Place
from tinygen.memory_map import Block, LayerMemory, MemoryMap, Moments, memory_map
from tinygen.output import sealed, write_sealed
from tinygen.plan import Plan, plan
from tinygen.report.memory_picture import memory_picture
from tinygen.report.memory_scale import LETTER
from tinygen.resources import resource
from tinygen.savings import savings
from tinygen.target import load_board, load_core

MODEL = DIGITS / "digits.tflite"
ROOM = 100_000


@pytest.fixture(scope="module")
def digits() -> pipeline.Model:
    return pipeline.read(MODEL)


@pytest.fixture(scope="module")
def chosen(digits: pipeline.Model) -> Plan:
    return plan(digits.graph, load_core(load_board(BOARD).core), Goal())


def moved(chosen: Plan, graph: Graph, seed: int) -> Plan:
    """The plan with its tensors anywhere, as if all of them could overlap."""
    rng = np.random.default_rng(seed)
    places = {
        name: Place("arena", int(rng.integers(0, 64)) * 4) if place.memory == "arena" else place
        for name, place in chosen.layout.places.items()
    }
    for index, operands in reversed(chosen.layout.aliased.items()):
        node = chosen.steps[index].node
        places.update((node.inputs[operand], places[node.outputs[0]]) for operand in operands)
    top = max(place.offset + graph.tensors[name].bytes for name, place in places.items())
    scratch = {index: Place("arena", top) for index in chosen.layout.scratch}
    most = top + max((chosen.steps[index].scratch for index in scratch), default=0)
    memory = dataclasses.replace(chosen.layout.plan, bytes=most)
    return dataclasses.replace(
        chosen, layout=dataclasses.replace(chosen.layout, plan=memory, places=places, scratch=scratch)
    )


class Picture:
    """An SVG file, and its axes."""

    def __init__(self, text: str) -> None:
        self.root = ElementTree.fromstring(text)
        ticks = [
            t for t in self.group("axis").iter() if t.tag.endswith("text") and re.fullmatch("[0-9,]+", t.text or "")
        ]
        (low, y_low), *_, (high, y_high) = [(int((t.text or "").replace(",", "")), float(t.get("y", 0))) for t in ticks]
        self.pixels_per_byte = (y_low - y_high) / (high - low)
        self.bottom = y_low - 4 + low * self.pixels_per_byte  # the text's base line is below its line
        self.layers = [(float(r.get("x", 0)), float(r.get("width", 0))) for r in self.rectangles("layers")]

    def group(self, name: str) -> ElementTree.Element:
        return next(element for element in self.root.iter() if element.get("id") == name)

    def rectangles(self, group: str) -> list[ElementTree.Element]:
        return [element for element in self.group(group).iter() if element.tag.endswith("rect")]

    def bytes_of(self, rectangle: ElementTree.Element) -> tuple[int, int]:
        """First byte, and the one after the last."""
        y, height = float(rectangle.get("y", 0)), float(rectangle.get("height", 0))
        start, end = ((self.bottom - at) / self.pixels_per_byte for at in (y + height, y))
        return round(start), round(end)

    def moments_of(self, rectangle: ElementTree.Element) -> Moments:
        x, width = float(rectangle.get("x", 0)), float(rectangle.get("width", 0))
        moment = [(x - self.layers[0][0]) / self.layers[0][1] + 1, (x + width - self.layers[0][0]) / self.layers[0][1]]
        return Moments(*map(round, moment))


def test_each_tensor_is_a_block_in_its_place_and_time(digits: pipeline.Model, chosen: Plan) -> None:
    graph, layout = digits.graph, chosen.layout
    drawn = memory_map(graph, chosen)
    picture = Picture(memory_picture(drawn, "digits", BOARD, ROOM))
    assert len(picture.layers) == len(drawn.layers)
    shown = {
        (rectangle[0].text or "").split(" ")[1].rstrip(":"): (
            picture.bytes_of(rectangle),
            picture.moments_of(rectangle),
        )
        for rectangle in picture.rectangles("blocks")
        if not (rectangle[0].text or "").startswith("scratch")
    }
    coded = [
        index for index in range(len(chosen.steps)) if len(layout.aliased[index]) < len(chosen.steps[index].site.inputs)
    ]

    def moment(step: int) -> int:
        before = sum(index < step for index in coded)
        return 2 * before + (step in coded)

    copies = 0
    for name, life in lives(graph, chosen.steps).items():
        start = layout.places[name].offset
        if name not in shown:  # the same bytes as another
            copies += 1
            assert any(block == (start, start + graph.tensors[name].bytes) for block, _ in shown.values())
            continue
        block, alive = shown[name]
        assert block == (start, start + graph.tensors[name].bytes)
        assert alive.first == max(moment(life.first), 0)
        assert alive.last >= moment(life.last)
    assert copies == len(chosen.steps) - len(coded)
    scratch = [r for r in picture.rectangles("blocks") if (r[0].text or "").startswith("scratch")]
    assert {(picture.moments_of(r).first, picture.bytes_of(r)) for r in scratch} == {
        (moment(index), (place.offset, place.offset + chosen.steps[index].scratch))
        for index, place in layout.scratch.items()
    }


@pytest.mark.parametrize("seed", range(5))
def test_bytes_are_hatched_where_two_tensors_share_them(digits: pipeline.Model, chosen: Plan, seed: int) -> None:
    overlapped = moved(chosen, digits.graph, seed)
    drawn = memory_map(digits.graph, overlapped)
    picture = Picture(memory_picture(drawn, "digits", BOARD, ROOM))
    hatched: dict[int, set[int]] = {}
    for rectangle in picture.rectangles("shared"):
        assert (rectangle.get("fill") or "").startswith("url(#shared-")
        alive = picture.moments_of(rectangle)
        for at in range(alive.first, alive.last + 1):
            hatched.setdefault(at, set()).update(range(*picture.bytes_of(rectangle)))
    moments = range(2 * len(drawn.layers) + 1)
    for at in moments:
        count: dict[int, int] = {}
        for block in drawn.blocks:
            for byte in range(block.offset, block.end) if block.alive.first <= at <= block.alive.last else ():
                count[byte] = count.get(byte, 0) + 1
        assert hatched.get(at, set()) == {byte for byte, uses in count.items() if uses > 1}
    assert hatched
    for index, layer in enumerate(drawn.layers):
        alive_now = [b for b in drawn.blocks if b.alive.first <= 2 * index + 1 <= b.alive.last]
        assert layer.used == len({byte for block in alive_now for byte in range(block.offset, block.end)})
        assert layer.live == sum(block.bytes for block in alive_now)


def test_a_plan_without_shared_bytes_has_no_hatching(digits: pipeline.Model, chosen: Plan) -> None:
    top = 0
    places = {}
    for name, place in chosen.layout.places.items():
        places[name] = place._replace(offset=top)
        top += digits.graph.tensors[name].bytes
    layout = dataclasses.replace(
        chosen.layout, places=places, aliased=dict.fromkeys(chosen.layout.aliased, frozenset())
    )
    drawn = memory_map(digits.graph, dataclasses.replace(chosen, layout=dataclasses.replace(layout, scratch={})))
    assert not drawn.shared
    assert not Picture(memory_picture(drawn, "digits", BOARD, ROOM)).rectangles("shared")


def test_parts_lie_in_their_whole_and_are_not_hatched() -> None:
    graph = pipeline.decode(joined_rows().file(), "net.tflite").graph
    chosen = plan(graph, load_core("cortex-m4"), Goal())
    drawn = memory_map(graph, chosen)
    blocks = {block.name: block for block in drawn.blocks}
    joined = [(chosen.steps[index].node, operands) for index, operands in chosen.layout.aliased.items() if operands]
    assert joined
    for node, operands in joined:
        whole = blocks[node.outputs[0]]
        for operand in operands:
            part = blocks[node.inputs[operand]]
            assert whole.offset <= part.offset < part.end <= whole.end
            assert not [found for found in drawn.shared if {found.older, found.newer} == {part, whole}]


def test_states_lie_below_the_arena_all_the_time() -> None:
    graph = pipeline.decode(streaming_in_two_layers().file(), "net.tflite").graph
    chosen = plan(graph, load_core("cortex-m4"), Goal())
    drawn = memory_map(graph, chosen)
    picture = Picture(memory_picture(drawn, "net", BOARD, ROOM))
    of_states = [picture.bytes_of(r) for r in picture.rectangles("blocks") if "state" in (r.get("class") or "")]
    others = [picture.bytes_of(r) for r in picture.rectangles("blocks") if "state" not in (r.get("class") or "")]
    assert of_states == [(slot.offset, slot.end) for slot in chosen.layout.states]
    assert others == [
        (drawn.state_bytes + block.offset, drawn.state_bytes + block.end)
        for block in drawn.blocks
        if block.role != "state"
    ]
    assert max(end for _, end in others) <= drawn.bytes
    for rectangle in picture.rectangles("blocks"):
        if "state" in (rectangle.get("class") or ""):
            assert picture.moments_of(rectangle) == Moments(0, 2 * len(drawn.layers))


@pytest.fixture(scope="module")
def chosen_in_groups() -> Plan:
    """Chains of layers, most of them computed together."""
    graph = pipeline.decode(random_chains(1, 2), "chains.tflite").graph
    groups: list[range] = []
    for run in sorted(fusible(graph), key=len, reverse=True):
        if all(run.stop <= other.start or other.stop <= run.start for other in groups):
            groups.append(run)
    return plan(fuse(graph, sorted(groups, key=lambda run: run.start)), load_core("cortex-m4"), Goal())


def test_line_buffers_lie_in_their_groups_memory(chosen_in_groups: Plan) -> None:
    drawn = memory_map(chosen_in_groups.graph, chosen_in_groups)
    picture = Picture(memory_picture(drawn, "chains", BOARD, ROOM))
    groups = {index: layer for index, layer in enumerate(drawn.layers) if layer.parts}
    assert groups and drawn.inner
    titles = [e.text or "" for e in picture.group("layers").iter() if e.tag.endswith("text")]
    for index, layer in groups.items():
        assert len([title for title in titles if re.match(f"{index}[a-z] ", title)]) == len(layer.parts)
    blocks = {block.alive.first // 2: block for block in drawn.blocks if block.role == "rows"}
    for rectangle, inner in zip(picture.rectangles("rows"), drawn.inner, strict=True):
        start, end = picture.bytes_of(rectangle)
        assert (start, end) == (inner.block.offset, inner.block.end)
        group = blocks[inner.layer]
        assert group.offset <= start < end <= group.end
        x, width = picture.layers[inner.layer]
        left, of = float(rectangle.get("x", 0)), float(rectangle.get("width", 0))
        assert x - 0.02 <= left < left + of <= x + width + 0.02
        count = len(drawn.layers[inner.layer].parts)
        assert round(of / width * count) == inner.last - inner.first + 1
    for a, b in combinations(drawn.inner, 2):
        if a.layer == b.layer and a.first <= b.last and b.first <= a.last:
            assert a.block.end <= b.block.offset or b.block.end <= a.block.offset


def test_no_label_lies_upon_another_or_beyond_the_picture(
    digits: pipeline.Model, chosen: Plan, chosen_in_groups: Plan
) -> None:
    shared = pipeline.decode(joined_rows().file(), "net.tflite").graph
    plans = [chosen, chosen_in_groups, plan(shared, load_core("cortex-m4"), Goal())]
    found = 0
    for each in [*plans, *(moved(chosen, digits.graph, seed) for seed in range(3))]:
        picture = Picture(memory_picture(memory_map(each.graph, each), "net", BOARD, ROOM))
        right = float(picture.root.get("width", 0))
        boxes = []
        for label in [e for e in picture.group("labels") if e.get("transform")]:
            x, y = map(float, re.findall(r"-?[\d.]+", label.get("transform", ""))[:2])
            along = max(len(line.text or "") for line in label) * LETTER / 2
            across = len(label) * 11 / 2
            width, height = (across, along) if "rotate" in label.get("transform", "") else (along, across)
            boxes.append((x - width, y - height, x + width, y + height))
        assert all(box[0] >= 0 and box[2] <= right for box in boxes)
        if each in plans:
            for a, b in combinations(boxes, 2):
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        found += len(boxes)
    assert found > 20


def test_the_peak_is_named_with_its_bytes(digits: pipeline.Model, chosen: Plan) -> None:
    drawn = memory_map(digits.graph, chosen)
    assert drawn.peak is not None
    layer = drawn.layers[drawn.peak]
    assert layer.used == max(other.used for other in drawn.layers)
    peak = Picture(memory_picture(drawn, "digits", BOARD, ROOM)).group("peak")
    text = next(element.text or "" for element in peak.iter() if element.tag.endswith("text"))
    assert text.startswith(f"peak: layer {drawn.peak}, {layer.operator} ")
    figures = [int(word.replace(",", "")) for word in re.findall(r"([\d,]+) (?:in|out|kept|scratch)\b", text)]
    assert figures == [block.bytes for block in layer.blocks]
    of = "" if layer.used == drawn.arena_bytes else f" of {drawn.arena_bytes:,}"
    assert text.endswith(f"= {layer.used:,}{of} bytes")


def test_hostile_names_many_layers_and_none() -> None:
    block = Block('a<b>&"\x00\ud800\n', "activation", "4", "int8", 0, 4, Moments(1, 2))
    layer = LayerMemory("conv", "4", "<&>", "node <0>", "conv.<x>", (block,), 4)
    for count in (0, 1, 100):
        drawn = MemoryMap((layer,) * count, (block,) * (count > 0), (), 0 if count else None, 4, 0, 0, 4, 8)
        picture = ElementTree.fromstring(memory_picture(drawn, "m", "b<d", 9).encode())
        assert len([element for element in picture.iter() if element.get("class") == "layer"]) == count
    assert "without sharing bytes: 8" in [element.text for element in picture.iter()]
    assert "room on the board: 9" in [element.text for element in picture.iter()]


def test_every_saving_comes_true(
    digits: pipeline.Model, chosen: Plan, tinygen: Callable[..., str], tmp_path: Path
) -> None:
    core = load_core(load_board(BOARD).core)
    found = savings(digits, core, Goal(), chosen)
    assert found
    for index, saving in enumerate(found):
        assert saving.figures.ram_bytes < chosen.layout.ram_bytes
        out, _ = tinygen("build", MODEL, "-o", tmp_path / str(index), *saving.words.split(), "--json")
        manifest = json.loads(out)["manifest"]
        assert manifest["arena_bytes"] + manifest["state_bytes"] == saving.figures.ram_bytes
        assert not any(other.figures.beats(saving.figures) for other in found)


@pytest.fixture
def tinygen(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Runs a command line; what it says, and on standard error."""

    def run(*arguments: object, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["tinygen", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capfd.readouterr()
        assert int(caught.value.code or 0) == code, captured
        assert "Traceback" not in captured.out + captured.err
        return captured.out, captured.err

    return run


def test_the_command_shows_and_draws_memory(tinygen: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    file = tmp_path / "memory.svg"
    out, _ = tinygen("inspect", MODEL, "--memory", "-o", file)
    first = file.read_bytes()
    Picture(first.decode())
    shown = json.loads(tinygen("inspect", MODEL, "--memory", "-o", file, "--json")[0])
    assert file.read_bytes() == first
    layers, fit = shown["memory"]["layers"], shown["fit"]
    for layer in layers:
        assert re.search(rf"^ *\d+ +{layer['operator']} +{layer['output']} +{layer['used']:,} ", out, re.M)
    assert len(re.findall(r"^.* peak .*$", out, re.M)) == 1
    for region in fit["regions"]:
        total = sum(region["parts"].values()) + region["code_expected"]
        assert re.search(
            rf"^{region['region']} +{total:,} +{region['available']:,} +{region['available'] - total:,}$", out, re.M
        )
    assert next(r for r in fit["regions"] if r["region"] == "ram")["parts"]["arena"] == shown["memory"]["arena_bytes"]
    for saving in shown["savings"]:
        assert f"{saving['words']} " in out
    built = tmp_path / "out"
    tinygen("build", MODEL, "-o", built)
    assert (built / "memory.svg").read_bytes() == first
    assert "memory.svg" in json.loads((built / "manifest.json").read_text())["files"]


def test_a_model_that_does_not_fit_is_shown_all_the_same(
    tinygen: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    text = resource("boards", f"{BOARD}.toml").read_text()
    small = tmp_path / "small.toml"
    small.write_text(re.sub(r"(\[regions.ram\][^\[]*bytes = )\S+", r"\g<1>10_240", text))
    out, err = tinygen("inspect", MODEL, "--memory", "--board", small, "-o", tmp_path / "m.svg", code=1)
    assert re.search(r"^ram .* too few$", out, re.M)
    assert "does not fit on small" in err
    assert "room on the board" in (tmp_path / "m.svg").read_text()
    shown = json.loads(tinygen("inspect", MODEL, "--memory", "--board", small, "--json", code=1)[0])
    assert not shown["fits"]


def test_pictures_never_replace_what_is_not_theirs(tmp_path: Path) -> None:
    ours = tmp_path / "ours.svg"
    write_sealed(sealed("<svg/>\n"), ours)
    write_sealed(sealed("<svg>2</svg>\n"), ours)
    assert ours.read_bytes() == sealed("<svg>2</svg>\n")
    for content in (b"", b"<svg/>", ours.read_bytes().replace(b"2", b"3"), ours.read_bytes() + b"\n", b"\xff\xfe"):
        foreign = tmp_path / "foreign.svg"
        foreign.write_bytes(content)
        with pytest.raises(OutputError, match="was not written by tinygen, or was changed since"):
            write_sealed(sealed("<svg/>\n"), foreign)
        assert foreign.read_bytes() == content
    with pytest.raises(OutputError, match="is a folder"):
        write_sealed(sealed("<svg/>\n"), tmp_path)
    for path in (tmp_path / "no" / "folder.svg", ours / "below.svg"):
        with pytest.raises(OutputError, match="there is no folder"):
            write_sealed(sealed("<svg/>\n"), path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign.svg", "ours.svg"]


def test_wrong_usage_is_told(tinygen: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    assert "Add --memory" in tinygen("inspect", MODEL, "-o", tmp_path / "m.svg", code=2)[1]
    assert "Ask for one" in tinygen("inspect", MODEL, "--memory", "--proofs", code=2)[1]
    assert "no kernel" in tinygen("inspect", MODEL, "--memory", "--kernel", "nonsense", code=2)[1]
    assert "qemu-mps2-an387" in tinygen("inspect", MODEL, "--memory", "--board", "qemu-mps2-an387", code=1)[1]
    assert "is a folder" in tinygen("inspect", MODEL, "--memory", "-o", tmp_path, code=1)[1]
    assert not list(tmp_path.iterdir())
