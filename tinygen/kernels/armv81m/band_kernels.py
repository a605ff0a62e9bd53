"""The rows of kernels that copy bands of an image: one for large bands, and one for those that take least memory."""

from __future__ import annotations

from collections.abc import Callable

from tinygen.access import spacing
from tinygen.ir import Op
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels.armv81m.bands import LARGE, SMALL, Band
from tinygen.kernels.armv81m.finishing import FEATURES


def band_kernels(
    name: str,
    op: type[Op],
    prepare: Callable[[int, Site], Body],
    accepts: Callable[[Site], bool],
    band: Callable[[int, Site], Band],
) -> tuple[Kernel, Kernel]:
    """`prepare` and `band` are given how many bytes a band has at most; `accepts` is for the smallest one."""

    def accepts_large(site: Site) -> bool:
        """Where a larger band helps."""
        return accepts(site) and band(LARGE, site).results > 1

    def row(row_name: str, largest: int) -> Kernel:
        return Kernel(
            row_name,
            op,
            lambda site: prepare(largest, site),
            requires=FEATURES | {"loops"},
            accepts=accepts_large if largest else accepts,
            overlaps=lambda site: {0: spacing(band(largest, site).order)},
            assembly=True,
            scratch=lambda site: band(largest, site).scratch,
        )

    return row(name, LARGE), row(f"{name}_small_band", SMALL)
