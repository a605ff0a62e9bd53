"""Several models in one firmware, which take turns in one arena."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from building import DIGITS, Built, differences, host, tflm, varied
from emulated_bench import Bench
from tflite_builder import build_case

from tinygen import elf, manifest, output, pipeline, reference
from tinygen.board import BoardPeer
from tinygen.errors import DoesNotFit, UsageError
from tinygen.fit import FitReport, fit_together
from tinygen.goal import Goal
from tinygen.host import compile_shared
from tinygen.interface import EXTERNAL, STATIC, Interface
from tinygen.ir import Array
from tinygen.ops import svdf
from tinygen.placement import region_of
from tinygen.samples import Sample
from tinygen.target import RAM, load_board

BOARD = "qemu-mps2-an386"


def models() -> tuple[pipeline.Model, pipeline.Model]:
    """One without state and one with, neither arena of the other's size."""
    case = next(case for case in svdf.cases() if case.name == "rank_2")
    return pipeline.read(DIGITS / "digits.tflite"), pipeline.decode(build_case(case), "remembering.tflite")


def build(folder: Path, arena: str = STATIC) -> list[Built]:
    read = models()
    built = pipeline.build_together(read, BOARD, interface=Interface(arena))
    output.write(built[0].files, folder / "out")
    return [Built(model, folder / "out", part.manifest) for model, part in zip(read, built, strict=True)]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[Built]:
    return build(tmp_path_factory.mktemp("together"))


class Expected:
    """The reference of one model, which remembers."""

    def __init__(self, built: Built) -> None:
        self._graph = built.model.graph
        self._states = reference.initial_states(self._graph)

    def outputs(self, sample: Sample) -> list[bytes]:
        values = reference.evaluate(self._graph, sample.arrays, self._states)
        self._states = reference.next_states(self._graph, values)
        return [np.asarray(values[name]).tobytes() for name in self._graph.outputs]


def turns(together: list[Built]) -> list[tuple[int, Sample]]:
    """Random inputs, in an order in which each model follows itself and the other one."""
    samples = [varied(built, 8)[2:] for built in together]
    return [(model, samples[model][turn]) for turn, model in enumerate((0, 1, 1, 0, 1, 0))]


@pytest.mark.parametrize("arena", [STATIC, EXTERNAL])
def test_models_take_turns_on_the_board(arena: str, tmp_path: Path) -> None:
    together = build(tmp_path, arena)
    expected = [Expected(built) for built in together]
    with Bench(BOARD, tmp_path).running(together[0]) as peer:
        session = peer.session
        for built in together:
            assert session.check_model(built.manifest).name == built.manifest.name
            session.reset()
        for model, sample in turns(together):
            session.check_model(together[model].manifest)
            outputs, _ = BoardPeer(together[model].manifest, session).invoke(sample.bytes)
            assert outputs == expected[model].outputs(sample)


def test_models_take_turns_on_the_host(together: list[Built], tmp_path: Path) -> None:
    contents = [built.manifest for built in together]
    out = together[0].out
    paths = sorted({path for content in contents for path in content.host_sources})
    folders = sorted({folder for content in contents for folder in content.host_include_dirs})
    texts = {
        str(path.relative_to(out / folder)): path.read_text() for folder in folders for path in (out / folder).iterdir()
    }
    assert len({Path(path).name for path in paths}) == len(paths)
    library = ctypes.CDLL(str(compile_shared(texts, tmp_path)))
    expected = [Expected(built) for built in together]

    def address(symbol: str) -> int:
        function = library[symbol]
        function.restype = ctypes.c_void_p
        found: int = function()
        return found

    def invoke(content: manifest.Manifest, arrays: tuple[Array, ...]) -> list[bytes]:
        for port, array in zip(content.inputs, arrays, strict=True):
            ctypes.memmove(address(port.symbol), array.ctypes.data, port.bytes)
        library[content.invoke]()
        return [ctypes.string_at(address(port.symbol), port.bytes) for port in content.outputs]

    for model, sample in turns(together):
        assert invoke(contents[model], sample.arrays) == expected[model].outputs(sample)
    shared = contents[0].shared_arena
    assert shared
    arena = ctypes.addressof(ctypes.c_char.in_dll(library, shared.name))
    assert all(0 <= address(content.inputs[0].symbol) - arena < shared.bytes for content in contents)


def test_each_model_is_verified_by_itself(together: list[Built]) -> None:
    for built in together:
        assert differences(built, varied(built, 4), host(built), tflm(built)) == []


