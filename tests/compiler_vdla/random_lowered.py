"""Random lowered functions, hand-built from the IR: any legal nest of VDLA intrinsics, however irregular.

Everything is loaded first and stored last; in between come nests with random loops, guards (also ones that are no box),
indices (affine, reversed, divided, modulo), operands that overlap, and outer loops around several nests.
"""

from __future__ import annotations

import numpy as np

from vdla.compiler import ir

TILE = {"vdla.acc": (1, 4), "vdla.inp": (1, 4), "vdla.wgt": (4, 4)}
BINARY = ("min", "max", "add", "mul")
IMMEDIATES = (3, -7, 0, 40_000, -(1 << 30))


def tile(buffer: ir.Buffer, *starts: ir.Expr) -> ir.Region:
    """One tile of a buffer whose last two dimensions are a tile."""
    lead = len(buffer.shape) - 2
    zero = ir.Const(0)
    return ir.Region(buffer, (*starts, zero, zero), (1,) * lead + buffer.shape[-2:])


class Builder:
    """One function. Buffers have a single leading dimension of `size` tiles."""

    def __init__(self, seed: int) -> None:
        self.rng, self.names = np.random.default_rng(seed), 0
        self.params: list[ir.Buffer] = []
        self.acc = [self.buffer(f"a{k}", "vdla.acc", self.pick(6, 14)) for k in range(self.pick(2, 4))]
        self.inp = self.buffer("i", "vdla.inp", self.pick(4, 12))
        self.wgt = self.buffer("w", "vdla.wgt", self.pick(4, 12))
        self.parameters = ir.Buffer("p", (3, 2, 1, 4), "int32", "vdla.acc")

    def pick(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def buffer(self, name: str, scope: str, size: int) -> ir.Buffer:
        return ir.Buffer(name, (size, *TILE[scope]), "int32" if scope == "vdla.acc" else "int8", scope)

    def var(self) -> ir.Var:
        self.names += 1
        return ir.Var(f"v{self.names}")

    # -- indices ----------------------------------------------------------------------------------------------------------

    def index(self, loops: dict[ir.Var, int], size: int) -> ir.Expr:
        """An expression over some of the loops, always in 0 … size-1."""
        expr: ir.Expr = ir.Const(self.pick(0, size - 1))
        low = high = expr.value  # type: ignore[attr-defined]
        for var, extent in loops.items():
            if self.chance(0.35):
                continue
            coefficient = self.pick(-2, 3)
            term: ir.Expr = var
            reach = extent - 1
            if self.chance(0.15):
                term, reach = var // 2, (extent - 1) // 2
            expr = expr + term * coefficient
            low, high = low + min(0, coefficient * reach), high + max(0, coefficient * reach)
        return expr if 0 <= low <= high < size else expr % size

    def condition(self, loops: dict[ir.Var, int]) -> ir.Expr:
        total: ir.Expr = ir.Const(0)
        for var in loops:
            total = total + var * self.pick(0, 2)
        test = total < self.pick(1, 5)
        return ir.Binary("or", test, total % 3 > 0) if self.chance(0.3) else test

    # -- statements -------------------------------------------------------------------------------------------------------

    def operation(self, loops: dict[ir.Var, int]) -> ir.Stmt:
        def at(buffer: ir.Buffer) -> ir.Region:
            return tile(buffer, self.index(loops, buffer.shape[0]))

        dst, x, y = (self.acc[self.pick(0, len(self.acc) - 1)] for _ in range(3))
        kind = self.pick(0, 9)
        if kind <= 2:
            return ir.Intrinsic("vdla.gemm", (at(dst), at(self.inp), at(self.wgt)))
        if kind == 3:
            return ir.Intrinsic("vdla.gemm_reset", (at(dst),))
        region = at(dst)
        first = region if self.chance(0.5) else at(x)
        imm: ir.Attributes = (("imm", IMMEDIATES[self.pick(0, len(IMMEDIATES) - 1)]),)
        op = BINARY[self.pick(0, 3)]
        if kind == 4:
            return ir.Intrinsic(f"vdla.alu.{op}", (region, first), imm)
        if kind == 5:
            return ir.Intrinsic(
                f"vdla.alu.{'shl' if self.chance(0.5) else 'shr'}", (region, first), (("imm", self.pick(0, 9)),)
            )
        if kind == 6:
            bounds = (("high", self.pick(0, 127)), ("low", -128)) if self.chance(0.6) else (("high", 70_000), ("low", -500))
            return ir.Intrinsic("vdla.alu.clip", (region, first), bounds)
        if kind == 7:
            block = self.index(loops, 3)
            parameters = (tile(self.parameters, block, ir.Const(0)), tile(self.parameters, block, ir.Const(1)))
            if self.chance(0.5):
                return ir.Intrinsic("vdla.alu.rescale", (region, first, *parameters))
            low = -100 if self.chance(0.7) else -1000
            return ir.Intrinsic("vdla.alu.requantise", (region, first, *parameters), (("high", 99), ("low", low)))
        if kind == 8:
            return (
                ir.Intrinsic("vdla.alu.mov", (region, at(y)))
                if self.chance(0.5)
                else ir.Intrinsic("vdla.alu.mov", (region,), imm)
            )
        return ir.Intrinsic(f"vdla.alu.{op}", (region, first, at(y)))

    def nest(self, outer: dict[ir.Var, int]) -> ir.Stmt:
        own = {self.var(): self.pick(1, 4) for _ in range(self.pick(0, 3))}
        operation = self.operation({**outer, **own})
        guards = [
            self.condition({**outer, **dict(list(own.items())[: k + 1])}) if self.chance(0.2) else None for k in range(len(own))
        ]
        if not isinstance(operation, ir.Intrinsic) or operation.name != "vdla.gemm" or self.chance(0.3):
            return self.loops(own, guards, operation)
        reset = ir.Intrinsic("vdla.gemm_reset", operation.operands[:1])  # what GEMMs mostly begin with
        return ir.seq(self.loops(own, guards, reset), self.loops(own, guards, operation))

    def loops(self, own: dict[ir.Var, int], guards: list[ir.Expr | None], stmt: ir.Stmt) -> ir.Stmt:
        for (var, extent), guard in reversed(list(zip(own.items(), guards, strict=True))):
            stmt = ir.For(var, extent, stmt if guard is None else ir.If(guard, stmt))
        return stmt

    def group(self) -> ir.Stmt:
        """Several nests, perhaps in a loop around them, perhaps under a guard with an alternative."""
        if self.chance(0.4):
            return self.nest({})
        var, extent = self.var(), self.pick(1, 3)
        body = ir.seq(*(self.nest({var: extent}) for _ in range(self.pick(1, 3))))
        if self.chance(0.3):
            body = ir.If(self.condition({var: extent}), body, self.nest({var: extent}))
        return ir.For(var, extent, body)

    def load(self, buffer: ir.Buffer) -> ir.Stmt:
        lead = buffer.shape[:-2]
        param = ir.Buffer(f"{buffer.name}_in", buffer.shape, buffer.dtype)
        self.params.append(param)
        loops = [self.var() for _ in lead]
        predicate = self.condition(dict(zip(loops, lead, strict=True))) if len(lead) == 1 and self.chance(0.4) else None
        attributes: ir.Attributes = (("pad_value", self.pick(-5, 5)),) if predicate is not None else ()
        stmt: ir.Stmt = ir.Intrinsic("vdla.load", (tile(buffer, *loops), tile(param, *loops)), attributes, predicate)
        for var, extent in zip(reversed(loops), reversed(lead), strict=True):
            stmt = ir.For(var, extent, stmt)
        return stmt

    def store(self, buffer: ir.Buffer) -> ir.Stmt:
        param = ir.Buffer(f"{buffer.name}_out", buffer.shape, "int8")
        self.params.append(param)
        var = self.var()
        order: ir.Expr = var if self.chance(0.7) else buffer.shape[0] - 1 - var
        return ir.For(var, buffer.shape[0], ir.Intrinsic("vdla.store", (tile(param, order), tile(buffer, order))))

    def function(self, seed: int) -> ir.Function:
        buffers = [*self.acc, self.inp, self.wgt, self.parameters]
        loads = [self.load(b) for b in buffers]
        work = [self.group() for _ in range(self.pick(1, 6))]
        stored = [b for b in self.acc if self.chance(0.6)] or self.acc[:1]  # the others may die early
        body = ir.seq(*loads, *work, *(self.store(b) for b in stored))
        for buffer in buffers:
            body = ir.Allocate(buffer, body)
        return ir.Function(f"random_{seed}", tuple(self.params), body, output_count=len(stored))


def random_lowered(seed: int) -> tuple[ir.Function, dict[str, np.ndarray]]:
    """A lowered function and inputs by name. Scale words multiply by 2⁻⁵ … 2³."""
    func = Builder(seed).function(seed)
    rng = np.random.default_rng(seed + 1)
    arrays = {}
    for param in func.params[: -func.output_count]:
        low, high = (-128, 128) if param.dtype == "int8" else (-3000, 3000)
        arrays[param.name] = rng.integers(low, high, param.shape).astype(param.dtype)
        if param.name == "p_in":
            arrays[param.name][:, 1] = rng.integers(0, 1 << 18, (3, 1, 4)) | rng.integers(16, 24) << 18
    return func, arrays
