"""A loop as an operator: a graph run step after step, some of its tensors carried from each step to the next.

    scan(states…, sequences…, others…) → last states…, stacked…

The body's inputs are the states as the step before left them, one slice of each sequence along its first axis, and the others
as they are; its outputs are the states after the step, then what is stacked along a new first axis. Tensors without such
a first axis are transposed and turned round outside. The body holds no constants: what it reads is an input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import Attribute, integer
from vdla.compiler.operators.definition import Attributes, Definition, Types, flatten, required, unflatten
from vdla.compiler.operators.operator import ANY, Input, Operator, check_inputs, complete_attributes
from vdla.compiler.operators.shapes import present
from vdla.compiler.operators.wiring import wired
from vdla.errors import ModelError

Lookup = Callable[[str], Operator]
"""An operator by name: the body may have any, this one included."""

EMPTY = Graph("empty", (), (), (), {}, {})


def scan(lookup: Lookup) -> Operator:
    """The record. count: how many steps. states, sequences: how many of the inputs are such."""
    return Operator(
        name="scan",
        inputs=(Input("x", ANY),),
        variadic=True,
        mixed=True,
        attributes={
            "body": Attribute(lambda value: isinstance(value, Graph), "a graph", EMPTY),
            "count": integer(low=1),
            "states": integer(0, low=0),
            "sequences": integer(0, low=0),
        },
        infer=lambda types, a: infer_scan(lookup, types, a),
        define=lambda types, a: define_scan(lookup, types, a),
        kernel=lambda inputs, a: run_scan(lookup, inputs, a),
    )


def infer_scan(lookup: Lookup, types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """Checks the body as a graph is checked. Raises `ModelError`."""
    body, states = a["body"], a["states"]
    given = step_types(present(types), a)
    declared = [body.tensors.get(name) for name in body.inputs]
    if given != declared or body.constants:
        raise ModelError("a scan's inputs are not its body's", found=given, expected=str(declared))
    results = body_types(lookup, body)
    if not results:
        raise ModelError("a scan of a body without outputs")
    if results[:states] != given[:states]:
        raise ModelError("a scan's states change their type", found=results[:states], expected=str(given[:states]))
    return (*results[:states], *(TensorType((a["count"], *t.shape), t.dtype) for t in results[states:]))


def step_types(types: Sequence[TensorType], a: Attributes) -> list[TensorType]:
    """The types that a step sees. Raises `ModelError` for a sequence of another length."""
    states, sequences = a["states"], a["sequences"]
    if len(types) < states + sequences:
        raise ModelError("a scan of too few inputs", found=len(types), expected=f"{states + sequences} or more")
    for index, t in enumerate(types[states : states + sequences]):
        if not t.shape or t.shape[0] != a["count"]:
            raise ModelError(f"sequence {index} of a scan", found=t.shape, expected=f"({a['count']}, …)")
    sliced = [TensorType(t.shape[1:], t.dtype) for t in types[states : states + sequences]]
    return [*types[:states], *sliced, *types[states + sequences :]]


def body_types(lookup: Lookup, body: Graph) -> list[TensorType]:
    """The types of a body's outputs, every node checked. Raises `ModelError`, naming the node."""
    known = {name: body.tensors[name] for name in body.inputs}
    for node in body.nodes:
        try:
            operator, attributes, types = checked(lookup, node, known)
            results = operator.infer(types, attributes)
        except ModelError as error:
            raise ModelError(
                error.what, where=f"node {node.name!r} of a scan", found=error.found, expected=error.expected
            ) from None
        if len(results) != len(node.outputs) or known.keys() & set(node.outputs):
            raise ModelError("the outputs of a node", where=f"node {node.name!r} of a scan", found=node.outputs)
        known |= zip(node.outputs, results, strict=True)
    if missing := [name for name in body.outputs if name not in known]:
        raise ModelError("an output of a scan's body is computed by no node", found=missing)
    if wrong := [name for name, t in known.items() if body.tensors.get(name) != t]:
        raise ModelError("a type in a scan's body is wrong", found=body.tensors.get(wrong[0]), expected=str(known[wrong[0]]))
    return [known[name] for name in body.outputs]


