"""ONNX → Graph: the door for models, and what it says about those it cannot take."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np
import onnx

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.composite import Shapes, taken_apart
from vdla.compiler.frontend.functions import opsets_of
from vdla.compiler.frontend.importers import IMPORTERS, RANDOM, REMEDIES, STRINGS, importer_of
from vdla.compiler.frontend.inputs import Dims, Values, bound_values, declared_inputs, model_inputs
from vdla.compiler.frontend.loading import ModelSource, load_model
from vdla.compiler.frontend.node import UnknownValue
from vdla.compiler.frontend.order import names_read
from vdla.compiler.frontend.reader import Find, Model, Reader, Unsupported, located
from vdla.compiler.frontend.values import Sequence, Value, length_name
from vdla.compiler.graph.graph import Graph
from vdla.compiler.names import Names
from vdla.errors import ModelError, ModelProblems


def import_onnx(
    source: ModelSource,
    input_shapes: Shapes | None = None,
    *,
    dims: Dims | None = None,
    bind: Values | None = None,
    find: Find = importer_of,
) -> Graph:
    """The model as a Graph, tensors keeping the model's names.

    source: a path, the file's bytes or a `ModelProto`. input_shapes: sizes for dimensions that the model leaves open, by input;
    of a sequence a shape for each of its tensors, which become inputs x[0], x[1], … as do those of an output that is one.
    dims: sizes by the dimension's name. bind: the value of an input that becomes a constant; what shapes, axes and branches
    depend on must be known here. find: other importers (`StaticImporters`). Whatever is computed from constants alone leaves no
    node.

    Raises `ModelError` on what cannot be imported exactly, `ModelProblems` when that is more than one thing.
    """
    model, where = load_model(source)
    try:
        with np.errstate(all="ignore"):  # a model's infinities are its own affair
            return import_graph(model, where, input_shapes or {}, dims or {}, bind or {}, find)
    except ModelProblems:
        raise
    except ModelError as error:
        raise error if error.where.startswith(where) else located(error, where) from None
    except (MemoryError, RecursionError) as error:
        raise ModelError("the model is too large", where=where, found=type(error).__name__) from None
    except Exception as error:  # a damaged file can break any assumption; the user gets a ModelError, never a traceback
        raise ModelError("the model is malformed", where=where, found=f"{type(error).__name__}: {error}") from error


def import_graph(model: onnx.ModelProto, where: str, shapes: Shapes, dims: Dims, bind: Values, find: Find) -> Graph:
    proto = model.graph
    inputs = taken_apart(declared_inputs(proto, shapes, where), shapes, where)
    types = model_inputs(inputs.tensors, inputs.shapes, dims, bind, where)
    values = bound_values(types, bind, where)
    if not proto.output:
        raise ModelError("the model has no outputs")
    outputs = frozenset(info.name for info in proto.output)
    stored = sum(len(tensor.raw_data) for tensor in proto.initializer)
    builder = GraphBuilder(Names(tensor_names(proto), "."), outputs=outputs, stored=stored)
    functions = {(f.domain, f.name): f for f in model.functions}
    reader = Reader(Model(find, functions, nodes=-len(proto.node)), builder, opsets_of(model.opset_import))
    reader.store(proto.initializer)
    for name, tensor_type in types.items():
        bound = values.get(name)
        reader.values[name] = builder.input(name, tensor_type) if bound is None else builder.constant(bound, name)
    for name, parts in inputs.parts.items():
        whole = tuple(value for part in parts if isinstance(value := reader.values[part], Value))
        reader.values[name] = Sequence(whole) if name in inputs.sequences else whole[0] if whole else None
    reader.read_nodes(proto.node, [info.name for info in proto.output])
    if reader.model.problems:
        raise_all(reader.model.problems, where)
    for info in proto.output:
        add_output(builder, reader, info.name)
    return builder.graph(proto.name or "model")


def add_output(builder: GraphBuilder, reader: Reader, name: str) -> None:
    if name not in reader.known():
        raise ModelError("an output is computed by no node", found=name, hint="the file may be truncated")
    value = reader.find(name)
    if isinstance(value, Sequence):
        for index, item in enumerate(value.items):
            add_tensor(builder, f"{name}[{index}]", item)
    elif isinstance(value, Value):
        add_tensor(builder, name, value)
    else:
        raise ModelError("an output is absent", found=name)


def add_tensor(builder: GraphBuilder, name: str, value: Value) -> None:
    """An output, and beside one whose length is data, that length."""
    with builder.bounded():
        builder.output(name, value)
    if value.length is not None:
        builder.output(length_name(name, value.axis), value.length)


def tensor_names(proto: onnx.GraphProto) -> set[str]:
    names = {name for node in proto.node for name in (*names_read(node), *node.output)}
    return names | {t.name for t in proto.initializer} | {i.name for i in (*proto.input, *proto.output)}


def raise_all(problems: Iterable[ModelError], where: str) -> None:
    """Each kind of problem once, with what would help. Raises `ModelError`, or `ModelProblems` for several."""
    distinct: dict[tuple[str, str], ModelError] = {}
    repeated: dict[tuple[str, str], int] = {}
    for problem in problems:
        key = (problem.what, str(problem.found) if isinstance(problem, Unsupported) else str(problem))
        distinct.setdefault(key, problem)
        repeated[key] = repeated.get(key, 0) + 1
    listed = []
    for key, problem in distinct.items():
        if isinstance(problem, Unsupported):
            problem.hint = nearest(problem)
            if repeated[key] > 1:
                problem.where += f" and {repeated[key] - 1} more"
        listed.append(problem)
    if len(listed) == 1:
        raise located(listed[0], where)
    unknown = {name for problem in listed if isinstance(problem, UnknownValue) for name in problem.inputs}
    raise ModelProblems(where, listed, tuple(sorted(unknown)))


def nearest(problem: Unsupported) -> str:
    """What works instead of an operator."""
    for prefix, remedy in REMEDIES.items():
        if problem.domain.startswith(prefix):
            return remedy
    if problem.op in RANDOM:
        return "its result is random; export the model for inference, or feed the random tensor as an input"
    if problem.op in STRINGS:
        return "strings are not supported; compute on them before the model, which gets numbers"
    if problem.op == "ImageDecoder":
        return "decode images before the model, which gets pixels"
    close = difflib.get_close_matches(problem.op, IMPORTERS, n=1)
    return f"the nearest operator is {close[0]}" if close else "docs/operators.md lists those there are"
