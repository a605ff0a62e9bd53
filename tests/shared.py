"""Where the models are that tests read but the checkout does not hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_models() -> Path | None:
    """The folder of example models: of $TINYGEN_SHARED, or of ../shared beside the checkout. None if there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    models = Path(os.environ.get("TINYGEN_SHARED") or beside) / "models"
    return models if models.is_dir() else None


def shared_model_files(suffix: str = ".tflite") -> list[Path]:
    """All example models of a format, sorted; none if the folder is absent. For parametrising tests."""
    models = shared_models()
    return sorted(models.rglob(f"*{suffix}")) if models else []


needs_shared_models = pytest.mark.skipif(
    shared_models() is None, reason="no shared models: set TINYGEN_SHARED, or put the folder shared beside the checkout"
)
