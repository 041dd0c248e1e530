"""Every elementwise operator that is imported as one of ours, in each dtype and opset it has, against onnxruntime.

Ordinary values and the edges of arithmetic. Where onnxruntime lacks it, ONNX's own reference answers. Split is here too, as the
one operator of several outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx_models import LATEST_OPSET, model_of, node, opsets_of, run_onnxruntime

from vdla.compiler.frontend.elementwise import ACTIVATIONS, FUNCTIONS
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.ir.element_types import INTEGERS, NARROW
from vdla.compiler.operators.registry import OPERATORS
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError

TABLE = ACTIVATIONS | FUNCTIONS
EDGES = np.float32([0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1, -1, 1e-30, 1e30, -1e30, np.inf, -np.inf, np.nan])
ATTRIBUTES: dict[str, list[dict[str, Any]]] = {
    "LeakyRelu": [{"alpha": 0.3}],
    "Elu": [{"alpha": 2.0}],
    "Selu": [{"alpha": 2.0, "gamma": 0.5}],
    "ThresholdedRelu": [{"alpha": 0.7}],
    "HardSigmoid": [{"alpha": 0.4, "beta": 0.3}],
    "Gelu": [{"approximate": "tanh"}],
    "Swish": [{"alpha": 0.7}],
    "Mod": [{"fmod": 1}],
    "IsInf": [{"detect_positive": 0}, {"detect_negative": 0}, {"detect_positive": 0, "detect_negative": 0}],
}
TOLERANCE = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-13}
COARSE = {"Erf", "Gelu", "HardSwish", "Shrink"}
"""What ONNX's reference or onnxruntime computes in float32, or from constants that it holds in float32."""
APART = {"Gelu", "Swish", "Mish", "HardSwish"}
"""Written by ONNX as functions of others, whose product of 0 and ∞ is no part of what they are for."""


def operands(op: str, dtype: str, seed: int) -> list[np.ndarray]:
    """Broadcastable arrays, the operator's domain and its edges in them. float16 has no edges: functions of others overflow."""
    operator, rng = OPERATORS[op], np.random.default_rng(seed)
    count = 3 if operator.variadic or op == "where" else len(operator.inputs)
    element, shapes = ELEMENT_TYPES[dtype], [(5, 19), (19,), (5, 1)] if "float" in dtype else [(3, 7), (7,), (3, 1)]
    if dtype == "bool":
        arrays = [rng.integers(0, 2, shape).astype(bool) for shape in shapes[:count]]
    elif element.is_float:
        low, high = max(operator.domain[0], -4.0), min(operator.domain[1], 6.0)
        arrays = [rng.uniform(low, high, shape).astype(dtype) for shape in shapes[:count]]
        if dtype != "float16":
            arrays[0][0, : len(EDGES)] = EDGES
            if count > 1:
                arrays[1][-3:] = [np.nan, np.inf, 0]
    else:
        arrays = [rng.integers(-9 if element.signed else 0, 10, shape).astype(dtype) for shape in shapes[:count]]
        arrays[0][0, :2] = element.range
        if op in ("div", "mod"):
            arrays[1][arrays[1] == 0] = 4
            arrays[1][:2] = 3
    if op == "where":
        arrays[0] = rng.integers(0, 2, shapes[2]).astype(bool)
    return arrays


def accepts(name: str, dtype: str, opset: int) -> bool:
    """Whether ONNX has the operator in this dtype then."""
    schema = onnx.defs.get_schema(name, opset)
    theirs = {"float32": "float", "float64": "double"}.get(dtype, dtype)
    position = -1 if name == "Where" else 0
    constraint = schema.inputs[position].type_str
    allowed = next((c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == constraint), [constraint])
    return f"tensor({theirs})" in allowed


def points() -> list[Any]:
    found = []
    for name, direct in TABLE.items():
        operator = OPERATORS[direct.op]
        for opset in opsets_of(name):
            for dtype in (*operator.inputs[-1].dtypes, *(["float16"] if "float32" in operator.inputs[-1].dtypes else [])):
                if (dtype not in NARROW or dtype == "float16") and accepts(name, dtype, opset):
                    given = [] if name == "Mod" and "float" in dtype and opset < 28 else [{}]
                    for a in [*given, *ATTRIBUTES.get(name, [])]:
                        label = "-".join([name, dtype, str(opset), *map(str, a.values())])
                        found.append(pytest.param(name, dtype, opset, a, id=label))
    return found


