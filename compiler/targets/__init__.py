"""The targets a network can be placed on, in one registry: see `backend` for what a target is."""

from vdla.compiler.targets import cpu, vdla
from vdla.compiler.targets.backend import (
    Backend,
    Bound,
    BuildOptions,
    Placed,
    Run,
    Runner,
    Step,
    StepResult,
    Verdict,
    backend_of,
    have_programs,
    host,
    register,
    registered,
    target_names,
)

__all__ = [
    "Backend", "Bound", "BuildOptions", "Placed", "Run", "Runner", "Step", "StepResult", "Verdict", "backend_of",
    "have_programs", "host", "register", "registered", "target_names",
]  # fmt: skip

for _backend in (vdla.BACKEND, cpu.BACKEND):
    register(_backend)
