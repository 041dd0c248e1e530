"""The C++ memory of the RTL simulation, alone: when every beat moves, against the BUS section of `isa/timing.py` written out
beat by beat here; what is read and written, also under stress; faults; and that breaches of AXI4 are noticed."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from vdla.design_file import load_design
from vdla.hw.build import CXX_FLAGS, HARNESS, cxx_compiler
from vdla.hw.simulation import BUS_BASE, BusFault, MemoryConfig, MemoryModel, Response, memory_config
from vdla.isa.timing import BUS_PRIORITY, STORE, WRITE_SETUP

BEAT = 8
BYTES = 1 << 16
LIMIT = 200_000


class Request(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("cycle", "address")),
        *((name, ctypes.c_uint32) for name in ("beats", "id", "write", "size")),
    ]


@dataclass
class Played:
    """What the bench saw, one entry for each request."""

    taken: np.ndarray
    over: np.ndarray
    answered: np.ndarray
    response: np.ndarray
    data: list[np.ndarray]
    cycles: int
    error: str


@dataclass
class Case:
    """Requests and the memory they meet."""

    requests: list[Request]
    written: list[np.ndarray]
    dram: np.ndarray = field(default_factory=lambda: np.arange(BYTES, dtype=np.uint64).astype(np.uint8))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("bench") / "bench.so"
    source = Path(__file__).with_name("memory_bench.cpp")
    flags = [flag for flag in CXX_FLAGS if flag not in ("-O3", "-w")]
    command = [cxx_compiler(), *flags, "-O1", "-Wall", "-Wextra", "-Werror", "-shared", f"-I{HARNESS}", str(source)]
    done = subprocess.run([*command, "-o", str(library)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = ctypes.CDLL(str(library))
    loaded.bench_run.restype, loaded.bench_error.restype = ctypes.c_uint64, ctypes.c_char_p
    return loaded


def config_of(model: MemoryModel, **changes: int) -> MemoryConfig:
    config = memory_config(load_design("pynq_z1"), model, BYTES)
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def play(bench: ctypes.CDLL, case: Case, config: MemoryConfig) -> Played:
    count = len(case.requests)
    data = [w.copy() for w in case.written]
    pointers = (ctypes.c_void_p * count)(*(d.ctypes.data for d in data))
    taken, over, answered = np.zeros((3, count), np.int64)
    response = np.zeros(count, np.uint32)
    cycles = bench.bench_run(
        ctypes.byref(config),
        ctypes.c_void_p(case.dram.ctypes.data),
        BEAT,
        count,
        (Request * count)(*case.requests),
        pointers,
        *(ctypes.c_void_p(a.ctypes.data) for a in (taken, over, answered, response)),
        ctypes.c_uint64(LIMIT),
    )
    return Played(taken, over, answered, response, data, cycles, bench.bench_error().decode())


def random_case(rng: np.random.Generator, count: int = 60) -> Case:
    """Reads of LOAD, COMPUTE and FETCH in the lower half of memory, writes of STORE each to a page of its own above."""
    requests, written, read_cycle, write_cycle, writes = [], [], 0, 0, 0
    for _ in range(count):
        beats = int(rng.integers(1, 17))
        write = bool(rng.random() < 0.3) and writes < BYTES // 2 // 128
        if write:
            address = BYTES // 2 + writes * 128
            writes += 1
            write_cycle += int(rng.integers(1, 30))
        else:
            address = int(rng.integers(0, BYTES // 2 // 128)) * 128 + int(rng.integers(0, 17 - beats)) * BEAT
            read_cycle += int(rng.integers(1, 20))
        unit = STORE if write else int(rng.integers(0, 3))
        requests.append(Request(write_cycle if write else read_cycle, BUS_BASE + address, beats, unit, write, 3))
        written.append(rng.integers(0, 256, beats * BEAT).astype(np.uint8))
    return Case(requests, written)


def expected_over(case: Case, read_latency: int) -> list[int]:
    """Cycle by cycle: the beat goes to the first unit in BUS_PRIORITY whose oldest burst is ready."""
    queues: dict[int, list[list[int]]] = {unit: [] for unit in range(4)}  # [index, ready, beats left]
    for k, r in enumerate(case.requests):
        queues[r.id].append([k, r.cycle + (WRITE_SETUP if r.write else read_latency), r.beats])
    over, now = [-1] * len(case.requests), 0
    while any(queues.values()):
        for unit in BUS_PRIORITY:
            if queues[unit] and queues[unit][0][1] <= now:
                queues[unit][0][2] -= 1
                if queues[unit][0][2] == 0:
                    over[queues[unit].pop(0)[0]] = now
                break
        now += 1
    return over


def in_place(case: Case, k: int) -> slice:
    begin = case.requests[k].address - BUS_BASE
    return slice(begin, begin + case.requests[k].beats * BEAT)


def check_data(case: Case, before: np.ndarray, played: Played, where: str) -> None:
    for k, request in enumerate(case.requests):
        expected = case.written[k] if request.write else before[in_place(case, k)]
        found = case.dram[in_place(case, k)] if request.write else played.data[k]
        np.testing.assert_array_equal(found, expected, err_msg=f"{where}, request {k}")
    assert not played.response.any(), where


@pytest.mark.parametrize("seed", range(30))
def test_every_beat_in_its_cycle(bench: ctypes.CDLL, seed: int) -> None:
    rng = np.random.default_rng(seed)
    case, latency, write_latency = random_case(rng), int(rng.integers(1, 60)), int(rng.integers(1, 40))
    before = case.dram.copy()
    played = play(bench, case, config_of(MemoryModel(latency, write_latency), outstanding=1000))
    assert played.error == ""
    assert played.taken.tolist() == [r.cycle for r in case.requests], f"seed {seed}"
    assert played.over.tolist() == expected_over(case, latency), f"seed {seed}"
    writes = np.array([bool(r.write) for r in case.requests])
    np.testing.assert_array_equal(played.answered[writes], played.over[writes] + write_latency)
    check_data(case, before, played, f"seed {seed}")


@pytest.mark.parametrize("seed", range(30))
def test_stress_moves_the_same_data(bench: ctypes.CDLL, seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    case = random_case(rng)
    before = case.dram.copy()
    model = MemoryModel(pauses=int(rng.integers(50, 900)), extra_latency=int(rng.integers(0, 200)), seed=seed)
    played = play(bench, case, config_of(model, outstanding=1000))
    assert played.error == ""
    assert played.cycles < LIMIT
    check_data(case, before, played, f"seed {seed}")
    for unit in range(4):
        mine = [played.over[k] for k, r in enumerate(case.requests) if r.id == unit]
        assert mine == sorted(mine), f"seed {seed}: bursts of one ID out of order"


def test_stress_shows_a_write_only_when_it_is_answered(bench: ctypes.CDLL) -> None:
    """A read requested before the response gets what was there before: a core that does not wait would be found out."""
    case = Case(
        [Request(0, BUS_BASE, 1, STORE, 1, 3), Request(20, BUS_BASE, 1, 1, 0, 3)],
        [np.full(8, 99, np.uint8), np.zeros(8, np.uint8)],
    )
    before = case.dram[:8].copy()
    played = play(bench, case, config_of(MemoryModel(read_latency=1, write_latency=500, pauses=1, seed=1)))
    assert played.taken[1] < played.answered[0]
    np.testing.assert_array_equal(played.data[1], before)
    assert (case.dram[:8] == 99).all()


def test_faults_are_answered_where_they_are(bench: ctypes.CDLL) -> None:
    requests = [
        Request(0, BUS_BASE + 64, 4, 1, 0, 3),
        Request(1, BUS_BASE + 128, 4, 1, 0, 3),
        Request(0, BUS_BASE + 64, 4, STORE, 1, 3),
        Request(2, BUS_BASE + BYTES, 2, 2, 0, 3),
        Request(3, BUS_BASE - 8, 1, 2, 0, 3),
    ]
    case = Case(requests, [np.full(r.beats * BEAT, 7, np.uint8) for r in requests])
    fault = BusFault(72, 80, Response.SLVERR, reads=True, writes=False)
    played = play(bench, case, config_of(MemoryModel(fault=fault)))
    assert played.error == ""
    assert played.response.tolist() == [Response.SLVERR, 0, 0, Response.DECERR, Response.DECERR]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(0, BUS_BASE, 17, 1, 0, 3), "longer than `max_burst`"),
        (Request(0, BUS_BASE + 4096 - 16, 4, 1, 0, 3), "crosses 4 KiB"),
        (Request(0, BUS_BASE + 4096 - 16, 4, STORE, 1, 3), "crosses 4 KiB"),
        (Request(0, BUS_BASE, 2, 1, 0, 2), "another size"),
    ],
)
def test_breaches_are_named(bench: ctypes.CDLL, request_: Request, words: str) -> None:
    played = play(bench, Case([request_], [np.zeros(request_.beats * BEAT, np.uint8)]), config_of(MemoryModel()))
    assert words in played.error


def test_more_than_outstanding_is_named(bench: ctypes.CDLL) -> None:
    case = Case([Request(k, BUS_BASE, 1, 1, 0, 3) for k in range(9)], [np.zeros(8, np.uint8)] * 9)
    assert "outstanding" in play(bench, case, config_of(MemoryModel())).error
