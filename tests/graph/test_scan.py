"""A loop with a graph inside: what its operator checks, computes in NumPy, and keeps in files and texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.reference import run_node
from vdla.compiler.operators.registry import infer_types
from vdla.errors import ModelError

F = "float32"
STATE, OTHER = TensorType((2, 3), F), TensorType((), F)
BODY = Graph(
    "body",
    ("s", "x", "k"),
    ("next", "wide"),
    (
        Node("scale", "mul", ("x", "k"), ("scaled",)),
        Node("step", "add", ("s", "scaled"), ("next",)),
        Node("join", "concat", ("s", "x"), ("wide",), {"axis": 1}),
    ),
    {"s": STATE, "x": STATE, "k": OTHER, "scaled": STATE, "next": STATE, "wide": TensorType((2, 6), F)},
    {},
)
TYPES = (STATE, TensorType((5, 2, 3), F), OTHER)
GIVEN = {"body": BODY, "count": 5, "states": 1, "sequences": 1}


def test_what_it_computes() -> None:
    rng = np.random.default_rng(3)
    s, x = rng.standard_normal((2, 3)).astype(F), rng.standard_normal((5, 2, 3)).astype(F)
    node = Node("loop", "scan", ("s", "x", "k"), ("last", "stacked"), GIVEN)
    found = run_node(node, {"s": s, "x": x, "k": np.array(0.5, F)})
    before = np.concatenate([np.zeros((1, 2, 3), F), np.cumsum(x * np.float32(0.5), 0)]) + s
    np.testing.assert_allclose(found["last"], before[-1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found["stacked"], np.concatenate([before[:-1], x], axis=2), rtol=1e-6, atol=1e-6)
    assert infer_types("scan", TYPES, GIVEN) == (STATE, TensorType((5, 2, 6), F))


def with_node(index: int, **changes: Any) -> Graph:
    nodes = list(BODY.nodes)
    nodes[index] = replace(nodes[index], **changes)
    return replace(BODY, nodes=tuple(nodes))


REFUSED: dict[str, tuple[tuple[TensorType, ...], dict[str, Any], str]] = {
    "too few": (TYPES[:1], {}, "a scan of too few inputs; found 1; expected 2 or more"),
    "another length": ((STATE, TensorType((4, 2, 3), F), OTHER), {}, "sequence 0 of a scan; found (4, 2, 3); expected (5, …)"),
    "another type": ((STATE, TensorType((5, 2, 3), F), STATE), {}, "a scan's inputs are not its body's"),
    "changing state": (TYPES, {"body": replace(BODY, outputs=("wide", "next"))}, "a scan's states change their type"),
    "no outputs": (TYPES, {"body": replace(BODY, outputs=())}, "a scan of a body without outputs"),
    "missing": (TYPES, {"body": replace(BODY, outputs=("next", "z"))}, "an output of a scan's body is computed by no node"),
    "order": (TYPES, {"body": with_node(1, inputs=("s", "wide"))}, "node 'step' of a scan: reads a tensor not yet computed"),
    "operator": (TYPES, {"body": with_node(0, op="nonsense")}, "node 'scale' of a scan: unknown operator"),
    "attribute": (TYPES, {"body": with_node(2, attributes={"axis": 7})}, "node 'join' of a scan: axis is out of range"),
    "twice": (TYPES, {"body": with_node(1, outputs=("scaled",))}, "node 'step' of a scan: the outputs of a node"),
    "no graph": (TYPES, {"body": "body"}, "attribute body of scan; found 'body'; expected a graph"),
    "no turns": (TYPES, {"count": 0}, "attribute count of scan; found 0; expected a whole number, at least 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    types, changes, words = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        infer_types("scan", types, {**GIVEN, **changes})
    assert words in str(caught.value)
