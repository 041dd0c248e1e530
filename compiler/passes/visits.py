"""`visits_once`: whether a nest of loops is sure to reach no point of a block's domain twice.

Recomputed halos make loops meet an element again; then an initialisation cannot move outside them, nor can they run
concurrently.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from vdla.compiler import ir
from vdla.compiler.passes.affine import Interval, Linear, Ranges, atom_interval, interval, linear_interval, to_linear
from vdla.compiler.passes.simplify import conjuncts

ENUMERATED_POINTS = 1 << 21
"""Where the algebra finds no proof, nests of up to so many points are run through."""


def visits_once(block: ir.Block, inside: Mapping[ir.Var, Interval], outer: Ranges) -> bool:
    """Whether the loops `inside` reach no point of the block's domain twice; False also where that is not known."""
    inside = narrowed(inside, block.predicate, outer)
    return is_injective(block, inside, {**outer, **inside}) or enumerated_once(block, inside, outer)


def narrowed(inside: Mapping[ir.Var, Interval], predicate: ir.Expr | None, outer: Ranges) -> dict[ir.Var, Interval]:
    """The ranges of `inside` where `predicate` holds, as far as each term Σ coefficient · v < n bounds one variable alone."""
    result = dict(inside)
    for term in conjuncts(predicate) if predicate is not None else ():
        match term:
            case ir.Binary("lt", left, ir.Const(limit, _)):
                form = to_linear(left, {**outer, **inside})
                for atom, coefficient in form.terms.items():
                    others = Linear({a: c for a, c in form.terms.items() if a is not atom}, form.constant)
                    known = linear_interval(others, {**outer, **inside})
                    if isinstance(atom, ir.Var) and atom in result and coefficient > 0 and known is not None:
                        low, high = result[atom]
                        result[atom] = low, max(low, min(high, (int(limit) - 1 - known[0]) // coefficient))
    return result


def is_injective(block: ir.Block, inside: Mapping[ir.Var, Interval], ranges: Ranges) -> bool:
    """Whether algebra shows that the bindings determine the loops `inside`.

    The bindings, flattened to one number, determine the quotients and remainders they are made of where the terms, smallest
    first, do not reach one another; these determine the loops where they are all the digits of a number made of loops.
    """
    flat, stride = Linear({}, 0), 1
    for binding in block.bindings:
        terms = {a: c for a, c in to_linear(binding, ranges).terms.items() if any(v in inside for v in ir.walk_expr(a))}
        known_range = linear_interval(Linear(terms, 0), ranges)
        if known_range is None:
            return False
        flat, stride = flat.plus(Linear(terms, 0), stride), stride * (known_range[1] - known_range[0] + 1)
    if not separate(flat.terms, ranges):
        return False
    known: set[ir.Expr] = set(flat.terms)
    while True:
        more = numbers_of_digits(known, inside, ranges) - known
        if not more:
            return all(v in known for v, (low, high) in inside.items() if high > low)
        known |= more


def numbers_of_digits(known: set[ir.Expr], inside: Mapping[ir.Var, Interval], ranges: Ranges) -> set[ir.Expr]:
    """What is determined once the atoms `known` are: the parts of every number whose digits are among them."""
    digits: dict[ir.Expr, list[tuple[int, int | None]]] = {}
    for atom in known:
        digit = as_digit(atom)
        if digit is not None:
            digits.setdefault(digit[0], []).append(digit[1:])
    found: set[ir.Expr] = set()
    for number, places in digits.items():
        terms = to_linear(number, ranges).terms
        parts = {a: c for a, c in terms.items() if any(v in inside for v in ir.walk_expr(a))}
        if covers(places, interval(number, ranges)) and separate(parts, ranges):
            found |= parts.keys()
    return found


def separate(terms: Mapping[ir.Expr, int], ranges: Ranges) -> bool:
    """Whether Σ coefficient · atom determines every atom: each coefficient is beyond the reach of the smaller ones."""
    reach = 0
    for coefficient, atom in sorted(((abs(c), a) for a, c in terms.items()), key=lambda t: t[0]):
        known = atom_interval(atom, ranges)
        if known is None or coefficient <= reach:
            return False
        reach += coefficient * (known[1] - known[0])
    return True


def as_digit(atom: ir.Expr) -> tuple[ir.Expr, int, int | None] | None:
    """(x, d, m) where `atom` is x // d % m; m is None without the remainder."""
    match atom:
        case ir.Var():
            return atom, 1, None
        case ir.Binary("floordiv", x, ir.Const(divisor, _)):
            return x, int(divisor), None
        case ir.Binary("floormod", ir.Binary("floordiv", x, ir.Const(divisor, _)), ir.Const(modulus, _)):
            return x, int(divisor), int(modulus)
        case ir.Binary("floormod", x, ir.Const(modulus, _)):
            return x, 1, int(modulus)
    return None


def covers(places: list[tuple[int, int | None]], known: Interval | None) -> bool:
    """Whether the digits (divisor, modulus) of a number within `known` determine it."""
    if (1, None) in places:
        return True
    weight = 1
    for divisor, modulus in sorted(places, key=lambda p: p[0]):
        if divisor != weight:
            return False
        if modulus is None:
            return True
        weight *= modulus
    return known is not None and known[0] >= 0 and known[1] < weight


def enumerated_once(block: ir.Block, inside: Mapping[ir.Var, Interval], outer: Ranges) -> bool:
    """The same by going through every point, of the loops outside too, where there are few enough."""
    exprs = [*block.bindings, block.predicate if block.predicate is not None else ir.TRUE]
    free = {v: outer.get(v) for e in exprs for v in ir.walk_expr(e) if isinstance(v, ir.Var) and v not in inside}
    loops = {**inside, **{v: known for v, known in free.items() if known is not None}}
    shape = tuple(high - low + 1 for low, high in loops.values())
    if None in free.values() or prod(shape) > ENUMERATED_POINTS:
        return False
    grid = np.meshgrid(*(np.arange(low, high + 1) for low, high in loops.values()), indexing="ij", sparse=True)
    values = dict(zip(loops, grid, strict=True))
    try:
        points = [np.broadcast_to(evaluate(b, values), shape) for b in block.bindings]
        done = np.broadcast_to(evaluate(exprs[-1], values), shape).astype(bool)
    except NotImplementedError:
        return False
    flat = np.zeros(shape, np.int64)
    for it, point in zip(block.iters, points, strict=True):
        flat = flat * it.extent + point
    met = flat[done]
    return len(np.unique(met)) == met.size


def evaluate(expr: ir.Expr, values: Mapping[ir.Var, np.ndarray]) -> np.ndarray:
    """An index expression or condition over arrays. Raises `NotImplementedError` on what is neither."""
    match expr:
        case ir.Const(value, _):
            return np.asarray(value)
        case ir.Var():
            return values[expr]
        case ir.Binary(op, a, b) if op in NUMPY:
            return np.asarray(NUMPY[op](evaluate(a, values), evaluate(b, values)))
    raise NotImplementedError


NUMPY: dict[str, np.ufunc] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "floordiv": np.floor_divide, "floormod": np.mod,
    "min": np.minimum, "max": np.maximum, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal, "and": np.logical_and, "or": np.logical_or,
}  # fmt: skip
