"""A design's bit layout as plain text, for reviews of changes to it: a golden test keeps one."""

from __future__ import annotations

from collections.abc import Sequence

from vdla.design import Design
from vdla.isa.layout import Slice, layout_of


def bits_text(s: Slice) -> str:
    """`msb:lsb`, or the one bit."""
    return f"{s.lsb + s.width - 1}:{s.lsb}" if s.width > 1 else str(s.lsb)


def layout_text(design: Design) -> str:
    """Every instruction's fields, and the micro-op's: bits, width, range."""
    layout = layout_of(design)
    blocks = [f"{design.name}: {len(layout.instructions)} instructions, {design.uop_bits}-bit micro-ops"]
    for opcode, slices in layout.instructions.items():
        blocks.append("\n".join([f"{opcode.name} (opcode {opcode.value})", *_rows(slices)]))
    blocks.append("\n".join(["micro-op", *_rows(layout.uop)]))
    return "\n\n".join(blocks) + "\n"


def _rows(slices: Sequence[Slice]) -> list[str]:
    return [f"  {bits_text(s):>8}  {s.width:>3}  {s.field.name:<14}{_range_text(s)}" for s in slices]


def _range_text(s: Slice) -> str:
    return "zero" if s.field.name == "reserved" else f"{s.range[0]}..{s.range[1]}"
