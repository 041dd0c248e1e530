"""Operators of ai.onnx.ml on numbers, against the ONNX project's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.errors import ModelError


def model(op: str, inputs: dict[str, np.ndarray], dtype: str, **attributes: Any) -> onnx.ModelProto:
    number = lambda name: helper.np_dtype_to_tensor_dtype(np.dtype(name))  # noqa: E731
    declared = [helper.make_tensor_value_info(n, number(str(x.dtype)), x.shape) for n, x in inputs.items()]
    node = helper.make_node(op, list(inputs), ["y"], name="node", domain="ai.onnx.ml", **attributes)
    graph = helper.make_graph([node], "test", declared, [helper.make_tensor_value_info("y", number(dtype), None)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 5)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def check(made: onnx.ModelProto, inputs: dict[str, np.ndarray], **tolerance: float) -> None:
    (expected,) = ReferenceEvaluator(made).run(None, inputs)
    found = run_reference(optimise(import_onnx(made)), inputs)["y"]
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, **{"rtol": 0, "atol": 0, **tolerance})


@pytest.mark.parametrize("shape", [(7,), (2, 7), (2, 3, 7)])
def test_columns(shape: tuple[int, ...]) -> None:
    inputs = {"x": np.arange(np.prod(shape), dtype=np.float32).reshape(shape), "i": np.array([5, 0, 5], np.int64)}
    check(model("ArrayFeatureExtractor", inputs, "float32"), inputs)


def test_thresholds() -> None:
    inputs = {"x": np.array([[-1, 0.5, 0.6, np.nan]], np.float32)}
    check(model("Binarizer", inputs, "float32", threshold=0.5), inputs)


@pytest.mark.parametrize("form", ["lists", "tensors"])
def test_labels(form: str) -> None:
    keys, values = np.array([3, -7, 40], np.int64), np.array([0.5, 1.5, -2.5], np.float32)
    inputs = {"x": np.array([[40, 3, 9], [-7, 0, 3]], np.int64)}
    if form == "lists":
        attributes: dict[str, Any] = {"keys_int64s": keys.tolist(), "values_floats": values.tolist(), "default_float": 9.25}
    else:
        default = numpy_helper.from_array(np.array([7.5], np.float32))
        attributes = {"keys_tensor": numpy_helper.from_array(keys), "values_tensor": numpy_helper.from_array(values)}
        attributes["default_tensor"] = default
    check(model("LabelEncoder", inputs, "float32", **attributes), inputs)


def test_labels_of_nan() -> None:
    inputs = {"x": np.array([1.5, np.nan, 2], np.float32)}
    made = model("LabelEncoder", inputs, "int64", keys_floats=[np.nan, 1.5], values_int64s=[4, 5])
    np.testing.assert_array_equal(run_reference(import_onnx(made), inputs)["y"], [5, 4, -1])


def random_forest(rng: np.random.Generator, features: int, targets: int, aggregate: int) -> dict[str, Any]:
    """Trees of up to 15 nodes that compare in every way, some of them with sets."""
    nodes: list[dict[str, Any]] = []
    leaves: list[tuple[float, int]] = []
    members: list[float] = []

    def leaf() -> tuple[int, int]:
        leaves.append((float(rng.integers(-8, 9)) / 4, int(rng.integers(targets))))
        return len(leaves) - 1, 1

    def grow(depth: int) -> tuple[int, int]:
        if depth > 0 and (depth == 4 or rng.random() < 0.3):
            return leaf()
        index, mode = len(nodes), int(rng.integers(7))
        nodes.append({"mode": mode, "feature": int(rng.integers(features)), "split": float(rng.integers(1, 5))})
        if mode == 6:
            members.extend([*map(float, rng.choice(np.arange(1, 6), int(rng.integers(1, 4)), replace=False)), np.nan])
        nodes[index]["true"] = grow(depth + 1)
        nodes[index]["false"] = grow(depth + 1)
        return index, 0

    roots = [grow(0)[0] for _ in range(3)]
    column = lambda name, part=None: [n[name] if part is None else n[name][part] for n in nodes]  # noqa: E731
    tensor = lambda values, dtype: numpy_helper.from_array(np.array(values, dtype))  # noqa: E731
    sets = {"membership_values": tensor(members, np.float32)} if members else {}
    return {
        "aggregate_function": aggregate,
        "n_targets": targets,
        "tree_roots": roots,
        "nodes_modes": tensor(column("mode"), np.uint8),
        "nodes_splits": tensor(column("split"), np.float32),
        "nodes_featureids": column("feature"),
        "nodes_truenodeids": column("true", 0),
        "nodes_trueleafs": column("true", 1),
        "nodes_falsenodeids": column("false", 0),
        "nodes_falseleafs": column("false", 1),
        "nodes_missing_value_tracks_true": [int(v) for v in rng.integers(0, 2, len(nodes))],
        "leaf_weights": tensor([w for w, _ in leaves], np.float32),
        "leaf_targetids": [t for _, t in leaves],
        **sets,
    }


@pytest.mark.parametrize("aggregate", range(4))
@pytest.mark.parametrize("seed", range(6))
def test_random_forests(seed: int, aggregate: int) -> None:
    rng = np.random.default_rng([seed, aggregate])
    inputs = {"x": rng.integers(0, 6, (20, 3)).astype(np.float32)}
    inputs["x"][rng.random((20, 3)) < 0.1] = np.nan
    attributes = random_forest(rng, 3, 4, aggregate)
    made = model("TreeEnsemble", inputs, "float32", **attributes)
    (expected,) = ReferenceEvaluator(made).run(None, inputs)
    found = run_reference(optimise(import_onnx(made)), inputs)["y"]
    np.testing.assert_allclose(found, expected.astype(np.float32), rtol=1e-6, atol=1e-6, err_msg=f"seed {seed}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes_featureids": [9]}, "attributes of TreeEnsemble are missing, or differ in length"),
        ({"leaf_targetids": "far"}, "attributes of TreeEnsemble name what there is not"),
        ({"nodes_truenodeids": "back", "nodes_trueleafs": "none"}, "a tree of TreeEnsemble leads back to itself"),
        ({"post_transform": 1}, "unsupported attribute post_transform of TreeEnsemble; found 1"),
    ],
)
def test_refusals(changes: dict[str, Any], words: str) -> None:
    attributes = random_forest(np.random.default_rng(3), 3, 4, 1)
    nodes, leaves = len(attributes["nodes_featureids"]), len(attributes["leaf_targetids"])
    made_up = {"far": [4] * leaves, "back": [0] * nodes, "none": [0] * nodes}
    attributes |= {name: made_up.get(v, v) if isinstance(v, str) else v for name, v in changes.items()}
    with pytest.raises(ModelError) as caught:
        import_onnx(model("TreeEnsemble", {"x": np.zeros((2, 3), np.float32)}, "float32", **attributes))
    assert words in str(caught.value)