def oracle(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    try:
        return run_onnxruntime(model, inputs)["y"]
    except Exception:  # onnxruntime has many ways to say that it lacks a kernel
        with np.errstate(all="ignore"):
            return np.asarray(ReferenceEvaluator(model).run(None, inputs)[0])


@pytest.mark.parametrize(("name", "dtype", "opset", "attributes"), points())
def test_against_onnx(name: str, dtype: str, opset: int, attributes: dict[str, Any]) -> None:
    arrays = operands(TABLE[name].op, dtype, seed=len(name))
    if name in APART:
        arrays = [np.where(np.isinf(x), 0, x).astype(x.dtype) for x in arrays]
    inputs = {f"x{i}": array for i, array in enumerate(arrays)}
    model = model_of([node(name, " ".join(inputs), **attributes)], inputs, ["y"], opset=opset, dtype=output_dtype(name, dtype))
    graph = import_onnx(model)
    verify_graph(graph)
    expected = oracle(model, inputs)
    for version in (graph, optimise(graph)):
        actual = run_reference(version, inputs)["y"]
        assert actual.dtype == expected.dtype and actual.shape == expected.shape
        tolerance = 1e-7 if dtype == "float64" and name in COARSE else TOLERANCE.get(dtype, 0)
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def output_dtype(name: str, dtype: str) -> str:
    logical = {"Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "IsNaN", "IsInf"}
    return "bool" if name in logical else dtype


@pytest.mark.parametrize("name", FUNCTIONS)
def test_of_constants_it_is_evaluated_at_import(name: str) -> None:
    """As exporters use them on shapes: the result is a constant that Reshape or anything else can take."""
    dtypes = OPERATORS[FUNCTIONS[name].op].inputs[-1].dtypes
    arrays = operands(FUNCTIONS[name].op, next(d for d in ("float32", "int64", "bool") if d in dtypes), seed=3)
    stored = {f"c{i}": array for i, array in enumerate(arrays)}
    attributes = {"fmod": 1} if name == "Mod" else {}
    kind = output_dtype(name, str(arrays[-1].dtype))
    folded = model_of([node(name, " ".join(stored), **attributes)], {"x": np.ones(1, np.float32)}, ["y"], stored, dtype=kind)
    graph = import_onnx(folded)
    assert not graph.nodes
    inputs = {"x": np.ones(1, np.float32)}
    np.testing.assert_allclose(run_reference(graph, inputs)["y"], oracle(folded, inputs), rtol=2e-6, atol=2e-6)


CAST_DTYPES = ("float32", "int32", "int64", "bool")


@pytest.mark.parametrize("source", CAST_DTYPES)
@pytest.mark.parametrize("target", CAST_DTYPES)
def test_cast(source: str, target: str) -> None:
    x = np.array([[-2.7, -1, 0, 0.4, 1.5, 300]]).astype(source)
    to = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(target))
    model = model_of([node("Cast", "x", to=to)], {"x": x}, ["y"], dtype=target)
    graph = import_onnx(model)
    actual = run_reference(graph, {"x": x})["y"]
    assert actual.dtype == target
    np.testing.assert_array_equal(actual, run_onnxruntime(model, {"x": x})["y"])


@pytest.mark.parametrize("base", ["float16", "float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("exponent", ["float16", "float32", "float64", *INTEGERS])
def test_powers_of_any_dtypes(base: str, exponent: str) -> None:
    """Known or not; of whole numbers exactly, modulo 2^bits."""
    x = np.array([[0, 1, 2, 3, 7, 10, 13]]).astype(base)
    x = -x if base.startswith("int") and exponent in INTEGERS else x
    e = np.array([[0], [1], [2], [3], [11], [13], [20]]).astype(exponent)
    if "float16" in (base, exponent):
        e = np.minimum(e, 3)
    for stored, inputs in (({"e": e}, {"x": x}), ({}, {"x": x, "e": e})):
        model = model_of([node("Pow", "x e")], inputs, ["y"], stored, dtype=base)
        with np.errstate(all="ignore"):
            expected = ReferenceEvaluator(model).run(None, inputs)[0]
        graph = import_onnx(model)
        verify_graph(graph)
        found = run_reference(graph, inputs)["y"]
        assert found.dtype == expected.dtype
        if base.startswith("int") and (
            "float" in exponent or exponent == "uint64"
        ):  # by way of float64, and undefined beyond the range
            held = np.abs(x.astype(np.float64) ** e.astype(np.float64)) < min(2**52, np.iinfo(base).max)
            np.testing.assert_array_equal(found[held], expected[held])
        else:
            np.testing.assert_allclose(found, expected, rtol=TOLERANCE.get(base, 0))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_negative_exponents_of_integers_are_cut_to_whole_numbers(dtype: str) -> None:
    x, e = np.array([[-3, -1, 0, 1, 2]]).astype(dtype), np.array([[-1], [-2], [-3]]).astype(dtype)
    model = model_of([node("Pow", "x e")], {"x": x, "e": e}, ["y"], dtype=dtype)
    found = run_reference(import_onnx(model), {"x": x, "e": e})["y"]
    np.testing.assert_array_equal(found, [[0, -1, 0, 1, 0], [0, 1, 0, 1, 0], [0, -1, 0, 1, 0]])


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Mod", "x x")], "unsupported attribute fmod of Mod; found 0; expected 1"),
        ([node("And", "x x")], "unsupported dtype of input 0 of And; found 'float32'; expected bool"),
        ([node("Sin", "i")], "unsupported dtype of input 0 of Sin; found 'int64'; expected float32"),
        ([node("Max", "x i")], "unsupported dtype of input 1 of Max; found 'int64'; expected float32"),
        ([node("Where", "x x x")], "unsupported dtype of input 0 of Where; found 'float32'; expected bool"),
        ([node("PRelu", "s x")], "the slope does not broadcast to the input; found '(2,) to (1,)'"),
        ([node("Gelu", "x", approximate="erf")], "attribute approximate of gelu; found 'erf'; expected none or tanh"),
    ],
    ids=lambda v: v[0].op_type if isinstance(v, list) else "",
)
def test_refusals(nodes: list[onnx.NodeProto], words: str) -> None:
    inputs = {"x": np.float32([1, 2]), "i": np.array([1, 2]), "s": np.float32([1])}
    model = model_of(nodes, inputs, ["y"], opset=LATEST_OPSET)
    with pytest.raises(ModelError) as caught:
        import_onnx(model)
    assert words in str(caught.value)


SPLITS: list[Any] = [
    ([2, 1, 3], {}, 11, "split"),
    ([2, 2, 2], {}, 11, ""),
    ([2, 1, 3], {}, 13, "input"),
    ([3, 3], {}, 13, ""),
    ([2, 2, 2], {"num_outputs": 3}, 18, ""),
    ([4, 2], {"num_outputs": 2, "axis": -1}, 18, ""),
    ([1, 5], {"axis": 1}, 18, "input"),
]


@pytest.mark.parametrize(("sizes", "attributes", "opset", "given"), SPLITS)
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_split(sizes: list[int], attributes: dict[str, Any], opset: int, given: str, dtype: str) -> None:
    extent = sum(sizes)
    shape = (3, extent) if "axis" in attributes else (extent, 3)
    x = np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)
    names = [f"y{i}" for i in range(len(sizes))]
    if len(set(sizes)) > 1 and not given:
        sizes = [-(-extent // len(sizes))] * (len(sizes) - 1)
    attributes = attributes | ({"split": sizes} if given == "split" else {})
    read = ["x", "sizes"] if given == "input" else ["x"]
    split = onnx.helper.make_node("Split", read, names, **attributes)
    model = model_of([split], {"x": x}, names, {"sizes": np.array(sizes)} if given == "input" else {}, opset, dtype)
    graph = import_onnx(model)
    verify_graph(graph)
    assert len(graph.nodes) == 1
    expected = run_onnxruntime(model, {"x": x})
    for name, actual in run_reference(optimise(graph), {"x": x}).items():
        np.testing.assert_array_equal(actual, expected[name])
