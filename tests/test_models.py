"""Whole models: reference, generated C and the original runtime give the same bytes, and the accuracy."""

from __future__ import annotations

import json
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from building import DIGITS, Built, assert_exact, build_bytes, build_file, differences, varied
from emulated_bench import Bench
from shared import needs_shared_models, shared_model_files, shared_models
from tflite_builder import build_case

from tinygen import pipeline, reference, samples
from tinygen.goal import OBJECTIVES, Goal
from tinygen.host import compile_host
from tinygen.ir import Array
from tinygen.ops import conv_2d
from tinygen.peer import Peer, pipe_peer
from tinygen.plan import plan
from tinygen.samples import Sample
from tinygen.target import HOST, load_core

SAMPLES = 20
REAL = 20

STEPS = 200
"""Consecutive ones of a model with state, before a reset and again after it."""

SMALLEST_ARENAS = {
    "mlperf/kws_ds_cnn": 16_000,
    "mlperf/vww_mobilenet_v1": 55_296,
    "mlperf/ic_resnet8": 49_152,
    "mlperf/ad_autoencoder": 768,
    "mlperf/sww_streaming_wakeword": 6_656,
}
"""By hand: the largest sum of tensors that some step of the model needs at once, were none to overlap."""


def shared_model(name: str) -> Path:
    models = shared_models()
    assert models is not None
    return models / f"{name}.tflite"


def build_shared(name: str, tmp_path: Path) -> Built:
    return build_file(shared_model(name), tmp_path / "out")


def build_digits(tmp_path: Path, name: str = "digits") -> Built:
    return build_file(DIGITS / "digits.tflite", tmp_path / name, name)


def kws_data() -> Path:
    models = shared_models()
    assert models is not None
    return models.parent / "data" / "kws01.npz"


def labels(path: Path) -> Array:
    with np.load(path) as arrays:
        return np.asarray(arrays["labels"])


def right_answers(built: Built, inputs: list[Sample], expected: Array) -> int:
    answers = [int(np.argmax(reference.outputs(built.model.graph, sample.arrays)[0])) for sample in inputs]
    assert len(answers) == len(expected)
    return int(np.sum(np.array(answers) == expected))


def optimised(built: Built, folder: Path) -> AbstractContextManager[Peer]:
    """The generated C as a user compiles it: no sanitizers, optimised. For many inputs."""
    program = compile_host(built.out, built.manifest, folder, "gcc", ["-O2", "-fno-sanitize=all"])
    return pipe_peer("host C (gcc -O2)", [str(program)], built.manifest)


