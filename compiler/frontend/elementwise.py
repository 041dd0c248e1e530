"""Activations and arithmetic, element by element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from onnx import TensorProto

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.inputs import element_type
from vdla.compiler.frontend.node import ANY, OnnxNode
from vdla.compiler.frontend.values import Anything, Value
from vdla.compiler.operators.operator import NUMBER
from vdla.compiler.operators.registry import OPERATORS
from vdla.errors import ModelError

FLOAT_LIMIT = float(np.finfo(np.float32).max)  # ONNX's default bounds of Clip


@dataclass(frozen=True, slots=True)
class Direct:
    """An ONNX operator that is one of ours: the same inputs, and the same attributes under their own names or other ones.

    renamed: our attribute → ONNX's.
    """

    op: str
    renamed: Mapping[str, str] = field(default_factory=dict)

    def attributes(self, node: OnnxNode) -> dict[str, Any]:
        """Read as what their defaults are."""
        read: dict[str, Any] = {}
        for name, attribute in OPERATORS[self.op].attributes.items():
            theirs, default = self.renamed.get(name, name), attribute.default
            if isinstance(default, bool):
                read[name] = node.int_(theirs, int(default)) != 0
            else:
                read[name] = node.string(theirs, default) if isinstance(default, str) else node.float_(theirs, default)
        return read

    def emit(self, builder: GraphBuilder, node: OnnxNode) -> Value:
        operator = OPERATORS[self.op]
        known: dict[str, str] = {}  # input → dtype
        values = []
        for index in range(len(node.inputs) if operator.variadic else operator.arity[1]):
            declared = operator.input_at(index)
            same = known.get(declared.like or (declared.name if operator.variadic else ""))
            value = node.input(index, (same,) if same else declared.dtypes)
            known.setdefault(declared.name, value.dtype)
            values.append(value)
        return builder.emit(self.op, values, **self.attributes(node))


ACTIVATIONS = {
    "Relu": Direct("relu"),
    "Sigmoid": Direct("sigmoid"),
    "Tanh": Direct("tanh"),
    "HardSwish": Direct("hard_swish"),
    "HardSigmoid": Direct("hard_sigmoid"),
    "LeakyRelu": Direct("leaky_relu"),
    "Elu": Direct("elu"),
    "Celu": Direct("celu"),
    "Selu": Direct("selu"),
    "PRelu": Direct("prelu"),
    "ThresholdedRelu": Direct("thresholded_relu"),
    "Shrink": Direct("shrink", {"threshold": "lambd"}),
    "Softplus": Direct("softplus"),
    "Softsign": Direct("softsign"),
    "Mish": Direct("mish"),
    "Gelu": Direct("gelu"),
    "Swish": Direct("swish"),
}
FUNCTIONS = {
    "Abs": Direct("abs"),
    "Neg": Direct("neg"),
    "Sign": Direct("sign"),
    "Reciprocal": Direct("reciprocal"),
    "Sqrt": Direct("sqrt"),
    "Exp": Direct("exp"),
    "Log": Direct("log"),
    "Erf": Direct("erf"),
    "Floor": Direct("floor"),
    "Ceil": Direct("ceil"),
    "Round": Direct("round"),
    "Sin": Direct("sin"),
    "Cos": Direct("cos"),
    "Tan": Direct("tan"),
    "Asin": Direct("asin"),
    "Acos": Direct("acos"),
    "Atan": Direct("atan"),
    "Sinh": Direct("sinh"),
    "Cosh": Direct("cosh"),
    "Asinh": Direct("asinh"),
    "Acosh": Direct("acosh"),
    "Atanh": Direct("atanh"),
    "IsNaN": Direct("is_nan"),
    "IsInf": Direct("is_inf", {"positive": "detect_positive", "negative": "detect_negative"}),
    "Not": Direct("not"),
    "Add": Direct("add"),
    "Sub": Direct("sub"),
    "Mul": Direct("mul"),
    "Div": Direct("div"),
    "Max": Direct("max"),
    "Min": Direct("min"),
    "And": Direct("and"),
    "Or": Direct("or"),
    "Xor": Direct("xor"),
    "Equal": Direct("equal"),
    "Greater": Direct("greater"),
    "Less": Direct("less"),
    "GreaterOrEqual": Direct("greater_or_equal"),
    "LessOrEqual": Direct("less_or_equal"),
    "Where": Direct("where"),
    "Mod": Direct("mod"),
    "Pow": Direct("pow"),
}
"""A new elementwise operator is a line in one of these tables and an entry in its family."""


def sum_(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Any number of addends, from the left."""
    addends = [node.input(i) for i in range(max(len(node.inputs), 1))]
    return reduce(lambda total, addend: builder.emit("add", [total, addend]), addends)


