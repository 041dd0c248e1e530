"""Damage to ONNX models: flipped bits, and fields, names, shapes, types and nesting that no exporter writes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import TensorProto, helper

NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 16, 64, 255, 2**16, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e38, float("inf"), float("-inf"), float("nan"))
WORDS = (
    "",
    "x",
    "in0",
    "out0",
    "node",
    "a/b",
    "ai.onnx",
    "com.microsoft",
    "local",
    "Relu",
    "nearest",
    "NOTSET",
    "\0",
    "é" * 40,
)
Mutation = Callable[[onnx.ModelProto, random.Random], None]


def mutated(model: onnx.ModelProto, chance: random.Random) -> bytes:
    """`model` damaged in one to four ways, as a file's bytes; now and then the bytes themselves are."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        with contextlib.suppress(DecodeError, EncodeError):  # nested deeper than protobuf reads
            chance.choice(MUTATIONS)(copy, chance)
    try:
        data = copy.SerializeToString()
    except EncodeError:
        data = model.SerializeToString()
    return damaged_bytes(data, chance) if chance.random() < 0.15 else data


def damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(data) + 1), chance.randint(1, 12)
        piece = data[place : place + length]
        kind = chance.randrange(4)
        if kind == 0 and piece:
            data = data[:place] + bytes([piece[0] ^ (1 << chance.randrange(8))]) + data[place + 1 :]
        elif kind == 1:
            data = data[:place] + data[place + length :]
        elif kind == 2:
            data = data[:place] + chance.randbytes(length) + data[place:]
        else:
            data = data[:place] + piece + data[place:]
    return data


