"""ONNX functions: an operator that is defined by other operators, in the model itself or in the standard."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Several
from typing import Any

import onnx
from onnx import defs, helper

from vdla.compiler.frontend.values import Anything, Sequence, Value
from vdla.errors import ModelError

Attributes = dict[str, onnx.AttributeProto]


def with_attributes(node: onnx.NodeProto, given: Attributes) -> onnx.NodeProto:
    """A node of a function's body with references to the function's attributes replaced; those not given disappear."""
    if not any(a.ref_attr_name or a.HasField("g") or a.graphs for a in node.attribute):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    for attribute in node.attribute:
        if attribute.ref_attr_name and attribute.ref_attr_name not in given:
            continue
        added = copy.attribute.add()
        added.CopyFrom(given[attribute.ref_attr_name] if attribute.ref_attr_name else attribute)
        added.name = attribute.name
        for graph in [*([added.g] if added.HasField("g") else []), *added.graphs]:
            bodies = [with_attributes(below, given) for below in graph.node]
            del graph.node[:]
            graph.node.extend(bodies)
    return copy


def attributes_of(function: onnx.FunctionProto, node: onnx.NodeProto) -> Attributes:
    """The function's attributes at a call: given ones, and defaults."""
    defaults = {attribute.name: attribute for attribute in function.attribute_proto}
    known = {*function.attribute, *defaults}
    return {**defaults, **{attribute.name: attribute for attribute in node.attribute if attribute.name in known}}


def standard_function(node: onnx.NodeProto, domain: str, opset: int, inputs: Several[Anything]) -> onnx.FunctionProto | None:
    """How the ONNX standard defines an operator by others; None when it does not."""
    try:
        schema: Any = defs.get_schema(node.op_type, opset, domain)  # onnx's types leave functions out
    except defs.SchemaError:
        return None
    if schema.has_function:
        function = onnx.FunctionProto()
        function.CopyFrom(schema.function_body)
        add_defaults(function, schema)
        return function
    if not schema.has_context_dependent_function:
        return None
    check_call(schema, node)
    types = [type_of(value) for value in inputs]
    version = max((v for v in schema.context_dependent_function_opset_versions if v <= opset), default=opset)
    encoded = schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), types)
    function = onnx.FunctionProto()
    if not encoded:
        return None
    function.ParseFromString(encoded)
    add_defaults(function, schema)
    return function


def check_call(schema: Any, node: onnx.NodeProto) -> None:
    """Raises `ModelError` unless a node has its operator's inputs and attributes: onnx's own code crashes without."""
    if not schema.min_input <= len(node.input) <= schema.max_input:
        expected = f"{schema.min_input} to {schema.max_input}"
        raise ModelError(f"{node.op_type} has the wrong number of inputs", found=len(node.input), expected=expected)
    kinds = {attribute.name: attribute.type for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        if attribute.required and name not in kinds:
            raise ModelError(f"attribute {name} of {node.op_type} is missing")
        if name in kinds and kinds[name] != attribute.type.value:
            found = onnx.AttributeProto.AttributeType.Name(kinds[name])
            raise ModelError(
                f"attribute {name} of {node.op_type} has the wrong type", found=found, expected=attribute.type.name
            )


def add_defaults(function: onnx.FunctionProto, schema: defs.OpSchema) -> None:
    """A standard operator's attributes and their defaults, which its function body leaves to the schema."""
    known = {*function.attribute, *(attribute.name for attribute in function.attribute_proto)}
    for name, attribute in schema.attributes.items():
        if attribute.default_value.name:
            if name in function.attribute:
                function.attribute.remove(name)
            function.attribute_proto.add().CopyFrom(attribute.default_value)
        elif name not in known:
            function.attribute.append(name)


def type_of(value: Anything) -> bytes:
    """A value's type as ONNX writes it; an empty sequence may be of anything."""
    if isinstance(value, Sequence):
        kind = onnx.TypeProto()
        nothing = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None).SerializeToString()
        kind.sequence_type.elem_type.ParseFromString(type_of(value.items[0]) if value.items else nothing)
        return kind.SerializeToString()
    if not isinstance(value, Value):
        return onnx.TypeProto().SerializeToString()
    number = helper.np_dtype_to_tensor_dtype(value.type.numpy_dtype) if not value.unsigned else onnx.TensorProto.UINT8
    return helper.make_tensor_type_proto(number, value.shape).SerializeToString()


def opsets_of(entries: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Domain → version; ONNX's own is ""."""
    versions: dict[str, int] = {}
    for entry in entries:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        versions[domain] = max(entry.version, versions.get(domain, 0))
    return versions
