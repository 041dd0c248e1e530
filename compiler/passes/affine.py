"""Integer index arithmetic: linear forms, intervals and their canonical expressions.

A linear form is Σ coefficient · atom + constant. An atom is a variable or something that is not linear (a floordiv, a
load, …), held as a canonical expression. Quotients and remainders left by split and fused loops are resolved with the
known ranges of the variables: with 0 ≤ j < 4, (i·4 + j) // 4 → i, (i·4 + j) % 4 → j and (f // 4)·4 + f % 4 → f.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

from vdla.compiler import ir
from vdla.compiler.ir.bounds import FULL_RANGE, bounds, exact_bounds

Interval = tuple[int, int]
"""Inclusive bounds."""
Ranges = Mapping[ir.Var, Interval]
"""What is known of each variable; a variable that is missing may have any value."""

INDEX_DTYPES = ("int32", "int64")
LINEAR_OPS = ("add", "sub", "mul", "floordiv", "floormod", "min", "max")


@dataclass(frozen=True, slots=True)
class Linear:
    """Σ terms[atom] · atom + constant; no coefficient is 0."""

    terms: dict[ir.Expr, int]
    constant: int

    def plus(self, other: Linear, factor: int = 1) -> Linear:
        """self + factor · other; `recombine` puts quotients and remainders together again."""
        terms = dict(self.terms)
        for atom, coefficient in other.terms.items():
            total = terms.get(atom, 0) + factor * coefficient
            if total:
                terms[atom] = total
            else:
                terms.pop(atom, None)
        return Linear(terms, self.constant + factor * other.constant)

    def times(self, factor: int) -> Linear:
        if factor == 0:
            return Linear({}, 0)
        return Linear({a: c * factor for a, c in self.terms.items()}, self.constant * factor)

    def divided(self, divisor: int) -> Linear:
        """Every coefficient over `divisor`, which divides them; the constant rounds down."""
        return Linear({a: c // divisor for a, c in self.terms.items()}, self.constant // divisor)

    @property
    def is_constant(self) -> bool:
        return not self.terms


def has_load(expr: ir.Expr) -> bool:
    return any(isinstance(e, ir.Load) for e in ir.walk_expr(expr))


def linear_form(expr: ir.Expr, ranges: Ranges | None = None) -> tuple[dict[ir.Var, int], int] | None:
    """Coefficients by variable and the constant; None where `expr` is not affine."""
    form = to_linear(expr, ranges or {})
    if all(isinstance(atom, ir.Var) for atom in form.terms):
        return {atom: c for atom, c in form.terms.items() if isinstance(atom, ir.Var)}, form.constant
    return None


def interval(expr: ir.Expr, ranges: Ranges) -> Interval | None:
    """Inclusive bounds of an index expression; None where nothing is known."""
    return linear_interval(to_linear(expr, ranges), ranges)


def to_linear(expr: ir.Expr, ranges: Ranges) -> Linear:
    """The canonical linear form of an integer expression.

    Arithmetic on variables does not wrap. Arithmetic on data may: then it is an atom, to be computed in its own dtype.
    """
    form = linear_operation(expr, ranges)
    if any(not isinstance(atom, ir.Var) and has_load(atom) for atom in form.terms) and wraps(expr, ranges):
        return atom_form(expr)
    return form


def wraps(expr: ir.Expr, ranges: Ranges) -> bool:
    """Whether the last operation of `expr` may leave the range of its dtype."""
    if not isinstance(expr, ir.Binary):
        return False
    exact = exact_bounds(expr, (bounds(expr.a, ranges), bounds(expr.b, ranges)))
    low, high = FULL_RANGE[expr.dtype]
    return exact[0] < low or exact[1] > high


def linear_operation(expr: ir.Expr, ranges: Ranges) -> Linear:
    match expr:
        case ir.Const(value, _):
            return Linear({}, int(value))
        case ir.Var():
            known = ranges.get(expr)
            return Linear({}, known[0]) if known is not None and known[0] == known[1] else Linear({expr: 1}, 0)
        case ir.Binary("add", a, b):
            return recombine(to_linear(a, ranges).plus(to_linear(b, ranges)), ranges)
        case ir.Binary("sub", a, b):
            return recombine(to_linear(a, ranges).plus(to_linear(b, ranges), -1), ranges)
        case ir.Binary("mul", a, b):
            return linear_product(to_linear(a, ranges), to_linear(b, ranges), expr.dtype)
        case ir.Binary("floordiv" | "floormod" as op, a, ir.Const(divisor, dtype)) if divisor > 0:
            resolve = linear_floordiv if op == "floordiv" else linear_floormod
            return resolve(to_linear(a, ranges), int(divisor), ranges, dtype)
        case ir.Binary("min" | "max" as op, a, b):
            return linear_extreme(op, to_linear(a, ranges), to_linear(b, ranges), ranges, expr.dtype)
        case ir.Cast(dtype, value) if dtype in INDEX_DTYPES and value.dtype in INDEX_DTYPES:
            inner = to_linear(value, ranges)
            return inner if inner.is_constant else atom_form(ir.Cast(dtype, from_linear(inner, value.dtype)))
    old = ir.children(expr)
    new = tuple(canonical(c, ranges) if c.dtype in INDEX_DTYPES else c for c in old)
    return atom_form(ir.rebuild(expr, new) if old else expr)


def canonical(expr: ir.Expr, ranges: Ranges) -> ir.Expr:
    """The canonical expression equal to an index expression."""
    return expr if isinstance(expr, ir.Const) else from_linear(to_linear(expr, ranges), expr.dtype)


def atom_form(atom: ir.Expr) -> Linear:
    return Linear({atom: 1}, 0)


def from_linear(form: Linear, dtype: str = "int32") -> ir.Expr:
    """Large coefficients first, negative terms subtracted, the constant last."""
    terms = sorted(form.terms.items(), key=lambda t: (t[1] < 0, -abs(t[1]), sort_key(t[0])))
    result: ir.Expr | None = None
    for atom, coefficient in terms:
        size = abs(coefficient) if result is not None else coefficient
        term = atom if size == 1 else ir.Binary("mul", atom, ir.Const(size, dtype))
        result = term if result is None else ir.Binary("sub" if coefficient < 0 else "add", result, term)
    if result is None:
        return ir.Const(form.constant, dtype)
    if form.constant:
        return ir.Binary("sub" if form.constant < 0 else "add", result, ir.Const(abs(form.constant), dtype))
    return result


def sort_key(atom: ir.Expr) -> str:
    """An order of atoms that depends only on the text, so that equal sums print alike."""
    match atom:
        case ir.Var(name, _):
            return name
        case ir.Binary(op, a, b):
            return f"{op}({sort_key(a)},{sort_key(b)})"
        case ir.Const(value, _):
            return str(value)
        case _:
            return f"{type(atom).__name__}({','.join(sort_key(c) for c in ir.children(atom))})"


def linear_interval(form: Linear, ranges: Ranges) -> Interval | None:
    low = high = form.constant
    for atom, coefficient in form.terms.items():
        known = atom_interval(atom, ranges)
        if known is None:
            return None
        ends = (known[0] * coefficient, known[1] * coefficient)
        low, high = low + min(ends), high + max(ends)
    return low, high


def atom_interval(atom: ir.Expr, ranges: Ranges) -> Interval | None:
    match atom:
        case ir.Var():
            return ranges.get(atom)
        case ir.Binary("floordiv", a, ir.Const(divisor, _)) if divisor > 0:
            inner = interval(a, ranges)
            return None if inner is None else (inner[0] // int(divisor), inner[1] // int(divisor))
        case ir.Binary("floormod", _, ir.Const(divisor, _)) if divisor > 0:
            return 0, int(divisor) - 1
        case ir.Binary("min" | "max" | "mul" as op, a, b):
            x, y = interval(a, ranges), interval(b, ranges)
            if x is None or y is None:
                return None
            if op == "mul":
                corners = [p * q for p in x for q in y]
                return min(corners), max(corners)
            pick = min if op == "min" else max
            return pick(x[0], y[0]), pick(x[1], y[1])
        case ir.Select(_, a, b):
            x, y = interval(a, ranges), interval(b, ranges)
            return None if x is None or y is None else (min(x[0], y[0]), max(x[1], y[1]))
        case ir.Cast(_, value) if value.dtype in INDEX_DTYPES:
            return interval(value, ranges)
    return None


def linear_product(a: Linear, b: Linear, dtype: str) -> Linear:
    if a.is_constant or b.is_constant:
        return b.times(a.constant) if a.is_constant else a.times(b.constant)
    return atom_form(ir.Binary("mul", from_linear(a, dtype), from_linear(b, dtype)))


def linear_extreme(op: str, a: Linear, b: Linear, ranges: Ranges, dtype: str) -> Linear:
    """min or max, decided where the sign of a - b is known."""
    known = linear_interval(a.plus(b, -1), ranges)
    if known is not None and (known[1] <= 0 or known[0] >= 0):
        a_is_least = known[1] <= 0
        return a if a_is_least == (op == "min") else b
    return atom_form(ir.Binary(op, from_linear(a, dtype), from_linear(b, dtype)))


def split_multiples(form: Linear, divisor: int) -> tuple[Linear, Linear]:
    """(multiples of `divisor`, what is left with its constant in 0 … divisor-1); their sum is `form`."""
    whole = {a: c for a, c in form.terms.items() if c % divisor == 0}
    rest = {a: c for a, c in form.terms.items() if c % divisor}
    remainder = form.constant % divisor
    return Linear(whole, form.constant - remainder), Linear(rest, remainder)


def without_small_part(form: Linear, divisor: int, ranges: Ranges) -> tuple[int, Linear, Linear] | None:
    """(g, large, small) with form = large + small, g dividing `divisor` and `large`, and 0 ≤ small < g.

    Then form // divisor = (large/g) // (divisor/g): the small part never carries.
    """
    for g in sorted({gcd(c, divisor) for c in form.terms.values()} - {1}, reverse=True):
        large, small = split_multiples(form, g)
        known = linear_interval(small, ranges)
        if known is not None and known[0] >= 0 and known[1] < g:
            return g, large, small
    return None


def linear_floordiv(form: Linear, divisor: int, ranges: Ranges, dtype: str) -> Linear:
    if divisor == 1:
        return form
    whole, rest = split_multiples(form, divisor)
    whole = whole.divided(divisor)
    if rest.is_constant:
        return whole
    known = linear_interval(rest, ranges)
    if known is not None and known[0] // divisor == known[1] // divisor:
        return whole.plus(Linear({}, known[0] // divisor))
    split = without_small_part(rest, divisor, ranges)
    if split is not None:
        g, large, _ = split
        return recombine(whole.plus(linear_floordiv(large.divided(g), divisor // g, ranges, dtype)), ranges)
    match single_atom(rest):
        case ir.Binary("floordiv", x, ir.Const(d, _)):  # (x // d) // c = x // (d·c)
            return whole.plus(linear_floordiv(to_linear(x, ranges), int(d) * divisor, ranges, dtype))
        case ir.Binary("floormod", x, ir.Const(d, _)) if d % divisor == 0:  # (x % (c·e)) // c = (x // c) % e
            quotient = linear_floordiv(to_linear(x, ranges), divisor, ranges, dtype)
            return whole.plus(linear_floormod(quotient, int(d) // divisor, ranges, dtype))
    return whole.plus(atom_form(ir.Binary("floordiv", from_linear(rest, dtype), ir.Const(divisor, dtype))))


def linear_floormod(form: Linear, divisor: int, ranges: Ranges, dtype: str) -> Linear:
    if divisor == 1:
        return Linear({}, 0)
    _, rest = split_multiples(form, divisor)
    if rest.is_constant:
        return rest
    known = linear_interval(rest, ranges)
    if known is not None and known[0] // divisor == known[1] // divisor:
        return rest.plus(Linear({}, -(known[0] // divisor) * divisor))
    split = without_small_part(rest, divisor, ranges)
    if split is not None:  # (g·y + s) % (g·e) = g·(y % e) + s
        g, large, small = split
        return linear_floormod(large.divided(g), divisor // g, ranges, dtype).times(g).plus(small)
    match single_atom(rest):
        case ir.Binary("floormod", x, ir.Const(d, _)) if d % divisor == 0:  # (x % (c·e)) % c = x % c
            return linear_floormod(to_linear(x, ranges), divisor, ranges, dtype)
    return atom_form(ir.Binary("floormod", from_linear(rest, dtype), ir.Const(divisor, dtype)))


def single_atom(form: Linear) -> ir.Expr | None:
    """The atom of a form that is exactly one atom."""
    if form.constant or len(form.terms) != 1:
        return None
    atom, coefficient = next(iter(form.terms.items()))
    return atom if coefficient == 1 else None


def recombine(form: Linear, ranges: Ranges) -> Linear:
    """k·c·(x // c) + k·(x % c) → k·x, so that indices of split or fused loops become affine again."""
    remainders = [a for a in form.terms if isinstance(a, ir.Binary) and a.op == "floormod"]
    for remainder in remainders:
        match remainder:
            case ir.Binary(_, x, ir.Const(divisor, dtype)):
                inner, k = to_linear(x, ranges), form.terms[remainder]
                quotient = linear_floordiv(inner, int(divisor), ranges, dtype)
                atom = single_atom(quotient)
                if atom is not None and form.terms.get(atom) == k * int(divisor):
                    rest = {a: c for a, c in form.terms.items() if a is not remainder and a != atom}
                    return recombine(Linear(rest, form.constant).plus(inner, k), ranges)
    return form
