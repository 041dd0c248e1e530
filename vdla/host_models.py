"""Models of the processors beside an accelerator: how long an operator would take there, as an estimate that is stated as one.

A design names its host (`board.host`); the table says what is assumed of it, and where each figure is from. The estimate is a
roofline: arithmetic or memory, whichever takes longer, and what it costs to call a kernel at all.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from vdla.errors import DesignError

SHARE_OF_PEAK = 0.5
"""Of a core's multiply-accumulates that a good kernel reaches: an assumption, between gemm (more) and depthwise (less)."""


@dataclass(frozen=True, slots=True)
class HostModel:
    """float_macs, int8_macs: multiply-accumulates of one core a cycle, at most. lanes: float32 elements in one operation.

    memory_gbs: GB/s that all cores together sustain. call_us: to call a kernel, which wakes the
    other cores. start_us: to start a program of the accelerator
    and learn that it is over. source: where the figures are from.
    """

    name: str
    about: str
    cores: int
    clock_mhz: float
    float_macs: float
    int8_macs: float
    lanes: int
    memory_gbs: float
    call_us: float
    start_us: float
    source: str


_TABLE = (
    HostModel(
        "cortex-a9", "two cores of a Zynq-7020, as on a PYNQ-Z1",
        cores=2, clock_mhz=650, float_macs=2, int8_macs=4, lanes=2, memory_gbs=0.7, call_us=10, start_us=30,
        source="clock and 2.1 GB/s of DDR3 pins: PYNQ-Z1 reference manual; a third of them, since a Cortex-A9 keeps few line "
        "fills in flight (assumed). NEON issues half a 128-bit operation a cycle (Cortex-A9 NEON MPE manual, DDI 0409): two "
        "float MACs; int8 by VMULL, VMLAL and VPADAL, 16 in 4 cycles. Calls and starts under Linux: assumed.",
    ),
    HostModel(
        "cortex-a53", "four cores of a Zynq UltraScale+, as on a K26 module",
        cores=4, clock_mhz=1333, float_macs=4, int8_macs=5, lanes=4, memory_gbs=14.4, call_us=5, start_us=15,
        source="19.2 GB/s of DDR4 pins: K26 data sheet, DS987; 3/4 of them, as TI measures by STREAM on its Cortex-A53 "
        "(SPRAD45). One 128-bit operation a cycle: four float MACs; int8 by SMULL, SMLAL2 and SADALP, 16 in 3 cycles. Calls "
        "and starts: assumed.",
    ),
    HostModel(
        "cortex-a72", "four cores at 1.5 GHz on 32-bit LPDDR4-3200, as on a Raspberry Pi 4",
        cores=4, clock_mhz=1500, float_macs=4, int8_macs=8, lanes=4, memory_gbs=6.4, call_us=5, start_us=15,
        source="12.8 GB/s of LPDDR4 pins, half of them (assumed). One 128-bit FMLA a cycle; int8 by SMULL, SMLAL2 and SADALP "
        "on two pipes, 16 in 2 cycles. Calls and starts: assumed.",
    ),
    HostModel(
        "x86-64-v3", "eight cores with AVX2 at 3 GHz on two channels of DDR4-3200",
        cores=8, clock_mhz=3000, float_macs=16, int8_macs=32, lanes=8, memory_gbs=38, call_us=2, start_us=10,
        source="two 256-bit FMAs a cycle; int8 by VPMADDUBSW, VPMADDWD and VPADDD, 32 a cycle on two pipes; 3/4 of 51.2 GB/s "
        "of pins. Calls and starts: assumed.",
    ),
)  # fmt: skip
HOST_MODELS = {model.name: model for model in _TABLE}
DEFAULT_HOST = "cortex-a53"
"""What estimates are made for when a design names no host."""


def host_model(name: str) -> HostModel:
    """Raises `DesignError` for a host without a model, naming those there are."""
    if name not in HOST_MODELS:
        near = difflib.get_close_matches(name, HOST_MODELS, n=1)
        hint = f"did you mean {near[0]}?" if near else ""
        raise DesignError("no such host model", found=name, expected=" or ".join(HOST_MODELS), hint=hint)
    return HOST_MODELS[name]


def arithmetic_seconds(host: HostModel, macs: float, operations: float, floats: bool) -> float:
    """On all cores."""
    cycles = macs / ((host.float_macs if floats else host.int8_macs) * SHARE_OF_PEAK) + operations / host.lanes
    return cycles / (host.cores * host.clock_mhz * 1e6)


def memory_seconds(host: HostModel, size: float) -> float:
    """`size` bytes, read or written."""
    return size / (host.memory_gbs * 1e9)


def kernel_seconds(host: HostModel, macs: float, operations: float, size: float, floats: bool) -> float:
    """One call: arithmetic or memory, whichever takes longer, and the call."""
    return max(arithmetic_seconds(host, macs, operations, floats), memory_seconds(host, size)) + host.call_us * 1e-6
