"""Operators of the domain ai.onnx.ml on numbers: forests of decision trees, look-ups, thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.operator import ANY, FLOAT, NUMBER
from vdla.errors import ModelError

AVERAGE, SUM, MIN, MAX = range(4)
COMPARISONS = ("less_or_equal", "less", "greater_or_equal", "greater", "equal", "not_equal")
MEMBER = len(COMPARISONS)
"""The mode of a node that asks whether the feature is one of a set."""


@dataclass(frozen=True)
class Forest:
    """Nodes, then leaves, by one number each; a leaf is its own successor. Arrays are by node but for `roots`, by tree.

    members: of each node that has a set, its elements, filled up with NaN. weights[node, target]: what a leaf gives. depth: the
    most nodes on a way.
    """

    roots: np.ndarray
    features: np.ndarray
    splits: np.ndarray
    modes: np.ndarray
    missing: np.ndarray
    successors: tuple[np.ndarray, np.ndarray]
    members: np.ndarray
    weights: np.ndarray
    depth: int


def array_feature_extractor(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Columns of the last axis; a vector is a row."""
    x, y = node.input(0, ANY), node.input(1, ("int64",))
    indices = builder.emit("reshape", [y], suffix="columns", shape=(y.type.elements,))
    rows = x if len(x.shape) > 1 else builder.emit("reshape", [x], suffix="row", shape=(1, *x.shape))
    return builder.emit("gather", [rows, indices], axis=len(rows.shape) - 1)


def binarizer(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, NUMBER)
    above = builder.emit("greater", [x, builder.scalar(node.float_("threshold", 0.0), x.dtype)], suffix="above")
    return builder.converted(above, x.dtype)


def label_encoder(builder: GraphBuilder, node: OnnxNode) -> Value:
    """The value that stands beside the key that x is, or the default."""
    x = node.input(0, NUMBER)
    keys, values, default = (table(node, name) for name in ("keys", "values", "default"))
    if keys is None or values is None or keys.shape != values.shape or keys.ndim != 1 or len(np.unique(keys)) < keys.size:
        shapes = [None if t is None else t.shape for t in (keys, values)]
        raise ModelError(f"keys and values of {node.op}", found=shapes, expected="as many different keys as values")
    if default is None:
        default = np.array(-1 if values.dtype.kind in "iu" else -0.0)
    if str(keys.dtype) != x.dtype:
        raise ModelError(f"keys of {node.op}", found=str(keys.dtype), expected=f"{x.dtype}, the input's")
    raised = builder.emit("reshape", [x], suffix="raised", shape=(*x.shape, 1))
    found = equal(builder, raised, builder.constant(keys))
    counted = builder.converted(found, "int32")
    place = builder.emit("arg_max", [counted], suffix="place", axis=-1, keepdims=False)
    value = builder.emit("gather", [builder.constant(values), place], suffix="value", axis=0)
    known = builder.emit("reduce_max", [counted], suffix="known", axes=(len(x.shape),), keepdims=False)
    fallback = builder.constant(default.reshape(()).astype(values.dtype))
    return builder.emit("where", [builder.converted(known, "bool"), value, fallback])


def table(node: OnnxNode, name: str) -> np.ndarray | None:
    """An attribute in whichever form the model has it; None without one. Raises `ModelError` for strings."""
    if any(node.given(f"{name}_string{s}") for s in ("", "s")):
        raise ModelError(
            f"{node.op} of strings is not supported", hint="compute on strings before the model, which gets numbers"
        )
    tensor, integers, floats = node.tensor(f"{name}_tensor"), node.ints(f"{name}_int64s"), node.floats(f"{name}_floats")
    if tensor is not None:
        return tensor if tensor.ndim else tensor.reshape(1) if name != "default" else tensor
    if node.given(f"{name}_int64"):
        return np.array(node.int_(f"{name}_int64", 0))
    if node.given(f"{name}_float"):
        return np.array(node.float_(f"{name}_float", 0.0), np.float32)
    given: Any = integers if integers is not None else floats
    return None if given is None else np.array(given, np.int64 if integers is not None else np.float32)


