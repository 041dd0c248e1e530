"""Index arithmetic: random expressions against plain evaluation at every point, and the forms it has to find."""

from __future__ import annotations

import itertools
import random

import pytest

from vdla.compiler import ir
from vdla.compiler.ir.printer import to_text
from vdla.compiler.passes.affine import interval, linear_form
from vdla.compiler.passes.region import Access, accesses, exact_box, union_box
from vdla.compiler.passes.simplify import EMPTY, simplify, simplify_stmt

I, J, K = ir.Var("i"), ir.Var("j"), ir.Var("k")

OPERATIONS = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "floordiv": lambda a, b: a // b,
    "floormod": lambda a, b: a % b, "min": min, "max": max, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b, "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
    "and": lambda a, b: bool(a and b), "or": lambda a, b: bool(a or b),
}  # fmt: skip


def evaluate(expr: ir.Expr, values: dict[ir.Var, int]) -> int:
    match expr:
        case ir.Const(value, _):
            return int(value)
        case ir.Var():
            return values[expr]
        case ir.Binary(op, a, b):
            return int(OPERATIONS[op](evaluate(a, values), evaluate(b, values)))
        case ir.Select(condition, a, b):
            return evaluate(a, values) if evaluate(condition, values) else evaluate(b, values)
    raise AssertionError(f"unexpected {expr}")


def random_index(r: random.Random, depth: int) -> ir.Expr:
    if depth == 0 or r.random() < 0.15:
        return r.choice([I, J, K, ir.Const(r.randint(-9, 9))])
    op = r.choice(["add", "add", "sub", "mul", "floordiv", "floordiv", "floormod", "floormod", "min", "max", "select"])
    a = random_index(r, depth - 1)
    if op == "select":
        return ir.Select(random_condition(r, depth - 1), a, random_index(r, depth - 1))
    if op in ("floordiv", "floormod", "mul"):
        return ir.Binary(op, a, ir.Const(r.choice([1, 2, 3, 4, 6, 8, 12])))
    return ir.Binary(op, a, random_index(r, depth - 1))


def random_condition(r: random.Random, depth: int) -> ir.Expr:
    if depth > 0 and r.random() < 0.3:
        return ir.Binary(r.choice(["and", "or"]), random_condition(r, depth - 1), random_condition(r, depth - 1))
    op = r.choice(["lt", "le", "gt", "ge", "eq", "ne"])
    return ir.Binary(op, random_index(r, depth), random_index(r, depth) if r.random() < 0.3 else ir.Const(r.randint(-8, 20)))


@pytest.mark.parametrize("seed", range(300))
def test_simplified_is_equal_everywhere(seed: int) -> None:
    r = random.Random(seed)
    ranges = {v: (low := r.randint(-3, 2), low + r.randint(0, 7)) for v in (I, J, K)}
    expr = random_index(r, 4) if r.random() < 0.6 else random_condition(r, 3)
    result = simplify(expr, ranges)
    bounds = interval(expr, ranges) if expr.dtype == "int32" else None
    for point in itertools.product(*(range(low, high + 1) for low, high in ranges.values())):
        values = dict(zip(ranges, point, strict=True))
        wanted = evaluate(expr, values)
        where = f"seed {seed}: {to_text(expr)} became {to_text(result)}; at {point} in {ranges}"
        assert evaluate(result, values) == wanted, where
        assert bounds is None or bounds[0] <= wanted <= bounds[1], f"interval {bounds}, {where}"


