"""Operators that move, index, reduce, sort and resample: machine code against the NumPy kernel, on random cases."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators.operator import ANY, FLOAT, NUMBER
from vdla.compiler.operators.registry import OPERATORS, infer_types, with_defaults
from vdla.compiler.ops.cpu import build_cpu_kernel, scheduled_function
from vdla.compiler.passes.lower import lower
from vdla.element_types import ELEMENT_TYPES, numpy_dtype

Random = np.random.Generator
Case = tuple[str, list[Any], dict[str, Any]]
MOVABLE = ANY
WITH_ZERO = tuple(dtype for dtype in ANY if dtype != "float8_e8m0fnu")


def shape_of(rng: Random, low: int = 1, high: int = 4, most: int = 7) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(1, most + 1, int(rng.integers(low, high + 1))))


def array(rng: Random, shape: tuple[int, ...], dtypes: tuple[str, ...] = MOVABLE) -> np.ndarray:
    element = ELEMENT_TYPES[str(rng.choice(dtypes))]
    if element.is_float:
        values = rng.standard_normal(shape) * 3
    else:
        low, high = element.range
        values = rng.integers(max(low, -9), min(high, 9) + 1, shape)
    return np.asarray(values).astype(numpy_dtype(element.name))


def indices_into(rng: Random, size: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.integers(-size, size, shape)).astype(str(rng.choice(["int32", "int64"])))


def pads(rng: Random, rank: int) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(0, 4, rank))


def some_slice(rng: Random) -> Case:
    x = array(rng, shape_of(rng))
    chosen = []
    for n in x.shape:
        step = int(rng.choice([-3, -2, -1, 1, 1, 2, 3]))
        start = int(rng.integers(n))
        room = (n - 1 - start if step > 0 else start) // abs(step) + 1
        chosen.append((start, step, int(rng.integers(1, room + 1))))
    starts, steps, sizes = zip(*chosen, strict=True)
    return "slice", [x], {"starts": starts, "steps": steps, "sizes": sizes}


def some_pad(rng: Random) -> Case:
    x = array(rng, shape_of(rng), WITH_ZERO)
    return "pad", [x], {"before": pads(rng, x.ndim), "after": pads(rng, x.ndim), "value": int(rng.integers(2))}


def some_border(rng: Random) -> Case:
    x = array(rng, shape_of(rng))
    mode = str(rng.choice(["reflect", "edge", "wrap"]))
    return "border_pad", [x], {"before": pads(rng, x.ndim), "after": pads(rng, x.ndim), "mode": mode}


def some_tile(rng: Random) -> Case:
    x = array(rng, shape_of(rng))
    return str(rng.choice(["tile", "repeat"])), [x], {"repeats": tuple(int(n) for n in rng.integers(1, 4, x.ndim))}


def some_blocks(rng: Random) -> Case:
    rows, columns, c, *rest = (int(n) for n in rng.integers(1, 4, 6))
    return "depth_to_space", [array(rng, (rest[0], rows * columns * c, *rest[1:]))], {"blocks": (rows, columns)}


def some_expand(rng: Random) -> Case:
    shape = shape_of(rng)
    x = array(rng, tuple(n if rng.random() < 0.6 else 1 for n in shape[int(rng.integers(len(shape))) :]))
    return "expand", [x], {"shape": shape}


def some_trilu(rng: Random) -> Case:
    return "trilu", [array(rng, shape_of(rng, 2), WITH_ZERO)], {"upper": bool(rng.integers(2)), "k": int(rng.integers(-5, 6))}


def some_gather(rng: Random) -> Case:
    x = array(rng, shape_of(rng))
    axis = int(rng.integers(-x.ndim, x.ndim))
    return "gather", [x, indices_into(rng, x.shape[axis], shape_of(rng, 0, 3))], {"axis": axis}


def some_gather_elements(rng: Random) -> Case:
    x = array(rng, shape_of(rng))
    axis = int(rng.integers(x.ndim))
    shape = tuple(int(rng.integers(1, n + 1)) if d != axis else int(rng.integers(1, 9)) for d, n in enumerate(x.shape))
    return "gather_elements", [x, indices_into(rng, x.shape[axis], shape)], {"axis": axis}


def tuples_into(rng: Random, shape: tuple[int, ...], places: tuple[int, ...]) -> np.ndarray:
    return np.stack([indices_into(rng, n, places).astype("int64") for n in shape], -1)


def some_gather_nd(rng: Random) -> Case:
    x = array(rng, shape_of(rng))
    batch = int(rng.integers(x.ndim))
    depth = int(rng.integers(1, x.ndim - batch + 1))
    indices = tuples_into(rng, x.shape[batch : batch + depth], (*x.shape[:batch], *shape_of(rng, 0, 2)))
    return "gather_nd", [x, indices], {"batch_dims": batch}


def some_one_hot(rng: Random) -> Case:
    shape = shape_of(rng, 0, 3)
    depth = int(rng.integers(1, 6))
    indices = indices_into(rng, depth + 2, shape)  # some outside
    return "one_hot", [indices, array(rng, (2,))], {"depth": depth, "axis": int(rng.integers(-len(shape) - 1, len(shape) + 1))}


def some_reversal(rng: Random) -> Case:
    x = array(rng, shape_of(rng, 2))
    batch, time = (int(d) for d in rng.choice(x.ndim, 2, replace=False))
    lengths = rng.integers(0, x.shape[time] + 1, x.shape[batch])
    return "reverse_sequence", [x, lengths], {"batch_axis": batch, "time_axis": time}


def axes_of(rng: Random, rank: int) -> tuple[int, ...]:
    chosen = rng.choice(rank, int(rng.integers(1, rank + 1)), replace=False)
    return tuple(int(axis) - (rank if rng.random() < 0.3 else 0) for axis in chosen)


def number(rng: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Ties, and NaNs sometimes."""
    x = array(rng, shape, NUMBER)
    if x.dtype.kind == "f":
        x = np.rint(x)
        if rng.random() < 0.4:
            x[rng.random(shape) < 0.1] = np.nan
    return x


