"""The timing contract: when everything happens, as named constants and small pure functions.

The timing engine, the naive twin and the RTL are built to this page and to nothing else. Times are in cycles; a time is
the first cycle at which something is true, so what takes `n` cycles from `t` ends at `t + n`, and an instruction occupies
its unit in the cycles start ≤ t < finish.

The functions are plain arithmetic: of numbers, in compiled code as well (`sim.compiled_timing`), and those that say so of
whole NumPy arrays.

FETCH
    Reads the program in blocks of `FETCH_BLOCK` instructions into a buffer of `FETCH_BUFFER_BLOCKS` blocks. The block's
    bursts are requested, one a cycle, from the cycle after the last instruction of the block it replaces was dispatched
    (from cycle 0 for the first blocks). From `FETCH_DECODE` cycles after a block's last beat, its instructions are
    dispatched in order, one a cycle, each to the command queue of its unit when that has room: `COMMAND_QUEUE_DEPTH`
    instructions, each in it through the cycle after the one in which it starts. Dispatched at t, an instruction can start at
    t + `QUEUE_HOP`.

LOAD, COMPUTE, STORE
    Each runs its queue in order, one instruction at a time: it starts when the one before has finished and every token it
    pops is there, and takes its tokens in that cycle. It pushes its tokens when it finishes; they can be taken
    `TOKEN_HOP` later. Token FIFOs never fill.

    GEMM    `DECODE` + one cycle for each micro-op step + `GEMM_FILL`. A step that reads what the step just before it
            writes is forwarded the sum, at no cost.
    ALU     `DECODE` + the cycles of its reads of acc + `ALU_FILL`, or `ALU_LONG_FILL` for the operations of `LONG_ALU_OPS`.
            A step reads src, if it has a tensor operand, and then dst. REQUANTISE and RESCALE have none, but read
            acc[src] and acc[src + 1] before dst, unless those of the step before hold: it had the same src, and a dst that
            was neither. A read takes a cycle. One of an entry that a step of the same instruction writes happens at least
            `ALU_LATENCY` cycles after that step's read of dst (`ALU_LONG_LATENCY` for the long operations), and waits.
    FINISH  `DECODE`.
    LOAD    `DECODE`, then requests. A beat is written to the SRAM `READ_DRAIN` - 1 cycles after it is over, and padding
            one entry a cycle, from start + `DECODE`, in the cycles in which no beat is. Finished when all is written.
    STORE   `DECODE`, then requests. Finished `write_latency` after the last beat: when the last response is back.

DMA
    A transfer is split into rows, and a row into bursts where a multiple of `max_burst` beats lies in it (which AXI4's
    4 KiB boundaries are). A row that does not start or end on a beat still takes whole beats. Bursts are requested in
    order, at most one a cycle for each unit. A read burst is requested when fewer than `outstanding` bursts of its unit
    are in flight (requested, last beat not over); its data is ready `read_latency` after the request. A write burst is
    ready `WRITE_SETUP` after its request; writes are posted, any number may be in flight.

BUS
    A port moves one beat a cycle, and it belongs to one unit (`ports: separate`), or reads and writes of all four share
    it (`ports: shared`), so that bytes / bus_bytes is a true lower bound. The bursts of a unit are served in order.
    Between units the order is by beat: a cycle goes to the first unit in `BUS_PRIORITY` whose oldest burst is ready. (On
    AXI: an ID for each unit, data in order within an ID and interleaved between them. `outstanding` is for each unit on a
    shared port too, so that one unit's prefetches cannot take the requests of another.)
    A shared port takes one read request a cycle in hardware, so the second of two units that ask at once is later there.
    That makes no difference if requests go by `BUS_PRIORITY` too: a request that waits n cycles waits for n bursts of one
    beat at least, which are ready before it, go before it, and leave the bus no cycle for it until it is ready after all.
    An SRAM whose entries are narrower than a beat has a lane for each entry of a beat: the beat rate is the only limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from vdla.isa.definition import AluOp, Opcode, Unit

if TYPE_CHECKING:
    import numpy as np

Number = TypeVar("Number", int, "np.ndarray")

FETCH, LOAD, COMPUTE, STORE = map(int, Unit)
"""Unit numbers, as compiled code has them."""

BUS_PRIORITY = (COMPUTE, STORE, LOAD, FETCH)
"""First the transfers that keep COMPUTE from computing, then those that free its results' space, then prefetches. FETCH,
which prefetches most, is last: the gaps between two transfers of one unit are longer than it needs. The order is fixed
and by beat because then a faster memory does not make a program slower: with FETCH first, more outstanding bursts cost
some programs 6 %, with LOAD before COMPUTE 11 %; in this order no program of 250 instructions in 600 lost 0.4 %."""

FETCH_BLOCK = 8
FETCH_BUFFER_BLOCKS = 2
FETCH_DECODE = 1
COMMAND_QUEUE_DEPTH = 32
QUEUE_HOP = 1
TOKEN_HOP = 1
DECODE = 4
GEMM_FILL = 10
ALU_FILL = 7
ALU_LONG_FILL = 16
ALU_LATENCY = 2
ALU_LONG_LATENCY = 12
READ_DRAIN = 2
WRITE_SETUP = 2

LONG_ALU_OPS = (AluOp.MUL, AluOp.SHL, AluOp.SHR, AluOp.CLIP, AluOp.REQUANTISE, AluOp.RESCALE)
"""The operations that the multiplier, the shifter and the clipping behind them do, in a longer pipeline."""


PARAMETER_READS = 2
"""Reads of acc, a cycle each, by which REQUANTISE and RESCALE fetch the parameters of a new src."""


def gemm_cycles(steps: Number) -> Number:
    """Start to finish of a GEMM of `steps` micro-op steps. Of arrays too."""
    return DECODE + steps + GEMM_FILL


def alu_cycles(read_cycles: Number, long: Number) -> Number:
    """Start to finish of an ALU instruction whose reads of acc, and the waits between them, take `read_cycles`; `long`: it is
    one of `LONG_ALU_OPS`. Of arrays too."""
    return DECODE + read_cycles + ALU_FILL + long * (ALU_LONG_FILL - ALU_FILL)


def instruction_overhead(opcode: Opcode, alu_op: AluOp | None = None) -> int:
    """Cycles for which an instruction holds its unit, start to finish, beside its work and the memory's latency.

    Its work: micro-op steps, reads of acc, beats or entries of padding. Without `alu_op` an ALU instruction is a long one.
    """
    return {
        Opcode.GEMM: gemm_cycles(0),
        Opcode.ALU: alu_cycles(0, alu_op is None or alu_op in LONG_ALU_OPS),
        Opcode.LOAD: DECODE + READ_DRAIN,
        Opcode.STORE: DECODE + WRITE_SETUP,
        Opcode.FINISH: DECODE,
    }[opcode]


def first_beat(address: Number, bus_bytes: int) -> Number:
    """Number of the beat that holds byte `address`. Of arrays too."""
    return address // bus_bytes


def end_beat(address: Number, size: Number, bus_bytes: int) -> Number:
    """One past the beat that holds the last of `size` > 0 bytes from `address`. Of arrays too."""
    return (address + size - 1) // bus_bytes + 1


def burst_beats(beat: int, end: int, max_burst: int) -> int:
    """Beats of the burst that begins at `beat` of a row that ends before `end`."""
    return min(end - beat, max_burst - beat % max_burst)


def request_time(earliest: int, last_request: int, slot_free: int) -> int:
    """When a burst is requested: one a cycle, and when the burst `outstanding` before it is over (`slot_free`)."""
    return max(earliest, last_request + 1, slot_free)


def load_finish(start: int, last_beat_over: int, beats: int, pad_entries: int) -> int:
    """When a LOAD finishes; `last_beat_over` is 0 when it moves no data.

    Of the cycles from start + DECODE to the last beat's write, the beats take `beats`. If the padding does not fit in the
    others it has the SRAM to itself afterwards, and no cycle from start + DECODE on is without a write.
    """
    return max(start + DECODE + beats + pad_entries, last_beat_over + READ_DRAIN if last_beat_over else 0)


def store_finish(start: int, last_beat_over: int, write_latency: int) -> int:
    """When a STORE finishes; `last_beat_over` is 0 when it moves no data."""
    return last_beat_over + write_latency if last_beat_over else start + DECODE
