"""Convolution, pooling, normalisation, attention and losses in every form, against onnxruntime, as imported and optimised."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_models import model_of, node, opsets_of, random, run_onnxruntime
from test_import_operators import Case, check

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference

LINE, IMAGE, VOLUME = {"x": (2, 4, 13)}, {"x": (2, 4, 9, 11)}, {"x": (2, 4, 5, 6, 7)}


def layer(op: str, shapes: dict[str, tuple[int, ...]], first: int = 11, a: Any = None, **weights: Any) -> Case:
    """`op` of x and constants."""
    constants = {k: random(*w, seed=i) if isinstance(w, tuple) else w for i, (k, w) in enumerate(weights.items(), start=1)}
    return Case(op, " ".join([*shapes, *constants]), shapes, a or {}, constants, first)


CASES = [
    layer("Conv", LINE, w=(6, 2, 3), b=(6,), a={"group": 2, "pads": [1, 2], "strides": [2], "dilations": [2]}),
    layer("Conv", LINE, w=(6, 4, 4), a={"auto_pad": "SAME_LOWER", "strides": [3]}),
    layer("Conv", VOLUME, w=(6, 4, 2, 3, 2), b=(6,), a={"pads": [1, 0, 1, 0, 1, 0], "strides": [1, 2, 1]}),
    layer("Conv", VOLUME, w=(6, 2, 2, 2, 2), a={"group": 2, "auto_pad": "SAME_UPPER", "strides": [2, 2, 2]}),
    layer("ConvTranspose", LINE, w=(4, 3, 3), b=(3,), a={"strides": [2], "output_padding": [1], "pads": [1, 0]}),
    layer("ConvTranspose", IMAGE, w=(4, 3, 3, 4), b=(3,), a={"strides": [2, 3], "pads": [1, 0, 2, 1]}),
    layer("ConvTranspose", IMAGE, w=(4, 3, 2, 3), b=(6,), a={"group": 2, "dilations": [2, 1], "strides": [1, 2]}),
    layer("ConvTranspose", IMAGE, w=(4, 3, 3, 3), a={"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    layer("ConvTranspose", IMAGE, w=(4, 3, 3, 3), a={"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    layer("ConvTranspose", IMAGE, w=(4, 3, 3, 3), a={"strides": [2, 2], "output_shape": [18, 21]}),
    layer("ConvTranspose", VOLUME, w=(4, 2, 2, 3, 2), a={"strides": [2, 1, 2]}),
    layer("MaxPool", LINE, a={"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    layer("MaxPool", LINE, a={"kernel_shape": [3], "strides": [2], "dilations": [2], "ceil_mode": 1}),
    layer("MaxPool", IMAGE, a={"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [2, 0, 1, 1]}),
    layer("MaxPool", VOLUME, a={"kernel_shape": [2, 3, 2], "strides": [2, 2, 1], "pads": [1, 0, 0, 0, 1, 1]}),
    layer("AveragePool", LINE, a={"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    layer("AveragePool", LINE, a={"kernel_shape": [3], "pads": [1, 2], "count_include_pad": 1}),
    layer("AveragePool", VOLUME, a={"kernel_shape": [2, 3, 2], "strides": [2, 2, 1], "pads": [1, 0, 0, 0, 1, 1]}),
    layer("AveragePool", IMAGE, first=19, a={"kernel_shape": [2, 3], "dilations": [2, 1], "pads": [1, 1, 1, 1]}),
    layer("LpPool", IMAGE, a={"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 0, 0, 1], "p": 3}),
    layer("LpPool", LINE, a={"kernel_shape": [3]}),
    layer("GlobalAveragePool", LINE),
    layer("GlobalAveragePool", VOLUME),
    layer("GlobalMaxPool", VOLUME),
    layer("MatMul", {"x": (5,)}, b=(5, 3)),
    layer("MatMul", {"x": (2, 3, 5)}, b=(5,)),
    Case("MatMul", "x x2", {"x": (4, 1, 2, 5), "x2": (3, 5, 6)}),
    Case("MatMul", "x x2", {"x": (5,), "x2": (3, 5, 6)}),
    Case("MatMul", "x x2", {"x": (7,), "x2": (7,)}),
    Case("Gemm", "x x2 x3", {"x": (5, 3), "x2": (4, 5), "x3": (4,)}, {"transA": 1, "transB": 1, "alpha": 2.0, "beta": 0.5}),
    Case("Gemm", "x x2 x3", {"x": (3, 5), "x2": (5, 4), "x3": (3, 1)}),
    layer("BatchNormalization", VOLUME, s=(4,), b=(4,), m=(4,), v=np.full(4, 0.7, np.float32)),
    layer("InstanceNormalization", LINE, s=(4,), b=(4,)),
    layer("InstanceNormalization", VOLUME, s=(4,), b=(4,), a={"epsilon": 0.1}),
    layer("LayerNormalization", {"x": (2, 3, 8)}, 17, s=(8,), b=(8,)),
    layer("LayerNormalization", {"x": (2, 3, 8)}, 17, s=(3, 8), a={"axis": 1}),
    layer("LayerNormalization", {"x": (2, 3, 8)}, 17, s=(1, 8), b=(3, 1), a={"axis": -2, "epsilon": 0.1}),
    layer("RMSNormalization", {"x": (2, 3, 8)}, 23, s=(8,)),
    layer("GroupNormalization", {"x": (2, 6, 5, 4)}, 21, s=(6,), b=(6,), a={"num_groups": 3}),
    layer("LpNormalization", {"x": (2, 3, 8)}, a={"axis": 1, "p": 1}),
    layer("LpNormalization", {"x": (2, 3, 8)}),
    layer("MeanVarianceNormalization", IMAGE, 13),
    layer("MeanVarianceNormalization", LINE, 13, a={"axes": [1]}),
    layer("LogSoftmax", {"x": (2, 3, 8)}, 7, a={"axis": 1}),
    layer("LogSoftmax", {"x": (2, 3, 8)}, 7),
    layer("Shrink", IMAGE, a={"lambd": 0.3, "bias": 0.2}),
    layer("PRelu", IMAGE, s=(4, 1, 1)),
]
POINTS = [
    pytest.param(case, opset, id=f"{i}-{case.name}-{opset}")
    for i, case in enumerate(CASES)
    for opset in opsets_of(case.op, case.first)
]


@pytest.mark.parametrize(("case", "opset"), POINTS)
def test_layer(case: Case, opset: int) -> None:
    inputs = {name: random(*shape, seed=7 + i) for i, (name, shape) in enumerate(case.shapes.items())}
    check(
        model_of([node(case.op, case.operands, **case.attributes)], inputs, ["y"], case.constants, opset),
        inputs,
        tolerance=5e-6,
    )


def both(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """As imported, and as optimised."""
    graph = import_onnx(model)
    return [run_reference(version, inputs) for version in (graph, optimise(graph))]


@pytest.mark.parametrize("major", [0, 1])
def test_indices_of_a_pool(major: int) -> None:
    """Of equals the first."""
    x = np.random.default_rng(5).integers(0, 5, (2, 3, 6, 7)).astype(np.float32)
    attributes = {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 1, 0, 1], "storage_order": major}
    model = model_of([helper.make_node("MaxPool", ["x"], ["y", "i"], **attributes)], {"x": x}, ["y"])
    model.graph.output.append(helper.make_tensor_value_info("i", TensorProto.INT64, None))
    expected = run_onnxruntime(model, {"x": x})
    for found in both(model, {"x": x}):
        np.testing.assert_array_equal(found["y"], expected["y"])
        np.testing.assert_array_equal(found["i"], expected["i"])


@pytest.mark.parametrize("dtypes", [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")])
@pytest.mark.parametrize("points", [0, 1, 2])
def test_integer_products(dtypes: tuple[str, str], points: int) -> None:
    """points: 0 for no zero points, 1 for one each, 2 for one each row and column."""
    rng = np.random.default_rng([1, points])
    low = {"uint8": 0, "int8": -100}
    a, b = (rng.integers(low[d], 127, s).astype(d) for d, s in zip(dtypes, [(2, 3, 5), (5, 4)], strict=True))
    sizes = [(), ()] if points == 1 else [(3,), (4,)]
    zeros = [rng.integers(0, 50, s).astype(d) for d, s in zip(dtypes, sizes, strict=True)]
    constants = dict(zip(("za", "zb"), zeros, strict=True)) if points else {}
    model = model_of([node("MatMulInteger", " ".join(["a b", *constants]))], {"a": a, "b": b}, ["y"], constants, dtype="int32")
    rows = [z.astype(np.int64) for z in zeros] if points else [np.int64(0)] * 2
    expected = np.matmul(a.astype(np.int64) - (rows[0][:, None] if points == 2 else rows[0]), b.astype(np.int64) - rows[1])
    for found in both(model, {"a": a, "b": b}):
        assert found["y"].dtype == np.int32
        np.testing.assert_array_equal(found["y"], expected)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_integer_convolution(dtype: str) -> None:
    """Padding is the zero point, so that it adds nothing."""
    rng = np.random.default_rng(2)
    x, w = (rng.integers(0, 127, s).astype(dtype) for s in ((1, 4, 6, 7), (6, 2, 3, 3)))
    constants = {"w": w, "zx": np.array(7, dtype), "zw": np.array(3, dtype)}
    nodes = [node("ConvInteger", "x w zx zw", group=2, pads=[1, 0, 1, 1], strides=[1, 2])]
    model = model_of(nodes, {"x": x}, ["y"], constants, dtype="int32")
    wide = {"x": x.astype(np.float32) - 7}
    float_nodes = [node("Conv", "x w", group=2, pads=[1, 0, 1, 1], strides=[1, 2])]
    exact = run_onnxruntime(model_of(float_nodes, wide, ["y"], {"w": w.astype(np.float32) - 3}), wide)["y"]
    for found in both(model, {"x": x}):
        np.testing.assert_array_equal(found["y"], exact)


def window_mean(x: np.ndarray, a: dict[str, Any], where: tuple[int, ...]) -> tuple[float, float]:
    """Mean and maximum of one window of x[D1, …] by ONNX's text: padding counts in a mean if asked for, ceil_mode's never."""
    rank = x.ndim
    values, count = [], 0
    for tap in np.ndindex(*a["kernel_shape"]):
        at = [p * s + t * d - b for p, s, t, d, b in zip(where, a["strides"], tap, a["dilations"], a["pads"], strict=False)]
        if all(0 <= i < n for i, n in zip(at, x.shape, strict=True)):
            values.append(x[tuple(at)])
        ends = [n + e for n, e in zip(x.shape, a["pads"][rank:], strict=True)]
        count += all(-b <= i < e for i, b, e in zip(at, a["pads"], ends, strict=False))
    return sum(values) / (count if a["count_include_pad"] else len(values)), max(values)


@pytest.mark.parametrize("seed", range(40))
def test_any_pool(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    some = lambda low, high: [int(v) for v in rng.integers(low, high, rank)]  # noqa: E731
    a: dict[str, Any] = {"kernel_shape": some(1, 4), "strides": some(1, 4), "dilations": some(1, 3)}
    a |= {"ceil_mode": int(rng.integers(2)), "count_include_pad": int(rng.integers(2))}
    a["pads"] = [int(rng.integers(k)) for k in a["kernel_shape"] * 2]
    sizes = [d * (k - 1) + 1 + n for k, d, n in zip(a["kernel_shape"], a["dilations"], some(0, 7), strict=True)]
    x = random(1, 2, *sizes, seed=seed)
    print(f"seed {seed}: {a} over {x.shape}")
    for column, op in enumerate(("AveragePool", "MaxPool")):
        attributes = {k: v for k, v in a.items() if op == "AveragePool" or k != "count_include_pad"}
        for found in both(model_of([node(op, "x", **attributes)], {"x": x}, ["y"], opset=22), {"x": x}):
            y = found["y"]
            for axis, n in enumerate(sizes):
                spare = n + a["pads"][axis] + a["pads"][axis + rank] - a["dilations"][axis] * (a["kernel_shape"][axis] - 1) - 1
                positions = (-(-spare // a["strides"][axis]) if a["ceil_mode"] else spare // a["strides"][axis]) + 1
                last = (positions - 1) * a["strides"][axis]
                assert y.shape[2 + axis] == positions - (a["ceil_mode"] and last >= n + a["pads"][axis])
            for c, *where in np.ndindex(*y.shape[1:]):
                expected = window_mean(x[0, c], a, tuple(where))[column]
                np.testing.assert_allclose(y[(0, c, *where)], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(24))
def test_any_attention(seed: int) -> None:
    """Heads shared or not, masks of both kinds, caches, caps and windows, as onnx's own reference has them."""
    rng = np.random.default_rng(seed)
    shared, heads, queries, keys, past, width = (int(n) for n in rng.integers(1, 4, 6))
    past = past if seed % 3 == 0 else 0
    total = keys + past
    shapes = {"q": (2, shared * heads, queries, 4), "k": (2, heads, keys, 4), "v": (2, heads, keys, width)}
    a: dict[str, Any] = {"is_causal": int(rng.integers(2)), "qk_matmul_output_mode": int(rng.integers(4))}
    if seed % 2:
        a |= {"softcap": 0.7, "scale": 0.3}
    if seed % 5 == 0:
        a |= {"left_window_size": 1}
    inputs = {name: random(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    names = ["q", "k", "v", "", "", ""]
    if seed % 4 < 2:
        names[3] = "mask"
        inputs["mask"] = rng.random((queries, total)) < 0.6 if seed % 4 else random(2, 1, queries, total, seed=9)
    if past:
        names[4:] = ["pk", "pv"]
        inputs |= {"pk": random(2, heads, past, 4, seed=5), "pv": random(2, heads, past, width, seed=6)}
    print(f"seed {seed}: {shapes}, {a}")
    attention = helper.make_node("Attention", names, ["y", "pk2", "pv2", "qk"], **a)
    model = model_of([attention], inputs, ["y", "pk2", "pv2", "qk"], opset=25)
    with np.errstate(all="ignore"):
        expected = ReferenceEvaluator(model).run(None, inputs)
    if a["qk_matmul_output_mode"] == 0 and "softcap" in a:
        expected.pop()  # raw scores, says the text; the reference has capped them already
    for found in both(model, inputs):
        for name, wanted in zip(("y", "pk2", "pv2", "qk"), expected, strict=False):
            np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5, err_msg=name)
