"""Differences from an original runtime: explained by another profile's arithmetic, or called a bug."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from building import Built, litert, tflm, varied
from operator_cases import NAMED, build
from shared import needs_shared_models
from test_models import build_shared

from tinygen.attribution import Cause
from tinygen.ir import Node
from tinygen.options import LITERT
from tinygen.report.tables import causes_table, verify_verdict
from tinygen.rescaling import Requant
from tinygen.verify import PeerReport, verify

SAMPLES = 8

DIFFERENT = {
    "fully_connected-int16": ("int64, single rounding", "float64, single rounding"),
    "activations-relu_int16": ("double rounding", "double rounding, another requant"),
    "activations-abs_int16": ("double rounding", "double rounding, another requant"),
    "sigmoid-logistic_coarse": ("fixed-point table", "float32 table"),
    "sigmoid-tanh_coarse": ("fixed-point table", "float32 table"),
    "softmax_int16-two_classes": (
        "interpolated float32 tables",
        "interpolated float64 tables",
    ),
}
"""One case for each kind of difference, and the names of the rules under tflm and litert."""


def report_of(built: Built) -> PeerReport:
    (report,) = verify(built.model, built.manifest, varied(built, SAMPLES), [litert(built)])
    return report


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_difference_is_explained_by_the_runtimes_profile(name: str, tmp_path: Path) -> None:
    report = report_of(build(NAMED[name], tmp_path))
    (cause,) = report.causes
    assert not report.equal and report.explained
    assert (cause.operator, cause.ours, cause.theirs) == (NAMED[name].op, *DIFFERENT[name])
    assert 0 < cause.count < cause.of and not cause.unexplained


def test_the_other_way_round(tmp_path: Path) -> None:
    built = build(NAMED["fully_connected-int16"], tmp_path, profile=LITERT)
    (report,) = verify(built.model, built.manifest, varied(built, SAMPLES), [tflm(built)])
    assert report.explained and report.causes[0].theirs == "int64, single rounding"


def test_what_the_runtimes_own_profile_does_not_compute_is_a_bug(tmp_path: Path) -> None:
    built = build(NAMED["fully_connected-int16"], tmp_path)
    report = report_of(with_half_the_scale(built, LITERT))
    (cause,) = report.causes
    assert not report.explained and cause.unexplained


def with_half_the_scale(built: Built, profile: str) -> Built:
    """As if its reference were wrong under its own profile."""

    def wrong(node: Node) -> Node:
        requant = node.op.requant  # type: ignore[attr-defined]
        halved = Requant(requant.multiplier, tuple(shift - 1 for shift in requant.shift), requant.rounding)
        return dataclasses.replace(node, op=dataclasses.replace(node.op, requant=halved))  # type: ignore[type-var]

    graph = dataclasses.replace(built.model.graph, nodes=tuple(map(wrong, built.model.graph.nodes)))
    options = dataclasses.replace(built.model.options, profile=profile)
    return dataclasses.replace(built, model=dataclasses.replace(built.model, graph=graph, options=options))


def test_what_cannot_be_read_under_the_runtimes_profile_stays_unexplained_with_the_reason(tmp_path: Path) -> None:
    report = report_of(build(NAMED["reduce-sum_image"], tmp_path))
    (cause,) = report.causes
    assert not report.explained
    assert "under litert: LiteRT's reference kernel sums quantised values wrongly" in cause.reason


@needs_shared_models
def test_only_the_nodes_that_introduce_differences_are_named(tmp_path: Path) -> None:
    report = report_of(build_shared("mlperf/ad_autoencoder", tmp_path))
    assert report.explained
    assert {cause.operator for cause in report.causes} == {"FULLY_CONNECTED"}
    assert sum(cause.count for cause in report.causes) < 0.05 * sum(cause.of for cause in report.causes)


def test_tables_and_verdicts() -> None:
    explained = Cause("node 3", "ABS", "double rounding", "double rounding", 4, 20, 0)
    assert causes_table([explained, dataclasses.replace(explained, unexplained=1)]).row_count == 2
    assert "every difference is explained" in verify_verdict(False, True, "tflm")
    assert verify_verdict(True, True, "tflm") == "Every byte is equal."
    assert verify_verdict(False, False, "tflm").startswith("NOT equal")
