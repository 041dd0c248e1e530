"""Makers of elementwise operators: from a function of elements and its NumPy twin to a whole record.

    unary("exp", te.exp, np.exp, non_negative=True)

is all there is to say about exp, but for the line that imports it (compiler/frontend/elementwise.py). Families that use them:
`unary`, `activations`, `binary`, `comparison`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import Attribute
from vdla.compiler.operators.definition import Attributes, Definition, Types, broadcast_index, placeholders, required
from vdla.compiler.operators.operator import FLOAT, Define, Fusion, Infer, Input, Operator
from vdla.compiler.operators.shapes import broadcast, broadcast_shape, broadcast_to, same, same_shape


def constant(x: Expr, value: float) -> Expr:
    """A number in the dtype of `x`."""
    return te.const(value, x.dtype)


def number(x: np.ndarray, value: float) -> Any:
    """A number in the dtype of `x`, for arrays."""
    return x.dtype.type(value)


def unary(
    name: str,
    expression: Callable[..., Expr],
    kernel: Callable[..., np.ndarray],
    *,
    attributes: Mapping[str, Attribute] | None = None,
    dtypes: tuple[str, ...] = FLOAT,
    output: str = "",
    infer: Infer | None = None,
    **traits: Any,
) -> Operator:
    """y = expression(x): both functions take the element or the array, and the attributes where the operator has any.

    output: the dtype of y, when it is not that of x; infer: where that and the shape are not all. traits: further fields of
    `Operator`.
    """

    def define(types: Types, a: Attributes) -> Definition:
        (x,) = required(*placeholders(types, "x"))
        function = (lambda value: expression(value, a)) if attributes else expression
        return Definition((x,), (te.compute(x.shape, lambda *at: function(x[at]), "y"),))

    return Operator(
        name=name,
        inputs=(Input("x", dtypes),),
        attributes=attributes or {},
        infer=infer or (same_shape(output) if output else same),
        define=define,
        kernel=lambda inputs, a: kernel(inputs[0], a) if attributes else kernel(inputs[0]),
        fusion=Fusion.ELEMENTWISE,
        **traits,
    )


def broadcasting(function: Callable[..., Expr], *names: str) -> Define:
    """y = function(…) of as many elements, broadcast as NumPy does."""

    def define(types: Types, a: Attributes) -> Definition:
        inputs = required(*placeholders(types, *names))
        shape = broadcast_shape([x.shape for x in inputs])
        element = lambda *at: function(*(x[broadcast_index(x.shape, at)] for x in inputs))  # noqa: E731
        return Definition(inputs, (te.compute(shape, element, "y"),))

    return define


def binary(
    name: str,
    expression: Callable[..., Expr],
    kernel: Callable[..., np.ndarray],
    *,
    attributes: Mapping[str, Attribute] | None = None,
    dtypes: tuple[str, ...] = FLOAT,
    output: str = "",
    **traits: Any,
) -> Operator:
    """y = expression(a, b), broadcast as NumPy does, both of one dtype; further as in `unary`."""

    def define(types: Types, a: Attributes) -> Definition:
        function = (lambda x, y: expression(x, y, a)) if attributes else expression
        return broadcasting(function, "a", "b")(types, a)

    return Operator(
        name=name,
        inputs=(Input("a", dtypes), Input("b", dtypes, like="a")),
        attributes=attributes or {},
        infer=broadcast_to(output) if output else broadcast,
        define=define,
        kernel=lambda inputs, a: kernel(*inputs, a) if attributes else kernel(*inputs),
        fusion=Fusion.ELEMENTWISE,
        **traits,
    )


def variadic(
    name: str, expression: Callable[..., Expr], kernel: np.ufunc, *, dtypes: tuple[str, ...] = FLOAT, **traits: Any
) -> Operator:
    """y = x0 ∘ x1 ∘ … from the left, broadcast as NumPy does."""

    def define(types: Types, a: Attributes) -> Definition:
        names = [f"x{i}" for i in range(len(types))]
        return broadcasting(lambda *values: reduce(expression, values), *names)(types, a)

    return Operator(
        name=name,
        inputs=(Input("x", dtypes),),
        variadic=True,
        infer=broadcast,
        define=define,
        kernel=lambda inputs, a: reduce(kernel, inputs),
        fusion=Fusion.ELEMENTWISE,
        **traits,
    )
