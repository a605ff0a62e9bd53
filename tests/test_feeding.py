"""Libraries whose input comes row by row, or whose inputs and outputs lie in the application's memory."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import mmap
import subprocess
from pathlib import Path

import numpy as np
import pytest
from accesses import allowed_by
from building import BOARD, DIGITS, build_read, differences, host, varied
from emulated_bench import Bench
from row_nets import RowNet
from tflite_builder import build_model

from tinygen import pipeline, reference
from tinygen.errors import UnsupportedModel
from tinygen.fit import room
from tinygen.goal import Goal
from tinygen.host import compile_shared
from tinygen.interface import EXTERNAL, ROWS, Interface
from tinygen.ir import Array
from tinygen.library.origin import Origin
from tinygen.ops.case import CaseTensor
from tinygen.plan import plan
from tinygen.target import HOST, load_board, load_core

FED = Interface(input=ROWS)
LENT = Interface(input=EXTERNAL, output=EXTERNAL)


def chain(seed: int) -> bytes:
    """An image through 2 to 6 layers of all kinds, some around a residual, to a global pool and a classifier."""
    net = RowNet(np.random.default_rng([57, seed]), "int8", "int8")
    height, width, channels = (int(net.rng.integers(*ends)) for ends in ((5, 30), (1, 9), (1, 5)))
    first = x = net.value((1, height, width, channels))
    for _ in range(int(net.rng.integers(1, 6))):
        x = [net.any_window, net.any_window, net.pointwise, net.residual][int(net.rng.integers(4))](x)
    x = net.windowed(net.pointwise(x), "AVERAGE_POOL_2D", 0, kernel=x.shape[1:3], stride=x.shape[1:3], padding="VALID")
    x = net.dense(x)
    return build_model(net.tensors, net.operators, [first.id], [x.id])


def read(seed: int) -> pipeline.Model:
    return pipeline.decode(chain(seed), "chain.tflite")


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "objective"), [(0, "ram"), (1, "balanced"), (2, "ram"), (3, "speed"), (4, "size")])
def test_rows_that_are_fed_give_the_references_bytes(seed: int, objective: str, tmp_path: Path) -> None:
    built = build_read(read(seed), tmp_path / "out", "net", objective, interface=FED)
    assert built.manifest.layers[0].op == "ROW_GROUP"
    (port,) = built.manifest.inputs
    assert (port.memory, port.symbol, built.manifest.begin) == ("rows", "net_feed_row", "net_begin")
    assert differences(built, varied(built, 5), host(built)) == []


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(BOARD, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize(("seed", "objective"), [(0, "ram"), (5, "balanced")])
def test_on_the_board_fed_layers_keep_to_their_memory(bench: Bench, seed: int, objective: str, tmp_path: Path) -> None:
    built = build_read(read(seed), tmp_path / "out", "net", objective, interface=FED)
    board = load_board(BOARD)
    chosen = plan(built.model.graph, load_core(board.core), Goal(objective), room(board), rows=True)
    with bench.running(built, lambda image, of: allowed_by(image, of, chosen)) as peer:
        assert differences(built, varied(built, 3), contextlib.nullcontext(peer)) == []
    recorded = bench.recorded()
    assert recorded.outside.count == 0, recorded.outside
    assert [span.index for span in recorded.spans] == [-1, *range(len(built.manifest.layers))]


class Loaded:
    """A library in this process."""

    def __init__(self, model: pipeline.Model, interface: Interface, folder: Path) -> None:
        origin = Origin(model.file, model.sha256, model.options, HOST.name, Goal("ram"), interface)
        self.plan, library = pipeline.portable_c(model, "net", HOST, origin)
        self.output_bytes = library.outputs[0].bytes
        self.library = ctypes.CDLL(str(compile_shared(library.files, folder)))

    def call(self, function: str, *arguments: object, result: type | None = None) -> int | None:
        found = self.library[f"net_{function}"]
        found.restype = result
        answer: int | None = found(*arguments)
        return answer

    def feed(self, row: bytes) -> int | None:
        return self.call("feed_row", ctypes.create_string_buffer(row, len(row)), result=ctypes.c_uint32)

    def output(self) -> bytes:
        address = self.call("output", result=ctypes.c_void_p)
        assert address
        return ctypes.string_at(address, self.output_bytes)


def random_input(model: pipeline.Model, seed: int) -> Array:
    tensor = model.graph.tensors[model.graph.inputs[0]]
    return np.random.default_rng(seed).integers(-128, 128, tensor.shape).astype(np.int8)


def answer(model: pipeline.Model, data: Array) -> bytes:
    return reference.outputs(model.graph, [data])[0].tobytes()


def test_what_lasts_between_rows_is_what_the_plan_says(tmp_path: Path) -> None:
    """In memory that is poisoned where the fed layers keep nothing; rows are forgotten when asked to."""
    model = read(2)
    loaded = Loaded(model, dataclasses.replace(FED, arena=EXTERNAL), tmp_path)
    steps, layout = loaded.plan.steps, loaded.plan.layout
    arena = np.zeros(layout.plan.bytes // 4 + 16, np.int32)
    assert loaded.call("set_arena", ctypes.c_void_p(arena.ctypes.data), arena.nbytes, result=ctypes.c_int) == 0
    kept = np.zeros(arena.nbytes, np.bool_)
    output = steps[0].site.outputs[0]
    for start, size in (
        (layout.places[output.name].offset, output.bytes),
        (layout.scratch[0].offset, steps[0].scratch),
    ):
        kept[start : start + size] = True
    data = random_input(model, 1)
    for row in data[0, :3]:
        loaded.feed(row.tobytes())
    loaded.call("begin")
    for index, row in enumerate(data[0]):
        arena.view(np.int8)[~kept] = index - 100
        loaded.call("invoke")  # too early: nothing happens
        assert loaded.feed(row.tobytes()) == data.shape[1] - 1 - index
    assert loaded.feed(data[0, 0].tobytes()) == 0
    loaded.call("invoke")
    assert loaded.output() == answer(model, data)
    loaded.call("invoke")
    assert loaded.output() == answer(model, data)


X = CaseTensor((1, 6, 4, 2), "int8", 0.1, 3)
FLAT = CaseTensor((1, 48), "int8", 0.1, 3)
SOFT = CaseTensor((1, 6, 4, 2), "int8", 1 / 256, -128)
SUM = CaseTensor((1, 6, 4, 2), "int8", 0.2, 5)
ADD: dict[str, object] = {}
SOFTMAX = ("SOFTMAX", [0], [1], {"beta": 1.0})
REFUSED = {
    "node 0 (tensor1) RESHAPE: it cannot be computed row by row": build_model(
        [X, FLAT], [("RESHAPE", [0], [1], {})], [0], [1]
    ),
    "it has 2 inputs": build_model([X, X, SUM], [("ADD", [0, 1], [2], ADD)], [0, 1], [2]),
    "its shape is (1, 48)": build_model([FLAT, FLAT], [("ADD", [0, 0], [1], ADD)], [0], [1]),
    "with --io int8, it is int8": build_model(
        [dataclasses.replace(X, dtype="float32", scale=None), X], [("QUANTIZE", [0], [1], {})], [0], [1]
    ),
    "the input is read until node 1 (tensor2) ADD": build_model(
        [X, SOFT, SUM], [SOFTMAX, ("ADD", [0, 1], [2], ADD)], [0], [2]
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_fed_is_refused_in_words(reason: str) -> None:
    model = pipeline.decode(REFUSED[reason], "net.tflite")
    with pytest.raises(UnsupportedModel) as caught:
        pipeline.build(model, BOARD, interface=FED)
    assert reason in caught.value.message
    assert "without --input-rows" in caught.value.remedy


# --- inputs and outputs of the application's -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "chain", "views"])
def test_inputs_and_outputs_that_are_given_take_no_memory(bench: Bench, name: str, tmp_path: Path) -> None:
    model = lent_model(name)
    own = build_read(model, tmp_path / "own", "net")
    built = build_read(model, tmp_path / "out", "net", interface=LENT)
    assert built.manifest.arena_bytes <= own.manifest.arena_bytes
    if name == "views":
        assert built.manifest.arena_bytes == 0
    assert differences(built, varied(built, 4), host(built), bench.running(built)) == []


def lent_model(name: str) -> pipeline.Model:
    if name == "digits":
        return pipeline.read(DIGITS / "digits.tflite")
    if name == "chain":
        return read(3)
    flat, short = CaseTensor((48,), "int8", 0.1, 3), CaseTensor((48,), "int8", 0.2, 5)
    operators = [("RESHAPE", [0], [1], {}), ("ADD", [1, 1], [2], ADD), ("RESHAPE", [2], [3], {})]
    return pipeline.decode(build_model([X, flat, short, SUM], operators, [0], [3]), "views.tflite")


@pytest.mark.parametrize("name", ["digits", "chain", "views"])
def test_an_input_that_is_given_is_only_read(name: str, tmp_path: Path) -> None:
    """It may lie in flash: here, in memory that must not be written."""
    model = lent_model(name)
    loaded = Loaded(model, LENT, tmp_path)
    data = random_input(model, 2)
    expected = answer(model, data)
    page = ReadOnly(data.tobytes())
    result = np.full(loaded.output_bytes + 8, 77, np.int8)
    start = -result.ctypes.data % 4
    loaded.call("invoke")
    assert loaded.call("set_input", ctypes.c_void_p(page.address), result=ctypes.c_int) == 0
    loaded.call("invoke")
    assert loaded.call("set_output", ctypes.c_void_p(result.ctypes.data + start), result=ctypes.c_int) == 0
    loaded.call("invoke")
    assert result[start:].tobytes()[: loaded.output_bytes] == expected
    assert set(result[start + loaded.output_bytes :]) == {77}
    for wrong in (0, page.address + 1, page.address + 2):
        assert loaded.call("set_input", ctypes.c_void_p(wrong), result=ctypes.c_int) == -1
        result[:] = 77
        loaded.call("invoke")
        assert set(result) == {77}
        assert loaded.call("set_input", ctypes.c_void_p(page.address), result=ctypes.c_int) == 0


class ReadOnly:
    """Bytes that the system lets nobody write to."""

    def __init__(self, data: bytes) -> None:
        size = -(-len(data) // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, size)
        self._map.write(data)
        self._view = (ctypes.c_char * size).from_buffer(self._map)
        self.address = ctypes.addressof(self._view)
        read = 1
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(self.address), ctypes.c_size_t(size), read) == 0


def test_what_cannot_be_given_is_refused_in_words() -> None:
    model = pipeline.decode(build_model([X, SUM], [("ADD", [0, 0], [1], ADD)], [0], [1, 1]), "net.tflite")
    with pytest.raises(UnsupportedModel, match="it is more than one output"):
        pipeline.build(model, BOARD, interface=LENT)


# --- what is generated ------------------------------------------------------------------------------------------------

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-c", "-o", "/dev/null")


@pytest.mark.parametrize("interface", [FED, LENT, dataclasses.replace(FED, arena=EXTERNAL, output=EXTERNAL)])
def test_the_c_has_no_warnings(interface: Interface, tmp_path: Path) -> None:
    built = build_read(read(3), tmp_path / "out", "net", interface=interface)
    for compiler, source in (("gcc", built.source), ("clang", built.source), ("arm-none-eabi-gcc", built.board_source)):
        flags = built.manifest.cflags if compiler.startswith("arm") else ()
        subprocess.run([compiler, *flags, *STRICT, source], check=True)
    runner = built.out / "src"
    folders = [f"-I{built.board_library}", f"-I{runner}"]
    subprocess.run(["gcc", *STRICT, *folders, runner / "runner_model.c"], check=True)
    assert " ".join(interface.words) in (built.library / "net.h").read_text()
