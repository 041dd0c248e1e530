"""Laying tensors out in the accelerator's tiles.

tile: how one is written. "words": four bytes as one word, so that vectors run along the image and scatter words into tiles.
"interleaved": with these vectors left to LLVM, which takes the stores of all words of a tile for one interleaved vector.
"bytes": one by one, outer and pieces being those of `separate`.
"""

from __future__ import annotations

from collections.abc import Sequence

from vdla.compiler.backends.llvm import Target
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.cpu import separate
from vdla.compiler.ops.cpu.schedules import fused, runs_along, schedule_separately, stage_value
from vdla.compiler.ops.cpu.template import template
from vdla.compiler.ops.cpu.workload import Workload
from vdla.compiler.schedule import Schedule

SHORT_ROW = 4
"""Columns of an image below which packing it goes along the channels by default."""
INTERLEAVED = 4
"""Most words of a tile to interleave by default: LLVM goes up to 8, but takes longer to compile that than it saves in 1000
runs."""
COLUMN = 3
"""Axis of an image's columns in N, C, H, W."""


def space(w: Workload, target: Target) -> Space:
    tiles = ("bytes", "words", "interleaved") if w.output.shape[-1] % 4 == 0 else ("bytes",)
    return Space((Knob("tile", tiles), *separate.space(w, target).knobs), refusal)


def refusal(config: Config) -> str:
    if config["tile"] != "bytes" and (config["outer"] or config["pieces"] > 1):
        return f"outer, pieces: {config['outer']}, {config['pieces']} of 0, 1, for words"
    return separate.refusal(config)


def fills_words(packed: Sequence[int]) -> bool:
    """Whether a packed tensor's tiles are words, and its rows long enough for vectors of them."""
    return packed[-1] % 4 == 0 and packed[3] >= SHORT_ROW


def default(w: Workload, target: Target) -> Config:
    if fills_words(w.output.shape):
        tile = "interleaved" if w.output.shape[-1] // 4 <= INTERLEAVED else "words"
        return Config.of(tile=tile, outer=0, pieces=1)
    return Config.of(tile="bytes", **separate.default(w, target).values)


def arrange(s: Schedule, w: Workload, config: Config, target: Target) -> None:
    if config["tile"] == "bytes":
        separate.arrange(s, w, config, target)
        return
    *others, last = s.blocks()
    arrange_words(s, last, config["tile"] == "interleaved")
    schedule_separately(s, others)


def arrange_words(s: Schedule, block: str, interleave: bool) -> None:
    """The words of a tile around the image (interleave: within), in a loop over everything else."""
    loops, iters = s.loops(block), s.get(block).iters
    along = runs_along(stage_value(s, block), iters[COLUMN - 1 : COLUMN + 1])
    first = COLUMN - 1 if along else COLUMN
    image, tile = loops[first : COLUMN + 1], loops[COLUMN + 1 : -1]
    s.reorder(*loops[:first], *tile, *((*image, loops[-1]) if interleave else (loops[-1], *image)))
    inner = fused(s, image)
    s.parallel(fused(s, loops[:first]))
    if interleave:
        s.unroll(loops[-1])
    else:
        s.vectorize(inner)


TEMPLATE = template("packing", space, default, arrange, choices=lambda config: {"words": config["tile"] != "bytes"})
