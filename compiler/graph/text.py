"""A graph as text for people, dumps and golden tests, and as plain data for JSON.

    graph digits
      input: float32[1, 1, 8, 8]
      conv1_output: float32[1, 12, 8, 8] = conv2d(input, conv1.weight:f3a09c1e, conv1.bias:0c77d01b) {pads: (1, 1, 1, 1)}
      …
      return output

A constant is followed by the CRC-32 of its bytes, so that a change of weights shows. Attributes at their default are left
out; the model's own names for the node stand behind `#`.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import OPERATORS


def graph_text(graph: Graph) -> str:
    """The text form, ending in a newline."""
    digests = {name: f"{crc32(np.ascontiguousarray(array).data):08x}" for name, array in graph.constants.items() if array.size}
    lines = [f"graph {graph.name}"]
    lines += [f"  {name}: {type_text(graph.type_of(name))}" for name in graph.inputs]
    lines += [f"  {node_text(graph, node, digests)}" for node in graph.nodes]
    return "\n".join([*lines, f"  return {', '.join(graph.outputs)}", ""])


def type_text(tensor_type: TensorType) -> str:
    return f"{tensor_type.dtype}[{', '.join(map(str, tensor_type.shape))}]"


def node_text(graph: Graph, node: Node, digests: dict[str, str]) -> str:
    operands = ", ".join(f"{name}:{digests[name]}" if name in digests else name or "-" for name in node.inputs)
    attributes = ", ".join(f"{key}: {value_text(value)}" for key, value in changed_attributes(node).items())
    text = f"{outputs_text(graph, node)} = {node.op}({operands})"
    text += f" {{{attributes}}}" if attributes else ""
    return f"{text}  # {node.source}" if node.source else text


def types_text(graph: Graph, node: Node) -> str:
    return ", ".join(type_text(graph.type_of(name)) for name in node.outputs)


def outputs_text(graph: Graph, node: Node) -> str:
    return ", ".join(f"{name}: {type_text(graph.type_of(name))}" for name in node.outputs)


def changed_attributes(node: Node) -> dict[str, Any]:
    """Attributes that are not at their default, in the operator's order."""
    known = OPERATORS[node.op].attributes
    given = {key: node.attributes[key] for key in known if key in node.attributes}
    return {key: value for key, value in given.items() if value != known[key].default}


def value_text(value: Any) -> str:
    """Long per-channel lists are cut: the ends and the length; of the body of a scan its operators are listed."""
    if isinstance(value, Graph):
        return f"({', '.join(value.inputs)}) → [{' '.join(node.op for node in value.nodes)}] → ({', '.join(value.outputs)})"
    if isinstance(value, tuple) and len(value) > 8:
        return f"({value[0]!r}, …, {value[-1]!r}; {len(value)})"
    return repr(value)


def graph_summary(graph: Graph) -> dict[str, Any]:
    """Counts and a row for each node, as JSON has them."""
    operators: dict[str, int] = {}
    for node in graph.nodes:
        operators[node.op] = operators.get(node.op, 0) + 1
    return {
        "name": graph.name,
        "inputs": {name: type_text(graph.type_of(name)) for name in graph.inputs},
        "outputs": {name: type_text(graph.type_of(name)) for name in graph.outputs},
        "operators": dict(sorted(operators.items())),
        "constant_bytes": sum(array.nbytes for array in graph.constants.values()),
        "nodes": [
            {"name": node.name, "op": node.op, "source": node.source, "output": types_text(graph, node)} for node in graph.nodes
        ],
    }
