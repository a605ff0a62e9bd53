"""Firmware for MLPerf Tiny's runner: its protocol, what raw data becomes, and results, here and on boards."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pty
import re
import select
import subprocess
import tty
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import serial
from mlperf_client import Client
from mlperf_nets import SHAPES, answer, raw_data, task_model
from shared import needs_shared_models, shared_models
from test_frame_c import PORT, SANITIZED, STRICT
from test_real_boards import COMPILERS, LIBC, STAND_INS
from test_real_boards import compiled as compiled_for

from tinygen import board as boards
from tinygen import cli, firmware, manifest, output, pipeline
from tinygen.errors import DoesNotFit, UsageError
from tinygen.interface import EXTERNAL, ROWS, Interface
from tinygen.manifest import Port
from tinygen.mlperf.pixels import pixel_table
from tinygen.mlperf.task import TASKS, TaskWish, task_of
from tinygen.resources import resource
from tinygen.target import load_board, load_core

HZ = 1000
TICKS = 7
"""What the stand-in for a board counts for each inference, and how many of them are a second."""


BOARD = "qemu-mps2-an386"


def built(task: str, out: Path, data: bytes | None = None) -> pipeline.Model:
    model = pipeline.decode(data or task_model(task), f"{task}.tflite")
    output.write(pipeline.build(model, BOARD, mlperf=TaskWish()).files, out)
    return model


def compiled(out: Path) -> Path:
    """The firmware with the host's library, as a program that talks over its standard input and output."""
    (content,) = manifest.load_all(out)
    (out / "port.c").write_text(PORT)
    sources = [*out.glob("src/mlperf/*.c"), *out.glob("src/*.c"), out / "port.c"]
    sources += [out / path for path in content.host_sources]
    includes = [f"-I{out / 'src'}", f"-I{out / content.host_include_dirs[0]}"]
    subprocess.run(["gcc", *STRICT, *SANITIZED, *includes, *sources, "-lm", "-o", out / "firmware"], check=True)
    return out / "firmware"


@contextlib.contextmanager
def running(program: Path) -> Iterator[Client]:
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    feed, hear = process.stdin.fileno(), process.stdout.fileno()

    def read() -> bytes:
        ready, _, _ = select.select([hear], [], [], 0.01)
        return os.read(hear, 65536) if ready else b""

    client = Client(lambda data: os.write(feed, data), read)
    try:
        assert client.lines() == ["m-init-done"]
        yield client
    finally:
        _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors.decode()) == (0, "")


@pytest.fixture(scope="module")
def kws(tmp_path_factory: pytest.TempPathFactory) -> tuple[pipeline.Model, Path]:
    out = tmp_path_factory.mktemp("mlperf") / "out"
    model = built("kws", out)
    return model, compiled(out)


@pytest.fixture
def client(kws: tuple[pipeline.Model, Path]) -> Iterator[Client]:
    with running(kws[1]) as found:
        yield found


def test_who_it_is(client: Client) -> None:
    (name,) = client.ask("name")
    assert re.fullmatch(r"m-name-dut-\[[^]]+\]", name)
    assert client.ask("profile") == ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[kws01]"]
    assert client.ask("timestamp") == ["m-lap-us-0"]
    helped = " ".join(client.ask("help"))
    assert all(command in helped for command in ("name", "profile", "timestamp", "db", "infer", "results"))


