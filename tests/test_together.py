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

from tinygen import manifest, output, pipeline, reference
from tinygen.board import BoardPeer
from tinygen.errors import DoesNotFit, UsageError
from tinygen.fit import fit_together
from tinygen.host import compile_shared
from tinygen.interface import EXTERNAL, STATIC, Interface
from tinygen.ir import Array
from tinygen.ops import svdf
from tinygen.samples import Sample
from tinygen.target import load_board

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
    # The arena is there once, the states are all there.
    fit_together([needs] * 3, [0] * 3, board)
    fit_together([replace(needs, ram_needed=needs.ram_needed + spare // 2)] * 2, [spare // 2] * 2, board)
    with pytest.raises(DoesNotFit, match=r"the 3 models do not fit on microbit together:\n  - RAM: "):
        fit_together([replace(needs, ram_needed=needs.ram_needed + spare // 2)] * 3, [spare // 2] * 3, board)
    with pytest.raises(DoesNotFit, match="flash: "):
        fit_together([needs] * 100, [0] * 100, board)
