"""What each float operator computes, in NumPy: fast enough for whole networks, plain enough to trust.

A kernel takes the inputs (None where an optional one is absent) and all attributes, and returns the output. float32 in and
out. The quantised operators' kernels live with the quantiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vdla.compiler.graph.opset import window_output

Attributes = Mapping[str, Any]
Kernel = Callable[[Sequence[Any], Attributes], np.ndarray]


def pad_image(x: np.ndarray, pads: Sequence[int], value: float) -> np.ndarray:
    """x[N, C, H, W] with (top, left, bottom, right) elements of `value` around each map."""
    if not any(pads):
        return x
    top, left, bottom, right = pads
    n, c, h, w = x.shape
    out = np.full((n, c, top + h + bottom, left + w + right), value, x.dtype)
    out[:, :, top : top + h, left : left + w] = x
    return out


def taps(
    x: np.ndarray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], size: Sequence[int]
) -> Iterator[np.ndarray]:
    """For each kernel position, the view of padded x[N, C, H, W] it meets: [N, C, OH, OW]."""
    (sy, sx), (dy, dx), (oh, ow) = strides, dilations, size
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            yield x[:, :, ky * dy : ky * dy + (oh - 1) * sy + 1 : sy, kx * dx : kx * dx + (ow - 1) * sx + 1 : sx]


def conv2d(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Σ pad(x)·w + b: x[N, C, H, W], w[O, C/groups, KH, KW], b[O]."""
    x, w = inputs[:2]
    groups, kernel = a["groups"], w.shape[2:]
    x = pad_image(x, a["pads"], 0)
    size = [window_output(x.shape[2 + i], kernel[i], a["strides"][i], 0, a["dilations"][i]) for i in (0, 1)]
    views = taps(x, kernel, a["strides"], a["dilations"], size)
    one_each = groups == x.shape[1] == w.shape[0]
    y = depthwise(views, w) if one_each else by_matrix_product(x, views, w, groups, size)
    if len(inputs) > 2 and inputs[2] is not None:
        y += inputs[2].reshape(1, -1, 1, 1)
    return y


def depthwise(views: Iterator[np.ndarray], w: np.ndarray) -> np.ndarray:
    """One multiply-add over the whole map for each kernel position."""
    weights = w.reshape(w.shape[0], -1).T  # [positions, C]
    y, product = None, None
    for view, weight in zip(views, weights, strict=True):
        if y is None:
            y = view * weight.reshape(1, -1, 1, 1)
            product = np.empty_like(y)
        else:
            y += np.multiply(view, weight.reshape(1, -1, 1, 1), out=product)
    assert y is not None
    return y