@pytest.mark.parametrize("task", TASKS)
def test_raw_data_in_and_results_out(task: str, tmp_path: Path, kws: tuple[pipeline.Model, Path]) -> None:
    model, program = kws if task == "kws" else (built(task, tmp_path), compiled(tmp_path))
    with running(program) as client:
        assert client.ask("profile")[1] == f"m-model-[{task}01]"
        total = 0
        for seed in range(3):
            raw = raw_data(task, seed)
            client.load(raw)
            laps, results = client.infer(3, 2)
            assert laps == [total * TICKS * 1_000_000 // HZ, (total + 3) * TICKS * 1_000_000 // HZ]
            total += 3
            assert results == answer(task, model, raw)
            assert client.ask("results") == [results]
            assert client.infer(1, 0)[1] == results, "the raw data stays"
            total += 1
            printed = "".join(line.removeprefix("m-buffer-") for line in client.ask("db print 20 4"))
            assert bytes.fromhex(printed.replace("-", "")) == raw[4:24]


def test_numbers_that_are_none_do_no_harm(tmp_path: Path) -> None:
    # Of floats beyond everything, and of those that are no numbers: the input saturates, and the result says so.
    built("ad", tmp_path)
    program = compiled(tmp_path)
    for value, result in ((np.inf, "inf"), (-1e30, "inf"), (np.nan, "nan")):
        with running(program) as client:
            client.load(np.full(640, value, "<f4").tobytes())
            assert client.infer(1, 0)[1].removeprefix("m-results-[").removesuffix("]").lstrip("-") == result


def test_what_is_left_out_has_a_default(client: Client) -> None:
    client.load(raw_data("kws", 1))
    said = client.ask("infer")
    assert (said[0], said[2]) == ("m-warmup-start-10", "m-infer-start-1")
    assert client.ask("infer 2")[2] == "m-infer-start-2"
    assert len(client.ask("db print")) == 62  # lines of 8 bytes, of 490


MISTAKES = {
    "db": "followed by",
    "db load": "number of bytes",
    "db load 0": "number of bytes",
    "db load -1": "number of bytes",
    "db load 4294967296": "number of bytes",
    "db load 1 2": "number of bytes",
    "db load 491": "no more than 490",
    "db abc": "one is missing",
    "db zz": "no hex digits: zz",
    "db 00": "More bytes than were announced",
    "db 00 11": "one word",
    "db print 1 1": "within those that were loaded",
    "db print x": "within",
    "infer 0": "1 or more",
    "infer -3": "1 or more",
    "infer 1 2 3": "infer takes",
    "infer 1x": "infer takes",
    "infer": "takes 490 bytes, loaded are 0",
    "results": "no results before",
    "nAme": "Unknown command: nAme",
    "name" + "e" * 251: "Unknown command",
    "name" + "e" * 252: "longer than 255",
    "0" * 5000: "longer than 255",
}


def test_mistakes_are_said_and_change_nothing(client: Client) -> None:
    for command, words in MISTAKES.items():
        (said,) = client.ask(command)
        assert re.fullmatch(r"e-\[.*\]", said) and words in said, command
    assert client.ask("profile")[1] == "m-model-[kws01]"


def test_a_load_takes_what_was_announced_and_no_more(client: Client) -> None:
    raw = raw_data("kws", 2)
    client.load(raw)
    assert "More bytes" in client.ask("db 00")[0]
    results = client.infer(1, 0)[1]
    client.ask("db load 4")
    assert "loaded are 0" in client.ask("infer 1 0")[0]
    assert client.ask("db 0102") == []
    assert "2 are missing" in client.ask("db 030405")[0]
    assert "no hex digits" in client.ask("db 03x4")[0]
    assert client.ask("db print") == ["m-buffer-01-02"]
    assert client.ask("db 0aFf") == ["m-load-done"]
    assert client.ask("db print") == ["m-buffer-01-02-0a-ff"]
    assert "takes 490 bytes, loaded are 4" in client.ask("infer 1 0")[0]
    assert client.ask("results") == [results], "those of the last inference"


def test_line_ends_and_noise_between_commands_are_no_part_of_them(client: Client) -> None:
    client.write(b"\x01\x00\r\n  name  \r\n%\xff\x80profile%%")
    assert client.lines()[0].startswith("m-name-dut")
    assert len(client.lines()) == 2
    assert client.lines() == []


def test_any_bytes_are_survived(client: Client) -> None:
    rng = np.random.default_rng(3)
    words = [
        b"db ",
        b"load ",
        b"print ",
        b"infer ",
        b"1 ",
        b"490 ",
        b"%",
        b"00ff",
        b"results",
        b"% ",
        b"\x00",
        b"e" * 300,
    ]
    for _ in range(40):
        client.write(b"".join(words[index] for index in rng.integers(0, len(words), 30)) + rng.bytes(20))
        client.write(b"%")
    client.write(b"%timestamp%")
    while not any(line.startswith("m-lap-us") for line in client.lines()):
        pass


def test_floats_are_printed_as_printf_does(tmp_path: Path) -> None:
    mlperf = resource("firmware", "mlperf")
    (tmp_path / "put.c").write_text(
        "#include <stdint.h>\nchar put[4096]; uint32_t count;\n"
        "void port_putc(uint8_t byte); void port_putc(uint8_t byte) { put[count++] = (char)byte; put[count] = 0; }\n"
    )
    library = tmp_path / "text.so"
    flags = [*STRICT, "-O1", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, mlperf / "text.c", tmp_path / "put.c", "-o", library], check=True)
    text = ctypes.CDLL(str(library))
    text.text_put_float.argtypes = [ctypes.c_float]
    printed = (ctypes.c_char * 4096).in_dll(text, "put")
    count = ctypes.c_uint32.in_dll(text, "count")

    def said(value: float) -> str:
        count.value = 0
        text.text_put_float(value)
        return printed.value.decode()

    rng = np.random.default_rng(4)
    bits = rng.integers(0, 2**32, 20_000, np.uint64).astype(np.uint32)
    values = [
        *bits.view(np.float32),
        *(rng.integers(-(2**20), 2**20, 20_000) / 2**11).astype(np.float32),  # many halfway between two
        *np.float32([0.0, -0.0, 1e-45, 2**53 - 2**29, 0.0005, 0.9995, 1023.9995]),
    ]
    for value in values:
        if abs(value) < 2.0**53:
            assert said(value) == f"{float(value):.3f}"
    assert said(2.0**53) == said(float("inf")) == "inf" and said(-(2.0**100)) == "-inf"
    assert said(float("nan")) == "nan"
    for value in (0, 9, 10, 2**32, 2**64 - 1):
        count.value = 0
        text.text_put_u64(ctypes.c_uint64(value))
        assert printed.value.decode() == str(value)


