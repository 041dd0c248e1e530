"""Every importable operator, over its attributes and the opsets in which it changed, against onnxruntime: as imported, and
after the graph passes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx_models import LATEST_OPSET, model_of, node, opsets_of, random, run_onnxruntime

from vdla.compiler.frontend.elementwise import ACTIVATIONS, FUNCTIONS
from vdla.compiler.frontend.importers import IMPORTERS
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.frontend.sequences import IMPORTERS as SEQUENCES
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph

ints = lambda *values: np.array(values, np.int64)  # noqa: E731
scalar = lambda value: np.array(value, np.float32)  # noqa: E731


@dataclass(frozen=True)
class Case:
    """One node `op(operands)`, where operands name inputs x, x2, … (random) or `constants`."""

    op: str
    operands: str
    shapes: dict[str, tuple[int, ...]]
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    first: int = 7
    last: int = LATEST_OPSET

    @property
    def name(self) -> str:
        shapes = "-".join("x".join(map(str, s)) for s in self.shapes.values())
        return f"{self.op}-{shapes}-" + "-".join(f"{k}={v}" for k, v in self.attributes.items()).replace(" ", "")


IMAGE = {"x": (2, 4, 9, 11)}


def conv(weight: tuple[int, ...], bias: bool = True, shape: tuple[int, ...] = (2, 4, 9, 11), **attributes: Any) -> Case:
    constants = {"w": random(*weight, seed=1)} | ({"b": random(weight[0], seed=2)} if bias else {})
    return Case("Conv", "x w b" if bias else "x w", {"x": shape}, attributes, constants)


def pool(op: str, shape: tuple[int, ...] = (2, 4, 9, 11), first: int = 7, **attributes: Any) -> Case:
    return Case(op, "x", {"x": shape}, attributes, first=first)


def with_constants(
    op: str, shape: tuple[int, ...], first: int = 7, last: int = LATEST_OPSET, attributes: Any = None, **constants: Any
) -> Case:
    return Case(op, " ".join(["x", *constants]), {"x": shape}, attributes or {}, constants, first, last)


CASES = [
    conv((6, 4, 3, 3)),
    conv((6, 4, 1, 1), bias=False),
    conv((6, 4, 3, 3), strides=[2, 1], pads=[1, 0, 2, 1]),
    conv((6, 4, 3, 2), dilations=[2, 3], pads=[2, 1, 2, 1], kernel_shape=[3, 2]),
    conv((6, 2, 3, 3), group=2, pads=[1, 1, 1, 1]),
    conv((4, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
    conv((8, 1, 3, 3), group=4),
    conv((6, 4, 3, 4), auto_pad="SAME_UPPER", strides=[2, 2]),
    conv((6, 4, 3, 4), auto_pad="SAME_LOWER", strides=[2, 3]),
    conv((6, 4, 5, 5), auto_pad="VALID"),
    conv((6, 4, 1, 1), strides=[2, 2]),
    Case("Conv", "x x2", {"x": (1, 3, 5, 5), "x2": (2, 3, 3, 3)}),
    Case("GlobalLpPool", "x", {"x": (2, 3, 4, 5)}, last=21),
    Case("GlobalLpPool", "x", {"x": (2, 3, 7)}, {"p": 1}, last=21),
    with_constants("Gemm", (3, 5), b=random(5, 4), c=random(4)),
    with_constants(
        "Gemm", (5, 3), attributes={"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, b=random(4, 5), c=random(1, 4)
    ),
    with_constants("Gemm", (3, 5), attributes={"beta": 0.5}, b=random(5, 4), c=random(3, 1)),
    with_constants("Gemm", (3, 5), attributes={"beta": 0.0}, b=random(5, 4), c=random(3, 4)),
    with_constants("Gemm", (3, 5), b=random(5, 4), c=np.array(0.25, np.float32)),
    with_constants("Gemm", (3, 5), first=11, b=random(5, 4)),
    Case("Gemm", "x x2 x3", {"x": (3, 5), "x2": (4, 5), "x3": (4,)}, {"transB": 1, "alpha": 2.0, "beta": 0.5}),
    with_constants("MatMul", (3, 5), b=random(5, 4)),
    with_constants("MatMul", (2, 3, 5), b=random(5, 4)),
    with_constants("MatMul", (2, 3, 5), b=random(2, 5, 4)),
    Case("MatMul", "x x2", {"x": (2, 3, 5), "x2": (5, 4)}),
    *(
        with_constants(
            "BatchNormalization",
            shape,
            attributes={"epsilon": 1e-3},
            g=random(4),
            b=random(4, seed=1),
            m=random(4, seed=2),
            v=random(4, low=0.1),
        )
        for shape in ((2, 4, 5, 6), (3, 4))
    ),
    *(Case(op, "x", IMAGE) for op in ("Relu", "Sigmoid", "Tanh", "Identity", "HardSigmoid", "GlobalAveragePool", "Dropout")),
    Case("HardSwish", "x", {"x": (5, 7)}, first=14),
    Case("HardSigmoid", "x", IMAGE, {"alpha": 0.4, "beta": 0.3}),
    Case("Dropout", "x", IMAGE, {"ratio": 0.3}, last=11),
    Case("Dropout", "x r", IMAGE, {"seed": 3}, {"r": scalar(0.4)}, first=12),
    Case("Clip", "x", IMAGE, {"min": 0.0, "max": 1.5}, last=10),
    Case("Clip", "x", IMAGE, {"min": 0.0}, last=10),
    Case("Clip", "x", IMAGE),
    Case("Clip", "x low high", IMAGE, {}, {"low": scalar(-0.5), "high": scalar(0.75)}, first=11),
    Case("Clip", "x - high", IMAGE, {}, {"high": scalar(0.75)}, first=11),
    Case("Clip", "x low", IMAGE, {}, {"low": scalar(0)}, first=11),
    *(Case(op, "x x2", {"x": (2, 4, 5, 6), "x2": (2, 4, 5, 6)}) for op in ("Add", "Sub", "Mul", "Div")),
    *(with_constants(op, (2, 4, 5, 6), b=random(4, 1, 1)) for op in ("Add", "Sub", "Mul", "Div")),
    *(Case(op, "b x", {"x": (5, 6)}, {}, {"b": random(4, 1, 6)}) for op in ("Add", "Sub", "Mul", "Div")),
    Case("Sum", "x x2 x3", {"x": (2, 3), "x2": (2, 3), "x3": (2, 3)}),
    Case("Sum", "x x2 x3", {"x": (2, 3), "x2": (4, 1, 3), "x3": (1,)}, first=8),
    Case("Sum", "x", {"x": (2, 3)}),
    pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    pool("MaxPool", kernel_shape=[2, 3]),
    pool("MaxPool", first=10, kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1),
    pool("MaxPool", first=10, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, pads=[1, 1, 1, 1]),
    pool("MaxPool", (1, 1, 6, 7), first=10, kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1, pads=[0, 1, 1, 1]),
    pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
    pool("MaxPool", kernel_shape=[2, 2], auto_pad="VALID"),
    pool("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    pool("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 2, 1], count_include_pad=1),
    pool("AveragePool", first=10, kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1),
    pool(
        "AveragePool",
        (2, 3, 9, 12),
        first=19,
        kernel_shape=[3, 3],
        strides=[2, 2],
        ceil_mode=1,
        pads=[1, 1, 1, 1],
        count_include_pad=1,
    ),
    pool(
        "AveragePool",
        (1, 2, 8, 8),
        first=19,
        kernel_shape=[3, 3],
        strides=[2, 2],
        ceil_mode=1,
        pads=[1, 1, 1, 1],
        count_include_pad=1,
    ),
    pool("AveragePool", kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2]),
    pool("AveragePool", kernel_shape=[9, 11]),
    Case("LRN", "x", IMAGE, {"size": 3}),
    Case("LRN", "x", {"x": (1, 7, 3, 3)}, {"size": 5, "alpha": 0.3, "beta": 0.6, "bias": 2.0}),
    Case("Pad", "x", IMAGE, {"pads": [0, 0, 1, 2, 0, 0, 3, 0]}, last=10),
    Case("Pad", "x", IMAGE, {"pads": [0, 1, 0, 0, 1, 0, 0, 0], "value": 1.5}, last=10),
    with_constants("Pad", (2, 3, 4, 5), first=11, p=ints(0, 0, 1, 2, 0, 0, 3, 0)),
    with_constants("Pad", (2, 3, 4, 5), first=11, p=ints(0, 1, 0, 2, 1, 0, 3, 0), v=scalar(-1.5)),
    with_constants("Pad", (2, 3, 4, 5), first=18, p=ints(1, 2, 3, 0), v=scalar(0.5), a=ints(-1, 2)),
    Case("Concat", "x x2 c", {"x": (2, 3, 4), "x2": (2, 1, 4)}, {"axis": 1}, {"c": random(2, 2, 4)}),
    Case("Concat", "x x2", {"x": (2, 3, 4), "x2": (2, 3, 2)}, {"axis": -1}, first=11),
    Case("Concat", "x", {"x": (2, 3)}, {"axis": 0}),
    with_constants("Reshape", (2, 3, 4), s=ints(4, 6)),
    with_constants("Reshape", (2, 3, 4), s=ints(0, -1)),
    with_constants("Reshape", (2, 3, 4), s=ints(-1, 0, 2, 2)),
    *(Case("Flatten", "x", {"x": (2, 3, 4, 5)}, {"axis": axis}) for axis in (0, 1, 3, 4)),
    Case("Flatten", "x", {"x": (2, 3, 4, 5)}),
    Case("Flatten", "x", {"x": (2, 3, 4, 5)}, {"axis": -1}, first=11),
    Case("Squeeze", "x", {"x": (1, 3, 1, 5)}),
    Case("Squeeze", "x", {"x": (1, 3, 1, 5)}, {"axes": [2]}, last=12),
    with_constants("Squeeze", (1, 3, 1, 5), first=13, a=ints(-2, 0)),
    Case("Unsqueeze", "x", {"x": (3, 5)}, {"axes": [0, 3]}, last=12),
    with_constants("Unsqueeze", (3, 5), first=13, a=ints(-1, 1)),
    Case("Transpose", "x", {"x": (2, 3, 4)}),
    Case("Transpose", "x", {"x": (2, 3, 4, 5)}, {"perm": [0, 2, 3, 1]}),
    Case("Transpose", "x", {"x": (2, 1, 4, 1)}, {"perm": [0, 2, 3, 1]}),
    *(Case("Softmax", "x", {"x": (2, 3, 4)}, a) for a in ({}, {"axis": 0}, {"axis": 2})),
    Case("Softmax", "x", {"x": (2, 3, 4)}, {"axis": -2}, first=11),
    Case("Softmax", "x", {"x": (2, 5, 1, 1)}, {"axis": 1}),
    Case("ReduceMean", "x", IMAGE, {"axes": [2, 3]}, last=17),
    Case("ReduceMean", "x", IMAGE, {"axes": [3, 2], "keepdims": 0}, last=17),
    Case("ReduceMean", "x", IMAGE, {"axes": [-1]}, first=11, last=17),
    Case("ReduceMean", "x", IMAGE),
    with_constants("ReduceMean", (2, 3, 4, 5), first=18, a=ints(-3, 3)),
    with_constants("ReduceMean", (2, 3, 4, 5), first=18, attributes={"noop_with_empty_axes": 1}, a=ints()),
    with_constants("ReduceMean", (2, 3, 4, 5), first=18, attributes={"keepdims": 0}, a=ints(2, 3)),
    Case("Cast", "x", {"x": (2, 3)}, {"to": TensorProto.FLOAT}),
]
POINTS = [
    pytest.param(case, opset, id=f"{case.name}-{opset}")
    for case in CASES
    for opset in opsets_of(case.op, case.first, case.last)
]


def check(model, inputs, outputs=("y",), tolerance: float = 2e-6) -> None:
    """Import and optimise the model; both graphs must be valid and agree with onnxruntime."""
    expected = run_onnxruntime(model, inputs)
    graph = import_onnx(model)
    verify_graph(graph)
    assert graph.outputs == tuple(outputs)
    for version in (graph, optimise(graph)):
        actual = run_reference(version, inputs)
        for name in outputs:
            assert actual[name].shape == expected[name].shape
            assert actual[name].dtype == expected[name].dtype
            np.testing.assert_allclose(
                actual[name], expected[name], rtol=tolerance, atol=tolerance * np.abs(expected[name]).max()
            )


@pytest.mark.parametrize(("case", "opset"), POINTS)
def test_operator(case: Case, opset: int) -> None:
    inputs = {name: random(*shape, seed=7 + i) for i, (name, shape) in enumerate(case.shapes.items())}
    check(model_of([node(case.op, case.operands, **case.attributes)], inputs, ["y"], case.constants, opset), inputs)


def test_every_importer_is_tested() -> None:
    """Here, in the files beside this one, or by the ONNX project's own tests, which tests/conformance runs."""
    folded = {n.op_type for nodes in FOLDED.values() for n in nodes}
    quantised = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"}  # test_import_quantised.py
    elementwise = {*ACTIVATIONS, *FUNCTIONS, "Split"}  # test_import_elementwise.py
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = {n.op_type for case in load_model_tests(kind="node") for n in case.model.graph.node}
    sequences = set(SEQUENCES)  # test_import_structure.py
    assert set(IMPORTERS) <= sequences | {case.op for case in CASES} | folded | quantised | elementwise | theirs


