"""The graph passes: what each rule makes of its pattern, and that outputs stay what onnxruntime says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import model_of, node, random, run_onnxruntime

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.canonicalise import RULES, canonicalise
from vdla.compiler.graph.fold_affine import fold_affine
from vdla.compiler.graph.fold_constants import fold_constants
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.pipeline import PASSES, optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.rewrite import eliminate_dead, joined
from vdla.compiler.graph.verify import verify_graph
from vdla.zoo import build

X = {"x": random(2, 4, 6, 8)}
WEIGHTS = {
    "w": random(5, 4, 3, 3, seed=1),
    "w44": random(4, 4, 1, 1, seed=2),
    "wt": random(4, 5, 2, 3, seed=12),
    "wg": random(4, 3, 2, 3, seed=13),
    "c6": random(6, 1, 1, seed=14),
    "b": random(5, seed=3),
    "c5": random(5, 1, 1, seed=4),
    "c4": random(4, 1, 1, seed=5),
    "g": random(8, 3, seed=6),
    "row": random(3, seed=7),
    "gamma": random(5, seed=8),
    "beta": random(5, seed=9),
    "mean": random(5, seed=10),
    "variance": random(5, seed=11, low=0.2),
    "zero": np.zeros((1,), np.float32),
    "one": np.ones((4, 1, 1), np.float32),
    "two": np.float32(2),
    "pads": np.array([0, 0, 1, 2, 0, 0, 2, 1]),
    "pads_channel": np.array([0, 1, 1, 1, 0, 0, 1, 1]),
    "lowest": np.float32(-3.4028234663852886e38),
    "scalar0": np.float32(0),
    "scalar1": np.float32(1),
    "shape": np.array([2, 4, 6, 8]),
    "flat": np.array([2, -1]),
    "halves": np.array([2, 2, -1]),
}


def imported(nodes: list[Any], outputs: tuple[str, ...] = ("y",)) -> Graph:
    return import_onnx(model_of(nodes, X, outputs, WEIGHTS))


def check(nodes: list[Any], function: Any, expected: list[str], outputs: tuple[str, ...] = ("y",)) -> Graph:
    """The pass leaves `expected` operators, a valid graph and onnxruntime's outputs."""
    graph = function(imported(nodes, outputs))
    verify_graph(graph)
    assert [n.op for n in graph.nodes] == expected
    actual, wanted = run_reference(graph, X), run_onnxruntime(model_of(nodes, X, outputs, WEIGHTS), X)
    for name in outputs:
        np.testing.assert_allclose(actual[name], wanted[name], rtol=1e-4, atol=1e-5)
    return graph


