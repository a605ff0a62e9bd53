"""Convolutions and dense layers by packed pairs of filters (see `pairs`), whatever the window.

The values under a window are gathered into words in the scratch memory, in the order of their groups, by a table of
offsets; then all filters are computed from them, four at a time. Where memory is short, they are read by this table as
they are used, for every four filters. The stream:

    for each slot, the offset of its value from the window's first byte, of 16 bits
    for each four filters, what `pairs` says

`templates/armv6m/packed.S.j2` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from tinygen.access import Spacing, spacing
from tinygen.interval import Interval
from tinygen.ir import Tensor
from tinygen.kernel import Body, Kernel, Site
from tinygen.kernels import streams
from tinygen.kernels.armv6m import finishing, grouping, pairs
from tinygen.kernels.armv6m.expansion import Expansion
from tinygen.kernels.armv6m.grouping import Groups
from tinygen.kernels.armv6m.pairs import Pairs
from tinygen.kernels.armv6m.windows import Windows, flat_array, flat_weights, value_bounds
from tinygen.kernels.armv7em.matrix_shape import geometry
from tinygen.kernels.contracts import is_plain
from tinygen.ops.conv_2d import Conv2D
from tinygen.ops.fully_connected import FullyConnected
from tinygen.ops.weighted import Weighted
from tinygen.proofs.open_short_product import OpenShortProduct
from tinygen.proofs.short_product import ShortProduct

_MOST_GATHERED = 32
"""Values in a turn of the loop that gathers them: as far as offsets of LDRH reach."""
_FARTHEST_OFFSET = 0xFFFF
_MOST_IN_TURN = 500
"""Instructions."""
_MOST_WRITTEN_OUT = 700
"""Values of which code of some kilobytes can be made."""
_SMALL = 4096
"""Bytes of tensors that hardly are what a model's RAM is short of."""
_AROUND, _AROUND_STRIP = 130, 260
"""Instructions from where windows begin to the branch back, at most, beside those of four filters."""


@dataclass(frozen=True)
class Frame:
    """What lies on the stack, by name, with offsets in bytes."""

    offsets: Mapping[str, int]
    bytes: int

    @staticmethod
    def of(names: list[str]) -> Frame:
        """A word each."""
        return Frame({name: 4 * index for index, name in enumerate(names)}, 4 * len(names))


@dataclass(frozen=True)
class Variant:
    """How products are written out, and how weights are kept."""

    in_loop: int | None
    """Instructions of a turn, at most; None: all are written out."""
    expanded: bool = False
    """Whether weights are bytes until some of them are expanded in the scratch memory."""
    in_place: bool = False
    """Whether values are read where they lie, each time that they are used."""

    def groups(self, site: Site) -> Groups:
        """Of the layer's weights."""
        bounds = value_bounds(site)
        return _groups(self, site.inputs[1], bounds.low.tobytes(), bounds.high.tobytes())

    def gather(self, slots: int) -> Gather | None:
        """How so many values become words, unless they are read where they lie."""
        return None if self.in_place else Gather.of(slots)

    def offsets(self, slots: int) -> int:
        """In the table, of so many values; the stream goes on with a whole word."""
        gather = self.gather(slots)
        return gather.values if gather else slots + slots % 2


@lru_cache(maxsize=256)
def _groups(variant: Variant, weights: Tensor, low: bytes, high: bytes) -> Groups:
    """The search takes time, and a layer has many sites where rows are computed by themselves."""
    flat, limit = flat_array(weights), variant.in_loop
    bounds = Interval(np.frombuffer(low, np.int64), np.frombuffer(high, np.int64))
    if limit is None:
        return grouping.of_any_size(flat, bounds)

    def most(size: int) -> int:
        return _in_turn(pairs.instructions(size, 1, variant.in_place), limit)

    return grouping.of_one_size(flat, bounds, most)


