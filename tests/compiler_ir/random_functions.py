"""Random small functions, for property tests of anything that takes a function.

    case = random_case(seed)
    case.function, case.arrays      # a legal function of te stages, and inputs by name

Stages are padding (a guarded load outside the tensor), elementwise chains, sliding-window, plain and tuple reductions,
transposes, int8 matrix products, reads where data say and recurrences, over small shapes. Everything follows from the seed;
put it into your assertion's message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vdla.compiler import te
from vdla.compiler.ir import Expr, Function
from vdla.compiler.ir.element_types import INTEGERS, NARROW
from vdla.element_types import ELEMENT_TYPES, numpy_dtype
from vdla.isa.semantics import pack_scale

SCALE_WORD = int(pack_scale(np.array(360_005), np.array(19), np.array(-3)))
DTYPES = ("int8", "int32", "float32")
RARER = ("uint8", "uint32", "int64", "uint64", "int16", "uint16", *NARROW)
"""Drawn one time in four. Of narrow types elements move, and are widened."""


@dataclass(frozen=True)
class Case:
    seed: int
    function: Function
    arrays: dict[str, np.ndarray]


def random_case(seed: int, stages: int | None = None) -> Case:
    """A function of 1 to 3 inputs and `stages` (by default 1 to 5) stages, the last of which is an output."""
    rng = np.random.default_rng(seed)
    inputs = [random_input(rng, f"x{i}") for i in range(int(rng.integers(1, 4)))]
    tensors = list(inputs)
    for position in range(stages or int(rng.integers(1, 6))):
        tensors.append(random_stage(rng, tensors, f"s{position}"))
    outputs = [tensors[-1]]
    computed = tensors[len(inputs) : -1]
    if computed and rng.random() < 0.25:
        outputs.append(computed[int(rng.integers(len(computed)))])
    used = used_inputs(inputs, outputs)
    function = te.create_function(f"random_{seed}", used, outputs)
    return Case(seed, function, {t.name: random_array(rng, t.shape, t.dtype) for t in used})


def used_inputs(inputs: list[te.Tensor], outputs: list[te.Tensor]) -> list[te.Tensor]:
    seen: set[te.Tensor] = set()
    pending = list(outputs)
    while pending:
        tensor = pending.pop()
        if tensor not in seen:
            seen.add(tensor)
            pending.extend(tensor.inputs)
    return [t for t in inputs if t in seen] or inputs[:1]


def random_array(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype == "float32":
        return rng.standard_normal(shape).astype(np.float32)
    if ELEMENT_TYPES[dtype].is_float:
        return rng.standard_normal(shape).astype(np.float32).astype(numpy_dtype(dtype))
    if dtype in NARROW:
        return rng.integers(*ELEMENT_TYPES[dtype].range, shape, "int8", endpoint=True).astype(numpy_dtype(dtype))
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def random_input(rng: np.random.Generator, name: str) -> te.Tensor:
    shape = tuple(int(n) for n in rng.integers(1, 7, rng.integers(1, 4)))
    return te.placeholder(shape, str(rng.choice(RARER if rng.random() < 0.25 else DTYPES)), name)


def random_stage(rng: np.random.Generator, tensors: list[te.Tensor], name: str) -> te.Tensor:
    kinds: tuple[Callable[..., te.Tensor], ...] = (pad, elementwise, binary, reduce_one, window, transpose, matmul)
    kinds += (place_of_largest, look_up, recurrence)
    source = tensors[int(rng.integers(max(0, len(tensors) - 3), len(tensors)))]
    if not source.shape:  # all of a tensor reduced away
        return elementwise(rng, source, tensors, name)
    if source.dtype in NARROW:
        kinds = (pad, transpose, widen, widen)
    return kinds[int(rng.integers(len(kinds)))](rng, source, tensors, name)


def place_of_largest(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """Along one dimension the largest value, or where it is, or how far that moved: a tuple reduction."""
    axis = int(rng.integers(len(x.shape)))
    k = te.reduce_axis(x.shape[axis], "k")

    def combine(so_far: tuple[Expr, ...], new: tuple[Expr, ...]) -> tuple[Expr, Expr, Expr]:
        better = new[0] > so_far[0]
        moved = so_far[2] + te.select(better, new[1] - so_far[1], 0)
        return te.maximum(new[0], so_far[0]), te.select(better, new[1], so_far[1]), moved

    def element(*i: Expr) -> te.TupleReduction:
        return te.reduce_tuple(combine, (te.lowest(x.dtype), -1, 0), (x[(*i[:axis], k, *i[axis:])], k, k), k)

    rest = tuple(n for d, n in enumerate(x.shape) if d != axis)
    return te.compute(rest, element, name)[int(rng.integers(3))]


def look_up(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """Elements of x where another tensor says, clamped or guarded."""
    whole = [t for t in tensors if t.shape and t.dtype in INTEGERS]
    if not whole:
        return elementwise(rng, x, tensors, name)
    index, size, clamped = whole[int(rng.integers(len(whole)))], x.shape[0], rng.random() < 0.6

    def element(*i: Expr) -> Expr:
        at, rest = index[i], tuple(i[0] % n for n in x.shape[1:])
        if clamped:
            return x[(te.position(at, size), *rest)]
        return te.select(te.logical_and(at >= 0, at < size), x[(at, *rest)], te.const(1, x.dtype))

    return te.compute(index.shape, element, name)


def recurrence(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """Along the first dimension: a sum that half fades and turns, all its values or the last one."""
    t, row = te.scan_axis(x.shape[0], "t"), x.shape[1:]
    h, zero = te.placeholder(row, x.dtype, f"{name}_h"), te.compute(row, lambda *i: te.const(0, x.dtype), f"{name}_0")

    def element(*i: Expr) -> Expr:
        before = h[(*((v + 1) % n for v, n in zip(i[:1], row, strict=False)), *i[1:])]
        return x[(t, *i)] + (before // 2 if x.dtype in INTEGERS else before * 0.5)

    update = te.compute(row, element, f"{name}_next")
    (last,), (kept,) = te.scan(t, [te.State(h, zero, update)], [update], name)
    return last if rng.random() < 0.3 else kept


def widen(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """A narrow type as one that has arithmetic."""
    wide = "float32" if ELEMENT_TYPES[x.dtype].is_float else "int32"
    return te.compute(x.shape, lambda *i: te.cast(x[i], wide), name)


def pad(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """One dimension grows by 1 or 2 at either end."""
    axis, before, after = int(rng.integers(len(x.shape))), int(rng.integers(1, 3)), int(rng.integers(1, 3))
    shape = tuple(n + (before + after if d == axis else 0) for d, n in enumerate(x.shape))
    value = 0 if rng.random() < 0.7 or not ELEMENT_TYPES[x.dtype].signed else -1

    def element(*i: Expr) -> Expr:
        inside = te.logical_and(i[axis] >= before, i[axis] < before + x.shape[axis])
        source = tuple(v - before if d == axis else v for d, v in enumerate(i))
        return te.select(inside, x[source], te.const(float(value) if x.dtype == "float32" else value, x.dtype))

    return te.compute(shape, element, name)


def elementwise(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    if x.dtype == "float32":
        functions: tuple[Callable[[Expr], Expr], ...] = (
            te.tanh,
            te.sigmoid,
            te.floor,
            te.absolute,
            lambda v: te.maximum(v, 0.0),
            lambda v: te.clip(v * 0.5 + 1.0, -1.0, 1.0),
            lambda v: te.cast(te.clip(v * 8.0, -100.0, 100.0), "int32"),
            lambda v: te.select(v > 0.25, te.sqrt(v), v - 1.0),
        )
    else:
        functions = (
            lambda v: te.maximum(v, 0),
            lambda v: te.shift_right(v, 2),
            lambda v: te.shift_left(v, 3) - 5,
            lambda v: te.clip(v, -7 if ELEMENT_TYPES[x.dtype].signed else 7, 100),
            lambda v: te.select(te.equal(v % 3, 0), v // 3, v * 2),
            lambda v: te.select(te.equal(v, 0), v, te.const(7, v.dtype) // v - te.const(9, v.dtype) % v),
            lambda v: te.cast(v, "int32") * 77,
            lambda v: te.cast(v, "int8"),
            lambda v: te.cast(v, "float32") / 16.0,
            lambda v: te.requantise(te.cast(v, "int32"), te.const(-40, "int32"), te.const(SCALE_WORD, "int32"), -128, 100),
        )
    apply = functions[int(rng.integers(len(functions)))]
    return te.compute(x.shape, lambda *i: apply(x[i]), name)


def binary(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """With any earlier tensor: its indices are taken modulo its shape, so that shapes need not match."""
    y = tensors[int(rng.integers(len(tensors)))]
    op = (lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, te.maximum)[int(rng.integers(4))]

    def element(*i: Expr) -> Expr:
        index = tuple(i[d % len(i)] % n if n < x.shape[d % len(i)] else i[d % len(i)] for d, n in enumerate(y.shape))
        return op(x[i], te.cast(y[index], x.dtype))

    return te.compute(x.shape, element, name)


def reduce_one(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """One dimension away."""
    axis = int(rng.integers(len(x.shape)))
    k = te.reduce_axis(x.shape[axis], "k")
    fold = (te.sum, te.max, te.min)[int(rng.integers(3))]
    rest = tuple(n for d, n in enumerate(x.shape) if d != axis)
    return te.compute(rest, lambda *i: fold(x[(*i[:axis], k, *i[axis:])], k), name)


def window(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """A sliding window over one dimension, with a stride."""
    axis = int(rng.integers(len(x.shape)))
    size, stride = int(rng.integers(1, min(3, x.shape[axis]) + 1)), int(rng.integers(1, 3))
    k = te.reduce_axis(size, "window")
    fold = (te.sum, te.max)[int(rng.integers(2))]
    shape = tuple((n - size) // stride + 1 if d == axis else n for d, n in enumerate(x.shape))
    return te.compute(shape, lambda *i: fold(x[tuple(v * stride + k if d == axis else v for d, v in enumerate(i))], k), name)


def transpose(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    order = [int(d) for d in rng.permutation(len(x.shape))]
    return te.compute([x.shape[d] for d in order], lambda *i: x[tuple(i[order.index(d)] for d in range(len(order)))], name)


def matmul(rng: np.random.Generator, x: te.Tensor, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """The last dimension of x against itself transposed, in int32 or float32."""
    wide = "float32" if x.dtype == "float32" else "int32"
    k, rest = te.reduce_axis(x.shape[-1], "k"), x.shape[:-1]

    def element(*i: Expr) -> te.Reduction:
        half = len(rest)
        return te.sum(te.cast(x[(*i[:half], k)], wide) * te.cast(x[(*i[half:], k)], wide), k)

    return te.compute((*rest, *rest), element, name) if len(rest) < 3 else elementwise(rng, x, tensors, name)
