"""Random designs, and random programs that are correct: every range is respected and every dependence has its tokens.

`random_program(design, rng)` writes instructions of every kind over small SRAMs, so that almost everything conflicts with
something, tracks who last read and wrote each entry and byte, and derives the tokens from that. Two styles: `exact` orders
what depends, so that the units overlap; `serial` orders every instruction after the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vdla.design import Design
from vdla.design_file import design_from_dict
from vdla.isa.definition import (
    DMA_SIZE_BITS,
    IMMEDIATE_ALU_OPS,
    AluOp,
    GemmMode,
    Opcode,
    Queue,
    Scratchpad,
    depth,
    queue_of,
    tile_bytes,
)
from vdla.isa.layout import UOP_COLUMNS, layout_of, new_columns
from vdla.isa.program import LayerSpan, Program, Segment, Slot

REGION_BYTES = 1 << 12
MEMORY_OF = {Scratchpad.UOP: "uop", Scratchpad.INP: "inp", Scratchpad.WGT: "wgt", Scratchpad.ACC: "acc", Scratchpad.OUT: "acc"}


def random_design(rng: np.random.Generator, **memory: object) -> Design:
    """A design with SRAMs of 4 to 40 tiles and a memory of any speed; `memory` overrides parameters of the latter."""
    batch, block = int(rng.choice([1, 1, 2, 4])), int(rng.choice([1, 2, 4, 8, 16, 16, 32]))

    def sram(tile: int) -> int:
        return tile * int(rng.integers(4, 41))

    bus_bits = int(rng.choice([32, 64, 128, 256]))
    return design_from_dict(
        {
            "name": "random_design",
            "about": "made up for a test",
            "clock_mhz": 100,
            "gemm": {"batch": batch, "block_in": block, "block_out": block},
            "sram": {
                "uop": 8 * int(rng.integers(8, 33)),
                "inp": sram(batch * block),
                "wgt": sram(block * block),
                "acc": sram(batch * block * 4),
            },
            "memory": {
                "bus_bits": bus_bits,
                "ports": str(rng.choice(["shared", "separate"])),
                "read_latency": int(rng.integers(1, 60)),
                "write_latency": int(rng.integers(1, 40)),
                "max_burst": 1 << int(rng.integers(0, 5)),
                "outstanding": int(rng.integers(1, 9)),
                **memory,
            },
        },
        "random design",
    )


def random_program(design: Design, rng: np.random.Generator, length: int = 30, style: str = "exact", scale: int = 1) -> Program:
    """About `length` instructions after loads that fill every SRAM, and a FINISH that waits for all."""
    writer = Writer(design, rng, style, scale)
    writer.fill_srams()
    for _ in range(length):
        rng.choice([writer.load, writer.gemm, writer.alu, writer.store], p=[0.3, 0.25, 0.25, 0.2])()
    writer.finish()
    return writer.program()


def random_inputs(program: Program, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {s.name: rng.integers(-128, 128, s.shape).astype(s.dtype) for s in program.inputs}


@dataclass
class Tracker:
    """Who last wrote each entry of a memory, and who of each queue last read it: instruction numbers, -1 for nobody."""

    size: int
    writer: np.ndarray = field(init=False)
    readers: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.writer = np.full(self.size, -1)
        self.readers = np.full((3, self.size), -1)

    def before(self, reads: np.ndarray, writes: np.ndarray) -> set[int]:
        """The instructions that one with these accesses must come after."""
        earlier = {*self.writer[reads].tolist(), *self.writer[writes].tolist(), *self.readers[:, writes].ravel().tolist()}
        return earlier - {-1}

    def note(self, reads: np.ndarray, writes: np.ndarray, queue: Queue, instruction: int) -> None:
        self.readers[queue, reads] = instruction
        self.writer[writes], self.readers[:, writes] = instruction, -1


class Writer:
    """Appends random instructions with their ordering edges."""

    def __init__(self, design: Design, rng: np.random.Generator, style: str, scale: int) -> None:
        self.design, self.rng, self.style, self.scale = design, rng, style, scale
        self.records: list[np.ndarray] = []
        self.queues: list[Queue] = []
        self.edges: list[tuple[int, int]] = []
        region = max(REGION_BYTES, *(2 * depth(design, b) * tile_bytes(design, b) for b in Scratchpad), design.dram_alignment)
        region = -(-region // design.dram_alignment) * design.dram_alignment
        self.regions = {name: k * region for k, name in enumerate(("uop", "wgt", "inp", "acc", "out"))}
        self.region = region
        sizes = {"uop": design.uop_depth, "inp": design.inp_depth, "wgt": design.wgt_depth, "acc": design.acc_depth}
        self.trackers = {name: Tracker(size) for name, size in sizes.items()} | {"dram": Tracker(5 * region)}
        self.uop_sram = np.zeros((design.uop_depth, 3), np.int64)
        self.uop_table = self._uop_table(region // design.uop_bytes)

    def _uop_table(self, count: int) -> np.ndarray:
        d = self.design
        limits = (d.acc_depth // 2, min(d.inp_depth, d.acc_depth - 1) // 2, d.wgt_depth // 2)
        table = np.zeros(count, UOP_COLUMNS)
        for name, limit in zip(("dst", "src", "wgt"), limits, strict=True):
            table[name] = self.rng.integers(0, limit, count)
        return table

    # -- emitting ----------------------------------------------------------------------------------------------------------
    def emit(self, record: np.ndarray, **accesses: tuple[np.ndarray, np.ndarray]) -> None:
        """Append an instruction that reads and writes these entries of these memories (bytes, for dram)."""
        buffer = Scratchpad(int(record["buffer"][0]))
        queue = queue_of(Opcode(int(record["opcode"][0])), buffer)
        before = {p for memory, access in accesses.items() for p in self.trackers[memory].before(*access)}
        if self.style == "serial" and self.records:
            before.add(len(self.records) - 1)
        before = self.order_through_compute(before, queue)
        me = len(self.records)
        for memory, access in accesses.items():
            self.trackers[memory].note(*access, queue, me)
        self.edges += [(p, me) for p in before if self.queues[p] != queue]
        self._append(record, queue)

    def order_through_compute(self, before: set[int], queue: Queue) -> set[int]:
        """LOAD and STORE have no FIFO between them: order them by way of a COMPUTE instruction after the earlier one."""
        far = {p for p in before if {self.queues[p], queue} == {Queue.LOAD, Queue.STORE}}
        if not far:
            return before
        relay = max(i for i, q in enumerate([Queue.COMPUTE, *self.queues]) if q == Queue.COMPUTE) - 1
        if relay < max(far):
            relay = len(self.records)
            self._append(new_columns(1, Opcode.GEMM), Queue.COMPUTE)  # zero loops: does nothing
        self.edges += [(p, relay) for p in far]
        return before - far | {relay}

    def _append(self, record: np.ndarray, queue: Queue) -> None:
        self.records.append(record)
        self.queues.append(queue)

    # -- instructions ------------------------------------------------------------------------------------------------------
    def pick(self, low: int, high: int) -> int:
        """Uniform in low..high, or low when there is no room."""
        return int(self.rng.integers(low, high + 1)) if high > low else low

    def fill_srams(self) -> None:
        for buffer in (Scratchpad.UOP, Scratchpad.WGT, Scratchpad.INP, Scratchpad.ACC):
            entries = depth(self.design, buffer)
            rows = 2 if entries >= 1 << DMA_SIZE_BITS else 1  # a row's size is a field
            self.dma(Opcode.LOAD, buffer, 0, (rows, entries // rows), (0, 0, 0, 0), MEMORY_OF[buffer])
        self.fill_table()

    def fill_table(self) -> None:
        """All entries, from one tile or more."""
        record, first = new_columns(1, Opcode.ALU), int(self.uop_sram[0, 0])
        record["alu_op"], record["use_imm"], record["imm"] = AluOp.TABULATE, 1, self.pick(-300, 300)
        record["uop_end"], record["loop_outer"], record["loop_inner"] = 1, 16, 16
        record["dst_inner"] = stride = min(1, (self.design.acc_depth - 1 - first) // 15)
        entries = first + stride * np.arange(16)
        self.emit(record, uop=(np.zeros(1, np.int64), np.zeros(0, np.int64)), acc=(entries, entries))

    def load(self) -> None:
        buffer = Scratchpad(self.rng.choice(list(Scratchpad), p=[0.1, 0.25, 0.35, 0.15, 0.15]))
        room, padded = depth(self.design, buffer), self.rng.random() < 0.4
        base = self.pick(0, room - 1)
        for _ in range(8):
            size = (self.pick(0, 4), self.pick(0, min(room, 8 * self.scale)))
            pads = tuple(self.pick(0, 2) if padded else 0 for _ in range(4))
            entries = (pads[0] + size[0] + pads[1]) * (pads[2] + size[1] + pads[3])
            if 0 < entries <= room - base:
                break
        else:
            size, pads = (1, 1), (0, 0, 0, 0)
        region = "out" if buffer in (Scratchpad.INP, Scratchpad.OUT) and self.rng.random() < 0.6 else MEMORY_OF[buffer]
        self.dma(Opcode.LOAD, buffer, base, size, pads, region)

    def store(self) -> None:
        base = self.pick(0, self.design.acc_depth - 1)
        width = self.pick(0, min(6 * self.scale, self.design.acc_depth - base))
        height = self.pick(0, min(4, (self.design.acc_depth - base) // max(width, 1)))
        self.dma(Opcode.STORE, Scratchpad.OUT, base, (height, width), (0, 0, 0, 0), "out")

    def dma(
        self, opcode: Opcode, buffer: Scratchpad, base: int, size: tuple[int, int], pads: tuple[int, ...], region: str
    ) -> None:
        width, (rows, columns) = tile_bytes(self.design, buffer), size
        record, tiles = new_columns(1, opcode), self.region // width
        stride = self.pick(0, min(columns + 3, (tiles - columns) // max(rows, 1)))
        first = self.regions[region] // width + self.pick(0, tiles - columns - stride * max(rows - 1, 0))
        names = ("y_pad_before", "y_pad_after", "x_pad_before", "x_pad_after")
        values = {
            "buffer": buffer,
            "sram_base": base,
            "dram_base": first,
            "y_size": rows,
            "x_size": columns,
            "x_stride": stride,
        }
        for name, value in (values | dict(zip(names, pads, strict=True))).items():
            record[name] = value
        if opcode == Opcode.LOAD:
            record["pad_value"] = self.pick(-128, 127)
        places = np.array([first + y * stride + x for y in range(rows) for x in range(columns)], np.int64)
        data = (places[:, None] * width + np.arange(width)).ravel()
        entries = base + np.arange((pads[0] + rows + pads[1]) * (pads[2] + columns + pads[3]))
        nothing = np.zeros(0, np.int64)
        if opcode == Opcode.STORE:
            self.emit(record, dram=(nothing, data), acc=(entries, nothing))
            return
        self.emit(record, dram=(data, nothing), **{MEMORY_OF[buffer]: (nothing, entries)})
        if buffer == Scratchpad.UOP:
            self._load_uops(base, first - self.regions["uop"] // width, rows, columns, stride, pads)

    def _load_uops(self, base: int, first: int, rows: int, columns: int, stride: int, pads: tuple[int, ...]) -> None:
        for y in range(-pads[0], rows + pads[1]):
            for x in range(-pads[2], columns + pads[3]):
                inside = 0 <= y < rows and 0 <= x < columns
                row = self.uop_table[first + y * stride + x] if inside else (0, 0, 0)
                self.uop_sram[base] = list(row)
                base += 1

    def loops(self, opcode: Opcode, limits: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """A record with loops whose indices stay within `limits`, and all its (dst, src, wgt), int64[steps, 3]."""
        record = new_columns(1, opcode)
        begin = self.pick(0, self.design.uop_depth - 1)
        end = self.pick(begin, min(begin + 4, self.design.uop_depth))
        outer, inner = (0, 3) if self.rng.random() < 0.05 else (self.pick(1, 3 * self.scale), self.pick(1, 4))
        record["uop_begin"], record["uop_end"], record["loop_outer"], record["loop_inner"] = begin, end, outer, inner
        uops = self.uop_sram[begin:end]
        steps = np.zeros((outer, inner, end - begin, 3), np.int64) + uops
        for k, name in enumerate(("dst", "src", "wgt")):
            if name not in limits:
                continue
            room = limits[name] - 1 - int(uops[:, k].max(initial=0))
            a = self.pick(0, room // max(1, outer - 1)) if self.rng.random() < 0.7 else 0
            b = self.pick(0, (room - a * max(0, outer - 1)) // max(1, inner - 1)) if self.rng.random() < 0.7 else 0
            limit = min(limits[name] - 1, 3 * self.scale)
            a, b = min(a, limit), min(b, limit)
            record[f"{name}_outer"], record[f"{name}_inner"] = a, b
            steps[..., k] += a * np.arange(outer)[:, None, None] + b * np.arange(inner)[None, :, None]
        return record, steps.reshape(-1, 3)

    def gemm(self) -> None:
        d = self.design
        record, steps = self.loops(Opcode.GEMM, {"dst": d.acc_depth, "src": d.inp_depth, "wgt": d.wgt_depth})
        mode = GemmMode(self.rng.choice(list(GemmMode), p=[0.6, 0.25, 0.15]))
        record["gemm_mode"] = mode
        dst, src, wgt = (np.unique(steps[:, k]) for k in range(3))
        nothing = np.zeros(0, np.int64)
        multiplies = mode != GemmMode.RESET
        uops = np.arange(record["uop_begin"][0], record["uop_end"][0])
        self.emit(
            record,
            uop=(uops, nothing),
            inp=(src if multiplies else nothing, nothing),
            wgt=(wgt if multiplies else nothing, nothing),
            acc=(dst if mode == GemmMode.ACCUMULATE else nothing, dst),
        )

    def alu(self) -> None:
        depth_acc = self.design.acc_depth
        op = AluOp(self.rng.choice(list(AluOp)))
        parameters = op in (AluOp.REQUANTISE, AluOp.RESCALE)
        record, steps = self.loops(Opcode.ALU, {"dst": depth_acc, "src": depth_acc - parameters})
        record["alu_op"] = op
        record["use_imm"] = 1 if op in IMMEDIATE_ALU_OPS else 0 if parameters else self.pick(0, 1)
        record["imm"] = self.pick(-(1 << 15), (1 << 15) - 1) if self.rng.random() < 0.5 else self.pick(0, 20)
        dst, src = np.unique(steps[:, 0]), np.unique(steps[:, 1])
        reads = np.union1d(dst, np.union1d(src, src + 1) if parameters else src if not record["use_imm"][0] else dst)
        uops = np.arange(record["uop_begin"][0], record["uop_end"][0])
        self.emit(record, uop=(uops, np.zeros(0, np.int64)), acc=(reads, dst))

    def finish(self) -> None:
        last = {queue: i for i, queue in enumerate(self.queues)}
        self.edges += [(last[q], len(self.records)) for q in (Queue.LOAD, Queue.STORE) if q in last]
        self._append(new_columns(1, Opcode.FINISH), Queue.COMPUTE)

    # -- the program -------------------------------------------------------------------------------------------------------
    def program(self) -> Program:
        columns = np.concatenate(self.records)
        place_tokens(columns, self.queues, self.edges)
        cuts = sorted({0, len(columns), *self.rng.integers(1, len(columns), 2).tolist()})
        layers = tuple(LayerSpan(f"layer{k}", "random", a, b) for k, (a, b) in enumerate(zip(cuts, cuts[1:], strict=False)))
        layout = layout_of(self.design)
        uops = layout.encode_uops(self.uop_table).view(np.uint8)
        segments = [Segment("uops", self.regions["uop"], uops)]
        for name in ("wgt", "acc", "out"):
            segments.append(Segment(name, self.regions[name], self.rng.integers(0, 256, self.region).astype(np.uint8)))
        inputs = (Slot("x", self.regions["inp"], (self.region,), "int8"),)
        outputs = (Slot("y", self.regions["out"], (self.region // 4, 4), "int8"),)
        return Program(self.design, layout.encode(columns), 5 * self.region, tuple(segments), inputs, outputs, layers)


def place_tokens(columns: np.ndarray, queues: list[Queue], edges: list[tuple[int, int]]) -> None:
    """Set the bits for `edges` (producer, consumer): for each pair of neighbours, those no earlier wait implies."""
    for producer, consumer in ((0, 1), (1, 0), (1, 2), (2, 1)):
        wanted: dict[int, int] = {}
        for p, c in edges:
            if queues[p] == producer and queues[c] == consumer:
                wanted[c] = max(p, wanted.get(c, -1))
        latest = -1
        for c in sorted(wanted):
            if wanted[c] > latest:
                latest = wanted[c]
                columns["push_next" if consumer > producer else "push_prev"][latest] = 1
                columns["pop_prev" if consumer > producer else "pop_next"][c] = 1
