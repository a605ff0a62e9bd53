"""Parts of a library in the board's regions of memory: where the linker puts them, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from building import DIGITS, build_file, differences, varied
from emulated_bench import Bench

from tinygen import elf, output, pipeline
from tinygen.errors import DoesNotFit, UsageError
from tinygen.goal import Goal
from tinygen.placement import PARTS, parsed, resolved, sections
from tinygen.target import FLASH, RAM, Board, Region, load_board

BOARD = "qemu-mps2-an386"


def board(*regions: Region) -> Board:
    """A board with further regions."""
    return replace(
        load_board(BOARD), regions=(Region(FLASH, 0, 100, FLASH, 2), Region(RAM, 1000, 100, RAM, 2), *regions)
    )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("part", PARTS)
def test_each_part_lies_in_its_region_and_nothing_else_does(bench: Bench, part: str, tmp_path: Path) -> None:
    model = pipeline.read(DIGITS / "digits.tflite")
    built = pipeline.build(model, BOARD, "digits", Goal(places=((part, "psram"),)))
    output.write(built.files, tmp_path)
    image = elf.read(bench.link(tmp_path, built.manifest))
    region = next(region for region in bench.board.regions if region.name == "psram")
    there = {s.name for s in image.symbols if s.kind and 0 <= s.address - region.address < region.bytes}
    own = {
        "arena": {s.name for s in image.symbols if s.name == "arena"},
        "state": set(),  # the model has none
        "weights": {s.name for s in image.symbols if s.kind == "object" and s.name.startswith("layer_0")},
        "code": {s.name for s in image.symbols if s.kind == "function" and s.name.startswith("digits_layer_0")},
    }
    assert own["arena"] and own["weights"] and own["code"]
    assert own[part] <= there
    assert not there & set().union(*(names for other, names in own.items() if other != part))


def test_what_is_placed_is_copied_there_and_the_bytes_are_the_references(bench: Bench, tmp_path: Path) -> None:
    built = build_file(
        DIGITS / "digits.tflite", tmp_path, places=(("weights", "psram"), ("code", "psram"), ("arena", "psram"))
    )
    assert differences(built, varied(built, 3), bench.running(built)) == []


def test_auto_is_the_fastest_region_with_room_and_the_usual_one_of_equals() -> None:
    fast = board(Region("dtcm", 2000, 60, RAM, 0), Region("slow", 3000, 1000, RAM, 9))
    places = (("state", "auto"), ("arena", "auto"), ("weights", "auto"))
    sizes = {"arena": 50, "state": 20, "weights": 10}
    assert resolved(places, fast, sizes) == (("weights", FLASH), ("arena", "dtcm"), ("state", RAM))
    assert resolved(places, fast, {**sizes, "arena": 70}) == (("weights", FLASH), ("arena", RAM), ("state", "dtcm"))


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
        resolved(parsed([place]), load_board(BOARD), {})
    assert expected in str(raised.value)


def test_a_region_that_is_too_small_is_named_with_its_bytes(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "boards" / f"{BOARD}.toml").read_text()
    path = tmp_path / "small.toml"
    path.write_text(text.replace("bytes = 16_777_216", "bytes = 1_024"))
    model = pipeline.read(DIGITS / "digits.tflite")
    with pytest.raises(DoesNotFit, match=r"psram: [\d,]+ bytes needed \([\d,]+ weights\), 1,024 there"):
        pipeline.build(model, str(path), None, Goal(places=(("weights", "psram"),)))
