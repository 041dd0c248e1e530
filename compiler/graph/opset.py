"""The graph's operators, once: inputs, attributes with defaults, and output type.

Importers translate to these names, passes rewrite them, every executor (reference, CPU, VDLA) implements them. Shapes are
NCHW; `pads` is (top, left, bottom, right); `strides`, `dilations` and `kernel` are (vertical, horizontal).

Quantised operators compute in integers exactly; `requantise` and `rescale` are those of vdla.isa.semantics and act for each
channel c (axis 1), with int32[C] (or [1], broadcast) constants `bias` and `scale` (packed scale words). Zero points of
inputs are folded into `bias`, and `pad_value` is the input's zero point, so that padding is exact:

    qconv2d     y = requantise(Σ pad(x)·w [+ rescale(residual, residual_bias, residual_scale)], bias, scale, low, high)
    qdense      the same for x[N, I], w[O, I] (no residual)
    qadd        y = requantise(rescale(a, a_bias, a_scale) + rescale(b, b_bias, b_scale), bias, scale, low, high)
    qavg_pool2d y = requantise(Σ over the window of pad(x), bias, scale, low, high)
    qmax_pool2d y = max over the window; padding is -128
    requantize  y = requantise(int32(x), bias, scale, low, high)
    quantize    y = clip(round_half_even(x / scale) + zero_point, -128, 127), float32 → int8
    dequantize  y = (int32(x) - zero_point) · scale, int8 → float32; `scale` may be per channel along `axis`

Layout operators move int8 between the host's NCHW and the accelerator's tiles:

    pack_nchwc    x[N, C, H, W] (or [N, C], taken as H = W = 1) → y[N/batch, C/block, H, W, batch, block], rounded up,
                  zero-filled
    unpack_nchwc  the inverse, to `shape`
    im2col        fold "columns": y[n, j·C + c, h, ow] = pad(x)[n, c, h, ow·stride + j·dilation], horizontal padding only;
                  fold "window":  y[n, (i·KW + j)·C + c, oh, ow] = pad(x)[n, c, oh·stride + i·dilation, ow·stride + j·dilation];
                  for a first layer of few channels, so that kernel columns (or the window) fill the input block
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import TensorType
from vdla.errors import ModelError

Types = tuple[TensorType | None, ...]
Infer = Callable[[Types, Mapping[str, Any]], TensorType]


@dataclass(frozen=True, slots=True)
class Operator:
    """`optional` counts trailing inputs that may be absent; attributes without a default (None) are required."""

    name: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    infer: Infer
    optional: int = 0


def window_output(size: int, kernel: int, stride: int, pad: int, dilation: int = 1, ceil: bool = False) -> int:
    """Positions of a sliding window over `size` elements with `pad` elements of padding in all."""
    span = size + pad - (dilation * (kernel - 1) + 1)
    if span < 0:
        raise ModelError("the window is larger than its padded input", found=kernel, expected=f"at most {size + pad}")
    return (span + stride - 1 if ceil else span) // stride + 1


def _conv2d(types: Types, a: Mapping[str, Any], dtype: str) -> TensorType:
    x, w = _need(types[0]), _need(types[1])
    n, c, h, width = x.shape
    o, c_group, kh, kw = w.shape
    if c_group * a["groups"] != c or o % a["groups"]:
        raise ModelError(
            "channels and groups disagree",
            found=f"input {c}, weight {w.shape}, groups {a['groups']}",
            expected="weight (O, C/groups, KH, KW)",
        )
    (top, left, bottom, right), (dy, dx), (sy, sx) = a["pads"], a["dilations"], a["strides"]
    return TensorType((n, o, window_output(h, kh, sy, top + bottom, dy), window_output(width, kw, sx, left + right, dx)), dtype)


def _pool2d(types: Types, a: Mapping[str, Any]) -> TensorType:
    x = _need(types[0])
    (kh, kw), (sy, sx), (top, left, bottom, right) = a["kernel"], a["strides"], a["pads"]
    ceil = bool(a.get("ceil", False))
    oh, ow = (
        window_output(x.shape[2], kh, sy, top + bottom, ceil=ceil),
        window_output(x.shape[3], kw, sx, left + right, ceil=ceil),
    )
    return TensorType((*x.shape[:2], oh, ow), x.dtype)


def _dense(types: Types, a: Mapping[str, Any], dtype: str) -> TensorType:
    x, w = _need(types[0]), _need(types[1])
    if x.shape[-1] != w.shape[1]:
        raise ModelError("inner dimensions disagree", found=f"{x.shape} and {w.shape}", expected="x (…, I) and w (O, I)")
    return TensorType((*x.shape[:-1], w.shape[0]), dtype)


def _same(types: Types, a: Mapping[str, Any]) -> TensorType:
    return _need(types[0])


def _as(dtype: str) -> Infer:
    return lambda types, a: TensorType(_need(types[0]).shape, dtype)


def _broadcast(types: Types, a: Mapping[str, Any]) -> TensorType:
    x, y = _need(types[0]), _need(types[1])
    try:
        return TensorType(tuple(np.broadcast_shapes(x.shape, y.shape)), x.dtype)
    except ValueError:
        raise ModelError("shapes do not broadcast", found=f"{x.shape} and {y.shape}") from None


def _matmul(types: Types, a: Mapping[str, Any]) -> TensorType:
    x, y = _need(types[0]), _need(types[1])
    if len(x.shape) < 2 or len(y.shape) < 2 or x.shape[-1] != y.shape[-2]:
        raise ModelError("inner dimensions disagree", found=f"{x.shape} and {y.shape}", expected="(…, M, K) and (…, K, N)")
    return TensorType((*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1]), x.dtype)


def _pad(types: Types, a: Mapping[str, Any]) -> TensorType:
    x = _need(types[0])
    return TensorType(tuple(b + s + e for s, b, e in zip(x.shape, a["before"], a["after"], strict=True)), x.dtype)


def _concat(types: Types, a: Mapping[str, Any]) -> TensorType:
    shapes = [_need(t).shape for t in types]
    axis = a["axis"]
    rest = {s[:axis] + s[axis + 1 :] for s in shapes}
    if len(rest) != 1:
        raise ModelError("concatenated shapes disagree off the axis", found=shapes)
    return TensorType((*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :]), _need(types[0]).dtype)


def _reshape(types: Types, a: Mapping[str, Any]) -> TensorType:
    x = _need(types[0])
    if int(np.prod(a["shape"], dtype=np.int64)) != x.elements:
        raise ModelError("element counts disagree", found=f"{x.shape} to {a['shape']}")
    return TensorType(tuple(a["shape"]), x.dtype)


def _transpose(types: Types, a: Mapping[str, Any]) -> TensorType:
    x = _need(types[0])
    return TensorType(tuple(x.shape[i] for i in a["permutation"]), x.dtype)


def _reduce_mean(types: Types, a: Mapping[str, Any]) -> TensorType:
    x = _need(types[0])
    axes = set(a["axes"])
    shape = [1 if i in axes else s for i, s in enumerate(x.shape) if i not in axes or a["keepdims"]]
    return TensorType(tuple(shape), x.dtype)


def _global_pool(types: Types, a: Mapping[str, Any]) -> TensorType:
    x = _need(types[0])
    return TensorType((*x.shape[:2], 1, 1), x.dtype)


def _pack(types: Types, a: Mapping[str, Any]) -> TensorType:
    n, c, h, w = (*_need(types[0]).shape, 1, 1)[:4]
    return TensorType((-(-n // a["batch"]), -(-c // a["block"]), h, w, a["batch"], a["block"]), _need(types[0]).dtype)


def _unpack(types: Types, a: Mapping[str, Any]) -> TensorType:
    return TensorType(tuple(a["shape"]), _need(types[0]).dtype)


def _im2col(types: Types, a: Mapping[str, Any]) -> TensorType:
    x = _need(types[0])
    n, c, h, w = x.shape
    (kh, kw), (sy, sx), (dy, dx), (top, left, bottom, right) = a["kernel"], a["strides"], a["dilations"], a["pads"]
    ow = window_output(w, kw, sx, left + right, dx)
    if a["fold"] == "columns":
        return TensorType((n, kw * c, h, ow), x.dtype)
    return TensorType((n, kh * kw * c, window_output(h, kh, sy, top + bottom, dy), ow), x.dtype)


def _need(t: TensorType | None) -> TensorType:
    if t is None:
        raise ModelError("a required input is absent")
    return t


CONV = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "groups": 1}
POOL = {"kernel": None, "strides": (1, 1), "pads": (0, 0, 0, 0), "ceil": False}
CLIP8 = {"low": -128, "high": 127}

OPERATORS: dict[str, Operator] = {
    op.name: op
    for op in (
        Operator("conv2d", ("x", "w", "b"), CONV, lambda t, a: _conv2d(t, a, "float32"), optional=1),
        Operator("dense", ("x", "w", "b"), {}, lambda t, a: _dense(t, a, "float32"), optional=1),
        Operator("matmul", ("a", "b"), {}, _matmul),
        Operator("batch_norm", ("x", "gamma", "beta", "mean", "variance"), {"epsilon": 1e-5}, _same),
        Operator("relu", ("x",), {}, _same),
        Operator("clip", ("x",), {"low": None, "high": None}, _same),
        Operator("sigmoid", ("x",), {}, _same),
        Operator("tanh", ("x",), {}, _same),
        Operator("hard_sigmoid", ("x",), {"alpha": 0.2, "beta": 0.5}, _same),
        Operator("hard_swish", ("x",), {}, _same),
        Operator("softmax", ("x",), {"axis": None}, _same),
        Operator("add", ("a", "b"), {}, _broadcast),
        Operator("sub", ("a", "b"), {}, _broadcast),
        Operator("mul", ("a", "b"), {}, _broadcast),
        Operator("div", ("a", "b"), {}, _broadcast),
        Operator("max_pool2d", ("x",), POOL, _pool2d),
        Operator("avg_pool2d", ("x",), {**POOL, "count_include_pad": False}, _pool2d),
        Operator("global_avg_pool", ("x",), {}, _global_pool),
        Operator("lrn", ("x",), {"size": None, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}, _same),
        Operator("pad", ("x",), {"before": None, "after": None, "value": 0.0}, _pad),
        Operator("concat", ("x", "..."), {"axis": None}, _concat),
        Operator("reshape", ("x",), {"shape": None}, _reshape),
        Operator("transpose", ("x",), {"permutation": None}, _transpose),
        Operator("reduce_mean", ("x",), {"axes": None, "keepdims": True}, _reduce_mean),
        Operator("quantize", ("x",), {"scale": None, "zero_point": 0}, _as("int8")),
        Operator("dequantize", ("x",), {"scale": None, "zero_point": 0, "axis": 1}, _as("float32")),
        Operator(
            "qconv2d",
            ("x", "w", "bias", "scale", "residual", "residual_bias", "residual_scale"),
            {**CONV, **CLIP8, "pad_value": 0},
            lambda t, a: _conv2d(t, a, "int8"),
            optional=3,
        ),
        Operator("qdense", ("x", "w", "bias", "scale"), CLIP8, lambda t, a: _dense(t, a, "int8")),
        Operator("qadd", ("a", "b", "a_bias", "a_scale", "b_bias", "b_scale", "bias", "scale"), CLIP8, _same),
        Operator("qmax_pool2d", ("x",), POOL, _pool2d),
        Operator("qavg_pool2d", ("x", "bias", "scale"), {**POOL, **CLIP8, "pad_value": 0}, _pool2d),
        Operator("requantize", ("x", "bias", "scale"), CLIP8, _same),
        Operator("pack_nchwc", ("x",), {"batch": None, "block": None}, _pack),
        Operator("unpack_nchwc", ("x",), {"shape": None}, _unpack),
        Operator(
            "im2col",
            ("x",),
            {"kernel": None, "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "pad_value": 0, "fold": None},
            _im2col,
        ),
    )
}


def infer_type(op: str, types: Types, attributes: Mapping[str, Any]) -> TensorType:
    """The output type of `op`. Raises `ModelError` when the operator is unknown or the inputs do not fit it."""
    if op not in OPERATORS:
        raise ModelError("unknown operator", found=op, expected=", ".join(sorted(OPERATORS)))
    return OPERATORS[op].infer(types, attributes)


def with_defaults(op: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """All attributes of `op`. Raises `ModelError` on an unknown one or a required one missing."""
    known = OPERATORS[op].attributes
    if unknown := set(attributes) - set(known):
        raise ModelError(f"{op} has no attribute {sorted(unknown)}", expected=", ".join(sorted(known)) or "none")
    merged = {**known, **attributes}
    if missing := [k for k, v in merged.items() if v is None]:
        raise ModelError(f"{op} needs attribute {missing}")
    return merged


def arity(op: str) -> tuple[int, int]:
    """Fewest and most inputs; most is large for a variadic operator."""
    inputs = OPERATORS[op].inputs
    if inputs[-1] == "...":
        return 1, 1 << 30
    return len(inputs) - OPERATORS[op].optional, len(inputs)
