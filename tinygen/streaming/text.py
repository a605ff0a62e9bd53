"""What a header says of a model that takes frames."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from tinygen.passes.stream import Stream

_WIDTH = 112


@dataclass(frozen=True)
class StreamText:
    """Numbers for macros, and the comment."""

    hop: int
    frames: int
    full_after: int
    lines: tuple[str, ...]


def stream_text(stream: Stream, name: str) -> StreamText:
    """That of the library `name`."""
    hop, frames, full = stream.hop, stream.frames, stream.full_after
    taken = "the next frame" if hop == 1 else f"the next {hop} frames"
    text = (
        f"A stream: every invoke takes {taken}, and answers byte for byte as the model in the file does for the last "
        f"{frames}. {name}_reset() begins another stream, before which there are frames of zeros (real 0): it takes "
        f"{full} invokes until all {frames} are given ones. Keep the order, and leave no frame out."
    )
    return StreamText(hop, frames, full, tuple(textwrap.wrap(text, _WIDTH)))
