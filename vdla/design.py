"""The design of one accelerator: a frozen record, and everything that follows from it. Standard library only.

Every derived width, depth and size is a property here; nothing else in the project computes one. Field widths of the
instruction set follow from these properties in `vdla.isa.layout`. What each key accepts is said once, beside it: the check of
`Design.from_dict` and the models with which `vdla.design_file` reads YAML both come from these rules (`vdla.rules`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vdla.element_types import ELEMENT_TYPES, ElementType
from vdla.errors import DesignError, ProblemList
from vdla.host_models import DEFAULT_HOST, HOST_MODELS
from vdla.rules import Number, OneOf, Section, Text, Whole, construct, entry, misfits

AXI_BURST_BYTES = 4096
BUS_PORTS = ("fetch", "load", "compute", "store")


# -- the record ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Gemm:
    """One micro-op multiplies a (batch, block_in) tile by a (block_out, block_in) tile, transposed, in one cycle."""

    batch: int = entry(Whole(1, 64), 1)
    block_in: int = entry(Whole(1, 256), 16)
    block_out: int = entry(Whole(1, 256), 16)


@dataclass(frozen=True, kw_only=True)
class Types:
    """Operand types, by their names in `ELEMENT_TYPES`. Only int8 operands with an int32 accumulator are built today."""

    inp: str = entry(OneOf(("int8",)), "int8")
    wgt: str = entry(OneOf(("int8",)), "int8")
    acc: str = entry(OneOf(("int32",)), "int32")
    out: str = entry(OneOf(("int8",)), "int8")


_SRAM_BYTES = Whole(1, 64 << 20, size=True)


@dataclass(frozen=True, kw_only=True)
class Sram:
    """Bytes of each scratchpad."""

    uop: int = entry(_SRAM_BYTES)
    inp: int = entry(_SRAM_BYTES)
    wgt: int = entry(_SRAM_BYTES)
    acc: int = entry(_SRAM_BYTES)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The DRAM side: width of a bus beat, one shared port or one for each unit, latencies in cycles.

    max_burst: beats in one burst, a power of two. outstanding: read bursts one port may have in flight.
    """

    bus_bits: int = entry(Whole(32, 1024), 64)
    ports: str = entry(OneOf(("shared", "separate")), "shared")
    read_latency: int = entry(Whole(1, 10_000), 40)
    write_latency: int = entry(Whole(1, 10_000), 20)
    max_burst: int = entry(Whole(1, 256), 16)
    outstanding: int = entry(Whole(1, 64), 8)


@dataclass(frozen=True, kw_only=True)
class Board:
    name: str = entry(Text())
    part: str = entry(Text())
    host: str = entry(OneOf(tuple(HOST_MODELS)))


