"""How rows of the image get into the band that windows are gathered from."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.kernels.armv7em.lanes import EIGHT
from tinygen.kernels.armv7em.patch_shape import Patches


@dataclass(frozen=True)
class Copies:
    """How rows get into the band."""

    first: int
    """Rows of the first band."""
    next: int
    """New rows of each further one."""
    skipped: int
    """Rows of the image between bands."""
    total: int
    inside: int
    """Of all, those inside the image."""
    outside: int
    outside_words: int
    """Of those outside."""
    times: int
    """How often eight words of a row are copied."""
    whole: int
    """Bytes of these."""
    words: tuple[str, ...]
    """Registers for further words."""
    rest: int
    """Further bytes."""
    to: int
    """Bytes from a row in the band to where they go."""
    bands_after: int
    """Bands after the first."""
    moved: int
    """Bytes that a band has in common with the next; a multiple of four."""
    moved_from: int
    """Where they are in the band."""
    move_times: int
    """How often eight words of them are moved."""
    moved_blocks: int
    """Bytes of these."""
    moves: int
    """How often that is in one call."""
    move_rest: tuple[str, ...]
    """Registers for further words."""
    eight: tuple[str, ...] = EIGHT

    @staticmethod
    def of(patches: Patches) -> Copies:
        """For bands that are copied."""
        plane = patches.plane
        first = patches.band_rows
        advance = patches.band_results * plane.rows.stride
        following = min(advance, first)
        rows = [
            band * advance - plane.rows.before + row
            for band in range(patches.bands)
            for row in range(first - following if band else 0, first)
        ]
        inside = sum(0 <= row < plane.height for row in rows)
        columns = (plane.out_width - 1) * plane.columns.stride + plane.columns.taps - plane.columns.before
        words, rest = divmod(min(max(columns, 0), plane.width) * plane.channels, 4)
        moved = (first - following) * patches.row_bytes
        return Copies(
            first=first,
            next=following,
            skipped=max(advance - first, 0),
            total=len(rows),
            inside=inside,
            outside=len(rows) - inside,
            outside_words=(len(rows) - inside) * patches.row_bytes // 4,
            times=words // 8,
            whole=words // 8 * 32,
            words=EIGHT[: words % 8],
            rest=rest,
            to=patches.lead + plane.columns.before * plane.channels,
            bands_after=patches.bands - 1,
            moved=moved,
            moved_from=following * patches.row_bytes,
            move_times=moved // 32,
            moved_blocks=moved // 32 * 32,
            moves=moved // 32 * (patches.bands - 1),
            move_rest=EIGHT[: moved % 32 // 4],
        )
