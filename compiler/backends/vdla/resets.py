"""Resets that the first touch can do instead.

`acc = 0` followed by GEMMs into it costs a pass over the tiles. When the next access to every reset tile is a GEMM, that
GEMM overwrites at its first touch of each tile and the reset is dropped.

    RESET acc[0..16); GEMM acc[0..16) += …      →      GEMM acc[0..16) = first products; GEMM acc[0..16) += the others
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vdla.compiler.backends.vdla.sram import SramPlan
from vdla.compiler.backends.vdla.trace import Item, Pattern


@dataclass(frozen=True, slots=True)
class FusedResets:
    """Indices of items. overwriting: GEMMs all of whose tiles would be zero. dropped: resets nobody needs any more."""

    overwriting: frozenset[int]
    dropped: frozenset[int]


def fuse_resets(items: Sequence[Item], plan: SramPlan, acc_depth: int, can_overwrite: Callable[[Pattern], bool]) -> FusedResets:
    """Follow, for each acc tile, the reset that nothing has used yet."""
    pending = np.full(acc_depth, -1, np.int64)
    overwriting: set[int] = set()
    resets: set[int] = set()
    kept: set[int] = set()
    for k, item in enumerate(items):
        for o, buffer in enumerate(item.nest.buffers):
            if buffer.scope != "vdla.acc":
                continue
            tiles = plan.base[buffer] + item.bases[o] + item.pattern.footprints[o]
            if item.nest.name == "vdla.gemm_reset":
                pending[tiles] = k
                resets.add(k)
                continue
            waiting = pending[tiles]
            if item.nest.name == "vdla.gemm" and (waiting >= 0).all() and can_overwrite(item.pattern):
                overwriting.add(k)
            else:
                kept.update(waiting[waiting >= 0].tolist())
            pending[tiles] = -1
    return FusedResets(frozenset(overwriting), frozenset(resets - kept))