def equal(builder: GraphBuilder, x: Value, y: Value) -> Value:
    """NaN is NaN."""
    same = builder.emit("equal", [x, y], suffix="equal")
    if x.dtype not in FLOAT:
        return same
    nans = [builder.emit("is_nan", [v], suffix="nan") for v in (x, y)]
    return builder.emit("or", [same, builder.emit("and", nans, suffix="nan")], suffix="equal")


def tree_ensemble(builder: GraphBuilder, node: OnnxNode) -> Value:
    """All trees for all rows at once, one decision after another."""
    x = node.input(0, FLOAT)
    if len(x.shape) != 2:
        raise ModelError(f"{node.op} of what is no table", found=x.shape, expected="(rows, features)")
    node.require("post_transform", node.int_("post_transform", 0), 0)
    node.tensor("nodes_hitrates")
    aggregate = node.int_("aggregate_function", SUM)
    forest = read_forest(node, x.shape[1], x.type.numpy_dtype, aggregate)
    place = builder.constant(np.broadcast_to(forest.roots, (x.shape[0], forest.roots.size)).copy())
    for _ in range(forest.depth):
        place = decided(builder, x, forest, place)
    weights = builder.emit("gather", [builder.constant(forest.weights), place], suffix="weights", axis=0)
    fold = {MIN: "reduce_min", MAX: "reduce_max"}.get(aggregate, "reduce_sum")
    return builder.emit(fold, [weights], axes=(1,), keepdims=False)


def decided(builder: GraphBuilder, x: Value, forest: Forest, place: Value) -> Value:
    """The nodes [rows, trees] to which the decisions of the nodes `place` lead."""

    def of_node(values: np.ndarray, name: str) -> Value:
        return builder.emit("gather", [builder.constant(values), place], suffix=name, axis=0)

    feature = builder.emit("gather_elements", [x, of_node(forest.features, "feature")], suffix="value", axis=1)
    split, modes = of_node(forest.splits, "split"), of_node(forest.modes, "mode")
    truth: Value | None = None
    for mode in np.unique(forest.modes):
        if mode == MEMBER:
            raised = builder.emit("reshape", [feature], suffix="raised", shape=(*feature.shape, 1))
            same = builder.emit("equal", [raised, of_node(forest.members, "members")], suffix="member")
            counted = builder.converted(same, "int32")
            outcome = builder.converted(builder.emit("reduce_max", [counted], suffix="any", axes=(2,), keepdims=False), "bool")
        else:
            name = COMPARISONS[mode]
            outcome = builder.emit(name.removeprefix("not_"), [feature, split], suffix="outcome")
            outcome = builder.emit("not", [outcome], suffix="outcome") if name == "not_equal" else outcome
        here = builder.emit("equal", [modes, builder.scalar(int(mode), "int64")], suffix="here")
        truth = outcome if truth is None else builder.emit("where", [here, outcome, truth], suffix="outcome")
    assert truth is not None
    if forest.missing.any():
        absent = [builder.emit("is_nan", [feature], suffix="missing"), of_node(forest.missing, "missing")]
        truth = builder.emit("or", [truth, builder.emit("and", absent, suffix="missing")], suffix="outcome")
    successors = [of_node(values, "next") for values in forest.successors]
    return builder.emit("where", [truth, *successors], suffix="next")


