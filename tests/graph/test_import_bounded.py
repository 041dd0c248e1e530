"""Tensors whose length is data, at every length from none to all, against onnxruntime and the ONNX project's reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser
from onnx.reference import ReferenceEvaluator
from onnx_models import random, run_onnxruntime

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.verify import verify_graph
from vdla.errors import ModelError
from vdla.onnx_backend import prepare

HEADER = '<ir_version: 10, opset_import: ["" : 18]>\n'


def agrees(model: onnx.ModelProto, inputs: dict[str, np.ndarray], *, bounded: bool = True) -> int:
    """Ours and onnxruntime's outputs are equal; how many places the first has. bounded: no input had to be known."""
    expected = run_onnxruntime(model, inputs)
    ready = prepare(model)
    found = ready.run(inputs)
    for (name, wanted), given in zip(expected.items(), found, strict=True):
        assert given.shape == wanted.shape and given.dtype == wanted.dtype, name
        np.testing.assert_allclose(given, wanted, rtol=1e-6, atol=1e-6, err_msg=name)
    assert any(ready.bound.values()) != bounded
    return int(found[0].size)


@pytest.mark.parametrize("dtype", ["float", "bool", "int64"])
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 1, 5)])
def test_non_zero(shape: tuple[int, ...], dtype: str) -> None:
    sizes = ", ".join(map(str, shape))
    model = parser.parse_model(HEADER + f"agraph ({dtype}[{sizes}] x) => (int64[r, n] y) {{ y = NonZero(x) }}")
    numpy_dtype = {"float": np.float32, "bool": bool, "int64": np.int64}[dtype]
    verify_graph(import_onnx(model))
    for share in (0, 0.4, 1):
        x = (np.random.default_rng(int(share * 10)).random(shape) < share).astype(numpy_dtype)
        assert agrees(model, {"x": x}) == len(shape) * np.count_nonzero(x)


def test_as_it_comes_the_length_stands_beside_its_bound() -> None:
    graph = import_onnx(parser.parse_model(HEADER + "agraph (float[2, 3] x) => (int64[r, n] y) { y = NonZero(x) }"))
    assert graph.outputs == ("y", "y.length[1]")
    assert (graph.type_of("y").shape, graph.type_of("y.length[1]").shape) == ((2, 6), ())


DETECTOR = """agraph (float[1, 12, 4] boxes, float[1, 3, 12] scores) => (float[n, 7] found, int64[n, 3] chosen) {
    most = Constant<value = int64[1] {5}>()
    overlap = Constant<value = float[1] {0.4}>()
    score = Constant<value = float[1] {LEAST}>()
    chosen = NonMaxSuppression(boxes, scores, most, overlap, score)
    last = Constant<value = int64 {2}>()
    number = Gather<axis = 1>(chosen, last)
    starts = Constant<value = int64[1] {1}>()
    ends = Constant<value = int64[1] {2}>()
    one = Constant<value = int64[1] {1}>()
    kind = Slice(chosen, starts, ends, one)
    zero = Constant<value = int64[1] {0}>()
    lines = Squeeze(boxes, zero)
    box = Gather<axis = 0>(lines, number)
    scale = Constant<value = float[4] {10.0, 10.0, 20.0, 20.0}>()
    scaled = Mul(box, scale)
    places = Cast<to = 1>(chosen)
    swapped = Transpose<perm = [1, 0]>(places)
    back = Transpose<perm = [1, 0]>(swapped)
    found = Concat<axis = 1>(scaled, back)
}"""


@pytest.mark.parametrize("least", ["0.0", "0.6", "2.0"])
def test_a_detector_to_its_end(least: str) -> None:
    model = parser.parse_model(HEADER + DETECTOR.replace("LEAST", least))
    boxes = np.random.default_rng(3).random((1, 12, 4), np.float32)
    boxes[..., 2:] += boxes[..., :2]
    found = agrees(model, {"boxes": boxes, "scores": np.random.default_rng(4).random((1, 3, 12), np.float32)})
    assert (found > 0) == (least != "2.0")


COUNTED = [
    ("ReduceSum<keepdims = 0>(z)", "int64 y"),
    ("Shape(z)", "int64[2] y"),
    ("Slice(z, one, two, one)", "int64[2, n] y"),
    ("Concat<axis = 1>(z, z)", "int64[2, n] y"),
    ("Reshape(z, flat)", "int64[n] y"),
    ("Add(z, six)", "int64[2, 6] y"),
    ("ReverseSequence<batch_axis = 0, time_axis = 1>(z, lengths)", "int64[2, n] y"),
]


@pytest.mark.parametrize(("call", "output"), COUNTED)
def test_where_the_length_counts_it_must_be_known(call: str, output: str) -> None:
    """The backend then compiles for the values it is given; an import without them is refused."""
    text = f"""agraph (float[2, 3] x) => ({output}) {{
        one = Constant<value = int64[1] {{1}}>()
        two = Constant<value = int64[1] {{2}}>()
        flat = Constant<value = int64[1] {{-1}}>()
        lengths = Constant<value = int64[2] {{2, 1}}>()
        six = Constant<value = int64[1, 6] {{1, 2, 3, 4, 5, 6}}>()
        z = NonZero(x)
        y = {call}
    }}"""
    model = parser.parse_model(HEADER + text)
    with pytest.raises(ModelError, match=r"the length of an input of \w+ is not a constant; found 'z'; .* --bind x=…"):
        import_onnx(model)
    if "six" in call:
        agrees(model, {"x": np.ones((2, 3), np.float32)}, bounded=False)
    else:
        agrees(model, {"x": np.float32([[0, 1, 2], [0, 0, 3]])}, bounded=False)


def test_inside_a_loop_it_must_be_known() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Cast", ["z"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["f"], ["total"], keepdims=0),
            helper.make_node("Add", ["s", "total"], ["s2"]),
            helper.make_node("Add", ["r", "s2"], ["out"]),
        ],
        "body",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, []) for n in ("s", "r")],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, []) for n in ("s2", "out")],
    )
    nodes = [
        helper.make_node("NonZero", ["x"], ["z"]),
        helper.make_node("Scan", ["start", "rows"], ["last", "all"], num_scan_inputs=1, body=body),
    ]
    shapes = {"x": (3,), "start": (), "rows": (4,)}
    declared = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    outputs = [helper.make_tensor_value_info("last", TensorProto.FLOAT, []), helper.make_tensor_value_info("all", 1, [4])]
    model = helper.make_model(
        helper.make_graph(nodes, "scanned", declared, outputs), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    with pytest.raises(ModelError, match=r"the length of .* is not a constant; found 'z'"):
        import_onnx(model)
    inputs = {"x": np.float32([0, 2, 1]), "start": np.array(0.5, np.float32), "rows": random(4)}
    expected = ReferenceEvaluator(model).run(None, inputs)
    for found, wanted in zip(prepare(model).run(inputs), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
