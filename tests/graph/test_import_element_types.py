"""Conversions between all element types, bits, and bounds of Clip, as imported, against ONNX's reference."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_models import LATEST_OPSET, model_of, node

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.ir.element_types import DTYPES, INTEGERS, NARROW_INTEGERS
from vdla.element_types import ELEMENT_TYPES, numpy_dtype
from vdla.errors import ModelError

SCALE = "float8_e8m0fnu"
FLOAT8 = tuple(dtype for dtype in DTYPES if dtype.startswith("float8_e") and dtype != SCALE)
PLAIN = np.array([0.0, 0.24, 0.5, 1, 1.5, 2.4, 3])
"""What every signed and unsigned type holds, or rounds."""
EXTREME = np.array([-0.0, -1e6, 1e6, -1e-7, 1e-7, 447, 449, 465, 239, 241, 57000, 61441, np.inf, -np.inf, np.nan])


def number_of(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype)))


def values(dtype: str) -> np.ndarray:
    element = ELEMENT_TYPES[dtype]
    if not element.is_float:
        low, high = element.range
        ends = [low, high] if element.bits < 32 else [max(low, -1000), 1000]
        return np.array([0, 1, *ends]).astype(numpy_dtype(dtype))
    with np.errstate(all="ignore"):
        return (
            np.concatenate([PLAIN, EXTREME] if dtype != SCALE else [2.0 ** np.arange(-9, 9)])
            .astype(np.float32)
            .astype(numpy_dtype(dtype))
        )


def judged(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Ours, of the graph as imported and as optimised, which must agree, and the reference's."""
    graph = import_onnx(model)
    verify_graph(graph)
    found = run_reference(graph, inputs)["y"]
    again = run_reference(optimise(graph), inputs)["y"]
    assert found.dtype == again.dtype and found.tobytes() == again.tobytes()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return found, np.asarray(ReferenceEvaluator(model).run(None, inputs)[0])


def assert_equal(found: np.ndarray, expected: np.ndarray, message: str) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape, message
    if ELEMENT_TYPES[str(found.dtype)].is_float:
        found, expected = found.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_array_equal(found, expected, err_msg=message)


def in_range(x: np.ndarray, target: str) -> np.ndarray:
    """Elements that the target's integers hold; of others ONNX defines nothing."""
    if ELEMENT_TYPES[target].is_float or not ELEMENT_TYPES[str(x.dtype)].is_float or target == "bool":
        return x
    wide = x.astype(np.float64)
    low, high = ELEMENT_TYPES[target].range
    return x[(wide > low - 1) & (wide < high + 1)]


@pytest.mark.parametrize("like", [False, True], ids=["Cast", "CastLike"])
@pytest.mark.parametrize("source", DTYPES)
def test_casts_to_every_type(source: str, like: bool) -> None:
    for target in DTYPES:
        x = in_range(values(source), target)
        if target == SCALE:  # of what is negative or infinite ONNX and its reference say different things, or nothing
            wide = x.astype(np.float64)
            x = x[(wide >= 2.0**-100) & np.isfinite(wide)]
        if target == "float4_e2m1fn":
            x = x[x.astype(np.float64) == x.astype(np.float64)]
        if {source, target} & {SCALE} and source in (*FLOAT8, "float4_e2m1fn", "bfloat16", "int4", "int2", "uint4", "uint2"):
            continue  # ml_dtypes has no such conversion, so the reference has none
        inputs = {"x": x} | ({"t": np.zeros(1, numpy_dtype(target))} if like else {})
        operator = node("CastLike", "x t") if like else node("Cast", "x", to=number_of(target))
        model = model_of([operator], inputs, ["y"], opset=LATEST_OPSET, dtype=target)
        if source == SCALE and target not in ("float32", "float64", "float16"):
            verify_graph(import_onnx(model))
            continue
        if {source, target} <= set(NARROW_INTEGERS):  # likewise
            found = run_reference(import_onnx(model), inputs)["y"]
            assert_equal(found, x.astype(np.int8).astype(numpy_dtype(target)), f"{source} to {target}")
            continue
        found, expected = judged(model, inputs)
        assert_equal(found, expected, f"{source} to {target}")


