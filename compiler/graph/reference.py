"""The reference executor: runs a graph node by node in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.kernels import KERNELS, Kernel
from vdla.compiler.graph.opset import with_defaults
from vdla.errors import RunError

Arrays = dict[str, np.ndarray]


def run_reference(
    graph: Graph, inputs: Mapping[str, np.ndarray], *, keep: str = "outputs", kernels: Mapping[str, Kernel] = KERNELS
) -> Arrays:
    """The graph's outputs by name, or every tensor but the constants with `keep="all"`.

    `kernels` maps operators to what they compute. Raises `RunError` when the inputs are not those the graph takes, or a node's
    operator has no kernel.
    """
    values: Arrays = {**graph.constants, **checked_inputs(graph, inputs)}
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    kept = set(graph.outputs)
    for index, node in enumerate(graph.nodes):
        values[node.outputs[0]] = run_node(node, values, kernels)
        if keep != "all":
            for name in {name for name in node.inputs if last_use.get(name) == index} - kept - {""}:
                del values[name]
    if keep == "all":
        return {name: value for name, value in values.items() if name not in graph.constants}
    return {name: values[name] for name in graph.outputs}


def run_node(node: Node, values: Mapping[str, np.ndarray], kernels: Mapping[str, Kernel] = KERNELS) -> np.ndarray:
    """One node's output. Raises `RunError` when its operator has no kernel."""
    kernel = kernels.get(node.op)
    if kernel is None:
        raise RunError(
            "the reference executor has no such operator", where=node.name, found=node.op, expected=", ".join(sorted(kernels))
        )
    with np.errstate(all="ignore"):  # a model's infinities are its own affair
        return np.asarray(
            kernel([values[name] if name else None for name in node.inputs], with_defaults(node.op, node.attributes))
        )


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
