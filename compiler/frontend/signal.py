"""Fourier transforms as products with constant matrices; windows and mel weights, which are constants."""

from __future__ import annotations

from math import isqrt

import numpy as np
from onnx import TensorProto

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.inputs import element_type
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.element_types import numpy_dtype
from vdla.errors import ModelError

DIRECT = 1024
"""Longest transform by one matrix. A longer one whose length has factors is made of two shorter ones: Cooley and Tukey,
"An algorithm for the machine calculation of complex Fourier series" (1965)."""
NUMBERS = ("float32", "float64", "float16", "bfloat16", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))


def dft(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Along an axis of x[…, 1] (real) or x[…, 2] (complex); the axis is an attribute before opset 20, an input from then on."""
    x = node.input(0)
    rank = len(x.shape)
    if rank < 2 or x.shape[-1] not in (1, 2):
        raise ModelError(
            f"{node.op} of what is no signal", found=x.shape, expected="(…, 1) of real or (…, 2) of complex numbers"
        )
    given = int(node.number(2, "axis", -2)) if node.opset >= 20 else node.int_("axis", 1)
    axis = node.axis(given, rank)
    if axis == rank - 1:
        raise ModelError(f"{node.op} along the axis of real and imaginary parts", found=given)
    inverse, onesided = node.int_("inverse", 0) != 0, node.int_("onesided", 0) != 0
    if onesided and x.shape[-1] != (2 if inverse else 1):
        expected = "complex frequencies" if inverse else "real numbers"
        raise ModelError(f"onesided {node.op}", found=x.shape, expected=f"{expected}: half of the spectrum says it all")
    default = 2 * (x.shape[axis] - 1) if inverse and onesided else x.shape[axis]
    length = int(node.number(1, "dft_length", default))
    if length < 1:
        raise ModelError(f"dft_length of {node.op}", found=length, expected="1 or more")
    last = (*(d for d in range(rank) if d not in (axis, rank - 1)), axis, rank - 1)
    signal = builder.emit("transpose", [x], suffix="transpose", permutation=last)
    spectrum = transformed(builder, signal, length, inverse, onesided)
    if inverse:
        spectrum = builder.emit("mul", [spectrum, builder.scalar(1 / length, x.dtype)], suffix="scaled")
    back = tuple(last.index(d) for d in range(rank))
    return builder.emit("transpose", [spectrum], suffix="transpose", permutation=back)


def transformed(builder: GraphBuilder, x: Value, length: int, inverse: bool, onesided: bool) -> Value:
    """The transform of x[…, L, 1 or 2] along L, cut or filled with zeros to `length`; an inverse is not yet divided by it."""
    needed = length // 2 + 1 if inverse and onesided else length
    if x.shape[-2] > needed:
        sizes = (needed, x.shape[-2] - needed)
        x, _ = builder.emit_all("split", [x], suffix="cut", axis=len(x.shape) - 2, sizes=sizes)
    if (a := first_factor(length, x.shape[-1])) > 1 and not (inverse and onesided):
        spectrum = by_factors(builder, x, (a, length // a), inverse)
        if not onesided:
            return spectrum
        sizes = (length // 2 + 1, length - length // 2 - 1)
        return builder.emit_all("split", [spectrum], suffix="half", axis=len(x.shape) - 2, sizes=sizes)[0]
    if inverse and onesided:
        return through(builder, x, real_matrix(length, x.shape[-2]), 1)
    return directly(builder, x, length, inverse, length // 2 + 1 if onesided else length)


def directly(builder: GraphBuilder, x: Value, length: int, inverse: bool, frequencies: int) -> Value:
    """By one matrix, or where that would be too large by factors."""
    if length > DIRECT and frequencies == length and (a := factor(length)) > 1:
        return by_factors(builder, x, (a, length // a), inverse)
    return through(builder, x, complex_matrix(length, x.shape[-2], frequencies, x.shape[-1], inverse), 2)


def through(builder: GraphBuilder, x: Value, matrix: np.ndarray, parts: int) -> Value:
    """x[…, L, c] · matrix[L·c, K·parts] as […, K, parts]."""
    *batch, count, channels = x.shape
    flat = builder.emit("reshape", [x], suffix="flat", shape=(*batch, count * channels))
    weights = builder.constant(np.ascontiguousarray(matrix.T).astype(x.type.numpy_dtype), builder.fresh(f"{x.name}.fourier"))
    product = builder.emit("dense", [flat, weights], suffix="product")
    return builder.emit("reshape", [product], suffix="parts", shape=(*batch, matrix.shape[1] // parts, parts))


def turns(length: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """2π · row · column / length, the product taken modulo `length` first, so that large ones keep their precision."""
    return 2 * np.pi / length * (np.outer(rows, columns) % length)


def complex_matrix(length: int, count: int, frequencies: int, channels: int, inverse: bool) -> np.ndarray:
    """[count·channels, frequencies·2]: e^∓(2πi·n·k/length), the sign being + for the inverse."""
    angles = turns(length, np.arange(count), np.arange(frequencies)) * (1 if inverse else -1)
    real, imaginary = np.cos(angles), np.sin(angles)
    rows = [np.stack([real, imaginary], -1), np.stack([-imaginary, real], -1)][:channels]
    matrix = np.stack(rows, 1)
    return matrix.reshape(count * channels, frequencies * 2)


def real_matrix(length: int, count: int) -> np.ndarray:
    """[count·2, length]: half of a spectrum that is conjugate symmetric back to real numbers; each frequency but 0 and length/2
    stands for itself and its mirror image."""
    angles = turns(length, np.arange(count), np.arange(length))
    weight = np.where((np.arange(count) == 0) | (2 * np.arange(count) == length), 1.0, 2.0)[:, None]
    matrix = np.stack([weight * np.cos(angles), -weight * np.sin(angles)], 1)
    return matrix.reshape(count * 2, length)


def first_factor(length: int, channels: int) -> int:
    """What a transform is divided by; 1 where it is done by one matrix. A complex one of even length takes half the work so."""
    if length > DIRECT:
        return factor(length)
    return 2 if channels == 2 and length % 2 == 0 and length > 2 else 1


def factor(length: int) -> int:
    """The greatest divisor of `length` that is no greater than its square root."""
    return next(d for d in range(isqrt(length), 0, -1) if length % d == 0)


def by_factors(builder: GraphBuilder, x: Value, factors: tuple[int, int], inverse: bool) -> Value:
    """length = a·b: with n = b·i + j and k = p + a·q,

        X[k] = Σ_j e^(-2πi·j·p/length) · (Σ_i x[n] · e^(-2πi·i·p/a)) · e^(-2πi·j·q/b)

    that is b transforms of length a, a factor for each element, and a transforms of length b.
    """
    *batch, count, channels = x.shape
    (a, b), length, rank = factors, factors[0] * factors[1], len(batch)
    axes = tuple(range(rank))
    if count < length:
        after = (*(0,) * rank, length - count, 0)
        x = builder.emit("pad", [x], suffix="zeros", before=(0,) * (rank + 2), after=after, value=0.0)
    grid = builder.emit("reshape", [x], suffix="grid", shape=(*batch, a, b, channels))
    columns = builder.emit("transpose", [grid], suffix="columns", permutation=(*axes, rank + 1, rank, rank + 2))
    inner = directly(builder, columns, a, inverse, a)
    turned = rotated(builder, inner, turns(length, np.arange(b), np.arange(a)) * (1 if inverse else -1))
    rows = builder.emit("transpose", [turned], suffix="rows", permutation=(*axes, rank + 1, rank, rank + 2))
    outer = directly(builder, rows, b, inverse, b)
    ordered = builder.emit("transpose", [outer], suffix="order", permutation=(*axes, rank + 1, rank, rank + 2))
    return builder.emit("reshape", [ordered], suffix="spectrum", shape=(*batch, length, 2))


def rotated(builder: GraphBuilder, x: Value, angles: np.ndarray) -> Value:
    """Complex x[…, b, a, 2], each element turned by its angle."""
    real, imaginary = builder.emit_all("split", [x], suffix="parts", axis=len(x.shape) - 1, sizes=(1, 1))
    cosine, sine = (
        builder.constant(f(angles)[..., None].astype(x.type.numpy_dtype), builder.fresh(f"{x.name}.factor"))
        for f in (np.cos, np.sin)
    )
    product = lambda v, w: builder.emit("mul", [v, w], suffix="turn")  # noqa: E731
    turned = (
        builder.emit("sub", [product(real, cosine), product(imaginary, sine)], suffix="turn"),
        builder.emit("add", [product(real, sine), product(imaginary, cosine)], suffix="turn"),
    )
    return builder.emit("concat", turned, suffix="turned", axis=len(x.shape) - 1)


def stft(builder: GraphBuilder, node: OnnxNode) -> Value:
    """signal[N, L] or [N, L, 1 or 2] → [N, frames, frequencies, 2]."""
    x = node.input(0)
    if len(x.shape) == 2:
        x = builder.emit("reshape", [x], suffix="real", shape=(*x.shape, 1))
    if len(x.shape) != 3 or x.shape[-1] not in (1, 2):
        raise ModelError(f"{node.op} of what is no signal", found=x.shape, expected="(N, L, 1) or (N, L, 2)")
    window = node.optional(2)
    step = int(node.number(1, "frame_step"))
    length = int(node.number(3, "frame_length", x.shape[1] if window is None else window.shape[0]))
    onesided = node.int_("onesided", 1) != 0
    if step < 1 or length < 1 or (window is not None and window.shape != (length,)):
        found = f"step {step}, length {length}, window {None if window is None else window.shape}"
        raise ModelError(f"frames of {node.op}", found=found, expected="a positive step, and a window of the frame's length")
    if onesided and x.shape[-1] == 2:
        raise ModelError(f"onesided {node.op} of a complex signal", hint="onesided = 0")
    (batch, count, channels) = x.shape
    flat = builder.emit("reshape", [x], suffix="flat", shape=(batch, count * channels))
    cut = builder.emit("frames", [flat], suffix="frames", size=length * channels, step=step * channels)
    framed = builder.emit("reshape", [cut], suffix="frames", shape=(batch, cut.shape[1], length, channels))
    if window is not None:
        column = builder.emit("reshape", [window], suffix="window", shape=(length, 1))
        framed = builder.emit("mul", [framed, column], suffix="window")
    return transformed(builder, framed, length, inverse=False, onesided=onesided)


def cosine_window(*terms: float) -> Importer:
    """Σ_m terms[m] · cos(2π·m·n/N), N being the size, or one less for a symmetric window."""

    def importer(builder: GraphBuilder, node: OnnxNode) -> Value:
        size, periodic = int(node.number(0, "size")), node.int_("periodic", 1) != 0
        dtype = output_type(node)
        if size < 0:
            raise ModelError(f"size of {node.op}", found=size, expected="0 or more")
        angles = 2 * np.pi * np.arange(size) / max(size if periodic else size - 1, 1)
        window = sum(term * np.cos(m * angles) for m, term in enumerate(terms))
        return builder.constant(np.asarray(window).astype(numpy_dtype(dtype)))

    return importer


def output_type(node: OnnxNode) -> str:
    name = element_type(node.int_("output_datatype", TensorProto.FLOAT))
    if name not in NUMBERS:
        raise ModelError(f"output_datatype of {node.op}", found=name, expected=" or ".join(NUMBERS))
    return name


def mel_weight_matrix(builder: GraphBuilder, node: OnnxNode) -> Value:
    """[dft_length // 2 + 1, num_mel_bins]: triangles over the frequencies, evenly spaced on the mel scale."""
    names = ("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz")
    bins, length, rate, low, high = (node.number(index, name) for index, name in enumerate(names))
    dtype, spectrum = output_type(node), int(length) // 2 + 1
    if bins < 1 or length < 1 or rate < 1 or not 0 <= low <= high:
        found = dict(zip(names, (bins, length, rate, low, high), strict=True))
        raise ModelError(f"parameters of {node.op}", found=found, expected="positive, and lower ≤ upper edge")
    mel_low, mel_high = (2595 * np.log10(1 + edge / 700) for edge in (low, high))
    points = np.arange(int(bins) + 2) * ((mel_high - mel_low) / (int(bins) + 2)) + mel_low
    hertz = 700 * (10 ** (points / 2595) - 1)
    edges = ((int(length) + 1) * hertz // rate).astype(np.int64)
    if edges[-1] > spectrum:
        raise ModelError(f"{node.op} reaches beyond half the sample rate", found=high, expected=f"at most {rate / 2}")
    matrix = np.zeros((spectrum, int(bins)))
    for column, (left, centre, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        up, down = np.arange(left, centre + 1), np.arange(centre, right)
        if centre > left:
            matrix[up, column] = (up - left) / (centre - left)
        else:
            matrix[centre, column] = 1
        matrix[down, column] = (right - down) / max(right - centre, 1)
    return builder.constant(matrix.astype(numpy_dtype(dtype)))


IMPORTERS: dict[str, Importer] = {
    "DFT": dft,
    "STFT": stft,
    "HannWindow": cosine_window(0.5, -0.5),
    "HammingWindow": cosine_window(25 / 46, -21 / 46),
    "BlackmanWindow": cosine_window(0.42, -0.5, 0.08),
    "MelWeightMatrix": mel_weight_matrix,
}
