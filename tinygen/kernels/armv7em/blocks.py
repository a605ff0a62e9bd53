"""Windows of many taps: loops over taps for a block of channels at a time, with all distances worked out."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.kernels.armv7em.windows import Walk

_UNROLL = {"speed": 4, "balanced": 2, "size": 1}
_FARTHEST = 4095
"""What LDR takes as an offset."""
MOST_WORDS = 4
"""Of a block of channels, at most."""


@dataclass(frozen=True)
class Part:
    """Blocks of a pixel's channels: `passes` of so many words, or of one channel where `words` is 0."""

    words: int
    passes: int
    back: int
    """Bytes from a window's end to the first tap of what follows."""

    @property
    def what(self) -> str:
        """For comments."""
        return f"{4 * self.words} channels" if self.words else "one channel"


@dataclass(frozen=True)
class Blocks:
    """The loops for windows that are all inside the image; distances are in bytes."""

    height: int
    width: int
    """Rows and columns of the output."""
    rows: int
    """Of taps."""
    unroll: int
    loops: int
    """Of `unroll` taps in a row."""
    offsets: tuple[int, ...]
    """Of the taps in the loop."""
    last_offsets: tuple[int, ...]
    """Of the taps of a row that no loop runs over."""
    advance: int
    row_step: int
    """From the last loop's end to the next row of taps."""
    pixel_step: int
    line_step: int
    """From the end of a row of output pixels to the next."""
    parts: tuple[Part, ...]

    @property
    def pixels(self) -> int:
        """Of the output."""
        return self.height * self.width

    @staticmethod
    def of(walk: Walk, objective: str, block: int = MOST_WORDS) -> Blocks | None:
        """For blocks of so many words. None where windows reach over the border."""
        if len(walk.rows) > 1 or len(walk.rows[0].pixels) > 1:
            return None
        (rows,) = walk.rows
        (pixels,) = rows.pixels
        channels = walk.image.channels
        pitch = walk.image.width * channels
        words = channels // 4
        most = (_FARTHEST - 4 * MOST_WORDS) // channels + 1
        unroll = max(min(_UNROLL[objective], pixels.width, most), 1)
        loops = pixels.width // unroll
        back = -pixels.height * pitch
        parts = (
            Part(block, words // block, back + 4 * block),
            Part(words % block, 1 if words % block else 0, back + 4 * (words % block)),
            Part(0, channels % 4, back + 1),
        )
        return Blocks(
            height=rows.count,
            width=pixels.count,
            rows=pixels.height,
            unroll=unroll,
            loops=loops,
            offsets=tuple(tap * channels for tap in range(unroll)),
            last_offsets=tuple(tap * channels for tap in range(pixels.width % unroll)),
            advance=unroll * channels,
            row_step=pitch - loops * unroll * channels,
            pixel_step=pixels.step,
            line_step=pixels.leave,
            parts=tuple(part for part in parts if part.passes),
        )
