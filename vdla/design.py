"""The design of one accelerator: parsed once from YAML into a frozen, validated `Design`.

Every derived width, depth and size is a property here; nothing else in the project computes one. Field widths of the
instruction set follow from these properties in `vdla.isa.layout`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from vdla.errors import DesignError, ProblemList, VdlaError

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
INSTRUCTION_BYTES = 16
ACC_BYTES = 4
BUS_PORTS = ("fetch", "load", "compute", "store")


def parse_size(value: object) -> object:
    """`"32KiB"`, `"1 MiB"`, `"512B"` or an integer number of bytes → bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d+)\s*(B|KiB|MiB)", value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError("expected a size such as 512B, 32KiB or 1MiB")
    return int(match[1]) * UNITS[match[2]]


Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0, le=64 << 20)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Gemm(Section):
    """One micro-op multiplies a (batch, block_in) tile by a (block_out, block_in) tile, transposed, in one cycle."""

    batch: int = Field(1, ge=1, le=64)
    block_in: int = Field(16, ge=1, le=256)
    block_out: int = Field(16, ge=1, le=256)


class Types(Section):
    """Operand types. Only int8 operands with an int32 accumulator are built today."""

    inp: Literal["int8"] = "int8"
    wgt: Literal["int8"] = "int8"
    acc: Literal["int32"] = "int32"
    out: Literal["int8"] = "int8"


class Sram(Section):
    """Bytes of each scratchpad."""

    uop: Size
    inp: Size
    wgt: Size
    acc: Size


class Memory(Section):
    """The DRAM side: width of a bus beat, one shared port or one for each unit, latencies in cycles."""

    bus_bits: int = Field(64, ge=32, le=1024)
    ports: Literal["shared", "separate"] = "shared"
    read_latency: int = Field(40, ge=1, le=10_000)
    write_latency: int = Field(20, ge=1, le=10_000)
    max_burst: int = Field(16, ge=1, le=256, description="beats in one burst")
    outstanding: int = Field(8, ge=1, le=64, description="read bursts one port may have in flight")


class Board(Section):
    name: str
    part: str
    host: str


class Design(Section):
    """One accelerator. Immutable and hashable; equal designs have equal `hash_hex`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    about: str = Field(min_length=10)
    clock_mhz: float = Field(gt=0, le=5000, strict=False)
    gemm: Gemm
    types: Types = Types()
    sram: Sram
    memory: Memory = Memory()
    board: Board | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Design:
        if problems := list(_contradictions(self)):
            raise ValueError("\n".join(problems))
        return self

    # -- tiles: the unit of every SRAM index and of every DRAM address of a DMA ------------------------------------
    @property
    def inp_tile_bytes(self) -> int:
        """(batch, block_in) int8."""
        return self.gemm.batch * self.gemm.block_in

    @property
    def wgt_tile_bytes(self) -> int:
        """(block_out, block_in) int8."""
        return self.gemm.block_out * self.gemm.block_in

    @property
    def acc_tile_bytes(self) -> int:
        """(batch, block_out) int32."""
        return self.gemm.batch * self.gemm.block_out * ACC_BYTES

    @property
    def out_tile_bytes(self) -> int:
        """(batch, block_out) int8: the narrow view of an accumulator tile."""
        return self.gemm.batch * self.gemm.block_out

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
        """Bytes to which DRAM tensors are aligned: any tile's size and one full burst."""
        sizes = [self.inp_tile_bytes, self.wgt_tile_bytes, self.acc_tile_bytes, self.bus_bytes * self.memory.max_burst]
        return max(64, *sizes)

    @property
    def hash_hex(self) -> str:
        """16 hex digits over everything a program depends on (not the name, the comment or the board)."""
        facts = self.model_dump(exclude={"name", "about", "board"})
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash((self.name, self.clock_mhz, self.gemm, self.types, self.sram, self.memory))


def _index_bits(depth: int) -> int:
    return max(1, (depth - 1).bit_length())


