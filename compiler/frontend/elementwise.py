"""Activations and arithmetic, element by element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from math import inf, prod
from typing import Any

import numpy as np
from onnx import TensorProto

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.inputs import element_type
from vdla.compiler.frontend.node import ANY, OnnxNode
from vdla.compiler.frontend.values import Anything, Value
from vdla.compiler.operators.conversion import LARGEST, SCALE
from vdla.compiler.operators.operator import FLOAT, INTEGER, NUMBER
from vdla.compiler.operators.registry import OPERATORS
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError

FLOAT_LIMIT = float(np.finfo(np.float32).max)  # ONNX's default bounds of Clip; of narrower floats they are no bounds either


@dataclass(frozen=True, slots=True)
class Direct:
    """An ONNX operator that is one of ours: the same inputs, and the same attributes under their own names or other ones.

    renamed: our attribute → ONNX's.
    """

    op: str
    renamed: Mapping[str, str] = field(default_factory=dict)

    def attributes(self, node: OnnxNode) -> dict[str, Any]:
        """Read as what their defaults are; ONNX's numbers are float32, those it leaves out too."""
        read: dict[str, Any] = {}
        for name, attribute in OPERATORS[self.op].attributes.items():
            theirs, default = self.renamed.get(name, name), attribute.default
            if isinstance(default, bool):
                read[name] = node.int_(theirs, int(default)) != 0
            else:
                text = isinstance(default, str)
                read[name] = node.string(theirs, default) if text else node.float_(theirs, float(np.float32(default)))
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
    "BitwiseAnd": Direct("bitwise_and"),
    "BitwiseOr": Direct("bitwise_or"),
    "BitwiseXor": Direct("bitwise_xor"),
    "BitwiseNot": Direct("bitwise_not"),
}
"""A new elementwise operator is a line in one of these tables and an entry in its family."""


