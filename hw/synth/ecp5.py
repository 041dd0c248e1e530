"""Area and clock on a Lattice ECP5, by Yosys and nextpnr: the one place-and-route clock that needs no vendor's tools.

The shell has more ports than a package has pins. So it is placed inside a ring: a chain of registers drives its inputs, and
another captures its outputs. The paths to and from its ports are then paths between registers, and count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vdla.arithmetic import ceil_div
from vdla.hw.synth.parts import ECP5_85K, Ecp5
from vdla.hw.synth.tools import NEXTPNR, YOSYS

RING = "vdla_ring"
PORTS, NETLIST, REPORT = "ports.json", "ecp5.json", "report.json"
AIM = 1.25
"""How much more than the design's clock nextpnr is asked for, because it stops trying at what it is asked for."""


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """The slowest path: where it starts and ends, and what of its time is logic and what routing."""

    start: str
    end: str
    logic_ns: float
    routing_ns: float
    through: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """The design placed and routed. lut: 4-input LUTs; bram: blocks of 18 Kbit; dsp: 18x18 multipliers."""

    lut: int
    ff: int
    bram: int
    dsp: int
    fmax_mhz: float
    critical_path: CriticalPath


def place_and_route(folder: Path, sources: Sequence[str], top: str, *, target_mhz: float, seed: int = 1) -> Placement:
    """`top` in its ring on an ECP5-85k. folder: as for `xilinx.synthesise`.

    Raises `RunError` when it does not fit.
    """
    YOSYS.run(["-q", "-p", f"read_verilog -lib -I. {top}.v; write_json {PORTS}"], folder)
    ports = json.loads((folder / PORTS).read_text(encoding="utf-8"))["modules"][top]["ports"]
    widths = {name: (port["direction"], len(port["bits"])) for name, port in ports.items()}
    (folder / f"{RING}.v").write_text(ring(top, widths), encoding="utf-8")
    (folder / "ecp5.ys").write_text(script([*sources, f"{RING}.v"]), encoding="utf-8")
    YOSYS.run(["-q", "ecp5.ys"], folder)
    # router2 has the better answer here, and in a third of the time
    part = [ECP5_85K.option, "--package", "CABGA756", "--speed", str(ECP5_85K.speed_grade)]
    settings = [*part, "--router", "router2", "--seed", str(seed)]
    target = ["--freq", f"{AIM * target_mhz:g}", "--timing-allow-fail", "--lpf-allow-unconstrained"]
    NEXTPNR.run(["--quiet", "--json", NETLIST, "--report", REPORT, *settings, *target], folder)
    return placement(json.loads((folder / REPORT).read_text(encoding="utf-8")), captured_bits(widths))


def why_not(sram_bits: int, products: int, part: Ecp5 = ECP5_85K) -> str:
    """Why a design of that size cannot fit, as far as that is plain before any work; "" when it may."""
    blocks = ceil_div(sram_bits, 1 << 14)  # a block of 18 Kbit holds 16 Kbit of bytes
    if blocks > part.bram18:
        return f"scratchpads of {blocks} blocks of RAM; {part.name} has {part.bram18}"
    if products > part.multipliers:
        return f"{products} products a cycle; {part.name} has {part.multipliers} multipliers"
    return ""


def script(sources: Sequence[str]) -> str:
    """The recipe for Yosys."""
    return f"read_verilog -I. {' '.join(sources)}\nsynth_ecp5 -top {RING} -json {NETLIST}\n"


def ring(top: str, widths: Mapping[str, tuple[str, int]]) -> str:
    """Verilog: `top` with every input but aclk from a chain of registers and every output captured by one."""
    inputs = {name: width for name, (direction, width) in widths.items() if direction == "input" and name != "aclk"}
    outputs = {name: width for name, (direction, width) in widths.items() if direction == "output"}
    connections = [".aclk(clk)"]
    for chain, ports in (("in_q", inputs), ("out", outputs)):
        lsb = 0
        for name, width in ports.items():
            connections.append(f".{name}({chain}[{lsb} +: {width}])")
            lsb += width
    joined = ",\n    ".join(connections)
    n_in, n_out = sum(inputs.values()), sum(outputs.values())
    return f"""module {RING} (input wire clk, input wire serial_in, input wire capture, output wire serial_out);
reg  [{n_in - 1}:0] in_q;
wire [{n_out - 1}:0] out;
reg  [{n_out - 1}:0] out_q;
assign serial_out = out_q[0];
always @(posedge clk) in_q <= {{in_q[{n_in - 2}:0], serial_in}};
always @(posedge clk) out_q <= capture ? out : {{1'b0, out_q[{n_out - 1}:1]}};
{top} dut (
    {joined}
);
endmodule
"""


def captured_bits(widths: Mapping[str, tuple[str, int]]) -> tuple[int, int]:
    """Bits of the ring: (in, out)."""
    bits = {way: sum(width for direction, width in widths.values() if direction == way) for way in ("input", "output")}
    return bits["input"] - 1, bits["output"]


def placement(report: Mapping[str, Any], ring_bits: tuple[int, int]) -> Placement:
    """From nextpnr's report, without what belongs to the ring: a register for each bit, and a LUT for each captured one."""
    used = {name: counts["used"] for name, counts in report["utilization"].items()}
    bits_in, bits_out = ring_bits
    return Placement(
        lut=used["TRELLIS_COMB"] - bits_out,
        ff=used["TRELLIS_FF"] - bits_in - bits_out,
        bram=used["DP16KD"],
        dsp=used["MULT18X18D"],
        fmax_mhz=min(clock["achieved"] for clock in report["fmax"].values()),
        critical_path=_critical_path(report),
    )


def _critical_path(report: Mapping[str, Any]) -> CriticalPath:
    """The slowest path from a clock edge to a clock edge."""
    paths = [p["path"] for p in report["critical_paths"] if p["from"].startswith("posedge") and p["to"].startswith("posedge")]
    path = max(paths, key=lambda steps: sum(step["delay"] for step in steps))
    routing = sum(step["delay"] for step in path if step["type"] == "routing")
    names = [signal_name(step["to"]["cell"]) for step in path]
    through = tuple(dict.fromkeys(name for name in names[:-1] if name and not name.startswith("$")))
    return CriticalPath(
        signal_name(path[0]["from"]["cell"]),
        names[-1],
        sum(step["delay"] for step in path) - routing,
        routing,
        through,
    )


def signal_name(cell: str) -> str:
    """The signal behind a cell's name: `dut.core.count_q_TRELLIS_FF_Q_3` is core.count_q."""
    name = re.split(r"_(?:TRELLIS_FF|LUT4|CCU2C|PFUMX|L6MUX21|DP16KD|MULT18X18D|TRELLIS_DPR16X4|TRELLIS_COMB)", cell)[0]
    return re.sub(r"\$\w+\$.*$", "", name).removeprefix("dut.")
