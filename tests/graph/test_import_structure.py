"""Models as people have them: open dimensions, bound values, branches, loops, functions, sequences, nodes in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator
from onnx_models import model_of, node, random, run_onnxruntime

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.errors import ModelError

HEADER = '<ir_version: 8, opset_import: ["" : 18, "local" : 1]>'


def agrees(model: onnx.ModelProto, inputs: dict[str, np.ndarray], operators: list[str] | None = None, **options: Any) -> None:
    """The graph is valid, has these operators and computes what ONNX's reference does."""
    graph = import_onnx(model, **options)
    verify_graph(graph)
    if operators is not None:
        assert [n.op for n in graph.nodes] == operators
    expected = ReferenceEvaluator(model).run(None, inputs)
    found = run_reference(graph, {name: inputs[name] for name in graph.inputs})
    for info, value in zip(model.graph.output, expected, strict=True):
        assert found[info.name].dtype == value.dtype
        np.testing.assert_allclose(found[info.name], value, rtol=1e-6)


def words(error: pytest.ExceptionInfo[ModelError]) -> str:
    return str(error.value)


def test_open_dimensions_by_name() -> None:
    model = parser.parse_model(HEADER + "agraph (float[N, 3, N] x) => (float[N, 3, N] y) { y = Relu(x) }")
    assert import_onnx(model, dims={"N": 4}).type_of("y").shape == (4, 3, 4)
    with pytest.raises(ModelError) as error:
        import_onnx(model, dims={"batch": 4})
    assert "no open dimension of this name; found 'batch'; expected N" in words(error)
    with pytest.raises(ModelError) as error:
        import_onnx(model)
    assert "--dim N=1" in words(error)


def test_a_bound_input_is_a_constant() -> None:
    """As for silero's sampling rate, by which an If chooses."""
    model = parser.parse_model(
        HEADER
        + """agraph (float[2] x, int64 sr, int64[1] shape) => (float[2] y, float z) {
            fast = Constant<value = int64 {16000}>()
            is_fast = Equal(sr, fast)
            c = If (is_fast) <
                then_branch = a () => (float[2] t) { t = Neg(x) },
                else_branch = b () => (float[2] e) { e = Exp(x) } >
            y = Reshape(c, shape)
            z = Cast<to = 1>(sr)
        }"""
    )
    inputs = {"x": random(2), "sr": np.array(16000), "shape": np.array([2])}
    bind = {"sr": np.array(16000), "shape": 2}
    agrees(model, inputs, ["neg", "reshape"], bind=bind)
    with pytest.raises(ModelError) as error:
        import_onnx(model)
    assert "shape of Reshape is not a constant; found 'shape'" in words(error) and "--bind shape=…" in words(error)
    with pytest.raises(ModelError) as error:
        import_onnx(model, bind={"sr": np.array(0.5)})
    assert "the input does not hold this value" in words(error)
    with pytest.raises(ModelError) as error:
        import_onnx(model, bind={"rate": np.array(1)})
    assert "a value is given for an input the model does not have; found 'rate'; expected x, sr, shape" in words(error)


def test_branches_of_an_unknown_condition_are_both_computed() -> None:
    text = """agraph (float[2] x, bool[1] c) => (float[2] y) {
        y = If (c) <
            then_branch = a () => (float[2] t) { t = Neg(x) },
            else_branch = b () => (float[2] e) { u = Abs(x) e = Sqrt(u) } >
    }"""
    operators = ["neg", "abs", "sqrt", "reshape", "where"]
    for condition in (True, False):
        agrees(parser.parse_model(HEADER + text), {"x": random(2), "c": np.array([condition])}, operators)
    unequal = text.replace("e = Sqrt(u)", "v = Sqrt(u) e = Concat<axis = 0>(v, v)")
    with pytest.raises(ModelError) as error:
        import_onnx(parser.parse_model(HEADER + unequal))
    assert "the condition, by which the outputs' shapes differ, of If is not a constant; found 'c'" in words(error)
    assert "--bind c=…" in words(error)


def test_what_an_untaken_branch_holds_does_not_matter() -> None:
    model = parser.parse_model(
        HEADER
        + """agraph (float[2] x) => (float[2] y) {
            c = Constant<value = bool {0}>()
            y = If (c) <
                then_branch = a () => (float[2] t) { t = Unheard(x) },
                else_branch = b () => (float[2] e) { e = Relu(x) } >
        }"""
    )
    assert [n.op for n in import_onnx(model).nodes] == ["relu"]


def test_a_loop_that_ends_itself_is_written_out() -> None:
    model = parser.parse_model(
        HEADER
        + """agraph (float[2] x) => (float[2] y, float[3, 2] all) {
            most = Constant<value = int64 {9}>()
            go = Constant<value = bool {1}>()
            y, all = Loop (most, go, x) <body = b (int64 i, bool c, float[2] s) => (bool d, float[2] n, float[2] each) {
                two = Constant<value = int64 {2}>()
                d = Less(i, two)
                n = Add(s, s)
                each = Identity(n)
            }>
        }"""
    )
    agrees(model, {"x": random(2)})


def test_functions() -> None:
    """One of the model's own that calls another, attributes handed on; and one of the standard's."""
    model = parser.parse_model(
        HEADER
        + """agraph (float[2, 4] x, float[4] w) => (float[2, 4] y) { a = local.outer<slope = 0.25>(x) y = RMSLike(a, w) }
        <domain: "local", opset_import: ["" : 18]>
        inner <alpha: float> (x) => (y) { y = LeakyRelu<alpha: float = @alpha>(x) }
        <domain: "local", opset_import: ["" : 18, "local" : 1]>
        outer <slope: float> (x) => (y) { t = local.inner<alpha: float = @slope>(x) y = Add(t, x) }"""
    )
    model.graph.node[1].op_type = "MeanVarianceNormalization"  # which the standard defines by a function
    model.graph.node[1].input.pop()
    model.graph.node[1].attribute.append(helper.make_attribute("axes", [1]))
    inputs = {"x": random(2, 4), "w": random(4)}
    expected = run_onnxruntime(model, inputs)["y"]  # onnx.reference loses attributes on their way through functions
    np.testing.assert_allclose(run_reference(import_onnx(model), inputs)["y"], expected, rtol=1e-5, atol=1e-6)