def _contradictions(design: Design):
    """Combinations that cannot be built or encoded, one readable line each, opening with the key's path."""
    gemm, sram = design.gemm, design.sram
    if gemm.block_in != gemm.block_out:
        yield (
            f"gemm.block_in: an output tile of one layer is an input tile of the next, so block_in must equal "
            f"block_out; found {gemm.block_in} and {gemm.block_out}"
        )
    for key in ("batch", "block_in", "block_out"):
        if getattr(gemm, key) & (getattr(gemm, key) - 1):
            yield f"gemm.{key}: tile bytes address DRAM, so it must be a power of two; found {getattr(gemm, key)}"
    bits = design.memory.bus_bits
    if bits & (bits - 1):
        yield f"memory.bus_bits: expected a power of two; found {bits}"
    if design.memory.max_burst * bits // 8 > 4096:
        yield f"memory.max_burst: AXI bursts stay within 4096 bytes; found {design.memory.max_burst} beats of {bits} bits"
    for key in ("inp", "wgt", "acc"):
        tile = getattr(design, f"{key}_tile_bytes")
        size = getattr(sram, key)
        if size % tile:
            yield f"sram.{key}: expected a multiple of the {tile}-byte tile; found {size}"
        elif size < 4 * tile:
            yield f"sram.{key}: expected room for at least 4 tiles of {tile} bytes; found {size}"
    if sram.uop % 8 or sram.uop < 64:
        yield f"sram.uop: expected a multiple of 8 bytes, at least 64; found {sram.uop}"


def design_from_dict(data: object, where: str) -> Design:
    """Validate a parsed YAML document; `where` names it in messages.

    Raises `ProblemList` with every problem at once.
    """
    if not isinstance(data, dict):
        raise DesignError(
            "not a design", where=where, found=type(data).__name__, expected="a mapping with name, about, gemm, sram …"
        )
    try:
        design = Design.model_validate(data)
        _check_encodable(design)
        return design
    except ValidationError as err:
        problems = [problem for detail in err.errors() for problem in _problems(detail)]
        raise ProblemList(f"{where}: not a valid design", problems) from None


def _check_encodable(design: Design) -> None:
    """Refuse a design whose instructions cannot be laid out in 128 bits."""
    from vdla.isa.layout import check_encodable  # isa sits above design; looked up when a design is validated

    check_encodable(design)


def _problems(detail: Any) -> list[VdlaError]:
    path = ".".join(map(str, detail["loc"]))
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        section: Any = Design
        for key in detail["loc"][:-1]:
            section = section.model_fields[key].annotation
        known = list(section.model_fields)
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else ""
        return [DesignError("unknown key", where=path, expected=f"one of {', '.join(known)}", hint=hint)]
    if detail["type"] == "missing":
        return [DesignError("missing key", where=path, expected="a value")]
    if not path:  # our own cross-field checks carry their paths
        return [DesignError(rest.strip(), where=key) for key, _, rest in (m.partition(":") for m in message.split("\n"))]
    return [DesignError(message[0].lower() + message[1:], where=path, found=detail.get("input"))]


def shipped_designs() -> dict[str, Path]:
    """Name → YAML file of the designs that come with the package."""
    folder = resources.files("vdla.designs")
    return {p.stem: p for p in sorted(Path(str(folder)).glob("*.yaml"))}


def load_design(name_or_path: str | Path | Design) -> Design:
    """A shipped design by name (`pynq_z1`), or any YAML file by path.

    Raises `DesignError` when there is no such file or it is not YAML, `ProblemList` when its contents are refused.
    """
    if isinstance(name_or_path, Design):
        return name_or_path
    shipped = shipped_designs()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, PermissionError, NotADirectoryError, UnicodeDecodeError, OSError) as err:
        near = difflib.get_close_matches(str(name_or_path), list(shipped), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DesignError(
            f"cannot read the design ({type(err).__name__})",
            where=str(name_or_path),
            expected=f"a YAML file or one of {', '.join(shipped)}",
            hint=f"{hint}vdla design list",
        ) from None
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as err:
        line = getattr(getattr(err, "problem_mark", None), "line", None)
        place = f"{path}:{line + 1}" if line is not None else str(path)
        problem = " ".join(str(getattr(err, "problem", "") or "unreadable").split())
        raise DesignError(f"not YAML: {problem}", where=place, expected="key: value lines") from None
    return design_from_dict(data, str(path))
