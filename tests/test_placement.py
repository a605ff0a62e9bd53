"""Parts of a library in the board's regions of memory: where the linker puts them, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from building import DIGITS, build_file, differences, host, varied
from emulated_bench import Bench

from tinygen import elf, output, pipeline
from tinygen.choice import instructions
from tinygen.errors import DoesNotFit, UsageError
from tinygen.goal import Goal
from tinygen.hot_code import hot_code
from tinygen.interface import EXTERNAL, Interface
from tinygen.layers import coded_steps
from tinygen.placed import Placed, place
from tinygen.placement import AUTO, PARTS, parsed, region_of, resolved, sections
from tinygen.plan import Plan, plan
from tinygen.project import RUNNER_FOOTPRINT
from tinygen.target import FLASH, RAM, Board, Region, load_board, load_core

BOARD = "qemu-mps2-an386"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


HOT = "layer_00"


@pytest.mark.parametrize(
    ("part", "region"),
    [*((part, "psram") for part in PARTS), *((part, RAM) for part, home in PARTS.items() if home == FLASH)],
)
def test_each_part_lies_in_its_region_and_nothing_else_does(
    bench: Bench, part: str, region: str, tmp_path: Path
) -> None:
    model = pipeline.read(DIGITS / "digits.tflite")
    built = pipeline.build(model, BOARD, "digits", Goal(places=((part, region),), hot=HOT if part == "hot" else ""))
    output.write(built.files, tmp_path)
    image = elf.read(bench.link(tmp_path, built.manifest))
    memory = region_of(bench.board, region)
    there = {s.name for s in image.symbols if s.kind and 0 <= s.address - memory.address < memory.bytes}
    functions = {s.name for s in image.symbols if s.kind == "function" and s.name.startswith("digits_layer_0")}
    hot = {name for name in functions if name.startswith(f"digits_{HOT}")}
    own = {
        "arena": {s.name for s in image.symbols if s.name == "arena"},
        "scratch": {s.name for s in image.symbols if s.name == "layer_scratch"},
        "state": set(),  # the model has none
        "weights": {s.name for s in image.symbols if s.kind == "object" and s.name.startswith("layer_0")},
        "code": functions - hot,
        "hot": hot,
    }
    assert own["arena"] and own["weights"] and own["code"] and own["hot"]
    assert bool(own["scratch"]) == (part == "scratch")
    assert own[part] <= there
    others = set(own) - {part, *(["hot"] if part == "code" else []), *(["arena"] if region == RAM else [])}
    assert not there & set().union(*(own[other] for other in others))
    assert built.manifest.places == {part: region}
    assert built.manifest.hot_layers == ((HOT,) if part == "hot" else ())


def test_what_is_placed_is_copied_there_and_the_bytes_are_the_references(bench: Bench, tmp_path: Path) -> None:
    parts = ("weights", "code", "arena", "scratch")
    everywhere = build_file(
        DIGITS / "digits.tflite", tmp_path / "psram", places=(*((part, "psram") for part in parts), ("hot", RAM))
    )
    assert differences(everywhere, varied(everywhere, 3), bench.running(everywhere)) == []
    apart = build_file(
        DIGITS / "digits.tflite", tmp_path / "ram", places=(("weights", RAM), ("code", RAM), ("scratch", "psram"))
    )
    assert differences(apart, varied(apart, 3), bench.running(apart), host(apart)) == []


def board_of(*regions: Region) -> Board:
    """A board of these regions, with stack and runner in room of their own."""
    own = {
        RAM: RUNNER_FOOTPRINT.ram_bytes + load_board(BOARD).stack_bytes,
        FLASH: RUNNER_FOOTPRINT.flash_bytes,
    }
    roomy = tuple(replace(region, bytes=region.bytes + own.get(region.name, 0)) for region in regions)
    return replace(load_board(BOARD), regions=roomy)


def test_auto_is_the_fastest_region_with_room_and_the_usual_one_of_equals() -> None:
    usual = Region(FLASH, 0, 100, FLASH, 2), Region(RAM, 1000, 100, RAM, 2)
    fast = board_of(*usual, Region("dtcm", 2000, 60, RAM, 0), Region("slow", 3000, 1000, RAM, 9))
    places = dict.fromkeys(("state", "arena", "weights"), AUTO)
    sizes = {"arena": 50, "state": 20, "weights": 10}
    assert resolved(places, fast, sizes) == {"weights": FLASH, "arena": "dtcm", "state": RAM}
    assert resolved(places, fast, {**sizes, "arena": 70}) == {"weights": FLASH, "arena": RAM, "state": "dtcm"}
    assert resolved(places, fast, {**sizes, "arena": 120}) == {"weights": FLASH, "arena": "slow", "state": "dtcm"}
    # What is placed by hand, and what lies where it does anyway, have their room first.
    assert resolved({**places, "state": "dtcm"}, fast, sizes)["arena"] == RAM
    assert resolved({"state": AUTO}, fast, {"arena": 90, "state": 20, "scratch": 0})["state"] == "dtcm"
    assert resolved({"arena": AUTO, "scratch": AUTO}, fast, {"arena": 55, "scratch": 10}) == {
        "arena": RAM,
        "scratch": "dtcm",
    }


@pytest.fixture(scope="module")
def digits() -> Plan:
    model = pipeline.read(DIGITS / "digits.tflite")
    return plan(model.graph, load_core(load_board(BOARD).core), Goal())


MUCH = 1 << 20


def test_hot_code_is_what_executes_most_in_as_much_room_as_there_is(digits: Plan) -> None:
    every = hot_code(digits, "", MUCH)
    coded = coded_steps(digits.steps, digits.layout)
    known = {layer_id for layer_id, index in coded if digits.steps[index].chosen.estimate.instructions}
    assert every.layers == known
    assert every.instructions == instructions([digits.steps[index] for _, index in coded])
    rooms = range(0, every.bytes * 2, max(every.bytes // 40, 1))
    found = [hot_code(digits, "", room) for room in rooms]
    assert all(each.bytes <= room for each, room in zip(found, rooms, strict=True))
    assert not found[0].layers and found[-1] == every
    for less, room in zip(found, rooms, strict=True):
        for other in every.layers - less.layers:
            assert hot_code(digits, ",".join((*less.layers, other)), 0).bytes > room, "it would have had room, too"
        if less.layers:
            assert hot_code(digits, ",".join(sorted(less.layers)), 0) == less
            assert hot_code(digits, str(MUCH), MUCH) == every
    assert hot_code(digits, str(rooms[20]), MUCH) == found[20]


def test_hot_code_goes_where_it_saves_most(digits: Plan) -> None:
    slow_flash, ram = Region(FLASH, 0, MUCH, FLASH, 5), Region(RAM, MUCH, MUCH, RAM, 1)
    tiny, slower = Region("itcm", 2 * MUCH, 16, RAM, 0), Region("psram", 3 * MUCH, MUCH, RAM, 9)

    def placed(*regions: Region, **places: str) -> Placed:
        goal = Goal(places=tuple(places.items()))
        return place([digits], board_of(*regions), goal, Interface())[0]

    # Too little room in the fastest region; where there is some, it is better than the next one.
    assert dict(placed(slow_flash, ram, tiny, slower, hot=AUTO).places) == {"hot": RAM}
    assert dict(placed(slow_flash, ram, replace(tiny, bytes=MUCH), slower, hot=AUTO).places) == {"hot": "itcm"}
    # Nothing is faster than where all code lies.
    nowhere = placed(replace(slow_flash, wait_states=0), ram, slower, hot=AUTO)
    assert dict(nowhere.places) == {"hot": FLASH} and not nowhere.hot.layers
    # All code in slow memory: flash is better.
    assert dict(placed(slow_flash, replace(ram, wait_states=9), slower, code="psram", hot=AUTO).places) == {
        "code": "psram",
        "hot": FLASH,
    }


def test_scratch_beside_the_arena_stays_in_it(digits: Plan) -> None:
    board = load_board(BOARD)
    layout = digits.layout
    (same,) = place([digits], board, Goal(places=(("scratch", RAM),)), Interface())
    assert same.chosen is digits
    (apart,) = place([digits], board, Goal(places=(("scratch", "psram"),)), Interface())
    most = max(step.scratch for step in digits.steps)
    assert most > 0
    assert apart.chosen.layout.scratch_bytes == most
    assert apart.chosen.layout.plan.bytes <= layout.plan.bytes
    assert {place.memory for place in apart.chosen.layout.scratch.values()} == {"scratch"}
    # An external arena lies elsewhere in any case.
    (external,) = place([digits], board, Goal(places=(("scratch", RAM),)), Interface(EXTERNAL))
    assert external.chosen.layout.scratch_bytes == most
    budget = apart.chosen.layout.ram_bytes - 1
    with pytest.raises(DoesNotFit, match=f"the budget is {budget:,}"):
        place([digits], board, Goal(ram_budget=budget, places=(("scratch", "psram"),)), Interface())


@pytest.mark.parametrize(
    ("goal", "interface", "expected"),
    [
        (Goal(places=(("arena", "psram"),)), Interface(EXTERNAL), "lies where the application has it"),
        (Goal(hot="8000"), Interface(), "not said where the code"),
        (Goal(places=(("hot", "psram"),), hot="all"), Interface(), "neither bytes nor layers"),
        (Goal(places=(("hot", "psram"),), hot="0"), Interface(), "neither bytes nor layers"),
        (Goal(places=(("hot", "psram"),), hot="layer_00,layer_99"), Interface(), "no such layer"),
        (Goal(places=(("scratch", FLASH),)), Interface(), "cannot be written"),
    ],
)
def test_places_that_make_no_sense(digits: Plan, goal: Goal, interface: Interface, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        place([digits], load_board(BOARD), goal, interface)


def test_where_a_part_lies_anyway_it_needs_no_section() -> None:
    assert set(sections((("arena", RAM), ("weights", FLASH), ("code", RAM)))) == {"code"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["weights"], "not PART=REGION"),
        (["wieghts=ram"], "not PART=REGION"),
        (["arena="], "not PART=REGION"),
        (["arena=ram", "arena=psram"], "placed twice"),
    ],
)
def test_words_that_make_no_sense(words: list[str], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        parsed(words)


@pytest.mark.parametrize(
    ("place", "expected"), [("arena=psarm", "Did you mean psram"), ("state=flash", "cannot be written")]
)
def test_regions_that_cannot_be(place: str, expected: str) -> None:
    with pytest.raises(UsageError) as raised:
        resolved(dict(parsed([place])), load_board(BOARD), {})
    assert expected in str(raised.value)


def test_a_region_that_is_too_small_is_named_with_its_bytes(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "boards" / f"{BOARD}.toml").read_text()
    path = tmp_path / "small.toml"
    path.write_text(text.replace("bytes = 16_777_216", "bytes = 1_024"))
    model = pipeline.read(DIGITS / "digits.tflite")
    with pytest.raises(DoesNotFit, match=r"psram: [\d,]+ bytes needed \([\d,]+ weights\), 1,024 there"):
        pipeline.build(model, str(path), None, Goal(places=(("weights", "psram"),)))
