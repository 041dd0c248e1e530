"""Instructions as text that round-trips: one instruction a line.

    LOAD inp sram=0 dram=128 y=4 x=14 stride=56 pad=(1,0,1,1) value=-128 pop_next push_next
    GEMM accumulate uop=0:9 loops=(14,14) dst=(14,1) src=(16,1) wgt=(0,0) pop_prev push_prev
    ALU requantise clip=(-128,127) uop=0:1 loops=(1,196) dst=(0,1) src=(0,0)   ; a comment

An operand is `key=value`, `key=(a,b,…)` or `key=a:b`; numbers are decimal, 0x…, 0b… or 0o…. Whole programs, with their
DRAM contents and layers, are in `program_text`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from vdla.design import Design
from vdla.errors import IsaError, ProblemList
from vdla.isa.definition import BUFFERS_OF, FIELDS, HEAD, IMMEDIATE_ALU_OPS, AluOp, Field, Opcode
from vdla.isa.layout import COLUMNS, layout_of
from vdla.isa.program import LayerSpan, Program
from vdla.isa.semantics import clip_bounds, clip_immediate

PROBLEMS_REPORTED = 20
"""Reading goes on after a bad line, up to this many."""


class AssemblyErrors(ProblemList, IsaError):
    """Several unreadable lines."""


@dataclass(frozen=True, slots=True)
class Operand:
    """`key=…` sets `fields`. Without a default it must be written. `span`: two fields written `begin:end`."""

    key: str
    fields: tuple[str, ...]
    default: tuple[int, ...] | None = None
    span: bool = False

    def form(self) -> str:
        names = ":".join(self.fields) if self.span else ",".join(self.fields)
        return f"{self.key}=({names})" if len(self.fields) > 1 and not self.span else f"{self.key}={names}"

    def text(self, values: Sequence[int]) -> str:
        if self.span:
            return f"{self.key}={values[0]}:{values[1]}"
        return f"{self.key}={values[0]}" if len(values) == 1 else f"{self.key}=({','.join(map(str, values))})"


_DMA = (
    Operand("sram", ("sram_base",)),
    Operand("dram", ("dram_base",)),
    Operand("y", ("y_size",)),
    Operand("x", ("x_size",)),
    Operand("stride", ("x_stride",), (0,)),
    Operand("pad", ("y_pad_before", "y_pad_after", "x_pad_before", "x_pad_after"), (0, 0, 0, 0)),
    Operand("value", ("pad_value",), (0,)),
)
_LOOPS = (
    Operand("uop", ("uop_begin", "uop_end"), span=True),
    Operand("loops", ("loop_outer", "loop_inner"), (1, 1)),
    Operand("dst", ("dst_outer", "dst_inner"), (0, 0)),
    Operand("src", ("src_outer", "src_inner"), (0, 0)),
)
CLIP = Operand("clip", ("low", "high"))
"""The immediate of CLIP and REQUANTISE, as the two signed bytes it holds."""

OPERANDS: dict[Opcode, tuple[Operand, ...]] = {
    Opcode.LOAD: _DMA,
    Opcode.STORE: _DMA,
    Opcode.GEMM: (*_LOOPS, Operand("wgt", ("wgt_outer", "wgt_inner"), (0, 0))),
    Opcode.FINISH: (),
    Opcode.ALU: (Operand("imm", ("imm",), (0,)), Operand("use_imm", ("use_imm",), (0,)), *_LOOPS),
}
KIND = {Opcode.LOAD: "buffer", Opcode.STORE: "buffer", Opcode.GEMM: "gemm_mode", Opcode.ALU: "alu_op"}
"""The field that the word after the opcode names."""

FLAGS = tuple(f.name for f in HEAD if f.name != "opcode")
Limits = dict[Opcode, dict[str, tuple[int, int, int]]]
_BOUNDED = (AluOp.CLIP, AluOp.REQUANTISE)
_ALWAYS_WRITTEN = ("stride", "loops", "dst", "src", "wgt")
_TOKEN = re.compile(r"[^\s=]+=\([^()]*\)|\S+")


def implied_use_imm(alu_op: int, imm_written: bool) -> int:
    """What `use_imm` is when not written: an immediate operand implies it, except where it only holds clip bounds, and so do
    operations that have no other."""
    return int(alu_op in IMMEDIATE_ALU_OPS or (imm_written and alu_op != AluOp.REQUANTISE))


# -- columns → text ------------------------------------------------------------------------------------------------------


def instruction_text(record: np.void) -> str:
    """One COLUMNS record as one line of assembly."""
    return _line_of(dict(zip(COLUMNS.names or (), record.item(), strict=True)))


def describe(program: Program, instruction: int) -> str:
    """`instruction 17 (gemm …) of layer conv1`, as far as it can be read."""
    words = program.words[instruction : instruction + 1]
    try:
        text = instruction_text(layout_of(program.design).decode(words)[0])
    except IsaError as problem:
        text = f"0x{int(words[0, 1]):016x}_{int(words[0, 0]):016x}: {problem.what}"
    layer = program.layer_of(instruction)
    return f"instruction {instruction} ({text}){f' of layer {layer.name}' if layer else ''}"


def _line_of(record: dict[str, int]) -> str:
    opcode = Opcode(record["opcode"])
    words = [opcode.name]
    if opcode in KIND:
        words.append(_kinds(opcode)[record[KIND[opcode]]])
    for operand in OPERANDS[opcode]:
        if text := _alu_operand(operand, record) if opcode == Opcode.ALU else _operand(operand, record):
            words.append(text)
    return " ".join([*words, *(flag for flag in FLAGS if record[flag])])


def _operand(operand: Operand, record: dict[str, int]) -> str:
    values = tuple(record[name] for name in operand.fields)
    return operand.text(values) if values != operand.default or operand.key in _ALWAYS_WRITTEN else ""


def _alu_operand(operand: Operand, record: dict[str, int]) -> str:
    op, imm, use_imm = record["alu_op"], record["imm"], record["use_imm"]
    imm_written = op not in _BOUNDED and bool(imm or (use_imm and op not in IMMEDIATE_ALU_OPS))
    if operand.key == "imm":
        return CLIP.text(clip_bounds(imm)) if op in _BOUNDED else operand.text((imm,)) if imm_written else ""
    if operand.key == "use_imm":
        return operand.text((use_imm,)) if use_imm != implied_use_imm(op, imm_written) else ""
    return _operand(operand, record)


def instruction_lines(columns: np.ndarray) -> list[str]:
    """COLUMNS[n] → n lines of assembly."""
    names = columns.dtype.names or ()
    return [_line_of(dict(zip(names, row, strict=True))) for row in columns.tolist()]


def disassemble(columns: np.ndarray, design: Design, layers: Iterable[LayerSpan] = ()) -> str:
    """COLUMNS[n] → text, with a comment line where each of `layers` begins. Raises `IsaError` on an illegal record."""
    layout_of(design).encode(columns)
    titles = {layer.begin: f"; layer {layer.name}" for layer in layers}
    lines: list[str] = []
    for index, line in enumerate(instruction_lines(columns)):
        if index in titles:
            lines.append(titles[index])
        lines.append(line)
    return "\n".join(lines) + "\n" if lines else ""


# -- text → columns ------------------------------------------------------------------------------------------------------


def assemble(text: str, design: Design, source: str = "line ") -> np.ndarray:
    """Text → COLUMNS[n]. `source` goes before line numbers in messages.

    Raises `IsaError` for one bad line, `AssemblyErrors` for several, each with line, token, what was expected and what
    was perhaps meant.
    """
    rows: list[tuple[int, ...]] = []
    problems: list[IsaError] = []
    limits = field_limits(design)
    for number, line in enumerate(text.splitlines(), 1):
        code = line.partition(";")[0].strip()
        if not code:
            continue
        try:
            rows.append(parse_instruction(code, limits, f"{source}{number}"))
        except IsaError as problem:
            problems.append(problem)
        if len(problems) == PROBLEMS_REPORTED:
            break
    raise_problems(problems)
    return np.array(rows, COLUMNS)


def raise_problems(problems: Sequence[IsaError]) -> None:
    """Raise the one problem, or all of them together; nothing when there is none."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise AssemblyErrors("unreadable assembly", list(problems))