@pytest.mark.parametrize("seed", range(100))
def test_split_and_fused_indices_come_back(seed: int) -> None:
    """Splitting a loop and fusing the parts again leaves an affine index."""
    r = random.Random(seed)
    factors = [r.randint(1, 5) for _ in range(r.randint(2, 4))]
    total, fused, value = 1, ir.Var("f"), ir.Const(0)
    expr: ir.Expr = value
    for position, factor in enumerate(factors):
        inner = 1
        for f in factors[position + 1 :]:
            inner *= f
        part = ir.Binary("floordiv", fused, ir.Const(inner))
        expr = expr + ir.Binary(
            "mul", part if position == 0 else ir.Binary("floormod", part, ir.Const(factor)), ir.Const(inner)
        )
        total *= factor
    assert simplify(expr, {fused: (0, total - 1)}) == (fused if total > 1 else ir.Const(0)), f"seed {seed}: {factors}"


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ((I * 4 + J) // 4, "i"),
        ((I * 4 + J) % 4, "j"),
        ((I * 4 + J) // 8, "i // 2"),
        ((I * 4 + J) % 8, "i % 2 * 4 + j"),
        (J * 2 + I * 8 - J - J + 3 - 5, "i * 8 - 2"),
        ((I // 2) * 2 + I % 2, "i"),
        ((K // 6 * 3 + K // 2 % 3) * 2 + K % 2, "k"),
        ((K % 12) // 4, "k // 4 % 3"),
        ((K // 2) // 3, "k // 6"),
        (I * 4 + J < 8, "i < 2"),
        (I * 4 + J >= 8, "i >= 2"),
        (I * 4 + J < 10, "i * 4 + j < 10"),
        (J < 4, "true"),
        (I * 2 - 6 >= 0, "i >= 3"),
        (I - 1 >= 0, "i >= 1"),
        (ir.Binary("and", J < 4, I < 3), "i < 3"),
        (ir.Binary("min", J, ir.Const(3)), "j"),
        (ir.Binary("max", I + 5, J), "i + 5"),
        (ir.Binary("eq", I * 2, ir.Const(3)), "false"),
        (ir.Select(I < 5, ir.Const(0.0, "float32"), ir.Const(-0.0, "float32")), "select(i < 5, 0.0, -0.0)"),
        (ir.Cast("float32", ir.Cast("float16", ir.Const(0.1, "float32"))), "0.0999755859375"),
        (ir.Binary("eq", ir.Const(0.1, "float16"), ir.Const(0.09999, "float16")), "true"),
        (ir.Cast("uint8", ir.Const(-1.0, "float32")), "uint8(255)"),
        (ir.Cast("uint32", ir.Const(-1.0, "float32")), "uint32(0)"),
        (ir.Cast("int4", ir.Const(9)), "int4(-7)"),
    ],
)
def test_forms(expr: ir.Expr, expected: str) -> None:
    assert to_text(simplify(expr, {I: (0, 9), J: (0, 3), K: (0, 99)})) == expected


def test_linear_form() -> None:
    assert linear_form((I + J * 2) * 3 - I + 7) == ({I: 2, J: 6}, 7)
    assert linear_form(I // 2 + J) is None
    assert linear_form((I * 4 + J) // 4, {J: (0, 3)}) == ({I: 1}, 0)


def touched(access: Access, values: dict[ir.Var, int]) -> set[tuple[int, ...]]:
    """Every element an access touches, the outer variables being at `values`."""
    inner = list(access.inner)
    points = itertools.product(*(range(access.inner[v][0], access.inner[v][1] + 1) for v in inner))
    return {tuple(evaluate(i, values | dict(zip(inner, p, strict=True))) for i in access.indices) for p in points}


@pytest.mark.parametrize("seed", range(200))
def test_regions_hold_what_is_touched(seed: int) -> None:
    """union_box holds every element inside the buffer, for affine and other indices; exact_box holds nothing else."""
    r = random.Random(seed)
    buffer = ir.Buffer("B", (r.randint(1, 40), r.randint(1, 12)), "int32")
    inner = {J: r.randint(1, 4), K: r.randint(1, 4)}
    index = (random_index(r, r.randint(1, 3)), random_index(r, 1))
    stmt: ir.Stmt = ir.Store(buffer, index, ir.Const(0))
    for var, extent in inner.items():
        stmt = ir.For(var, extent, stmt)
    outer = {I: (0, r.randint(0, 5))}
    found = list(accesses(stmt))
    box, exact = union_box(found, buffer, outer), exact_box(found[0], outer)
    for i in range(outer[I][1] + 1):
        elements = touched(found[0], {I: i})
        starts = [evaluate(s, {I: i}) for s in box.starts]
        where = f"seed {seed}: {to_text(stmt)}; {box} with i={i}"
        for element in elements:
            if all(0 <= e < n for e, n in zip(element, buffer.shape, strict=True)):
                assert all(s <= e < s + n for e, s, n in zip(element, starts, box.extents, strict=True)), f"{element}, {where}"
        if exact is not None:
            first = [evaluate(s, {I: i}) for s in exact.starts]
            whole = itertools.product(*(range(s, s + n) for s, n in zip(first, exact.extents, strict=True)))
            assert elements == set(whole), f"exact {exact}, {where}"


def simplified(stmt: ir.Stmt) -> str:
    result = simplify_stmt(stmt, {}, EMPTY)
    return "" if result is None else to_text(result)


def test_statements() -> None:
    y = ir.Buffer("y", (16,), "int32")
    store = ir.Store(y, (I * 4 + J,), ir.Const(1))
    assert simplified(ir.For(I, 1, ir.For(J, 4, store))) == "for j in range(4):\n    y[j] = 1"
    assert (
        simplified(ir.For(I, 4, ir.For(J, 4, ir.If(I < 2, store))))
        == "for i in range(2):\n    for j in range(4):\n        y[i * 4 + j] = 1"
    )
    test = ir.If(ir.Binary("and", I * 4 + J < 9, J < 3), store)
    expected = "for i in range(4):\n    for j in range(3):\n        if i * 4 + j < 9:\n            y[i * 4 + j] = 1"
    assert simplified(ir.For(I, 4, ir.For(J, 4, test))) == expected
    assert simplified(ir.For(I, 4, ir.If(I >= 4, store))) == ""
    assert simplified(ir.For(I, 3, ir.For(J, 1, ir.If(K < 3, ir.Seq((store, store)))))).startswith(
        "if k < 3:\n    for i in range(3):"
    )
    nested = ir.For(I, 4, ir.If(K < 3, ir.For(J, 4, ir.If(K < 3, store))))
    assert simplified(nested) == "if k < 3:\n    for i in range(4):\n        for j in range(4):\n            y[i * 4 + j] = 1"
    assert simplified(ir.For(I, 1, store, "thread_x")) == "for i in thread_x(1):\n    y[j] = 1"
