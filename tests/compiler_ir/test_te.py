"""Tensor expressions against NumPy, and what they say when they are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vdla.compiler import ir, te
from vdla.errors import CompileError
from vdla.isa.semantics import pack_scale, requantise, rescale

RNG = np.random.default_rng(20)
FLOATS = RNG.standard_normal((3, 5)).astype(np.float32) * 3
INTS = RNG.integers(-1000, 1000, (3, 5)).astype(np.int32)


def run(inputs: dict[str, np.ndarray], output: te.Tensor, tensors: list[te.Tensor]) -> np.ndarray:
    function = te.create_function("f", tensors, [output])
    ir.verify(function)
    return ir.interpret(function, inputs)[0]


def apply(array: np.ndarray, element) -> np.ndarray:
    x = te.placeholder(array.shape, str(array.dtype), "x")
    return run({"x": array}, te.compute(array.shape, lambda *i: element(x[i]), "y"), [x])


FLOAT_FUNCTIONS = {
    "exp": (te.exp, np.exp),
    "tanh": (te.tanh, np.tanh),
    "sigmoid": (te.sigmoid, lambda v: 1 / (1 + np.exp(-v))),
    "erf": (te.erf, np.vectorize(math.erf)),
    "floor": (te.floor, np.floor),
    "ceil": (te.ceil, np.ceil),
    "round_even": (te.round_even, np.rint),
    "absolute": (te.absolute, np.abs),
    "sqrt": (lambda v: te.sqrt(te.absolute(v)), lambda v: np.sqrt(np.abs(v))),
    "rsqrt": (lambda v: te.rsqrt(te.absolute(v)), lambda v: 1 / np.sqrt(np.abs(v))),
    "log": (lambda v: te.log(te.absolute(v)), lambda v: np.log(np.abs(v))),
    "power": (lambda v: te.power(te.absolute(v), 1.5), lambda v: np.abs(v) ** 1.5),
    "divide": (lambda v: v / 3.0, lambda v: v / 3),
    "select": (lambda v: te.select(v > 0.0, v, 2.0), lambda v: np.where(v > 0, v, 2)),
    "maximum": (lambda v: te.maximum(v, 0), lambda v: np.maximum(v, 0)),
    "to int": (lambda v: te.cast(v, "int32"), lambda v: np.trunc(v)),
}

INT_FUNCTIONS = {
    "arithmetic": (lambda v: v * 3 + 7 - v * v, lambda v: v * 3 + 7 - v * v),
    "reversed": (lambda v: 5 - v, lambda v: 5 - v),
    "floordiv": (lambda v: v // 7, lambda v: v // 7),
    "floormod": (lambda v: v % 7, lambda v: v % 7),
    "clip": (lambda v: te.clip(v, -10, 99), lambda v: np.clip(v, -10, 99)),
    "minimum": (lambda v: te.minimum(v, 3), lambda v: np.minimum(v, 3)),
    "shifts": (lambda v: te.shift_right(te.shift_left(v, 3), 5), lambda v: (v << 3) >> 5),
    "absolute": (te.absolute, np.abs),
    "int8": (lambda v: te.cast(v, "int8"), lambda v: v.astype(np.int8)),
    "float": (lambda v: te.cast(v, "float32") * 0.5, lambda v: v.astype(np.float32) * np.float32(0.5)),
    "logic": (
        lambda v: te.select(te.logical_or(te.equal(v % 2, 0), te.logical_and(v > 100, te.not_equal(v, 101))), v, 0 - v),
        lambda v: np.where((v % 2 == 0) | ((v > 100) & (v != 101)), v, -v),
    ),
}


@pytest.mark.parametrize("name", FLOAT_FUNCTIONS)
def test_float_functions_are_numpys(name: str) -> None:
    ours, numpys = FLOAT_FUNCTIONS[name]
    np.testing.assert_allclose(apply(FLOATS, ours), numpys(FLOATS.astype(np.float64)), rtol=3e-7)


@pytest.mark.parametrize("name", INT_FUNCTIONS)
def test_integer_functions_are_numpys(name: str) -> None:
    ours, numpys = INT_FUNCTIONS[name]
    np.testing.assert_array_equal(apply(INTS, ours), numpys(INTS))


def test_reductions_are_numpys() -> None:
    x = te.placeholder((3, 5), "int32", "x")
    for ours, numpys in ((te.sum, np.sum), (te.max, np.max), (te.min, np.min), (te.prod, np.prod)):
        i, k = te.reduce_axis(3, "i"), te.reduce_axis(5, "k")
        rows = te.compute((3,), lambda r, f=ours, k=k: f(x[r, k], k), "rows")
        everything = te.compute((), lambda f=ours, i=i, k=k: f(x[i, k], [i, k]), "everything", axes=[])
        small = (INTS % 9).astype(np.int32)
        np.testing.assert_array_equal(run({"x": small}, rows, [x]), numpys(small, axis=1))
        assert run({"x": small}, everything, [x])[()] == numpys(small)


def test_max_starts_from_its_identity() -> None:
    x, k = te.placeholder((4,), "int8", "x"), te.reduce_axis(4, "k")
    y = te.compute((1,), lambda i: te.max(x[k], k, identity=5), "y")
    assert run({"x": np.array([-3, 1, 2, 0], np.int8)}, y, [x]) == [5]
    z = te.compute((1,), lambda i: te.max(x[k], k), "z")
    assert run({"x": np.full(4, -128, np.int8)}, z, [x]) == [-128]


def test_requantise_and_rescale_are_the_isas() -> None:
    bias = RNG.integers(-500, 500, 5).astype(np.int32)
    scale = pack_scale(RNG.integers(1 << 18, 1 << 19, 5), RNG.integers(12, 32, 5), RNG.integers(-9, 9, 5))
    x, b, s = (te.placeholder(v.shape, "int32", n) for n, v in (("x", INTS), ("b", bias), ("s", scale)))
    arrays = {"x": INTS, "b": bias, "s": scale}
    y = te.compute(INTS.shape, lambda i, c: te.requantise(x[i, c], b[c], s[c], -128, 127), "y")
    np.testing.assert_array_equal(run(arrays, y, [x, b, s]), requantise(INTS, bias, scale, -128, 127))
    z = te.compute(INTS.shape, lambda i, c: te.rescale(x[i, c], b[c], s[c]), "z")
    np.testing.assert_array_equal(run(arrays, z, [x, b, s]), rescale(INTS, bias, scale))


def conv2d_stages(
    batch: int, channels: int, size: int, outputs: int, kernel: int, pad: int, stride: int
) -> tuple[te.Tensor, te.Tensor, te.Tensor]:
    x = te.placeholder((batch, channels, size, size), "int8", "x")
    w = te.placeholder((outputs, channels, kernel, kernel), "int8", "w")
    padded, out = size + 2 * pad, (size + 2 * pad - kernel) // stride + 1

    def border(n, c, h, v):
        inside = te.logical_and(h >= pad, h < pad + size, v >= pad, v < pad + size)
        return te.select(inside, x[n, c, h - pad, v - pad], 0)

    p = te.compute((batch, channels, padded, padded), border, "pad")
    c, kh, kw = te.reduce_axis(channels, "c"), te.reduce_axis(kernel, "kh"), te.reduce_axis(kernel, "kw")
    y = te.compute(
        (batch, outputs, out, out),
        lambda n, o, h, v: te.sum(
            te.cast(p[n, c, h * stride + kh, v * stride + kw], "int32") * te.cast(w[o, c, kh, kw], "int32"), [c, kh, kw]
        ),
        "conv",
    )
    return x, w, y


@pytest.mark.parametrize(("kernel", "pad", "stride"), [(1, 0, 1), (3, 1, 1), (3, 1, 2), (5, 0, 2)])
def test_conv2d_is_numpys(kernel: int, pad: int, stride: int) -> None:
    x, w, y = conv2d_stages(2, 3, 7, 4, kernel, pad, stride)
    data, weights = (RNG.integers(-128, 128, t.shape).astype(np.int8) for t in (x, w))
    padded = np.pad(data.astype(np.int64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    expected = np.einsum("nchwij,ocij->nohw", windows, weights.astype(np.int64))
    np.testing.assert_array_equal(run({"x": data, "w": weights}, y, [x, w]), expected)


def test_a_function_has_one_nest_for_each_stage_and_allocates_only_the_intermediates() -> None:
    x, w, y = conv2d_stages(1, 2, 4, 2, 3, 1, 1)
    relu = te.compute(y.shape, lambda *i: te.maximum(y[i], 0), "relu")
    function = te.create_function("f", [x, w], [relu])
    statements = list(ir.walk_stmt(function.body))
    assert [s.name for s in statements if isinstance(s, ir.Block)] == ["pad", "conv", "relu"]
    assert [s.buffer.name for s in statements if isinstance(s, ir.Allocate)] == ["pad", "conv"]
    assert [p.name for p in function.params] == ["x", "w", "relu"]
    kinds = [it.kind for s in statements if isinstance(s, ir.Block) and s.name == "conv" for it in s.iters]
    assert kinds == ["spatial"] * 4 + ["reduce"] * 3


def test_an_output_can_be_read_by_another_stage_and_names_are_made_unique() -> None:
    x = te.placeholder((4,), "int32", "x")
    first = te.compute((4,), lambda i: x[i] + 1, "y")
    second = te.compute((4,), lambda i: first[i] * 2, "y")
    third = te.compute((4,), lambda i: second[i] + first[i], "y")
    function = te.create_function("f", [x], [third, first])
    ir.verify(function)
    assert [p.name for p in function.params] == ["x", "y", "y_1"]
    outputs = ir.interpret(function, [np.arange(4, dtype=np.int32)])
    np.testing.assert_array_equal(outputs, [[3, 6, 9, 12], [1, 2, 3, 4]])


X = te.placeholder((4, 4), "int8", "x")
WIDE = te.placeholder((4, 4), "int32", "wide")
K = te.reduce_axis(4, "k")

ERRORS = {
    "too few indices": (
        lambda: te.compute((4,), lambda i: X[i], "s"),
        "stage s: wrong number of indices into x; found 1; expected 2, one for each dimension of [4, 4]",
    ),
    "two dtypes": (
        lambda: te.compute((4, 4), lambda i, j: X[i, j] + WIDE[i, j], "s"),
        "stage s: add: operands of int8 and int32; cast one",
    ),
    "zero extent": (
        lambda: te.compute((4, 0), lambda i, j: X[i, j], "s"),
        "stage s: dimension 1 is not a positive whole number; found [4, 0]; expected extents of 1 or more",
    ),
    "negative placeholder": (
        lambda: te.placeholder((-1,), "int8", "p"),
        "placeholder p: dimension 0 is not a positive whole number; found [-1]; expected extents of 1 or more",
    ),
    "unknown dtype": (
        lambda: te.placeholder((1,), "bfloat15", "p"),
        "placeholder p: unknown dtype; found 'bfloat15'; expected one of bool, int64",
    ),
    "wrong arity": (
        lambda: te.compute((4, 4), lambda i: X[i, i], "s"),
        "stage s: the function does not take one index for each dimension; found 1; expected 2 parameters",
    ),
    "axes": (
        lambda: te.compute((4, 4), lambda i, j: X[i, j], "s", axes=["a", "a"]),
        "stage s: axes does not name each dimension once; found ['a', 'a']; expected 2 different names",
    ),
    "float index": (
        lambda: te.compute((4,), lambda i: X[i, te.cast(i, "float32")], "s"),
        "stage s: index 1 into x is not an integer; found 'float32'; expected an integer expression",
    ),
    "inner reduction": (
        lambda: te.compute((4,), lambda i: te.sum(X[i, K], K) + te.cast(1, "int8"), "s"),
        "stage s: a reduction inside another expression; expected the reduction outermost; try: a stage of its own",
    ),
    "axis not reduced": (
        lambda: te.compute((4,), lambda i: X[i, K], "s"),
        "stage s: reduce axis k is used but not reduced over; expected k among the axes of the reduction",
    ),
    "no axes": (
        lambda: te.compute((4,), lambda i: te.sum(X[i, i], []), "s"),
        "stage s: the axes of the add reduction; found []; expected one or more different reduce axes",
    ),
    "integer exp": (
        lambda: te.compute((4,), lambda i: te.exp(X[i, i]), "s"),
        "stage s: exp of what is no float; found 'int8'; expected float32 or float64; try: te.cast(x, \"float32\")",
    ),
    "select": (
        lambda: te.compute((4,), lambda i: te.select(i, X[i, i], 0), "s"),
        "stage s: select on what is no condition; found 'int32'; expected bool",
    ),
    "select dtypes": (
        lambda: te.compute((4,), lambda i: te.select(i > 0, X[i, i], WIDE[i, i]), "s"),
        "stage s: select: operands of int8 and int32; expected one dtype; try: te.cast one of them",
    ),
    "requantise": (
        lambda: te.compute((4,), lambda i: te.requantise(X[i, i], i, i, -128, 127), "s"),
        "stage s: the operands of requantise; found ['int8', 'int32', 'int32']; expected int32 each",
    ),
    "cast": (lambda: te.cast(1, "int3"), "cast to an unknown dtype; found 'int3'"),
    "no tensor": (
        lambda: te.compute((4,), lambda i: None, "s"),
        "stage s: the function gives no expression; found 'None'; expected an expression, a reduction or a number",
    ),
    "foreign input": (
        lambda: te.create_function("f", [WIDE], [te.compute((4,), lambda i: X[i, i], "s")]),
        "function f: stage s reads placeholder x, which is not an input; found ['wide']; expected x among the inputs",
    ),
    "output a placeholder": (
        lambda: te.create_function("f", [X], [X]),
        "function f: output x is a placeholder; expected a computed tensor; try: copy it in a stage",
    ),
    "no outputs": (lambda: te.create_function("f", [X], []), "function f: no outputs; expected one computed tensor or more"),
    "listed twice": (
        lambda: te.create_function("f", [X, X], [te.compute((4,), lambda i: X[i, i], "s")]),
        "function f: x is listed twice; expected each tensor once",
    ),
    "computed input": (
        lambda: te.create_function("f", [te.compute((4,), lambda i: X[i, i], "s")], [te.compute((4,), lambda i: X[i, i], "t")]),
        "function f: input s is computed; expected a placeholder",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_and_where(name: str) -> None:
    build, words = ERRORS[name]
    with pytest.raises(CompileError) as caught:
        build()
    assert str(caught.value).startswith(words)
