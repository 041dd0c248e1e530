"""Dependence tokens, placed on the finished instruction list by exact analysis.

*Dependences.* For every instruction and every other queue, the last earlier instruction of that queue with which it
conflicts: one of the two writes an SRAM entry or DRAM bytes the other touches. In-order queues make the last one enough.

*Tokens.* Within one FIFO let an edge (p → c) mean: p pushes when it retires, c pops before it starts. Going through the
program in order, c gets an edge from p only when p is later than every producer its queue has waited for on that FIFO. So
both ends of a FIFO's edges are strictly increasing: the k-th push meets the k-th pop, and one bit at each end is enough.

*Minimal.* Drop a kept edge (p → c): the edges before it come from producers before p, the edges after it arrive at
consumers after c, and nothing reaches c's queue from p's by way of the third (the queues form a line: whatever STORE knows
of LOAD it was told by COMPUTE). So p and c would be unordered though they conflict.

*LOAD and STORE* share no FIFO, and may conflict through DRAM. Such a dependence p → c goes by way of a compute instruction m
between them: p → m → c, or only m → c for the first m which has waited for p already. Where there is none, a no-op (LOAD
UOP of zero rows, which touches nothing) becomes m. A GEMM would do, but c could only start when it ends; the no-op goes in
front of the last few compute instructions behind p, so that c runs beside them.

*The serial program* (`serial`) orders every instruction behind the last one of each other queue: nothing overlaps, as on a
machine without decoupled queues. It is the baseline that latency hiding is measured against.

*No deadlock.* Every edge points forwards in program order and so does every queue's own order: the whole is acyclic, and as
FETCH dispatches in program order, whatever an instruction waits for has been fetched before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.compiler.backends.vdla import token_kernels as kernels
from vdla.compiler.backends.vdla.token_edges import place_edges
from vdla.compiler.backends.vdla.token_kernels import Dram, find_dependences
from vdla.design import Design
from vdla.isa.definition import GemmMode, Opcode, Queue, Scratchpad, tile_bytes
from vdla.isa.layout import COLUMNS, new_columns
from vdla.isa.tokens import FIFOS, queues_of

TOKEN_COLUMNS = sorted({bit for fifo in FIFOS for bit in (fifo.push, fifo.pop)})


@dataclass(frozen=True)
class Tokenised:
    """columns: with token bits set and no-ops inserted. origin: int64[n], index of each instruction before; -1 for a no-op."""

    columns: np.ndarray
    origin: np.ndarray


def place_tokens(
    design: Design, columns: np.ndarray, uops: np.ndarray, uop_start: np.ndarray, serial: bool = False
) -> Tokenised:
    """Order every conflict between queues of COLUMNS[n] in program order; bits already set are discarded.

    uops: UOP_COLUMNS[…], all micro-ops ever loaded. uop_start: int64[n], where in `uops` those of an instruction begin.
    A FINISH waits for all STOREs before it.
    """
    columns = columns.copy()
    for name in TOKEN_COLUMNS:
        columns[name] = 0
    kind, queue = _kinds(columns), queues_of(columns).astype(np.int64)
    dram = _stored_range(design, columns)
    sizes = np.array([tile_bytes(design, b) for b in Scratchpad], np.int64)
    table = (
        np.stack([uops[name].astype(np.int64) for name in ("dst", "src", "wgt")], 1)
        if len(uops)
        else np.zeros((1, 3), np.int64)
    )
    required = find_dependences(
        columns, kind, queue, table, uop_start, sizes, dram, (design.inp_depth, design.wgt_depth, design.acc_depth)
    )
    if serial:
        required = np.maximum(required, _previous_of_other_queues(queue))
    edges, inserted = place_edges(queue, required)
    return _apply(columns, edges, inserted)


def _previous_of_other_queues(queue: np.ndarray) -> np.ndarray:
    """int64[n, 3]: for each instruction the last one before it in each other queue, or -1."""
    index = np.arange(len(queue))
    last = [np.maximum.accumulate(np.where(queue == q, index, -1)) for q in Queue]
    return np.stack([np.where(queue == q, -1, last[q]) for q in Queue], axis=1)


_LOAD_KINDS = {
    Scratchpad.UOP: kernels.LOAD_UOP,
    Scratchpad.INP: kernels.LOAD_INP,
    Scratchpad.WGT: kernels.LOAD_WGT,
    Scratchpad.ACC: kernels.LOAD_ACC,
    Scratchpad.OUT: kernels.LOAD_ACC,
}
_KINDS = {
    Opcode.STORE: kernels.STORE_ACC,
    Opcode.GEMM: kernels.MULTIPLY,
    Opcode.ALU: kernels.VECTOR,
    Opcode.FINISH: kernels.END,
}


def _kinds(columns: np.ndarray) -> np.ndarray:
    """int64[n]: kinds of instructions, by the numbers of the kernels."""
    opcode, buffer = columns["opcode"], columns["buffer"]
    kinds = np.array([[_KINDS.get(o, _LOAD_KINDS[b]) for b in Scratchpad] for o in Opcode], np.int64)[opcode, buffer]
    resets = (opcode == Opcode.GEMM) & (columns["gemm_mode"] == GemmMode.RESET)
    return np.where(resets, kernels.VECTOR, kinds)


def _stored_range(design: Design, columns: np.ndarray) -> Dram:
    """Only DRAM that some STORE writes can carry a dependence."""
    stores = columns[columns["opcode"] == Opcode.STORE]
    granule = design.out_tile_bytes
    if not len(stores):
        return Dram(granule, 0, 0)
    ends = stores["dram_base"] + (stores["y_size"].astype(np.int64) - 1) * stores["x_stride"] + stores["x_size"]
    return Dram(granule, int(stores["dram_base"].min()), int(ends.max()))


def _apply(columns: np.ndarray, edges: np.ndarray, inserted: np.ndarray) -> Tokenised:
    """Set the bits of `edges`, int64[e, 4]: producer key and queue, consumer key and queue.

    The key of instruction i is 2·i + 1, that of a no-op in front of it 2·i.
    """
    keys = np.concatenate([2 * np.arange(len(columns)) + 1, inserted])
    no_ops = new_columns(len(inserted), Opcode.LOAD)
    no_ops["buffer"] = Scratchpad.UOP
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    result = np.concatenate([columns, no_ops]).astype(COLUMNS)[order]
    producer, consumer = np.searchsorted(keys, edges[:, 0]), np.searchsorted(keys, edges[:, 2])
    for fifo in FIFOS:
        mine = (edges[:, 1] == fifo.producer) & (edges[:, 3] == fifo.consumer)
        result[fifo.push][producer[mine]] = 1
        result[fifo.pop][consumer[mine]] = 1
    return Tokenised(result, np.where(keys % 2 == 1, keys // 2, -1))
