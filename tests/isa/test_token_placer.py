"""The compiler's token placer and the checker share no code and must agree: what one places, the other needs, all of it."""

from __future__ import annotations

import numpy as np
import pytest
from isa_programs import program_of, random_program

from vdla.compiler.backends.vdla.tokens import place_tokens
from vdla.design_file import load_design
from vdla.isa import FIFOS, UOP_COLUMNS, Opcode, check_program
from vdla.isa.tokens import pops_of, pushes_of, queues_of

TINY = load_design("tiny")


def race_free(columns: np.ndarray, uops: list[tuple[int, int, int]]) -> bool:
    """Is a read of what nobody wrote, which random programs are full of, all that is wrong?"""
    report = check_program(program_of(TINY, columns, uops, 1 << 20))
    return {problem.kind for problem in report.problems} <= {"unwritten"}


@pytest.mark.parametrize("seed", range(40))
def test_placed_tokens_are_enough_and_each_is_needed(seed: int) -> None:
    columns, uops = random_program(np.random.default_rng(seed), TINY, 25)
    looped = np.isin(columns["opcode"], (Opcode.GEMM, Opcode.ALU))
    placed = place_tokens(TINY, columns, np.array(uops, UOP_COLUMNS), np.where(looped, columns["uop_begin"], 0)).columns
    assert race_free(placed, uops), f"seed {seed}"
    queue = queues_of(placed)
    for fifo in FIFOS:
        for push, pop in zip(pushes_of(placed, queue, fifo), pops_of(placed, queue, fifo), strict=True):
            without = placed.copy()
            without[fifo.push][push] = without[fifo.pop][pop] = 0
            assert not race_free(without, uops), f"seed {seed}: token {push}→{pop} of {fifo.name} orders nothing"
