"""What a front end takes beside its model: it is counted in budgets, on boards and in pictures, and comes true."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from building import BOARD
from commands import Run
from sounds import FRONT_ENDS
from test_listening import decoded, hearing_for, window_model

from tinygen import pipeline
from tinygen.audio.library import library
from tinygen.errors import DoesNotFit, UsageError
from tinygen.goal import Goal
from tinygen.listening.detector import DetectorWish
from tinygen.listening.hearing import Hearing
from tinygen.memory_map import KEPT
from tinygen.placement import parsed
from tinygen.target import load_core

WISH = DetectorWish("", ("low", "high"), (0.5, 0.25))


@pytest.fixture
def hearing(tmp_path: Path) -> Hearing:
    return dataclasses.replace(hearing_for(decoded(window_model()), tmp_path), hop=2, detector=WISH)


def build(hearing: Hearing | None, goal: Goal | None = None) -> pipeline.Build:
    return pipeline.build(decoded(window_model()), BOARD, "net", goal, hearing=hearing)


@pytest.mark.parametrize("core_name", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("name", ["micro", "48 kHz", "mfcc-mlperf-kws", "logmel-mlperf-sww"])
def test_code_is_no_more_than_expected(name: str, core_name: str, tmp_path: Path) -> None:
    core = load_core(core_name)
    made = library(FRONT_ENDS[name], "mic", core, given=True)
    for path, text in made.files.items():
        (tmp_path / path).write_text(text)
    compiler = (f"{core.toolchain}gcc", *core.flags, "-std=c99", "-O2", "-c")
    subprocess.run([*compiler, tmp_path / "mic.c", "-o", tmp_path / "mic.o"], check=True)
    said = subprocess.check_output([f"{core.toolchain}size", tmp_path / "mic.o"], text=True)
    text_bytes, data, bss = map(int, said.splitlines()[1].split()[:3])
    assert made.sizes.flash_bytes / 2 < text_bytes <= made.sizes.flash_bytes
    assert (data, bss - bss % 4 - made.sizes.ram_bytes < 16) == (0, True)


def test_budgets_are_for_model_and_front_end(hearing: Hearing) -> None:
    alone, both = build(None), build(hearing)
    assert alone.beside.ram_bytes == 0 < both.beside.ram_bytes
    content = both.manifest
    assert content.front_end is not None
    assert (both.beside.ram_bytes, both.beside.const_bytes) == (
        content.front_end.ram_bytes,
        content.front_end.const_bytes,
    )
    model = content.arena_bytes + content.scratch_bytes + content.state_bytes
    enough = model + both.beside.ram_bytes
    exact = build(hearing, Goal(ram_budget=enough))
    assert exact.manifest.arena_bytes == content.arena_bytes
    assert f"--ram-budget {enough}" in exact.files["lib/net/src/net.h"].decode()
    least = both.layout.plan.lower_bound // 2 + both.beside.ram_bytes
    expected = rf"front end with its detector takes {both.beside.ram_bytes:,} of the {least:,} bytes of RAM"
    with pytest.raises(DoesNotFit, match=expected):
        build(hearing, Goal(ram_budget=least))
    for goal in (Goal(ram_budget=both.beside.ram_bytes), Goal(flash_budget=both.beside.flash_bytes)):
        with pytest.raises(DoesNotFit, match="the front end with its detector needs"):
            build(hearing, goal)


def test_boards_have_room_for_both(hearing: Hearing) -> None:
    both = build(hearing)
    ram, flash = ({need.region: need for need in both.fit.regions}[name] for name in ("ram", "flash"))
    assert ram.parts["front end"] == both.beside.ram_bytes
    assert flash.parts["front end"] == both.beside.const_bytes
    assert flash.code_expected > both.beside.code_bytes


def test_memory_has_a_place_for_each_part_that_is_kept(hearing: Hearing) -> None:
    drawn = build(hearing).memory
    kept = [block for block in drawn.blocks if block.role in KEPT]
    assert sum(block.bytes for block in kept) == drawn.kept_bytes == drawn.state_bytes + drawn.front_end_bytes
    assert all(a.end <= b.offset or b.end <= a.offset for a, b in combinations(kept, 2))
    assert all(block.alive == (0, 2 * len(drawn.layers)) for block in kept)
    assert drawn.bytes == drawn.arena_bytes + drawn.scratch_bytes + drawn.kept_bytes


def test_command_line_shows_it(hearing: Hearing, tmp_path: Path, run: Run) -> None:
    model, picture = tmp_path / "net.tflite", tmp_path / "memory.svg"
    model.write_bytes(window_model())
    arguments = ("inspect", model, "--frontend", hearing.source, "--hop", 2, "--labels", "low,high")
    code, said, _ = run(*arguments)
    assert code == 0
    built = build(dataclasses.replace(hearing, detector=dataclasses.replace(WISH, thresholds=(0.8, 0.8))))
    for name, size in [*built.beside.ram.items(), *built.beside.tables.items()]:
        assert re.search(rf"{name.replace('_', ' ')} +{size:,}", said), name
    assert re.search(rf"together +{built.beside.ram_bytes:,} +{built.beside.flash_bytes:,}", said)
    code, said, _ = run(*arguments, "--json")
    beside = json.loads(said)["beside"]
    assert (code, beside["ram"], beside["tables"]) == (0, dict(built.beside.ram), dict(built.beside.tables))
    code, said, _ = run(*arguments, "--memory", "-o", picture)
    assert (code, f"The front end takes {built.beside.ram_bytes:,} more" in said) == (0, True)
    # What a front end refuses is not advised.
    assert "--input" not in said and "--output" not in said
    blocks = ElementTree.fromstring(picture.read_text()).findall(".//{*}rect[@class='block front end']/{*}title")
    assert len(blocks) == len(built.beside.ram)
    for name, size in built.beside.ram.items():
        assert any(f"front end {name}: {size:,} bytes" in (block.text or "") for block in blocks)
    assert run("inspect", model, "--json")[0] == 0


def test_budgets_that_are_advised_can_be_met(hearing: Hearing, tmp_path: Path, run: Run) -> None:
    model = tmp_path / "net.tflite"
    model.write_bytes(window_model())
    code, said, _ = run("inspect", model, "--frontend", hearing.source, "--memory", "--json")
    found = json.loads(said)
    advised = [(saving["words"], saving["figures"]) for saving in found["savings"]]
    budgets = [(words.split()[1], figures) for words, figures in advised if words.startswith("--ram-budget")]
    assert code == 0 and budgets
    for budget, figures in budgets:
        out = tmp_path / f"out-{budget}"
        code, said, _ = run("build", model, "--frontend", hearing.source, "--ram-budget", budget, "-o", out, "--json")
        assert code == 0
        content = json.loads(said)["manifest"]
        assert content["arena_bytes"] + content["state_bytes"] == figures["ram_bytes"]


def test_front_ends_stay_where_they_are() -> None:
    with pytest.raises(UsageError, match="A front end's memory stays in RAM, and its tables in flash"):
        parsed(["front-end=psram"])
