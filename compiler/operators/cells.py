"""The functions inside recurrent cells: activations with their ONNX parameters, as expressions and in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import Attribute, is_list, is_real
from vdla.compiler.operators.elementwise import constant


@dataclass(frozen=True, slots=True)
class Activation:
    """expression, kernel: of an element or an array, alpha and beta. defaults: of the parameters it has, None where it must be
    given one; it has alpha, or alpha and beta, or neither."""

    expression: Callable[[Expr, float, float], Expr]
    kernel: Callable[[np.ndarray, Any, Any], np.ndarray]
    defaults: tuple[float | None, ...] = ()


def affine(x: Expr, alpha: float, beta: float) -> Expr:
    return x * alpha + constant(x, beta)


def softplus(x: Expr, alpha: float, beta: float) -> Expr:
    """log(1 + eˣ), by way of e⁻|ˣ|, which does not overflow."""
    return te.maximum(constant(x, 0), x) + te.log1p(te.exp(te.absolute(x) * -1))


def hard_sigmoid(x: Expr, alpha: float, beta: float) -> Expr:
    return te.minimum(constant(x, 1), te.maximum(constant(x, 0), affine(x, alpha, beta)))


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": Activation(lambda x, a, b: te.sigmoid(x), lambda x, a, b: (np.tanh(x / 2) + 1) / 2),
    "tanh": Activation(lambda x, a, b: te.tanh(x), lambda x, a, b: np.tanh(x)),
    "relu": Activation(lambda x, a, b: te.maximum(constant(x, 0), x), lambda x, a, b: np.maximum(x, 0)),
    "softsign": Activation(
        lambda x, a, b: x / (te.absolute(x) + constant(x, 1)), lambda x, a, b: x / (1 + np.abs(x))
    ),
    "softplus": Activation(softplus, lambda x, a, b: np.logaddexp(x, x.dtype.type(0))),
    "affine": Activation(affine, lambda x, a, b: a * x + b, (None, None)),
    "scaledtanh": Activation(lambda x, a, b: te.tanh(x * b) * a, lambda x, a, b: a * np.tanh(b * x), (None, None)),
    "hardsigmoid": Activation(hard_sigmoid, lambda x, a, b: np.clip(a * x + b, 0, 1), (0.2, 0.5)),
    "leakyrelu": Activation(
        lambda x, a, b: te.select(x < constant(x, 0), x * a, x), lambda x, a, b: np.where(x < 0, a * x, x), (0.01,)
    ),
    "thresholdedrelu": Activation(
        lambda x, a, b: te.select(x > constant(x, a), x, constant(x, 0)), lambda x, a, b: np.where(x > a, x, 0 * a), (1.0,)
    ),
    "elu": Activation(
        lambda x, a, b: te.select(x < constant(x, 0), te.expm1(x) * a, x),
        lambda x, a, b: np.where(x < 0, a * np.expm1(x), x),
        (1.0,),
    ),
}  # fmt: skip
"""By ONNX's name in lower case, as recurrent operators list them."""


def chosen(*names: str) -> Attribute:
    """An attribute: a (name, alpha, beta) for each function of a cell, by default `names`."""

    def accepts(value: Any) -> bool:
        return is_list(value, len(names)) and all(is_activation(v) for v in value)

    default = tuple((name, 0.0, 0.0) for name in names)
    return Attribute(accepts, f"{len(names)} activations, each a name, alpha and beta", default)


def is_activation(value: Any) -> bool:
    return is_list(value, 3) and value[0] in ACTIVATIONS and all(is_real(v) and abs(v) < inf for v in value[1:])


def expression_of(choice: tuple[str, float, float], limit: float) -> Callable[[Expr], Expr]:
    """The function of an element that a cell applies; its input is clipped to ±`limit`."""
    name, alpha, beta = choice
    function = ACTIVATIONS[name].expression
    if limit == inf:
        return lambda x: function(x, alpha, beta)
    return lambda x: function(te.clip(x, constant(x, -limit), constant(x, limit)), alpha, beta)


def kernel_of(choice: tuple[str, float, float], limit: float) -> Callable[[np.ndarray], np.ndarray]:
    """The same of an array, in its dtype."""
    name, alpha, beta = choice

    def function(x: np.ndarray) -> np.ndarray:
        number = x.dtype.type
        bounded = x if limit == inf else np.clip(x, number(-limit), number(limit))
        return ACTIVATIONS[name].kernel(bounded, number(alpha), number(beta))

    return function
