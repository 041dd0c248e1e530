"""Programs and records for the tests of `isa`, and slow checks that share no code with it."""

from __future__ import annotations

from itertools import product

import numpy as np

from vdla.design import Design
from vdla.design_file import design_from_dict
from vdla.errors import VdlaError
from vdla.isa import (
    COLUMNS,
    FIFOS,
    UOP_COLUMNS,
    AluOp,
    GemmMode,
    Opcode,
    Program,
    Queue,
    Scratchpad,
    Segment,
    assemble,
    layout_of,
)
from vdla.isa.definition import BUFFERS_OF, FIELDS, tile_bytes


def random_design(rng: np.random.Generator) -> Design:
    """Any design that can be encoded: odd depths, wide and narrow tiles, 32- and 64-bit micro-ops."""
    while True:
        batch, block = 1 << int(rng.integers(0, 4)), 1 << int(rng.integers(0, 7))
        tiles = {"inp": batch * block, "wgt": block * block, "acc": 4 * batch * block}
        sram: dict[str, int] = {name: size * int(rng.integers(4, 1 << rng.integers(3, 13))) for name, size in tiles.items()}
        sram["uop"] = 8 * int(rng.integers(8, 1 << rng.integers(4, 13)))
        data = {
            "name": "random",
            "about": "a design drawn at random",
            "clock_mhz": 100,
            "gemm": {"batch": batch, "block_in": block, "block_out": block},
            "sram": sram,
        }
        try:
            return design_from_dict(data, "random design")
        except VdlaError:
            continue


def random_columns(rng: np.random.Generator, design: Design, count: int) -> np.ndarray:
    """COLUMNS[count] of legal records, every field drawn from its whole range, with a bias to its ends and to zero."""
    columns = np.zeros(count, COLUMNS)
    for i in range(count):
        opcode = Opcode(int(rng.integers(len(Opcode))))
        for s in layout_of(design).instructions[opcode]:
            if s.field.name == "reserved":
                continue
            low, high = s.range
            drawn = int(rng.choice([0, low, high, int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))]))
            if s.field.name == "buffer":
                drawn = int(rng.choice(BUFFERS_OF[opcode]))
            elif s.field.names is not None:
                drawn = int(rng.choice(list(s.field.names)))
            columns[s.field.name][i] = drawn
        columns["opcode"][i] = opcode
    return columns


def program_of(design: Design, columns: np.ndarray, uops: list[tuple[int, int, int]] = (), dram_bytes: int = 8192) -> Program:  # type: ignore[assignment]
    """A program whose micro-ops are a segment at DRAM byte 0."""
    layout = layout_of(design)
    words = layout.encode_uops(np.array(uops, UOP_COLUMNS)) if uops else np.zeros(0, np.uint32)
    return Program(design, layout.encode(columns), dram_bytes, (Segment("uops", 0, words.view(np.uint8)),))


def double_buffered(tiles: int, uops: int = 2, loops: tuple[int, int] = (1, 2), stored: int = 1024) -> str:
    """Assembly that streams `tiles` tiles through two halves of every SRAM, with the fewest tokens.

    A tile is 4 inp, 2 wgt and `loops[0] * loops[1]` acc entries. Needs micro-ops in DRAM from byte 0. Outputs go to DRAM
    from out tile `stored` on.
    """
    outputs = loops[0] * loops[1]
    lines = [f"LOAD uop sram=0 dram=0 y=1 x={2 * uops} stride=0"]
    for t in range(tiles):
        half = t % 2
        waits, frees = t >= 2, t + 2 < tiles  # the half was used two tiles ago; will be used two tiles on
        lines += [
            f"LOAD inp sram={4 * half} dram={512 + 4 * (t % 64)} y=1 x=4 {'pop_next' if waits else ''}",
            f"LOAD wgt sram={2 * half} dram={128 + 2 * (t % 64)} y=1 x=2 push_next",
            f"GEMM overwrite uop={half * uops}:{(half + 1) * uops} loops=({loops[0]},{loops[1]}) dst=({loops[1]},1) "
            f"pop_prev push_next {'push_prev' if frees else ''} {'pop_next' if waits else ''}",
            f"STORE out sram={outputs * half} dram={stored + outputs * (t % 64)} y=1 x={outputs} pop_prev "
            f"{'push_prev' if frees or t == tiles - 1 else ''}",
        ]
    return "\n".join([*lines, "FINISH pop_next"])


