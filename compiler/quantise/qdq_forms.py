"""Integer forms of what has no weights, for models that come quantised: pools, pairs, products, tables, concats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Node
from vdla.compiler.graph.unary_regions import UnaryRegion
from vdla.compiler.operators.registry import OPERATORS, infer_types, with_defaults
from vdla.compiler.quantise.affine import HIGH, LOW, Affine
from vdla.compiler.quantise.emit import (
    UNCLIPPED,
    NodeSpec,
    Operand,
    emit_avg_pool2d,
    emit_matmul,
    emit_product,
    emit_rescaled,
    emit_table,
)
from vdla.compiler.quantise.plan import MAX_POOL_WINDOW, counts_all, within
from vdla.compiler.quantise.qdq_weights import NoIntegerForm
from vdla.compiler.quantise.qdq_writer import Writer
from vdla.compiler.quantise.scales import affine_from_range
from vdla.compiler.quantise.tables import without_gaps
from vdla.compiler.quantise.written_out import on_grid
from vdla.errors import ModelError

Array = np.ndarray
Quantise = Callable[[Writer, str, Operand, tuple[float, float]], None]


def average(c: Writer, node: Node, spec: NodeSpec) -> None:
    a, x = with_defaults(node.op, node.attributes), c.activation(node.inputs[0])
    if not counts_all(a):
        raise NoIntegerForm("its windows divide by different counts")
    emit_average(c, spec, x, a)


def global_average(c: Writer, node: Node, spec: NodeSpec) -> None:
    shape = c.shape(node.inputs[0])
    if len(shape) != 4:
        raise NoIntegerForm(f"{node.op} of rank {len(shape)}")
    emit_average(c, spec, c.activation(node.inputs[0]), {"kernel": shape[2:]})


def emit_average(c: Writer, spec: NodeSpec, x: Operand, a: Mapping[str, Any]) -> None:
    if prod(a["kernel"]) > MAX_POOL_WINDOW:
        raise NoIntegerForm(f"a window of {prod(a['kernel'])} elements could overflow int32")
    c.append(emit_avg_pool2d(spec, x, a))


def matmul(c: Writer, node: Node, spec: NodeSpec) -> None:
    """Of two activations."""
    a, b = (c.activation(name) for name in node.inputs)
    if "qmatmul" not in OPERATORS:
        raise NoIntegerForm("a product of two activations has no integer form")
    require_types(c, "qmatmul", a, b)
    c.append(emit_matmul(spec, a, b))


def pair(c: Writer, node: Node, spec: NodeSpec) -> None:
    """Two tensors of levels, one of them perhaps a constant, in ranks and order as the integer form has them."""
    operator = OPERATORS[node.op]
    if not operator.rescaled_form and not operator.product_form:
        raise NoIntegerForm(f"{node.op} has no integer form")
    if len(node.inputs) != 2:
        raise NoIntegerForm(f"{node.op} of {len(node.inputs)} tensors")
    if node.op == "add" and (leaves := summands(c, node)) is not None:
        sum_of(c, leaves, spec)
        return
    exact = not operator.rescaled_form
    a, b = (operand_of(c, name, spec, exact) for name in node.inputs)
    shape = c.shape(node.outputs[0])
    if c.is_constant(a) and c.is_constant(b) or len(shape) < 2:
        raise NoIntegerForm(f"{node.op} of shapes {c.shape(a.name)} and {c.shape(b.name)}")
    a, b = (of_rank(c, operand, len(shape), spec.source) for operand in (a, b))
    whole = not c.is_constant(a) and c.shape(a.name) == shape
    if not whole and node.op != "sub" and not c.is_constant(b) and c.shape(b.name) == shape:
        a, b = b, a
    if operator.rescaled_form:
        require_types(c, operator.rescaled_form, a, b)
        c.append(emit_rescaled(spec, operator.rescaled_form, a, b))
    else:
        c.append(emit_product(spec, a, b))


def require_types(c: Writer, op: str, a: Operand, b: Operand) -> None:
    """Raises `NoIntegerForm` where the integer operator does not take two tensors that the float one takes."""
    one = c.vector_type
    more = [one] * (len(OPERATORS[op].inputs) - 2)
    try:
        infer_types(op, (c.type_of(a.name), c.type_of(b.name), *more), with_defaults(op, {}))
    except ModelError as error:
        raise NoIntegerForm(str(error)) from None


def operand_of(c: Writer, name: str, spec: NodeSpec, exact: bool) -> Operand:
    """Levels, or a constant as levels of its own: those it had, or such as round to within half a level of the output."""
    operand = c.levels.get(name)
    if operand is not None:
        return operand
    real = c.reader.real(name)
    if real is None:
        return c.activation(name)
    affine = grid_of(real)
    if affine is None:
        affine = affine_from_range(float(real.min(initial=0)), float(real.max(initial=0)))
        if exact or affine.scale > spec.output.affine.scale:
            raise NoIntegerForm(f"its constant {name} has a float for each element")
    return c.new_constant(f"{spec.name}.{name}.levels", affine.to_levels(real), affine)


def grid_of(real: Array) -> Affine | None:
    """What levels a constant has that was dequantised, as it seems from its numbers; None where they are on no grid of int8."""
    found = on_grid(real.reshape(1, -1))
    if found is None:
        return None
    levels, (step,) = found
    low, high = int(levels.min(initial=0)), int(levels.max(initial=0))
    return Affine(float(np.float32(step)), 0 if low >= -128 and high <= 127 else -128 - low) if high - low <= 255 else None


def of_rank(c: Writer, x: Operand, rank: int, source: str) -> Operand:
    shape = c.shape(x.name)
    return c.reshaped(x, (*[1] * (rank - len(shape)), *shape), source)


def summands(c: Writer, node: Node) -> list[Operand] | None:
    """Three tensors or more of one shape whose sum is taken in float, as levels; None where it is something else."""
    leaves: list[Operand] = []
    pending = list(node.inputs)
    while pending:
        name = pending.pop(0)
        operand, inner = c.operand(name), c.sole_producer(name)
        if c.shape(name) != c.shape(node.outputs[0]):
            return None
        if operand is not None:
            leaves.append(operand)
        elif inner is not None and inner.op == "add":
            pending += inner.inputs
        else:
            return None
    return leaves if len(leaves) > 2 else None


def sum_of(c: Writer, leaves: list[Operand], spec: NodeSpec) -> None:
    """Two by two, those of the least range first: a sum on the way holds what can still reach the output's range.

    Raises `NoIntegerForm` where its steps would be coarser than the output's.
    """
    leaves = sorted(leaves, key=lambda x: x.affine.scale)
    total = leaves[0]
    for index, leaf in enumerate(leaves[1:], 1):
        rest = [x.affine.range for x in leaves[index + 1 :]]
        if not rest:
            c.append(emit_rescaled(spec, "qadd", total, leaf))
            return
        least, most = (x + y for x, y in zip(total.affine.range, leaf.affine.range, strict=True))
        low, high = spec.output.affine.range
        low, high = low - sum(r[1] for r in rest), high - sum(r[0] for r in rest)
        affine = affine_from_range(within(least, low, high), within(most, low, high))
        if affine.scale > spec.output.affine.scale:
            raise NoIntegerForm(f"a sum of {len(leaves)} whose parts are coarser than the whole")
        partial = c.new_levels(f"{spec.name}.sum{index}", c.shape(leaf.name), affine)
        c.append(emit_rescaled(replace(spec, name=partial.name, output=partial, clip=UNCLIPPED), "qadd", total, leaf))
        total = partial


def concat(c: Writer, node: Node, spec: NodeSpec, quantised: Quantise) -> None:
    """Each piece at the output's scale, clipped as the whole is; a constant one is quantised here."""
    pieces = []
    affine, (low, high) = spec.output.affine, spec.clip
    for name in node.inputs:
        operand, real = c.operand(name), c.reader.real(name)
        if operand is not None and operand.affine == affine and spec.clip == UNCLIPPED:
            pieces.append(operand)
        elif real is not None:
            pieces.append(c.new_constant(f"{spec.name}.{name}", affine.to_levels(np.clip(real, low, high)), affine))
        else:
            piece = c.new_levels(f"{spec.name}.{name}", c.shape(name), affine)
            quantised(c, name, piece, spec.clip)
            pieces.append(piece)
    c.move("concat", pieces, spec.name, spec.source, spec.output, **with_defaults("concat", node.attributes))


