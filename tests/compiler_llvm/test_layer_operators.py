"""Convolutions, pools, norms, attention's and losses' operators of any rank and dtype: machine code against NumPy."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators.registry import OPERATORS, infer_types, with_defaults
from vdla.compiler.ops.cpu import build_cpu_kernel, scheduled_function
from vdla.compiler.passes.lower import lower

Shapes = list[tuple[int, ...] | None]
VOLUME = (2, 4, 5, 6, 7)


def conv(x: tuple[int, ...], w: tuple[int, ...], bias: bool = True, **a: Any) -> tuple[str, Shapes, dict[str, Any]]:
    """Steps of 1 and no padding unless given."""
    rank = len(x) - 2
    defaults = {"strides": (1,) * rank, "dilations": (1,) * rank, "pads": (0,) * (2 * rank)}
    return "conv", [x, w, (w[0],) if bias else None], {**defaults, **a}


def pool(op: str, x: tuple[int, ...], kernel: tuple[int, ...], **a: Any) -> tuple[str, Shapes, dict[str, Any]]:
    rank = len(kernel)
    defaults = {"strides": (1,) * rank, "dilations": (1,) * rank, "pads": (0,) * (2 * rank)}
    return op, [x], {"kernel": kernel, **defaults, **a}


def transposed(x: tuple[int, ...], w: tuple[int, ...], groups: int = 1, bias: bool = True, **a: Any):
    return "conv_transpose", [x, w, (w[1] * groups,) if bias else None], {"groups": groups, **a}


UNEVEN = {"strides": (1, 2, 1), "pads": (1, 0, 1, 1, 1, 0), "dilations": (1, 2, 1)}
SUMS = [
    conv(VOLUME, (6, 2, 3, 2, 3), groups=2, **UNEVEN),
    conv((1, 4, 30), (6, 4, 3), bias=False, pads=(1, 1)),
    conv((2, 3, 8, 9), (5, 3, 3, 3), strides=(2, 1)),
    transposed((1, 3, 4, 5), (3, 2, 3, 3), strides=(2, 2), dilations=(1, 1), before=(1, 1), output=(8, 9)),
    transposed((2, 4, 4, 5), (4, 2, 3, 2), 2, strides=(2, 3), dilations=(2, 1), before=(-1, 2), output=(13, 14)),
    transposed((2, 4, 7), (4, 2, 3), 2, False, strides=(3,), dilations=(2,), before=(4,), output=(14,)),
    transposed((1, 2, 3, 4, 3), (2, 2, 2, 2, 2), strides=(1, 2, 2), dilations=(1, 1, 3), before=(0, 0, 0), output=(4, 8, 8)),
    transposed((1, 2, 3), (2, 2, 2), strides=(4,), dilations=(1,), before=(5,), output=(3,)),
]
POOLS = [
    pool("max_pool", VOLUME, (2, 3, 2), **UNEVEN),
    pool("max_pool", (2, 3, 9), (3,), strides=(2,), pads=(1, 0)),
    pool("max_pool_indices", (2, 3, 9, 11), (2, 3), strides=(1, 2), pads=(1, 0, 1, 1), dilations=(1, 2)),
    pool("max_pool_indices", VOLUME, (2, 3, 2), column_major=True, **UNEVEN),
]
DEFORMED = [(2, 4, 6, 7), (6, 2, 3, 2), (2, 24, 3, 7), (6,), (2, 12, 3, 7)]
FLOATS = [
    *SUMS,
    *POOLS,
    pool("avg_pool", VOLUME, (2, 3, 2), counted=(1, 0, 0, 0, 1, 0), **UNEVEN),
    pool("avg_pool", (2, 3, 9), (3,), strides=(2,), pads=(1, 2), counted=(0, 0)),
    pool("avg_pool", (1, 2, 6), (2,), pads=(2, 0), counted=(2, 0)),
    *(pool("lp_pool", (2, 3, 9, 7), (3, 2), strides=(2, 1), pads=(1, 0, 0, 1), p=p) for p in (1, 2, 3)),
    ("deform_conv2d", DEFORMED, {"strides": (2, 1), "pads": (1, 0, 1, 1), "groups": 2, "offset_groups": 2}),
    ("deform_conv2d", [(1, 2, 5, 4), (3, 2, 1, 1), (1, 2, 5, 4)], {}),
    ("layer_norm", [(2, 3, 5, 7), (7,), (7,)], {}),
    ("layer_norm", [(2, 3, 5, 7), (5, 7), None], {"axis": 2, "epsilon": 0.1}),
    ("layer_norm", [(2, 3, 5), None, (2, 3, 5)], {"axis": 0}),
    ("rms_norm", [(2, 3, 40), (40,)], {}),
    ("rms_norm", [(2, 3, 5)], {"axis": 1}),
    *((op, [(2, 3, 5, 37)], {"axis": axis}) for op in ("softmax", "log_softmax", "masked_softmax") for axis in (0, 2, -1)),
    *(("lp_norm", [(2, 3, 37)], {"axis": axis, "p": p}) for axis in (1, -1) for p in (1, 2)),
    ("lrn", [(2, 5, 4)], {"size": 3}),
    ("rotary_embedding", [(2, 3, 4, 8), (2, 4, 3), (2, 4, 3)], {"rotated": 6}),
    ("rotary_embedding", [(2, 3, 4, 8), (2, 4, 4), (1, 4, 4)], {"rotated": 8, "interleaved": True}),
    ("dense", [(3, 21), (5, 21), (5,)], {}),
    ("conv2d", [(1, 3, 7, 9), (4, 3, 3, 3), (4,)], {"pads": (1, 1, 1, 1)}),
]
WHOLE = [
    *((*case, "int32") for case in SUMS[:3]),
    *((*case, dtype) for case in [*POOLS, ("matmul", [(2, 1, 5, 7), (3, 7, 6)], {})] for dtype in ("int32", "int8", "uint8")),
]


def operands(op: str, shapes: Shapes, dtype: str) -> list[np.ndarray | None]:
    rng = np.random.default_rng(zlib.crc32(repr((op, shapes, dtype)).encode()))
    if dtype.startswith("float"):
        return [None if s is None else rng.standard_normal(s).astype(dtype) for s in shapes]
    low, high = (0, 256) if dtype == "uint8" else (-100, 100)
    return [None if s is None else rng.integers(low, high, s).astype(dtype) for s in shapes]


def check(op: str, arrays: list[np.ndarray | None], attributes: dict[str, Any], tolerance: float = 2e-5) -> None:
    """Every output of the machine code is the kernel's."""
    types = tuple(None if x is None else TensorType(x.shape, str(x.dtype)) for x in arrays)
    complete = with_defaults(op, attributes)
    outputs = infer_types(op, types, complete)
    found = build_cpu_kernel(op, types, outputs, complete).run(*(x for x in arrays if x is not None))
    result = OPERATORS[op].kernel(arrays, complete)
    for actual, expected in zip(found, result if isinstance(result, tuple) else (result,), strict=True):
        assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
        if actual.dtype.kind == "f":
            np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max(initial=0))
        else:
            np.testing.assert_array_equal(actual, expected)


