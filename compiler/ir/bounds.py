"""Intervals of integer expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vdla.compiler.ir.element_types import BOOL, INTEGERS, NARROW_INTEGERS
from vdla.compiler.ir.nodes import COMPARISONS, LOGICAL, Binary, Call, Cast, Const, Expr, Select, Var
from vdla.compiler.ir.traverse import children
from vdla.element_types import ELEMENT_TYPES

Interval = tuple[int, int]
"""Least and greatest value, both included."""

FULL_RANGE: dict[str, Interval] = {name: ELEMENT_TYPES[name].range for name in (BOOL, *INTEGERS, *NARROW_INTEGERS)}
"""The values of every dtype whose values are whole."""
UNKNOWN: Interval = FULL_RANGE["int64"]


def bounds(node: Expr, ranges: Mapping[Var, Interval]) -> Interval:
    """An interval that holds every value of the integer or bool `node`, variables being anywhere in `ranges`.

    A variable that is not in `ranges`, a load, and whatever may wrap can have any value of its dtype.
    """
    if isinstance(node, Var):
        return ranges.get(node, FULL_RANGE[node.dtype])
    below = tuple(bounds(c, ranges) if c.dtype in FULL_RANGE else UNKNOWN for c in children(node))
    return representable(node.dtype, exact_bounds(node, below))


def representable(dtype: str, interval: Interval) -> Interval:
    """`interval` when values there do not wrap in `dtype`, else all of `dtype`."""
    low, high = FULL_RANGE[dtype]
    return interval if low <= interval[0] and interval[1] <= high else (low, high)


def exact_bounds(node: Expr, below: tuple[Interval, ...]) -> Interval:
    """The interval of one integer or bool node before any wrap-around, given those of its children."""
    match node:
        case Const(value):
            return (int(value), int(value))
        case Binary(op) if op in COMPARISONS or op in LOGICAL:
            return decided(op, *below) if node.a.dtype in FULL_RANGE else (0, 1)
        case Binary("shl" | "shr") if not (below[1][0] >= 0 and FULL_RANGE[node.dtype][1] >> below[1][1] > 0):
            low, high = FULL_RANGE[node.dtype]  # a shift by the width or more, which is taken modulo the width
            return (low, high) if node.op == "shr" else (2 * low, 2 * high)  # a left shift may leave the range: it wraps
        case Binary(op):
            return ARITHMETIC_BOUNDS[op](*below)
        case Select():
            return below[1] if below[0] == (1, 1) else below[2] if below[0] == (0, 0) else hull(below[1], below[2])
        case Cast(dtype, value) if value.dtype in FULL_RANGE and dtype != "bool":
            return below[0]
        case Call("abs"):
            low, high = below[0]
            return (max(low, -high, 0), max(-low, high))
        case Call("requantise", _, _, attributes):
            limits = dict(attributes)
            return (int(limits.get("low", UNKNOWN[0])), int(limits.get("high", UNKNOWN[1])))
        case _:
            return FULL_RANGE[node.dtype]


def hull(a: Interval, b: Interval) -> Interval:
    return (min(a[0], b[0]), max(a[1], b[1]))


def corners(op: Callable[[int, int], int], a: Interval, b: Interval) -> Interval:
    """Of an operation monotone in each operand."""
    values = [op(x, y) for x in a for y in b]
    return (min(values), max(values))


def floordiv_bounds(a: Interval, b: Interval) -> Interval:
    if b[0] > 0:
        return corners(lambda x, y: x // y, a, b)
    most = max(abs(a[0]), abs(a[1]), 1)  # the least integer by -1 leaves its dtype
    return -most, most


def floormod_bounds(a: Interval, b: Interval) -> Interval:
    if b[0] <= 0:
        return min(b[0] + 1, 0), max(b[1] - 1, 0)
    if b[0] == b[1] and a[0] // b[0] == a[1] // b[0]:
        return (a[0] % b[0], a[1] % b[0])
    return (0, b[1] - 1)


def bit_and_bounds(a: Interval, b: Interval) -> Interval:
    """At most an operand that has no sign; what it clears it brings below, so a lower bound is that of both signs."""
    if a[0] >= 0 or b[0] >= 0:
        return 0, min(x[1] for x in (a, b) if x[0] >= 0)
    return bit_bounds(a, b)


def bit_bounds(a: Interval, b: Interval) -> Interval:
    """Of any operation on single bits: it leaves the width that both operands fit in."""
    width = max(value.bit_length() if value >= 0 else (~value).bit_length() for x in (a, b) for value in x)
    return (0 if a[0] >= 0 and b[0] >= 0 else -(1 << width), (1 << width) - 1)


ARITHMETIC_BOUNDS: dict[str, Callable[[Interval, Interval], Interval]] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "mul": lambda a, b: corners(lambda x, y: x * y, a, b),
    "div": lambda a, b: UNKNOWN,  # floats only
    "floordiv": floordiv_bounds,
    "floormod": floormod_bounds,
    "min": lambda a, b: (min(a[0], b[0]), min(a[1], b[1])),
    "max": lambda a, b: (max(a[0], b[0]), max(a[1], b[1])),
    "shl": lambda a, b: corners(lambda x, y: x << y, a, b),
    "shr": lambda a, b: corners(lambda x, y: x >> y, a, b),
    "bit_and": bit_and_bounds,
    "bit_or": bit_bounds,
    "bit_xor": bit_bounds,
}


def decided(op: str, a: Interval, b: Interval) -> Interval:
    """(1, 1) for a condition that always holds, (0, 0) for one that never does, else (0, 1)."""
    always, never = {
        "lt": (a[1] < b[0], a[0] >= b[1]),
        "le": (a[1] <= b[0], a[0] > b[1]),
        "gt": (a[0] > b[1], a[1] <= b[0]),
        "ge": (a[0] >= b[1], a[1] < b[0]),
        "eq": (a[0] == a[1] == b[0] == b[1], a[1] < b[0] or b[1] < a[0]),
        "ne": (a[1] < b[0] or b[1] < a[0], a[0] == a[1] == b[0] == b[1]),
        "and": (a[0] == 1 and b[0] == 1, a[1] == 0 or b[1] == 0),
        "or": (a[0] == 1 or b[0] == 1, a[1] == 0 and b[1] == 0),
    }[op]
    return (1, 1) if always else (0, 0) if never else (0, 1)
