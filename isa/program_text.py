"""Whole programs as text that round-trips: directives for what surrounds the instructions, then the instructions.

    .design tiny 1f0c…            ; name and hash of the design it is for; the hash may be left out
    .dram 8192                    ; bytes of DRAM
    .segment parameters 256       ; initial contents from this byte on, given by the lines that follow
    .hex 00ff10…                  ;   bytes
    .zero 64                      ;   zero bytes
    .uop (0,1,2) (1,1,2)          ;   micro-ops: dst, src, wgt
    .input x 1024 (1,4,4) int8    ; tensors: name, address, shape, type
    .output y 2048 (1,4,4) int8
    .layer conv1 conv2d macs=64 gemm_uops=4 unique_bytes=96   ; the instructions from here on; the counts may be left out
    .layer_output y 2048 (1,4,4) int8
    LOAD inp sram=0 dram=256 y=1 x=4
    .end_layer                    ; instructions that follow belong to no layer
    FINISH

A name with spaces, quotes, `;`, `=` or brackets is written as a JSON string.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from vdla.design import Design
from vdla.errors import IsaError, VdlaError
from vdla.isa.assembler import (
    PROBLEMS_REPORTED,
    Limits,
    choose,
    field_limits,
    instruction_lines,
    parse_instruction,
    raise_problems,
)
from vdla.isa.definition import DRAM_BYTES_MAX, Opcode, Scratchpad
from vdla.isa.layout import COLUMNS, UOP_COLUMNS, Layout, layout_of
from vdla.isa.program import SLOT_TYPES, LayerSpan, Program, Segment, Slot

LAYER_COUNTS = ("macs", "gemm_uops", "unique_bytes")
_ROW_BYTES, _ROW_UOPS = 64, 8
_PLAIN = re.compile(r"[^\s;\"=(),\[\]{}]+")
_CODE = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*")*')
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\([^()]*\)|[^\s()"]+|\S')


# -- program → text ------------------------------------------------------------------------------------------------------


def disassemble_program(program: Program) -> str:
    """The whole program as text; `assemble_program` gives it back. Raises `IsaError` when its words cannot be decoded."""
    columns = program.columns()
    lines = [f".design {program.design.name} {program.design.hash_hex}", f".dram {program.dram_bytes}"]
    for segment in program.segments:
        lines += _segment_lines(segment, columns, layout_of(program.design))
    lines += [_slot_line("input", slot) for slot in program.inputs]
    lines += [_slot_line("output", slot) for slot in program.outputs]
    heads = _layer_heads(program)
    for index, line in enumerate(instruction_lines(columns)):
        lines += [*heads.get(index, ()), line]
    return "\n".join([*lines, *heads.get(len(columns), ())]) + "\n"


def _layer_heads(program: Program) -> dict[int, list[str]]:
    """Directives before each instruction."""
    heads: dict[int, list[str]] = {}
    for layer, following in zip(program.layers, [*program.layers, None][1:], strict=True):
        counts = "".join(f" {name}={getattr(layer, name)}" for name in LAYER_COUNTS if getattr(layer, name))
        lines = [f".layer {_quote(layer.name)} {_quote(layer.op)}{counts}"]
        heads.setdefault(layer.begin, []).extend(lines + [_slot_line("layer_output", slot) for slot in layer.outputs])
        if following is None or following.begin != layer.end:
            heads.setdefault(layer.end, []).append(".end_layer")
    return heads


def _segment_lines(segment: Segment, columns: np.ndarray, layout: Layout) -> Iterator[str]:
    yield f".segment {_quote(segment.name)} {segment.address}"
    uops = _as_uops(segment, columns, layout)
    if uops is not None:
        texts = [f"({dst},{src},{wgt})" for dst, src, wgt in uops.tolist()]
        for k in range(0, len(texts), _ROW_UOPS):
            yield ".uop " + " ".join(texts[k : k + _ROW_UOPS])
        return
    data = np.ascontiguousarray(segment.data).tobytes()
    rows = (data[k : k + _ROW_BYTES] for k in range(0, len(data), _ROW_BYTES))
    for filled, group in groupby(rows, any):
        if filled:
            yield from (f".hex {row.hex()}" for row in group)
        else:
            yield f".zero {sum(map(len, group))}"


def _as_uops(segment: Segment, columns: np.ndarray, layout: Layout) -> np.ndarray | None:
    """The segment as UOP_COLUMNS, when some LOAD uop begins in it and micro-ops are all it holds."""
    size = layout.design.uop_bytes
    loads = columns[(columns["opcode"] == Opcode.LOAD) & (columns["buffer"] == Scratchpad.UOP)]
    starts = loads["dram_base"] * size
    inside = (starts >= segment.address) & (starts < segment.address + len(segment.data))
    if not inside.any() or len(segment.data) % size:
        return None
    words = np.ascontiguousarray(segment.data).view(f"u{size}")
    uops = layout.decode_uops(words)
    return uops if np.array_equal(layout.encode_uops(uops), words) else None


def _slot_line(directive: str, slot: Slot) -> str:
    return f".{directive} {_quote(slot.name)} {slot.address} ({','.join(map(str, slot.shape))}) {slot.dtype}"


def _quote(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


# -- text → program ------------------------------------------------------------------------------------------------------


def assemble_program(text: str, design: Design | Callable[[str], Design], source: str = "line ") -> Program:
    """Text → the program. design: the one it is for, or what loads the one that its `.design` line names (`load_design`).

    `source` goes before line numbers in messages. Raises `IsaError` for one bad line, `AssemblyErrors` for several.
    """
    if not isinstance(design, Design):
        design = _named_design(text, source, design)
    reader = _Reader(design, layout_of(design), field_limits(design))
    problems: list[IsaError] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            reader.read(line, f"{source}{number}")
        except IsaError as problem:
            problems.append(problem)
        if len(problems) == PROBLEMS_REPORTED:
            break
    raise_problems(problems)
    return reader.program()


def _named_design(text: str, source: str, load: Callable[[str], Design]) -> Design:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition(";")[0].split()
        if len(words) > 1 and words[0] == ".design":
            try:
                return load(words[1])
            except VdlaError as problem:
                raise IsaError(f"cannot load the design: {problem}", where=f"{source}{number}") from None
    raise IsaError("no design", where=f"{source}1", expected=".design NAME", hint="name one on the command line or in the file")


@dataclass
class _Segment:
    name: str
    address: int
    where: str
    parts: list[bytes] = field(default_factory=list)


@dataclass
class _Reader:
    """What has been read so far."""

    design: Design
    layout: Layout
    limits: Limits
    dram_bytes: int | None = None
    rows: list[tuple[int, ...]] = field(default_factory=list)
    segments: list[_Segment] = field(default_factory=list)
    inputs: list[Slot] = field(default_factory=list)
    outputs: list[Slot] = field(default_factory=list)
    layers: list[LayerSpan] = field(default_factory=list)
    in_layer: bool = False

    def read(self, line: str, where: str) -> None:
        """Take in one line. Raises `IsaError`."""
        match = _CODE.match(line)
        code = match[0].strip() if match else ""
        if match and line[match.end() :].startswith('"'):
            raise IsaError("unterminated string", where=where, found=line[match.end() :], expected='a closing "')
        if code.startswith("."):
            tokens = _TOKEN.findall(code)
            directive = choose(tokens[0].lower(), list(DIRECTIVES), "directive", where)
            form, handler = DIRECTIVES[directive]
            handler(self, _Arguments(tokens[1:], f"{directive} {form}".rstrip(), where))
        elif code:
            self.rows.append(parse_instruction(code, self.limits, where))

    def program(self) -> Program:
        """Raises `IsaError` when there is no `.dram`, or a segment lies outside it."""
        self.close_layer()
        if self.dram_bytes is None:
            raise IsaError("a program without .dram", expected=".dram BYTES", hint="state how much DRAM the program needs")
        segments = []
        for part in self.segments:
            data = np.frombuffer(b"".join(part.parts), np.uint8)
            if part.address + len(data) > self.dram_bytes:
                end, expected = part.address + len(data), f"0..{self.dram_bytes}"
                raise IsaError(f"segment {part.name} ends outside DRAM", where=part.where, found=end, expected=expected)
            segments.append(Segment(part.name, part.address, data))
        words = self.layout.encode(np.array(self.rows, COLUMNS))
        inputs, outputs, layers = tuple(self.inputs), tuple(self.outputs), tuple(self.layers)
        return Program(self.design, words, self.dram_bytes, tuple(segments), inputs, outputs, layers)

    def close_layer(self) -> None:
        """The open layer ends before the next instruction."""
        if self.in_layer:
            self.layers[-1] = replace(self.layers[-1], end=len(self.rows))
        self.in_layer = False

    def contents(self, arguments: _Arguments) -> list[bytes]:
        """The parts of the segment being filled."""
        if not self.segments:
            raise IsaError("contents without a segment", where=arguments.where, expected=".segment NAME ADDRESS before it")
        return self.segments[-1].parts


@dataclass
class _Arguments:
    """A directive's words. `form` says what they should be."""

    words: list[str]
    form: str
    where: str

    def bad(self, what: str, found: object = None) -> IsaError:
        return IsaError(what, where=self.where, found=found, expected=self.form)

    def next(self) -> str:
        if not self.words:
            raise self.bad("too few arguments")
        return self.words.pop(0)

    def end(self) -> None:
        if self.words:
            raise self.bad("too many arguments", self.words[0])

    def name(self) -> str:
        word = self.next()
        if not word.startswith('"'):
            return word
        try:
            return str(json.loads(word))
        except ValueError:
            raise self.bad("unreadable string", word) from None

    def number(self, word: str | None = None, low: int = 0, high: int = DRAM_BYTES_MAX) -> int:
        word = self.next() if word is None else word
        try:
            value = int(word, 0)
        except ValueError:
            raise self.bad("not a number", word) from None
        if not low <= value <= high:
            raise IsaError("number out of range", where=self.where, found=value, expected=f"{low}..{high}")
        return value

    def numbers(self) -> list[int]:
        """A bracketed list."""
        word = self.next()
        if not (word.startswith("(") and word.endswith(")")):
            raise self.bad("not a bracketed list", word)
        return [self.number(part.strip()) for part in word[1:-1].split(",") if part.strip()]

    def slot(self) -> Slot:
        name, address, shape, dtype = self.name(), self.number(), tuple(self.numbers()), self.next()
        choose(dtype, SLOT_TYPES, "type", self.where)
        if math.prod(shape) > DRAM_BYTES_MAX:
            raise self.bad("a tensor larger than DRAM can be", shape)
        self.end()
        return Slot(name, address, shape, dtype)


