"""The program checker: is a program safe to run, whatever the speed of its units?

It looks only at the program and the instruction set's definition. Statically and exactly it finds

- `field`: a field that does not fit, a bad opcode, an operand an instruction must not have;
- `structure`: a missing or early FINISH, layers with gaps, segments and tensors outside DRAM;
- `token`: a FIFO whose pushes and pops differ, a token towards a queue that does not exist, a token popped before the
  instruction that pushes it has been fetched;
- `deadlock`: which queue waits for what;
- `range`: an access outside an SRAM or DRAM, a micro-op nobody loaded or whose contents no segment gives;
- `unwritten`: a read of an SRAM entry nobody wrote;
- `race`: two instructions of different queues that touch the same SRAM entry or DRAM bytes, one of them writing, that
  no token orders in program order; and a STORE that FINISH does not wait for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vdla.errors import IsaError, ProblemList, VdlaError
from vdla.isa.assembler import instruction_text
from vdla.isa.definition import DRAM_BYTES_MAX, IMMEDIATE_ALU_OPS, AluOp, Opcode, Queue, depth
from vdla.isa.program import Program
from vdla.isa.tokens import FIFOS, Precedence, pops_of, precedence_of, pushes_of, queues_of

PROBLEMS_REPORTED, PROBLEMS_TOLD = 50, 5
PAD_COLUMNS = ("y_pad_before", "y_pad_after", "x_pad_before", "x_pad_after", "pad_value")


class ProgramProblem(IsaError):
    """One thing wrong with a program. kind: see this module. instruction: its index, None for the program as a whole."""

    def __init__(self, kind: str, instruction: int | None, what: str, **details: object) -> None:
        super().__init__(what, **details)  # type: ignore[arg-type]
        self.kind, self.instruction = kind, instruction


class RefusedProgram(ProblemList, IsaError):
    """The checker found problems. The message tells the first PROBLEMS_TOLD of `problems`; `count` were found."""

    def __init__(self, problems: Sequence[VdlaError], count: int) -> None:
        super().__init__("the program checker refuses this program", list(problems))
        self.count = count

    def __str__(self) -> str:
        told = " | ".join(map(str, self.problems[:PROBLEMS_TOLD]))
        more = f" | and {self.count - PROBLEMS_TOLD} more" if self.count > PROBLEMS_TOLD else ""
        return f"{self.what}: {self.count} problem{'s' if self.count > 1 else ''}: {told}{more}"


@dataclass(frozen=True)
class CheckReport:
    """problems: at most PROBLEMS_REPORTED of `found`. order: None when the words could not be decoded.

    gemm_uops, alu_uops: micro-op steps the program runs on each core.
    """

    problems: tuple[ProgramProblem, ...]
    found: int
    instructions: int
    gemm_uops: int = 0
    alu_uops: int = 0
    order: Precedence | None = None

    @property
    def ok(self) -> bool:
        return not self.problems

    def require(self) -> CheckReport:
        """This report. Raises `RefusedProgram` listing all problems when there are any."""
        if self.problems:
            raise RefusedProgram(self.problems, self.found)
        return self


def check_program(program: Program) -> CheckReport:
    """All problems of `program`; races are looked for once its tokens balance. O(instructions + entries accessed)."""
    count = len(program.words)
    try:
        columns = program.columns()
    except VdlaError as problem:
        details = {"where": problem.where, "found": problem.found, "expected": problem.expected, "hint": problem.hint}
        return CheckReport((ProgramProblem("field", None, problem.what, **details),), 1, count)
    describe = _Describer(program, columns)
    problems = [*_bad_operands(columns, describe), *_bad_structure(program, columns, describe)]
    unbalanced = list(_bad_tokens(columns, describe))
    order = precedence_of(columns)
    unbalanced += _deadlock(order, columns, describe)
    problems += unbalanced
    excess = 0
    if not any(problem.kind == "structure" for problem in problems):
        accesses, excess = _bad_accesses(program, columns, order, bool(unbalanced), describe)
        problems += accesses
        if not unbalanced:
            problems += _early_finish(columns, order, describe)
    gemm_uops, alu_uops = (_micro_ops(columns[columns["opcode"] == opcode]) for opcode in (Opcode.GEMM, Opcode.ALU))
    return CheckReport(tuple(problems[:PROBLEMS_REPORTED]), len(problems) + excess, count, gemm_uops, alu_uops, order)


def _micro_ops(columns: np.ndarray) -> int:
    """Steps that looped instructions run."""
    iterations = columns["loop_outer"].astype(np.int64) * columns["loop_inner"]
    return int((iterations * np.maximum(0, columns["uop_end"] - columns["uop_begin"])).sum())


@dataclass(frozen=True)
class _Describer:
    """Names instructions in messages: index, text and layer."""

    program: Program
    columns: np.ndarray

    def __call__(self, index: int | np.integer) -> str:
        index = int(index)
        layer = self.program.layer_of(index)
        return f"instruction {index} `{instruction_text(self.columns[index])}`" + (f" of layer {layer.name}" if layer else "")


# -- fields and structure ------------------------------------------------------------------------------------------------


def _bad_operands(columns: np.ndarray, describe: _Describer) -> Iterator[ProgramProblem]:
    """Values that fit their fields but mean nothing."""
    padded = np.any([columns[name] != 0 for name in PAD_COLUMNS], axis=0)
    for i in np.flatnonzero((columns["opcode"] == Opcode.STORE) & padded):
        yield ProgramProblem("field", int(i), "STORE has no padding", where=describe(i), expected="pads and pad value of zero")
    immediate = (columns["opcode"] == Opcode.ALU) & np.isin(columns["alu_op"], IMMEDIATE_ALU_OPS)
    for i in np.flatnonzero(immediate & (columns["use_imm"] == 0)):
        what = f"{AluOp(columns['alu_op'][i]).name} has no tensor operand"
        yield ProgramProblem("field", int(i), what, where=describe(i), expected="use_imm")


def _bad_structure(program: Program, columns: np.ndarray, describe: _Describer) -> Iterator[ProgramProblem]:
    finishes = np.flatnonzero(columns["opcode"] == Opcode.FINISH)
    if not len(finishes) or finishes[-1] != len(columns) - 1:
        last = describe(len(columns) - 1) if len(columns) else "the program"
        yield ProgramProblem("structure", None, "the program does not end with FINISH", where=last, expected="FINISH last")
    for i in finishes[finishes < len(columns) - 1]:
        yield ProgramProblem("structure", int(i), "FINISH before the end", where=describe(i), expected="one FINISH, last")
    if not 0 <= program.dram_bytes <= DRAM_BYTES_MAX:
        expected = f"0..{DRAM_BYTES_MAX} bytes"
        yield ProgramProblem("structure", None, "DRAM of an impossible size", found=program.dram_bytes, expected=expected)
    places = [(f"segment {s.name}", s.address, len(s.data)) for s in program.segments]
    places += [(f"tensor {s.name}", s.address, s.bytes) for s in (*program.inputs, *program.outputs)]
    for name, address, size in places:
        if not 0 <= address <= address + size <= program.dram_bytes:
            found, expected = f"{address}..{address + size}", f"0..{program.dram_bytes}"
            yield ProgramProblem("structure", None, "outside DRAM", where=name, found=found, expected=expected)
    yield from _overlaps(program)
    end = program.layers[0].begin if program.layers else 0
    for layer in program.layers:
        if layer.begin != end or not layer.begin <= layer.end <= len(columns):
            found, expected = f"{layer.begin}..{layer.end}", f"from {end}, up to {len(columns)}"
            where = f"layer {layer.name}"
            yield ProgramProblem("structure", None, "layer out of place", where=where, found=found, expected=expected)
        end = layer.end


def _overlaps(program: Program) -> Iterator[ProgramProblem]:
    segments = sorted((s for s in program.segments if len(s.data)), key=lambda s: s.address)
    for first, second in zip(segments, segments[1:], strict=False):
        if first.address + len(first.data) > second.address:
            where = f"segment {second.name}"
            yield ProgramProblem("structure", None, f"overlaps segment {first.name}", where=where, found=second.address)


# -- tokens --------------------------------------------------------------------------------------------------------------


def _bad_tokens(columns: np.ndarray, describe: _Describer) -> Iterator[ProgramProblem]:
    queue = queues_of(columns)
    yield from _impossible_tokens(columns, queue, describe)
    for fifo in FIFOS:
        pushes, pops = pushes_of(columns, queue, fifo), pops_of(columns, queue, fifo)
        if len(pushes) != len(pops):
            extra = "push" if len(pushes) > len(pops) else "pop"
            last = int(max(pushes, pops, key=len)[-1])
            yield ProgramProblem(
                "token",
                None,
                f"FIFO {fifo.name} is unbalanced: {len(pushes)} pushes, {len(pops)} pops",
                where=f"last {extra} at {describe(last)}",
                expected="as many pushes as pops",
            )
        paired = min(len(pushes), len(pops))
        late = np.flatnonzero(pushes[:paired] >= pops[:paired])
        if len(late):
            k = int(late[0])
            yield ProgramProblem(
                "token",
                int(pops[k]),
                f"pops token {k} of FIFO {fifo.name} before {describe(int(pushes[k]))}, which pushes it, is fetched",
                where=describe(int(pops[k])),
                expected="pushes to come first in the program, since command queues are finite",
            )


def _impossible_tokens(columns: np.ndarray, queue: np.ndarray, describe: _Describer) -> Iterator[ProgramProblem]:
    for end, side in ((Queue.LOAD, "prev"), (Queue.STORE, "next")):
        for bit in (f"pop_{side}", f"push_{side}"):
            for i in np.flatnonzero((queue == end) & (columns[bit] != 0)):
                what = f"{bit}: there is no queue {'before' if side == 'prev' else 'after'} {end.name}"
                yield ProgramProblem("token", int(i), what, where=describe(i))


def _deadlock(order: Precedence, columns: np.ndarray, describe: _Describer) -> Iterator[ProgramProblem]:
    blocked = order.blocked()
    if not blocked:
        return
    stories = []
    for queue in Queue:
        if queue not in blocked:
            stories.append(f"{queue.name} has run all its {len(order.members[queue])} instructions")
            continue
        i = blocked[queue]
        givers = [fifo.producer.name for fifo in FIFOS if fifo.consumer == queue and columns[fifo.pop][i]]
        stories.append(f"{queue.name} waits for a token from {' and '.join(givers)} at {describe(i)}")
    yield ProgramProblem("deadlock", min(blocked.values()), "deadlock: " + "; ".join(stories))


def _early_finish(columns: np.ndarray, order: Precedence, describe: _Describer) -> Iterator[ProgramProblem]:
    stores = order.members[Queue.STORE]
    last = len(columns) - 1
    if len(stores) and not order.before(int(stores[-1]), last):
        what = f"FINISH does not wait for {describe(int(stores[-1]))}"
        yield ProgramProblem("race", last, what, where=describe(last), expected="a token from STORE")


# -- accesses ------------------------------------------------------------------------------------------------------------


def _bad_accesses(
    program: Program, columns: np.ndarray, order: Precedence, unordered: bool, describe: _Describer
) -> tuple[list[ProgramProblem], int]:
    """Problems, and how many more were not kept. `unordered`: tokens are broken, so look for no races."""
    from vdla.isa import checker_kernels as kernels
    from vdla.isa.checker_state import initial_state, steps_of

    clock = order.clock
    if unordered:  # every queue has seen everything, and each its own past
        clock = np.full_like(clock, np.iinfo(np.int32).max - 1)
        clock[np.arange(len(columns)), order.queue] = order.position
    state = initial_state(program, clock)
    kernels.walk(steps_of(columns, order.queue, program.design), state)
    found = int(state.fault_count[0])
    rows = state.faults[: min(found, kernels.FAULTS_KEPT)]
    broken = (kernels.OUT_OF_RANGE, kernels.NEVER_LOADED_UOP, kernels.UNKNOWN_UOP)
    if np.isin(rows[:, 0], broken).any():  # what follows from an access that could not be followed is no news
        rows = rows[rows[:, 0] != kernels.NEVER_WRITTEN]
    problems = [_access_problem(program, row, order, describe) for row in rows.tolist()]
    return problems, max(0, found - kernels.FAULTS_KEPT)


def _access_problem(program: Program, row: list[int], order: Precedence, describe: _Describer) -> ProgramProblem:
    from vdla.isa import checker_kernels as kernels
    from vdla.isa.checker_state import SRAM_OF

    kind, i, memory, entry, other = row
    where = describe(i)
    buffer = SRAM_OF.get(memory)
    name = buffer.name.lower() if buffer is not None else "table" if memory == kernels.TABLE else "DRAM"
    if kind == kernels.OUT_OF_RANGE:
        size = depth(program.design, buffer) if buffer is not None else program.dram_bytes
        what = f"reaches outside {name}"
        return ProgramProblem("range", i, what, where=where, found=entry, expected=f"0..{size - 1}")
    if kind == kernels.NEVER_LOADED_UOP:
        return ProgramProblem("range", i, "uses a micro-op nobody loaded", where=where, found=entry, hint="a LOAD uop first")
    if kind == kernels.UNKNOWN_UOP:
        what = f"loads a micro-op at DRAM byte {entry} that no segment holds or that a STORE has overwritten"
        return ProgramProblem("range", i, what, where=where)
    place = f"DRAM byte {entry * program.design.out_tile_bytes}" if memory == kernels.DRAM else f"{name}[{entry}]"
    if kind == kernels.NEVER_WRITTEN:
        return ProgramProblem("unwritten", i, f"reads {place}, which nobody wrote", where=where)
    stamp, queue = divmod(other, 4)
    partner = int(order.members[queue][stamp - 1])
    verbs = "reads" if kind == kernels.READ_RACE else "writes", "wrote" if kind == kernels.READ_RACE else "read"
    what = f"{verbs[0]} {place} with no token to say that {describe(partner)}, which {verbs[1]} it, has finished"
    return ProgramProblem("race", i, what, where=where)
