"""How much work a node is, from what it computes: its tensor expressions say it, so that no operator is listed anywhere.

A sum of products of two different factors is so many multiply-accumulates; everything else is counted in operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

from vdla.compiler import ir
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.definition import Attributes, Types
from vdla.compiler.operators.registry import operator_of, with_defaults
from vdla.compiler.te.scan import Scan
from vdla.compiler.te.tensor import Joint, Part, ReduceAxis, Reduction, Tensor, TupleStage, walk_all
from vdla.element_types import ELEMENT_TYPES

Outputs = tuple[TensorType, ...]
CALL_OPERATIONS = 10
"""Operations of a function such as exp, in vector code: a polynomial and the scaling around it."""
CHEAP_CALLS = ("floor", "ceil", "round_even", "sqrt")
CHEAP_OPERATIONS = 2


@dataclass(frozen=True, slots=True)
class Work:
    """macs: multiply-accumulates, of floats or, not `floats`, of integers. operations: everything else, of one element each.
    bytes: of every output, and of what is read of every input, weights included, each once."""

    macs: int = 0
    operations: int = 0
    bytes: int = 0
    floats: bool = True


def work_of(node: Node, graph: Graph) -> Work:
    """The node's work; nothing for tensors without elements."""
    types = tuple(graph.type_of(name) if name else None for name in node.inputs)
    outputs = tuple(graph.type_of(name) for name in node.outputs if name)
    try:
        return _counted_once(node.op, types, outputs, tuple(node.attributes.items()))
    except TypeError:  # an attribute is a graph, which is not hashed
        return counted(node.op, types, outputs, node.attributes)


@lru_cache(maxsize=4096)
def _counted_once(op: str, types: Types, outputs: Outputs, attributes: tuple[tuple[str, Any], ...]) -> Work:
    """Unrolled loops have hundreds of nodes that are alike."""
    return counted(op, types, outputs, dict(attributes))


def counted(op: str, types: Types, outputs: Outputs, attributes: Attributes) -> Work:
    """The work of an operator on inputs of `types`, None where one is absent."""
    if any(t is not None and not t.elements for t in (*types, *outputs)):
        return Work()
    macs = operations = 0
    reads: Counter[Tensor] = Counter()
    definition = operator_of(op).define(types, with_defaults(op, attributes))
    for stage, times in stages_of(definition.outputs):
        values, axes = values_of(stage)
        points = times * prod(stage.shape) * prod(axis.extent for axis in axes)
        factors = product_in(stage)
        macs += points if factors else 0
        operations += points * (sum(map(operations_of, factors)) if factors else max(1, sum(map(operations_of, values))))
        for tensor in loads_in(values):
            reads[tensor] += points
    moved = sum(min(count, prod(tensor.shape)) * ELEMENT_TYPES[tensor.dtype].item_bytes for tensor, count in reads.items())
    floats = any(t is not None and ELEMENT_TYPES[t.dtype].is_float for t in types)
    return Work(macs, operations, moved + sum(t.bytes for t in outputs), floats)


def macs_of(node: Node, graph: Graph) -> int:
    """Multiply-accumulates of one node, as the model has them."""
    return work_of(node, graph).macs


Stage = Tensor | TupleStage


def stages_of(outputs: Iterable[Tensor]) -> Iterator[tuple[Stage, int]]:
    """Every stage behind `outputs` once, and how often it is computed: once for each step of the scans it is part of."""
    pending = [(tensor, 1, True) for tensor in outputs]
    seen: set[int] = set()
    while pending:
        tensor, times, with_inputs = pending.pop()
        stage: Joint | Tensor = tensor.value.joint if isinstance(tensor.value, Part) else tensor
        if id(stage) in seen:
            continue
        seen.add(id(stage))
        if isinstance(stage, Scan):
            pending += [(step, times * stage.axis.extent, False) for step in stage.steps]  # it names all of them
        elif isinstance(stage, TupleStage) or (isinstance(stage, Tensor) and stage.value is not None):
            yield stage, times
        if with_inputs:
            pending += [(below, times, True) for below in stage.inputs]


def values_of(stage: Stage) -> tuple[tuple[ir.Expr, ...], tuple[ReduceAxis, ...]]:
    """What is evaluated at every point of a stage, and the axes that it is summed over, or folded, at each element."""
    if isinstance(stage, TupleStage):
        return stage.reduction.results, stage.reduction.axes
    if isinstance(stage.value, Reduction):
        return (stage.value.value,), stage.value.axes
    return ((stage.value,) if stage.value is not None else ()), ()


def product_in(stage: Stage) -> tuple[ir.Expr, ir.Expr] | None:
    """The factors of a sum of products; None for other stages, and for sums of squares."""
    if not isinstance(stage, Tensor) or not isinstance(stage.value, Reduction) or stage.value.op != "add":
        return None
    value = stage.value.value
    while isinstance(value, ir.Cast):
        value = value.value
    if not isinstance(value, ir.Binary) or value.op != "mul" or value.a == value.b:
        return None
    return value.a, value.b


def loads_in(values: Iterable[ir.Expr]) -> Iterator[Tensor]:
    """The inputs that are read at a point, as often as they are."""
    for expr in walk_all(values):
        if isinstance(expr, ir.Load) and isinstance(expr.buffer, Tensor) and expr.buffer.value is None:
            yield expr.buffer


def operations_of(value: ir.Expr) -> int:
    """Operations of one evaluation; where elements are found, loads, constants and conversions are for nothing."""
    count = 0
    pending = [value]
    while pending:
        expr = pending.pop()
        match expr:
            case ir.Binary() | ir.Select():
                count += 1
            case ir.Call():
                count += CHEAP_OPERATIONS if expr.op in CHEAP_CALLS else CALL_OPERATIONS
            case ir.Load():
                continue
        pending += ir.children(expr)
    return count
