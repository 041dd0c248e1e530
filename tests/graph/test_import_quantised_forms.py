"""QuantizeLinear and DequantizeLinear of every type, granularity and precision, against the ONNX project's reference: as
imported, and as machine code."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.reference import run_reference
from vdla.element_types import ELEMENT_TYPES, numpy_dtype
from vdla.errors import ModelError
from vdla.onnx_backend import VdlaRep

INTEGERS = ["int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2"]
FLOAT8 = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]
SHAPE = (3, 5, 4)
GRAINS: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "tensor": ((), {}),
    "axis": ((5,), {"axis": 1}),
    "last": ((4,), {"axis": -1}),
    "block": ((3, 5, 2), {"axis": 2, "block_size": 2}),
    "ragged block": ((3, 2, 4), {"axis": 1, "block_size": 3}),
}


def number(dtype: str) -> int:
    return helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype))


def model(op: str, values: dict[str, np.ndarray], dtype: str, constant: bool, **attributes: Any) -> onnx.ModelProto:
    """One node of `values`, in order; the first is an input, and the others are if they are not constant."""
    node = helper.make_node(op, list(values), ["y"], name="node", **attributes)
    first, *rest = values
    inputs = [first] if constant else [first, *rest]
    declared = [helper.make_tensor_value_info(n, number(str(values[n].dtype)), values[n].shape) for n in inputs]
    stored = [numpy_helper.from_array(values[n], n) for n in rest if constant]
    output = helper.make_tensor_value_info("y", number(dtype), values[first].shape)
    graph = helper.make_graph([node], "test", declared, [output], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11)


def check(made: onnx.ModelProto, values: dict[str, np.ndarray], *, compiled: bool = False) -> None:
    given = {info.name: values[info.name] for info in made.graph.input}
    (expected,) = ReferenceEvaluator(made).run(None, given)
    found = [run_reference(import_onnx(made), given)["y"]]
    found += VdlaRep(made, True).run(given) if compiled else ()
    for y in found:
        assert y.dtype == expected.dtype and y.shape == expected.shape
        np.testing.assert_array_equal(y.astype(np.float64), expected.astype(np.float64))


def parameters(dtype: str, shape: tuple[int, ...], scale: str = "float32") -> dict[str, np.ndarray]:
    """Scales that are powers of two, times three for some, so that ties and exact quotients occur; zero points in range."""
    rng = np.random.default_rng([*dtype.encode(), *shape])
    scales = np.ldexp(rng.choice([1.0, 3.0], shape), rng.integers(-4, 0, shape)).astype(numpy_dtype(scale))
    if ELEMENT_TYPES[dtype].is_float:
        return {"s": scales}
    low, high = ELEMENT_TYPES[dtype].range
    return {"s": scales, "z": rng.integers(max(low, -9), min(high, 9), shape, endpoint=True).astype(numpy_dtype(dtype))}


def data(dtype: str) -> np.ndarray:
    """Multiples of 1/32: many a quotient is halfway; some are out of any range, some infinite."""
    x = np.random.default_rng(7).integers(-300, 300, SHAPE) / 32
    x[0, 0] = [7e4, -7e4, np.inf, -np.inf]
    return x.astype(numpy_dtype(dtype))


def levels(dtype: str) -> np.ndarray:
    if dtype == "int32":
        return np.random.default_rng(5).integers(-(1 << 22), 1 << 22, SHAPE).astype(np.int32)
    if ELEMENT_TYPES[dtype].is_float:
        return np.random.default_rng(5).uniform(-6, 6, SHAPE).astype(np.float32).astype(numpy_dtype(dtype))
    low, high = ELEMENT_TYPES[dtype].range
    return np.random.default_rng(5).integers(low, high, SHAPE, endpoint=True).astype(numpy_dtype(dtype))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_quantise(dtype: str, grain: str, constant: bool) -> None:
    shape, attributes = GRAINS[grain]
    x = data("float32")
    x[0, 0] = [7e4, -7e4, 1e7, -1e7]  # the reference counts steps in int32
    values = {"x": x, **parameters(dtype, shape)}
    check(model("QuantizeLinear", values, dtype, constant, **attributes), values, compiled=grain in ("axis", "ragged block"))


@pytest.mark.parametrize("saturate", [0, 1])
@pytest.mark.parametrize("dtype", FLOAT8)
def test_quantise_to_float8(dtype: str, saturate: int) -> None:
    values = {"x": data("float32"), **parameters(dtype, (5,))}
    made = model("QuantizeLinear", values, dtype, True, axis=1, output_dtype=number(dtype), saturate=saturate)
    check(made, values, compiled=True)


def test_quantise_to_float4() -> None:
    x = np.clip(data("float32"), -8, 8)
    values = {"x": x, **parameters("float4_e2m1fn", ())}
    check(model("QuantizeLinear", values, "float4_e2m1fn", True, output_dtype=number("float4_e2m1fn")), values, compiled=True)


@pytest.mark.parametrize("scale", ["float16", "bfloat16"])
def test_quantise_narrow_floats(scale: str) -> None:
    """The division is one of the scale's type."""
    x = np.random.default_rng(2).uniform(-3, 3, SHAPE).astype(numpy_dtype(scale))
    values = {"x": x, **parameters("int8", (5,), scale)}
    check(model("QuantizeLinear", values, "int8", True, axis=1), values, compiled=True)