def some_reduction(rng: Random) -> Case:
    op = f"reduce_{rng.choice(['sum', 'prod', 'max', 'min'])}"
    x = number(rng, shape_of(rng, most=5))
    return op, [x], {"axes": axes_of(rng, x.ndim), "keepdims": bool(rng.integers(2))}


def some_position(rng: Random) -> Case:
    x = number(rng, shape_of(rng))
    a = {"axis": int(rng.integers(-x.ndim, x.ndim)), "keepdims": bool(rng.integers(2)), "last": bool(rng.integers(2))}
    return str(rng.choice(["arg_max", "arg_min"])), [x], a


def some_interpolation(rng: Random) -> Case:
    x = array(rng, shape_of(rng), FLOAT)
    axis, shape = int(rng.integers(-x.ndim, x.ndim)), (int(rng.integers(1, 9)), int(rng.integers(1, 7)))
    index = rng.integers(-1, x.shape[axis] + 1, shape).astype("int32")
    return "interpolate", [x, index, rng.standard_normal(shape).astype(x.dtype)], {"axis": axis}


def some_grid(rng: Random) -> Case:
    """Some places far outside."""
    rank = int(rng.integers(1, 4))
    x = array(rng, (int(rng.integers(1, 3)), *shape_of(rng, rank + 1, rank + 1, 4)), FLOAT)
    grid = (rng.uniform(-1.3, 1.3, (x.shape[0], *shape_of(rng, rank, rank, 4), rank)) * rng.choice([1, 1, 5])).astype(x.dtype)
    mode, padding = str(rng.choice(["nearest", "linear", "cubic"])), str(rng.choice(["zeros", "border", "reflection"]))
    return "grid_sample", [x, grid], {"mode": mode, "padding": padding, "align_corners": bool(rng.integers(2))}


def some_regions(rng: Random) -> Case:
    """Some partly outside, some empty, some larger than the image."""
    x = array(rng, (int(rng.integers(1, 3)), 3, *(int(n) for n in rng.integers(1, 9, 2))), FLOAT)
    rois = (rng.uniform(-4, 14, (5, 4)) * rng.choice([0.2, 1, 3])).astype(x.dtype)
    samples, most = int(rng.integers(0, 4)), bool(rng.integers(2))
    a = {"size": (2, 3), "samples": samples, "scale": 0.7, "max": most and samples > 0, "half_pixel": bool(rng.integers(2))}
    return "roi_align", [x, rois, rng.integers(0, x.shape[0], 5)], a


def some_columns(rng: Random) -> Case:
    rank = int(rng.integers(1, 4))
    block, strides, dilations = (tuple(int(n) for n in rng.integers(1, 4, rank)) for _ in range(3))
    around, counts = rng.integers(0, 2, 2 * rank), rng.integers(1, 4, rank)
    reach = [int((counts[d] - 1) * strides[d] + dilations[d] * (block[d] - 1) + 1) for d in range(rank)]
    image = [n - int(around[d] + around[d + rank]) for d, n in enumerate(reach)]
    if min(image) < 1:
        return some_columns(rng)
    x = array(rng, (2, 2 * int(np.prod(block)), int(np.prod(counts))), NUMBER)
    a = {"image": tuple(image), "block": block, "strides": strides, "pads": tuple(map(int, around)), "dilations": dilations}
    return "columns_to_image", [x], a


