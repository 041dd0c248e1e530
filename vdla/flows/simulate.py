"""`vdla simulate`: programs on the simulator, with generated inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import TensorType
from vdla.device import DeviceResult, Profile
from vdla.flows.inputs import generated_inputs
from vdla.isa.program import Program
from vdla.sim.device import Simulator


def simulate_programs(
    programs: Sequence[Program], *, seed: int = 0, functional: bool = True, sanitize: bool = False
) -> list[DeviceResult]:
    """Run each program on its own design. Without `functional` only cycles are computed, and no inputs are needed."""
    results = []
    for program in programs:
        simulator = Simulator(program.design, sanitize=sanitize)
        if functional or sanitize:
            types = {slot.name: TensorType(slot.shape, slot.dtype) for slot in program.inputs}
            results.append(simulator.run(program, generated_inputs(types, seed)))
        else:
            results.append(DeviceResult({}, simulator.timing_only(program)))
    return results


def simulation_documents(programs: Sequence[Program], results: Sequence[DeviceResult]) -> list[dict[str, Any]]:
    """The JSON of each program's run."""
    documents = []
    for program, result in zip(programs, results, strict=True):
        profile = result.profile
        assert profile is not None
        documents.append(
            {
                "design": program.design.name,
                "instructions": len(program.words),
                "cycles": profile.cycles,
                "ms": profile.cycles / (program.design.clock_mhz * 1e3),
                "units": {u: {"busy": p.busy, "stalls": dict(p.stalls)} for u, p in profile.units.items()},
                "layers": [
                    {
                        "name": layer.name,
                        "cycles": layer.cycles,
                        "busy": {u: p.busy for u, p in layer.units.items()},
                        "stalls": dict(layer.units["compute"].stalls),
                        "dram_bytes": sum(layer.dram_bytes.values()),
                    }
                    for layer in profile.layers
                ],
                "outputs": {name: _digest(value) for name, value in result.outputs.items()},
                "warnings": list(result.warnings),
            }
        )
    return documents


def _digest(value: np.ndarray) -> dict[str, Any]:
    """Enough to compare two runs by eye."""
    return {"shape": list(value.shape), "dtype": str(value.dtype), "sum": int(value.sum(dtype=np.int64))}


def trace_text(programs: Sequence[Program], profiles: Sequence[Profile]) -> str:
    """One Chrome/Perfetto trace (JSON) of all programs, one after another."""
    from vdla.sim.trace import trace_json

    return trace_json(list(zip(programs, profiles, strict=True)))
