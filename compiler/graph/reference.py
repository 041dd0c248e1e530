"""The reference executor: runs a graph, float or quantised, node by node in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.errors import RunError

Arrays = dict[str, np.ndarray]
Observe = Callable[[str, np.ndarray], None]
"""Receives a tensor's name and its value."""


def run_reference(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    *,
    keep: str = "outputs",
    observe: Observe = lambda name, value: None,
) -> Arrays:
    """The graph's outputs by name, each tensor dropped after its last use; or every tensor but the constants with `keep="all"`.

    observe: is shown every input and every tensor that a node computes, in order. Raises `RunError` when the inputs are not
    those the graph takes, or there is no such operator as a node names.
    """
    values: Arrays = {**graph.constants, **checked_inputs(graph, inputs)}
    for name in graph.inputs:
        observe(name, values[name])
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in (*node.outputs, *node.inputs)}
    kept = {*graph.outputs, ""}
    for index, node in enumerate(graph.nodes):
        for name, value in run_node(node, values).items():
            observe(name, value)
            values[name] = value
        if keep != "all":
            for name in {name for name in (*node.inputs, *node.outputs) if last_use[name] == index} - kept:
                del values[name]
    if keep == "all":
        return {name: value for name, value in values.items() if name not in graph.constants}
    return {name: values[name] for name in graph.outputs}


def run_node(node: Node, values: Mapping[str, np.ndarray]) -> Arrays:
    """One node's outputs by name. Raises `RunError` when there is no such operator, and for an index outside a tensor."""
    if node.op not in OPERATORS:
        expected = ", ".join(sorted(OPERATORS))
        raise RunError("the reference executor has no such operator", where=node.name, found=node.op, expected=expected)
    inputs = [values[name] if name else None for name in node.inputs]
    try:
        with np.errstate(all="ignore"):  # a model's infinities are its own affair
            result = OPERATORS[node.op].kernel(inputs, with_defaults(node.op, node.attributes))
    except IndexError as error:
        where = f"node {node.name!r} ({node.op})"
        raise RunError("an index is outside its tensor", where=where, found=str(error), hint="other inputs") from None
    outputs = result if isinstance(result, tuple) else (result,)
    return {name: np.asarray(output) for name, output in zip(node.outputs, outputs, strict=True)}


def checked_inputs(graph: Graph, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """The inputs as arrays. Raises `RunError` on a wrong name, shape or dtype."""
    expected = ", ".join(f"{name}: {graph.type_of(name).dtype}{list(graph.type_of(name).shape)}" for name in graph.inputs)
    if missing := [name for name in graph.inputs if name not in inputs]:
        raise RunError("an input is missing", where=graph.name, found=missing[0], expected=expected)
    if unknown := sorted(set(inputs) - set(graph.inputs)):
        raise RunError("the model has no such input", where=graph.name, found=unknown[0], expected=expected)
    arrays = {name: np.asarray(inputs[name]) for name in graph.inputs}
    for name, array in arrays.items():
        wanted = graph.type_of(name)
        if str(array.dtype) != wanted.dtype:
            raise RunError(
                "wrong dtype of an input",
                where=name,
                found=str(array.dtype),
                expected=wanted.dtype,
                hint=f"x.astype({wanted.dtype!r})",
            )
        if array.shape != wanted.shape:
            raise RunError("wrong shape of an input", where=name, found=array.shape, expected=str(wanted.shape))
    return arrays
