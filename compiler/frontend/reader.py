"""Walking through a model: its graph, the graphs inside its nodes, the functions they call.

Every refusal is recorded and what depends on it is passed over, so that all that stands in a model's way is named at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import numpy_helper

from vdla.compiler.frontend import bounded
from vdla.compiler.frontend.builder import GraphBuilder, UnknownLength
from vdla.compiler.frontend.functions import attributes_of, opsets_of, standard_function, with_attributes
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.order import names_read, sorted_nodes
from vdla.compiler.frontend.values import Anything, Value
from vdla.compiler.graph.graph import Graph, TensorType
from vdla.compiler.names import Names
from vdla.errors import ModelError

MOST_NODES = 30_000
"""More than the main graph has, with functions and loops written out: a file of a few bytes can ask for any number, and these
take seconds."""
DEEPEST = 40
"""Functions and graphs inside each other."""

Find = Callable[[str, str], Importer | None]
"""Domain and operator → what imports it."""


class Failed:
    """Stands for what a refused node would have computed."""


FAILED = Failed()


@dataclass
class Model:
    """What all scopes of a model share. functions: by domain and name."""

    find: Find
    functions: Mapping[tuple[str, str], onnx.FunctionProto] = field(default_factory=dict)
    problems: list[ModelError] = field(default_factory=list)
    nodes: int = 0

    def count_node(self) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise TooLarge(
                "the model is too large, its functions and loops written out", expected=f"at most {MOST_NODES} nodes more"
            )


class TooLarge(ModelError):
    """Ends the walk at once."""


@dataclass
class Reader:
    """One scope: a graph or a function's body. values: by name; outer: the scope around it, whose names a graph sees."""

    model: Model
    builder: GraphBuilder
    opsets: Mapping[str, int]
    values: dict[str, Anything | Failed] = field(default_factory=dict)
    stored: dict[str, onnx.TensorProto] = field(default_factory=dict)
    outer: Reader | None = None
    path: str = ""
    depth: int = 0

    def find(self, name: str) -> Anything | Failed:
        """What a name stands for here. Raises `ModelError` when it is nothing."""
        if name == "":
            return None
        if name not in self.values and name in self.stored:
            known_as = self.builder.fresh(self.path + name) if self.path else name
            self.values[name] = self.builder.constant(stored_array(self.stored[name]), known_as)
        if name in self.values:
            return self.values[name]
        if self.outer is None:
            raise ModelError("a node reads a tensor that nothing computes", found=name)
        return self.outer.find(name)

    def known(self) -> set[str]:
        """Every name that stands for something."""
        return {*self.values, *self.stored, *(self.outer.known() if self.outer else ())}

    def store(self, initializers: Iterable[onnx.TensorProto]) -> None:
        """The arrays that a graph has by name; each is read when first wanted."""
        for tensor in initializers:
            if tensor.name in self.stored and tensor != self.stored[tensor.name]:
                raise ModelError("two initialisers have one name", found=tensor.name)
            self.stored[tensor.name] = tensor

    def read_nodes(self, nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> None:
        """Import `nodes`; `outputs` are wanted from them."""
        known = self.known()
        if self.outer is not None:  # a graph inside a node may name its tensors as those outside
            known -= {name for node in nodes for name in node.output}
        ordered = sorted_nodes(nodes, known)
        wanted = {name for node in nodes for name in names_read(node)} | set(outputs)
        for index, node in enumerate(ordered):
            self.model.count_node()
            self.read_node(node, index, wanted)

    def read_node(self, proto: onnx.NodeProto, index: int, wanted: set[str]) -> None:
        """Import one node: its results, or what failed, under its outputs' names."""
        name = self.path + (proto.name or next((o for o in proto.output if o), f"{proto.op_type}_{index}"))
        try:
            inputs = [self.find(i) for i in proto.input]
            if any(isinstance(self.find(n), Failed) for n in names_read(proto)):
                results: tuple[Anything | Failed, ...] = (FAILED,) * len(proto.output)
            else:
                results = self.results_of(proto, name, inputs, wanted)  # type: ignore[arg-type]
        except TooLarge:
            raise
        except ModelError as error:
            kind = proto.op_type if proto.op_type.isprintable() else repr(proto.op_type)
            self.model.problems.append(located(error, f"node {name!r} ({kind}{self.version(proto)})"))
            results = (FAILED,) * len(proto.output)
        for output, value in zip(proto.output, results, strict=False):
            if output:
                self.values[output] = self.named(output, value) if isinstance(value, Value) and not self.path else value

    def named(self, output: str, value: Value) -> Value:
        """A result under the model's own name for it."""
        if value.constant is None:
            self.builder.bind(output, value)
            return value
        kept = value.name in self.stored or value.name in self.builder.inputs or output in self.builder.outputs
        return value if kept else replace(value, name=output)

    def version(self, proto: onnx.NodeProto) -> str:
        opset = self.opsets.get(normal(proto.domain), 0)
        return f", opset {opset}" if opset and not proto.domain else ""

    def results_of(
        self, proto: onnx.NodeProto, name: str, inputs: list[Anything], wanted: set[str]
    ) -> tuple[Anything | Failed, ...]:
        """What one node computes. Raises `ModelError`, whatever is wrong with it."""
        if not any(proto.output):
            raise ModelError("the node has no output")
        outputs = tuple(o if o in wanted else "" for o in proto.output)
        opset = self.opsets.get(normal(proto.domain), self.opsets.get("", 0))
        node = OnnxNode(proto, opset, name, inputs, self.builder, outputs, self)
        self.builder.source = name
        try:
            results = self.imported(node)
        except UnknownLength as error:
            raise node.unknown(error.value, "the length of a tensor") from None
        except (ModelError, MemoryError, RecursionError):
            raise
        except Exception as error:  # a damaged file can break any assumption; the user gets a ModelError, never a traceback
            raise ModelError("the node is malformed", found=f"{type(error).__name__}: {error}") from error
        if extra := [output for output in outputs[len(results) :] if output]:
            few = "the first output" if len(results) == 1 else f"the first {len(results)} outputs"
            raise ModelError(f"only {few} of {node.op} is supported", found=extra)
        return results

    def imported(self, node: OnnxNode) -> tuple[Anything | Failed, ...]:
        """By the model's own function, by an importer, or by the standard's function, in this order."""
        domain = normal(node.proto.domain)
        if (own := self.model.functions.get((domain, node.op))) is not None:
            return self.call(own, node)
        importer = self.model.find(domain, node.op)
        if importer is not None:
            results = bounded.imported(importer, self.builder, node)
            node.refuse_unread()
            return results
        function = standard_function(node.proto, domain, node.opset, node.inputs)
        if function is None:
            raise Unsupported(domain, node.op)
        return self.call(function, node)

    def call(self, function: onnx.FunctionProto, node: OnnxNode) -> tuple[Anything | Failed, ...]:
        """A function's outputs, its body written out."""
        attributes = attributes_of(function, node.proto)
        opsets = {**self.opsets, **opsets_of(function.opset_import)}
        scope = self.inner(f"{node.name}/", None, opsets)
        scope.values = dict(zip(function.input, [*node.inputs, *[None] * len(function.input)], strict=False))
        scope.read_nodes([with_attributes(n, attributes) for n in function.node], function.output)
        return tuple(scope.find(name) if name in scope.values else FAILED for name in function.output)

    def inline(self, graph: onnx.GraphProto, inputs: Sequence[Anything], path: str) -> tuple[Anything | Failed, ...]:
        """The outputs of a graph inside a node, written out for these inputs."""
        scope = self.inner(path, self, self.opsets)
        scope.store(graph.initializer)
        if len(inputs) != len(graph.input):
            raise ModelError("a graph inside the node has other inputs", found=len(graph.input), expected=str(len(inputs)))
        scope.values.update(zip((info.name for info in graph.input), inputs, strict=True))
        scope.read_nodes(graph.node, [info.name for info in graph.output])
        return tuple(scope.find(info.name) for info in graph.output)

    def body(self, graph: onnx.GraphProto, types: Sequence[TensorType], path: str) -> tuple[Graph, list[Value]]:
        """A graph inside a node as a Graph of its own: inputs of `types`, then the values it reads from outside, returned too.

        Raises `ModelError` when anything in it is refused.
        """
        inside = GraphBuilder(Names(separator="."), source=path, stored=self.builder.stored)
        model = Model(self.model.find, self.model.functions, nodes=self.model.nodes)
        captured: dict[str, Value] = {}
        outer = Captured(model, inside, self.opsets, outer=self, captured=captured)
        scope = Reader(model, inside, self.opsets, outer=outer, path=path, depth=self.depth + 1)
        scope.check_depth()
        scope.store(graph.initializer)
        inputs = [inside.input(inside.fresh(info.name), t) for info, t in zip(graph.input, types, strict=True)]
        scope.values.update(zip((info.name for info in graph.input), inputs, strict=True))
        scope.read_nodes(graph.node, [info.name for info in graph.output])
        if model.problems:
            raise model.problems[0]
        self.model.nodes = model.nodes
        for info in graph.output:
            value = scope.find(info.name)
            if not isinstance(value, Value):
                raise ModelError("a loop's body gives no tensor", found=info.name)
            inside.output(inside.fresh(f"{info.name}.result"), value)
        built = inside.graph(path.rstrip("/"))
        held = {name: self.builder.constant(array) for name, array in built.constants.items()}
        extra = {**{name: value for name, value in captured.items() if name in built.inputs}, **held}
        free = Graph(built.name, (*built.inputs, *held), built.outputs, built.nodes, built.tensors, {})
        return free, list(extra.values())

    def inner(self, path: str, outer: Reader | None, opsets: Mapping[str, int]) -> Reader:
        scope = Reader(self.model, self.builder, opsets, outer=outer, path=path, depth=self.depth + 1)
        scope.check_depth()
        return scope

    def check_depth(self) -> None:
        if self.depth > DEEPEST:
            raise TooLarge("functions or graphs lie too deep inside each other", expected=f"at most {DEEPEST}")


@dataclass
class Captured(Reader):
    """The scope around a loop's body: what is read from it becomes an input of the body, constants stay what they are."""

    captured: dict[str, Value] = field(default_factory=dict)

    def find(self, name: str) -> Anything | Failed:
        if name not in self.values:
            assert self.outer is not None
            value = self.outer.find(name)
            if isinstance(value, Value) and value.constant is None:
                if value.length is not None:
                    raise UnknownLength(value)
                true = self.outer.builder.true_uint8(value)
                inside = self.builder.input(self.builder.fresh(name), true.type)
                self.captured[inside.name] = true
                value = inside
            self.values[name] = value
        return self.values[name]


class Unsupported(ModelError):
    """An operator that nothing imports."""

    def __init__(self, domain: str, op: str) -> None:
        super().__init__("unsupported operator", found=f"{domain}::{op}" if domain else op)
        self.domain, self.op = domain, op


def normal(domain: str) -> str:
    """ONNX's own domain has two names."""
    return "" if domain == "ai.onnx" else domain


def located(error: ModelError, where: str) -> ModelError:
    """The same error at a place; of what it is inside, the place comes first."""
    error.where = f"{where}: {error.where}" if error.where else where
    return error


def stored_array(tensor: onnx.TensorProto) -> np.ndarray:
    """An initialiser's data. Raises `ModelError` when it does not fit its shape and type."""
    where = f"initialiser {tensor.name!r}"
    if tensor.data_type == onnx.TensorProto.STRING:
        raise ModelError("strings are not supported", where=where)
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:  # onnx raises many types here
        found = f"{type(error).__name__}: {error}"
        raise ModelError("an initialiser is malformed", where=where, found=found) from error
