"""The tensor expressions of every operator on the CPU, by name. Some take a choice as a keyword.

conv2d      form: "direct", "columns" or "depthwise"
qconv2d     form: these, or "bytes"
dense, qdense   lanes: of the partial sums
"""

from __future__ import annotations

from vdla.compiler.operators.definition import Attributes, Definition, Types
from vdla.compiler.operators.operator import Define
from vdla.compiler.operators.registry import OPERATORS
from vdla.compiler.ops.cpu import byte_products
from vdla.errors import CompileError


def qconv2d(types: Types, a: Attributes, form: str = "direct") -> Definition:
    return byte_products.qconv2d(types, a) if form == "bytes" else OPERATORS["qconv2d"].define(types, a, form=form)


def definition_of(op: str) -> Define:
    """Raises `CompileError` for an operator the CPU does not have."""
    if op not in OPERATORS:
        raise CompileError("no CPU operator", found=op, expected=", ".join(sorted(OPERATORS)))
    return qconv2d if op == "qconv2d" else OPERATORS[op].define
