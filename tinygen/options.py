"""How a model is read: what its user chooses, and what the manifest keeps so that it is read alike later."""

from __future__ import annotations

from dataclasses import dataclass

PROFILES = ("tflm",)
"""Whose arithmetic generated code follows: that of TensorFlow Lite Micro."""


@dataclass(frozen=True)
class Options:
    """Choices that change what a model computes, or how it is talked to."""

    profile: str = "tflm"
    """One of PROFILES."""