def by_matrix_product(
    x: np.ndarray, views: Iterator[np.ndarray], w: np.ndarray, groups: int, size: Sequence[int]
) -> np.ndarray:
    """im2col: columns[N, groups, C/groups · KH · KW, OH · OW] under weights[groups, O/groups, C/groups · KH · KW]."""
    n, c = x.shape[:2]
    o, c_group, kh, kw = w.shape
    oh, ow = size
    if (kh, kw) == (1, 1) and (oh, ow) == x.shape[2:]:
        columns = x
    else:
        columns = np.empty((n, c, kh * kw, oh, ow), x.dtype)
        for position, view in enumerate(views):
            columns[:, :, position] = view
    columns = columns.reshape(n, groups, c_group * kh * kw, oh * ow)
    weights = w.reshape(groups, o // groups, c_group * kh * kw)
    return np.matmul(weights, columns).reshape(n, o, oh, ow)


def dense(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """x[…, I] · w[O, I]ᵀ + b[O]."""
    y = inputs[0] @ inputs[1].T
    return y + inputs[2] if len(inputs) > 2 and inputs[2] is not None else y


def batch_norm(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Inference: x over its axis 1 with running statistics."""
    x = inputs[0]
    along = (1, -1) + (1,) * (x.ndim - 2)
    gamma, beta, mean, variance = (p.reshape(along) for p in inputs[1:])
    return (x - mean) * (gamma / np.sqrt(variance + np.float32(a["epsilon"]))) + beta


def sigmoid(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """By tanh, which does not overflow."""
    return np.float32(0.5) * np.tanh(np.float32(0.5) * inputs[0]) + np.float32(0.5)


def softmax(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    exponents = np.exp(inputs[0] - inputs[0].max(axis=a["axis"], keepdims=True))
    return exponents / exponents.sum(axis=a["axis"], keepdims=True)


def pooled_size(x: np.ndarray, a: Attributes) -> tuple[list[int], list[int]]:
    """Output size, and pads grown to what the last windows reach in ceil mode."""
    pads, kernel, strides = list(a["pads"]), a["kernel"], a["strides"]
    size = [window_output(x.shape[2 + i], kernel[i], strides[i], pads[i] + pads[i + 2], ceil=bool(a["ceil"])) for i in (0, 1)]
    for i in (0, 1):
        reach = (size[i] - 1) * strides[i] + kernel[i]
        pads[i + 2] = max(pads[i + 2], reach - x.shape[2 + i] - pads[i])
    return size, pads


def max_pool2d(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Padding never wins: it is -∞, or the lowest int8."""
    x = inputs[0]
    size, pads = pooled_size(x, a)
    padded = pad_image(x, pads, -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
    y = None
    for view in taps(padded, a["kernel"], a["strides"], (1, 1), size):
        y = view.copy() if y is None else np.maximum(y, view, out=y)
    assert y is not None
    return y


def avg_pool2d(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """The mean of each window's real elements; with count_include_pad, of those and of `pads`, but never of ceil mode's."""
    x = inputs[0]
    size, pads = pooled_size(x, a)
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if a["count_include_pad"]:
        ones = pad_image(ones, a["pads"], 1)
        more = [0, 0, pads[2] - a["pads"][2], pads[3] - a["pads"][3]]
        counted = pad_image(ones, more, 0)
    else:
        counted = pad_image(ones, pads, 0)
    total, count = window_sum(pad_image(x, pads, 0), a, size), window_sum(counted, a, size)
    return total / count


def window_sum(padded: np.ndarray, a: Attributes, size: Sequence[int]) -> np.ndarray:
    total = np.zeros((*padded.shape[:2], *size), padded.dtype)
    for view in taps(padded, a["kernel"], a["strides"], (1, 1), size):
        total += view
    return total


def lrn(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """x / (bias + alpha/size · Σ x² over `size` neighbouring channels)^beta."""
    x, size = inputs[0], a["size"]
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    squares = np.pad(x * x, ((0, 0), (before, after), (0, 0), (0, 0)))
    total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    return x / (np.float32(a["bias"]) + np.float32(a["alpha"] / size) * total) ** np.float32(a["beta"])


def pad(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    return np.pad(inputs[0], tuple(zip(a["before"], a["after"], strict=True)), constant_values=a["value"])


def quantize(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """clip(round_half_even(x / scale) + zero_point, -128, 127), float32 → int8."""
    return np.clip(np.rint(inputs[0] / np.float32(a["scale"])) + a["zero_point"], -128, 127).astype(np.int8)


def dequantize(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """(x - zero_point) · scale; a scale for each channel lies along `axis`."""
    scale = np.asarray(a["scale"], np.float32)
    if scale.ndim:
        scale = scale.reshape([-1 if i == a["axis"] else 1 for i in range(inputs[0].ndim)])
    return (inputs[0].astype(np.int32) - np.int32(a["zero_point"])).astype(np.float32) * scale


KERNELS: dict[str, Kernel] = {
    "conv2d": conv2d,
    "dense": dense,
    "matmul": lambda i, a: np.matmul(i[0], i[1]),
    "batch_norm": batch_norm,
    "relu": lambda i, a: np.maximum(i[0], np.float32(0)),
    "clip": lambda i, a: np.clip(i[0], np.float32(a["low"]), np.float32(a["high"])),
    "sigmoid": sigmoid,
    "tanh": lambda i, a: np.tanh(i[0]),
    "hard_sigmoid": lambda i, a: np.clip(np.float32(a["alpha"]) * i[0] + np.float32(a["beta"]), np.float32(0), np.float32(1)),
    "hard_swish": lambda i, a: i[0] * np.clip(i[0] / np.float32(6) + np.float32(0.5), np.float32(0), np.float32(1)),
    "softmax": softmax,
    "add": lambda i, a: i[0] + i[1],
    "sub": lambda i, a: i[0] - i[1],
    "mul": lambda i, a: i[0] * i[1],
    "div": lambda i, a: i[0] / i[1],
    "max_pool2d": max_pool2d,
    "qmax_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "global_avg_pool": lambda i, a: i[0].mean(axis=(2, 3), keepdims=True, dtype=i[0].dtype),
    "lrn": lrn,
    "pad": pad,
    "concat": lambda i, a: np.concatenate(i, axis=a["axis"]),
    "reshape": lambda i, a: i[0].reshape(a["shape"]),
    "transpose": lambda i, a: np.ascontiguousarray(i[0].transpose(a["permutation"])),
    "reduce_mean": lambda i, a: i[0].mean(axis=tuple(a["axes"]), keepdims=bool(a["keepdims"]), dtype=i[0].dtype),
    "quantize": quantize,
    "dequantize": dequantize,
}