def double_buffered_uops(outputs: int = 2) -> list[tuple[int, int, int]]:
    """Two micro-ops for each half."""
    return [(outputs * half, 4 * half + k, 2 * half + k) for half in range(2) for k in range(2)]


def random_program(rng: np.random.Generator, design: Design, count: int) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Instructions over a few SRAM entries and DRAM tiles, with random tokens that balance and point forward."""
    uops = [tuple(int(x) for x in rng.integers(0, 5, 3)) for _ in range(8)]
    columns = np.zeros(count + 2, COLUMNS)
    columns[0] = assemble("LOAD uop sram=0 dram=0 y=1 x=8", design)[0]
    shared = 16 * max(design.wgt_tile_bytes, design.acc_tile_bytes)  # where tensors of all tile sizes meet
    for record in columns[1:-1]:
        kind = int(rng.integers(6))
        if kind in (0, 1, 2):  # a DMA
            record["opcode"] = Opcode.STORE if kind == 2 else Opcode.LOAD
            record["buffer"] = (
                Scratchpad.OUT
                if kind == 2
                else int(rng.choice([Scratchpad.INP, Scratchpad.WGT, Scratchpad.ACC, Scratchpad.OUT]))
            )
            record["sram_base"], record["x_stride"] = rng.integers(0, 6), rng.integers(0, 5)
            record["dram_base"] = shared // tile_bytes(design, Scratchpad(record["buffer"])) + rng.integers(0, 6)
            record["y_size"], record["x_size"] = rng.integers(0, 3), rng.integers(0, 3)
            if kind != 2:
                record["y_pad_before"], record["x_pad_after"] = rng.integers(0, 2), rng.integers(0, 2)
            continue
        record["opcode"] = Opcode.GEMM if kind == 3 else Opcode.ALU
        names = ["dst_outer", "dst_inner", "src_outer", "src_inner"]
        if kind == 3:
            record["gemm_mode"] = int(rng.choice(list(GemmMode)))
            names += ["wgt_outer", "wgt_inner"]
        else:
            record["alu_op"], record["use_imm"] = int(rng.choice(list(AluOp))), rng.integers(0, 2)
            record["use_imm"] |= record["alu_op"] in (AluOp.CLIP, AluOp.TABULATE, AluOp.LOOKUP)
            record["imm"] = rng.integers(-300, 300) if record["alu_op"] == AluOp.TABULATE else 0
        record["uop_begin"] = rng.integers(0, 8)
        record["uop_end"] = rng.integers(record["uop_begin"], 9)
        record["loop_outer"], record["loop_inner"] = rng.integers(0, 4, 2)
        for name in names:
            record[name] = rng.integers(0, 4)
    columns[-1]["opcode"] = Opcode.FINISH
    add_tokens(rng, columns)
    return columns, uops  # type: ignore[return-value]


def add_tokens(rng: np.random.Generator, columns: np.ndarray) -> None:
    """Random pushes and pops; the pushes left over at the end are taken back."""
    eagerness = rng.random()
    queues = [naive_queue(record) for record in columns]
    for fifo in FIFOS:
        waiting: list[int] = []
        for i, queue in enumerate(queues):
            if queue == fifo.consumer and waiting and rng.random() < eagerness:
                columns[fifo.pop][i] = 1
                waiting.pop(0)
            if queue == fifo.producer and rng.random() < eagerness:
                columns[fifo.push][i] = 1
                waiting.append(i)
        columns[fifo.push][waiting] = 0


# -- slow and obvious ----------------------------------------------------------------------------------------------------


def naive_queue(record: np.void) -> Queue:
    if record["opcode"] == Opcode.STORE:
        return Queue.STORE
    return (
        Queue.LOAD
        if record["opcode"] == Opcode.LOAD and record["buffer"] in (Scratchpad.INP, Scratchpad.WGT)
        else Queue.COMPUTE
    )


def naive_before(columns: np.ndarray) -> np.ndarray:
    """bool[n, n]: the transitive closure of queue order and token pairs, for a program whose tokens balance."""
    n = len(columns)
    queues = [naive_queue(c) for c in columns]
    before = np.zeros((n, n), bool)
    for i, j in product(range(n), range(n)):
        before[i, j] = i < j and queues[i] == queues[j]
    for producer, push, consumer, pop in (
        (Queue.LOAD, "push_next", Queue.COMPUTE, "pop_prev"),
        (Queue.COMPUTE, "push_prev", Queue.LOAD, "pop_next"),
        (Queue.COMPUTE, "push_next", Queue.STORE, "pop_prev"),
        (Queue.STORE, "push_prev", Queue.COMPUTE, "pop_next"),
    ):
        pushes = [i for i in range(n) if queues[i] == producer and columns[push][i]]
        pops = [i for i in range(n) if queues[i] == consumer and columns[pop][i]]
        for i, j in zip(pushes, pops, strict=True):
            before[i, j] = True
    for k, i, j in product(range(n), range(n), range(n)):
        before[i, j] |= before[i, k] and before[k, j]
    return before


def naive_accesses(design: Design, record: np.void, uops: list[tuple[int, int, int]]) -> tuple[list, list]:
    """What one instruction reads and writes, step by step: (memory, entry) or ("dram", byte). `uops`: all of the SRAM."""
    f = {name: int(record[name]) for name in record.dtype.names or ()}
    sizes = {"inp": design.inp_tile_bytes, "wgt": design.wgt_tile_bytes, "acc": design.acc_tile_bytes}
    names = {Scratchpad.INP: "inp", Scratchpad.WGT: "wgt", Scratchpad.ACC: "acc", Scratchpad.OUT: "acc", Scratchpad.UOP: "uop"}
    sizes["uop"] = design.uop_bytes
    reads, writes = [], []
    if f["opcode"] in (Opcode.LOAD, Opcode.STORE):
        memory = names[Scratchpad(f["buffer"])]
        size = design.out_tile_bytes if f["buffer"] == Scratchpad.OUT else sizes[memory]
        rows = f["y_pad_before"] + f["y_size"] + f["y_pad_after"]
        entries = rows * (f["x_pad_before"] + f["x_size"] + f["x_pad_after"])
        sram = [(memory, f["sram_base"] + k) for k in range(entries)]
        tiles = [f["dram_base"] + y * f["x_stride"] + x for y in range(f["y_size"]) for x in range(f["x_size"])]
        dram = [("dram", size * tile + k) for tile in tiles for k in range(size)]
        return (dram, sram) if f["opcode"] == Opcode.LOAD else (sram, dram)
    if f["opcode"] == Opcode.FINISH:
        return [], []
    steps = product(range(f["loop_outer"]), range(f["loop_inner"]), range(f["uop_begin"], f["uop_end"]))
    for k, (outer, inner, u) in enumerate(steps):
        dst, src, wgt = uops[u]
        dst += outer * f["dst_outer"] + inner * f["dst_inner"]
        src += outer * f["src_outer"] + inner * f["src_inner"]
        wgt += outer * f["wgt_outer"] + inner * f["wgt_inner"]
        step: list[tuple[str, int]] = []
        if f["opcode"] == Opcode.GEMM:
            step += [("inp", src), ("wgt", wgt)] if f["gemm_mode"] != GemmMode.RESET else []
            step += [("acc", dst)] if f["gemm_mode"] == GemmMode.ACCUMULATE else []
        else:
            if f["alu_op"] in (AluOp.REQUANTISE, AluOp.RESCALE):
                step += [("acc", src), ("acc", src + 1)]
            elif not f["use_imm"]:
                step += [("acc", src)]
            step += [("acc", dst)] if f["alu_op"] != AluOp.MOV else []
            step += [("table", entry) for entry in range(256)] if f["alu_op"] == AluOp.LOOKUP else []
        reads += [access for access in step if access not in writes]  # what it wrote itself is no outside read
        writes.append(("acc", dst))
        if f["opcode"] == Opcode.ALU and f["alu_op"] == AluOp.TABULATE:
            writes.append(("table", (f["imm"] + k) % 256))
    return reads, writes


def naive_races(columns: np.ndarray, accesses: list[tuple[list, list]]) -> set[tuple[int, int]]:
    """Pairs (earlier, later) of instructions that conflict without being ordered."""
    before = naive_before(columns)
    races = set()
    sets = [(set(reads), set(writes)) for reads, writes in accesses]
    for i in range(len(columns)):
        for j in range(i + 1, len(columns)):
            (reads_i, writes_i), (reads_j, writes_j) = sets[i], sets[j]
            if not before[i, j] and (writes_i & (reads_j | writes_j) or reads_i & writes_j):
                races.add((i, j))
    return races


def unused_fields(opcode: Opcode) -> list[str]:
    """Columns an instruction has no field for."""
    known = {field.name for field in FIELDS[opcode]}
    return [name for name in COLUMNS.names or () if name not in known]
