"""What every graph must satisfy, checked between passes. A failure is a fault of the pass before, never the user's."""

from __future__ import annotations

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import OPERATORS, infer_types
from vdla.errors import CompileError, VdlaError


def verify_graph(graph: Graph, after: str = "") -> None:
    """Raise `CompileError`, naming the pass `after` which it happened, unless

    node names and tensor producers are unique; nodes read only inputs, constants and earlier outputs; operators, attributes
    and arity are those of the registry; every tensor's type is the inferred one, and a constant's is its array's.
    """
    where = f"graph {graph.name!r}" + (f" after {after}" if after else "")
    known = {*graph.inputs, *graph.constants}
    names: set[str] = set()
    for name, array in graph.constants.items():
        if graph.tensors.get(name) != TensorType(array.shape, str(array.dtype)):
            raise CompileError("a constant's type is wrong", where=where, found=f"{name}: {graph.tensors.get(name)}")
    for node in graph.nodes:
        here = f"{where}: node {node.name!r} ({node.op})"
        if node.name in names:
            raise CompileError("two nodes share a name", where=here)
        names.add(node.name)
        verify_node(graph, node, known, here)
        known.update(node.outputs)
    if missing := [name for name in (*graph.inputs, *graph.outputs) if name not in known or name not in graph.tensors]:
        raise CompileError("an input or output is computed by no node", where=where, found=missing[0])


def verify_node(graph: Graph, node: Node, known: set[str], where: str) -> None:
    """One node against the tensors `known` before it."""
    if node.op not in OPERATORS:
        raise CompileError("unknown operator", where=where, expected=", ".join(sorted(OPERATORS)))
    fewest, most = OPERATORS[node.op].arity
    if not fewest <= len(node.inputs) <= most or "" in node.inputs[:fewest]:
        raise CompileError("wrong number of inputs", where=where, found=node.inputs, expected=f"{fewest} to {most}")
    if unknown := [name for name in node.inputs if name and name not in known]:
        raise CompileError("reads a tensor not yet computed", where=where, found=unknown[0])
    if len(set(node.outputs)) < len(node.outputs) or known.intersection(node.outputs):
        raise CompileError("an output is computed already", where=where, found=node.outputs)
    types = tuple(graph.tensors[name] if name else None for name in node.inputs)
    try:
        inferred = infer_types(node.op, types, node.attributes)
    except VdlaError as error:
        raise CompileError(str(error), where=where) from None
    if len(inferred) != len(node.outputs):
        raise CompileError("wrong number of outputs", where=where, found=node.outputs, expected=str(len(inferred)))
    for name, expected in zip(node.outputs, inferred, strict=True):
        if graph.tensors.get(name) != expected:
            raise CompileError("output type is wrong", where=where, found=graph.tensors.get(name), expected=str(expected))
