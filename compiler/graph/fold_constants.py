"""Nodes whose inputs are all constants become constants.

dequantize is left alone: `dequantize(constant)` is how quantised models hold weights, and the quantiser looks for it. So is
the producer of a graph output, which keeps every output the work of a node.
"""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler.graph.graph import Graph, TensorType
from vdla.compiler.graph.reference import run_node

MAX_ELEMENTS = 1 << 26  # a larger constant costs more to keep than to compute


def fold_constants(graph: Graph) -> Graph:
    """Evaluate constant nodes with the reference kernels."""
    constants, tensors, kept = dict(graph.constants), dict(graph.tensors), []
    for node in graph.nodes:
        known = all(name == "" or name in constants for name in node.inputs)
        small = all(graph.type_of(output).elements <= MAX_ELEMENTS for output in node.outputs)
        if known and small and node.op != "dequantize" and not set(node.outputs).intersection(graph.outputs):
            found = run_node(node, constants)
            constants |= found
            tensors |= {name: TensorType(array.shape, str(array.dtype)) for name, array in found.items()}
        else:
            kept.append(node)
    return replace(graph, tensors=tensors, constants=constants).with_nodes(kept)