@pytest.mark.parametrize("source", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("target", FLOAT8)
def test_casts_that_do_not_saturate(source: str, target: str) -> None:
    x = values(source)
    model = model_of([node("Cast", "x", to=number_of(target), saturate=0)], {"x": x}, ["y"], opset=LATEST_OPSET, dtype=target)
    found, expected = judged(model, {"x": x})
    assert_equal(found, expected, f"{source} to {target}")


def test_powers_of_two_above() -> None:
    """The table of ONNX's text, where its reference leaves it."""
    x = np.float32([0, 2.0**-149, 2.0**-127, 1.01 * 2.0**-127, 1, 1.001, 3, 2.0**127, 3e38, np.inf, np.nan])
    model = model_of([node("Cast", "x", to=TensorProto.FLOAT8E8M0)], {"x": x}, ["y"], opset=LATEST_OPSET, dtype=SCALE)
    found = run_reference(import_onnx(model), {"x": x})["y"]
    np.testing.assert_array_equal(found.view(np.uint8), [0, 0, 0, 1, 127, 128, 129, 254, 254, 254, 255])


@pytest.mark.parametrize("source", [d for d in DTYPES if d != SCALE])
def test_bits_as_another_type(source: str) -> None:
    x = values(source)
    for target in [d for d in DTYPES if ELEMENT_TYPES[d].bits == ELEMENT_TYPES[source].bits and "bool" not in (d, source)]:
        model = model_of([node("BitCast", "x", to=number_of(target))], {"x": x}, ["y"], opset=LATEST_OPSET, dtype=target)
        graph = import_onnx(model)
        verify_graph(graph)
        found = run_reference(graph, {"x": x})["y"]
        assert str(found.dtype) == target
        assert found.tobytes() == x.tobytes()


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts(dtype: str, direction: str) -> None:
    bits = ELEMENT_TYPES[dtype].bits
    x = np.array([0, 1, 5, *ELEMENT_TYPES[dtype].range], dtype)
    y = np.array([[0], [1], [bits - 1], [bits], [bits + 3]], dtype)
    inputs = {"x": x, "s": y}
    model = model_of([node("BitShift", "x s", direction=direction)], inputs, ["y"], opset=LATEST_OPSET, dtype=dtype)
    graph = import_onnx(model)
    found = run_reference(graph, inputs)["y"]
    assert found.dtype == dtype
    low, high = ELEMENT_TYPES[dtype].range
    for i, j in np.ndindex(found.shape):
        exact = int(x[j]) << int(y[i, 0]) if direction == "LEFT" else int(x[j]) >> int(y[i, 0])
        assert int(found[i, j]) == (exact - low) % (high - low + 1) + low


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", *INTEGERS])
@pytest.mark.parametrize("known", [True, False])
def test_bounds_of_clip(dtype: str, known: bool) -> None:
    x = np.arange(0 if "u" in dtype else -6, 9).astype(dtype)
    for low, high in ((2, 5), (None, 4), (1, None), (5, 2), (None, None)):
        bounds = {name: np.array(v, dtype) for name, v in (("low", low), ("high", high)) if v is not None}
        names = f"x {'low' if low is not None else ''} {'high' if high is not None else ''}".rstrip(" ")
        operator = helper.make_node("Clip", names.split(" "), ["y"])
        model = model_of([operator], {"x": x} | ({} if known else bounds), ["y"], bounds if known else {}, dtype=dtype)
        inputs = {"x": x} | ({} if known else bounds)
        found, _ = run_reference(import_onnx(model), inputs)["y"], None
        expected = x if low is None else np.maximum(x, bounds["low"])
        expected = expected if high is None else np.minimum(expected, bounds["high"])
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, expected, err_msg=f"{low}..{high}")


def test_the_ends_of_int64_are_bounds() -> None:
    """Exactly, though no float holds them."""
    x = np.array([-(2**63), -(2**53) - 1, 0, 2**53 + 1, 2**63 - 1])
    bounds = {"low": np.array(-(2**53) - 1), "high": np.array(2**53 + 1)}
    graph = import_onnx(model_of([node("Clip", "x low high")], {"x": x}, ["y"], bounds, dtype="int64"))
    np.testing.assert_array_equal(run_reference(graph, {"x": x})["y"], np.clip(x, -(2**53) - 1, 2**53 + 1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_mean_of_any_number(dtype: str) -> None:
    arrays = {
        f"x{i}": np.float32([[1, 2.5, -3]] * (i + 1)).astype(numpy_dtype(dtype))[:1] + numpy_dtype(dtype).type(i)
        for i in range(3)
    }
    for count in (1, 3):
        inputs = dict(list(arrays.items())[:count])
        model = model_of([node("Mean", " ".join(inputs))], inputs, ["y"], dtype=dtype)
        found, expected = judged(model, inputs)
        np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=1e-2 if "bf" in dtype else 1e-3)


REFUSED: list[Any] = [
    (node("Cast", "x", to=TensorProto.STRING), "unsupported dtype; found 'string'"),
    (node("Cast", "x", to=TensorProto.COMPLEX64), "unsupported dtype; found 'complex64'"),
    (node("Cast", "x", to=99), "unsupported dtype; found 'number 99'"),
    (node("Cast", "x", to=TensorProto.FLOAT8E8M0, round_mode="down"), "unsupported attribute round_mode of Cast; found 'down'"),
    (node("Cast", "x", to=TensorProto.FLOAT8E8M0, saturate=0), "unsupported attribute saturate of Cast; found 0"),
    (node("BitCast", "x", to=TensorProto.INT8), "a cast of bits between widths; found 'float32 to int8'"),
    (node("BitShift", "i i"), "attribute direction of bit_shift; found ''; expected left or right"),
    (node("BitwiseAnd", "x x"), "unsupported dtype of input 0 of BitwiseAnd; found 'float32'"),
    (node("Clip", "x v"), "a bound of Clip is not one number"),
]


@pytest.mark.parametrize(("operator", "words"), REFUSED, ids=lambda v: v.op_type if hasattr(v, "op_type") else "")
def test_what_is_refused(operator: onnx.NodeProto, words: str) -> None:
    inputs = {"x": np.float32([1, 2]), "i": np.array([1, 2]), "v": np.float32([1, 2])}
    with pytest.raises(ModelError) as caught:
        import_onnx(model_of([operator], inputs, ["y"], opset=LATEST_OPSET))
    assert words in str(caught.value)