def name(value: Any) -> str:
    return str(value).replace(" ", "")


@pytest.mark.parametrize(("op", "shapes", "attributes"), FLOATS, ids=name)
def test_float32(op: str, shapes: Shapes, attributes: dict[str, Any]) -> None:
    check(op, operands(op, shapes, "float32"), attributes)


@pytest.mark.parametrize(("op", "shapes", "attributes"), FLOATS[::3], ids=name)
def test_float64(op: str, shapes: Shapes, attributes: dict[str, Any]) -> None:
    check(op, operands(op, shapes, "float64"), attributes, 1e-12)


@pytest.mark.parametrize(("op", "shapes", "attributes", "dtype"), WHOLE, ids=name)
def test_whole_numbers(op: str, shapes: Shapes, attributes: dict[str, Any], dtype: str) -> None:
    """Exactly, modulo what the dtype holds."""
    check(op, operands(op, shapes, dtype), attributes)


@pytest.mark.parametrize(("op", "shapes", "attributes"), FLOATS[::2], ids=name)
def test_every_pass_leaves_a_legal_program(op: str, shapes: Shapes, attributes: dict[str, Any]) -> None:
    types = tuple(None if s is None else TensorType(s, "float32") for s in shapes)
    func, _ = scheduled_function(op, types, attributes)
    lower(func, every_pass=True)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [None, 2, -7])
def test_loss(reduction: str, weighted: bool, ignored: int | None) -> None:
    scores, weights = operands("loss", [(3, 5, 4, 2), (5,)], "float32")
    labels = np.random.default_rng(3).integers(0, 5, (3, 4, 2))
    labels[1] = labels[1] if ignored is None else ignored  # which need not be a class
    attributes = {"reduction": reduction, "ignores": ignored is not None, "ignore_index": ignored or -1}
    check("negative_log_likelihood", [scores, labels, weights if weighted else None], attributes)


def test_padding_is_no_element() -> None:
    """Of equals the first on the map counts, though the padding is as small."""
    op, _, attributes = pool("max_pool_indices", (1, 1, 3, 3), (2, 2), pads=(1, 1, 1, 1))
    check(op, [np.full((1, 1, 3, 3), -128, np.int8)], attributes)


def test_rows_without_anything() -> None:
    """All -∞, nearly all, and all zero."""
    x = np.zeros((4, 40), np.float32)
    x[1], x[2, 3:], x[3, :39] = -np.inf, -np.inf, -np.inf
    check("masked_softmax", [x], {"axis": -1})
    check("lp_norm", [np.zeros((2, 5), np.float32)], {"axis": -1})
