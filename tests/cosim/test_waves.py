"""The compressors under Verilator's FST writer give streams that others can read back."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vdla.hw.build import HARNESS, cxx_compiler


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("waves") / "bench"
    source = Path(__file__).with_name("waves_bench.cpp")
    flags = ["-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{HARNESS}"]
    done = subprocess.run(
        [cxx_compiler(), *flags, str(source), "-o", str(program)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return program


def lz4_block(block: bytes) -> bytes:
    """What a block decompresses to, by the format's description, checking its rules for the end of a block."""
    out, position = bytearray(), 0

    def extended(nibble: int) -> int:
        nonlocal position
        if nibble < 15:
            return nibble
        while True:
            byte = block[position]
            position += 1
            nibble += byte
            if byte != 255:
                return nibble

    while position < len(block):
        token = block[position]
        position += 1
        literals = extended(token >> 4)
        out += block[position : position + literals]
        position += literals
        if position == len(block):
            assert literals >= min(5, len(out)), "the last five bytes are literals"
            return bytes(out)
        offset = block[position] | block[position + 1] << 8
        position += 2
        match = extended(token & 15) + 4
        assert 0 < offset <= len(out)
        for _ in range(match):
            out.append(out[-offset])
    return bytes(out)


def samples() -> Iterator[bytes]:
    rng = np.random.default_rng(1)
    for size in (0, 1, 4, 5, 12, 13, 14, 20, 100, 300, 70_000, 200_000):
        yield bytes(size)
        yield rng.integers(0, 256, size, np.uint8).tobytes()
        yield rng.integers(0, 2, size, np.uint8).tobytes()
        yield (rng.integers(0, 256, 37, np.uint8).tobytes() * (size // 37 + 1))[:size]


@pytest.mark.parametrize("form", ["lz4", "zlib"])
def test_round_trip(bench: Path, form: str) -> None:
    for data in samples():
        packed = subprocess.run([bench, form], input=data, capture_output=True, check=True).stdout
        assert (lz4_block(packed) if form == "lz4" else zlib.decompress(packed)) == data, len(data)


def test_what_repeats_becomes_small(bench: Path) -> None:
    assert len(subprocess.run([bench, "lz4"], input=b"01" * 50_000, capture_output=True, check=True).stdout) < 1000
