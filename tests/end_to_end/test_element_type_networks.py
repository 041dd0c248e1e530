"""Small networks in every float and integer type on the CPU, fused and node by node, from memory and from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import vdla
from vdla.element_types import numpy_dtype
from vdla.onnx_backend import VdlaRep, prepare


def network(dtype: str, seed: int = 0) -> tuple[onnx.ModelProto, np.ndarray]:
    """A convolution, an activation, a mean, a dense layer and a softmax, weights in `dtype`, and an input."""
    rng = np.random.default_rng(seed)
    of = lambda *shape: (rng.standard_normal(shape) / 4).astype(np.float32).astype(numpy_dtype(dtype))  # noqa: E731
    kind = helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype))
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["c"], ["r"], alpha=0.1),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "d"], ["g"], transB=1),
        helper.make_node("Softmax", ["g"], ["y"]),
    ]
    weights = {"w": of(5, 3, 3, 3), "b": of(5), "v": of(7, 5), "d": of(7)}
    graph = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info("x", kind, (2, 3, 9, 8))],
        [helper.make_tensor_value_info("y", kind, (2, 7))], [numpy_helper.from_array(a, name) for name, a in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), of(2, 3, 9, 8)


def in_float64(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The same weights and input, everything computed in float64."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for i, stored in enumerate(model.graph.initializer):
        wide.graph.initializer[i].CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(stored).astype(np.float64), stored.name)
        )
    for info in (*wide.graph.input, *wide.graph.output):
        info.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return ReferenceEvaluator(wide).run(None, {"x": x.astype(np.float64)})[0]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6), ("float16", 2e-3), ("bfloat16", 1.5e-2)]
)
def test_a_network_of_floats(dtype: str, tolerance: float, fused: bool) -> None:
    """Rounded to `dtype` after each operator: some eight roundings of values of at most 1."""
    model, x = network(dtype)
    (y,) = prepare(model, fused=fused).run([x])
    assert str(y.dtype) == dtype
    np.testing.assert_allclose(y.astype(np.float64), in_float64(model, x), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_its_file_runs_alike(dtype: str, tmp_path: Path) -> None:
    model, x = network(dtype, seed=1)
    rep = prepare(model)
    assert isinstance(rep, VdlaRep)
    (expected,) = rep.run([x])
    (module,) = rep.modules.values()
    loaded = vdla.load(module.save(tmp_path / "network.vdla"))
    found = loaded.run({"x": x}, timing=False).outputs["y"]
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_arithmetic_of_integers(dtype: str, fused: bool) -> None:
    """Sums, products, quotients, remainders, shifts, bits, comparison and choice, against NumPy."""
    rng = np.random.default_rng(3)
    limits = np.iinfo(dtype)
    a, b = (rng.integers(limits.min, limits.max, (4, 33), dtype, endpoint=True) for _ in range(2))
    b[b == 0] = 3
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Mul", ["sum", "a"], ["product"]),
        helper.make_node("BitwiseXor", ["product", "b"], ["mixed"]),
        helper.make_node("Div", ["mixed", "b"], ["quotient"]),
        helper.make_node("Mod", ["mixed", "b"], ["rest"]),
        helper.make_node("Less", ["quotient", "rest"], ["smaller"]),
        helper.make_node("Where", ["smaller", "quotient", "rest"], ["chosen"]),
        helper.make_node("Clip", ["chosen", "", "high"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["y"], to=onnx.TensorProto.DOUBLE),
    ]
    high = np.array(100, dtype)
    graph = helper.make_graph(
        nodes, "integers", [helper.make_tensor_value_info(name, kind, (4, 33)) for name in ("a", "b")],
        [helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, (4, 33))], [numpy_helper.from_array(high, "high")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    with np.errstate(all="ignore"):
        mixed = ((a + b) * a) ^ b
        down, rest = np.divmod(mixed, b)
        quotient = down + ((rest != 0) & ((mixed < 0) != (b < 0))).astype(dtype)
    expected = np.minimum(np.where(quotient < rest, quotient, rest), high).astype(np.float64)
    (y,) = prepare(model, fused=fused).run([a, b])
    np.testing.assert_array_equal(y, expected)
