"""Random lowered functions: loops of every kind, padded, strided and indirect reads, guards, temporaries and sums."""

from __future__ import annotations

import random

import numpy as np

from vdla.compiler import ir
from vdla.compiler.ir.element_types import INTEGERS, NARROW, NARROW_FLOATS
from vdla.element_types import ELEMENT_TYPES, numpy_dtype

KINDS = ("serial", "serial", "vectorized", "vectorized", "unrolled", "parallel")
EXACT = ("bool", *INTEGERS, *NARROW)
"""Types in which machine code must agree bit for bit."""


class LoopMaker:
    """One function from one seed. `dtypes` are those its buffers may have."""

    def __init__(self, seed: int, dtypes: tuple[str, ...]) -> None:
        self.random = random.Random(seed)
        self.dtypes = dtypes
        self.counter = 0

    def name(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def function(self) -> ir.Function:
        r = self.random
        shape = tuple(r.choice((1, 2, 3, 5, 16, 17, 33, 70)) for _ in range(r.choice((1, 2, 2, 3))))
        shape = shape if np.prod(shape) <= 4000 else shape[:2]
        inputs = [
            ir.Buffer(self.name("x"), tuple(r.choice((1, 2, 7, 19)) for _ in range(r.choice((1, 2)))), r.choice(self.dtypes))
            for _ in range(2)
        ]
        output = ir.Buffer("out", shape, r.choice(self.dtypes))
        if r.random() < 0.4:
            middle = ir.Buffer("middle", shape, r.choice(self.dtypes))
            body: ir.Stmt = ir.Allocate(middle, ir.seq(self.stage(middle, inputs), self.stage(output, [*inputs, middle])))
        else:
            body = self.stage(output, inputs)
        return ir.Function("random", (*inputs, output), body)

    def stage(self, target: ir.Buffer, sources: list[ir.Buffer]) -> ir.Stmt:
        """Write every element of `target` once, perhaps as a sum, its last axis perhaps split with a guarded tail."""
        r = self.random
        axes = [ir.Var(self.name("i")) for _ in target.shape]
        loops = list(zip(axes, target.shape, strict=True))
        element: list[ir.Expr] = list(axes)
        guard: ir.Expr | None = None
        if r.random() < 0.5:
            factor = r.choice((2, 4, 8, 16))
            outer, inner = ir.Var(self.name("o")), ir.Var(self.name("v"))
            loops[-1:] = [(outer, -(-target.shape[-1] // factor)), (inner, factor)]
            element[-1] = outer * factor + inner
            guard = element[-1] < target.shape[-1] if target.shape[-1] % factor else None
        variables = [v for v, _ in loops]
        body: ir.Stmt = ir.Store(target, tuple(element), self.expr(target.dtype, variables, sources, 3))
        if r.random() < 0.4 and target.dtype not in ("bool", *NARROW):
            k, extent = ir.Var(self.name("k")), r.choice((1, 3, 8))
            total = ir.Binary("add", ir.Load(target, tuple(element)), self.expr(target.dtype, [*variables, k], sources, 2))
            kind = r.choice(("serial", "unrolled"))
            body = ir.seq(body, ir.For(k, extent, ir.Store(target, tuple(element), total), kind))
        body = body if guard is None else ir.If(guard, body)
        for var, extent in reversed(loops):
            body = ir.For(var, extent, body, r.choice(KINDS))
        return body

    def expr(self, dtype: str, variables: list[ir.Var], sources: list[ir.Buffer], depth: int) -> ir.Expr:
        r = self.random
        if depth == 0 or r.random() < 0.15:
            return self.leaf(dtype, variables, sources)
        operand = lambda: self.expr(dtype, variables, sources, depth - 1)  # noqa: E731
        if dtype == "bool":
            return ir.Binary(r.choice(("and", "or")), operand(), operand())
        choice = r.random()
        if dtype in NARROW:  # neither arithmetic nor order
            if choice < 0.5:
                return ir.Select(self.condition(variables, sources, depth - 1), operand(), operand())
            return ir.Cast(dtype, self.expr(r.choice(self.dtypes), variables, sources, depth - 1))
        if choice < 0.5:
            bits = ("shl", "shr", "bit_and", "bit_or", "bit_xor")
            ops = ("add", "sub", "mul", "min", "max") + (bits if dtype in INTEGERS else ())
            return ir.Binary(r.choice(ops), operand(), operand())
        if choice < 0.6 and dtype in INTEGERS:
            return self.division(dtype, operand(), operand())
        if choice < 0.75:
            return ir.Select(self.condition(variables, sources, depth - 1), operand(), operand())
        if choice < 0.85:
            other = r.choice([d for d in self.dtypes if d != "bool"])
            if dtype in INTEGERS and other not in EXACT:
                return operand()
            return ir.Cast(dtype, self.expr(other, variables, sources, depth - 1))
        if dtype == "int32" and r.random() < 0.5:
            op = r.choice(("requantise", "rescale"))
            attributes = (("high", 100), ("low", -90)) if op == "requantise" else ()
            return ir.Call(op, (operand(), operand(), operand()), "int32", attributes)
        if dtype in ("float32", "float64"):
            return ir.Call(r.choice(("tanh", "sigmoid", "abs", "floor", "round_even", "ceil")), (operand(),), dtype)
        return operand()

    def division(self, dtype: str, a: ir.Expr, b: ir.Expr) -> ir.Expr:
        """By a constant of either sign, or by `b` where that is not 0."""
        r, op = self.random, self.random.choice(("floordiv", "floormod"))
        if r.random() < 0.5:
            divisors = (1, 2, 3, 7, 16) + ((-1, -2, -5) if ELEMENT_TYPES[dtype].signed else ())
            return ir.Binary(op, a, ir.Const(r.choice(divisors), dtype))
        return ir.Select(ir.Binary("ne", b, ir.Const(0, dtype)), ir.Binary(op, a, b), ir.Const(3, dtype))

    def condition(self, variables: list[ir.Var], sources: list[ir.Buffer], depth: int) -> ir.Expr:
        r = self.random
        if r.random() < 0.5:
            return ir.Binary(r.choice(("lt", "le", "gt", "ge", "eq", "ne")), self.index(variables), ir.Const(r.randrange(12)))
        if r.random() < 0.2 and (narrow := [d for d in self.dtypes if d in NARROW]):
            dtype = r.choice(narrow)
            sides = (self.expr(dtype, variables, sources, depth), ir.Const(r.randrange(2), dtype))
            return ir.Binary(r.choice(("eq", "ne")), *sides)
        dtype = r.choice([d for d in self.dtypes if d in INTEGERS] or ["int32"])
        return ir.Binary(
            r.choice(("lt", "ge", "eq", "ne")), self.expr(dtype, variables, sources, depth), ir.Const(r.randrange(5), dtype)
        )

    def index(self, variables: list[ir.Var]) -> ir.Expr:
        r = self.random
        index: ir.Expr = r.choice(variables)
        for _ in range(r.randrange(3)):
            other: ir.Expr = r.choice((r.choice(variables), ir.Const(r.randrange(-3, 9))))
            index = ir.Binary(r.choice(("add", "sub", "add")), index, other * r.choice((1, 1, 2, 5)))
        if r.random() < 0.3:
            index = ir.Binary(r.choice(("floordiv", "floormod")), index, ir.Const(r.choice((2, 3, 8))))
        return index

    def leaf(self, dtype: str, variables: list[ir.Var], sources: list[ir.Buffer]) -> ir.Expr:
        r = self.random
        buffers = [b for b in sources if b.dtype == dtype]
        if buffers and r.random() < 0.7:
            buffer = r.choice(buffers)
            if r.random() < 0.25 and any(d in INTEGERS for d in self.dtypes):
                return self.indirect(buffer, variables, sources)
            indices = tuple(self.index(variables) for _ in buffer.shape)
            if r.random() < 0.4:
                return ir.Load(
                    buffer, tuple(ir.Binary("floormod", i, ir.Const(n)) for i, n in zip(indices, buffer.shape, strict=True))
                )
            inside = ir.all_of([c for i, n in zip(indices, buffer.shape, strict=True) for c in (i >= 0, i < n)])
            return ir.Select(inside, ir.Load(buffer, indices), ir.Const(r.randrange(2 if dtype in NARROW else 5), dtype))
        if r.random() < 0.3:
            return ir.Cast(dtype, r.choice(variables)) if dtype != "int32" else r.choice(variables)
        if dtype in NARROW:
            return ir.Const(r.randrange(2), dtype)
        return ir.Const(r.randrange(2) if dtype == "bool" else r.randrange(-3 if ELEMENT_TYPES[dtype].signed else 0, 9), dtype)

    def indirect(self, buffer: ir.Buffer, variables: list[ir.Var], sources: list[ir.Buffer]) -> ir.Expr:
        """A load whose first index depends on data, clamped, or guarded by a comparison."""
        r, size = self.random, buffer.shape[0]
        dtype = r.choice([d for d in self.dtypes if d in INTEGERS])
        data, zero = self.expr(dtype, variables, sources, 1), ir.Const(0, dtype)
        others = tuple(ir.Binary("floormod", self.index(variables), ir.Const(n)) for n in buffer.shape[1:])
        if r.random() < 0.6:
            clamped = ir.Binary("min", ir.Binary("max", data, zero), ir.Const(size - 1, dtype))
            return ir.Load(buffer, (clamped, *others))
        inside = ir.Binary("and", data >= zero, data < ir.Const(size, dtype))
        return ir.Select(inside, ir.Load(buffer, (data, *others)), ir.Const(1, buffer.dtype))


def random_inputs(func: ir.Function, seed: int) -> list[np.ndarray]:
    """Arrays for the inputs: all of an integer's or a narrow type's range, other floats of moderate size."""
    rng = np.random.default_rng(seed)
    arrays = []
    for p in func.params[:-1]:
        if p.dtype in NARROW:
            bits = rng.integers(0, 1 << ELEMENT_TYPES[p.dtype].bits, p.shape)
            arrays.append(bits.astype(f"uint{8 * ELEMENT_TYPES[p.dtype].item_bytes}").view(numpy_dtype(p.dtype)))
        elif p.dtype.startswith("float"):
            arrays.append((rng.standard_normal(p.shape) * 3).astype(p.dtype))
        elif p.dtype == "bool":
            arrays.append(rng.integers(0, 2, p.shape).astype(bool))
        else:
            limits = np.iinfo(p.dtype)
            arrays.append(rng.integers(limits.min, limits.max, p.shape, p.dtype, endpoint=True))
    return arrays


def comparable(array: np.ndarray) -> np.ndarray:
    """Values that can be compared for equality: which NaN a narrow float holds does not matter."""
    return array.astype(np.float64) if str(array.dtype) in NARROW_FLOATS else array
