"""Libraries whose arena the application gives: what is theirs, what is not, and what happens without one."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from building import DIGITS, Built, build_read, differences, host, varied
from emulated_bench import Bench
from tflite_builder import build_case

from tinygen import pipeline, reference
from tinygen.errors import UsageError
from tinygen.goal import Goal
from tinygen.host import compile_shared
from tinygen.interface import EXTERNAL, Interface
from tinygen.ir import Array
from tinygen.library.origin import Origin
from tinygen.ops import svdf
from tinygen.ops.case import Case
from tinygen.target import HOST

BOARD = "qemu-mps2-an386"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


def remembering() -> Case:
    """A model with state."""
    return next(case for case in svdf.cases() if case.name == "rank_2")


def model_of(name: str) -> pipeline.Model:
    if name == "digits":
        return pipeline.read(DIGITS / "digits.tflite")
    return pipeline.decode(build_case(remembering()), "remembering.tflite")


@pytest.fixture(scope="module", params=["digits", "remembering"])
def external(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    out = tmp_path_factory.mktemp("external") / "out"
    return build_read(model_of(request.param), out, request.param, interface=Interface(EXTERNAL))


def test_the_references_bytes_in_an_arena_that_is_given(external: Built, tmp_path: Path) -> None:
    board = Bench(BOARD, tmp_path).running(external)
    assert differences(external, varied(external, 4), host(external), board) == []


def test_what_is_given_is_not_the_librarys(external: Built, tmp_path: Path) -> None:
    target = tmp_path / "library.o"
    subprocess.run(
        ["arm-none-eabi-gcc", *external.manifest.cflags, *STRICT, "-c", external.board_source, "-o", target], check=True
    )
    listed = subprocess.run(["arm-none-eabi-nm", "-S", target], capture_output=True, text=True, check=True).stdout
    owned = {fields[3]: int(fields[1], 16) for fields in map(str.split, listed.splitlines()) if fields[-2] in "bBdDC"}
    state = {"state": external.manifest.state_bytes, "has_state": 4} if external.manifest.reset else {}
    assert owned == {"arena": 4, **state}


class Loaded:
    """A library in this process, working in memory that it is given."""

    def __init__(self, model: pipeline.Model, name: str, folder: Path) -> None:
        origin = Origin(model.file, model.sha256, model.options, HOST.name, Goal(), Interface(EXTERNAL))
        _, library = pipeline.portable_c(model, name, HOST, origin)
        self.name = name
        self.arena_bytes = library.arena_bytes
        self.output_bytes = library.outputs[0].bytes
        self.library = ctypes.CDLL(str(compile_shared(library.files, folder)))

    def call(self, function: str, *arguments: object, result: type | None = None) -> int | None:
        found = self.library[f"{self.name}_{function}"]
        found.restype = result
        answer: int | None = found(*arguments)
        return answer

    def set_arena(self, address: int, size: int) -> int | None:
        return self.call("set_arena", ctypes.c_void_p(address), ctypes.c_uint32(size), result=ctypes.c_int)

    def address(self, port: str) -> int | None:
        return self.call(port, result=ctypes.c_void_p)

    def run(self, data: Array) -> bytes:
        source, target = self.address("input"), self.address("output")
        assert source and target
        ctypes.memmove(source, data.ctypes.data, data.nbytes)
        self.call("invoke")
        return ctypes.string_at(target, self.output_bytes)


@pytest.mark.parametrize("name", ["digits", "remembering"])
def test_nothing_in_the_arena_lasts_from_one_invoke_to_the_next(name: str, tmp_path: Path) -> None:
    model = model_of(name)
    loaded = Loaded(model, name, tmp_path)
    graph, random = model.graph, np.random.default_rng(3)
    tensor = graph.tensors[graph.inputs[0]]
    states = reference.initial_states(graph)
    canary = 64
    for _ in range(5):
        # Elsewhere each time, in garbage, with nothing to spare.
        words = np.frombuffer(random.bytes(loaded.arena_bytes + 2 * canary), np.int8).copy()
        before = words.copy()
        assert loaded.set_arena(words.ctypes.data + canary, loaded.arena_bytes) == 0
        data = random.integers(-128, 128, tensor.shape).astype(tensor.dtype)
        values = reference.evaluate(graph, [data], states)
        states = reference.next_states(graph, values)
        assert loaded.run(data) == values[graph.outputs[0]].tobytes()
        for edge in (slice(None, canary), slice(-canary, None)):
            assert np.array_equal(words[edge], before[edge])


def test_an_arena_that_cannot_be_is_refused_and_none_is_used(tmp_path: Path) -> None:
    loaded = Loaded(model_of("digits"), "digits", tmp_path)
    words = np.zeros(loaded.arena_bytes // 4 + 8, np.int32)
    address = words.ctypes.data

    def is_without() -> bool:
        words[:] = 0x5A5A5A5A
        loaded.call("invoke")
        loaded.call("run_layer", 0)
        size = ctypes.c_uint32(1)
        output = loaded.call("layer_output", 0, ctypes.byref(size), result=ctypes.c_void_p)
        nothing = (loaded.address("input"), loaded.address("output"), output, size.value) == (None, None, None, 0)
        return nothing and bool(np.all(words == 0x5A5A5A5A))

    assert is_without()
    refused = [(address + 4 + shift, loaded.arena_bytes) for shift in (1, 2, 3)]
    refused += [(address, loaded.arena_bytes - 1), (address, 0), (0, loaded.arena_bytes)]
    for wrong in refused:
        assert loaded.set_arena(address, loaded.arena_bytes) == 0
        assert loaded.address("input") is not None
        assert loaded.set_arena(*wrong) == -1
        assert is_without(), wrong


def test_an_external_arena_cannot_be_placed() -> None:
    goal = Goal(places=(("arena", "ram"),))
    with pytest.raises(UsageError, match="where the application has it"):
        pipeline.build(model_of("digits"), BOARD, goal=goal, interface=Interface(EXTERNAL))


@pytest.mark.parametrize(("compiler", "standard"), [("g++", "c++11"), ("clang++", "c++17"), ("clang", "c99")])
def test_the_header_says_how_to_give_it(external: Built, compiler: str, standard: str, tmp_path: Path) -> None:
    """Its own example compiles as it stands, in C++, too."""
    name = external.manifest.name
    header = (external.library / f"{name}.h").read_text()
    example = re.findall(r"^ \*     (static int32_t memory.*|\w+_set_arena\(.*)$", header, re.MULTILINE)
    assert len(example) == 2
    assert "--arena external -o OUT" in header
    user = tmp_path / "user.c"
    body = "\n    ".join(example)
    user.write_text(f'#include "{name}.h"\nint use(void);\nint use(void)\n{{\n    {body}\n    return 0;\n}}\n')
    language = "c++" if "++" in compiler else "c"
    flags = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only", f"-I{external.library}")
    subprocess.run([compiler, "-x", language, f"-std={standard}", *flags, user], check=True)
