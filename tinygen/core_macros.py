"""How a compiler says what the core that it compiles for can execute."""

from __future__ import annotations

from tinygen.target import Core

_MACROS = {
    "dsp": "defined(__ARM_FEATURE_DSP) && __ARM_ARCH_PROFILE == 'M'",
    "fpu": "defined(__ARM_FP)",
    "mve": "defined(__ARM_FEATURE_MVE)",
}
"""Of cores that can execute code which was generated for a core with the feature."""


def condition_of(core: Core) -> str:
    """The preprocessor's condition for code that was generated for this core; empty where any core's compiler does."""
    return " && ".join(text for feature, text in _MACROS.items() if feature in core.features)
