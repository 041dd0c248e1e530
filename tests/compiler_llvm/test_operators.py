"""Every CPU operator against the NumPy reference, with odd shapes: float within rounding, integers bit for bit."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest

from vdla.compiler.backends.llvm import Target, emit_object
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators.registry import OPERATORS, infer_type, infer_types, with_defaults
from vdla.compiler.ops.cpu import build, build_cpu_kernel, scheduled_function
from vdla.compiler.passes.lower import lower
from vdla.errors import CompileError, RunError
from vdla.isa.semantics import pack_scale

IMAGE = [(2, 5, 9, 11)]


def conv(n, c, h, w, o, k, groups=1, bias=True, **attributes):
    shapes = [(n, c, h, w), (o, c // groups, *k)] + ([(o,)] if bias else [None])
    return "conv2d", shapes, {"groups": groups, **attributes}


FLOAT_CASES = [
    conv(1, 3, 31, 29, 8, (7, 7), strides=(2, 2), pads=(3, 3, 3, 3)),
    conv(2, 5, 13, 40, 7, (3, 3), pads=(1, 1, 1, 1)),
    conv(1, 4, 30, 61, 6, (3, 5), strides=(2, 3), pads=(0, 2, 1, 4), dilations=(2, 1), bias=False),
    conv(1, 4, 9, 60, 6, (3, 3), dilations=(1, 2), strides=(1, 2), pads=(2, 0, 0, 3)),
    conv(2, 6, 7, 7, 13, (3, 3), pads=(1, 1, 1, 1)),
    conv(1, 16, 14, 14, 32, (1, 1)),
    conv(2, 16, 14, 14, 10, (1, 1), strides=(2, 2), bias=False),
    conv(1, 1, 40, 40, 3, (1, 1)),
    conv(1, 8, 14, 14, 8, (3, 3), groups=8, pads=(1, 1, 1, 1)),
    conv(2, 6, 33, 35, 6, (3, 3), groups=6, strides=(2, 2), pads=(0, 0, 1, 1), bias=False),
    conv(1, 6, 11, 50, 12, (3, 3), groups=6, pads=(1, 1, 1, 1)),
    conv(1, 8, 11, 12, 12, (3, 2), groups=4, strides=(1, 2)),
    conv(1, 8, 5, 70, 12, (3, 3), groups=2, strides=(1, 2), pads=(1, 1, 1, 1)),
    ("dense", [(1, 33), (10, 33), (10,)], {}),
    ("dense", [(3, 64), (17, 64), None], {}),
    ("dense", [(2, 3, 20), (16, 20), (16,)], {}),
    ("matmul", [(7, 13), (13, 29)], {}),
    ("matmul", [(3, 1, 16, 12), (2, 12, 40)], {}),
    ("batch_norm", [(2, 5, 9, 11), (5,), (5,), (5,), (5,)], {}),
    ("batch_norm", [(3, 5), (5,), (5,), (5,), (5,)], {"epsilon": 1e-3}),
    *[(op, [(2, 5, 9, 11)], {}) for op in ("relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish")],
    ("clip", [(3, 7)], {"low": -0.5, "high": 1.25}),
    ("softmax", [(4, 33)], {"axis": 1}),
    ("softmax", [(2, 5, 3, 7)], {"axis": 1}),
    ("softmax", [(2, 5, 3, 7)], {"axis": -1}),
    *[
        (op, shapes, {})
        for op in ("add", "sub", "mul", "div")
        for shapes in ([(2, 3, 5), (2, 3, 5)], [(2, 5, 3, 4), (5, 1, 1)])
    ],
    ("add", [(1, 5, 1, 4), (2, 1, 3, 1)], {}),
    ("add", [(2, 5, 3, 4), (4,)], {}),
    ("mul", [(2, 5, 3, 4), (1,)], {}),
    ("sub", [(1,), (3, 5)], {}),
    ("max_pool2d", IMAGE, {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    ("max_pool2d", IMAGE, {"kernel": (2, 3), "strides": (2, 1), "ceil": True}),
    ("avg_pool2d", IMAGE, {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    ("avg_pool2d", IMAGE, {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 0, 0, 1), "count_include_pad": True}),
    ("avg_pool2d", IMAGE, {"kernel": (2, 2), "strides": (2, 2), "ceil": True, "pads": (1, 1, 0, 0), "count_include_pad": True}),
    ("avg_pool2d", IMAGE, {"kernel": (2, 4), "strides": (2, 3), "ceil": True}),
    ("global_avg_pool", IMAGE, {}),
    ("lrn", [(1, 9, 5, 6)], {"size": 5, "alpha": 1e-2, "beta": 0.75, "bias": 2.0}),
    ("lrn", [(2, 4, 3, 3)], {"size": 4, "alpha": 1e-1, "beta": 0.6}),
    ("pad", [(2, 3, 5)], {"before": (1, 0, 2), "after": (0, 0, 3), "value": 1.5}),
    ("concat", [(2, 3, 4), (2, 1, 4), (2, 5, 4)], {"axis": 1}),
    ("concat", [(2, 3), (2, 70)], {"axis": 1}),
    ("reshape", [(2, 3, 4, 5)], {"shape": (6, 20)}),
    ("reshape", [(1, 6, 7, 1)], {"shape": (3, 14)}),
    ("transpose", [(3, 4, 5)], {"permutation": (2, 0, 1)}),
    ("transpose", [(2, 5, 17, 3)], {"permutation": (0, 2, 3, 1)}),
    ("reduce_mean", [(2, 5, 6, 7)], {"axes": (2, 3), "keepdims": True}),
    ("reduce_mean", [(2, 5, 6)], {"axes": (2,), "keepdims": False}),
    ("reduce_mean", [(2, 5, 6)], {"axes": (0, 1, 2), "keepdims": False}),
    ("add", [(2, 5), ()], {}),
    ("quantize", [(2, 5, 9, 11)], {"scale": 0.037, "zero_point": -3}),
]


def operands(seed, shapes, dtype):
    rng = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return [None if s is None else rng.standard_normal(s).astype(dtype) for s in shapes]
    return [None if s is None else rng.integers(-128, 128, s).astype("int8") for s in shapes]


def run(op, arrays, attributes):
    """The CPU's answer and the reference's."""
    types = tuple(None if x is None else TensorType(x.shape, str(x.dtype)) for x in arrays)
    attributes = with_defaults(op, attributes)
    kernel = build_cpu_kernel(op, types, infer_types(op, types, attributes), attributes)
    (found,) = kernel.run(*(x for x in arrays if x is not None))
    return found, np.asarray(OPERATORS[op].kernel(arrays, attributes))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 4e-14)])
@pytest.mark.parametrize(("op", "shapes", "attributes"), FLOAT_CASES, ids=lambda v: str(v).replace(" ", ""))
def test_float_operators(op, shapes, attributes, dtype, tolerance):
    """Sums of up to 150 terms of size 1: n·ε is 2e-5, or 4e-14. Variances are made positive."""
    if dtype not in OPERATORS[op].inputs[0].dtypes:
        return  # quantize
    arrays = operands(zlib.crc32(repr((op, shapes)).encode()), shapes, dtype)
    if op == "batch_norm":
        arrays[4] = np.abs(arrays[4]) + arrays[4].dtype.type(0.1)
    found, expected = run(op, arrays, attributes)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("op", "shapes", "attributes"), FLOAT_CASES, ids=lambda v: str(v).replace(" ", ""))
def test_every_pass_leaves_a_legal_program(op, shapes, attributes):
    """Kernels are verified before and after lowering only."""
    types = tuple(None if s is None else TensorType(s, "float32") for s in shapes)
    func, _ = scheduled_function(op, types, attributes)
    lower(func, every_pass=True)


def scales(rng, channels):
    multiplier = np.where(rng.random(channels) < 0.5, 1 << 18, rng.integers(1 << 18, 1 << 19, channels))  # half with ties
    return pack_scale(multiplier, rng.integers(10, 32, channels), rng.integers(-128, 128, channels))


def parameters(rng, channels):
    return [rng.integers(-(1 << 20), 1 << 20, channels).astype("int32"), scales(rng, channels).reshape(channels)]


QCONVS = [
    ((1, 3, 31, 29), (8, 3, 7, 7), {"strides": (2, 2), "pads": (3, 3, 3, 3)}),
    ((2, 5, 13, 40), (7, 5, 3, 3), {"pads": (1, 1, 1, 1), "pad_value": -7}),
    ((2, 6, 7, 7), (13, 6, 3, 3), {"pads": (1, 1, 1, 1), "pad_value": 5}),
    ((1, 16, 14, 14), (32, 16, 1, 1), {"low": 0, "high": 100}),
    ((1, 8, 14, 30), (8, 1, 3, 3), {"groups": 8, "pads": (1, 1, 1, 1), "pad_value": 3}),
    ((1, 8, 11, 12), (12, 2, 3, 2), {"groups": 4, "strides": (1, 2), "dilations": (2, 1)}),
    ((1, 67, 9, 9), (16, 67, 1, 1), {}),
]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("case", range(len(QCONVS)))
@pytest.mark.parametrize("per_channel", [False, True])
def test_qconv2d(case, residual, per_channel):
    x, w, attributes = QCONVS[case]
    rng = np.random.default_rng(case)
    channels = w[0] if per_channel else 1
    arrays = [*operands(case, [x, w], "int8"), *parameters(rng, channels)]
    attributes = with_defaults("qconv2d", attributes)
    if residual:
        types = tuple(TensorType(a.shape, str(a.dtype)) for a in arrays)
        shape = infer_type("qconv2d", types, attributes).shape
        arrays += [*operands(case + 1, [shape], "int8"), *parameters(rng, channels)]
    else:
        arrays += [None, None, None]
    found, expected = run("qconv2d", arrays, attributes)
    np.testing.assert_array_equal(found, expected, err_msg=f"case {case}")
    table = operands(case + 2, [(256,)], "int8")[0]
    found, _ = run("qconv2d", [*arrays, table], attributes)
    np.testing.assert_array_equal(found, table[expected.astype(int) + 128], err_msg=f"case {case} with a table")


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("by_bytes", [True, False])
def test_random_convolutions(seed, by_bytes, monkeypatch):
    """Any geometry; qconv2d in its portable form too, whatever this machine would choose."""
    if not by_bytes:
        host = build.host_target()
        portable = replace(host, features=host.features.replace("+avx512vnni", "-avx512vnni"))
        monkeypatch.setattr(build, "host_target", lambda: portable)
    rng = np.random.default_rng(seed)
    groups, c, o = (
        (int(rng.integers(2, 9)), 1, 1) if seed % 4 == 0 else (int(rng.choice([1, 1, 3])), *map(int, rng.integers(1, 9, 2)))
    )
    kernel = tuple(map(int, rng.integers(1, 5, 2)))
    shape = (int(rng.integers(1, 3)), groups * c, int(rng.integers(8, 20)), int(rng.choice([9, 14, 24, 31, 40, 57])))
    attributes = {
        "groups": groups,
        "strides": tuple(map(int, rng.integers(1, 4, 2))),
        "dilations": tuple(map(int, rng.integers(1, 3, 2))),
        "pads": tuple(map(int, rng.integers(0, 3, 4))),
    }
    x, w = operands(seed, [shape, (groups * o, c, *kernel)], "int8")
    quantised = {**attributes, "pad_value": int(rng.integers(-128, 128))}
    found, expected = run("qconv2d", [x, w, *parameters(rng, groups * o), None, None, None], quantised)
    np.testing.assert_array_equal(found, expected, err_msg=f"seed {seed}: {shape}, {w.shape}, {quantised}")
    floats = [x.astype("float32"), w.astype("float32"), None]
    found, expected = run("conv2d", floats, attributes)
    np.testing.assert_array_equal(found, expected, err_msg=f"seed {seed}: {shape}, {w.shape}, {attributes}")


def integer_cases():
    rng = np.random.default_rng(7)
    x = operands(1, [(2, 5, 9, 11)], "int8")[0]
    pool = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
    yield "qdense", [*operands(2, [(3, 33), (10, 33)], "int8"), *parameters(rng, 10)], {"low": -100}
    yield "qdense", [*operands(3, [(1, 512), (100, 512)], "int8"), *parameters(rng, 1)], {}
    channel, plane, one = x[:1, :, :1, :1].copy(), x[:, :1].copy(), x[:1, :1, :1, :1].copy()
    for op in ("qadd", "qsub", "qmax", "qmin"):
        yield op, [x, x[::-1].copy(), *(p for _ in range(3) for p in parameters(rng, 5))], {"high": 50}
        yield op, [x, x, *(p for _ in range(3) for p in parameters(rng, 1))], {}
        for other in (channel, plane, one):
            yield op, [x, other, *(p for _ in range(3) for p in parameters(rng, 5))], {}
            yield op, [other, x, *(p for _ in range(3) for p in parameters(rng, 1))], {}
    for other in (x[::-1].copy(), channel, plane, one):
        zero_points = {"a_zero_point": -128, "b_zero_point": 127}
        yield "qmul", [x, other, *parameters(rng, 5)], {**zero_points, "low": -50}
        yield "qmul", [other, x, *parameters(rng, 1)], zero_points
    for shapes in ([(3, 33), (33, 10)], [(2, 1, 5, 7), (3, 7, 6)]):
        yield "qmatmul", [*operands(4, shapes, "int8"), *parameters(rng, 1)], {"a_zero_point": -128, "b_zero_point": 5}
    yield (
        "qmatmul2d",
        [*operands(5, [(2, 5, 9, 11), (2, 5, 6, 1)], "int8"), *parameters(rng, 1)],
        {"low": -9, "b_zero_point": 3},
    )
    yield "qtable", [x, operands(8, [(256,)], "int8")[0]], {}
    yield "requantize", [x, *parameters(rng, 5)], {}
    yield "qmax_pool2d", [x], pool
    yield "qmax_pool2d", [x], {**pool, "ceil": True, "kernel": (2, 3)}
    yield "qavg_pool2d", [x, *parameters(rng, 5)], {**pool, "pad_value": -9}
    yield "qavg_pool2d", [x, *parameters(rng, 1)], {"kernel": (9, 11)}
    yield "qavg_pool2d", [x, *parameters(rng, 1)], {"kernel": (2, 2), "strides": (2, 2), "ceil": True, "pad_value": 4}
    yield "dequantize", [x], {"scale": 0.25, "zero_point": -4}
    yield "dequantize", [x], {"scale": (0.25, 0.5, 1.0, 2.0, 0.1), "zero_point": 0, "axis": 1}
    yield "reshape", [x], {"shape": (10, 99)}
    yield "transpose", [x], {"permutation": (0, 3, 1, 2)}
    yield "concat", [x, x[:, :2].copy()], {"axis": 1}
    yield "rearrange", [x], {"parts": (2, 5, 3, 3, 11), "order": (0, 3, 1, 4, 2), "shape": (6, 5, 33)}


@pytest.mark.parametrize(("op", "arrays", "attributes"), list(integer_cases()), ids=lambda v: v if isinstance(v, str) else "")
def test_integer_operators(op, arrays, attributes):
    found, expected = run(op, arrays, attributes)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "int8", "int64", "bool"])
@pytest.mark.parametrize(("shape", "axis", "sizes"), [((2, 9, 5, 7), 1, (1, 5, 3)), ((40,), -1, (33, 7)), ((3, 4), 0, (3,))])
def test_an_operator_of_several_outputs(shape, axis, sizes, dtype):
    """Each is written by the one kernel, in order."""
    x = np.random.default_rng(3).integers(-5, 6, shape).astype(dtype)
    attributes, types = {"axis": axis, "sizes": sizes}, (TensorType(shape, dtype),)
    found = build_cpu_kernel("split", types, infer_types("split", types, attributes), attributes).run(x)
    expected = np.split(x, np.cumsum(sizes)[:-1], axis)
    assert len(found) == len(expected)
    for part, other in zip(found, expected, strict=True):
        assert part.dtype == other.dtype
        np.testing.assert_array_equal(part, other)
    func, _ = scheduled_function("split", types, attributes)
    lower(func, every_pass=True)


def kernel_of(op, x, attributes):
    types = (TensorType(x.shape, str(x.dtype)),)
    attributes = with_defaults(op, attributes)
    return build_cpu_kernel(op, types, (infer_type(op, types, attributes),), attributes)


@pytest.mark.parametrize("shape", [(1, 16, 3, 5), (3, 5, 4, 7), (2, 33, 1, 1), (3, 20)])
@pytest.mark.parametrize(("batch", "block"), [(1, 16), (2, 8), (1, 4)])
def test_packing_is_the_layout_of_the_accelerator_and_comes_back(shape, batch, block):
    x = operands(5, [shape], "int8")[0]
    (packed,) = kernel_of("pack_nchwc", x, {"batch": batch, "block": block}).run(x)
    wide = x.reshape(*shape, *([1] * (4 - len(shape))))
    n, c, h, w = wide.shape
    padded = np.zeros((-(-n // batch) * batch, -(-c // block) * block, h, w), "int8")
    padded[:n, :c] = wide
    expected = padded.reshape(-1, batch, padded.shape[1] // block, block, h, w).transpose(0, 2, 4, 5, 1, 3)
    np.testing.assert_array_equal(packed, expected)
    np.testing.assert_array_equal(kernel_of("unpack_nchwc", packed, {"shape": shape}).run(packed)[0], x)


@pytest.mark.parametrize("fold", ["columns", "window"])
def test_im2col(fold):
    """Against the definition, element by element."""
    x = operands(6, [(2, 3, 8, 9)], "int8")[0]
    a = {"kernel": (3, 2), "strides": (2, 2), "pads": (1, 2, 1, 1), "dilations": (1, 2), "pad_value": 6, "fold": fold}
    (y,) = kernel_of("im2col", x, a).run(x)
    (_, kw), (sy, sx), (dy, dx), (top, left, bottom, right) = a["kernel"], a["strides"], a["dilations"], a["pads"]
    vertical = (top, bottom) if fold == "window" else (0, 0)
    padded = np.pad(x, ((0, 0), (0, 0), vertical, (left, right)), constant_values=6)
    for n, k, h, w in np.ndindex(y.shape):
        if fold == "columns":
            expected = padded[n, k % 3, h, w * sx + k // 3 * dx]
        else:
            expected = padded[n, k % 3, h * sy + k // 3 // kw * dy, w * sx + k // 3 % kw * dx]
        assert y[n, k, h, w] == expected, (n, k, h, w)


def test_operators_compile_for_a_board_without_this_machines_instructions():
    types = tuple(
        TensorType(s, d) for s, d in (((1, 8, 9, 9), "int8"), ((8, 8, 3, 3), "int8"), ((8,), "int32"), ((8,), "int32"))
    )
    board = Target("armv7-linux-gnueabihf", "cortex-a9", "+neon")
    func, _ = scheduled_function("qconv2d", types, {"pads": (1, 1, 1, 1)}, board)
    assert emit_object(lower(func, every_pass=True), board)[:4] == b"\x7fELF"


def test_an_unknown_operator_is_refused_with_those_there_are():
    with pytest.raises(CompileError, match="no CPU operator; found 'nonsense'; expected .*conv2d"):
        build_cpu_kernel("nonsense", (TensorType((1,), "float32"),), (TensorType((1,), "float32"),), {})


@pytest.mark.parametrize("array", [np.zeros((3, 2), "float32"), np.zeros((2, 3)), np.zeros((3, 2), "float32").T])
def test_arrays_that_do_not_fit_the_node_are_refused(array):
    kernel = kernel_of("relu", np.zeros((2, 3), "float32"), {})
    with pytest.raises(RunError, match=r"expected.*float32\[2, 3\]"):
        kernel.run(array)