@dataclass(frozen=True, kw_only=True)
class Design:
    """One accelerator. Immutable and hashable; equal designs have equal `hash_hex`.

    `Design.from_dict` and `vdla.design_file` are the doors: they refuse values that their rules or one another forbid.
    Calling the class itself checks nothing.
    """

    name: str = entry(Text(pattern="[a-z][a-z0-9_]*"))
    about: str = entry(Text(least=10))
    clock_mhz: float = entry(Number(above=0, most=5000))
    gemm: Gemm = entry(Section(Gemm))
    types: Types = entry(Section(Types), Types())
    sram: Sram = entry(Section(Sram))
    memory: Memory = entry(Section(Memory), Memory())
    board: Board | None = entry(Section(Board, optional=True), None)

    @staticmethod
    def from_dict(data: Any, where: str) -> Design:
        """The design of which `data` is the `to_dict`. Raises `ProblemList`, `where` first, with every problem at once."""
        problems = list(misfits(data, Design))
        if not problems:
            design = construct(Design, data)
            problems = [contradiction.error() for contradiction in contradictions(design)]
            if not problems:
                return design
        raise ProblemList(f"{where}: not a valid design", problems)

    def to_dict(self) -> dict[str, Any]:
        """Every key with its value, as JSON has them; no board when there is none."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def varied(self, **changes: object) -> Design:
        """This design with some keys changed, and checked again; of a section's keys, those given.

        design.varied(name="slow", clock_mhz=50, memory={"read_latency": 200})
        """
        data = self.to_dict()
        for key, value in changes.items():
            data[key] = {**data.get(key, {}), **value} if isinstance(value, Mapping) else value
        return Design.from_dict(data, f"{self.name}, varied")

    @property
    def channel_block(self) -> int:
        """Channels that lie together in an activation's tile: what one layer writes is what the next one reads."""
        return self.gemm.block_out

    # -- tiles: the unit of every SRAM index and of every DRAM address of a DMA ------------------------------------
    def element(self, operand: str) -> ElementType:
        """The type of one element of `operand`: inp, wgt, acc or out."""
        return ELEMENT_TYPES[getattr(self.types, operand)]

    @property
    def inp_tile_bits(self) -> int:
        """(batch, block_in) of the type inp."""
        return self.gemm.batch * self.gemm.block_in * self.element("inp").bits

    @property
    def wgt_tile_bits(self) -> int:
        """(block_out, block_in) of the type wgt."""
        return self.gemm.block_out * self.gemm.block_in * self.element("wgt").bits

    @property
    def acc_tile_bits(self) -> int:
        """(batch, block_out) of the type acc."""
        return self.gemm.batch * self.gemm.block_out * self.element("acc").bits

    @property
    def out_tile_bits(self) -> int:
        """(batch, block_out) of the type out: the narrow view of an accumulator tile."""
        return self.gemm.batch * self.gemm.block_out * self.element("out").bits

    @property
    def inp_tile_bytes(self) -> int:
        return self.inp_tile_bits // 8

    @property
    def wgt_tile_bytes(self) -> int:
        return self.wgt_tile_bits // 8

    @property
    def acc_tile_bytes(self) -> int:
        return self.acc_tile_bits // 8

    @property
    def out_tile_bytes(self) -> int:
        return self.out_tile_bits // 8

    # -- depths, in tiles (micro-ops for uop) ------------------------------------------------------------------------
    @property
    def inp_depth(self) -> int:
        return self.sram.inp // self.inp_tile_bytes

    @property
    def wgt_depth(self) -> int:
        return self.sram.wgt // self.wgt_tile_bytes

    @property
    def acc_depth(self) -> int:
        return self.sram.acc // self.acc_tile_bytes

    @property
    def uop_depth(self) -> int:
        return self.sram.uop // self.uop_bytes

    # -- index widths, in bits ---------------------------------------------------------------------------------------
    @property
    def inp_index_bits(self) -> int:
        return _index_bits(self.inp_depth)

    @property
    def wgt_index_bits(self) -> int:
        return _index_bits(self.wgt_depth)

    @property
    def acc_index_bits(self) -> int:
        return _index_bits(self.acc_depth)

    @property
    def uop_index_bits(self) -> int:
        return _index_bits(self.uop_depth)

    @property
    def source_index_bits(self) -> int:
        """A micro-op's second index names an inp tile (GEMM) or an acc tile (ALU)."""
        return max(self.inp_index_bits, self.acc_index_bits)

    @property
    def uop_bits(self) -> int:
        """A micro-op is 32 bits when its three indices fit, else 64."""
        return 32 if self.acc_index_bits + self.source_index_bits + self.wgt_index_bits <= 32 else 64

    @property
    def uop_bytes(self) -> int:
        return self.uop_bits // 8

    # -- rates ---------------------------------------------------------------------------------------------------------
    @property
    def macs_per_cycle(self) -> int:
        return self.gemm.batch * self.gemm.block_in * self.gemm.block_out

    @property
    def bus_bytes(self) -> int:
        """Bytes of one beat on one port."""
        return self.memory.bus_bits // 8

    @property
    def port_count(self) -> int:
        return 1 if self.memory.ports == "shared" else len(BUS_PORTS)

    @property
    def bytes_per_cycle(self) -> int:
        """Peak DRAM bandwidth over all ports."""
        return self.bus_bytes * self.port_count

    @property
    def peak_gops(self) -> float:
        """Two operations for each multiply-accumulate."""
        return 2 * self.macs_per_cycle * self.clock_mhz / 1000

    @property
    def dram_alignment(self) -> int:
        """Bytes to which DRAM tensors are aligned, a power of two: any tile's size and one full burst, rounded up."""
        burst = self.bus_bytes * self.memory.max_burst
        return max(64, self.inp_tile_bytes, self.wgt_tile_bytes, self.acc_tile_bytes, burst)

    # -- the host ------------------------------------------------------------------------------------------------------
    @property
    def host_name(self) -> str:
        """Of the host model that estimates are made in."""
        return self.board.host if self.board else DEFAULT_HOST

    # -- identity ------------------------------------------------------------------------------------------------------
    def program_facts(self) -> dict[str, object]:
        """Path of a key → its value, for all that the words and addresses of a program depend on.

        `gemm`, `types` and `sram` give the size of a tile, which is the unit of every address, the depth of every SRAM, which
        bounds every index, and from the depths the width of every instruction field and of a micro-op. Of `memory` the DRAM
        plan asks one thing, the alignment of tensors, so that each begins with a beat and a burst of its own: `dram_alignment`
        stands for bus_bits and max_burst.

        The clock, ports, latencies and outstanding bursts change when things happen, never what: tokens order a program
        whatever its transfers take. The compiler may choose other tiles for another latency; either choice runs on both.
        """
        sections = ("gemm", "types", "sram")
        facts = {f"{section}.{key}": value for section in sections for key, value in asdict(getattr(self, section)).items()}
        return {**facts, "dram_alignment": self.dram_alignment}

    @property
    def hash_hex(self) -> str:
        """16 hex digits over `program_facts`: programs run on every machine with the same."""
        return _digest(self.program_facts())

    @property
    def build_hash(self) -> str:
        """16 hex digits over all keys but `name` and `about`: what is built from equal ones, and its cycles, are the same."""
        return _digest({key: value for key, value in self.to_dict().items() if key not in ("name", "about")})


