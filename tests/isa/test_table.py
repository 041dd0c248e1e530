"""TABULATE and LOOKUP, by what they are for: any function of an int8 level."""

from __future__ import annotations

import numpy as np
import pytest

from vdla.design import Design
from vdla.design_file import load_design
from vdla.isa.definition import AluOp, Opcode, table_tiles
from vdla.isa.layout import new_columns
from vdla.isa.semantics import alu, new_machine


def machine_with_room(design: Design, batch: int, block: int) -> Design:
    """`design` with other tiles, and acc for a table of them and one tile more."""
    tile = 4 * batch * block
    sram = {"inp": 8 * batch * block, "wgt": 4 * block * block, "acc": tile * (max(1, 256 // (batch * block)) + 4)}
    return design.varied(name="lanes", gemm={"batch": batch, "block_in": block, "block_out": block}, sram=sram)


@pytest.mark.parametrize(("batch", "block"), [(1, 1), (1, 4), (4, 4), (1, 16), (2, 64), (4, 64), (16, 64)])
def test_a_function_of_levels(batch: int, block: int) -> None:
    """Entry e lies in tile e mod `table_tiles`, at element e // `table_tiles`, and the steps go round the tiles."""
    design, rng = machine_with_room(load_design("tiny"), batch, block), np.random.default_rng(batch * block)
    machine, tiles = new_machine(design, np.zeros(0, np.uint8)), table_tiles(design)
    function = rng.integers(-128, 128, 256)
    machine.acc[:] = rng.integers(-(1 << 31), 1 << 31, machine.acc.shape)
    for entry, value in enumerate(function):
        machine.acc[entry % tiles].reshape(-1)[entry // tiles] = value - 256 * rng.integers(1 << 20)  # its low byte counts
    levels = rng.integers(-128, 128, (batch, block))
    machine.acc[tiles] = levels + 256 * rng.integers(-(1 << 22), 1 << 22, levels.shape)
    before = machine.acc[:tiles].copy()
    record = new_columns(2, Opcode.ALU)
    record["alu_op"], record["use_imm"], record["uop_end"] = (AluOp.TABULATE, AluOp.LOOKUP), 1, (1, 2)
    record["uop_begin"], record["loop_outer"], record["loop_inner"] = (0, 1), (256 // tiles, 1), (tiles, 1)
    record["dst_inner"] = (1, 0)
    machine.uop[1] = tiles
    for f in record:
        alu(machine, f)
    np.testing.assert_array_equal(machine.acc[tiles], function[levels + 128])
    np.testing.assert_array_equal(machine.acc[:tiles], before)
