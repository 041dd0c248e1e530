"""ONNX → Graph: one importer for each operator, looked up by name; opsets from 7 on."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import numpy as np
import onnx
from onnx import numpy_helper

from vdla.compiler.frontend import (
    convolution,
    dense,
    einsum,
    elementwise,
    indexing,
    microsoft,
    movement,
    normalisation,
    pooling,
    quantisation,
    reduction,
    slicing,
)
from vdla.compiler.frontend.builder import GraphBuilder, Value
from vdla.compiler.frontend.constants import FOLDS
from vdla.compiler.frontend.inputs import ALLOWED, DTYPES, Shapes, model_inputs
from vdla.compiler.frontend.loading import ModelSource, load_model, opset_of
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.graph.graph import Graph
from vdla.errors import ModelError

MICROSOFT = "com.microsoft"

IMPORTERS: dict[str, Importer] = {
    **convolution.IMPORTERS,
    **dense.IMPORTERS,
    **elementwise.IMPORTERS,
    **pooling.IMPORTERS,
    **normalisation.IMPORTERS,
    **movement.IMPORTERS,
    **slicing.IMPORTERS,
    **einsum.IMPORTERS,
    **reduction.IMPORTERS,
    **indexing.IMPORTERS,
    **quantisation.IMPORTERS,
}


def import_onnx(source: ModelSource, input_shapes: Shapes | None = None) -> Graph:
    """The model as a Graph, tensors keeping the model's names.

    `source` is a path, the file's bytes or a `ModelProto`; `input_shapes` gives sizes for dimensions the model leaves open.
    Dropout, Identity and computations on shapes leave no node. Raises `ModelError` on anything it cannot import exactly.
    """
    model, where = load_model(source)
    try:
        with np.errstate(all="ignore"):  # a model's infinities are its own affair
            return import_graph(model, where, input_shapes or {})
    except ModelError as error:
        if error.where.startswith(where):
            raise
        raise relocated(error, f"{where}: {error.where}" if error.where else where) from None
    except Exception as error:  # a damaged file can break any assumption; the user gets a ModelError, never a traceback
        raise ModelError("the model is malformed", where=where, found=f"{type(error).__name__}: {error}") from error


def import_graph(model: onnx.ModelProto, where: str, input_shapes: Shapes) -> Graph:
    proto = model.graph
    types = model_inputs(proto, input_shapes, where)
    check_order(proto, set(types))
    builder = GraphBuilder(taken=tensor_names(proto), outputs=frozenset(info.name for info in proto.output))
    values: dict[str, Value | None] = {"": None}
    for tensor in proto.initializer:
        values[tensor.name] = builder.constant(stored_array(tensor), tensor.name)
    for name, tensor_type in types.items():
        values[name] = builder.input(name, tensor_type)
    read = {name for node in proto.node for name in node.input} | {info.name for info in proto.output}
    for index, node_proto in enumerate(proto.node):
        import_node(builder, values, node_proto, index, opset_of(model), read)
    if not proto.output:
        raise ModelError("the model has no outputs")
    for info in proto.output:
        value = values.get(info.name)
        if value is None:
            raise ModelError("an output is computed by no node", found=info.name, hint="the file may be truncated")
        if value.dtype not in DTYPES.values() or value.unsigned:
            raise ModelError(
                "unsupported dtype of an output",
                found=f"{info.name}: {'uint8' if value.unsigned else value.dtype}",
                expected=ALLOWED,
            )
        builder.output(info.name, value)
    return builder.graph(proto.name or "model")


def stored_array(tensor: onnx.TensorProto) -> np.ndarray:
    """An initialiser's data. Raises `ModelError` when it does not fit its shape and type."""
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # onnx raises many types here
        found = f"{type(error).__name__}: {error}"
        raise ModelError("an initialiser is malformed", where=f"initialiser {tensor.name!r}", found=found) from error


