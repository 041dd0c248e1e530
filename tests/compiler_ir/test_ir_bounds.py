"""Intervals hold every value: random expressions, evaluated everywhere."""

from __future__ import annotations

import itertools
import random

import pytest

from vdla.compiler import ir

VARIABLES = (ir.Var("i"), ir.Var("j"))
PYTHON = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "floormod": lambda a, b: a % b,
    "min": min,
    "max": max,
    "shl": lambda a, b: a << b,
    "shr": lambda a, b: a >> b,
    "bit_and": lambda a, b: a & b,
    "bit_or": lambda a, b: a | b,
    "bit_xor": lambda a, b: a ^ b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
}


def wrap(value: int, bits: int) -> int:
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def value_of(node: ir.Expr, at: dict[ir.Var, int]) -> int:
    match node:
        case ir.Var():
            return at[node]
        case ir.Const(value):
            return int(value)
        case ir.Select(condition, a, b):
            return value_of(a if value_of(condition, at) else b, at)
        case ir.Cast("int8", value):
            return wrap(value_of(value, at), 8)
        case ir.Cast("int32", value):
            return value_of(value, at)
        case ir.Call("abs", (value,)):
            return wrap(abs(value_of(value, at)), 32)
        case ir.Binary(op, a, b):
            return wrap(int(PYTHON[op](value_of(a, at), value_of(b, at))), 32)
    raise AssertionError(node)


def random_expr(rng: random.Random, depth: int) -> ir.Expr:
    if depth <= 0:
        return rng.choice((*VARIABLES, ir.Const(rng.randrange(-9, 10))))
    kind = rng.randrange(9)
    if kind == 8:
        return ir.Call("abs", (random_expr(rng, depth - 1),), "int32")
    if kind == 0:
        return ir.Select(random_condition(rng, depth - 1), random_expr(rng, depth - 1), random_expr(rng, depth - 1))
    if kind == 1:
        return ir.Cast("int32", ir.Cast("int8", random_expr(rng, depth - 1)))
    left = random_expr(rng, depth - 1)
    if kind == 2:
        return ir.Binary(rng.choice(("floordiv", "floormod")), left, ir.Const(rng.choice((1, 2, 3, 7, -2))))
    if kind == 3:
        return ir.Binary(rng.choice(("shl", "shr")), left, ir.Const(rng.randrange(8)))
    return ir.Binary(
        rng.choice(("add", "sub", "mul", "min", "max", "bit_and", "bit_or", "bit_xor")), left, random_expr(rng, depth - 1)
    )


def random_condition(rng: random.Random, depth: int) -> ir.Expr:
    if depth > 1 and rng.random() < 0.3:
        return ir.Binary(rng.choice(("and", "or")), random_condition(rng, depth - 1), random_condition(rng, depth - 1))
    return ir.Binary(rng.choice(("lt", "le", "gt", "ge", "eq", "ne")), random_expr(rng, depth - 1), random_expr(rng, depth - 1))


@pytest.mark.parametrize("first", range(0, 2000, 500))
def test_every_value_is_inside(first: int) -> None:
    for seed in range(first, first + 500):
        rng = random.Random(seed)
        node = random_expr(rng, rng.randrange(1, 4))
        ranges = {v: (low := rng.randrange(-4, 5), low + rng.randrange(6)) for v in VARIABLES}
        low, high = ir.bounds(node, ranges)
        points = itertools.product(*(range(a, b + 1) for a, b in ranges.values()))
        values = [value_of(node, dict(zip(VARIABLES, point, strict=True))) for point in points]
        assert low <= min(values), f"seed {seed}: {node}"
        assert max(values) <= high, f"seed {seed}: {node}"


def test_affine_bounds_are_exact() -> None:
    i, j = VARIABLES
    assert ir.bounds(i * 4 + j - 3, {i: (0, 5), j: (0, 3)}) == (-3, 20)
    assert ir.bounds((i * 4 + j) // 4, {i: (0, 5), j: (0, 3)}) == (0, 5)
    assert ir.bounds((i + 8) % 8, {i: (1, 3)}) == (1, 3)
    assert ir.bounds(i < 6, {i: (0, 5)}) == (1, 1)
    assert ir.bounds(ir.Select(i < 0, ir.Const(99), i), {i: (0, 5)}) == (0, 5)
    assert ir.bounds(i, {}) == (-(1 << 31), (1 << 31) - 1)
    assert ir.bounds(i * (1 << 30), {i: (0, 5)}) == (-(1 << 31), (1 << 31) - 1)
