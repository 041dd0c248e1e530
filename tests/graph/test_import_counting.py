"""TfIdfVectorizer of integers against the ONNX project's reference, on random pools and rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.errors import ModelError


def model(shape: tuple[int, ...], dtype: str, **attributes: Any) -> Any:
    node = helper.make_node("TfIdfVectorizer", ["x"], ["y"], name="node", **attributes)
    x = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
    graph = helper.make_graph([node], "test", [x], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=8)


def random_attributes(rng: np.random.Generator) -> dict[str, Any]:
    """Up to four n-grams of one, two and three items each, in columns in any order, some of them shared."""
    counts = [int(n) for n in rng.integers(0, 5, 3)]
    counts[int(rng.integers(3))] += 1
    pool = [int(v) for length, n in enumerate(counts, start=1) for v in rng.integers(0, 4, n * length)]
    starts = [0, counts[0], counts[0] + 2 * counts[1]]
    columns = [int(c) for c in rng.integers(0, sum(counts), sum(counts))]
    shortest = next(length for length, n in enumerate(counts, start=1) if n)
    return {
        "mode": str(rng.choice(["TF", "IDF", "TFIDF"])),
        "min_gram_length": int(rng.integers(1, shortest + 1)),
        "max_gram_length": int(rng.integers(shortest, 4)),
        "max_skip_count": int(rng.integers(0, 5)),
        "ngram_counts": starts,
        "ngram_indexes": columns,
        "pool_int64s": pool,
        "weights": [float(w) for w in rng.integers(1, 9, max(columns) + 1)],
    }


@pytest.mark.parametrize("seed", range(30))
def test_random_pools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attributes, dtype = random_attributes(rng), str(rng.choice(["int32", "int64"]))
    shape = (int(rng.integers(1, 12)),) if seed % 3 == 0 else (3, int(rng.integers(1, 12)))
    x = rng.integers(0, 4, shape).astype(dtype)
    made = model(shape, dtype, **attributes)
    (expected,) = ReferenceEvaluator(made).run(None, {"x": x})
    found = run_reference(optimise(import_onnx(made)), {"x": x})["y"]
    np.testing.assert_array_equal(found, expected, err_msg=f"seed {seed}: {attributes}")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"pool_strings": ["a"]}, "TfIdfVectorizer of strings is not supported"),
    ({"mode": "count"}, "attributes of TfIdfVectorizer; found 'mode count, max_skip_count 0"),
    ({"ngram_counts": [0, 1]}, "ngram_counts of TfIdfVectorizer; found (0, 1); expected whole n-grams in a pool of 2"),
    ({"ngram_indexes": [0]}, "ngram_indexes of TfIdfVectorizer; found 1; expected a column for each of 2 n-grams"),
    ({"weights": [1.0]}, "weights of TfIdfVectorizer; found 1; expected 2"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_refusals(changes: dict[str, Any], words: str) -> None:
    given = {"mode": "TF", "ngram_counts": [0], "ngram_indexes": [0, 1], "pool_int64s": [5, 6], "min_gram_length": 1}
    given |= {"max_gram_length": 1, "max_skip_count": 0, **changes}
    with pytest.raises(ModelError) as caught:
        import_onnx(model((3,), "int64", **given))
    assert words in str(caught.value)