def import_node(
    builder: GraphBuilder, values: dict[str, Value | None], proto: onnx.NodeProto, index: int, opset: int, read: set[str]
) -> None:
    """Add what one ONNX node computes to the builder and its results to `values`; `read` are the tensors anything reads."""
    if not proto.output or not any(proto.output):
        raise ModelError("the node has no output", where=f"node {proto.name!r} ({proto.op_type})")
    name = proto.name or next((o for o in proto.output if o), f"{proto.op_type}_{index}")
    node = OnnxNode(proto, opset, name, [values[i] for i in proto.input])
    builder.source = name
    try:
        results = evaluate(builder, node)
        node.refuse_unread()
    except ModelError as error:
        raise relocated(error, f"node {name!r} ({proto.op_type}, opset {opset})") from None
    except Exception as error:  # as above, but here the node can be named
        found = f"{type(error).__name__}: {error}"
        raise ModelError(
            "the node is malformed", where=f"node {name!r} ({proto.op_type}, opset {opset})", found=found
        ) from error
    if extra := [output for output in proto.output[len(results) :] if output in read]:
        few = "the first output" if len(results) == 1 else f"the first {len(results)} outputs"
        raise ModelError(f"only {few} of {node.op} is supported", where=f"node {proto.name!r} ({node.op})", found=extra)
    for output, value in zip(proto.output, results, strict=False):
        if output:
            values[output] = value
            builder.bind(output, value)


def evaluate(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """The outputs that are supported: folded when its inputs are constants, else by its importer. Raises `ModelError`.

    Masks, indices and running statistics are not.
    """
    importer = importer_of(node)
    if importer is None:
        return (builder.constant(np.asarray(FOLDS[node.op](node)), node.proto.output[0]),)
    results = importer(builder, node)
    return results if isinstance(results, tuple) else (results,)


def importer_of(node: OnnxNode) -> Importer | None:
    """None for what is to be folded. Raises `ModelError` on an operator that is not supported."""
    domain = node.proto.domain
    if domain == MICROSOFT and node.op in microsoft.IMPORTERS:
        return microsoft.IMPORTERS[node.op]
    if domain not in ("", "ai.onnx"):
        raise unsupported(f"{domain}::{node.op}")
    known = all(v is None or (v.constant is not None and not v.unsigned) for v in node.inputs)
    if node.op in FOLDS and (known or node.op in ("Shape", "Size")):
        return None
    if node.op not in IMPORTERS:
        if node.op in FOLDS:
            raise ModelError(f"{node.op} is supported on constants and shapes only", expected="inputs known at import")
        raise unsupported(node.op)
    return IMPORTERS[node.op]


def unsupported(op: str) -> ModelError:
    listed = ", ".join(sorted(IMPORTERS))
    on_constants = ", ".join(sorted(set(FOLDS) - set(IMPORTERS)))
    theirs = ", ".join(f"{MICROSOFT}::{name}" for name in sorted(microsoft.IMPORTERS))
    return ModelError("unsupported operator", found=op, expected=f"one of {listed}, {theirs}; on constants also {on_constants}")


def relocated(error: ModelError, where: str) -> ModelError:
    return ModelError(error.what, where=where, found=error.found, expected=error.expected, hint=error.hint)


def tensor_names(proto: onnx.GraphProto) -> set[str]:
    names = {name for node in proto.node for name in (*node.input, *node.output)}
    return names | {t.name for t in proto.initializer} | {i.name for i in (*proto.input, *proto.output)}


def check_order(proto: onnx.GraphProto, inputs: set[str]) -> None:
    """Every tensor has one source, and nodes read only what stands before them. Raises `ModelError`."""
    known = inputs | {tensor.name for tensor in proto.initializer} | {""}
    producer: dict[str, int] = {}
    for index, node in enumerate(proto.node):
        for output in filter(None, node.output):
            if output in producer or output in known:
                raise ModelError("a tensor is computed twice", found=output)
            producer[output] = index
    reads = {i: {producer[name] for name in node.input if name in producer} for i, node in enumerate(proto.node)}
    try:
        tuple(TopologicalSorter(reads).static_order())
    except CycleError as error:
        names = [proto.node[i].name or proto.node[i].op_type for i in error.args[1]]
        raise ModelError("the graph has a cycle", found=" -> ".join(names)) from None
    for index, node in enumerate(proto.node):
        for name in node.input:
            if name not in known and name not in producer:
                raise ModelError(
                    "a node reads a tensor that nothing computes", where=f"node {node.name!r} ({node.op_type})", found=name
                )
            if producer.get(name, -1) >= index:
                hint = "sort the model's nodes topologically"
                raise ModelError(
                    "a node stands before the one it reads from", where=f"node {node.name!r}", found=name, hint=hint
                )
