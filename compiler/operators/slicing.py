"""Operators whose output has elements of one tensor at places that only the shape decides: parts, borders, repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.operators.attribute import choice, flag, integer, integers
from vdla.compiler.operators.definition import Attributes, Definition, Types, broadcast_index, placeholders, required
from vdla.compiler.operators.movement import holds, movement
from vdla.compiler.operators.operator import ANY, MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.shapes import broadcast_shape, present, same
from vdla.errors import ModelError

MODES = ("reflect", "edge", "wrap")


def one_for_each_dimension(name: str, values: Sequence[int], shape: Sequence[int]) -> None:
    """Raises `ModelError`."""
    if len(values) != len(shape):
        raise ModelError(f"{name} do not fit the input", found=tuple(values), expected=f"one for each dimension of {shape}")


def infer_slice(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """Every index lies on the tensor."""
    (x,) = present(types)
    for name in ("starts", "steps", "sizes"):
        one_for_each_dimension(name, a[name], x.shape)
    for start, step, size, extent in zip(a["starts"], a["steps"], a["sizes"], x.shape, strict=True):
        last = start + (size - 1) * step
        if not step or (size and not (0 <= start < extent and 0 <= last < extent)):
            raise ModelError(
                "a slice leaves the tensor", found=f"from {start} by {step} to {last}", expected=f"0..{extent - 1}"
            )
    return (TensorType(tuple(a["sizes"]), x.dtype),)


def define_slice(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))

    def source(i: Expr, start: int, step: int) -> Expr:
        scaled = i if step == 1 else i * step
        return scaled + start if start else scaled

    element = lambda *at: x[tuple(map(source, at, a["starts"], a["steps"]))]  # noqa: E731
    return Definition((x,), (te.compute(a["sizes"], element, "y"),))


def slice_(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    (x,) = inputs
    ends = [start + step * size for start, step, size in zip(a["starts"], a["steps"], a["sizes"], strict=True)]
    region = zip(a["starts"], ends, a["steps"], strict=True)
    return x[tuple(slice(start, None if end < 0 else end, step) for start, end, step in region)].copy()


def infer_border_pad(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    for name in ("before", "after"):
        one_for_each_dimension(name, a[name], x.shape)
    return (TensorType(tuple(b + n + e for n, b, e in zip(x.shape, a["before"], a["after"], strict=True)), x.dtype),)


def border_source(size: int, before: int, after: int, mode: str) -> np.ndarray:
    """Which element each one of a padded axis is: reflect 2 1|0 1 2|1 0, edge 0 0|0 1 2|2 2, wrap 1 2|0 1 2|0 1."""
    position = np.arange(-before, size + after)
    if mode == "edge":
        return np.clip(position, 0, size - 1).astype(np.int32)
    if mode == "wrap":
        return (position % size).astype(np.int32)
    period = max(2 * size - 2, 1)  # there and back, neither end twice
    return np.minimum(position % period, -position % period).astype(np.int32)


def define_border_pad(types: Types, a: Attributes) -> Definition:
    """Each padded axis is looked up in a table."""
    (x,) = required(*placeholders(types, "x"))
    pads = list(zip(a["before"], a["after"], strict=True))
    values = {d: border_source(x.shape[d], *pads[d], a["mode"]) for d in range(len(pads)) if any(pads[d])}
    tables = {d: te.placeholder(table.shape, "int32", f"source{d}") for d, table in values.items()}

    def source(d: int, i: Expr) -> Expr:
        return te.clip(tables[d][i], 0, x.shape[d] - 1) if d in tables else i

    shape = [b + n + e for n, (b, e) in zip(x.shape, pads, strict=True)]
    y = te.compute(shape, lambda *at: x[tuple(source(d, i) for d, i in enumerate(at))], "y")
    return Definition((x, *tables.values()), (y,), tuple(values.values()))


def border_pad(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    widths = list(zip(a["before"], a["after"], strict=True))
    return np.pad(inputs[0], widths, mode=a["mode"])


def infer_repeated(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    one_for_each_dimension("repeats", a["repeats"], x.shape)
    return (TensorType(tuple(n * r for n, r in zip(x.shape, a["repeats"], strict=True)), x.dtype),)


def define_tile(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    source = lambda i, n, r: i if r == 1 else Const(0) if n == 1 else i % n  # noqa: E731
    element = lambda *at: x[tuple(map(source, at, x.shape, a["repeats"]))]  # noqa: E731
    return Definition((x,), (te.compute(infer_repeated(types, a)[0].shape, element, "y"),))


def define_repeat(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    source = lambda i, r: i if r == 1 else i // r  # noqa: E731
    element = lambda *at: x[tuple(map(source, at, a["repeats"]))]  # noqa: E731
    return Definition((x,), (te.compute(infer_repeated(types, a)[0].shape, element, "y"),))


def repeat(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    y = inputs[0]
    for axis, times in enumerate(a["repeats"]):
        y = np.repeat(y, times, axis)
    return y


def infer_expand(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    if broadcast_shape([x.shape, tuple(a["shape"])]) != tuple(a["shape"]):
        raise ModelError("the input does not broadcast to the shape", found=f"{x.shape} to {tuple(a['shape'])}")
    return (TensorType(tuple(a["shape"]), x.dtype),)


def define_expand(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    return Definition((x,), (te.compute(a["shape"], lambda *at: x[broadcast_index(x.shape, at)], "y"),))


def define_trilu(types: Types, a: Attributes) -> Definition:
    """The diagonal j - i = k and what lies on one side of it; zeros elsewhere."""
    (x,) = required(*placeholders(types, "x"))

    def element(*at: Expr) -> Expr:
        *_, i, j = at
        diagonal = i + a["k"]
        return te.select(j >= diagonal if a["upper"] else j <= diagonal, x[at], te.const(0, x.dtype))

    return Definition((x,), (te.compute(x.shape, element, "y"),))


def trilu(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    return (np.triu if a["upper"] else np.tril)(inputs[0], a["k"])


FAMILY: tuple[Operator, ...] = (
    movement(
        "slice",
        inputs=(Input("x", ANY),),
        attributes={"starts": integers(), "steps": integers(), "sizes": integers(low=0)},
        infer=infer_slice,
        define=define_slice,
        kernel=slice_,
    ),
    movement(
        "border_pad",
        inputs=(Input("x", ANY, rank=(1, MAX_RANK)),),
        attributes={"before": integers(low=0), "after": integers(low=0), "mode": choice(*MODES)},
        infer=infer_border_pad,
        define=define_border_pad,
        kernel=border_pad,
    ),
    movement(
        "tile",
        inputs=(Input("x", ANY),),
        attributes={"repeats": integers(low=0)},
        infer=infer_repeated,
        define=define_tile,
        kernel=lambda i, a: np.tile(i[0], a["repeats"]),
    ),
    movement(
        "repeat",
        inputs=(Input("x", ANY),),
        attributes={"repeats": integers(low=1)},
        infer=infer_repeated,
        define=define_repeat,
        kernel=repeat,
    ),
    movement(
        "expand",
        inputs=(Input("x", ANY),),
        attributes={"shape": integers(low=0)},
        infer=infer_expand,
        define=define_expand,
        kernel=lambda i, a: np.broadcast_to(i[0], a["shape"]),
    ),
    Operator(
        name="trilu",
        inputs=(Input("x", tuple(dtype for dtype in ANY if holds(dtype, 0)), rank=(2, MAX_RANK)),),
        attributes={"upper": flag(True), "k": integer(0, low=-(1 << 30), high=1 << 30)},
        infer=same,
        define=define_trilu,
        kernel=trilu,
        fusion=Fusion.INJECTIVE,
        slope=1,
        host_reason="no VDLA kernel: zeros take the place of elements",
    ),
)
