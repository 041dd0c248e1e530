"""What the backend's tests share: build and run programs, in program order and in any other order the tokens allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vdla.compiler.backends.vdla.emit import emit
from vdla.compiler.backends.vdla.link import LinkedKernel, link
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.ir.nodes import Function
from vdla.design import Design
from vdla.design_file import load_design
from vdla.isa.checker import check_program
from vdla.isa.definition import Opcode, Queue, queue_of
from vdla.isa.program import Program, Slot
from vdla.isa.semantics import SEMANTICS, new_machine

TINY = load_design("tiny")


def program_of(func: Function, design: Design = TINY) -> Program:
    """A lowered function as a program of one layer; parameters one after another in DRAM."""
    slots, size = slots_of(func, 0, design)
    kernel = LinkedKernel(emit(func, design), {s.name: s.address for s in slots}, func.name)
    inputs = len(func.params) - func.output_count
    return link([kernel], design, dram_bytes=size, inputs=slots[:inputs], outputs=slots[inputs:])


def slots_of(func: Function, address: int, design: Design) -> tuple[list[Slot], int]:
    """Places for the parameters from `address` on, and the first free address after them."""
    slots = []
    for param in func.params:
        slots.append(Slot(param.name, address, param.shape, param.dtype))
        address += -(-slots[-1].bytes // design.dram_alignment) * design.dram_alignment
    return slots, address


def image_of(program: Program, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    dram = program.dram_image()
    for slot in program.inputs:
        dram[slot.address : slot.address + slot.bytes] = np.ascontiguousarray(arrays[slot.name]).view(np.uint8).ravel()
    return dram


def outputs_of(program: Program, dram: np.ndarray) -> list[np.ndarray]:
    return [dram[s.address : s.address + s.bytes].view(s.dtype).reshape(s.shape) for s in program.outputs]


def run(program: Program, arrays: Mapping[str, np.ndarray], rng: np.random.Generator | None = None) -> list[np.ndarray]:
    """Outputs after executing the semantics: in program order, or in a random order that the tokens allow.

    Fails on a deadlock. SRAM starts out as noise, so that a read of what nobody wrote shows.
    """
    columns = program.columns()
    machine = new_machine(program.design, image_of(program, arrays))
    noise = np.random.default_rng(1)
    for memory in (machine.inp, machine.wgt, machine.acc):
        memory[...] = noise.integers(-100, 100, memory.shape)
    for i in range(len(columns)) if rng is None else random_order(columns, rng):
        SEMANTICS[Opcode(columns["opcode"][i])](machine, columns[i])
    return outputs_of(program, machine.dram)


def random_order(columns: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Instructions in an order in which the queues could retire them."""
    queues: dict[Queue, list[int]] = {q: [] for q in Queue}
    for i, c in enumerate(columns):
        queues[queue_of(Opcode(c["opcode"]), c["buffer"])].append(i)
    tokens = dict.fromkeys(((0, 1), (1, 0), (1, 2), (2, 1)), 0)
    done = dict.fromkeys(Queue, 0)
    order: list[int] = []
    while len(order) < len(columns):
        ready = [q for q in Queue if done[q] < len(queues[q]) and _can_start(columns[queues[q][done[q]]], q, tokens)]
        assert ready, f"deadlock after {len(order)} of {len(columns)} instructions"
        queue = ready[int(rng.integers(len(ready)))]
        for _ in range(int(rng.integers(1, 6))):  # run on for a while: long leads are what breaks a missing token
            if done[queue] == len(queues[queue]) or not _can_start(columns[queues[queue][done[queue]]], queue, tokens):
                break
            i = queues[queue][done[queue]]
            for bit, fifo, change in _token_moves(columns[i], queue):
                if bit:
                    tokens[fifo] += change
            done[queue] += 1
            order.append(i)
    assert not any(tokens.values()), f"tokens left over: {tokens}"
    return order


def _token_moves(c: np.void, q: int) -> list[tuple[int, tuple[int, int], int]]:
    return [
        (c["pop_prev"], (q - 1, q), -1),
        (c["pop_next"], (q + 1, q), -1),
        (c["push_prev"], (q, q - 1), 1),
        (c["push_next"], (q, q + 1), 1),
    ]


def _can_start(c: np.void, queue: Queue, tokens: Mapping[tuple[int, int], int]) -> bool:
    return all(not bit or tokens[fifo] > 0 for bit, fifo, change in _token_moves(c, queue) if change < 0)


def assert_exact(func: Function, arrays: Mapping[str, np.ndarray], where: str, orders: Sequence[int] = (0, 1)) -> Program:
    """The program passes the checker and equals the interpreter bit for bit, in program order and in random ones."""
    expected = interpret(func, arrays)
    program = program_of(func)
    report = check_program(program)
    assert report.ok, f"{where}: {report.problems[:3]}"
    for got, want in zip(run(program, arrays), expected, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=f"{where}, program order")
    for seed in orders:
        for got, want in zip(run(program, arrays, np.random.default_rng(seed)), expected, strict=True):
            np.testing.assert_array_equal(got, want, err_msg=f"{where}, random order {seed}")
    return program