# --- what a model is for ----------------------------------------------------------------------------------------------


def port(shape: tuple[int, ...], dtype: str = "int8", scale: float | None = 0.1, zero_point: int | None = 0) -> Port:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return Port("x", "x", "static", dtype, shape, None, scale, zero_point, size)


@pytest.mark.parametrize("task", TASKS)
def test_shapes_tell_the_task(task: str) -> None:
    shape = SHAPES[task]
    found = task_of("model", [port(shape.input)], [port((1, shape.outputs))], TaskWish())
    assert found.kind is TASKS[task]
    assert found.raw_bytes == int(np.prod(shape.input)) * (4 if task == "ad" else 1)


@pytest.mark.parametrize(
    ("scale", "zero_point", "dtype"),
    [
        (1.0, -128, "int8"),
        (0.003921569, -128, "int8"),
        (0.0078125, -1, "int8"),
        (2 / 255, 0, "int8"),
        (1 / 255, 0, "uint8"),
        (1.0, 0, "uint8"),
    ],
)
def test_pixels_with_a_level_each_are_shifted(scale: float, zero_point: int, dtype: str) -> None:
    table = pixel_table(port((1, 8, 8, 3), dtype, scale, zero_point))
    assert table.dtype == dtype
    assert (table.astype(int) == np.arange(256) + np.iinfo(dtype).min).all()


def test_pixels_of_a_narrower_range_saturate() -> None:
    table = pixel_table(port((1, 8, 8, 3), "int8", 0.9 / 255, -128))
    assert (table[0], table[-1], table[128]) == (-128, 127, round(128 / 0.9) - 128)
    assert (np.diff(table.astype(int)) >= 0).all()


REFUSALS: Mapping[str, tuple[list[Port], list[Port], str | None, str]] = {
    "no task": ([port((1, 8, 8, 1))], [port((1, 10))], None, "shape of none of MLPerf Tiny's tasks"),
    "two inputs": ([port((1, 4)), port((1, 4))], [port((1, 4))], None, "2 inputs"),
    "float features": ([port((1, 49, 10, 1), "float32", None, None)], [port((1, 12))], None, "--io int8"),
    "channels first": ([port((1, 3, 96, 96))], [port((1, 2))], "vww", "--layout nhwc"),
    "many colours": ([port((1, 32, 32, 4))], [port((1, 10))], "ic", "not one picture"),
    "no window": ([port((1, 640))], [port((1, 10))], "ad", "10 elements, its input 640"),
    "no scale": ([port((1, 490), scale=None)], [port((1, 12))], "kws", "quantisation"),
    "labels": ([port((1, 490))], [port((1, 12), "int32", None, None)], "kws", "its output says nothing"),
}


@pytest.mark.parametrize("which", REFUSALS)
def test_what_fits_no_task_is_refused_in_words(which: str) -> None:
    inputs, outputs, task, words = REFUSALS[which]
    with pytest.raises(UsageError, match=words) as caught:
        task_of("mine.tflite", inputs, outputs, TaskWish(task))
    assert caught.value.remedy and "mine.tflite" in caught.value.message


