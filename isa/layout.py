"""Bit layouts of a `Design`'s instructions and micro-ops; encoding from and decoding to columns.

*Columns* are a structured array, one record for each instruction, holding the union of all fields by name: the form the
compiler emits and the simulator reads. *Words* are `uint64[n, 2]`, the 128-bit instructions little-endian.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from vdla.design import Design
from vdla.errors import DesignError, IsaError
from vdla.isa.definition import BUFFERS_OF, FIELDS, HEAD, INSTRUCTION_BITS, LOOP_BITS_MIN, UOP_FIELDS, Field, Opcode, Scratchpad

_STRIDE_BITS_MIN = 16


def _column_names() -> list[str]:
    names = [f.name for fields in FIELDS.values() for f in fields]
    return list(dict.fromkeys(names))


COLUMNS = np.dtype([(name, np.int64 if name == "dram_base" else np.int32) for name in _column_names()])
UOP_COLUMNS = np.dtype([(f.name, np.int32) for f in UOP_FIELDS])


@dataclass(frozen=True, slots=True)
class Slice:
    """Where a field lies: `width` bits from bit `lsb`."""

    field: Field
    lsb: int
    width: int

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value that fits."""
        if self.field.signed:
            return -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        return 0, (1 << self.width) - 1


def _place(fields: tuple[Field, ...], total: int, design: Design, what: str) -> tuple[Slice, ...]:
    """Lay fields side by side from bit 0 and close with a `reserved` slice, so there is neither gap nor overlap."""
    slices, lsb = [], 0
    for field in fields:
        slices.append(Slice(field, lsb, field.bits(design)))
        lsb += field.bits(design)
    if lsb > total:
        raise DesignError(
            f"{what} needs {lsb} bits", where=design.name, expected=f"at most {total}", hint="smaller SRAMs or larger tiles"
        )
    if lsb < total:
        slices.append(Slice(Field("reserved", total - lsb, "zero"), lsb, total - lsb))
    return tuple(slices)


@dataclass(frozen=True)
class Layout:
    """All bit positions of one design. Build with `layout_of`."""

    design: Design
    instructions: dict[Opcode, tuple[Slice, ...]]
    uop: tuple[Slice, ...]

    def limit(self, opcode: Opcode, name: str) -> int:
        """Largest value field `name` of `opcode` can hold."""
        return next(s.range[1] for s in self.instructions[opcode] if s.field.name == name)

    def encode(self, columns: np.ndarray) -> np.ndarray:
        """COLUMNS[n] → uint64[n, 2]. Raises `IsaError` naming instruction, field, value and width when one does not fit.

        Columns that an instruction has no field for must be zero.
        """
        words = np.zeros((len(columns), 2), np.uint64)
        _refuse_unknown_opcodes(columns["opcode"])
        for opcode, slices in self.instructions.items():
            rows = np.flatnonzero(columns["opcode"] == opcode)
            if not len(rows):
                continue
            group = columns[rows]
            self._refuse_misfits(opcode, slices, group, rows)
            packed = np.zeros((len(rows), 2), np.uint64)
            for s in slices:
                if s.field.name != "reserved":
                    _deposit(packed, s, group[s.field.name].astype(np.int64))
            words[rows] = packed
        return words

    def decode(self, words: np.ndarray) -> np.ndarray:
        """uint64[n, 2] → COLUMNS[n]. Raises `IsaError` on an unknown opcode, buffer, ALU operation or GEMM mode, or a
        non-zero reserved bit."""
        words = np.ascontiguousarray(words, np.uint64).reshape(-1, 2)
        columns = np.zeros(len(words), COLUMNS)
        opcodes = _extract(words, self.instructions[Opcode.LOAD][0])
        _refuse_unknown_opcodes(opcodes)
        for opcode, slices in self.instructions.items():
            rows = np.flatnonzero(opcodes == opcode)
            if not len(rows):
                continue
            for s in slices:
                values = _extract(words[rows], s)
                if s.field.name == "reserved":
                    _refuse(values != 0, rows, opcode, s, values, "zero")
                else:
                    columns[s.field.name][rows] = values
            self._refuse_misfits(opcode, slices, columns[rows], rows)
        return columns

    def _refuse_misfits(self, opcode: Opcode, slices: tuple[Slice, ...], group: np.ndarray, rows: np.ndarray) -> None:
        known = {s.field.name for s in slices}
        for name in group.dtype.names or ():
            if name not in known and (bad := group[name] != 0).any():
                raise IsaError(
                    f"{opcode.name} has no field {name}", where=f"instruction {rows[bad][0]}", found=int(group[name][bad][0])
                )
        for s in slices:
            if s.field.name == "reserved":
                continue
            values = group[s.field.name].astype(np.int64)
            low, high = s.range
            _refuse((values < low) | (values > high), rows, opcode, s, values, f"{low}..{high} ({s.width} bits)")
            if s.field.name == "buffer":
                allowed = BUFFERS_OF[opcode]
                _refuse(~np.isin(values, allowed), rows, opcode, s, values, " or ".join(Scratchpad(b).name for b in allowed))
            elif s.field.names is not None:
                _refuse(~np.isin(values, list(s.field.names)), rows, opcode, s, values, f"a {s.field.names.__name__}")

    def encode_uops(self, uops: np.ndarray) -> np.ndarray:
        """UOP_COLUMNS[n] → uint32[n] or uint64[n] by the design's micro-op width. Raises `IsaError` on a misfit."""
        word = np.zeros((len(uops), 2), np.uint64)
        for s in self.uop:
            if s.field.name == "reserved":
                continue
            values = uops[s.field.name].astype(np.int64)
            bad = (values < s.range[0]) | (values > s.range[1])
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                raise IsaError(
                    f"micro-op field {s.field.name}",
                    where=f"micro-op {row}",
                    found=int(values[row]),
                    expected=f"0..{s.range[1]}",
                )
            _deposit(word, s, values)
        return word[:, 0].astype(f"u{self.design.uop_bytes}")

    def decode_uops(self, words: np.ndarray) -> np.ndarray:
        """uint32[n] or uint64[n] → UOP_COLUMNS[n]; reserved bits are ignored."""
        wide = np.zeros((len(words), 2), np.uint64)
        wide[:, 0] = words
        uops = np.zeros(len(words), UOP_COLUMNS)
        for s in self.uop:
            if s.field.name != "reserved":
                uops[s.field.name] = _extract(wide, s)
        return uops