def _design(reader: _Reader, arguments: _Arguments) -> None:
    name = arguments.next()
    found = arguments.next() if arguments.words else reader.design.hash_hex
    arguments.end()
    if found != reader.design.hash_hex:
        raise IsaError(
            f"the program is for another design ({name})",
            where=arguments.where,
            found=found,
            expected=f"{reader.design.hash_hex} ({reader.design.name}); of the other only this hash is known",
            hint="compile it again for this design",
        )


def _dram(reader: _Reader, arguments: _Arguments) -> None:
    reader.dram_bytes = arguments.number(low=1)
    arguments.end()


def _segment(reader: _Reader, arguments: _Arguments) -> None:
    reader.segments.append(_Segment(arguments.name(), arguments.number(), arguments.where))
    arguments.end()


def _hex(reader: _Reader, arguments: _Arguments) -> None:
    parts = reader.contents(arguments)
    for word in [arguments.next(), *arguments.words]:
        try:
            parts.append(bytes.fromhex(word))
        except ValueError:
            raise arguments.bad("not bytes in hexadecimal", word[:40]) from None


def _zero(reader: _Reader, arguments: _Arguments) -> None:
    reader.contents(arguments).append(bytes(arguments.number(high=reader.dram_bytes or 1 << 20)))
    arguments.end()