def _in_turn(instructions: int, limit: int) -> int:
    """Groups of so many instructions in a turn; none where branches would not reach over one."""
    return max(limit // instructions, 1) if instructions <= _MOST_IN_TURN else 0


_WRITTEN_OUT, _IN_LOOPS, _COMPACT = Variant(None), Variant(500), Variant(105)
_EXPANDED, _LEAN = Variant(300, expanded=True), Variant(105, in_place=True)
_LEAN_WRITTEN_OUT = Variant(None, in_place=True)


def accepts(site: Site) -> bool:
    """int8, one image, one group; offsets of 16 bits, and a proved requantisation."""
    x, weights, _ = site.inputs
    if not is_plain(site) or (isinstance(site.op, Conv2D) and x.shape[3] != weights.shape[3]):
        return False
    if geometry(site) is None and x.shape[0] != 1:
        return False
    return int(Windows.of(site).offsets.max()) <= _FARTHEST_OFFSET and finishing.proved(site) is not None


def _accepts_written_out(site: Site) -> bool:
    """Also: few enough values for code."""
    return flat_weights(site).shape[1] <= _MOST_WRITTEN_OUT and accepts(site)


def _accepts_lean(site: Site) -> bool:
    """Also: time is not all that counts."""
    return site.objective != "speed" and accepts(site)


def _accepts_lean_written_out(site: Site) -> bool:
    """Also: few enough values for code."""
    return flat_weights(site).shape[1] <= _MOST_WRITTEN_OUT and _accepts_lean(site)


@dataclass(frozen=True)
class Gather:
    """The loop that gathers values, `at_once` in a turn."""

    at_once: int
    turns: int

    @staticmethod
    def of(slots: int) -> Gather:
        """The cheapest."""
        loops = [Gather(at_once, -(-slots // at_once)) for at_once in range(4, _MOST_GATHERED + 1, 4)]
        return min(loops, key=lambda loop: loop.turns * (9 * loop.at_once // 4 + 3))

    @property
    def values(self) -> int:
        """Of whole turns."""
        return self.at_once * self.turns

    @property
    def bytes(self) -> int:
        """Of all words."""
        return 4 * self.values


def _accepts_expanded(site: Site) -> bool:
    """Also: windows among which the expansion is shared, and tensors that are small, or smaller than the weights.

    Larger ones want to overlap, and RAM that is short already. With few filters at a time, windows are gathered often.
    """
    filters, depth = flat_weights(site).shape
    is_large = 2 * _room(site) > max(_SMALL, filters * depth)
    if filters < pairs.TOGETHER or is_large or not accepts(site):
        return False
    expansion = _expansion(_EXPANDED, site)
    return Windows.of(site).count > 1 and expansion is not None and min(2, expansion.blocks) <= expansion.fours


def _room(site: Site) -> int:
    """What an expansion may take: half of what the tensors do."""
    return (site.inputs[0].bytes + site.outputs[0].bytes) // 2


def _expansion(variant: Variant, site: Site) -> Expansion | None:
    form = finishing.proved(site)
    if form is None or not variant.expanded:
        return None
    filters = len(flat_weights(site))
    constants = finishing.constants(form, np.zeros(filters, np.int64)).shape[1]
    short = finishing.is_short(form) and finishing.is_plain(form)
    return Expansion(filters, variant.groups(site).slots, constants, short, _room(site))


def _scratch(variant: Variant, site: Site) -> int:
    strip, expansion, gather = Windows.of(site).strip, _expansion(variant, site), _gather(variant, site)
    return sum(part.bytes for part in (gather, strip, expansion) if part)


def _gather(variant: Variant, site: Site) -> Gather | None:
    # Without one, groups need not be searched for.
    return None if variant.in_place else variant.gather(variant.groups(site).slots)


def _overlaps(variant: Variant, site: Site) -> Mapping[int, Spacing]:
    """None where all windows are needed again for the next filters."""
    expansion, windows = _expansion(variant, site), Windows.of(site)
    if expansion and expansion.blocks > 1:
        return {}
    if variant.in_place and windows.strip is None:
        filters = len(flat_weights(site))
        return {0: spacing(windows.order_in_parts(pairs.firsts(filters), min(filters, pairs.TOGETHER)))}
    return {0: spacing(windows.order)}


def _prepare(variant: Variant, site: Site) -> Body:
    windows, groups, form = Windows.of(site), variant.groups(site), finishing.proved(site)
    assert form is not None
    weights = flat_weights(site)
    filters, depth = weights.shape
    around = 0 if windows.count == 1 else _AROUND_STRIP if windows.strip else _AROUND
    gather, expansion = variant.gather(groups.slots), _expansion(variant, site)
    names = ["x", "data", *(["row"] if gather else ["window", "stream"])]
    names += ["gathered"] if gather or windows.strip else []
    names += ["image_start", "y", "source", "stream", "stream_end", "blocks"] if expansion else []
    names += ["row_end"] if groups.turns > 1 else []
    names += ["end"] if windows.columns > 1 else []
    names += ["lines"] if windows.lines > 1 else []
    names += ["image", "image_row"] if windows.strip else []
    names += ["first", "marks"] if isinstance(form, OpenShortProduct) else []
    shared = _is_shared(variant, groups, form)
    names += ["doubled_zero"] if shared and finishing.has_rest(form) else []
    frame = Frame.of(names)
    values = {
        "windows": windows,
        "strip": windows.strip,
        "depth": depth,
        "filters": filters,
        "pairs": Pairs.of(groups, form, filters, around, variant.in_place, frame.offsets.get("doubled_zero")),
        "expansion": expansion,
        "stream_at": (gather.bytes if gather else 0) + (windows.strip.bytes if windows.strip else 0),
        "offsets": variant.offsets(groups.slots),
        "gather": gather,
        "frame": frame,
    }
    data = _stream(site, windows, groups, variant)
    return Body(
        values,
        {"data": data},
        variant=f"{depth}x{filters}_{windows.count}",
        proof=form.describe(),
        apart=shared,
    )


def _is_shared(variant: Variant, groups: Groups, form: ShortProduct) -> bool:
    """Whether layers whose near ties are decided apart have a loop that others of their shape may share."""
    return form.near is not None and groups.turns > 1 and not variant.expanded


def _stream(site: Site, windows: Windows, groups: Groups, variant: Variant) -> npt.NDArray[np.uint32]:
    op: Weighted = site.op
    weights, bias = (tensor.data for tensor in site.inputs[1:])
    form, expansion = finishing.proved(site), _expansion(variant, site)
    assert weights is not None and bias is not None and form is not None
    table = np.zeros(variant.offsets(groups.slots), "<u2")
    order = np.array(groups.order)
    table[: groups.slots] = np.where(order >= 0, windows.offsets[order], 0)
    rows, lacking = flat_weights(site), op.folded_bias(weights, bias)
    if expansion:
        filters = expansion.stream(groups, rows, form, lacking)
    else:
        filters = pairs.stream(groups, rows, form, lacking, in_bytes=False)
    is_data = _is_shared(variant, groups, form) and finishing.has_rest(form)
    head = streams.words(np.array([2 * op.output_zero_point + 1] if is_data else [], np.int64))
    return np.concatenate([head, table.view("<u4").astype(np.uint32), filters])


def _kernel(name: str, op: type[Weighted], variant: Variant, accepts: Callable[[Site], bool] = accepts) -> Kernel:
    body: Callable[[Site], Body] = partial(_prepare, variant)
    memory: Callable[[Site], int] = partial(_scratch, variant)
    return Kernel(
        name,
        op,
        body,
        requires=finishing.FEATURES,
        accepts=accepts,
        overlaps=partial(_overlaps, variant),
        assembly=True,
        scratch=memory,
    )


KERNELS = (
    _kernel("conv_2d.packed_pairs", Conv2D, _WRITTEN_OUT, _accepts_written_out),
    _kernel("conv_2d.packed_pairs_looped", Conv2D, _IN_LOOPS),
    _kernel("conv_2d.packed_pairs_compact", Conv2D, _COMPACT),
    _kernel("conv_2d.packed_expanded", Conv2D, _EXPANDED, _accepts_expanded),
    _kernel("conv_2d.packed_lean", Conv2D, _LEAN, _accepts_lean),
    _kernel("fully_connected.packed_pairs", FullyConnected, _WRITTEN_OUT, _accepts_written_out),
    _kernel("fully_connected.packed_pairs_looped", FullyConnected, _IN_LOOPS),
    _kernel("fully_connected.packed_pairs_compact", FullyConnected, _COMPACT),
    _kernel("fully_connected.packed_lean", FullyConnected, _LEAN, _accepts_lean),
    _kernel("fully_connected.packed_lean_unrolled", FullyConnected, _LEAN_WRITTEN_OUT, _accepts_lean_written_out),
)
