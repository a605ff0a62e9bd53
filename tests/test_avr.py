"""AVR: generated C is right where an int has 16 bits and constants lie in flash that has addresses of its own.

The processors are simavr's. A missing tool is a failure here, not a skip.
"""

from __future__ import annotations

import re
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_cases import few_rows
from building import DIGITS, Built, build_file, build_read, differences, varied
from case_files import case_file
from emulated_bench import Bench
from operator_cases import NAMED, kernels_of
from qdq_net import QdqNet

from tinygen import bench, core_limits, elf, firmware, manifest, output, pipeline
from tinygen.board import BoardPeer, connected
from tinygen.core_limits import FLASH_SPACE_BYTES, LARGEST_ARRAY
from tinygen.counting.disassembly import Instruction, disassemble
from tinygen.errors import DoesNotFit, UnsupportedModel, UsageError
from tinygen.goal import Goal
from tinygen.ops import registry
from tinygen.project import runner_footprint
from tinygen.stack_use import UNPAINTED, function_bound, stack_bound
from tinygen.target import AVR, load_board, load_core

BOARD, SMALL, LARGE = "simavr-atmega2560", "simavr-atmega328p", "simavr-atmega1284p"
SAMPLES = 4
TOGETHER = 24
"""Models in one firmware: each has some RAM of its own."""
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Waddr-space-convert", "-Werror")


def test_kernels_give_the_references_bytes(tmp_path: Path) -> None:
    """Each portable kernel, with each type of inputs that its cases have; products and differences reach their ends."""
    chosen, refused = _chosen()
    of_floats = {kernel for name in refused for kernel in kernels_of(name)}
    assert {kernel.name for kernel in registry.KERNELS if kernel.portable} <= {k for k, _ in chosen} | of_floats
    names = sorted(set(chosen.values()))
    found: dict[str, list[str]] = {}
    for start in range(0, len(names), TOGETHER):
        folder = tmp_path / str(start)
        folder.mkdir()
        found |= _differences([_model(name) for name in names[start : start + TOGETHER]], folder)
    assert found == {}


def _chosen() -> tuple[dict[tuple[str, str], str], set[str]]:
    """For kernels and types of inputs the case that is tried; and the cases that are refused."""
    core = load_core(load_board(BOARD).core)
    chosen: dict[tuple[str, str], str] = {}
    refused = set()
    for name, case in NAMED.items():
        dtypes = ",".join(sorted({tensor.dtype for tensor in case.inputs if tensor is not None}))
        wanted = {(kernel, dtypes) for kernel in kernels_of(name, core)} - chosen.keys()
        try:
            layers = pipeline.build(_model(name), BOARD, "kernel").manifest.layers if wanted else ()
        except UnsupportedModel:
            refused.add(name)
        except DoesNotFit:
            continue
        else:
            chosen |= {key: name for key in ((layer.kernel, dtypes) for layer in layers) if key in wanted}
    return chosen, refused


def _differences(models: list[pipeline.Model], folder: Path) -> dict[str, list[str]]:
    output.write(pipeline.build_together(models, BOARD)[0].files, folder / "out")
    emulated = Bench(BOARD, folder)
    contents = manifest.load_all(folder / "out")
    built = [Built(model, folder / "out", content) for model, content in zip(models, contents, strict=True)]
    found = {}
    with emulated.running(built[0]) as peer:
        linked = _linked(emulated.image)
        for each in built:
            peer.session.check_model(each.manifest)
            one = nullcontext(BoardPeer(each.manifest, peer.session))
            found[each.manifest.name] = differences(each, varied(each, SAMPLES), one)
            _check_stack(peer.session.stack(), *linked, each)
    return {name: different for name, different in found.items() if different}


def _linked(path: Path) -> tuple[elf.Image, dict[int, Instruction]]:
    return elf.read(path), disassemble(path, load_core(load_board(BOARD).core).toolchain)


def _check_stack(used: int | None, image: elf.Image, code: dict[int, Instruction], built: Built) -> None:
    """No more was used than can be, one of the interrupts included: they do not interrupt each other."""
    functions = {symbol.name for symbol in image.symbols if symbol.kind == "function"}
    vectors = {name for name in functions if re.fullmatch(r"__vector_\d+", name)}
    interrupts = [function_bound(image, code, name).bytes or 0 for name in vectors]
    assert len(interrupts) == 2 and min(interrupts) > 0
    bound = stack_bound(image, code, built.manifest)
    assert used is not None and bound.bytes is not None, f"{built.manifest.name}: {bound}"
    assert used <= max(bound.bytes + max(interrupts), UNPAINTED), f"{built.manifest.name}: {used}, {bound}"


def _model(name: str) -> pipeline.Model:
    file, data = case_file(few_rows(NAMED[name]))
    return pipeline.decode(data, f"{name}{Path(file).suffix}")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_file(DIGITS / "digits.tflite", tmp_path_factory.mktemp("digits") / "out", "digits", board=SMALL)