def messages(message: Any) -> Iterator[Any]:
    """`message` and all messages inside it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if is_repeated(message, field) else (value,):
                yield from messages(inner)


def is_repeated(message: Any, field: Any) -> bool:
    return not isinstance(getattr(message, field.name), int | float | str | bytes) and hasattr(
        getattr(message, field.name), "append" if field.message_type is None else "add"
    )


def any_field(model: onnx.ModelProto, chance: random.Random) -> None:
    """Some field of some message: cleared, or set to an unlikely value of its type; a list loses, repeats or swaps elements."""
    message = chance.choice(list(messages(model)))
    field = chance.choice(message.DESCRIPTOR.fields)
    if is_repeated(message, field):
        list_field(getattr(message, field.name), field, chance)
    elif field.message_type is not None:
        if chance.random() < 0.5:
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
    else:
        assign(message, field, chance)


def list_field(values: Any, field: Any, chance: random.Random) -> None:
    kind = chance.randrange(4)
    if kind == 0 and values:
        del values[chance.randrange(len(values))]
    elif kind == 1 and values:
        picked = values[chance.randrange(len(values))]
        values.append(picked)
    elif kind == 2 and field.message_type is not None:
        values.add()
    elif field.message_type is None:
        value = scalar(field, chance)
        if value is None:
            return
        if values and chance.random() < 0.7:
            values[chance.randrange(len(values))] = value
        else:
            values.append(value)


def scalar(field: Any, chance: random.Random) -> Any:
    """A value for a field, or None where what was drawn does not fit its type."""
    if field.enum_type is not None:
        return chance.choice(list(field.enum_type.values_by_number))
    if field.cpp_type == field.CPPTYPE_STRING:
        word = chance.choice(WORDS)
        return word.encode() if field.type == field.TYPE_BYTES else word
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return chance.choice(FLOATS)
    number = chance.choice(NUMBERS)
    bits = 31 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 63
    least = 0 if field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64) else -(2**bits)
    return number if least <= number < 2**bits else None


def assign(message: Any, field: Any, chance: random.Random) -> None:
    value = scalar(field, chance)
    if value is None or chance.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, value)


def graphs(model: onnx.ModelProto) -> list[Any]:
    """The main graph, subgraphs and functions: whatever has nodes."""
    return [m for m in messages(model) if isinstance(m, onnx.GraphProto | onnx.FunctionProto)]


def nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for graph in graphs(model) for node in graph.node] or [onnx.NodeProto()]


def tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [m for m in messages(model) if isinstance(m, onnx.TensorProto)] or [onnx.TensorProto()]


def names(model: onnx.ModelProto) -> list[str]:
    found = [name for node in nodes(model) for name in (*node.input, *node.output)]
    return [*found, *(t.name for t in model.graph.initializer), *(i.name for i in model.graph.input), "nothing", ""]


def rewire(model: onnx.ModelProto, chance: random.Random) -> None:
    """A node reads or writes another tensor: cycles, wrong types, missing and doubled tensors."""
    node = chance.choice(nodes(model))
    ends = node.input if chance.random() < 0.7 else node.output
    if ends:
        ends[chance.randrange(len(ends))] = chance.choice(names(model))
    else:
        ends.append(chance.choice(names(model)))


def other_operator(model: onnx.ModelProto, chance: random.Random) -> None:
    """What one operator is given goes to another."""
    chance.choice(nodes(model)).op_type = chance.choice(OPERATORS)


def attribute(model: onnx.ModelProto, chance: random.Random) -> None:
    """An attribute of another kind, name or value."""
    node = chance.choice(nodes(model))
    name = chance.choice([a.name for a in node.attribute] + list(ATTRIBUTES))
    values = (
        chance.choice(NUMBERS),
        chance.choice(FLOATS),
        chance.choice(WORDS),
        [chance.choice(NUMBERS)] * chance.randint(1, 5),
    )
    kept = [a for a in node.attribute if a.name != name or chance.random() < 0.1]
    del node.attribute[:]
    node.attribute.extend(kept)
    try:
        node.attribute.append(helper.make_attribute(name, chance.choice(values)))
    except (ValueError, TypeError):  # a number that no attribute holds
        return
    if chance.random() < 0.2:
        node.attribute[-1].type = chance.choice(list(onnx.AttributeProto.AttributeType.values()))


def shape(model: onnx.ModelProto, chance: random.Random) -> None:
    """A dimension that is huge, negative, zero, named or missing."""
    info = chance.choice([*model.graph.input, *model.graph.output, *model.graph.value_info] or [onnx.ValueInfoProto()])
    dims = info.type.tensor_type.shape.dim
    if dims and chance.random() < 0.8:
        dim = dims[chance.randrange(len(dims))]
    else:
        dim = dims.add()
    if chance.random() < 0.8:
        dim.dim_value = chance.choice(NUMBERS)
    else:
        dim.dim_param = chance.choice(WORDS)


def many_dimensions(model: onnx.ModelProto, chance: random.Random) -> None:
    info = chance.choice(model.graph.input or [onnx.ValueInfoProto()])
    for _ in range(chance.choice((10, 33, 65, 1000))):
        info.type.tensor_type.shape.dim.add().dim_value = chance.choice((1, 1, 2))


def tensor(model: onnx.ModelProto, chance: random.Random) -> None:
    """A stored tensor whose data does not fit its shape or type, or lies elsewhere."""
    stored = chance.choice(tensors(model))
    kind = chance.randrange(7)
    if kind == 0:
        stored.raw_data = stored.raw_data[: chance.randrange(len(stored.raw_data) + 1)]
    elif kind == 1:
        stored.raw_data += chance.randbytes(chance.choice((1, 3, 8, 64)))
    elif kind == 2:
        stored.data_type = chance.choice(list(TensorProto.DataType.values()))
    elif kind == 3:
        if stored.dims:
            stored.dims[chance.randrange(len(stored.dims))] = chance.choice(NUMBERS)
        else:
            stored.dims.append(chance.choice(NUMBERS))
    elif kind == 4:
        numbers = (chance.choice(NUMBERS) for _ in range(len(stored.raw_data) // 8))
        stored.raw_data = b"".join(number.to_bytes(8, "little", signed=True) for number in numbers)
    elif kind == 5:
        stored.data_location = TensorProto.EXTERNAL
        stored.external_data.add(key="location", value=chance.choice(("weights.bin", "/etc/passwd", "../x", "")))
    else:
        stored.ClearField("raw_data")
        stored.float_data.extend([1.0] * chance.choice((0, 1, 4)))


def element_type(model: onnx.ModelProto, chance: random.Random) -> None:
    info = chance.choice(model.graph.input or [onnx.ValueInfoProto()])
    kind = chance.randrange(4)
    if kind:
        info.type.tensor_type.elem_type = chance.choice([*TensorProto.DataType.values(), 99])
    else:
        inner = onnx.TypeProto()
        inner.CopyFrom(info.type)
        holder = info.type.sequence_type if chance.random() < 0.5 else info.type.optional_type
        holder.elem_type.CopyFrom(inner)


def opset(model: onnx.ModelProto, chance: random.Random) -> None:
    entry = chance.choice(model.opset_import or [onnx.OperatorSetIdProto()])
    entry.version = chance.choice((*range(31), *NUMBERS))


def order(model: onnx.ModelProto, chance: random.Random) -> None:
    """Nodes in another order, twice, or gone."""
    graph = chance.choice(graphs(model) or [onnx.GraphProto()])
    kept = list(graph.node)
    if not kept:
        return
    kind = chance.randrange(3)
    if kind == 0:
        chance.shuffle(kept)
    elif kind == 1:
        kept.append(chance.choice(kept))
    else:
        kept.remove(chance.choice(kept))
    copies = []
    for node in kept:
        copies.append(onnx.NodeProto())
        copies[-1].CopyFrom(node)
    del graph.node[:]
    graph.node.extend(copies)


def nested(model: onnx.ModelProto, chance: random.Random) -> None:
    """The main graph's nodes inside branches inside branches, as deep as protobuf reads."""
    outputs = [info.name for info in model.graph.output] or ["y"]
    for level in range(chance.choice((1, 2, 5, 20, 30))):
        below = onnx.GraphProto(name=f"level{level}")
        known = onnx.TensorProto(name=f"true{level}", data_type=TensorProto.BOOL, raw_data=b"\1")
        try:
            below.node.extend(model.graph.node)
            below.output.extend(model.graph.output)
            other = below if level < 3 else onnx.GraphProto()
            branch = helper.make_node("If", [known.name], outputs, then_branch=below, else_branch=other)
        except DecodeError:
            return
        del model.graph.node[:]
        model.graph.node.append(branch)
        model.graph.initializer.append(known)


