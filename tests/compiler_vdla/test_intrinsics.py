"""The intrinsic table: each pattern is what the intrinsic does, and tensor expressions reach it by tensorize."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from vdla_harness import TINY, assert_exact

from vdla.compiler import ir, te
from vdla.compiler.backends.vdla.emit import emit
from vdla.compiler.backends.vdla.intrinsics import vdla_intrinsics
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.passes import lower
from vdla.compiler.schedule import Schedule
from vdla.isa.definition import AluOp, Opcode
from vdla.isa.semantics import pack_scale

TABLE = vdla_intrinsics(TINY)
HOLES = {"imm": 3, "low": -20, "high": 30, "pad_value": -7, "predicate": True}


def with_holes_filled(func: ir.Function) -> ir.Function:
    """The pattern with its holes filled."""
    values = {v: ir.Const(int(HOLES[v.name]), v.dtype) for v in holes_of(func)}
    return ir.Function(func.name, func.params, ir.substitute_stmt(func.body, values))


def holes_of(func: ir.Function) -> list[ir.Var]:
    bound = {s.var for s in ir.walk_stmt(func.body) if isinstance(s, ir.For)}
    used = [e for s in ir.walk_stmt(func.body) for x in ir.stmt_exprs(s) for e in ir.walk_expr(x) if isinstance(e, ir.Var)]
    return [v for v in dict.fromkeys(used) if v not in bound]


@pytest.mark.parametrize("key", [k for k in TABLE if k != "requantise"])
def test_pattern_and_intrinsic_agree(key: str) -> None:
    """Interpret the pattern's loops and the intrinsic by itself on the same tiles."""
    intrinsic, rng = TABLE[key], np.random.default_rng(5)
    pattern = with_holes_filled(intrinsic.pattern)
    regions = tuple(ir.Region(b, (ir.Const(0),) * len(b.shape), b.shape) for b in intrinsic.operands)
    names = {h.name for h in intrinsic.holes} - {"predicate"}
    attributes = tuple(sorted((n, int(HOLES[n])) for n in names))
    alone = ir.Function(pattern.name, pattern.params, ir.Intrinsic(intrinsic.name, regions, attributes))
    arrays = {p.name: rng.integers(-100, 100, p.shape).astype(p.dtype) for p in pattern.params[:-1]}
    if "scale" in arrays:
        arrays["scale"] = pack_scale(rng.integers(1 << 18, 1 << 19, arrays["scale"].shape), np.array(17), np.array(1))
    if key == "shl":
        arrays["y"] = np.abs(arrays["y"]) % 32
    np.testing.assert_array_equal(interpret(alone, arrays)[0], interpret(pattern, arrays)[0])


OPERATIONS: dict[str, tuple[Callable[[ir.Expr, ir.Expr], ir.Expr], AluOp]] = {
    "min": (lambda a, b: ir.Binary("min", a, b), AluOp.MIN),
    "max": (lambda a, b: ir.Binary("max", a, b), AluOp.MAX),
    "add": (lambda a, b: a + b, AluOp.ADD),
    "mul": (lambda a, b: a * b, AluOp.MUL),
    "min_imm": (lambda a, b: ir.Binary("min", a, ir.Const(9)), AluOp.MIN),
    "max_imm": (lambda a, b: ir.Binary("max", a, ir.Const(0)), AluOp.MAX),
    "add_imm": (lambda a, b: a + 12, AluOp.ADD),
    "mul_imm": (lambda a, b: a * 70_000, AluOp.MUL),
    "shl_imm": (lambda a, b: ir.Binary("shl", a, ir.Const(3)), AluOp.SHL),
    "clip": (lambda a, b: ir.Binary("min", ir.Binary("max", a, ir.Const(-5)), ir.Const(60)), AluOp.CLIP),
}


@pytest.mark.parametrize("key", OPERATIONS)
def test_expressions_reach_the_alu(key: str) -> None:
    """y = op(a, b) over tiles, through schedule, tensorize, lower, emit and the machine's semantics."""
    make, op = OPERATIONS[key]
    shape = (7, 1, 4)
    a, b = te.placeholder(shape, "int8", "a"), te.placeholder(shape, "int8", "b")
    operands = [a] if key.endswith("_imm") or key == "clip" else [a, b]
    wide = [te.compute(shape, lambda *at, x=x: te.cast(x[at], "int32"), f"{x.name}_wide") for x in operands]
    result = te.compute(shape, lambda *at: make(wide[0][at], wide[-1][at]), "result")
    func = te.create_function(key, operands, [te.compute(shape, lambda *at: te.cast(result[at], "int8"), "y")])
    s = Schedule(func)
    outer, _ = s.split(s.loops("y")[0], [None, 3])
    for block in ("result", *(f"{x.name}_wide" for x in operands)):
        s.compute_at(block, outer)
        s.set_scope(block, "vdla.acc")
    for x in operands:
        s.tensorize(f"{x.name}_wide", TABLE["load.out"])
    s.tensorize("result", TABLE[key])
    s.tensorize("y", TABLE["store"])
    lowered = lower(s.func, every_pass=True)
    rng = np.random.default_rng(11)
    assert_exact(lowered, {x.name: rng.integers(-128, 128, shape, dtype=np.int8) for x in operands}, key)
    columns = emit(lowered, TINY).columns
    assert op in columns["alu_op"][columns["opcode"] == Opcode.ALU]