def some_scatter(rng: Random) -> Case:
    """Narrow integers wrap."""
    reduction = str(rng.choice(["none", "none", "add", "mul", "max", "min"]))
    x = array(rng, shape_of(rng), ANY if reduction == "none" else NUMBER)
    if rng.random() < 0.5:
        axis = int(rng.integers(-x.ndim, x.ndim))
        length = int(rng.integers(1, x.shape[axis] + 1 if reduction == "none" else 9))
        shape = tuple(length if d == axis % x.ndim else int(rng.integers(1, n + 1)) for d, n in enumerate(x.shape))
        indices = indices_into(rng, x.shape[axis], shape)
        if reduction == "none":  # of several values in one place ONNX says nothing
            indices = rng.random((*shape[: axis % x.ndim], x.shape[axis], *shape[axis % x.ndim + 1 :])).argsort(axis % x.ndim)
            indices = np.take(indices, np.arange(length), axis % x.ndim)
        return "scatter_elements", [x, indices, array(rng, shape, (str(x.dtype),))], {"axis": axis, "reduction": reduction}
    depth = int(rng.integers(1, x.ndim + 1))
    indices = tuples_into(rng, x.shape[:depth], shape_of(rng, 0, 2))
    return (
        "scatter_nd",
        [x, indices, array(rng, (*indices.shape[:-1], *x.shape[depth:]), (str(x.dtype),))],
        {"reduction": reduction},
    )


def some_top_k(rng: Random) -> Case:
    x = number(rng, shape_of(rng, most=12))
    axis = int(rng.integers(-x.ndim, x.ndim))
    return "top_k", [x], {"k": int(rng.integers(1, x.shape[axis] + 1)), "axis": axis, "largest": bool(rng.integers(2))}


def some_running(rng: Random) -> Case:
    op, x = str(rng.choice(["cumulative_sum", "cumulative_product"])), array(rng, shape_of(rng), NUMBER)
    a = {"axis": int(rng.integers(-x.ndim, x.ndim)), "exclusive": bool(rng.integers(2)), "reverse": bool(rng.integers(2))}
    return op, [x], a


def some_determinant(rng: Random) -> Case:
    """Singular now and then."""
    n = int(rng.integers(1, 6))
    x = rng.integers(-3, 4, (*shape_of(rng, 0, 2, 3), n, n)).astype(str(rng.choice(FLOAT)))
    return "determinant", [x], {}


def some_suppression(rng: Random) -> Case:
    """Few different coordinates and scores: equal ones, and boxes of no area."""
    batches, classes, count = (int(n) for n in rng.integers(1, (3, 3, 12)))
    dtype = str(rng.choice(FLOAT))
    boxes = (rng.integers(0, 9, (batches, count, 4)) / 4).astype(dtype)
    scores = (rng.integers(0, 9, (batches, classes, count)) / 8).astype(dtype)
    a = {"most": int(rng.integers(1, 9)), "overlap": float(rng.choice([0.0, 0.3, 0.6])), "scored": bool(rng.integers(2))}
    return "non_max_suppression", [boxes, scores], {**a, "score": 0.25, "centred": bool(rng.integers(2))}


CASES: dict[str, Callable[[Random], Case]] = {
    name.removeprefix("some_"): make for name, make in list(globals().items()) if name.startswith("some_")
}


@pytest.mark.parametrize("kind", CASES)
def test_machine_code_is_the_kernel(kind: str) -> None:
    for seed in range(16):
        op, arrays, attributes = CASES[kind](np.random.default_rng([seed, zlib.crc32(kind.encode())]))
        where = f"{op}, seed {seed}: {[(a.shape, a.dtype) for a in arrays]}, {attributes}"
        types = tuple(TensorType(a.shape, str(a.dtype)) for a in arrays)
        attributes = with_defaults(op, attributes)
        outputs = infer_types(op, types, attributes)
        result = OPERATORS[op].kernel(arrays, attributes)
        expected = result if isinstance(result, tuple) else (result,)
        found = build_cpu_kernel(op, types, outputs, attributes).run(*arrays)
        assert [(y.shape, str(y.dtype)) for y in expected] == [(t.shape, t.dtype) for t in outputs], where
        for y, other in zip(found, expected, strict=True):
            assert y.dtype == other.dtype, where
            wide = "float64" if ELEMENT_TYPES[str(y.dtype)].is_float else y.dtype
            np.testing.assert_allclose(y.astype(wide), other.astype(wide), rtol=1e-4, atol=1e-4, err_msg=where)
        if seed < 2:  # kernels are verified before and after lowering only
            lower(scheduled_function(op, types, attributes)[0], every_pass=True)