def test_digits_runs_in_two_kilobytes(digits: Built) -> None:
    """From the model file through PlatformIO to the answers; and the cycles, which are the same each time."""
    inputs = varied(digits, SAMPLES)
    port = firmware.flash(digits.out)
    try:
        with connected(digits.out, digits.manifest, port) as peer:
            assert differences(digits, inputs, nullcontext(peer)) == []
            hello = peer.session.hello()
            assert hello.emulated_ticks and hello.emulated_cycles
            cycles = {bench.invoke_once(peer.session, digits.manifest) for _ in range(3)}
            used = peer.session.stack()
            _check_stack(used, *_linked(firmware.firmware_path(digits.out)), digits)
    finally:
        firmware.stop(digits.out)
    known = [count for count in cycles if count is not None]
    assert len(known) == len(cycles)
    assert digits.manifest.macs < min(known)  # each takes a cycle at least
    assert max(known) - min(known) < min(known) // 100  # an interrupt falls here or there
    board = load_board(SMALL)
    assert used is not None and used < board.stack_bytes

    image = firmware.firmware_image(digits.out)
    assert image.architecture == AVR
    runner = image.ram_bytes - digits.manifest.arena_bytes
    footprint = runner_footprint(board)
    assert 0.8 * footprint.ram_bytes < runner <= footprint.ram_bytes
    assert image.ram_bytes + board.stack_bytes <= board.ram_bytes


def test_digits_runs_where_addresses_of_flash_have_more_bits(tmp_path: Path) -> None:
    built = build_file(DIGITS / "digits.tflite", tmp_path / "out", "digits", board=LARGE)
    (tmp_path / "bench").mkdir()
    emulated = Bench(LARGE, tmp_path / "bench")
    with emulated.running(built) as peer:
        assert differences(built, varied(built, SAMPLES), nullcontext(peer)) == []
        _check_stack(peer.session.stack(), *_linked(emulated.image), built)


def test_edges_of_floats_are_taken_bit_by_bit(tmp_path: Path) -> None:
    """float32 in and out, its channels moved on the way: nothing of the compiler's floats is linked."""
    net = QdqNet("uint8")
    data = net.bytes(net.convolution(net.input(1, 3, 6, 5), 3, 4))
    built = build_read(pipeline.decode(data, "net.onnx"), tmp_path / "out", "net", board=BOARD)
    edges = [layer.kernel for layer in built.manifest.layers if layer.kernel.startswith(("quantize", "dequantize"))]
    assert edges == ["quantize.integer", "dequantize.integer"]
    assert [tensor.dtype for tensor in (*built.manifest.inputs, *built.manifest.outputs)] == ["float32"] * 2
    (tmp_path / "bench").mkdir()
    emulated = Bench(BOARD, tmp_path / "bench")
    with emulated.running(built) as peer:
        assert differences(built, varied(built, SAMPLES), nullcontext(peer)) == []
    names = {symbol.name for symbol in elf.read(emulated.image).symbols}
    assert not {name for name in names if re.match(r"__\w*(fp_|sf)", name)}


def test_constants_stay_in_flash(digits: Built) -> None:
    """No byte is copied to RAM; none is read as if it were there, which the compiler would warn of."""
    core = load_core(digits.manifest.core)
    objects = digits.out / "digits.o"
    command = [f"{core.toolchain}gcc", *digits.manifest.cflags, *WARNINGS, "-c", str(digits.board_source)]
    done = subprocess.run([*command, "-o", str(objects)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    image = elf.read(objects)
    assert sum(section.bytes for section in image.sections if section.in_ram and section.in_flash) == 0
    in_flash = sum(section.bytes for section in image.sections if section.name == ".progmem.data")
    assert in_flash > 0.9 * digits.manifest.const_bytes  # of equal ones, the compiler keeps one


def test_what_is_for_other_cores_is_refused() -> None:
    model = _model("fully_connected-plain")
    with pytest.raises(UsageError, match="without --frontend, --place and --runner"):
        pipeline.build(model, BOARD, goal=Goal(places=(("weights", "ram"),)))


def test_floats_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedModel, match=r"floats.*ATmega2560") as caught:
        pipeline.build(_model("float_mean-image"), BOARD)
    assert "MEAN" in str(caught.value)


def test_constants_that_no_address_reaches_are_refused() -> None:
    core = load_core(load_board(BOARD).core)
    core_limits.check_flash_space(FLASH_SPACE_BYTES, core)
    with pytest.raises(DoesNotFit, match="65,025 bytes of constants"):
        core_limits.check_flash_space(FLASH_SPACE_BYTES + 1, core)
    core_limits.check_flash_space(FLASH_SPACE_BYTES + 1, load_core("cortex-m4"))


def test_an_array_that_no_compiler_takes_is_refused() -> None:
    pipeline.build(_dense(LARGEST_ARRAY // 512), BOARD)
    with pytest.raises(DoesNotFit, match=r"FULLY_CONNECTED has 32,768 bytes of weights"):
        pipeline.build(_dense(LARGEST_ARRAY // 512 + 1), BOARD)


def _dense(filters: int) -> pipeline.Model:
    """A layer of that many times 512 weights."""
    plain = NAMED["fully_connected-no_bias"]
    x, weights, *rest = plain.inputs
    assert x is not None and weights is not None
    data = np.ones((filters, 512), np.int8)
    inputs = (replace(x, shape=(1, 512)), replace(weights, shape=data.shape, data=data), *rest)
    case = replace(plain, inputs=inputs, outputs=(replace(plain.outputs[0], shape=(1, filters)),))
    return pipeline.decode(case_file(case)[1], "dense.tflite")
