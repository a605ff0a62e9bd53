"""Float models that compute NaN or infinity, which have no range."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinygen.errors import ModelError
from tinygen.quantize.data import Data
from tinygen.quantize.measure import FloatLayer
from tinygen.quantize.runner import Runner


def expect_numbers(source: Path, runner: Runner, layers: Sequence[FloatLayer], data: Data) -> None:
    """Raises ModelError where a layer makes NaN or infinity of the first sample, with the first layer that does."""
    values = runner.tensors(list(data.sample(0).values()))
    for layer in layers:
        value = values.get(layer.output)
        if value is not None and not np.isfinite(value).all():
            wrong = int(np.sum(~np.isfinite(value)))
            raise ModelError(
                f"{source}: of the first sample, {layer.name} ({layer.op}) makes {wrong:,} of its {value.size:,} "
                "values NaN or infinite, in float",
                "Are its weights? Then the training diverged. Else look at what it reads and computes; a mask of "
                "attention can have a large negative number instead of infinity.",
            )