def test_another_shape_can_be_said_to_be_a_task() -> None:
    found = task_of("mine", [port((1, 64, 64, 1), zero_point=-128)], [port((1, 3))], TaskWish("vww"))
    assert (found.raw_bytes, found.results) == (4096, 3)
    with pytest.raises(UsageError, match="no task 'sww'"):
        TaskWish("sww")


def test_buffers_count_for_whether_it_fits(tmp_path: Path) -> None:
    model = pipeline.decode(task_model("vww"), "vww.tflite")
    pipeline.build(model, "netduino2plus", mlperf=TaskWish())
    with pytest.raises(DoesNotFit, match=r"RAM: .* 27,656 benchmark"):
        pipeline.build(model, "microbit", mlperf=TaskWish())


@pytest.mark.parametrize("which", ["rows", "two models"])
def test_libraries_that_the_benchmark_cannot_feed_are_refused(which: str) -> None:
    model = pipeline.decode(task_model("ic"), "ic.tflite")
    with pytest.raises(UsageError, match=r"row by row|one model"):
        if which == "rows":
            pipeline.build(model, BOARD, interface=Interface(input=ROWS), mlperf=TaskWish())
        else:
            pipeline.build_together([model, model], BOARD, ["a", "b"], mlperf=TaskWish())


def test_memory_of_the_applications_is_given(tmp_path: Path) -> None:
    model = pipeline.decode(task_model("kws"), "kws.tflite")
    interface = Interface(arena=EXTERNAL, input=EXTERNAL, output=EXTERNAL)
    output.write(pipeline.build(model, BOARD, interface=interface, mlperf=TaskWish()).files, tmp_path)
    with running(compiled(tmp_path)) as client:
        client.load(raw_data("kws", 5))
        assert client.infer(2, 1)[1] == answer("kws", model, raw_data("kws", 5))


# --- boards -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def flashed(out: Path) -> Iterator[Client]:
    """The project, on its emulated board, as `tinygen flash` starts it."""
    try:
        with serial.Serial(firmware.flash(out), 115_200, timeout=0.05) as line:
            yield Client(line.write, lambda: line.read(line.in_waiting or 1))
    finally:
        firmware.stop(out)


@contextlib.contextmanager
def booting(board: str, elf: Path) -> Iterator[Client]:
    """The emulator as a board that is switched on while somebody listens."""
    emulator = load_board(board).emulator
    assert emulator is not None
    host, device = pty.openpty()
    tty.setraw(device)
    command = [emulator.program, "-M", emulator.machine, "-display", "none", "-monitor", "none", "-kernel", elf]
    process = subprocess.Popen([*command, "-serial", os.ttyname(device)])

    def read() -> bytes:
        ready, _, _ = select.select([host], [], [], 0.05)
        return os.read(host, 4096) if ready else b""

    try:
        yield Client(lambda data: os.write(host, data), read)
    finally:
        process.kill()
        process.wait()
        os.close(host)
        os.close(device)


@pytest.mark.parametrize(("board", "task"), [("qemu-mps2-an386", "ic"), ("netduino2plus", "ad")])
def test_an_emulated_board_is_driven_as_a_real_one(board: str, task: str, tmp_path: Path) -> None:
    model = pipeline.decode(task_model(task), f"{task}.tflite")
    build = pipeline.build(model, board, mlperf=TaskWish())
    output.write(build.files, tmp_path)
    with flashed(tmp_path) as client:
        assert client.ask("profile")[1] == f"m-model-[{task}01]"
        raw = raw_data(task, 6)
        client.load(raw)
        (start, end), results = client.infer(4, 1)
        assert start == 0 and end > 4 and end % 4 == 0, "the emulator takes as long each time"
        assert results == answer(task, model, raw)
        assert client.infer(4, 0)[0] == [end, 2 * end]
        assert "Unknown command" in client.ask("start")[0]
        with pytest.raises(UsageError, match="--runner mlperf"), boards.connected(tmp_path, build.manifest):
            pass
    with booting(board, firmware.firmware_path(tmp_path)) as client:
        assert client.lines() == ["m-init-done"]
        assert client.ask("name") == [f"m-name-dut-[tinygen, {task}]"]
    size, fit = firmware.firmware_size(tmp_path), build.fit
    assert size.ram_bytes + load_board(board).stack_bytes <= fit.ram_needed
    code = sum(need.code_expected for need in fit.regions if need.region == "flash")
    assert size.flash_bytes <= fit.flash_needed + code <= size.flash_bytes + 1024