def recursive_function(model: onnx.ModelProto, chance: random.Random) -> None:
    """A function that calls itself, the next, or twice the one below: 2ⁿ nodes from n functions."""
    depth = chance.choice((1, 3, 12, 40))
    opsets = list(model.opset_import)
    for level in range(depth):
        callee = f"F{level + 1}" if level + 1 < depth else chance.choice(("F0", "Relu"))
        domain = "" if callee == "Relu" else "local"
        body = [helper.make_node(callee, ["a"], ["b"], domain=domain), helper.make_node(callee, ["b"], ["c"], domain=domain)]
        model.functions.append(helper.make_function("local", f"F{level}", ["a"], ["c"], body, opsets))
    node = chance.choice(nodes(model))
    node.op_type, node.domain = "F0", "local"


def loop_count(model: onnx.ModelProto, chance: random.Random) -> None:
    """A loop over nothing, or for ever."""
    trips = onnx.TensorProto(name="fuzzed_trips", data_type=TensorProto.INT64, dims=[], int64_data=[chance.choice(NUMBERS)])
    true = onnx.TensorProto(name="fuzzed_true", data_type=TensorProto.BOOL, dims=[], int32_data=[1])
    state = chance.choice(names(model))
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go2"]), helper.make_node("Concat", ["s", "s"], ["s2"], axis=0)],
        "body",
        [helper.make_tensor_value_info(n, t, None) for n, t in (("i", 7), ("go", 9), ("s", 1))],
        [helper.make_tensor_value_info(n, t, None) for n, t in (("go2", 9), ("s2", 1))],
    )
    model.graph.initializer.extend([trips, true])
    model.graph.node.append(helper.make_node("Loop", ["fuzzed_trips", "fuzzed_true", state], ["fuzzed"], body=body))
    model.graph.output.add().name = "fuzzed"


def huge_from_little(model: onnx.ModelProto, chance: random.Random) -> None:
    """A few bytes that ask for a tensor of gigabytes."""
    sizes = [chance.choice((2**10, 2**16, 2**20, 2**31, 2**40)) for _ in range(chance.randint(1, 3))]
    shape = onnx.TensorProto(name="fuzzed_shape", data_type=TensorProto.INT64, dims=[len(sizes)], int64_data=sizes)
    op = chance.choice(("ConstantOfShape", "Expand", "Tile", "Resize"))
    name = chance.choice(names(model))
    operands = {"ConstantOfShape": ["fuzzed_shape"], "Resize": [name, "", "", "fuzzed_shape"]}.get(op, [name, "fuzzed_shape"])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node(op, operands, ["fuzzed_big"]))
    model.graph.node.append(helper.make_node("Neg", ["fuzzed_big"], ["fuzzed_less"]))
    model.graph.output.add().name = "fuzzed_less"


MUTATIONS: tuple[Mutation, ...] = (
    any_field,
    any_field,
    any_field,
    rewire,
    rewire,
    other_operator,
    other_operator,
    attribute,
    attribute,
    shape,
    shape,
    many_dimensions,
    tensor,
    tensor,
    element_type,
    opset,
    order,
    nested,
    recursive_function,
    loop_count,
    huge_from_little,
)
OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})
ATTRIBUTES = sorted({name for schema in onnx.defs.get_all_schemas() if schema.domain == "" for name in schema.attributes})