def test_a_bomb_of_functions_is_refused() -> None:
    """Each calls the next twice: 2^30 nodes in a file of a few hundred bytes; and one that calls itself."""
    functions = [
        helper.make_function("local", f"f{i}", ["x"], ["y"], [
            helper.make_node(f"f{i + 1}", ["x"], ["t"], domain="local"),
            helper.make_node(f"f{i + 1}", ["t"], ["y"], domain="local"),
        ], [helper.make_opsetid("local", 1)])
        for i in range(30)
    ]  # fmt: skip
    functions.append(helper.make_function("local", "f30", ["x"], ["y"], [node("Relu", "x")], [helper.make_opsetid("", 18)]))
    itself = helper.make_function(
        "local", "g", ["x"], ["y"], [helper.make_node("g", ["x"], ["y"], domain="local")], [helper.make_opsetid("local", 1)]
    )
    for name, expected in (("f0", "too large"), ("g", "too deep inside each other")):
        model = model_of([helper.make_node(name, ["x"], ["y"], domain="local")], {"x": random(2)}, ["y"])
        model.functions.extend([*functions, itself])
        with pytest.raises(ModelError) as error:
            import_onnx(model)
        assert expected in words(error)


def test_sequences_leave_no_trace() -> None:
    nodes = [
        node("SplitToSequence", "x", "s", axis=1, keepdims=0),
        node("SequenceLength", "s", "n"),
        node("SequenceAt", "s minus", "last"),
        node("SequenceErase", "s minus", "fewer"),
        node("SequenceInsert", "fewer last zero", "turned"),
        node("ConcatFromSequence", "turned", "y", axis=1, new_axis=1),
        node("SequenceConstruct", "x x", "two"),
        node("ConcatFromSequence", "two", "z", axis=0),
    ]
    constants = {"minus": np.array(-1), "zero": np.array(0)}
    model = model_of(nodes, {"x": random(3, 4)}, ["y", "z"], constants)
    graph = import_onnx(model)
    expected = run_onnxruntime(model, {"x": random(3, 4)})
    found = run_reference(graph, {"x": random(3, 4)})
    for name in ("y", "z"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert {n.op for n in graph.nodes} == {"split", "reshape", "concat"}


def test_nodes_in_any_order_with_any_names() -> None:
    """Duplicate and missing node names, consumers first, a weight that is an input too, no shapes inside."""
    nodes = [node("Relu", "c"), node("Add", "b w", "c"), node("Tanh", "x", "b")]
    for n in nodes:
        n.name = "same"
    nodes[1].name = ""
    model = model_of(nodes, {"x": random(2, 3)}, ["y"], {"w": random(3)})
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (3,)))
    expected = np.maximum(np.tanh(random(2, 3)) + random(3), 0)
    np.testing.assert_allclose(run_reference(import_onnx(model), {"x": random(2, 3)})["y"], expected, rtol=1e-6)


def test_outputs_that_nothing_computes() -> None:
    """An input, a constant and an empty tensor as outputs."""
    nodes = [node("Constant", "", "k", value=numpy_helper.from_array(np.arange(3))), node("Identity", "e", "nothing")]
    model = model_of(nodes, {"x": random(2)}, ["x", "w", "k", "nothing"], {"w": random(3), "e": np.zeros((0, 2), np.float32)})
    graph = import_onnx(model)
    verify_graph(graph)
    found = run_reference(graph, {"x": random(2)})
    assert graph.outputs == ("x", "w", "k", "nothing") and found["nothing"].shape == (0, 2)
    np.testing.assert_array_equal(found["x"], random(2))
    np.testing.assert_array_equal(found["w"], random(3))
    np.testing.assert_array_equal(found["k"], np.arange(3))


def test_unsigned_bytes() -> None:
    """uint8 is a type like any other: into the model, through what only moves it, out of QuantizeLinear, out of the model."""
    nodes = [
        node("Cast", "image", "f", to=TensorProto.FLOAT),
        node("QuantizeLinear", "f s z", "q"),
        node("Transpose", "q", "t"),
        node("Cast", "t", "i", to=TensorProto.INT32),
        node("DequantizeLinear", "image s z", "d"),
    ]
    constants = {"s": np.float32(2), "z": np.array(3, np.uint8)}
    x = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    model = model_of(nodes, {"image": x}, ["t", "i", "d"], constants)
    for info, kind in zip(model.graph.output, (TensorProto.UINT8, TensorProto.INT32, TensorProto.FLOAT), strict=True):
        info.type.tensor_type.elem_type = kind
    expected, found = run_onnxruntime(model, {"image": x}), run_reference(import_onnx(model), {"image": x})
    for name in ("t", "i", "d"):
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], expected[name])


def test_constants_of_a_few_bytes_that_are_huge_are_refused() -> None:
    nodes = [node("ConstantOfShape", "shape", "c"), node("Add", "c c", "d"), node("ReduceMean", "d")]
    model = model_of(nodes, {"x": random(1)}, ["y"], {"shape": np.array([1 << 20, 1 << 10])})
    with pytest.raises(ModelError) as error:
        import_onnx(model)
    assert "a constant of impossible size" in words(error)
