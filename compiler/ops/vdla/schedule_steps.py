"""Schedule steps that VDLA's kernels share."""

from __future__ import annotations

from collections.abc import Mapping

from vdla.compiler.ir.nodes import Function, Var
from vdla.compiler.schedule.schedule import Schedule
from vdla.compiler.schedule.tensor_intrinsic import TensorIntrinsic

Intrinsics = Mapping[str, TensorIntrinsic]


def widen(s: Schedule, stage: str, loop: Var) -> dict[str, str]:
    """Schedule a stage of `expressions.widened`: its identity tile loaded at `loop`, one micro-op for each tile. Returns what
    to tensorise; the reset disappears into an overwriting micro-op."""
    identity = s.cache_read(stage, "identity", "vdla.wgt")
    s.compute_at(identity, loop)
    own = s.loops(stage)[-len(s.get(stage).iters) :]
    reset = s.decompose_reduction(stage, own[0])
    return {identity: "load.wgt", stage: "gemm", reset: "gemm_reset"}


def cache_parameters(s: Schedule, stage: str, source: str, loop: Var) -> str:
    """Load a stage's parameters into acc at `loop`. Returns the load's block."""
    block = s.cache_read(stage, source, "vdla.acc")
    s.compute_at(block, loop)
    return block


def take_up_table(s: Schedule) -> dict[str, str]:
    """Schedule the stages of `expressions.table_levels`, once, before all else. Returns what to tensorise."""
    s.set_scope("table_wide", "vdla.acc")
    s.set_scope("levels", "vdla.table")
    return {"table_wide": "load.out", "levels": "tabulate"}


def load(memory: str, padded: bool) -> str:
    """The intrinsic that fills `memory`, with padding or without."""
    return f"load_padded.{memory}" if padded else f"load.{memory}"


def tensorized(s: Schedule, operations: Mapping[str, str], intrinsics: Intrinsics) -> Function:
    """The function with each block replaced by the intrinsic named for it."""
    for block, operation in operations.items():
        s.tensorize(block, intrinsics[operation])
    return s.func
