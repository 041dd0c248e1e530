"""What FPGA parts have, from their vendors' product tables (AMD DS180, DS190, DS891 and DS987; Lattice FPGA-DS-02012)."""

from __future__ import annotations

from dataclasses import dataclass

from vdla.design import Design


@dataclass(frozen=True, slots=True)
class Part:
    """A Xilinx part: `name` is how its ordering codes begin. bram36: 36 Kbit blocks, of two halves each."""

    name: str
    lut: int
    ff: int
    bram36: int
    dsp: int

    def fractions(self, *, lut: int, ff: int, bram36: float, dsp: int) -> dict[str, float]:
        """What share of the part that is; above 1 where it does not fit."""
        return {"lut": lut / self.lut, "ff": ff / self.ff, "bram36": bram36 / self.bram36, "dsp": dsp / self.dsp}


PARTS = (
    Part("xc7z010", 17_600, 35_200, 60, 80),
    Part("xc7z020", 53_200, 106_400, 140, 220),
    Part("xc7z045", 218_600, 437_200, 545, 900),
    Part("xc7a100t", 63_400, 126_800, 135, 240),
    Part("xczu3eg", 70_560, 141_120, 216, 360),
    Part("xck26", 117_120, 234_240, 144, 1_248),
)

DEFAULT_PART = "xc7z020"
"""Of designs that name no board."""


def part_of(design: Design) -> Part | None:
    """The part on the design's board; None when it is not in the table."""
    wanted = design.board.part.lower() if design.board else DEFAULT_PART
    return next((part for part in PARTS if wanted.startswith(part.name)), None)


@dataclass(frozen=True, slots=True)
class Ecp5:
    """A Lattice ECP5: nextpnr's name for it, its block RAMs of 18 Kbit and its 18x18 multipliers. speed_grade: 6, 7 or 8, the
    fastest."""

    name: str
    option: str
    lut: int
    bram18: int
    multipliers: int
    speed_grade: int


ECP5_85K = Ecp5("LFE5U-85F-8", "--85k", 83_640, 208, 156, 8)
"""The grade on Lattice's own board with this part, the ECP5 evaluation board. Grade 6 is slower by about a fifth."""
