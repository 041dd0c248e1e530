"""A lowered function → a relocatable `Emission`: instruction columns, micro-op sequences, DRAM addresses by parameter.

Every item of the trace becomes a few instructions. Their shape depends only on the item's pattern and is computed once
(`transfers`, `compress`); the item adds bases: an SRAM and a DRAM offset for a DMA, three tile indices for a sequence of
micro-ops. Equal sequences are stored once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vdla.compiler.backends.vdla.alu import (
    INT8_HIGH,
    INT8_LOW,
    Pass,
    alu_passes,
    constant_passes,
    is_wide,
    order_of,
    separable,
    step_passes,
)
from vdla.compiler.backends.vdla.dma import TRANSFER_FIELDS, dma_limits_of, transfers
from vdla.compiler.backends.vdla.micro_ops import ONCE, HardwareLoops, Limits, Order, compress, limits_of
from vdla.compiler.backends.vdla.resets import fuse_resets
from vdla.compiler.backends.vdla.sram import MEMORY_OF_SCOPE, SramPlan, plan_sram
from vdla.compiler.backends.vdla.trace import Item, Nest, Pattern, Trace, trace
from vdla.compiler.ir.nodes import Buffer, Function, attribute
from vdla.design import Design
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import CompileError
from vdla.isa.definition import (
    TABLE_ENTRIES,
    AluOp,
    GemmMode,
    Opcode,
    Scratchpad,
    element_type,
    table_tiles,
    tile_bytes,
)
from vdla.isa.layout import COLUMNS, UOP_COLUMNS

NONE = -1


@dataclass(frozen=True, slots=True)
class EmissionSummary:
    """What an emission costs. dram_bytes: by buffer name, "store" for what is written. uops: distinct ones to load."""

    instructions: int
    gemm_steps: int
    alu_steps: int
    uops: int
    dram_bytes: Mapping[str, int]
    sram_entries: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Emission:
    """One kernel's instructions, before its place in DRAM, in the micro-op memory and its tokens are known.

    columns: COLUMNS[n]; dram_base is relative to the parameter, in tiles; uop_begin and uop_end to the sequence.
    param: int32[n], index into `params` or NONE. sequence: int32[n], index into `sequences` or NONE.
    sequences: UOP_COLUMNS[…] each, at most the micro-op memory long.
    """

    design: Design
    name: str
    params: tuple[Buffer, ...]
    columns: np.ndarray
    param: np.ndarray
    sequence: np.ndarray
    sequences: tuple[np.ndarray, ...]
    sram_entries: Mapping[str, int]

    def summary(self) -> EmissionSummary:
        """Counts for cost models."""
        c = self.columns
        steps = c["loop_outer"].astype(np.int64) * c["loop_inner"] * (c["uop_end"] - c["uop_begin"])
        moved = c["y_size"].astype(np.int64) * c["x_size"]
        loads = c["opcode"] == Opcode.LOAD
        dram_bytes = {
            m.name.lower(): int(moved[loads & (c["buffer"] == m)].sum()) * tile_bytes(self.design, m) for m in Scratchpad
        }
        dram_bytes["uop"] = sum(map(len, self.sequences)) * self.design.uop_bytes
        dram_bytes["store"] = int(moved[c["opcode"] == Opcode.STORE].sum()) * self.design.out_tile_bytes
        return EmissionSummary(
            len(c),
            int(steps[c["opcode"] == Opcode.GEMM].sum()),
            int(steps[c["opcode"] == Opcode.ALU].sum()),
            sum(map(len, self.sequences)),
            dram_bytes,
            self.sram_entries,
        )


def emit(func: Function, design: Design) -> Emission:
    """Instructions of a lowered function.

    Raises `CompileError` when its buffers do not fit the memories, or it holds something VDLA has no instruction for.
    """
    traced = trace(func)
    plan = plan_sram(traced, design, scratch=int(_needs_constants(traced)))
    builder = _Builder(func, design, plan)
    fused = fuse_resets(
        traced.items, plan, design.acc_depth, lambda pattern: bool(builder.gemm_loops(pattern, Order.FIRST_TOUCH))
    )
    with_heads = {traced.items[k].pattern for k in fused.overwriting}
    for k, item in enumerate(traced.items):
        match item.nest.name:
            case "vdla.load" | "vdla.store":
                builder.dma(item)
            case "vdla.gemm":
                builder.gemm(item, item.pattern in with_heads, k in fused.overwriting)
            case "vdla.gemm_reset":
                if k not in fused.dropped:
                    builder.reset(item)
            case "vdla.tabulate":
                builder.tabulate(item)
            case name if name.startswith("vdla.alu."):
                builder.alu(item)
            case name:
                raise CompileError("the VDLA backend has no such intrinsic", where=func.name, found=name)
    return builder.finish()


def _needs_constants(traced: Trace) -> bool:
    """Is some immediate too wide for its field? Then one acc tile is kept for constants."""
    nests = {id(item.nest): item.nest for item in traced.items}.values()
    values = [v for n in nests if n.name.startswith("vdla.alu.") for _, v in n.intrinsic.attributes]
    return any(is_wide(Pass(AluOp.MOV, None, int(v))) for v in values if not isinstance(v, str))


@dataclass(frozen=True, slots=True)
class _Row:
    """One instruction: a template, and what is added to it."""

    template: int
    sequence: int = NONE
    param: int = NONE
    sram: int = 0
    dram: int = 0


@dataclass(eq=False)
class _Builder:
    """Collects instructions; everything that depends on a pattern alone is computed once."""

    func: Function
    design: Design
    plan: SramPlan
    rows: list[_Row] = field(default_factory=list)
    templates: dict[tuple[tuple[str, int], ...], int] = field(default_factory=dict)
    sequences: list[np.ndarray] = field(default_factory=list)
    sequence_ids: dict[bytes, int] = field(default_factory=dict)
    relocated: dict[tuple[HardwareLoops, tuple[int, ...]], int] = field(default_factory=dict)
    dma_ends: dict[Nest, tuple[Scratchpad, int]] = field(default_factory=dict)
    transfers_of: dict[tuple[Pattern, Scratchpad, int], list[tuple[int, bool]]] = field(default_factory=dict)
    loops_of: dict[tuple[Pattern, Order, tuple[int | None, ...], bool], list[HardwareLoops]] = field(default_factory=dict)
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        self.limits = limits_of(self.design)

    def template(self, opcode: Opcode, **fields: int) -> int:
        key = (("opcode", int(opcode)), *fields.items())
        return self.templates.setdefault(key, len(self.templates))

    def entry(self, item: Item, operand: int) -> int:
        """Absolute SRAM entry of an operand's base."""
        return self.plan.base[item.nest.buffers[operand]] + item.bases[operand]

    # -- DMA ------------------------------------------------------------------------------------------------------------

    def dma(self, item: Item) -> None:
        store = item.nest.name == "vdla.store"
        on_chip, in_dram = (1, 0) if store else (0, 1)
        if item.nest not in self.dma_ends:
            memory = _dma_memory(item, on_chip, in_dram, self.design)
            self.dma_ends[item.nest] = memory, _param_index(self.func, item.nest.buffers[in_dram])
        memory, param = self.dma_ends[item.nest]
        for template, has_data in self._transfers(item, memory, on_chip, in_dram):
            sram = self.entry(item, on_chip)
            self.rows.append(_Row(template, NONE, param, sram, item.bases[in_dram]) if has_data else _Row(template, sram=sram))

    def _transfers(self, item: Item, memory: Scratchpad, on_chip: int, in_dram: int) -> list[tuple[int, bool]]:
        """Templates of an item's DMA instructions, and whether each touches DRAM."""
        pad_value = _pad_value(item)
        key = (item.pattern, memory, pad_value)
        if key not in self.transfers_of:
            steps, inside = item.pattern.steps, item.pattern.inside
            opcode = Opcode.STORE if item.nest.name == "vdla.store" else Opcode.LOAD
            table = transfers(steps[on_chip], steps[in_dram], inside, dma_limits_of(self.design), store=opcode is Opcode.STORE)
            self.transfers_of[key] = [self._transfer(opcode, memory, pad_value, row) for row in table.tolist()]
        return self.transfers_of[key]

    def _transfer(self, opcode: Opcode, memory: Scratchpad, pad_value: int, row: list[int]) -> tuple[int, bool]:
        fields = dict(zip(TRANSFER_FIELDS, row, strict=True))
        padded = any(value for name, value in fields.items() if "pad" in name)
        template = self.template(opcode, buffer=int(memory), **fields, pad_value=pad_value if padded else 0)
        return template, fields["y_size"] > 0

    # -- GEMM -----------------------------------------------------------------------------------------------------------

    def gemm_loops(self, pattern: Pattern, order: Order) -> list[HardwareLoops]:
        return self._loops(pattern, order, (0, 1, 2))

    def gemm(self, item: Item, with_heads: bool, overwrite: bool) -> None:
        bases = (self.entry(item, 0), self.entry(item, 1), self.entry(item, 2))
        for loops in self.gemm_loops(item.pattern, Order.FIRST_TOUCH if with_heads else Order.FREE):
            sequence = self.sequence(loops, bases)
            heads = loops.heads if overwrite else 0
            for mode, begin, end in ((GemmMode.OVERWRITE, 0, heads), (GemmMode.ACCUMULATE, heads, len(loops.uops))):
                if begin < end:
                    self._gemm_instruction(mode, loops, sequence, begin, end)

    def reset(self, item: Item) -> None:
        """Zeroing a tile twice is zeroing it once, so axes that do not move dst are dropped."""
        for loops in self._loops(item.pattern, Order.FREE, (0, None, None), idempotent=True):
            sequence = self.sequence(loops, (self.entry(item, 0), 0, 0))
            self._gemm_instruction(GemmMode.RESET, loops, sequence, 0, len(loops.uops))

    def _gemm_instruction(self, mode: GemmMode, loops: HardwareLoops, sequence: int, begin: int, end: int) -> None:
        outer, inner = loops.outer.strides, loops.inner.strides
        strides = {"wgt_outer": outer[2], "wgt_inner": inner[2]}
        template = self.template(
            Opcode.GEMM, gemm_mode=int(mode), uop_begin=begin, uop_end=end, **_loop_fields(loops), **strides
        )
        self.rows.append(_Row(template, sequence))

    # -- ALU ------------------------------------------------------------------------------------------------------------

    def alu(self, item: Item) -> None:
        passes = alu_passes(item, self.plan)
        if separable(item, self.plan, passes):
            for p in passes:
                self._alu_pass(item, p, self._pass_loops(item, p))
            return
        for step in range(item.pattern.count):  # a later step reads what an earlier one wrote: keep the passes together
            for p in step_passes(item, self.plan, passes, step):
                uops = _three(item.pattern.steps[:, step : step + 1], (0, p.source, None)).T
                self._alu_pass(item, p, [HardwareLoops(ONCE, ONCE, uops)])

    def _pass_loops(self, item: Item, p: Pass) -> list[HardwareLoops]:
        return self._loops(item.pattern, order_of(item, self.plan, p), (0, p.source, None))

    def _alu_pass(self, item: Item, p: Pass, loops: list[HardwareLoops]) -> None:
        dst, source = self.entry(item, 0), 0 if p.source is None else self.entry(item, p.source)
        use_imm = p.source is None
        if is_wide(p):
            assert self.plan.scratch is not None
            source, use_imm = self.plan.scratch, False
            constant = HardwareLoops(ONCE, ONCE, np.zeros((1, 3), np.int64))
            for part in constant_passes(p.imm):
                self._alu_instruction(part.op, True, part.imm, constant, self.sequence(constant, (source, 0, 0)))
        for one in loops:
            self._alu_instruction(p.op, use_imm, 0 if is_wide(p) else p.imm, one, self.sequence(one, (dst, source, 0)))

    def _alu_instruction(self, op: AluOp, use_imm: bool, imm: int, loops: HardwareLoops, sequence: int) -> None:
        fields = {"alu_op": int(op), "use_imm": int(use_imm), "imm": imm, "uop_begin": 0, "uop_end": len(loops.uops)}
        self.rows.append(_Row(self.template(Opcode.ALU, **fields, **_loop_fields(loops)), sequence))

    def tabulate(self, item: Item) -> None:
        """The steps go round the tiles, the first of which is micro-op 0 of every instruction."""
        tiles, done = table_tiles(self.design), 0
        points = np.zeros((3, 1), np.int64)
        strides = np.array([[0, 1], [0, 0], [0, 0]], np.int64)
        for loops in compress((TABLE_ENTRIES // tiles, tiles), strides, points, Order.FIXED, self.limits):
            self._alu_instruction(AluOp.TABULATE, True, done, loops, self.sequence(loops, (self.entry(item, 1), 0, 0)))
            done += len(loops.expand())

    # -- micro-ops --------------------------------------------------------------------------------------------------------

    def _loops(
        self, pattern: Pattern, order: Order, operands: tuple[int | None, ...], *, idempotent: bool = False
    ) -> list[HardwareLoops]:
        """`compress`, once for each pattern. operands: which are dst, src and wgt. idempotent: once for each dst is enough."""
        key = (pattern, order, operands, idempotent)
        if key not in self.loops_of:
            if order is Order.FIXED:
                extents, strides, points = _in_loop_order(pattern)
            else:
                extents, strides, points = pattern.extents, pattern.strides, pattern.points
            strides, points = _three(strides, operands), _three(points, operands)
            if idempotent:
                moving = [k for k in range(len(extents)) if strides[0, k]]
                extents, strides = tuple(extents[k] for k in moving), strides[:, moving]
            self.loops_of[key] = compress(extents, strides, points, order, self.limits)
        return self.loops_of[key]

    def sequence(self, loops: HardwareLoops, bases: tuple[int, int, int]) -> int:
        """Number of the sequence of `loops`' micro-ops at absolute bases."""
        key = (loops, bases)
        if key not in self.relocated:
            uops = np.empty(len(loops.uops), UOP_COLUMNS)
            for name, column, base in zip(("dst", "src", "wgt"), loops.uops.T, bases, strict=True):
                uops[name] = column + base
            number = self.sequence_ids.setdefault(uops.tobytes(), len(self.sequences))
            if number == len(self.sequences):
                self.sequences.append(uops)
            self.relocated[key] = number
        return self.relocated[key]

    # -- the whole ----------------------------------------------------------------------------------------------------------

    def finish(self) -> Emission:
        templates = np.zeros(len(self.templates), COLUMNS)
        for k, key in enumerate(self.templates):
            for name, value in key:
                templates[name][k] = value
        rows = np.array([(r.template, r.sequence, r.param, r.sram, r.dram) for r in self.rows], np.int64).reshape(-1, 5)
        rows = rows[_weights_first(templates[rows[:, 0]])]
        columns = templates[rows[:, 0]]
        columns["sram_base"] += rows[:, 3].astype(np.int32)
        columns["dram_base"] += rows[:, 4]
        entries = {memory.name.lower(): self.plan.used[memory] for memory in MEMORY_OF_SCOPE.values()}
        return Emission(
            self.design, self.func.name, self.func.params, columns,
            rows[:, 2].astype(np.int32), rows[:, 1].astype(np.int32), tuple(self.sequences), entries,
        )  # fmt: skip


def _loop_fields(loops: HardwareLoops) -> dict[str, int]:
    outer, inner = loops.outer, loops.inner
    return {
        "loop_outer": outer.extent, "loop_inner": inner.extent, "dst_outer": outer.strides[0], "dst_inner": inner.strides[0],
        "src_outer": outer.strides[1], "src_inner": inner.strides[1],
    }  # fmt: skip


def _three(rows: np.ndarray, operands: tuple[int | None, ...]) -> np.ndarray:
    """The rows of dst, src and wgt; zero where an instruction has no such operand."""
    return np.stack([np.zeros(rows.shape[1], np.int64) if o is None else rows[o] for o in operands])


def _in_loop_order(pattern: Pattern) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """Axes and points that give the steps in loop order."""
    if pattern.irregular_steps is None:
        return pattern.extents, pattern.strides, pattern.points
    return (), np.zeros((len(pattern.strides), 0), np.int64), pattern.irregular_steps


def _dma_memory(item: Item, on_chip: int, in_dram: int, design: Design) -> Scratchpad:
    """The `buffer` field of a DMA. Raises `CompileError` when the DRAM tensor's type or tile is not the memory's."""
    chip, dram = item.nest.buffers[on_chip], item.nest.buffers[in_dram]
    if item.nest.name == "vdla.store" or (chip.scope == "vdla.acc" and dram.dtype == design.types.out):
        memory = Scratchpad.OUT
    else:
        memory = MEMORY_OF_SCOPE.get(chip.scope, Scratchpad.UOP)
    size = ELEMENT_TYPES[dram.dtype].bytes_of(math.prod(item.nest.intrinsic.operands[in_dram].extents))
    found = f"{dram.dtype} tile of {size} bytes"
    expected = (
        "" if memory is Scratchpad.UOP else f"{element_type(design, memory).name} tile of {tile_bytes(design, memory)} bytes"
    )
    if found != expected:
        raise CompileError(
            f"{item.nest.name} between {chip.scope} and {dram.scope}", where=f"{chip.name}, {dram.name}",
            found=found, expected=expected,
        )  # fmt: skip
    return memory


def _pad_value(item: Item) -> int:
    """Raises `CompileError` when it does not fit the instruction's signed byte."""
    value = int(attribute(item.nest.intrinsic.attributes, "pad_value") or 0)
    if not INT8_LOW <= value <= INT8_HIGH:
        raise CompileError(
            "a pad value is no int8", where=item.nest.buffers[0].name, found=value, expected=f"{INT8_LOW}..{INT8_HIGH}"
        )
    return value


def _param_index(func: Function, buffer: Buffer) -> int:
    for k, param in enumerate(func.params):
        if param is buffer:
            return k
    raise CompileError("a DMA names a tensor that is not a parameter", where=func.name, found=buffer.name)


def _weights_first(columns: np.ndarray) -> np.ndarray:
    """An order that brings the first weights before the inputs they wait with.

    Weights depend on no earlier layer, inputs do; the LOAD queue is in order, so inputs in front would hold weights back.
    """
    order = np.arange(len(columns))
    gemms = np.flatnonzero(columns["opcode"] == Opcode.GEMM)
    head = columns[: gemms[0]] if len(gemms) else columns[:0]
    weights = (head["opcode"] == Opcode.LOAD) & (head["buffer"] == Scratchpad.WGT)
    if not weights.any():
        return order
    begin = int(np.argmax(weights))
    others = np.flatnonzero(~weights[begin:])
    end = begin + (int(others[0]) if len(others) else int(len(weights) - begin))
    return np.concatenate([order[begin:end], order[:begin], order[end:]])