def test_the_arena_is_as_large_as_the_largest_and_all_else_is_apart(together: list[Built], tmp_path: Path) -> None:
    first, second = (built.manifest for built in together)
    assert first.shared_arena == second.shared_arena
    shared = first.shared_arena
    assert shared and shared.models == (first.name, second.name)
    assert first.arena_bytes != second.arena_bytes
    assert shared.bytes == max(first.arena_bytes, second.arena_bytes)
    writable: dict[str, int] = {}
    for path in sorted({*first.sources, *second.sources}):
        target = tmp_path / "object.o"
        includes = [f"-I{together[0].out / folder}" for folder in (*first.include_dirs, *second.include_dirs)]
        command = ["arm-none-eabi-gcc", *first.cflags, "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
        subprocess.run([*command, *includes, "-c", together[0].out / path, "-o", target], check=True)
        listed = subprocess.run(["arm-none-eabi-nm", "-S", target], capture_output=True, text=True, check=True).stdout
        for fields in map(str.split, listed.splitlines()):
            if fields[-2] in "bBdDC":
                assert fields[-1] not in writable
                writable[fields[-1]] = int(fields[1], 16)
    assert writable == {shared.name: shared.bytes, "state": second.state_bytes, "has_state": 4}


def test_the_manifest_holds_all_models(together: list[Built]) -> None:
    out = together[0].out
    contents = tuple(built.manifest for built in together)
    assert manifest.load_all(out) == contents
    assert [manifest.load(out, content.name) for content in contents] == list(contents)
    with pytest.raises(UsageError, match="several models: digits, remembering"):
        manifest.load(out)
    with pytest.raises(UsageError, match="no model digit"):
        manifest.load(out, "digit")
    output.write(pipeline.build(together[0].model, BOARD).files, out.parent / "single")
    output.write(pipeline.build_together(models(), BOARD)[0].files, out.parent / "single")
    assert manifest.load_all(out.parent / "single") == contents


def test_names_that_cannot_be_are_refused() -> None:
    one, other = models()
    with pytest.raises(UsageError, match=r"digits\.tflite and digits\.tflite would both be called digits"):
        pipeline.build_together([one, one], BOARD)
    with pytest.raises(UsageError, match="would both be called kws"):
        pipeline.build_together([one, other], BOARD, ["kws", "kws"])
    with pytest.raises(UsageError, match="1 names for 2 models"):
        pipeline.build_together([one, other], BOARD, ["kws"])
    with pytest.raises(UsageError, match="no model can be called a_shared_arena"):
        pipeline.build_together([one, other], BOARD, ["a", "a_shared_arena"])


def test_the_header_makes_the_same_files_again(together: list[Built]) -> None:
    for built in together:
        header = (built.board_library / f"{built.manifest.name}.h").read_text()
        command = "tinygen build digits.tflite remembering.tflite --board qemu-mps2-an386 --name digits --name remember"
        assert command in header
        (other,) = ({"digits", "remembering"} - {built.manifest.name},)
        assert f"shared with {other.pop()}" in header


def test_models_that_only_fit_one_by_one_are_refused() -> None:
    board = load_board("microbit")
    needs = pipeline.build(models()[0], board.name).fit
    spare = board.ram_bytes - needs.ram_needed

    def remembering(state: int) -> FitReport:
        """The same with so many bytes of state."""
        regions = [
            replace(need, parts={**need.parts, "state": state}) if need.region == RAM else need
            for need in needs.regions
        ]
        return replace(needs, regions=tuple(regions))

    # The arena is there once, the states are all there.
    fit_together([needs] * 3, board, "balanced")
    fit_together([remembering(spare // 2)] * 2, board, "balanced")
    with pytest.raises(DoesNotFit, match=r"the 3 models do not fit on microbit together:\n  - RAM: "):
        fit_together([remembering(spare // 2)] * 3, board, "balanced")
    with pytest.raises(DoesNotFit, match="flash: "):
        fit_together([needs] * 100, board, "balanced")


def test_what_models_share_is_placed_once(tmp_path: Path) -> None:
    read = models()
    places = (("arena", "psram"), ("scratch", "psram"), ("hot", "psram"))
    built = pipeline.build_together(read, BOARD, goal=Goal(places=places))
    output.write(built[0].files, tmp_path / "out")
    together = [Built(model, tmp_path / "out", part.manifest) for model, part in zip(read, built, strict=True)]
    bench = Bench(BOARD, tmp_path)
    psram = region_of(bench.board, "psram")
    shared = together[0].manifest.shared_arena
    assert shared
    with bench.running(together[0]) as peer:
        image = elf.read(bench.link(together[0].out, together[0].manifest))
        assert 0 <= image.symbol(shared.name).address - psram.address < psram.bytes
        for each in together:
            peer.session.check_model(each.manifest)
            peer.session.reset()
        expected = [Expected(each) for each in together]
        for model, sample in turns(together):
            peer.session.check_model(together[model].manifest)
            outputs, _ = BoardPeer(together[model].manifest, peer.session).invoke(sample.bytes)
            assert outputs == expected[model].outputs(sample)
    with pytest.raises(UsageError, match="2 models have layers of such names"):
        pipeline.build_together(read, BOARD, goal=Goal(places=places, hot="layer_00"))