def sum_(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Any number of addends of one dtype, from the left."""
    first = node.input(0, NUMBER)
    addends = [node.input(i, (first.dtype,)) for i in range(len(node.inputs))]
    return reduce(lambda total, addend: builder.emit("add", [total, addend]), addends)


def mean(builder: GraphBuilder, node: OnnxNode) -> Value:
    """The sum, in float32 for narrow floats, over the number of addends."""
    addends = [node.input(i, (node.input(0).dtype,)) for i in range(len(node.inputs))]
    dtype = addends[0].dtype if addends[0].dtype in FLOAT else "float32"
    wide = [builder.converted(v, dtype) for v in addends]
    total = reduce(lambda total, addend: builder.emit("add", [total, addend]), wide)
    return builder.converted(builder.emit("div", [total, builder.scalar(len(wide), dtype)]), node.input(0).dtype)


def mod(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Until opset 28 the remainder of floats must have the sign of the dividend, says ONNX."""
    if node.opset < 28 and node.has(0) and ELEMENT_TYPES[node.input(0, NUMBER).dtype].is_float:
        node.require("fmod", node.int_("fmod", 0), 1)
    return Direct("mod").emit(builder, node)


def power(builder: GraphBuilder, node: OnnxNode) -> Value:
    """In the dtype of the base. Whole exponents of whole bases are multiplied out, modulo 2^bits as products are."""
    base, exponent = node.input(0, NUMBER), node.input(1, NUMBER)
    kinds = ELEMENT_TYPES[base.dtype], ELEMENT_TYPES[exponent.dtype]
    if not kinds[0].is_float and not kinds[1].is_float and exponent.dtype != "uint64" and base.dtype != "uint64":
        wide = "int64" if max(kinds[0].bits, kinds[1].bits) > 32 or "uint32" in (base.dtype, exponent.dtype) else "int32"
        op = "integer_pow"
    else:
        wide = "float64" if "float64" in (base.dtype, exponent.dtype) or not kinds[0].is_float else "float32"
        op = "pow"
    return builder.converted(builder.emit(op, [builder.converted(v, wide) for v in (base, exponent)]), base.dtype)


def prelu(builder: GraphBuilder, node: OnnxNode) -> Value:
    """A slope for each channel that does not broadcast as it stands is one along axis 1, as PyTorch once exported it."""
    x, slope = node.input(0), node.input(1)
    if len(slope.shape) == 1 < len(x.shape) and slope.shape[0] not in (1, x.shape[-1]) and slope.shape[0] == x.shape[1]:
        slope = builder.emit("reshape", [slope], suffix="channels", shape=(*slope.shape, *[1] * (len(x.shape) - 2)))
    return builder.emit("prelu", [x, slope])


def clip(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Bounds are attributes before opset 11, inputs from then on; no upper and a zero lower bound make a relu.

    Bounds that are not known are the greater and the lesser of two tensors. ONNX: high wins where they cross.
    """
    x = node.input(0, NUMBER)
    if node.opset < 11:
        low, high = node.float_("min", -FLOAT_LIMIT), node.float_("max", FLOAT_LIMIT)
    elif any(bound.constant is None for bound in bounds(node, x.dtype)):
        return clip_by_tensors(builder, node, x)
    else:
        low, high = node.number(1, "min", -inf), node.number(2, "max", inf)
    if low != low or high != high:
        raise ModelError("a bound of Clip is not a number")
    if (low, high) == (-inf, inf):
        return x
    if ELEMENT_TYPES[x.dtype].is_float:
        limit = FLOAT_LIMIT if x.dtype != "float64" else inf
        low, high = max(low, -limit), min(high, limit)
        if low == 0 and high == limit:
            return builder.emit("relu", [x])
    low = min(low, high)
    if x.unsigned:  # levels: each less 128
        clipped = builder.emit("clip", [replace(x, unsigned=False)], low=max(low, 0) - 128, high=min(high, 255) - 128)
        return replace(clipped, unsigned=True)
    return builder.emit("clip", [x], low=low, high=high)


def bounds(node: OnnxNode, dtype: str) -> list[Value]:
    """The bounds that are there, each of one element."""
    found = [node.input(i, (dtype,)) for i in (1, 2) if node.has(i)]
    for bound in found:
        if prod(bound.shape) != 1:
            raise ModelError("a bound of Clip is not one number", found=f"shape {bound.shape}")
    return found


def clip_by_tensors(builder: GraphBuilder, node: OnnxNode, x: Value) -> Value:
    for index, op in ((1, "max"), (2, "min")):
        if node.has(index):
            bound = builder.emit("reshape", [node.input(index, (x.dtype,))], suffix="bound", shape=())
            x = builder.emit(op, [x, bound], suffix=op)
    return x


def identity(builder: GraphBuilder, node: OnnxNode) -> Anything:
    """Leaves no node behind."""
    if not node.inputs:
        raise ModelError(f"input 0 of {node.op} is absent")
    return node.inputs[0]


def cast(builder: GraphBuilder, node: OnnxNode) -> Value:
    """To any type of elements."""
    return cast_to(builder, node, element_type(node.int_("to", TensorProto.UNDEFINED)))


def cast_like(builder: GraphBuilder, node: OnnxNode) -> Value:
    """To the type of another tensor."""
    return cast_to(builder, node, node.input(1, ANY).dtype)


def cast_to(builder: GraphBuilder, node: OnnxNode, dtype: str) -> Value:
    """saturate and round_mode are about 8-bit floats alone. Raises `ModelError` for what ONNX and its reference differ in."""
    x, saturate, mode = node.input(0, ANY), node.int_("saturate", 1) != 0, node.string("round_mode", "up")
    if x.dtype == dtype and not (saturate and dtype in LARGEST):  # which makes infinity the largest value
        return x
    if dtype != SCALE:
        return builder.emit("cast", [x], to=dtype, saturate=saturate)
    node.require("saturate", int(saturate), 1)
    node.require("round_mode", mode, "up")
    wide = x if x.dtype in FLOAT else builder.converted(x, "float32")
    return builder.emit("power_above", [wide])


def bit_cast(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Bits as another type of the same width."""
    x, dtype = node.input(0, ANY), element_type(node.int_("to", TensorProto.UNDEFINED))
    return x if x.dtype == dtype else builder.emit("bit_cast", [x], to=dtype)


def bit_shift(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, INTEGER)
    return builder.emit("bit_shift", [x, node.input(1, (x.dtype,))], direction=node.string("direction", "").lower())


def dropout(builder: GraphBuilder, node: OnnxNode) -> Anything | tuple[Anything, ...]:
    """Nothing at inference, which is all there is here; the mask, true where an element stays, from opset 10 on."""
    node.float_("ratio", 0.5)
    node.int_("seed", 0)
    if node.has(2) and node.array(2, "training_mode").any() and node.number(1, "ratio", 0.5) != 0:
        raise ModelError("Dropout in training mode is not supported", hint="export the model for inference")
    x = identity(builder, node)
    if node.opset < 10 or not node.wanted(1):
        return x
    return x, builder.constant(np.broadcast_to(np.array(True), node.input(0, ANY).shape))


IMPORTERS = {
    **{name: direct.emit for name, direct in (ACTIVATIONS | FUNCTIONS).items()},
    "Mod": mod,
    "Pow": power,
    "PRelu": prelu,
    "Clip": clip,
    "Sum": sum_,
    "Mean": mean,
    "Identity": identity,
    "Dropout": dropout,
    "Cast": cast,
    "CastLike": cast_like,
    "BitCast": bit_cast,
    "BitShift": bit_shift,
}