def test_exported_reshape() -> None:
    """What exporters write for x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n axes", "n1"),
        node("Constant", "", "rest", value=numpy_helper.from_array(ints(-1))),
        node("Concat", "n1 rest", "shape", axis=0),
        node("Reshape", "x shape"),
    ]
    inputs = {"x": random(2, 3, 4)}
    model = model_of(nodes, inputs, ["y"], {"zero": np.array(0, np.int64), "axes": ints(0)})
    check(model, inputs)
    assert [n.op for n in import_onnx(model).nodes] == ["reshape"]


FOLDED = {
    "Constant": [node("Constant", "", "c", value_floats=[1.0, 2.0, 3.0])],
    "Constant-scalar": [node("Constant", "", "c", value_float=1.5)],
    "ConstantOfShape": [node("ConstantOfShape", "three", "c", value=numpy_helper.from_array(np.array([2.5], np.float32)))],
    "ConstantOfShape-default": [node("ConstantOfShape", "three", "c")],
    "Shape": [node("Shape", "x", "s", start=-1), node("Cast", "s", "c", to=TensorProto.FLOAT)],
    "Size": [node("Size", "x", "s"), node("Cast", "s", "c", to=TensorProto.FLOAT)],
    "Slice": [
        node("Slice", "table one three zero", "s"),
        node("Reshape", "s minus", "r"),
        node("Gather", "r three_scalar", "c"),
    ],
    "Slice-negative": [node("Slice", "table minus low zero minus", "s"), node("Gather", "s one", "c")],
    "Expand": [node("Expand", "half three", "c")],
    "Equal-Where": [node("Equal", "one three", "e"), node("Where", "e half two_f", "c")],
    "arithmetic": [
        node("Neg", "half", "n"),
        node("Div", "two_f n", "d"),
        node("Sub", "d half", "e"),
        node("Mul", "e two_f", "f"),
        node("Floor", "f", "g"),
        node("Neg", "g", "h"),
        node("Add", "h half", "i"),
        node("Sqrt", "i", "c"),
    ],
    "integer-division": [node("Div", "seven minus2", "d"), node("Cast", "d", "c", to=TensorProto.FLOAT)],
    "moves": [
        node("Transpose", "table", "t"),
        node("Unsqueeze", "t zero", "u"),
        node("Squeeze", "u zero", "v"),
        node("Concat", "v v", "w", axis=0),
        node("Gather", "w one", "c"),
    ],
}


@pytest.mark.parametrize("name", FOLDED)
def test_folded_while_importing(name: str) -> None:
    """x + c, where c is computed from constants."""
    constants = {
        "three": ints(3),
        "one": ints(1),
        "zero": ints(0),
        "minus": ints(-1),
        "low": ints(-(1 << 40)),
        "half": scalar([0.5]),
        "two_f": scalar([2]),
        "table": random(3, 3),
        "three_scalar": np.array(3, np.int64),
        "seven": ints(-7),
        "minus2": ints(2),
    }
    inputs = {"x": random(4, 3)}
    model = model_of([*FOLDED[name], node("Add", "x c")], inputs, ["y"], constants)
    check(model, inputs)
    assert [n.op for n in import_onnx(model).nodes] == ["add"]


def test_outputs_keep_their_names() -> None:
    """An output that is an input, another output or a constant is still its own tensor."""
    nodes = [node("Relu", "x", "a"), node("Identity", "a", "b"), node("Identity", "x", "c"), node("Dropout", "b", "d")]
    inputs = {"x": random(2, 3)}
    model = model_of([*nodes, node("Identity", "k", "e")], inputs, ["a", "b", "c", "d", "e"], {"k": random(2)})
    check(model, inputs, ("a", "b", "c", "d", "e"))


def test_inner_names_and_sources_are_the_models() -> None:
    nodes = [node("Conv", "x w", "inner"), node("Relu", "inner", "y")]
    graph = import_onnx(model_of(nodes, {"x": random(1, 2, 4, 4)}, ["y"], {"w": random(3, 2, 1, 1)}))
    assert [(n.source, n.outputs) for n in graph.nodes] == [("inner_Conv", ("inner",)), ("y_Relu", ("y",))]


def test_unread_second_outputs_are_fine() -> None:
    """Old exporters list Dropout's mask though nothing reads it."""
    both = helper.make_node("Dropout", ["x"], ["y", "mask"])
    check(model_of([both], {"x": random(2, 3)}, ["y"]), {"x": random(2, 3)})


def test_initialisers_listed_as_inputs_are_weights() -> None:
    """IR version 3 lists every weight among the inputs."""
    model = model_of([node("Add", "x w")], {"x": random(2, 3), "w": random(3)}, ["y"], {"w": random(3)})
    assert import_onnx(model).inputs == ("x",)


def test_shapes_are_given_for_open_dimensions() -> None:
    model = model_of([node("Relu", "x")], {"x": random(1, 3)}, ["y"])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    assert import_onnx(model, {"x": (5, 3)}).type_of("y").shape == (5, 3)