def _uop(reader: _Reader, arguments: _Arguments) -> None:
    parts = reader.contents(arguments)
    rows = []
    while arguments.words:
        indices = arguments.numbers()
        if len(indices) != len(UOP_COLUMNS.names or ()):
            raise arguments.bad("a micro-op has three indices", tuple(indices))
        rows.append(tuple(indices))
    for index, limit in enumerate(s.range[1] for s in reader.layout.uop[:3]):
        for row in rows:
            if row[index] > limit:
                name = (UOP_COLUMNS.names or ())[index]
                raise IsaError(f"micro-op {name} does not fit", where=arguments.where, found=row[index], expected=f"0..{limit}")
    parts.append(reader.layout.encode_uops(np.array(rows, UOP_COLUMNS)).tobytes())


def _layer(reader: _Reader, arguments: _Arguments) -> None:
    reader.close_layer()
    name, op = arguments.name(), arguments.name()
    counts: dict[str, int] = {}
    for word in arguments.words:
        key, _, value = word.partition("=")
        counts[choose(key, LAYER_COUNTS, "count", arguments.where)] = arguments.number(value, high=1 << 63)
    reader.layers.append(
        LayerSpan(name, op, len(reader.rows), len(reader.rows), (), *(counts.get(key, 0) for key in LAYER_COUNTS))
    )
    reader.in_layer = True


def _layer_output(reader: _Reader, arguments: _Arguments) -> None:
    if not reader.in_layer:
        raise IsaError(".layer_output outside a layer", where=arguments.where, expected=".layer NAME OP before it")
    last = reader.layers[-1]
    reader.layers[-1] = replace(last, outputs=(*last.outputs, arguments.slot()))


def _end_layer(reader: _Reader, arguments: _Arguments) -> None:
    arguments.end()
    reader.close_layer()


Handler = Callable[[_Reader, _Arguments], None]
DIRECTIVES: dict[str, tuple[str, Handler]] = {
    ".design": ("NAME [HASH]", _design),
    ".dram": ("BYTES", _dram),
    ".segment": ("NAME ADDRESS", _segment),
    ".hex": ("BYTES…", _hex),
    ".zero": ("COUNT", _zero),
    ".uop": ("(dst,src,wgt)…", _uop),
    ".input": ("NAME ADDRESS (SHAPE) TYPE", lambda reader, arguments: reader.inputs.append(arguments.slot())),
    ".output": ("NAME ADDRESS (SHAPE) TYPE", lambda reader, arguments: reader.outputs.append(arguments.slot())),
    ".layer": ("NAME OP [macs=N] [gemm_uops=N] [unique_bytes=N]", _layer),
    ".layer_output": ("NAME ADDRESS (SHAPE) TYPE", _layer_output),
    ".end_layer": ("", _end_layer),
}
"""Directive → what follows it, and its reader."""
