"""Exponentials by two short tables are those of the long one, or there are none."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.ops.float_softmax import FloatSoftmax
from tinygen.proofs.split_exponentials import split_exponentials


@pytest.mark.parametrize("length", [2, 10, 100])
@pytest.mark.parametrize("scale", [1e-5, 0.01, 0.07, 0.11, 0.19, 0.29])
def test_scales_of_classifiers_have_short_tables(scale: float, length: int) -> None:
    exact = FloatSoftmax(scale, 1 / 256, -128).exponentials(length)
    found = split_exponentials(exact)
    assert found is not None
    assert found.values().tolist() == exact.astype(np.float32).tolist()
    short = (found.coarse, found.fine, found.scales)
    assert sum(table.nbytes for table in short) < exact.astype(np.float32).nbytes / 3


@pytest.mark.parametrize("scale", [2.0, 12.0])
def test_what_vanishes_has_none(scale: float) -> None:
    """Where one step takes more bits than a product has to spare."""
    assert split_exponentials(FloatSoftmax(scale, 1 / 256, -128).exponentials(10)) is None