def parse_instruction(code: str, limits: Limits, where: str) -> tuple[int, ...]:
    """One instruction without its comment → its COLUMNS values in order. Raises `IsaError`.

    limits: `field_limits` of the design.
    """
    tokens = _TOKEN.findall(code)
    opcode = Opcode[choose(tokens[0].upper(), [o.name for o in Opcode], "instruction", where)]
    record = dict.fromkeys(COLUMNS.names or (), 0)
    record["opcode"] = opcode
    rest = tokens[1:]
    if opcode in KIND:
        kinds = {word: value for value, word in _kinds(opcode).items()}
        if not rest:
            raise IsaError(f"{opcode.name} without its {KIND[opcode]}", where=where, expected=_list(kinds))
        record[KIND[opcode]] = kinds[choose(rest[0].lower(), list(kinds), f"{opcode.name} {KIND[opcode]}", where)]
        rest = rest[1:]
    written = _read_operands(rest, opcode, record, where)
    for operand in OPERANDS[opcode]:
        if not written.isdisjoint(operand.fields):
            continue
        if operand.default is None:
            raise IsaError(f"{opcode.name} without {operand.key}", where=where, expected=operand.form())
        record.update(zip(operand.fields, operand.default, strict=True))
    if opcode == Opcode.ALU and "use_imm" not in written:
        record["use_imm"] = implied_use_imm(record["alu_op"], "imm" in written)
    _refuse_misfits(record, opcode, limits[opcode], where)
    return tuple(record.values())


