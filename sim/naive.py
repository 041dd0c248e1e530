"""The naive twin of the simulator: slow, obvious Python.

Function is `isa.semantics`, an instruction at a time; time is `naive_timing`, a cycle at a time. Nothing here is shared
with the fast simulator but the definition of the machine and the constants of the timing contract.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vdla.design import Design
from vdla.device import STALLS, UNITS, DeviceResult, LayerProfile, Observer, Profile, UnitProfile
from vdla.errors import RunError
from vdla.isa.assembler import describe
from vdla.isa.binding import bind_inputs, read_outputs, require_design
from vdla.isa.definition import INSTRUCTION_BYTES, PER_CHANNEL_ALU_OPS, AluOp, Opcode, Scratchpad, tile_bytes
from vdla.isa.program import Program
from vdla.isa.semantics import SEMANTICS, Machine, new_machine, uop_indices
from vdla.isa.timing import ALU_LATENCY, ALU_LONG_LATENCY, LONG_ALU_OPS
from vdla.sim.naive_timing import NaiveMachine


class NaiveSimulator:
    """A device that defines what the others must do."""

    def __init__(self, design: Design) -> None:
        self.design = design

    def run(
        self, program: Program, inputs: Mapping[str, np.ndarray], *, timing: bool = True, observe: Observer | None = None
    ) -> DeviceResult:
        """See `Device.run`."""
        program = require_design(program, self.design)
        dram, columns = bind_inputs(program, inputs), program.columns()
        _, cycles = execute(program, columns, dram, observe)
        profile = self._profile(program, columns, cycles) if timing else None
        return DeviceResult(read_outputs(program, dram), profile)

    def _profile(self, program: Program, columns: np.ndarray, cycles: list[int]) -> Profile:
        machine = NaiveMachine(columns, cycles, self.design)
        if not machine.run():
            stuck = [i for i, start in enumerate(machine.start) if start < 0]
            raise RunError("deadlock", where=describe(program, stuck[0]))
        start, finish = np.array(machine.start, np.int64), np.array(machine.finish, np.int64)
        layers, before = [], 0
        for k, layer in enumerate(program.layers):
            begin = program.layers[k - 1].end if k else 0
            rows = range(begin, layer.end if k + 1 < len(program.layers) else len(columns))
            last = max(finish[: rows.stop], default=0)
            gemm, alu = (
                sum(int(finish[i] - start[i]) for i in rows if columns["opcode"][i] == op) for op in (Opcode.GEMM, Opcode.ALU)
            )
            units = self._units(machine, rows)
            layers.append(LayerProfile(layer.name, int(last) - before, units, gemm, alu, self._traffic(columns, rows)))
            before = int(last)
        everything = range(len(columns))
        return Profile(int(finish.max(initial=0)), tuple(layers), self._units(machine, everything), start, finish)

    @staticmethod
    def _units(machine: NaiveMachine, rows: range) -> dict[str, UnitProfile]:
        accounts = [("fetch", machine.fetch_accounts[i]) for i in rows]
        accounts += [(machine.queue_of(i).name.lower(), machine.accounts[i]) for i in rows]
        return {
            unit: UnitProfile(
                sum(account["busy"] for name, account in accounts if name == unit),
                {cause: sum(account[cause] for name, account in accounts if name == unit) for cause in STALLS},
            )
            for unit in UNITS
        }

    def _traffic(self, columns: np.ndarray, rows: range) -> dict[str, int]:
        """Bytes over the bus, by what is loaded, `store` and `fetch`."""
        traffic = dict.fromkeys((*(buffer.name.lower() for buffer in Scratchpad), "store"), 0)
        traffic["fetch"] = INSTRUCTION_BYTES * len(rows)
        for f in (columns[i] for i in rows):
            buffer = Scratchpad(f["buffer"])
            moved = int(f["y_size"]) * int(f["x_size"]) * tile_bytes(self.design, buffer)
            if f["opcode"] == Opcode.LOAD:
                traffic[buffer.name.lower()] += moved
            elif f["opcode"] == Opcode.STORE:
                traffic["store"] += moved
        return traffic


def execute(
    program: Program, columns: np.ndarray, dram: np.ndarray, observe: Observer | None = None
) -> tuple[Machine, list[int]]:
    """Run on `dram` in place. Returns the machine and, for each GEMM and ALU instruction, the cycles of its steps."""
    machine = new_machine(program.design, dram)
    cycles = [0] * len(columns)
    for i, f in enumerate(columns):
        opcode = Opcode(f["opcode"])
        try:
            if opcode in (Opcode.GEMM, Opcode.ALU):
                indices = [(dst, src) for dst, src, _ in uop_indices(machine, f)]
                cycles[i] = len(indices) if opcode == Opcode.GEMM else read_cycles(f, indices)
            SEMANTICS[opcode](machine, f)
        except RunError as err:
            raise RunError(err.what, where=describe(program, i), found=err.found, expected=err.expected) from None
        for layer in program.layers:
            if observe is not None and layer.end == i + 1:
                observe(layer, dram)
    return machine, cycles


def read_cycles(f: np.void, indices: list[tuple[int, int]]) -> int:
    """Cycles of an ALU instruction's reads of acc, a cycle at a time. indices: dst and src of its steps."""
    per_channel = f["alu_op"] in PER_CHANNEL_ALU_OPS
    reads: list[tuple[int, bool]] = []  # (entry, is it the last of its step)
    for k, (dst, src) in enumerate(indices):
        before = indices[k - 1] if k else None
        if per_channel and (before is None or before[1] != src or before[0] in (src, src + 1)):
            reads += [(src, False), (src + 1, False)]
        elif not per_channel and not f["use_imm"]:
            reads.append((src, False))
        reads.append((dst, True))
    latency = ALU_LONG_LATENCY if AluOp(f["alu_op"]) in LONG_ALU_OPS else ALU_LATENCY
    now, issues = 0, list[tuple[int, int]]()  # (cycle, dst) of the steps that may still be writing
    while reads:
        issues = [(cycle, dst) for cycle, dst in issues if now - cycle < latency]
        entry, last = reads[0]
        if all(dst != entry for _, dst in issues):
            reads.pop(0)
            if last:
                issues.append((now, entry))
        now += 1
    return now