def mod(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Of floats the remainder must have the sign of the dividend, says ONNX."""
    if node.has(0) and node.input(0, NUMBER).dtype == "float32":
        node.require("fmod", node.int_("fmod", 0), 1)
    return FUNCTIONS["Mod"].emit(builder, node)


def power(builder: GraphBuilder, node: OnnxNode) -> Value:
    """An exponent of another dtype becomes the base's."""
    base = node.input(0)
    return builder.emit("pow", [base, builder.converted(node.input(1, NUMBER), base.dtype)])


def prelu(builder: GraphBuilder, node: OnnxNode) -> Value:
    """A slope for each channel that does not broadcast as it stands is one along axis 1, as PyTorch once exported it."""
    x, slope = node.input(0), node.input(1)
    if len(slope.shape) == 1 < len(x.shape) and slope.shape[0] not in (1, x.shape[-1]) and slope.shape[0] == x.shape[1]:
        slope = builder.emit("reshape", [slope], suffix="channels", shape=(*slope.shape, *[1] * (len(x.shape) - 2)))
    return builder.emit("prelu", [x, slope])


def clip(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Bounds are attributes before opset 11, inputs from then on; no upper and a zero lower bound make a relu."""
    if node.opset < 11:
        low, high = node.float_("min", -FLOAT_LIMIT), node.float_("max", FLOAT_LIMIT)
    else:
        low, high = node.number(1, "min", -FLOAT_LIMIT), node.number(2, "max", FLOAT_LIMIT)
    low, high = max(low, -FLOAT_LIMIT), min(high, FLOAT_LIMIT)
    if low == 0 and high == FLOAT_LIMIT:
        return builder.emit("relu", [node.input(0)])
    if np.isnan(low) or np.isnan(high):
        raise ModelError("a bound of Clip is not a number")
    return builder.emit("clip", [node.input(0)], low=min(low, high), high=high)  # ONNX: high wins where they cross


def identity(builder: GraphBuilder, node: OnnxNode) -> Anything:
    """Leaves no node behind."""
    if not node.inputs:
        raise ModelError(f"input 0 of {node.op} is absent")
    return node.inputs[0]


def cast(builder: GraphBuilder, node: OnnxNode) -> Value:
    """To any type of elements."""
    node.int_("saturate", 1)  # both about float8 alone
    node.string("round_mode", "up")
    return builder.converted(node.input(0, ANY), element_type(node.int_("to", TensorProto.UNDEFINED)))


def dropout(builder: GraphBuilder, node: OnnxNode) -> Anything:
    """Nothing at inference, which is all there is here."""
    node.float_("ratio", 0.5)
    node.int_("seed", 0)
    if node.has(2) and node.array(2, "training_mode").any():
        raise ModelError("Dropout in training mode is not supported", hint="export the model for inference")
    return identity(builder, node)


IMPORTERS = {
    **{name: direct.emit for name, direct in (ACTIVATIONS | FUNCTIONS).items()},
    "Mod": mod,
    "Pow": power,
    "PRelu": prelu,
    "Clip": clip,
    "Sum": sum_,
    "Identity": identity,
    "Dropout": dropout,
    "Cast": cast,
}
