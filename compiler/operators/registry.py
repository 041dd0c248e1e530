"""Every operator of the graph, by name.

Importers translate to these names, passes rewrite them, every executor (NumPy, CPU, accelerator) runs them.
"""

from __future__ import annotations

from typing import Any

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators import (
    activations,
    binary,
    bits,
    blocks,
    columns,
    comparison,
    conversion,
    convolution,
    convolution_nd,
    deformable_convolution,
    dense,
    determinant,
    indexing,
    integer_power,
    layout,
    losses,
    movement,
    normalisation,
    pooling,
    pooling_nd,
    quantised,
    quantised_pairs,
    quantised_products,
    recurrent,
    reduction,
    regions,
    resampling,
    rotary,
    row_normalisation,
    scatter,
    signal,
    slicing,
    sorting,
    suppression,
    transposed_convolution,
    unary,
)
from vdla.compiler.operators.definition import Attributes, Types
from vdla.compiler.operators.operator import Operator, check_inputs, complete_attributes
from vdla.compiler.operators.scan import scan
from vdla.errors import ModelError

FAMILIES = (
    activations,
    binary,
    bits,
    blocks,
    columns,
    comparison,
    conversion,
    convolution,
    convolution_nd,
    deformable_convolution,
    dense,
    determinant,
    indexing,
    integer_power,
    layout,
    losses,
    movement,
    normalisation,
    pooling,
    pooling_nd,
    quantised,
    quantised_pairs,
    quantised_products,
    recurrent,
    reduction,
    regions,
    resampling,
    rotary,
    row_normalisation,
    scatter,
    signal,
    slicing,
    sorting,
    suppression,
    transposed_convolution,
    unary,
)

OPERATORS: dict[str, Operator] = {operator.name: operator for family in FAMILIES for operator in family.FAMILY}


def operator_of(op: str) -> Operator:
    """Raises `ModelError` on an operator there is not."""
    if op not in OPERATORS:
        raise ModelError("unknown operator", found=op, expected=", ".join(sorted(OPERATORS)))
    return OPERATORS[op]


OPERATORS["scan"] = scan(operator_of)  # its body has operators from here, so it is made when they are there


def with_defaults(op: str, attributes: Attributes) -> dict[str, Any]:
    """All attributes of `op`. Raises `ModelError` on one that is unknown, missing, or not of its kind."""
    return complete_attributes(operator_of(op), attributes)


def infer_types(op: str, types: Types, attributes: Attributes) -> tuple[TensorType, ...]:
    """The types of all outputs. Raises `ModelError` when the operator is unknown, or inputs or attributes do not fit it."""
    operator = operator_of(op)
    complete = complete_attributes(operator, attributes)
    check_inputs(operator, types)
    return operator.infer(types, complete)


def infer_type(op: str, types: Types, attributes: Attributes) -> TensorType:
    """The type of the output of an operator that has one."""
    (output,) = infer_types(op, types, attributes)
    return output