def _digest(facts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _index_bits(depth: int) -> int:
    return max(1, (depth - 1).bit_length())


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """A key whose value differs between two designs. here, there: as a design file has them; "" where there is none.

    decides: words and addresses of programs depend on it, so that programs of one do not run on the other.
    """

    key: str
    here: str
    there: str
    decides: bool


def key_differences(here: Design, there: Design) -> list[KeyDifference]:
    """Every key that differs, in the order of the design file."""
    mine, others = keys_of(here), keys_of(there)
    other_machine = set(_differing_facts(here, there))
    return [
        KeyDifference(key, mine.get(key, ""), others.get(key, ""), key in other_machine)
        for key in dict.fromkeys((*mine, *others))
        if mine.get(key) != others.get(key)
    ]


def keys_of(design: Design) -> dict[str, str]:
    """Path of each key → its value, as a design file would have it."""
    found: dict[str, str] = {}
    for key, value in design.to_dict().items():
        section = value if isinstance(value, Mapping) else {"": value}
        found |= {f"{key}.{name}" if name else key: value_text(key, item) for name, item in section.items()}
    return found


def value_text(section: str, value: object) -> str:
    """Sizes of scratchpads in KiB or MiB where those are whole."""
    if section.partition(".")[0] != "sram" or not isinstance(value, int):
        return f"{value:g}" if isinstance(value, float) else str(value)
    unit, size = next(((u, n) for u, n in (("MiB", 1 << 20), ("KiB", 1 << 10)) if not value % n), ("B", 1))
    return f"{value // size}{unit}"


def _differing_facts(here: Design, there: Design) -> dict[str, tuple[object, object]]:
    """Of what programs depend on, all that differs, the alignment of DRAM with the keys that may be why."""
    mine, others = here.program_facts(), there.program_facts()
    if here.dram_alignment != there.dram_alignment:
        for facts, memory in ((mine, here.memory), (others, there.memory)):
            facts |= {"memory.bus_bits": memory.bus_bits, "memory.max_burst": memory.max_burst}
    return {key: (mine[key], others[key]) for key in mine if mine[key] != others[key]}


def design_differences(here: Design, there: Design, places: tuple[str, str] = ("here", "there")) -> str:
    """Why a program of one does not run on the other: `sram.wgt: 256KiB here, 128KiB there`; "" when their hashes are equal."""
    texts = (
        f"{key}: {value_text(key, mine)} {places[0]}, {value_text(key, other)} {places[1]}"
        for key, (mine, other) in _differing_facts(here, there).items()
    )
    return ", ".join(texts)


@dataclass(frozen=True)
class Contradiction:
    """Values that cannot be built or encoded together. keys: the paths of all that have a part in it, its own first."""

    keys: tuple[str, ...]
    what: str
    found: object
    expected: str

    def error(self) -> DesignError:
        return DesignError(self.what, where=self.keys[0], found=self.found, expected=self.expected)


def contradictions(design: Design) -> Iterator[Contradiction]:
    """Of a design whose every key fits its rule."""
    gemm, sram, memory = design.gemm, design.sram, design.memory
    if gemm.block_in != gemm.block_out:
        yield Contradiction(
            ("gemm.block_in", "gemm.block_out"),
            "an output tile of one layer is an input tile of the next, so the blocks must be equal",
            gemm.block_in,
            f"{gemm.block_out}, as gemm.block_out",
        )
    for key in ("batch", "block_in", "block_out"):
        if not _is_power_of_two(size := getattr(gemm, key)):
            yield Contradiction((f"gemm.{key}",), "tile bytes address DRAM", size, "a power of two")
    if not _is_power_of_two(memory.bus_bits):
        yield Contradiction(("memory.bus_bits",), "a beat is a power of two", memory.bus_bits, "32, 64, 128 … 1024")
    if not _is_power_of_two(memory.max_burst):
        yield Contradiction(("memory.max_burst",), "bursts end at multiples of it", memory.max_burst, "a power of two")
    if memory.max_burst * memory.bus_bits // 8 > AXI_BURST_BYTES:
        yield Contradiction(
            ("memory.max_burst", "memory.bus_bits"),
            f"an AXI burst stays within {AXI_BURST_BYTES} bytes",
            memory.max_burst,
            f"at most {AXI_BURST_BYTES * 8 // memory.bus_bits} beats of {memory.bus_bits} bits",
        )
    for key in ("inp", "wgt", "acc"):
        tile, size = getattr(design, f"{key}_tile_bytes"), getattr(sram, key)
        keys = (f"sram.{key}", "gemm.batch", "gemm.block_in", "gemm.block_out")
        if size % tile:
            yield Contradiction(keys, "tiles do not fill the SRAM", size, f"a multiple of the {tile}-byte tile")
        elif size < 4 * tile:
            yield Contradiction(keys, "too small", size, f"room for at least 4 tiles of {tile} bytes")
    if sram.uop % 8 or sram.uop < 64:
        yield Contradiction(("sram.uop",), "not a micro-op memory", sram.uop, "a multiple of 8 bytes, at least 64")


def _is_power_of_two(value: int) -> bool:
    return value & (value - 1) == 0
