"""Activations and arithmetic, element by element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from onnx import TensorProto

from vdla.compiler.frontend.builder import GraphBuilder, Value, limited
from vdla.compiler.frontend.node import EXACT, OnnxNode
from vdla.compiler.operators.operator import NUMBER
from vdla.compiler.operators.registry import OPERATORS
from vdla.errors import ModelError

CASTS: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
}
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
            value = node.input(index, (same,) if same else tuple(d for d in declared.dtypes if d in EXACT))
            known.setdefault(declared.name, value.dtype)
            values.append(value)
        return builder.emit(self.op, values, **self.attributes(node))

    def fold(self, node: OnnxNode) -> np.ndarray:
        """What it is of constants, which may have dtypes that tensors may not."""
        arrays = [node.array(index, f"input {index}") for index in range(len(node.inputs))]
        limited(np.broadcast_shapes(*(a.shape for a in arrays)))
        result = OPERATORS[self.op].kernel(arrays, self.attributes(node))
        assert isinstance(result, np.ndarray | np.generic)
        return np.asarray(result)


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
"""Those of constants are evaluated at import: exporters write them around shapes.

A new elementwise operator is a line in one of these tables and an entry in its family.
"""


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
    return builder.emit("pow", [node.input(0), converted(builder, node.input(1, NUMBER), "float32")])


def converted(builder: GraphBuilder, value: Value, dtype: str) -> Value:
    """`value` in another dtype, at once when it is constant."""
    if value.dtype == dtype:
        return value
    if value.constant is not None:
        return builder.constant(value.constant.astype(dtype), builder.fresh(f"{value.name}.{dtype}"))
    return builder.emit("cast", [value], suffix="cast", to=dtype)


def clip(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Bounds are attributes before opset 11, inputs from then on; no upper and a zero lower bound make a relu."""
    if node.opset < 11:
        low, high = node.float_("min", -FLOAT_LIMIT), node.float_("max", FLOAT_LIMIT)
    else:
        low, high = bound(node, 1, "min", -FLOAT_LIMIT), bound(node, 2, "max", FLOAT_LIMIT)
    low, high = max(low, -FLOAT_LIMIT), min(high, FLOAT_LIMIT)
    if low == 0 and high == FLOAT_LIMIT:
        return builder.emit("relu", [node.input(0)])
    if np.isnan(low) or np.isnan(high):
        raise ModelError("a bound of Clip is not a number")
    return builder.emit("clip", [node.input(0)], low=min(low, high), high=high)  # ONNX: high wins where they cross


def bound(node: OnnxNode, index: int, what: str, default: float) -> float:
    if not node.has(index):
        return default
    array = node.array(index, what)
    if array.size != 1:
        raise ModelError(f"{what} of Clip is not a scalar", found=array.shape)
    return float(array.ravel()[0])


def identity(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Leaves no node behind."""
    value = node.inputs[0] if node.inputs else None
    if value is None:
        raise ModelError(f"input 0 of {node.op} is absent")
    return value


def cast(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Between the dtypes that tensors may have; of quantised levels, nothing."""
    node.int_("saturate", 1)  # both about float8 alone
    node.string("round_mode", "up")
    to = node.int_("to", TensorProto.UNDEFINED)
    if to not in CASTS:
        raise ModelError(f"unsupported attribute to of {node.op}", found=to, expected=" or ".join(map(repr, CASTS)))
    return converted(builder, node.input(0, EXACT), CASTS[to])


def dropout(builder: GraphBuilder, node: OnnxNode) -> Value:
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
    "Clip": clip,
    "Sum": sum_,
    "Identity": identity,
    "Dropout": dropout,
    "Cast": cast,
}
