"""Attention and RotaryEmbedding.

Attention is two products of matrices for each head, which run as the other products do; what stands between them, scale, cap
and masks, rides on the first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import inf, sqrt

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.inputs import element_type
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.operator import BOOL, FLOAT
from vdla.errors import ModelError

MODES = 4
"""Of qk_matmul_output_mode: the fourth output is the raw scores, the capped, the masked ones, or the probabilities."""
PADDED_MASKS = 24
"""The opset from which a mask may be shorter than the keys; before, a length of 1 is broadcast."""


@dataclass(frozen=True)
class Masking:
    """Which keys a query may attend to. Queries stand at `offset` + 0, 1, … among the keys, or `behind` - queries + 0, 1, …

    behind: for each instance how many keys there are in truth. windows: how many keys to the left and to the right, -1 for all.
    """

    queries: int
    keys: int
    offset: int
    causal: bool
    windows: tuple[int, int]
    behind: Value | None

    def allowed(self, builder: GraphBuilder) -> list[Value]:
        """Conditions of shapes that broadcast to (B, heads, queries, keys)."""
        left, right = self.windows
        right = 0 if self.causal else right  # the narrower of both
        query, key = np.ogrid[: self.queries, : self.keys]
        if self.behind is None:
            place = query + self.offset
            mask = np.ones((self.queries, self.keys), bool)
            mask &= (key <= place + right) if right >= 0 else True
            mask &= (key >= place - left) if left >= 0 else True
            return [] if mask.all() else [builder.constant(mask)]
        count = builder.emit("reshape", [self.behind], suffix="counts", shape=(self.behind.shape[0], 1, 1, 1))
        found = [builder.emit("less", [integers(builder, np.arange(self.keys)), count], suffix="padding")]
        distance = key - query + self.queries  # of a key from its query is this less the count
        if right >= 0:
            found.append(builder.emit("less_or_equal", [integers(builder, distance - right), count], suffix="right"))
        if left >= 0:
            found.append(builder.emit("less_or_equal", [count, integers(builder, distance + left)], suffix="left"))
        return found


def integers(builder: GraphBuilder, array: np.ndarray) -> Value:
    return builder.constant(np.ascontiguousarray(array, np.int64))


def attention(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    q, k, v = (node.input(i, FLOAT) for i in range(3))
    if len({len(t.shape) for t in (q, k, v)}) != 1 or len(q.shape) not in (3, 4):
        found = f"{q.shape}, {k.shape} and {v.shape}"
        raise ModelError(
            "Q, K and V do not fit each other", found=found, expected="all (B, heads, S, D) or all (B, S, heads · D)"
        )
    flat = len(q.shape) == 3
    query_heads, heads = node.int_("q_num_heads", 0), node.int_("kv_num_heads", 0)
    q = with_heads(builder, node, q, query_heads)
    k, v = (with_heads(builder, node, t, heads) for t in (k, v))
    past = node.optional(4, FLOAT), node.optional(5, FLOAT)
    offset = past[0].shape[2] if past[0] is not None and len(past[0].shape) == 4 else 0
    k, v = (extended(builder, before, t) for before, t in zip(past, (k, v), strict=True))
    check_shapes(q, k, v)
    wide = [widened(builder, t) for t in (q, k, v)]
    y, outputs = weighted(builder, node, wide, offset)
    y = builder.converted(y, q.dtype)
    if flat:
        y = builder.emit("transpose", [y], suffix="positions", permutation=(0, 2, 1, 3))
        y = builder.emit("reshape", [y], suffix="flat", shape=(*y.shape[:2], y.shape[2] * y.shape[3]))
    mode = node.int_("qk_matmul_output_mode", 0)
    if mode not in range(MODES):
        raise ModelError("unsupported qk_matmul_output_mode of Attention", found=mode, expected=f"0 to {MODES - 1}")
    return y, k, v, builder.converted(outputs[mode], q.dtype)


def widened(builder: GraphBuilder, x: Value) -> Value:
    """Of narrow floats, the whole is computed in float32 and rounded once."""
    return x if x.dtype in FLOAT else builder.converted(x, "float32")


def weighted(builder: GraphBuilder, node: OnnxNode, operands: list[Value], offset: int) -> tuple[Value, tuple[Value, ...]]:
    """The values[B, heads, S, D] weighed by the attention they get; and the intermediates, by mode. operands: q, k, v."""
    q, k, v = operands
    raw, scores = scored(builder, node, q, k)
    behind = node.optional(6, ("int64",))
    windows = node.int_("left_window_size", -1), node.int_("right_window_size", -1)
    causal = node.int_("is_causal", 0) != 0
    masking = Masking(q.shape[2], k.shape[2], 0 if behind else offset, causal, windows, behind)
    masked = apply_masks(builder, node, scores, masking)
    op = "softmax" if masked is scores else "masked_softmax"
    precision = node.int_("softmax_precision", 0)
    exact = builder.converted(masked, element_type(precision)) if precision else masked
    probabilities = builder.converted(builder.emit(op, [exact], suffix="probabilities", axis=3), q.dtype)
    y = grouped_product(builder, probabilities, builder.converted(v, q.dtype), "weighted")
    return y, (raw, scores, masked, probabilities)


def with_heads(builder: GraphBuilder, node: OnnxNode, x: Value, heads: int) -> Value:
    """[B, S, heads · D] → [B, heads, S, D]."""
    if len(x.shape) == 4:
        if heads not in (0, x.shape[1]):
            raise ModelError("the number of heads contradicts the input", found=heads, expected=str(x.shape[1]))
        return x
    if heads < 1 or x.shape[2] % heads:
        raise ModelError(f"the number of heads does not divide the width of {node.op}", found=f"{heads} of {x.shape}")
    split = builder.emit("reshape", [x], suffix="heads", shape=(*x.shape[:2], heads, x.shape[2] // heads))
    return builder.emit("transpose", [split], suffix="heads", permutation=(0, 2, 1, 3))


def extended(builder: GraphBuilder, past: Value | None, new: Value) -> Value:
    """What came before, and then the new keys or values."""
    if past is None or 0 in past.shape:
        return new
    return builder.emit("concat", [past, new], suffix="present", axis=2)


def check_shapes(q: Value, k: Value, v: Value) -> None:
    """As many keys as values, vectors of one width, and query heads that share those of the keys evenly."""
    fits = q.shape[3] == k.shape[3] and k.shape[:3] == v.shape[:3] and k.shape[0] == q.shape[0]
    if not fits or q.shape[1] % k.shape[1]:
        found = f"{q.shape}, {k.shape} and {v.shape}"
        raise ModelError("Q, K and V do not fit each other", found=found, expected="(B, heads, S, D), heads of Q a multiple")


def scored(builder: GraphBuilder, node: OnnxNode, q: Value, k: Value) -> tuple[Value, Value]:
    """The scores[B, heads, S, keys] before and after the cap. Each operand bears half of the scale."""
    scale = node.float_("scale", 0.0) if node.given("scale") else 1 / sqrt(q.shape[3])
    if scale < 0:
        raise ModelError("scale of Attention is negative", found=scale)
    transposed = builder.emit("transpose", [k], suffix="keys", permutation=(0, 1, 3, 2))
    factor = builder.scalar(sqrt(scale), q.dtype)
    q, transposed = (builder.emit("mul", [t, factor], suffix="scaled") for t in (q, builder.converted(transposed, q.dtype)))
    raw = grouped_product(builder, q, transposed, "scores")
    cap = node.float_("softcap", 0.0)
    if cap <= 0:
        return raw, raw
    part = builder.emit("tanh", [builder.emit("div", [raw, builder.scalar(cap, raw.dtype)], suffix="capped")], suffix="capped")
    capped = builder.emit("mul", [part, builder.scalar(cap, raw.dtype)], suffix="capped")
    return raw, capped


def grouped_product(builder: GraphBuilder, a: Value, b: Value, suffix: str) -> Value:
    """a[B, heads, S, K] · b[B, heads / G, K, N]: heads that share one of b are more rows of one product."""
    batch, heads, rows, depth = a.shape
    shared = b.shape[1]
    if heads == shared:
        return builder.emit("matmul", [a, b], suffix=suffix)
    tall = builder.emit("reshape", [a], suffix=suffix, shape=(batch, shared, heads // shared * rows, depth))
    product = builder.emit("matmul", [tall, b], suffix=suffix)
    return builder.emit("reshape", [product], suffix=suffix, shape=(batch, heads, rows, b.shape[3]))


def apply_masks(builder: GraphBuilder, node: OnnxNode, scores: Value, masking: Masking) -> Value:
    """The scores plus a mask of floats, and -∞ where a condition does not hold."""
    conditions = masking.allowed(builder)
    if node.has(3):
        mask = fitted_mask(builder, node, node.input(3, (*FLOAT, *BOOL)), scores.shape)
        if mask.dtype == "bool":
            conditions.append(mask)
        else:
            scores = builder.emit("add", [scores, builder.converted(mask, scores.dtype)], suffix="masked")
    if not conditions:
        return scores
    condition = reduce(lambda a, b: builder.emit("and", [a, b], suffix="mask"), conditions)
    return builder.emit("where", [condition, scores, builder.scalar(-inf, scores.dtype)], suffix="masked")


def fitted_mask(builder: GraphBuilder, node: OnnxNode, mask: Value, shape: tuple[int, ...]) -> Value:
    """A mask that broadcasts to the scores' `shape`; keys that it is too short for are not attended to."""
    short = shape[-1] - mask.shape[-1] if mask.shape else 0
    if short > 0 and (node.opset >= PADDED_MASKS or mask.shape[-1] != 1):
        before, after = (0,) * len(mask.shape), (*[0] * (len(mask.shape) - 1), short)
        value = 0.0 if mask.dtype == "bool" else -inf
        mask = builder.emit("pad", [mask], suffix="mask", before=before, after=after, value=value)
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ModelError("attn_mask does not broadcast to the scores", found=mask.shape, expected=str(shape))
    return mask


def rotary_embedding(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Cosines and sines are those of every position, or looked up by position_ids."""
    x, cos, sin = (node.input(i, FLOAT) for i in range(3))
    positions = node.optional(3, ("int64",))
    heads, interleaved = node.int_("num_heads", 0), node.int_("interleaved", 0) != 0
    if len(x.shape) not in (3, 4):
        raise ModelError("X of RotaryEmbedding has no heads", found=x.shape, expected="(B, heads, S, D) or (B, S, heads · D)")
    y = with_heads(builder, node, x, heads if len(x.shape) == 3 else 0)
    if positions is not None:
        cos, sin = (builder.emit("gather", [t, positions], suffix="angles", axis=0) for t in (cos, sin))
    rotated = node.int_("rotary_embedding_dim", 0) or y.shape[3]
    y = builder.emit("rotary_embedding", [y, cos, sin], rotated=rotated, interleaved=interleaved)
    if len(x.shape) == 4:
        return y
    y = builder.emit("transpose", [y], suffix="positions", permutation=(0, 2, 1, 3))
    return builder.emit("reshape", [y], suffix="flat", shape=x.shape)


IMPORTERS: dict[str, Importer] = {"Attention": attention, "RotaryEmbedding": rotary_embedding}
