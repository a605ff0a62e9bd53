"""Names of tensors, for people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

_APPENDED = re.compile(r"(_QuantizeLinear_Output|~nhwc|~ordered|~int8)+$")
"""What ONNX Runtime's quantiser, the importer and passes write behind a tensor's name."""


def readable(names: Iterable[str]) -> Mapping[str, str]:
    """Each name as the float model has it, where no other one would be called the same; else as it is."""
    shorter = {name: _APPENDED.sub("", name) or name for name in names}
    uses = Counter(shorter.values())
    return {name: short if uses[short] == 1 else name for name, short in shorter.items()}