def read_forest(node: OnnxNode, width: int, dtype: np.dtype, aggregate: int) -> Forest:
    """The attributes, checked: every way leads to a leaf. Raises `ModelError`."""
    names = ("featureids", "truenodeids", "falsenodeids", "trueleafs", "falseleafs")
    features, true, false, true_leaf, false_leaf = (np.array(node.ints(f"nodes_{name}") or ()) for name in names)
    splits, modes = node.tensor("nodes_splits"), node.tensor("nodes_modes")
    leaves, targets = node.tensor("leaf_weights"), np.array(node.ints("leaf_targetids") or ())
    roots, count = np.array(node.ints("tree_roots") or ()), node.int_("n_targets", 0)
    missing = np.array(node.ints("nodes_missing_value_tracks_true") or [0] * len(features), bool)
    members = node.tensor("membership_values")
    by_node = (features, true, false, true_leaf, false_leaf, splits, modes, missing)
    if (
        splits is None
        or modes is None
        or leaves is None
        or not roots.size
        or len({len(a) for a in by_node if a is not None}) > 1
    ):
        raise ModelError(
            f"attributes of {node.op} are missing, or differ in length", found=[a if a is None else a.shape for a in by_node]
        )
    nodes = len(features)
    succeed = tuple(np.where(leaf, nodes + n, n) for leaf, n in ((true_leaf, true), (false_leaf, false)))
    outside = any((ids < 0).any() or (ids >= limit).any() for ids, limit in (
        (features, width), (roots, nodes), (true, np.where(true_leaf, len(leaves), nodes)),
        (false, np.where(false_leaf, len(leaves), nodes)), (targets, count), (modes, MEMBER + 1),
    ))  # fmt: skip
    if outside or targets.shape != leaves.shape or aggregate not in (AVERAGE, SUM, MIN, MAX):
        raise ModelError(
            f"attributes of {node.op} name what there is not", expected="nodes, leaves, features, targets that exist"
        )
    order, depth = walk(node, roots, succeed, nodes)
    sets = read_sets(node, [n for n in order if modes[n] == MEMBER], nodes + len(leaves), members, dtype)
    empty = {MIN: np.finfo(dtype).max, MAX: np.finfo(dtype).min}.get(aggregate, 0)
    weights = np.full((nodes + len(leaves), count), empty, dtype)
    weights[nodes + np.arange(len(leaves)), targets] = leaves / (len(roots) if aggregate == AVERAGE else 1)
    rest = np.zeros(len(leaves), np.int64)
    itself = nodes + np.arange(len(leaves))
    return Forest(
        roots,
        np.concatenate([features, rest]),
        np.concatenate([splits.astype(dtype), rest.astype(dtype)]),
        np.concatenate([modes.astype(np.int64), np.full(len(leaves), modes[0], np.int64)]),
        np.concatenate([missing, rest.astype(bool)]),
        (np.concatenate([succeed[0], itself]), np.concatenate([succeed[1], itself])),
        sets,
        weights,
        depth,
    )


def walk(node: OnnxNode, roots: np.ndarray, succeed: tuple[np.ndarray, ...], nodes: int) -> tuple[list[int], int]:
    """The nodes in the order in which they are met, true branches first, and the most of them on a way. Raises `ModelError`."""
    order: list[int] = []
    deepest = 0
    pending: list[tuple[int, int]] = [(int(root), 1) for root in reversed(roots)]
    while pending:
        here, depth = pending.pop()
        if here >= nodes:
            continue
        if depth > nodes or len(order) > nodes * len(roots):
            raise ModelError(f"a tree of {node.op} leads back to itself", found=here)
        order.append(here)
        deepest = max(deepest, depth)
        pending += [(int(succeed[1][here]), depth + 1), (int(succeed[0][here]), depth + 1)]
    return order, deepest


def read_sets(node: OnnxNode, having: list[int], rows: int, values: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    """[rows, members]: each set ends in NaN in the attribute, and belongs to the next node that has one."""
    found: list[list[float]] = list(parts(values)) if values is not None else []
    if len(found) != len(having):
        raise ModelError(f"membership_values of {node.op}", found=f"{len(found)} sets", expected=f"{len(having)}")
    members = np.full((rows, max(map(len, found), default=1) or 1), np.nan, dtype)
    for index, elements in zip(having, found, strict=True):
        members[index, : len(elements)] = elements
    return members


def parts(values: np.ndarray) -> Iterator[list[float]]:
    """The stretches before each NaN."""
    ends = np.flatnonzero(np.isnan(values))
    for start, end in zip([0, *(ends + 1)], ends, strict=False):
        yield [float(v) for v in values[start:end]]


IMPORTERS: dict[str, Importer] = {
    "ArrayFeatureExtractor": array_feature_extractor,
    "Binarizer": binarizer,
    "LabelEncoder": label_encoder,
    "TreeEnsemble": tree_ensemble,
}