@needs_shared_models
@pytest.mark.parametrize("path", shared_model_files(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shared_models_are_exact(path: Path, tmp_path: Path) -> None:
    built = build_file(path, tmp_path / "out")
    inputs = varied(built, 2 * STEPS if built.model.graph.states else SAMPLES)
    assert [sample.reset for sample in inputs].count(True) == 2
    assert_exact(built, inputs)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench("qemu-mps2-an386", tmp_path_factory.mktemp("bench"))


@needs_shared_models
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["mlperf/kws_ds_cnn", "mlperf/vww_mobilenet_v1", "mlperf/ic_resnet8"])
def test_kernels_chosen_for_a_core_are_exact(bench: Bench, name: str, objective: str, tmp_path: Path) -> None:
    built = build_file(shared_model(name), tmp_path / "out", objective=objective, board=bench.board.name)
    assert len({layer.kernel for layer in built.manifest.layers}) > 2
    assert differences(built, varied(built, 3), bench.running(built)) == []


@needs_shared_models
@pytest.mark.parametrize("name", SMALLEST_ARENAS)
def test_the_arena_is_proved_to_be_the_smallest(name: str) -> None:
    graph = pipeline.read(shared_model(name)).graph
    portable = plan(graph, HOST, Goal(), portable=True).layout
    assert portable.disjoint_bytes == SMALLEST_ARENAS[name]
    assert portable.plan.bytes <= SMALLEST_ARENAS[name]
    for objective in OBJECTIVES:  # with memory that kernels want for themselves
        found = plan(graph, load_core("cortex-m4"), Goal(objective)).layout.plan
        assert found.bytes == found.lower_bound


@needs_shared_models
def test_keywords_on_all_real_inputs(tmp_path: Path) -> None:
    built = build_shared("mlperf/kws_ds_cnn", tmp_path)
    inputs = samples.from_file(kws_data(), built.manifest.inputs)
    assert len(inputs) == 1000
    assert differences(built, inputs, optimised(built, tmp_path)) == []
    assert right_answers(built, inputs, labels(kws_data())) == 901


@needs_shared_models
def test_keywords_are_exact_on_real_inputs(tmp_path: Path) -> None:
    built = build_shared("mlperf/kws_ds_cnn", tmp_path)
    assert_exact(built, samples.from_file(kws_data(), built.manifest.inputs)[:REAL])


def test_digits_is_exact(tmp_path: Path) -> None:
    built = build_digits(tmp_path)
    real = samples.from_file(DIGITS / "digits_test.npz", built.manifest.inputs)
    assert_exact(built, [*varied(built, SAMPLES), *real[:REAL]])


def test_digits_reads_as_many_digits_as_it_says(tmp_path: Path) -> None:
    figures = json.loads((DIGITS / "figures.json").read_text())
    built = build_digits(tmp_path)
    inputs = samples.from_file(DIGITS / "digits_test.npz", built.manifest.inputs)
    assert len(inputs) == figures["held_out_images"]
    right = right_answers(built, inputs, labels(DIGITS / "digits_test.npz"))
    assert round(right / len(inputs), 4) == figures["int8_accuracy"]
    assert built.manifest.macs == figures["macs"]
    assert len(built.model.data) == figures["model_bytes"]


# --- two models in one program ---------------------------------------------------------------------------------------

TWO_MODELS = """
#include "first.h"
#include "second.h"
#include <stdio.h>
#include <string.h>

int main(void)
{
    signed char input[FIRST_INPUT_BYTES + SECOND_INPUT_BYTES];
    if (fread(input, 1, sizeof input, stdin) != sizeof input) {
        return 1;
    }
    memcpy(first_input(), input, FIRST_INPUT_BYTES);
    memcpy(second_input(), input + FIRST_INPUT_BYTES, SECOND_INPUT_BYTES);
    first_invoke();
    second_invoke();
    fwrite(first_output(), 1, FIRST_OUTPUT_BYTES, stdout);
    fwrite(second_output(), 1, SECOND_OUTPUT_BYTES, stdout);
    return 0;
}
"""

COMPILERS = {
    "c": ("gcc", "-std=c99", "gcc"),
    "c++": ("g++", "-std=c++17", "gcc"),
    "clang++": ("clang++", "-std=c++17", "clang"),
}
"""Compiler and standard of the main program; compiler of the libraries."""


@pytest.mark.parametrize("language", COMPILERS)
def test_two_models_link_into_one_program(language: str, tmp_path: Path) -> None:
    compiler, standard, library_compiler = COMPILERS[language]
    other = build_case(conv_2d.cases()[0])  # with helpers and constants of the same names inside
    builts = [build_digits(tmp_path, "first"), build_bytes(other, tmp_path, "second")]
    objects = []
    for built in builts:
        objects.append(tmp_path / f"{built.manifest.name}.o")
        run(library_compiler, "-std=c99", "-O2", "-c", str(built.source), "-o", str(objects[-1]))
    main = tmp_path / ("main.c" if language == "c" else "main.cpp")
    main.write_text(TWO_MODELS)
    includes = [f"-I{built.library}" for built in builts]
    strict = ("-Wall", "-Wextra", "-Werror")
    run(compiler, standard, *strict, *includes, str(main), *map(str, objects), "-o", str(tmp_path / "two"))

    first, second = (varied(built, 3)[2] for built in builts)
    expected = b"".join(
        reference.outputs(built.model.graph, sample.arrays)[0].tobytes()
        for built, sample in zip(builts, (first, second), strict=True)
    )
    answer = subprocess.run(
        [tmp_path / "two"], input=b"".join([*first.bytes, *second.bytes]), capture_output=True, check=True, timeout=300
    )
    assert answer.stdout == expected


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
