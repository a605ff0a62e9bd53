"""Every operator and kernel of the registry: reference, generated C and the original runtime give the same bytes."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from building import BOARD, assert_exact, build_bytes, build_read, differences, host, other_host, varied
from case_files import case_file
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from operator_cases import FAMILIES, NAMED, build, kernels_of
from tflite_builder import build_case, build_model

from tinygen import pipeline, reference
from tinygen.check import check
from tinygen.goal import OBJECTIVES, STYLES, Goal
from tinygen.interface import Interface
from tinygen.library.origin import Origin
from tinygen.ops import registry
from tinygen.target import HOST, list_boards, load_board, load_core

SAMPLES = 8


def test_case_names_are_unique() -> None:
    # A name twice would drop a case without a word.
    assert len(NAMED) == sum(len(module.cases()) for module in registry.MODULES)


@pytest.mark.parametrize(("name", "turn"), [(name, turn) for turn, name in enumerate(NAMED)], ids=list(NAMED))
def test_everybody_gives_the_same_bytes(name: str, turn: int, tmp_path: Path) -> None:
    case = NAMED[name]
    built = build(case, tmp_path)
    assert_exact(built, varied(built, SAMPLES), case.no_flat_inputs, [other_host(built, turn)], case.lowest_input)


def check_random_case(family: str, seed: int) -> None:
    """The same for random_case(seed) of a family. It is printed when it fails: its family and seed make it again."""
    case = FAMILIES[family].random_case(np.random.default_rng([zlib.crc32(family.encode()), seed]))
    note(f"{family}: {case}")
    with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
        built = build(case, Path(folder))
        assert_exact(built, varied(built, SAMPLES), case.no_flat_inputs, lowest_input=case.lowest_input)


# A smaller seed is not a simpler case: nothing to shrink.
RANDOM = settings(max_examples=8, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("family", FAMILIES)
@RANDOM
@given(seed=SEEDS)
def test_everybody_gives_the_same_bytes_for_random_cases(family: str, seed: int) -> None:
    check_random_case(family, seed)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@settings(RANDOM, max_examples=500, derandomize=False)
@given(seed=SEEDS)
def test_everybody_gives_the_same_bytes_for_many_random_cases(family: str, seed: int) -> None:
    check_random_case(family, seed)


def portable_text(model: pipeline.Model, objective: str) -> str:
    """The C for any core, but for the comment that names the objective."""
    origin = Origin(model.file, model.sha256, model.options, BOARD, Goal(objective), Interface())
    _, library = pipeline.portable_c(model, "kws", load_core(load_board(BOARD).core), origin)
    return "".join(library.files.values()).replace(f"--optimize {objective}", "")


@pytest.mark.parametrize("name", NAMED)
def test_every_objective_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    case = NAMED[name]
    file, data = case_file(case)
    model = pipeline.decode(data, file)
    texts = {portable_text(model, "balanced")}  # is compared above
    for objective in OBJECTIVES[1:]:
        text = portable_text(model, objective)
        if text not in texts:
            texts.add(text)
            built = build(case, tmp_path, objective)
            assert differences(built, varied(built, SAMPLES), host(built)) == []


def test_objectives_make_a_difference() -> None:
    # Else the test above compares nothing.
    file, data = case_file(NAMED["conv_2d-pointwise"])
    model = pipeline.decode(data, file)
    assert len({portable_text(model, objective) for objective in OBJECTIVES}) > 1


def test_every_kernel_is_exercised() -> None:
    cores = {load_board(board).core for board in list_boards()}
    every = [HOST, *(load_core(core) for core in cores)]
    used = {kernel for name in NAMED for core in every for kernel in kernels_of(name, core)}
    assert used == {kernel.name for kernel in registry.KERNELS}


# --- absent inputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name, case in NAMED.items() if len(case.inputs) == 3 and case.inputs[2] is None]
)
def test_an_absent_bias_may_be_spelt_or_left_out(name: str, tmp_path: Path) -> None:
    case = NAMED[name]
    given = [tensor for tensor in case.inputs if tensor is not None]
    count = len(given)
    assert case.inputs == (*given, None)
    inputs = [index for index, tensor in enumerate(given) if tensor.data is None]
    operator = (case.op, [*range(count), -1], [count], case.options)
    spelt = build_bytes(build_model([*given, *case.outputs], [operator], inputs, [count]), tmp_path / "-1")
    left_out = build(case, tmp_path / "none")
    assert left_out.model.data != spelt.model.data
    samples = varied(spelt, SAMPLES)
    assert differences(spelt, samples, host(spelt)) == []
    for sample in samples:
        (ours,) = reference.outputs(spelt.model.graph, sample.arrays)
        (theirs,) = reference.outputs(left_out.model.graph, sample.arrays)
        assert ours.tobytes() == theirs.tobytes()


# --- what no runtime is asked about ----------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", STYLES)
@pytest.mark.parametrize(
    "name",
    [
        "conv_2d-pointwise",
        "conv_2d-same_odd_total",
        "conv_2d-grouped",
        "conv_2d-int4",
        "depthwise_conv_2d-3x3",
        "depthwise_conv_2d-int4_large_kernel",
        "transpose_conv-same",
    ],
)
def test_filter_zero_points_of_convolutions(name: str, objective: str, tmp_path: Path) -> None:
    """TensorFlow Lite Micro ignores them, so that no file with one is imported: only the C can be compared."""
    path = tmp_path / "case.tflite"
    path.write_bytes(build_case(NAMED[name]))
    model = pipeline.read(path)
    (node,) = model.graph.nodes
    shifted = dataclasses.replace(node, op=dataclasses.replace(node.op, weight_zero_point=-6))  # type: ignore[type-var]
    built = build_read(
        dataclasses.replace(model, graph=check(dataclasses.replace(model.graph, nodes=(shifted,)))),
        tmp_path / "out",
        objective=objective,
    )
    samples = varied(built, SAMPLES)
    assert differences(built, samples, host(built)) == []
    (plain,), (moved,) = (reference.outputs(graph, samples[2].arrays) for graph in (model.graph, built.model.graph))
    assert plain.tobytes() != moved.tobytes()


# --- the comparison notices ------------------------------------------------------------------------------------------

# One changed token at a time: test_mutations.py.


def test_a_wrong_output_pointer_is_noticed(tmp_path: Path) -> None:
    built = build(NAMED["fully_connected-plain"], tmp_path)
    pattern = r"(_output\(void\)\n\{\n    return arena\.i8 \+ \d+)"
    changed, count = re.subn(pattern, r"\1 + 1", built.source.read_text())
    assert count == 1
    built.source.write_text(changed)
    (first, *_) = differences(built, varied(built, SAMPLES), host(built))
    assert "output 0 (tensor3) of the whole model" in first


def test_a_difference_names_element_and_values(tmp_path: Path) -> None:
    built = build(NAMED["add-relu"], tmp_path)
    changed = re.sub(r"\*y\+\+ = ([^;]+);", r"*y++ = (int8_t)(i0 == 11 ? 9 : \1);", built.source.read_text())
    built.source.write_text(changed)
    inputs = [sample for sample in varied(built, SAMPLES) if "minimum" in sample.name]
    (found,) = differences(built, inputs, host(built))
    assert "element [0, 11]: reference 5, found 9 (1 of 17 elements differ; sample all minimum)" in found
