"""Graphs as JSON facts and numbered arrays, for the files that hold them (`vdla.archive`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from vdla.archive import Reader, Writer
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.element_types import BIPOLAR, ELEMENT_TYPES
from vdla.errors import RunError

TENSOR_TYPES = tuple(name for name, element in ELEMENT_TYPES.items() if element.kind != BIPOLAR)


def graph_manifest(graph: Graph, constants: Sequence[str], writer: Writer) -> dict[str, Any]:
    """constants: the names of those whose values are kept."""
    return {
        "name": graph.name,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "nodes": [_node_manifest(node, writer) for node in graph.nodes],
        "tensors": {name: asdict(t) for name, t in graph.tensors.items()},
        "constants": {name: writer.array(_stored(graph.constants[name])) for name in constants},
    }


def _node_manifest(node: Node, writer: Writer) -> dict[str, Any]:
    return {
        "name": node.name,
        "op": node.op,
        "inputs": node.inputs,
        "outputs": node.outputs,
        "attributes": {key: _attribute_manifest(value, writer) for key, value in node.attributes.items()},
        "source": node.source,
    }


def _attribute_manifest(value: Any, writer: Writer) -> Any:
    """A graph inside a node keeps its constants."""
    return {"graph": graph_manifest(value, tuple(value.constants), writer)} if isinstance(value, Graph) else value


def graph_from(m: Mapping[str, Any], reader: Reader) -> Graph:
    """The inverse of `graph_manifest`. Raises `RunError` where a tensor has no type, or a constant another."""
    tensors = {name: _type_from(t) for name, t in m["tensors"].items()}
    constants = {name: _restored(reader.array(k), tensors.get(name)) for name, k in m["constants"].items()}
    nodes = tuple(_node_from(node, reader) for node in m["nodes"])
    graph = Graph(str(m["name"]), _names(m["inputs"]), _names(m["outputs"]), nodes, tensors, constants)
    _check_tensors(graph)
    return graph


def _type_from(m: Mapping[str, Any]) -> TensorType:
    """Raises `RunError` for what is no type of a tensor."""
    shape, dtype = tuple(int(size) for size in m["shape"]), str(m["dtype"])
    if any(size < 0 for size in shape) or dtype not in TENSOR_TYPES:
        expected = f"one of {', '.join(TENSOR_TYPES)} and its shape"
        raise RunError("not a tensor's type", found=f"{dtype}{list(shape)}", expected=expected)
    return TensorType(shape, dtype)


def _stored(value: np.ndarray) -> np.ndarray:
    """NumPy's files know NumPy's own types: others are written as their bits."""
    return value if ELEMENT_TYPES[str(value.dtype)].native else np.asarray(value, order="C").view(f"uint{8 * value.itemsize}")


def _restored(stored: np.ndarray, wanted: TensorType | None) -> np.ndarray:
    """The inverse of `_stored`; arrays of another type are returned as they are."""
    if wanted is None or ELEMENT_TYPES[wanted.dtype].native or str(stored.dtype) != f"uint{8 * wanted.numpy_dtype.itemsize}":
        return stored
    return stored.view(wanted.numpy_dtype)


def _check_tensors(graph: Graph) -> None:
    where = f"graph {graph.name!r}"
    named = [*graph.inputs, *graph.outputs, *(name for node in graph.nodes for name in (*node.inputs, *node.outputs) if name)]
    if untyped := [name for name in named if name not in graph.tensors]:
        raise RunError("a tensor has no type", where=where, found=untyped[0], expected="the type of each tensor that is named")
    for name, value in graph.constants.items():
        if graph.tensors.get(name) != TensorType(value.shape, str(value.dtype)):
            found = f"{name}: {value.dtype}{list(value.shape)}"
            raise RunError("a constant's type is wrong", where=where, found=found, expected=str(graph.tensors.get(name)))


def _node_from(m: Mapping[str, Any], reader: Reader) -> Node:
    attributes = {
        str(key): graph_from(value["graph"], reader) if isinstance(value, dict) else _tupled(value)
        for key, value in m["attributes"].items()
    }
    return Node(str(m["name"]), str(m["op"]), _names(m["inputs"]), _names(m["outputs"]), attributes, str(m["source"]))


def _names(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _tupled(value: Any) -> Any:
    """JSON has no tuples; attributes are compared and hashed as tuples."""
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value