def checked(lookup: Lookup, node: Node, known: dict[str, TensorType]) -> tuple[Operator, dict[str, Any], Types]:
    """A node's operator, all its attributes and its inputs' types. Raises `ModelError` where they do not fit."""
    operator = lookup(node.op)
    if unknown := [name for name in node.inputs if name and name not in known]:
        raise ModelError("reads a tensor not yet computed", found=unknown[0])
    types = tuple(known[name] if name else None for name in node.inputs)
    attributes = complete_attributes(operator, node.attributes)
    check_inputs(operator, types)
    return operator, attributes, types


def run_scan(lookup: Lookup, inputs: Sequence[Any], a: Attributes) -> tuple[np.ndarray, ...]:
    """The body in NumPy, once for each step."""
    states, sequences = a["states"], a["sequences"]
    carried, sliced, others = inputs[:states], inputs[states : states + sequences], inputs[states + sequences :]
    kept: list[list[np.ndarray]] = [[] for _ in a["body"].outputs[states:]]
    for t in range(a["count"]):
        results = run_body(lookup, a["body"], [*carried, *(x[t] for x in sliced), *others])
        carried = results[:states]
        for stack, value in zip(kept, results[states:], strict=True):
            stack.append(value)
    return (*carried, *map(np.stack, kept))


def run_body(lookup: Lookup, body: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    values = dict(zip(body.inputs, map(np.asarray, inputs), strict=True))
    for node in body.nodes:
        operator = lookup(node.op)
        operands = [values[name] if name else None for name in node.inputs]
        found = operator.kernel(operands, complete_attributes(operator, node.attributes))
        results = found if isinstance(found, tuple) else (found,)
        values |= zip(node.outputs, map(np.asarray, results), strict=True)
    return [values[name] for name in body.outputs]


def define_scan(lookup: Lookup, types: Types, a: Attributes) -> Definition:
    """The body's nodes by their own definitions, as the steps of a `te.scan`."""
    body, states, sequences = a["body"], a["states"], a["sequences"]
    given = [te.placeholder(t.shape, t.dtype, f"x{i}") for i, t in enumerate(present(types))]
    axis = te.scan_axis(a["count"], "t")
    carried = [te.placeholder(x.shape, x.dtype, f"state{i}") for i, x in enumerate(given[:states])]
    sliced = [slice_of(x, axis, f"slice{i}") for i, x in enumerate(given[states : states + sequences])]
    step = dict(zip(body.inputs, [*carried, *sliced, *given[states + sequences :]], strict=True))
    constants: list[tuple[te.Tensor, np.ndarray]] = []
    known = {name: body.tensors[name] for name in body.inputs}
    for node in body.nodes:
        operator, attributes, inputs = checked(lookup, node, known)
        definition = operator.define(inputs, attributes)
        names = [name for name in node.inputs if name]
        feeds = dict(zip(definition.inputs, (step[name] for name in names), strict=False))
        constants += zip(definition.inputs[len(names) :], definition.constants, strict=True)
        step |= zip(node.outputs, wired(definition.outputs, feeds), strict=True)
        known |= {name: body.tensors[name] for name in node.outputs}
    results = [shaped(step[name], body.tensors[name].shape) for name in body.outputs]
    moved = [te.State(*state) for state in zip(carried, given[:states], results[:states], strict=True)]
    finals, stacked = te.scan(axis, moved, collect=results[states:])
    return Definition((*required(*given), *(p for p, _ in constants)), (*finals, *stacked), tuple(v for _, v in constants))


def slice_of(x: te.Tensor, axis: Expr, name: str) -> te.Tensor:
    return te.compute(x.shape[1:], lambda *at: x[(axis, *at)], name)


def shaped(tensor: te.Tensor, shape: tuple[int, ...]) -> te.Tensor:
    """The same elements in another shape."""
    if tensor.shape == shape:
        return tensor
    return te.compute(shape, lambda *at: tensor[unflatten(flatten(at, shape), tensor.shape)], tensor.name)
