"""Operators that write elements where another input says, one after another: of several that meet in a place all count.

Indices are those of `indexing`: below zero from the end, and the nearest element where they lie on none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import choice, integer
from vdla.compiler.operators.binary import greater_of, lesser_of
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required, unflatten
from vdla.compiler.operators.indexing import INDEX, check_indices_lie_on, index_in, numpy_index_in
from vdla.compiler.operators.operator import ANY, MAX_RANK, NUMBER, Fusion, Input, Operator
from vdla.compiler.operators.shapes import axis_in, present
from vdla.errors import ModelError

COMBINE: Mapping[str, Callable[[Expr, Expr], Expr]] = {
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": greater_of,
    "min": lesser_of,
}
"""What a place holds after another value comes to it."""
UFUNCS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
REDUCTION = choice(*COMBINE, default="none")


def check_reduction(x: TensorType, a: Attributes) -> None:
    if a["reduction"] != "none" and x.dtype not in NUMBER:
        raise ModelError(f"{a['reduction']} of what are no numbers", found=x.dtype, expected=" or ".join(NUMBER))


def infer_scatter_elements(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, indices, updates = present(types)
    axis = axis_in(a["axis"], len(x.shape))
    check_indices_lie_on(x.shape, indices.shape, axis)
    if updates.shape != indices.shape:
        raise ModelError("updates do not fit their indices", found=f"{updates.shape} and {indices.shape}", expected="one shape")
    check_reduction(x, a)
    return (x,)


def define_scatter_elements(types: Types, a: Attributes) -> Definition:
    """A step for each index along the axis: those at different places off it never meet."""
    x, indices, updates = required(*placeholders(types, "x", "indices", "updates"))
    axis = a["axis"] % len(x.shape)
    t, state = te.scan_axis(indices.shape[axis], "t"), te.placeholder(x.shape, x.dtype, "state")
    rest = (*indices.shape[:axis], *indices.shape[axis + 1 :])

    def place(*at: Expr) -> tuple[Expr, ...]:
        index = index_in(indices[(*at[:axis], t, *at[axis:])], x.shape[axis])
        return (*at[:axis], index, *at[axis:])

    def element(*at: Expr) -> Expr:
        return COMBINE[a["reduction"]](state[place(*at)], updates[(*at[:axis], t, *at[axis:])])

    update = te.compute(rest, element, "update")
    (last,), _ = te.scan(t, [te.State(state, x, update, at=place)], name="scatter")
    return Definition((x, indices, updates), (te.compute(x.shape, lambda *at: last[at], "y"),))


def scatter_elements(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x, indices, updates = inputs
    axis = a["axis"] % x.ndim
    places = list(np.indices(indices.shape))
    places[axis] = numpy_index_in(indices, x.shape[axis])
    return written(x, tuple(places), updates, a["reduction"])


def written(x: np.ndarray, places: tuple[np.ndarray, ...], updates: np.ndarray, reduction: str) -> np.ndarray:
    y = x.copy()
    if reduction == "none":
        y[places] = updates
    else:
        UFUNCS[reduction].at(y, places, updates)
    return y


def infer_scatter_nd(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, indices, updates = present(types)
    depth = indices.shape[-1]
    if not 1 <= depth <= len(x.shape):
        raise ModelError("indices of wrong length", found=depth, expected=f"1..{len(x.shape)}, for {x.shape}")
    expected = (*indices.shape[:-1], *x.shape[depth:])
    if updates.shape != expected:
        raise ModelError("updates do not fit their indices", found=updates.shape, expected=str(expected))
    check_reduction(x, a)
    return (x,)


def define_scatter_nd(types: Types, a: Attributes) -> Definition:
    """A step for each index, which writes a slice."""
    x, indices, updates = required(*placeholders(types, "x", "indices", "updates"))
    *places, depth = indices.shape
    t, state = te.scan_axis(prod(places), "t"), te.placeholder(x.shape, x.dtype, "state")
    step = unflatten(t, tuple(places))

    def place(*at: Expr) -> tuple[Expr, ...]:
        return (*(index_in(indices[(*step, d)], x.shape[d]) for d in range(depth)), *at)

    def element(*at: Expr) -> Expr:
        return COMBINE[a["reduction"]](state[place(*at)], updates[(*step, *at)])

    update = te.compute(x.shape[depth:], element, "update")
    (last,), _ = te.scan(t, [te.State(state, x, update, at=place)], name="scatter")
    return Definition((x, indices, updates), (te.compute(x.shape, lambda *at: last[at], "y"),))


def scatter_nd(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x, indices, updates = inputs
    places = tuple(numpy_index_in(indices[..., d], x.shape[d]) for d in range(indices.shape[-1]))
    return written(x, places, updates, a["reduction"])


def scatter(name: str, **fields: Any) -> Operator:
    return Operator(
        name=name,
        fusion=Fusion.OPAQUE,
        host_reason="no VDLA kernel: elements are written where data says, and the host does that",
        **fields,
    )


FAMILY = (
    scatter(
        "scatter_elements",
        inputs=(Input("x", ANY, rank=(1, MAX_RANK)), Input("indices", INDEX), Input("updates", ANY, like="x")),
        attributes={"axis": integer(0), "reduction": REDUCTION},
        infer=infer_scatter_elements,
        define=define_scatter_elements,
        kernel=scatter_elements,
    ),
    scatter(
        "scatter_nd",
        inputs=(
            Input("x", ANY, rank=(1, MAX_RANK)),
            Input("indices", INDEX, rank=(1, MAX_RANK)),
            Input("updates", ANY, like="x"),
        ),
        attributes={"reduction": REDUCTION},
        infer=infer_scatter_nd,
        define=define_scatter_nd,
        kernel=scatter_nd,
    ),
)