def test_precision_of_the_division() -> None:
    x = np.random.default_rng(2).uniform(-3, 3, SHAPE).astype(np.float32)
    values = {"x": x, "s": np.array(0.0371, np.float32), "z": np.array(3, np.int8)}
    check(model("QuantizeLinear", values, "int8", True, precision=number("float16")), values, compiled=True)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("dtype", [*INTEGERS, "int32"])
def test_dequantise(dtype: str, grain: str, constant: bool) -> None:
    shape, attributes = GRAINS[grain]
    values = {"x": levels(dtype), **parameters(dtype, shape)}
    check(model("DequantizeLinear", values, "float32", constant, **attributes), values, compiled=grain in ("last", "block"))


@pytest.mark.parametrize("dtype", [*FLOAT8, "float4_e2m1fn"])
def test_dequantise_floats(dtype: str) -> None:
    values = {"x": levels(dtype), **parameters(dtype, (5,))}
    check(model("DequantizeLinear", values, "float32", True, axis=1), values, compiled=True)


@pytest.mark.parametrize("wanted", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("scale", ["float32", "float16", "bfloat16"])
def test_dequantise_to_narrow_floats(scale: str, wanted: str) -> None:
    values = {"x": levels("int8"), **parameters("int8", (5,), scale)}
    check(model("DequantizeLinear", values, wanted, True, axis=1, output_dtype=number(wanted)), values)


def test_dynamic() -> None:
    """A function of the standard, in which scale and zero point are computed."""
    x = np.random.default_rng(6).uniform(-1, 5, SHAPE).astype(np.float32)
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"], name="node")
    outputs = [helper.make_tensor_value_info(n, number(d), s) for n, d, s in
               (("y", "uint8", SHAPE), ("scale", "float32", ()), ("zero", "uint8", ()))]  # fmt: skip
    graph = helper.make_graph([node], "test", [helper.make_tensor_value_info("x", number("float32"), SHAPE)], outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    expected = ReferenceEvaluator(made).run(None, {"x": x})
    names = ("y", "scale", "zero")
    compiled = dict(zip(names, VdlaRep(made, True).run({"x": x}), strict=True))
    for found in (run_reference(import_onnx(made), {"x": x}), compiled):
        for name, wanted in zip(names, expected, strict=True):
            if name == "scale":  # compiled, a product with 1/255
                np.testing.assert_allclose(found[name], wanted, rtol=2e-7)
            else:
                np.testing.assert_array_equal(found[name], wanted)


REFUSED: dict[str, tuple[str, dict[str, np.ndarray], dict[str, Any], str]] = {
    "axis": (
        "QuantizeLinear",
        parameters("int8", (4,)),
        {"axis": 1},
        "needs a scale for each channel; found (4,); expected (5,)",
    ),
    "block": (
        "QuantizeLinear",
        parameters("int8", (3, 5, 4)),
        {"axis": 2, "block_size": 2},
        "needs a scale for each block of 2; found (3, 5, 4); expected (3, 5, 2)",
    ),
    "negative block": (
        "QuantizeLinear",
        parameters("int8", (5,)),
        {"block_size": -2},
        "block_size of QuantizeLinear; found -2",
    ),
    "types": (
        "QuantizeLinear",
        parameters("int8", ()),
        {"output_dtype": number("uint8")},
        "output_dtype and zero point of QuantizeLinear differ; found 'uint8 and int8'",
    ),
    "zero scale": ("QuantizeLinear", {"s": np.array(0, np.float32)}, {}, "scale of QuantizeLinear is not finite and positive"),
    "offset": (
        "QuantizeLinear",
        {"s": np.array(1, np.float32), "z": np.array(1, numpy_dtype("float8_e5m2"))},
        {},
        "zero point of QuantizeLinear of float8_e5m2; found 'z'; expected zero",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    op, values, attributes, words = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        import_onnx(model(op, {"x": data("float32"), **values}, "int8", True, **attributes))
    assert words in str(caught.value)
