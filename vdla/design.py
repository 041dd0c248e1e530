"""The design of one accelerator: parsed once from YAML into a frozen, validated `Design`.

Every derived width, depth and size is a property here; nothing else in the project computes one. Field widths of the
instruction set follow from these properties in `vdla.isa.layout`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vdla.errors import DesignError, ProblemList, VdlaError

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
ACC_BYTES = 4
AXI_BURST_BYTES = 4096
DESIGN_BYTES_MAX = 1 << 20
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
    max_burst: int = Field(16, ge=1, le=256, description="beats in one burst, a power of two")
    outstanding: int = Field(8, ge=1, le=64, description="read bursts one port may have in flight")


class Board(Section):
    name: str
    part: str
    host: str


SECTIONS: dict[str, type[BaseModel]] = {"gemm": Gemm, "types": Types, "sram": Sram, "memory": Memory, "board": Board}


class Design(Section):
    """One accelerator. Immutable and hashable; equal designs have equal `hash_hex`.

    `load_design` and `design_from_dict` are the doors: they also refuse values that contradict one another.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    about: str = Field(min_length=10)
    clock_mhz: float = Field(gt=0, le=5000)
    gemm: Gemm
    types: Types = Types()
    sram: Sram
    memory: Memory = Memory()
    board: Board | None = None

    @property
    def channel_block(self) -> int:
        """Channels that lie together in an activation's tile: what one layer writes is what the next one reads."""
        return self.gemm.block_out

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
        """Bytes to which DRAM tensors are aligned, a power of two: any tile's size and one full burst, rounded up."""
        burst = self.bus_bytes * self.memory.max_burst
        return max(64, self.inp_tile_bytes, self.wgt_tile_bytes, self.acc_tile_bytes, burst)

    @property
    def hash_hex(self) -> str:
        """16 hex digits over everything a program depends on (not the name, the comment or the board)."""
        facts = self.model_dump(exclude={"name", "about", "board"})
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash((self.name, self.clock_mhz, self.gemm, self.types, self.sram, self.memory))


def _index_bits(depth: int) -> int:
    return max(1, (depth - 1).bit_length())


@dataclass(frozen=True)
class Contradiction:
    """Values that cannot be built or encoded together. keys: the paths of all that have a part in it, its own first."""

    keys: tuple[str, ...]
    what: str
    found: object
    expected: str

    def error(self) -> DesignError:
        return DesignError(self.what, where=self.keys[0], found=self.found, expected=self.expected)


def _contradictions(design: Design) -> Iterator[Contradiction]:
    gemm, sram, memory = design.gemm, design.sram, design.memory
    if gemm.block_in != gemm.block_out:
        yield Contradiction(
            ("gemm.block_in", "gemm.block_out"),
            "an output tile of one layer is an input tile of the next, so the blocks must be equal",
            gemm.block_in,
            f"{gemm.block_out}, as gemm.block_out",
        )
    for key in ("batch", "block_in", "block_out"):
        if (size := getattr(gemm, key)) & (size - 1):
            yield Contradiction((f"gemm.{key}",), "tile bytes address DRAM", size, "a power of two")
    if memory.bus_bits & (memory.bus_bits - 1):
        yield Contradiction(("memory.bus_bits",), "a beat is a power of two", memory.bus_bits, "32, 64, 128 … 1024")
    if memory.max_burst & (memory.max_burst - 1):
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


def design_from_dict(data: object, where: str) -> Design:
    """Validate a parsed YAML document; `where` names it in messages.

    Raises `DesignError` when it is not a mapping, `ProblemList` with every problem at once.
    """
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise DesignError("not a design", where=where, found=found, expected="a mapping with name, about, gemm, sram …")
    problems: list[VdlaError] = []
    try:
        design = Design.model_validate(data)
        problems += [contradiction.error() for contradiction in _contradictions(design)]
        if not problems:
            _check_encodable(design)
            return design
    except ValidationError as error:
        details = error.errors()
        problems += [_problem(detail) for detail in details]
        problems += _further_contradictions(data, [detail["loc"] for detail in details])
    except DesignError as error:
        problems.append(error)
    raise ProblemList(f"{where}: not a valid design", problems)


def _check_encodable(design: Design) -> None:
    """Refuse a design whose instructions cannot be laid out in 128 bits."""
    from vdla.isa.layout import check_encodable  # isa sits above design; looked up when a design is validated

    check_encodable(design)


def _further_contradictions(data: Mapping[Any, Any], refused: Sequence[tuple[Any, ...]]) -> list[VdlaError]:
    """Contradictions among the keys that were not refused, those standing in for by a design that is sound."""
    sound = {
        "name": "sound", "about": "stands in for what was refused", "clock_mhz": 100, "gemm": {},
        "sram": {"uop": 1 << 15, "inp": 1 << 15, "wgt": 1 << 18, "acc": 1 << 17},
    }  # fmt: skip
    repaired = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
    for top, *rest in refused:
        if top == "board":  # no part in any contradiction
            repaired.pop(top, None)
        elif rest and isinstance(repaired.get(top), dict):
            repaired[top].pop(rest[0], None)
            if isinstance(default := sound.get(top), dict) and rest[0] in default:
                repaired[top][rest[0]] = default[rest[0]]
        elif top in sound:
            repaired[top] = sound[top]
        else:
            repaired.pop(top, None)
    try:
        design = Design.model_validate(repaired)
    except ValidationError:
        return []
    doubtful = {".".join(map(str, path)) for path in refused}

    def stands(contradiction: Contradiction) -> bool:
        return not any(key in doubtful or key.partition(".")[0] in doubtful for key in contradiction.keys)

    return [contradiction.error() for contradiction in _contradictions(design) if stands(contradiction)]


def _problem(detail: Any) -> VdlaError:
    path = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        known = list((SECTIONS.get(detail["loc"][0], Design) if len(detail["loc"]) > 1 else Design).model_fields)
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else ""
        return DesignError("unknown key", where=path, expected=f"one of {', '.join(known)}", hint=hint)
    if detail["type"] == "missing":
        return DesignError("missing key", where=path, expected="a value")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if detail["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "should be a mapping of keys to values"
    return DesignError(message[0].lower() + message[1:], where=path, found=detail.get("input"))


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
        text = _read_text(path)
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a null character
        near = difflib.get_close_matches(str(name_or_path), list(shipped), n=1)
        raise DesignError(
            f"cannot read the design ({getattr(error, 'strerror', None) or 'it is not text'})",
            where=str(name_or_path),
            expected=f"a YAML file or one of {', '.join(shipped)}",
            hint=f"did you mean {near[0]}?" if near else "vdla design list",
        ) from None
    return design_from_dict(_parse_yaml(text, str(path)), str(path))


def _read_text(path: Path) -> str:
    """Raises `DesignError` for more than anybody writes, so that reading a device ends."""
    with path.open("rb") as file:
        raw = file.read(DESIGN_BYTES_MAX + 1)
    if len(raw) > DESIGN_BYTES_MAX:
        raise DesignError("too long for a design", where=str(path), expected=f"at most {DESIGN_BYTES_MAX:,} bytes")
    return raw.decode("utf-8")


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, where PyYAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in lines:
                problem = f"{key.value} is given twice, first on line {lines[key.value]}"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, where: str) -> object:
    """Raises `DesignError`, with the line, when `text` is not one YAML document of plain values."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark is not None else where
        problem = " ".join(str(getattr(error, "problem", "") or "unreadable").split())
        raise DesignError(f"not YAML: {problem}", where=place, expected="key: value lines, each key once") from None
