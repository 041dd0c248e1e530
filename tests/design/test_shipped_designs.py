"""The five designs: what follows from them, worked out by hand, and what a design promises."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError

import pytest

from vdla.design_file import design_from_dict, load_design, parse_size, shipped_designs

KIB = 1024
# inp, wgt, acc, out tile bytes; uop bytes; inp, wgt, acc, uop entries; MAC a cycle; bytes a cycle; GOPS
EXPECTED = {
    "tiny": ((4, 16, 16, 4), 4, (256, 128, 256, 256), 16, 4, 3.2),
    "pynq_z1": ((16, 256, 64, 16), 4, (2048, 1024, 2048, 8192), 256, 8, 51.2),
    "zynq_4port": ((16, 256, 64, 16), 4, (2048, 1024, 2048, 8192), 256, 32, 51.2),
    "kv260": ((32, 1024, 128, 32), 8, (4096, 1024, 4096, 8192), 1024, 64, 409.6),
    "datacenter": ((1024, 4096, 4096, 1024), 8, (4096, 2048, 2048, 8192), 65536, 512, 131072.0),
}


def test_the_five_are_there():
    assert set(shipped_designs()) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_derived_values(name):
    tiles, uop_bytes, depths, macs, bandwidth, gops = EXPECTED[name]
    d = load_design(name)
    assert (d.inp_tile_bytes, d.wgt_tile_bytes, d.acc_tile_bytes, d.out_tile_bytes) == tiles
    assert (d.inp_depth, d.wgt_depth, d.acc_depth, d.uop_depth) == depths
    assert (d.uop_bytes, d.uop_bits) == (uop_bytes, 8 * uop_bytes)
    assert (d.macs_per_cycle, d.bytes_per_cycle) == (macs, bandwidth)
    assert d.peak_gops == pytest.approx(gops)
    for bits, depth in zip((d.inp_index_bits, d.wgt_index_bits, d.acc_index_bits, d.uop_index_bits), depths, strict=True):
        assert 2 ** (bits - 1) < depth <= 2**bits
    assert all(d.dram_alignment % tile == 0 for tile in tiles)
    assert d.dram_alignment % d.bus_bytes == 0


def test_the_reference_point_is_the_papers():
    """100 MHz, 51.2 GOPS, 64-bit bus of 0.8 GB/s, SRAM of 32, 32, 256 and 128 KiB (VTA report, arXiv 1807.04188)."""
    d = load_design("pynq_z1")
    assert (d.clock_mhz, d.peak_gops, d.bytes_per_cycle * d.clock_mhz / 1000) == (100, 51.2, 0.8)
    assert (d.sram.uop, d.sram.inp, d.sram.wgt, d.sram.acc) == (32 * KIB, 32 * KIB, 256 * KIB, 128 * KIB)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_file_opens_with_its_question(name):
    text = shipped_designs()[name].read_text()
    comment = text[: text.index("name:")]
    assert all(line.startswith("#") for line in comment.splitlines())
    assert "?" in comment
    assert load_design(name).name == name


def test_a_design_is_a_value():
    d = load_design("tiny")
    assert d == load_design("tiny")
    assert hash(d) == hash(load_design("tiny"))
    assert load_design(d) is d
    with pytest.raises(FrozenInstanceError):
        d.clock_mhz = 1
    assert len({load_design(name).build_hash for name in EXPECTED}) == len(EXPECTED)


def test_pynq_programs_run_on_four_ports_and_on_no_other():
    hashes = {name: load_design(name).hash_hex for name in EXPECTED}
    assert all(re.fullmatch("[0-9a-f]{16}", value) for value in hashes.values())
    assert hashes.pop("zynq_4port") == hashes["pynq_z1"]
    assert len(set(hashes.values())) == len(hashes)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_design_survives_its_own_dump(name):
    d = load_design(name)
    assert design_from_dict(d.to_dict(), "dump") == d


def test_sizes():
    assert [parse_size(s) for s in ("512B", "32KiB", "1 MiB", 77)] == [512, 32768, 1 << 20, 77]
    for bad in ("32kb", "1.5MiB", "MiB", "-1B", None, 1.5, True):
        with pytest.raises(ValueError, match="expected a size"):
            parse_size(bad)