CONV = node("Conv", "x w", "c")
RULE_CASES = {
    "reshape to itself": ([node("Reshape", "x shape", "r"), node("Relu", "r")], ["relu"]),
    "reshape of reshape": ([node("Reshape", "x flat", "r"), node("Reshape", "r halves")], ["reshape"]),
    "transpose of ones": (
        [node("GlobalAveragePool", "x", "p"), node("Transpose", "p", perm=[0, 2, 3, 1])],
        ["global_avg_pool", "reshape"],
    ),
    "transposes": ([node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Transpose", "t", perm=[2, 1, 0, 3])], ["transpose"]),
    "transpose back": (
        [node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Transpose", "t", "u", perm=[0, 3, 1, 2]), node("Relu", "u")],
        ["relu"],
    ),
    "mean of maps": ([node("ReduceMean", "x", axes=[2, 3])], ["global_avg_pool"]),
    "mean dropping axes": ([node("ReduceMean", "x", axes=[-1, -2], keepdims=0)], ["global_avg_pool", "reshape"]),
    "mean of rows": ([node("ReduceMean", "x", axes=[3])], ["reduce_mean"]),
    "average of everything": ([node("AveragePool", "x", kernel_shape=[6, 8], strides=[3, 3])], ["global_avg_pool"]),
    "average with padding": ([node("AveragePool", "x", kernel_shape=[6, 8], pads=[1, 1, 1, 1])], ["avg_pool2d"]),
    "pools of one": (
        [node("MaxPool", "x", "p", kernel_shape=[1, 1]), node("AveragePool", "p", "q", kernel_shape=[1, 1]), node("Relu", "q")],
        ["relu"],
    ),
    "pool with stride": ([node("MaxPool", "x", kernel_shape=[1, 1], strides=[2, 2])], ["max_pool2d"]),
    "global pool twice": (
        [node("GlobalAveragePool", "x", "p"), node("GlobalAveragePool", "p", "q"), node("Relu", "q")],
        ["global_avg_pool", "relu"],
    ),
    "pad, conv": ([node("Pad", "x pads", "p"), node("Conv", "p w b", pads=[1, 0, 1, 0])], ["conv2d"]),
    "pad of one, conv": ([node("Pad", "x pads scalar1", "p"), node("Conv", "p w b")], ["pad", "conv2d"]),
    "pad, max": ([node("Pad", "x pads", "p"), node("MaxPool", "p", kernel_shape=[3, 3])], ["pad", "max_pool2d"]),
    "relu, pad, max": (
        [node("Relu", "x", "r"), node("Pad", "r pads", "p"), node("MaxPool", "p", kernel_shape=[3, 3])],
        ["relu", "max_pool2d"],
    ),
    "pad lowest, max": ([node("Pad", "x pads lowest", "p"), node("MaxPool", "p", kernel_shape=[3, 3])], ["max_pool2d"]),
    "wide pad, max": (
        [node("Relu", "x", "r"), node("Pad", "r pads", "p"), node("MaxPool", "p", kernel_shape=[2, 2])],
        ["relu", "pad", "max_pool2d"],
    ),
    "pad, average": ([node("Pad", "x pads", "p"), node("AveragePool", "p", kernel_shape=[3, 3])], ["avg_pool2d"]),
    "pad, padded average": (
        [node("Pad", "x pads", "p"), node("AveragePool", "p", kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
        ["pad", "avg_pool2d"],
    ),
    "clip, clip": ([node("Clip", "x scalar0 two", "k"), node("Clip", "k scalar1")], ["clip"]),
    "relu, clip": ([node("Relu", "x", "r"), node("Clip", "r - two")], ["clip"]),
    "clip at nothing": ([node("Clip", "x", "k"), node("Tanh", "k")], ["tanh"]),
    "clip read twice": (
        [node("Clip", "x scalar0 two", "k"), node("Clip", "k scalar1", "l"), node("Add", "k l")],
        ["clip", "clip", "add"],
    ),
    "relu, relu": ([node("Relu", "x", "r"), node("Relu", "r", "s"), node("Tanh", "s")], ["relu", "tanh"]),
    "constant first": ([node("Add", "c4 x")], ["add"]),
    "plus 0, times 1": ([node("Add", "x zero", "a"), node("Mul", "one a", "m"), node("Relu", "m")], ["relu"]),
    "minus constant": ([node("Sub", "x c4")], ["add"]),
    "constant minus": ([node("Sub", "c4 x")], ["sub"]),
    "over constant": ([node("Div", "x c4")], ["mul"]),
    "over zero": ([node("Sigmoid", "x", "s"), node("Div", "s zero")], ["sigmoid", "div"]),
    "matmul": ([node("Identity", "g", "h"), node("MatMul", "x h")], ["dense"]),
}


def test_users_of_an_equal_tensor_count() -> None:
    """The first clip is read through the reshape too, so the second must not skip it."""
    nodes = [
        node("Clip", "x scalar0 two", "k"),
        node("Reshape", "k shape", "r"),
        node("Clip", "k scalar1", "l"),
        node("Add", "l r"),
    ]
    graph = check(nodes, canonicalise, ["clip", "clip", "add"])
    assert [n.inputs for n in graph.nodes] == [("x",), ("k",), ("l", "k")]


@pytest.mark.parametrize("name", RULE_CASES)
def test_canonical_form(name: str) -> None:
    nodes, expected = RULE_CASES[name]
    check(nodes, canonicalise, expected)


def test_a_quotient_that_is_rounded_stays_one() -> None:
    """49 · (1 / 49) is not 1 in float32, and halfway between two whole numbers may become either side."""
    check([node("Div", "x two", "d"), node("Round", "d")], canonicalise, ["div", "round"])


def test_padded_channels_stay() -> None:
    check([node("Pad", "x pads_channel", "p"), node("MaxPool", "p", kernel_shape=[3, 3])], canonicalise, ["pad", "max_pool2d"])


def test_every_rule_is_exercised(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rule is dead: each changes some case above, or the quantised weights of test_import_quantised."""
    fired: set[str] = {"transpose_of_weights", "matmul_as_dense", "clip_as_relu", "empty_pad"}  # the import leaves these little

    def spy(rule: Any) -> Any:
        def watching(context: Any, graph_node: Any) -> Any:
            change = rule(context, graph_node)
            if change is not None:
                fired.add(rule.__name__)
            return change

        return watching

    for op, rules in RULES.items():
        monkeypatch.setitem(RULES, op, [spy(rule) for rule in rules])  # type: ignore[index]
    for nodes, _ in RULE_CASES.values():
        canonicalise(imported(nodes))
    monkeypatch.undo()
    assert {rule.__name__ for rules in RULES.values() for rule in rules} == fired


BN = node("BatchNormalization", "c gamma beta mean variance", epsilon=1e-3)
AFFINE_CASES = {
    "batch norm": ([CONV, BN], ["conv2d"]),
    "batch norm and bias": ([node("Conv", "x w b", "c"), BN], ["conv2d"]),
    "scale": ([CONV, node("Mul", "c c5")], ["conv2d"]),
    "scale first": ([CONV, node("Mul", "c5 c")], ["conv2d"]),
    "shift": ([CONV, node("Add", "c c5")], ["conv2d"]),
    "scalar": ([CONV, node("Mul", "c two")], ["conv2d"]),
    "chain": ([CONV, node("Mul", "c two", "d"), node("Add", "d c5", "e"), node("Mul", "e c5")], ["conv2d"]),
    "dense": ([node("MatMul", "x g", "c"), node("Add", "c row", "d"), node("Mul", "d row")], ["dense"]),
    "transposed": ([node("ConvTranspose", "x wt b", "c"), node("Mul", "c c5", "m"), node("Add", "m c5")], ["conv_transpose"]),
    "transposed groups": (
        [node("ConvTranspose", "x wg", "c", group=2, strides=[2, 1]), node("Mul", "c c6", "m"), node("Add", "m c6")],
        ["conv_transpose"],
    ),
    "not after a layer": ([node("Relu", "x", "r"), node("BatchNormalization", "r m4 m4 m4 v4")], ["relu", "mul", "add"]),
    "read twice": ([CONV, node("Mul", "c c5", "m"), node("Add", "c m")], ["conv2d", "mul", "add"]),
    "across columns": ([CONV, node("Mul", "c columns")], ["conv2d", "mul"]),
    "growing": ([CONV, node("Add", "c more")], ["conv2d", "add"]),
}
WEIGHTS |= {"m4": random(4), "v4": random(4, low=0.2), "columns": random(6), "more": random(1, 1, 1, 1, 1)}


@pytest.mark.parametrize("name", AFFINE_CASES)
def test_affine_folding(name: str) -> None:
    nodes, expected = AFFINE_CASES[name]
    check(nodes, fold_affine, expected)


def test_layer_that_is_an_output_is_kept() -> None:
    check([CONV, node("Relu", "c", "r"), node("Add", "c c5")], fold_affine, ["conv2d", "relu", "add"], ("y", "c", "r"))


def test_merged_nodes_name_all_their_sources() -> None:
    graph = fold_affine(imported([CONV, BN]))
    assert [(n.name, n.source) for n in graph.nodes] == [("c_Conv", "c_Conv+y_BatchNormalization")]
    assert joined("a+b", "b", "", "c") == "a+b+c"


def test_constants_fold() -> None:
    """Those of the model while it is imported; here what passes leave."""
    nodes = [node("Relu", "c4", "r"), node("Softmax", "r", "s", axis=0), node("Add", "x s")]
    graph = check(nodes, fold_constants, ["add"])
    assert set(graph.constants) == {"s"}
    constant = Graph("g", (), ("y",), (Node("a", "relu", ("c",), ("m",)), Node("b", "relu", ("m",), ("y",))), *relus_of_c())
    assert [n.name for n in fold_constants(constant).nodes] == ["b"]  # the producer of an output stays


def relus_of_c() -> tuple[dict[str, TensorType], dict[str, np.ndarray]]:
    return dict.fromkeys(("c", "m", "y"), TensorType((3,), "float32")), {"c": random(3)}


def test_dead_nodes_go() -> None:
    graph = check([node("Tanh", "x", "t"), node("Conv", "t w", "d"), node("Relu", "x")], eliminate_dead, ["relu"])
    assert set(graph.tensors) == {"x", "y"} and not graph.constants


@pytest.mark.parametrize("name", ["resnet18", "mobilenet"])
def test_no_batch_norm_is_left_in_the_zoo(name: str) -> None:
    graph = optimise(import_onnx(build(name)))
    assert {n.op for n in graph.nodes}.isdisjoint({"batch_norm", "mul", "sub", "div"})


def test_pipeline_dumps_every_stage() -> None:
    stages: list[str] = []
    optimise(imported([CONV, BN]), lambda stage, graph: stages.append(stage))
    assert stages == ["import", *(function.__name__ for function in PASSES)]


def random_nodes(rng: np.random.Generator, count: int) -> list[Any]:
    """A random network on (2, 4, 6, 8) tensors: each node reads any earlier ones."""
    tensors = ["x"]
    nodes = []
    for index in range(count):
        a, b = (tensors[max(0, len(tensors) - 1 - int(rng.integers(0, 4)))] for _ in range(2))
        y = f"t{index}"
        choice: list[list[Any]] = [
            [node("Relu", a, y)],
            [node("Clip", f"{a} scalar0 two", y)],
            [node("Add", f"{a} {b}", y)],
            [node("Add", f"c4 {a}", y)],
            [node("Sub", f"{a} c4", y)],
            [node("Mul", f"{a} c4", y)],
            [node("Conv", f"{a} w44", y)],
            [node("BatchNormalization", f"{a} m4 m4 m4 v4", y)],
            [node("Identity", a, y)],
            [node("Pad", f"{a} pads", f"{y}p"), node("Conv", f"{y}p w45", y)],
            [node("Pad", f"{a} pads", f"{y}p"), node("MaxPool", f"{y}p", y, kernel_shape=[4, 4])],
            [node("Pad", f"{a} pads", f"{y}p"), node("AveragePool", f"{y}p", y, kernel_shape=[4, 4])],
            [node("Reshape", f"{a} flat", f"{y}r"), node("Reshape", f"{y}r shape", y)],
            [node("Transpose", a, f"{y}t", perm=[0, 2, 3, 1]), node("Transpose", f"{y}t", y, perm=[0, 3, 1, 2])],
            [node("ReduceMean", a, f"{y}m", axes=[2, 3]), node("Sub", f"{a} {y}m", y)],
            [node("Sigmoid", "c4", f"{y}s"), node("Mul", f"{y}s {a}", y)],
        ]
        nodes += choice[int(rng.integers(len(choice)))]
        tensors.append(y)
    return nodes


@pytest.mark.parametrize("trial", range(25))
def test_random_networks_keep_their_outputs(trial: int) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    constants = {**WEIGHTS, "w45": random(4, 4, 4, 4) / 8}
    nodes = random_nodes(rng, 12)
    outputs = sorted({nodes[-1].output[0], f"t{rng.integers(11)}"})
    model = model_of(nodes, X, outputs, constants)
    expected, graph = run_onnxruntime(model, X), optimise(import_onnx(model))
    actual = run_reference(graph, X)
    for name in outputs:
        error = np.linalg.norm(actual[name] - expected[name]) / max(np.linalg.norm(expected[name]), 1)  # all may cancel
        assert error < 1e-4, f"seed {seed}, output {name}"