@cache
def layout_of(design: Design) -> Layout:
    """The layout of `design`. Raises `DesignError` when its instructions do not fit 128 bits."""
    check_encodable(design)
    instructions = {op: _place(fields, INSTRUCTION_BITS, design, op.name) for op, fields in FIELDS.items()}
    return Layout(design, instructions, _place(UOP_FIELDS, design.uop_bits, design, "a micro-op"))


def check_encodable(design: Design) -> None:
    """Raise `DesignError` when the SRAM depths leave too few bits for loop counters, strides or micro-ops."""
    for opcode, name, least in ((Opcode.GEMM, "loop_outer", LOOP_BITS_MIN), (Opcode.LOAD, "x_stride", _STRIDE_BITS_MIN)):
        field = next(f for f in FIELDS[opcode] if f.name == name)
        if (bits := field.bits(design)) < least:
            raise DesignError(
                f"the SRAM depths leave {bits} bits for {opcode.name}'s {name}",
                where=f"{design.name}: sram",
                expected=f"at least {least} of {INSTRUCTION_BITS} bits",
                hint="smaller SRAMs or larger tiles",
            )
    if sum(f.bits(design) for f in UOP_FIELDS) > 64:
        raise DesignError("a micro-op does not fit 64 bits", where=f"{design.name}: sram", hint="smaller SRAMs")


def new_columns(count: int, opcode: Opcode) -> np.ndarray:
    """COLUMNS[count], all zero but for the opcode."""
    columns = np.zeros(count, COLUMNS)
    columns["opcode"] = opcode
    return columns


def head_slices(layout: Layout) -> tuple[Slice, ...]:
    """The slices every instruction shares."""
    return layout.instructions[Opcode.FINISH][: len(HEAD)]


def _deposit(words: np.ndarray, s: Slice, values: np.ndarray) -> None:
    """Or `values` into `words[:, 0..1]` at slice `s`, which may straddle the middle."""
    raw = values.astype(np.uint64) & np.uint64((1 << s.width) - 1)
    if s.lsb < 64:
        words[:, 0] |= raw << np.uint64(s.lsb)
        if s.lsb + s.width > 64:
            words[:, 1] |= raw >> np.uint64(64 - s.lsb)
    else:
        words[:, 1] |= raw << np.uint64(s.lsb - 64)


def _extract(words: np.ndarray, s: Slice) -> np.ndarray:
    """The int64 values of slice `s`; a reserved slice wider than 63 bits reads as non-zero when any bit is set."""
    low = words[:, 0] >> np.uint64(s.lsb) if s.lsb < 64 else words[:, 1] >> np.uint64(s.lsb - 64)
    if s.lsb < 64 < s.lsb + s.width:
        high = words[:, 1] << np.uint64(64 - s.lsb) if s.lsb else np.zeros_like(low)
        if s.width > 64:
            return ((low != 0) | (words[:, 1] != 0)).astype(np.int64)
        low = low | high
    values = (low & np.uint64((1 << s.width) - 1)).astype(np.int64)
    if s.field.signed:
        sign = np.int64(1) << np.int64(s.width - 1)
        values = (values ^ sign) - sign
    return values


def _refuse_unknown_opcodes(opcodes: np.ndarray) -> None:
    bad = ~np.isin(opcodes, list(Opcode))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise IsaError(
            "bad opcode",
            where=f"instruction {row}",
            found=int(opcodes[row]),
            expected=", ".join(f"{o.value} {o.name}" for o in Opcode),
        )


def _refuse(bad: np.ndarray, rows: np.ndarray, opcode: Opcode, s: Slice, values: np.ndarray, expected: str) -> None:
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise IsaError(
            f"{opcode.name} field {s.field.name}", where=f"instruction {rows[k]}", found=int(values[k]), expected=expected
        )
