"""The one definition of the machine's instructions, and everything that follows from it.

definition      queues, opcodes, buffers, fields and their widths as functions of a Design
layout          bit positions; encoder and decoder between words and columns
semantics       what each instruction means
timing          when instructions start and finish: the contract
program         instructions with the DRAM they run in
assembler       instructions as text; program_text: whole programs as text
tokens          queues, FIFOs and the happens-before order they impose
checker         is a program safe to run?
registers       the register map, with its Verilog header and its page of the docs
"""

from __future__ import annotations

from vdla.isa.assembler import assemble, disassemble, instruction_text
from vdla.isa.checker import CheckReport, ProgramProblem, RefusedProgram, check_program
from vdla.isa.definition import AluOp, GemmMode, Opcode, Queue, Scratchpad
from vdla.isa.layout import COLUMNS, UOP_COLUMNS, Layout, layout_of, new_columns
from vdla.isa.program import LayerSpan, Program, Segment, Slot
from vdla.isa.program_text import assemble_program, disassemble_program
from vdla.isa.tokens import FIFOS, Fifo, Precedence, precedence_of, queues_of

__all__ = [
    "COLUMNS",
    "FIFOS",
    "UOP_COLUMNS",
    "AluOp",
    "Scratchpad",
    "CheckReport",
    "Fifo",
    "GemmMode",
    "LayerSpan",
    "Layout",
    "Opcode",
    "Precedence",
    "Program",
    "ProgramProblem",
    "Queue",
    "RefusedProgram",
    "Segment",
    "Slot",
    "assemble",
    "assemble_program",
    "check_program",
    "disassemble",
    "disassemble_program",
    "instruction_text",
    "layout_of",
    "new_columns",
    "precedence_of",
    "queues_of",
]
