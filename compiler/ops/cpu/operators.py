"""The tensor expressions of every operator on the CPU, by name. Some take a choice as a further argument.

conv2d      form: "direct", "columns" or "depthwise"
qconv2d     form: these, or "bytes"
dense, qdense   lanes: of the partial sums
"""

from __future__ import annotations

from collections.abc import Callable

from vdla.compiler.operators import products
from vdla.compiler.operators.definition import Attributes, Definition, Types
from vdla.compiler.operators.elementwise import CHANNELWISE, ELEMENTWISE
from vdla.compiler.operators.movement import MOVEMENT
from vdla.compiler.operators.pooling import REDUCTIONS, WINDOWS
from vdla.compiler.ops.cpu import byte_products
from vdla.errors import CompileError

Define = Callable[..., Definition]


def qconv2d(types: Types, a: Attributes, form: str = "direct") -> Definition:
    return byte_products.qconv2d(types, a) if form == "bytes" else products.qconv2d(types, a, form)


OPERATORS: dict[str, Define] = {
    **ELEMENTWISE,
    **CHANNELWISE,
    **MOVEMENT,
    **REDUCTIONS,
    **WINDOWS,
    "conv2d": products.conv2d,
    "qconv2d": qconv2d,
    "dense": products.dense,
    "qdense": products.qdense,
    "matmul": products.matmul,
    "qadd": products.qadd,
    "requantize": products.requantize,
}


def definition_of(op: str) -> Define:
    """Raises `CompileError` for an operator the CPU does not have."""
    if op not in OPERATORS:
        raise CompileError("no CPU operator", found=op, expected=", ".join(sorted(OPERATORS)))
    return OPERATORS[op]