def _read_operands(tokens: Sequence[str], opcode: Opcode, record: dict[str, int], where: str) -> set[str]:
    """Put operands and flags into `record`; the names of the fields that were written."""
    operands = {operand.key: operand for operand in OPERANDS[opcode]}
    if opcode == Opcode.ALU and record["alu_op"] in _BOUNDED:
        operands["clip"] = CLIP
    written: set[str] = set()
    for token in tokens:
        key, equals, value = token.partition("=")
        key = choose(key.lower(), [*operands, *FLAGS], f"{opcode.name} operand", where)
        if key in FLAGS:
            if equals:
                raise IsaError(f"{key} takes no value", where=where, found=token, expected=key)
            values = {key: 1}
        else:
            values = _values(operands[key], equals, value, token, where)
        if not written.isdisjoint(values):
            raise IsaError(f"{', '.join(values)} set twice", where=where, found=token)
        written.update(values)
        record.update(values)
    return written


def _values(operand: Operand, equals: str, text: str, token: str, where: str) -> dict[str, int]:
    bracketed = text.startswith("(") and text.endswith(")")
    parts = text.split(":") if operand.span else (text[1:-1] if bracketed else text).split(",")
    try:
        numbers = [int(part.strip(), 0) for part in parts]
    except ValueError:
        numbers = []
    if not equals or len(numbers) != len(operand.fields):
        raise IsaError(f"unreadable operand {operand.key}", where=where, found=token, expected=operand.form())
    if operand is not CLIP:
        return dict(zip(operand.fields, numbers, strict=True))
    for number in numbers:
        if not -128 <= number <= 127:
            raise IsaError("a clip bound does not fit its byte", where=where, found=number, expected="-128..127")
    return {"imm": clip_immediate(*numbers)}


def _refuse_misfits(record: dict[str, int], opcode: Opcode, limits: dict[str, tuple[int, int, int]], where: str) -> None:
    for name, (low, high, width) in limits.items():
        if not low <= record[name] <= high:
            expected = f"{low}..{high} ({width} bits)"
            raise IsaError(f"{opcode.name} field {name} does not fit", where=where, found=record[name], expected=expected)


def field_limits(design: Design) -> Limits:
    """Lowest value, highest value and width of each instruction's fields."""
    return {
        opcode: {s.field.name: (*s.range, s.width) for s in slices if s.field.name != "reserved"}
        for opcode, slices in layout_of(design).instructions.items()
    }


@cache
def _kinds(opcode: Opcode) -> dict[int, str]:
    """Value → word of the opcode's kind field."""
    field: Field = next(f for f in FIELDS[opcode] if f.name == KIND[opcode])
    allowed = BUFFERS_OF[opcode] if field.name == "buffer" else list(field.names or ())
    return {int(value): value.name.lower() for value in allowed}


def choose(word: str, known: Sequence[str], what: str, where: str) -> str:
    """`word` when it is one of `known`, else an `IsaError` that lists them and guesses what was meant."""
    if word in known:
        return word
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {near[0]}?" if near else ""
    raise IsaError(f"unknown {what}", where=where, found=word, expected=_list(known), hint=hint)


def _list(words: Iterable[str]) -> str:
    return f"one of {', '.join(words)}"
