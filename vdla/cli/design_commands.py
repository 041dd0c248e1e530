"""`vdla design list|show|check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from vdla.cli.console import help_when_bare, print_json, say, table

if TYPE_CHECKING:
    from vdla.design import Design, KeyDifference
    from vdla.errors import VdlaError

app = typer.Typer(rich_markup_mode=None, help="Accelerator designs: list, show, check, diff.")
app.callback(invoke_without_command=True)(help_when_bare)
Json = typer.Option(False, "--json", help="One JSON document on stdout.")


@app.command("list")
def list_designs(json: bool = Json) -> None:
    """List the designs that come with VDLA."""
    from vdla.design_file import load_design, shipped_designs

    designs = [load_design(name) for name in shipped_designs()]
    if json:
        return print_json([{"name": d.name, "about": d.about, "peak_gops": d.peak_gops, "hash": d.hash_hex} for d in designs])
    rows = [[d.name, f"{d.peak_gops:,.1f}", d.about] for d in designs]
    return say(table([("design", "left"), ("GOPS", "right"), ("about", "left")], rows))


@app.command("show")
def show(design: str = typer.Argument(help="A YAML file or a name from `vdla design list`."), json: bool = Json) -> None:
    """Show a design and everything derived from it.

    \b
    Examples:
      vdla design show pynq_z1
      vdla design show my_design.yaml --json
    """
    from vdla.design_file import load_design

    loaded = load_design(design)
    derived = derived_properties(loaded)
    if json:
        return print_json({**asdict(loaded), "derived": derived})
    say(design_text(loaded))
    return None


@app.command("check", short_help="Validate designs, reporting every problem at once.")
def check(designs: list[str] = typer.Argument(help="YAML files or names."), json: bool = Json) -> None:
    """Validate designs; every problem is reported at once, with the path of its key.

    \b
    Example:
      vdla design check my_design.yaml
    """
    from vdla.design_file import load_design
    from vdla.errors import ProblemList, VdlaError

    loaded: dict[str, Design] = {}
    refused: dict[str, VdlaError] = {}
    for name in designs:
        try:
            loaded[name] = load_design(name)
        except VdlaError as error:
            refused[name] = error
    if json:
        passed = [{"design": d.name, "file": name, "hash": d.hash_hex, "ok": True} for name, d in loaded.items()]
        failed = [{"file": name, "ok": False, "problems": problems_of(error)} for name, error in refused.items()]
        print_json(passed + failed)
    else:
        for d in loaded.values():
            bandwidth = d.bytes_per_cycle * d.clock_mhz / 1000
            say(f"{d.name}: ok, {d.peak_gops:,.1f} GOPS peak, {bandwidth:,.2f} GB/s, hash {d.hash_hex}")
    if refused:
        raise ProblemList("refused", list(refused.values())) if len(refused) > 1 else next(iter(refused.values()))


@app.command("diff", short_help="The keys in which two designs differ.")
def diff(
    a: str = typer.Argument(help="A YAML file or a name."), b: str = typer.Argument(help="Another."), json: bool = Json
) -> int:
    """Compare two designs key by key. Exit code 1 when a key but name and about differs.

    \b
    Examples:
      vdla design diff pynq_z1 zynq_4port
      vdla design diff pynq_z1 my_design.yaml --json
    """
    from vdla.design import key_differences
    from vdla.design_file import load_design

    here, there = load_design(a), load_design(b)
    found = key_differences(here, there)
    if json:
        compatible = here.hash_hex == there.hash_hex
        print_json({"a": a, "b": b, "programs_compatible": compatible, "differences": [asdict(d) for d in found]})
    else:
        say(difference_text(a, b, found))
    return int(any(d.key not in ("name", "about") for d in found))


def difference_text(a: str, b: str, found: Sequence[KeyDifference]) -> str:
    """A row for each key, and what follows for programs."""
    told = [d for d in found if d.key not in ("name", "about")]
    if not told:
        return f"{a} and {b} are the same machine" + (", told apart by name or about alone" if found else "")
    columns = [("key", "left"), (a, "left"), (b, "left")]
    rows = [[d.key + (" *" if d.decides else ""), d.here or "none", d.there or "none"] for d in told]
    decided = any(d.decides for d in told)
    end = "* programs of one do not run on the other" if decided else "programs of one run on the other, in its own time"
    return f"{table(columns, rows)}\n\n{end}"


def problems_of(error: VdlaError) -> list[str]:
    """Each of the problems behind one error."""
    return [str(problem) for problem in getattr(error, "problems", [error])]


def design_text(design: Design) -> str:
    """The design's own keys, then what follows from them."""
    gemm, memory, board = design.gemm, design.memory, design.board
    bandwidth = design.bytes_per_cycle * design.clock_mhz / 1000
    facts = [
        ("clock", f"{design.clock_mhz:g} MHz"),
        ("GEMM", f"{gemm.batch}×{gemm.block_in}×{gemm.block_out}: {design.macs_per_cycle:,} MAC a cycle"),
        ("peak", f"{design.peak_gops:,.1f} GOPS"),
        ("types", ", ".join(f"{name} {dtype}" for name, dtype in asdict(design.types).items())),
        ("bus", f"{design.port_count} × {memory.bus_bits} bits ({memory.ports}): {bandwidth:,.2f} GB/s"),
        ("memory", f"read latency {memory.read_latency}, write latency {memory.write_latency} cycles"),
        ("", f"bursts of {memory.max_burst} beats, {memory.outstanding} outstanding"),
        ("ridge", f"{design.peak_gops / bandwidth:,.1f} operations a byte"),
        ("alignment", f"{design.dram_alignment:,} bytes in DRAM"),
        ("board", f"{board.name} ({board.part}, {board.host})" if board else "none"),
        ("hash", f"{design.hash_hex} of programs, {design.build_hash} of all keys"),
    ]
    columns = [("SRAM", "left"), *((heading, "right") for heading in ("KiB", "entry (bytes)", "entries", "index bits"))]
    return "\n".join(
        [
            f"{design.name}: {design.about}",
            "",
            *(f"  {name:<10} {value}" for name, value in facts),
            "",
            table(columns, _srams(design)),
        ]
    )


def _srams(design: Design) -> list[list[str]]:
    """A row for each scratchpad."""
    sizes = [
        ("uop", design.sram.uop, design.uop_bytes, design.uop_depth, design.uop_index_bits),
        ("inp", design.sram.inp, design.inp_tile_bytes, design.inp_depth, design.inp_index_bits),
        ("wgt", design.sram.wgt, design.wgt_tile_bytes, design.wgt_depth, design.wgt_index_bits),
        ("acc", design.sram.acc, design.acc_tile_bytes, design.acc_depth, design.acc_index_bits),
    ]
    return [[name, f"{size / 1024:,g}", f"{entry:,}", f"{depth:,}", str(bits)] for name, size, entry, depth, bits in sizes]


def derived_properties(design: Design) -> dict[str, object]:
    """Name → value of every derived property, with units in the name."""
    names = [name for name, value in vars(type(design)).items() if isinstance(value, property)]
    return {name: getattr(design, name) for name in names}