def table(c: Writer, tensor: str, spec: NodeSpec) -> bool:
    """Append a qtable where the tensor is a function of each element of one tensor of levels alone; whether it is."""
    found = region_of(c, tensor)
    if found is None:
        return False
    x, region = found
    values = without_gaps(region.evaluate(dequantised(x.affine)).astype(np.float64))
    source = "+".join(dict.fromkeys(node.source or node.name for node in region.nodes))
    clipped = replace(spec, source="+".join(dict.fromkeys((*source.split("+"), *spec.source.split("+")))))
    c.append(emit_table(clipped, x, spec.output.affine.to_levels(values)))
    return True


def dequantised(x: Affine) -> Array:
    """float32[256]: what each level means, as dequantize computes it."""
    levels = np.arange(LOW, HIGH + 1, dtype=np.int32) - np.int32(x.zero_point)
    real: Array = levels.astype(np.float32) * np.float32(x.scale)
    return real


def region_of(c: Writer, tensor: str) -> tuple[Operand, UnaryRegion] | None:
    """The elementwise nodes between a tensor and the levels that it is a function of; None where there are other operands."""
    start, nodes, constants = "", {}, {}
    pending, shape = [tensor], c.shape(tensor)
    while pending:
        name = pending.pop()
        node = c.producer.get(name)
        if name in c.graph.constants:
            if c.graph.constants[name].size != 1:
                return None
            constants[name] = c.graph.constants[name].reshape(())
        elif c.operand(name) is not None and not c.is_clip_of_levels(name):
            if start not in ("", name) or c.shape(name) != shape:
                return None
            start = name
        elif node is None or not is_unary(node) or c.shape(name) != shape:
            return None
        elif node.name not in nodes:
            nodes[node.name] = node
            pending += [read for read in node.inputs if read]
    if not start or not nodes:
        return None
    ordered = tuple(node for node in c.graph.nodes if node.name in nodes)
    return c.levels[start], UnaryRegion(ordered, start, tensor, constants)


def is_unary(node: Node) -> bool:
    operator = OPERATORS[node.op]
    return operator.is_elementwise and not any(declared.channels for declared in operator.inputs) and node.op != "quantize"


Form = Callable[[Writer, Node, NodeSpec], None]
FORMS: dict[str, Form] = {"avg_pool2d": average, "global_avg_pool": global_average, "matmul": matmul}
"""By operator; what is elementwise is a pair."""
