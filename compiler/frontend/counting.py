"""TfIdfVectorizer of integers: how often each of a list of n-grams occurs in a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.slicing import emit_slice
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError

MODES = ("TF", "IDF", "TFIDF")


@dataclass(frozen=True)
class Grams:
    """Those of one length: items[G, n], and the column of the result that each counts in."""

    items: np.ndarray
    columns: np.ndarray


def tf_idf_vectorizer(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Counts (TF), whether there are any (IDF), or counts (TFIDF), the last two times a weight for each column."""
    if node.given("pool_strings"):
        raise ModelError(
            f"{node.op} of strings is not supported", hint="compute on strings before the model, which gets numbers"
        )
    x = node.input(0, ("int32", "int64"))
    mode, skips = node.string("mode", ""), node.int_("max_skip_count", 0)
    if mode not in MODES or skips < 0 or len(x.shape) not in (1, 2):
        found = f"mode {mode}, max_skip_count {skips}, an input of {len(x.shape)} dimensions"
        raise ModelError(f"attributes of {node.op}", found=found, expected=f"mode {' or '.join(MODES)}, rows of items")
    grams, size = read_grams(node)
    rows = builder.converted(x, "int64")
    rows = rows if len(x.shape) == 2 else builder.emit("reshape", [rows], suffix="row", shape=(1, *x.shape))
    counts = [counted(builder, rows, each, skips) for each in grams]
    places = np.zeros((size, sum(len(each.columns) for each in grams)), np.float32)
    places[np.concatenate([each.columns for each in grams]), np.arange(places.shape[1])] = 1
    joined = counts[0] if len(counts) == 1 else builder.emit("concat", counts, suffix="counts", axis=1)
    total = builder.emit("dense", [joined, builder.constant(places)], suffix="columns")
    weights = np.array(node.floats("weights") or (1.0,) * size, np.float32)
    if weights.shape != (size,):
        raise ModelError(f"weights of {node.op}", found=len(weights), expected=str(size))
    if mode == "IDF":
        total = builder.converted(builder.emit("greater", [total, builder.scalar(0, "float32")], suffix="any"), "float32")
    if mode != "TF":
        total = builder.emit("mul", [total, builder.constant(weights)], suffix="weighted")
    return builder.emit("reshape", [total], shape=(*x.shape[:-1], size))


def read_grams(node: OnnxNode) -> tuple[list[Grams], int]:
    """The n-grams by length, as far as they are wanted, and how many columns there are. Of equal ones the last counts."""
    pool, starts, columns = (node.ints(name) or () for name in ("pool_int64s", "ngram_counts", "ngram_indexes"))
    shortest, longest = node.int_("min_gram_length", 1), node.int_("max_gram_length", 1)
    found, first = [], 0
    for length, (start, end) in enumerate(pairwise((*starts, len(pool))), start=1):
        if not 0 <= start <= end <= len(pool) or (end - start) % length:
            raise ModelError(f"ngram_counts of {node.op}", found=starts, expected=f"whole n-grams in a pool of {len(pool)}")
        items = np.array(pool[start:end], np.int64).reshape(-1, length)
        last = {tuple(gram): column for gram, column in zip(items.tolist(), columns[first:], strict=False)}
        first += len(items)
        if shortest <= length <= longest and last:
            found.append(Grams(np.array(list(last), np.int64), np.array(list(last.values()), np.int64)))
    if len(columns) != first or min(columns, default=0) < 0 or not found:
        raise ModelError(f"ngram_indexes of {node.op}", found=len(columns), expected=f"a column for each of {first} n-grams")
    return found, max(columns) + 1


def counted(builder: GraphBuilder, x: Value, grams: Grams, skips: int) -> Value:
    """x[N, C] → float32[N, G]: occurrences with up to `skips` items between two of a gram, as many between all of them."""
    (rows, width), (count, length) = x.shape, grams.items.shape
    totals = []
    for step in range(1, skips + 2 if length > 1 else 2):
        places = width - (length - 1) * step
        if places < 1:
            break
        equal = []
        for k in range(length):
            part = emit_slice(builder, x, [slice(0, rows, 1), slice(k * step, k * step + places, 1)], suffix="items")
            raised = builder.emit("reshape", [part], suffix="items", shape=(rows, places, 1))
            equal.append(builder.emit("equal", [raised, builder.constant(grams.items[:, k].copy())], suffix="equal"))
        every = reduce(lambda a, b: builder.emit("and", [a, b], suffix="all"), equal)
        ones = builder.converted(every, "float32")
        totals.append(builder.emit("reduce_sum", [ones], suffix="count", axes=(1,), keepdims=False))
    if not totals:
        return builder.constant(np.zeros((rows, count), np.float32))
    return reduce(lambda a, b: builder.emit("add", [a, b], suffix="count"), totals)


IMPORTERS: dict[str, Importer] = {"TfIdfVectorizer": tf_idf_vectorizer}