def test_the_sketch_for_real_boards_answers_on_this_machine(tmp_path: Path) -> None:
    model = pipeline.decode(task_model("kws"), "kws.tflite")
    build = pipeline.build(model, "pico", mlperf=TaskWish())
    output.write(build.files, tmp_path)
    assert not list(tmp_path.glob("src/*/main.c"))
    sources = [*(tmp_path / "src").rglob("*.c*"), STAND_INS / "arduino_on_host.cpp"]
    sources += [tmp_path / path for path in build.manifest.host_sources]
    objects = []
    for source in sources:
        objects.append(tmp_path / f"{source.name}.o")
        compiler = ["g++", "-std=gnu++17"] if source.suffix == ".cpp" else ["gcc", "-std=gnu11"]
        include = [f"-I{STAND_INS}", "-DSTAND_IN_ESP", f"-I{tmp_path / build.manifest.host_include_dirs[0]}"]
        subprocess.run(
            [*compiler, "-Wall", "-Wextra", "-Werror", *include, "-c", source, "-o", objects[-1]], check=True
        )
    subprocess.run(["g++", *objects, "-o", tmp_path / "sketch"], check=True)
    with running(tmp_path / "sketch") as client:
        client.load(raw_data("kws", 9))
        laps, results = client.infer(3, 1)
        assert laps[0] == 0 and 0 <= laps[1] < 1_000_000
        assert results == answer("kws", model, raw_data("kws", 9))


@pytest.mark.parametrize(
    ("board", "task"), [("nucleo_f446re", "ad"), ("esp32dev", "ic"), ("esp32-c3-devkitm-1", "ad"), ("zero", "kws")]
)
def test_the_sketch_compiles_for_the_cores_of_real_boards(board: str, task: str, tmp_path: Path) -> None:
    core = load_core(load_board(board).core)
    build = pipeline.build(pipeline.decode(task_model(task), f"{task}.tflite"), board, mlperf=TaskWish(task))
    sources = {path: data.decode() for path, data in build.files.items() if path.startswith("src/")}
    (header,) = (path for path in build.files if path.endswith(f"/{task}.h") and path.startswith("lib/"))
    sources[f"src/{task}.h"] = build.files[header].decode()
    flags = (*core.flags, *LIBC[core.architecture], "-DSTAND_IN_ESP")
    compiled_for(COMPILERS[core.architecture], flags, tuple(sources.items()), tmp_path)


@needs_shared_models
@pytest.mark.parametrize(
    ("task", "file"),
    [
        ("kws", "kws_ds_cnn"),
        ("ad", "ad_autoencoder"),
        pytest.param("vww", "vww_mobilenet_v1", marks=pytest.mark.slow),
        pytest.param("ic", "ic_resnet8", marks=pytest.mark.slow),
    ],
)
def test_the_benchmarks_own_models_answer_as_the_reference_does(task: str, file: str, tmp_path: Path) -> None:
    folder = shared_models()
    assert folder is not None
    model = built(task, tmp_path, (folder / "mlperf" / f"{file}.tflite").read_bytes())
    raw = raw_data(task, 7)
    with running(compiled(tmp_path)) as client:
        client.load(raw)
        assert client.infer(1, 0)[1] == answer(task, model, raw)


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def called(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tinygen", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capfd.readouterr()

    path = tmp_path / "words.tflite"
    path.write_bytes(task_model("kws"))
    out = tmp_path / "out"
    code, said, _ = called("build", path, "-o", out, "--runner", "mlperf", "--task", "kws", "--json")
    assert code == 0 and json.loads(said)["manifest"]["name"] == "words"
    assert 'model = "kws01"' in (out / "src" / "mlperf_task.c").read_text()
    code, _, err = called("run", out, "--input", path)
    assert code in (1, 2) and "Traceback" not in err
    code, _, err = called("bench", out)
    assert code == 2 and "--runner mlperf" in err
    code, _, err = called("build", path, "-o", tmp_path / "other", "--task", "kws")
    assert code == 2 and "--task is for --runner mlperf" in err
    code, _, err = called("build", path, "-o", tmp_path / "other", "--runner", "mlperf", "--task", "ad")
    assert code == 2 and "12 elements, its input 490" in err
    assert not (tmp_path / "other").exists()
