"""Import of operators that move, index, reduce and resample, against the ONNX project's reference evaluator, on random cases.

Each `some_…` function draws one node with its inputs: those named x, y … are the graph's, the others are constants.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_models import node

from vdla.compiler.frontend import einsum, indexing, reduction, resize, scatter, slicing, sorting
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.errors import ModelError

Random = np.random.Generator
Arrays = dict[str, np.ndarray]
Case = tuple[onnx.NodeProto, Arrays, Arrays]
DTYPES = ("float32", "int32", "int64")


def shape_of(rng: Random, low: int = 1, high: int = 4) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(1, 6, int(rng.integers(low, high + 1))))


def tensor(rng: Random, shape: tuple[int, ...], dtypes: tuple[str, ...] = DTYPES) -> np.ndarray:
    return np.asarray(rng.integers(-9, 10, shape)).astype(str(rng.choice(dtypes)))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def some_slice(rng: Random) -> Case:
    x = tensor(rng, shape_of(rng))
    axes = rng.permutation(x.ndim)[: int(rng.integers(1, x.ndim + 1))]
    starts, ends = rng.integers(-7, 8, (2, len(axes)))
    steps = rng.choice([-2, -1, 1, 2, 3], len(axes))
    ends[rng.random(len(axes)) < 0.3] = np.iinfo(np.int64).max
    ends[(rng.random(len(axes)) < 0.3) & (steps < 0)] = np.iinfo(np.int64).min
    axes = np.where(rng.random(len(axes)) < 0.3, axes - x.ndim, axes)
    regions = {int(a) % x.ndim: slice(*python_slice(*v)) for a, *v in zip(axes, starts, ends, steps, strict=True)}
    if not x[tuple(regions.get(d, slice(None)) for d in range(x.ndim))].size:
        return some_slice(rng)
    return node("Slice", "x starts ends axes steps"), {"x": x}, {"starts": starts, "ends": ends, "axes": axes, "steps": steps}


def python_slice(start: int, end: int, step: int) -> tuple[int, int | None, int]:
    return int(start), None if step < 0 and end < -9 else int(end), int(step)


def some_pad(rng: Random) -> Case:
    x = tensor(rng, shape_of(rng))
    mode = str(rng.choice(["constant", "reflect", "edge", "wrap"]))
    pads = rng.integers(0, 4, (2, x.ndim))
    if mode != "constant":
        pads = np.minimum(pads, np.array(x.shape) - 1)  # numpy's own reflection of a reflection changed with its versions
    given = {"pads": pads.ravel().astype(np.int64), "value": np.array(3, x.dtype)}
    return node("Pad", "x pads value" if mode == "constant" else "x pads", mode=mode), {"x": x}, given


def some_tile(rng: Random) -> Case:
    x = tensor(rng, shape_of(rng))
    return node("Tile", "x repeats"), {"x": x}, {"repeats": rng.integers(1, 4, x.ndim)}


def some_expand(rng: Random) -> Case:
    shape = shape_of(rng)
    x = tensor(rng, tuple(n if rng.random() < 0.5 else 1 for n in shape[int(rng.integers(len(shape))) :]))
    return node("Expand", "x shape"), {"x": x}, {"shape": ints(*(n if rng.random() < 0.5 else 1 for n in shape))}


def some_blocks(rng: Random) -> Case:
    op, block = str(rng.choice(["DepthToSpace", "SpaceToDepth"])), int(rng.integers(1, 4))
    n, c, h, w = (int(v) for v in rng.integers(1, 4, 4))
    deep = op == "DepthToSpace"
    x = tensor(rng, (n, c * block * block, h, w) if deep else (n, c, h * block, w * block))
    mode = {"mode": str(rng.choice(["DCR", "CRD"]))} if deep else {}
    return node(op, "x", blocksize=block, **mode), {"x": x}, {}


def some_trilu(rng: Random) -> Case:
    return (
        node("Trilu", "x k", upper=int(rng.integers(2))),
        {"x": tensor(rng, shape_of(rng, 2), ("float32", "int64"))},
        {"k": np.array(int(rng.integers(-6, 7)))},
    )


def some_crop(rng: Random) -> Case:
    x = tensor(rng, shape_of(rng))
    axes = [int(a) for a in rng.permutation(x.ndim)[: int(rng.integers(1, x.ndim + 1))]]
    return node("CenterCropPad", "x shape", axes=axes), {"x": x}, {"shape": rng.integers(1, 8, len(axes))}


def some_gather(rng: Random) -> Case:
    x = tensor(rng, shape_of(rng))
    axis = int(rng.integers(-x.ndim, x.ndim))
    indices = np.asarray(rng.integers(-x.shape[axis], x.shape[axis], shape_of(rng, 0, 2)))
    return node("Gather", "x i", axis=axis), {"x": x, "i": indices}, {}


def some_gather_elements(rng: Random) -> Case:
    x = tensor(rng, shape_of(rng))
    axis = int(rng.integers(x.ndim))  # the evaluator takes no negative one
    shape = tuple(n if d != axis else int(rng.integers(1, 7)) for d, n in enumerate(x.shape))
    return node("GatherElements", "x i", axis=axis), {"x": x}, {"i": rng.integers(-x.shape[axis], x.shape[axis], shape)}


def some_one_hot(rng: Random) -> Case:
    indices = np.asarray(rng.integers(-7, 8, shape_of(rng, 1, 3)), str(rng.choice(["int64", "int32", "float32"])))
    axis = int(rng.integers(-indices.ndim - 1, indices.ndim + 1))
    return node("OneHot", "x depth v", axis=axis), {"x": indices, "v": tensor(rng, (2,))}, {"depth": np.array(5)}


def some_compression(rng: Random) -> Case:
    x = tensor(rng, shape_of(rng))
    axis = int(rng.integers(-x.ndim, x.ndim))
    flat = rng.random() < 0.3
    condition = rng.random(x.size if flat else x.shape[axis]) < 0.5
    condition[0] = True
    return node("Compress", "x c", **({} if flat else {"axis": axis})), {"x": x}, {"c": condition}


def some_reduction(rng: Random) -> Case:
    op = "Reduce" + str(rng.choice(["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]))
    x = tensor(
        rng, shape_of(rng), ("float32",) if op in ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp") else ("float32", "int64")
    )
    x = np.abs(x) + 1 if op == "ReduceLogSum" else x
    axes = rng.permutation(x.ndim)[: int(rng.integers(0, x.ndim + 1))].astype(np.int64)
    attributes = {"keepdims": int(rng.integers(2)), "noop_with_empty_axes": int(rng.integers(2))}
    return node(op, "x axes" if len(axes) else "x", **attributes), {"x": x}, {"axes": axes} if len(axes) else {}


def some_position(rng: Random) -> Case:
    op = str(rng.choice(["ArgMax", "ArgMin", "Hardmax"]))
    x = tensor(rng, shape_of(rng), ("float32",))
    more = {} if op == "Hardmax" else {"keepdims": int(rng.integers(2)), "select_last_index": int(rng.integers(2))}
    return node(op, "x", axis=int(rng.integers(-x.ndim, x.ndim)), **more), {"x": x}, {}


EQUATIONS = [
    "ij,jk->ik", "ij,jk", "bij,bjk->bik", "bij,jk->bki", "i,i->", "i,j->ij", "ii->i", "ii", "iij->j", "ijk->kji", "ij->",
    "a,a->a", "...ij,...jk->...ik", "b...i,i...->b...", "i...->...", "...ii->...i", "bhid,bhjd->bhij", "bhij,bhjd->bihd",
    "ij,jk,kl->il", "abc,cd,bd->ad", "ab,cd->", "ijij->ij", "i,ij,j", "ab,ab,ab->b", "nctkv,kvw->nctw", "ab->ba",
    "...,...->...",
]  # fmt: skip


def some_einsum(rng: Random) -> Case:
    """An axis is 1 in some operands now and then: it is broadcast."""
    equation = str(rng.choice(EQUATIONS))
    sizes = {label: int(rng.integers(1, 5)) for label in "abcdefghijklmnopqrstuvwxyz"}
    spread = [int(n) for n in rng.integers(1, 4, int(rng.integers(0, 3)))]
    dtype = str(rng.choice(DTYPES))
    inputs: Arrays = {}
    for k, term in enumerate(equation.split("->")[0].split(",")):
        before, dots, after = term.partition("...")
        hidden = [n if rng.random() < 0.7 else 1 for n in spread[int(rng.integers(len(spread) + 1)) :]] if dots else []
        shape = [*(sizes[c] for c in before), *hidden, *(sizes[c] for c in after)]
        inputs[f"x{k}"] = np.asarray(rng.integers(-4, 5, shape)).astype(dtype)
    return node("Einsum", " ".join(inputs), equation=equation), inputs, {}


def some_resize(rng: Random) -> Case:
    """Sizes or scales, of some axes; the evaluator takes axes only in order."""
    kind = str(rng.choice(["nearest", "linear", "cubic"]))
    x = tensor(rng, shape_of(rng, 1, 3), ("float32",))
    axes = sorted(int(a) for a in rng.permutation(x.ndim)[: int(rng.integers(1, x.ndim + 1))])
    modes = [mode for mode in resize.COORDINATES if not mode.startswith("tf_half")]
    attributes: dict[str, Any] = {"mode": kind, "coordinate_transformation_mode": str(rng.choice(modes)), "axes": axes}
    if kind == "nearest":
        attributes["nearest_mode"] = str(rng.choice(resize.ROUNDING))
    else:
        attributes |= {"antialias": int(rng.integers(2)), "exclude_outside": int(rng.integers(2)), "cubic_coeff_a": -0.5}
    crop = attributes["coordinate_transformation_mode"] == "tf_crop_and_resize"
    sizes = rng.integers(1, 9, len(axes))
    scales = np.array([(size + 0.25) / x.shape[axis] for size, axis in zip(sizes, axes, strict=True)], np.float32)
    constants: Arrays = {"r": rng.uniform(-0.3, 1.3, 2 * len(axes)).astype(np.float32)} if crop else {}
    by_size = crop or rng.random() < 0.5 or attributes["coordinate_transformation_mode"] == "pytorch_half_pixel"
    if by_size and attributes["coordinate_transformation_mode"] == "pytorch_half_pixel":
        sizes = sizes + 1  # of one element the evaluator takes another than the standard says
    roi = "r" if crop else "-"
    operands = f"x {roi} - sizes" if by_size else f"x {roi} scales"
    return node("Resize", operands, **attributes), {"x": x}, constants | ({"sizes": sizes} if by_size else {"scales": scales})


def some_scatter(rng: Random) -> Case:
    """Without a reduction, at different places: of several values in one ONNX says nothing."""
    x, reduction = tensor(rng, shape_of(rng, 1, 3)), str(rng.choice(["none", "add", "mul", "max", "min"]))
    if rng.random() < 0.5:
        axis = int(rng.integers(-x.ndim, x.ndim))
        shape = tuple(n if d == axis % x.ndim else int(rng.integers(1, n + 1)) for d, n in enumerate(x.shape))
        indices = rng.random(shape).argsort(axis) if reduction == "none" else rng.integers(-x.shape[axis], x.shape[axis], shape)
        updates = tensor(rng, indices.shape, (str(x.dtype),))
        return node("ScatterElements", "x i u", axis=axis, reduction=reduction), {"x": x, "i": indices, "u": updates}, {}
    rows = rng.permutation(x.shape[0])[: int(rng.integers(1, x.shape[0] + 1))].reshape(-1, 1)
    updates = tensor(rng, (len(rows), *x.shape[1:]), (str(x.dtype),))
    return node("ScatterND", "x i u", reduction=reduction), {"x": x, "i": rows, "u": updates}, {}


def some_sorting(rng: Random) -> Case:
    x = tensor(rng, shape_of(rng))
    axis = int(rng.integers(x.ndim))
    if rng.random() < 0.5:
        op, flags = str(rng.choice(["CumSum", "CumProd"])), {f: int(rng.integers(2)) for f in ("exclusive", "reverse")}
        return node(op, "x axis", **flags), {"x": x}, {"axis": np.array(axis)}
    proto = helper.make_node("TopK", ["x", "k"], ["y", "places"], name="top", axis=axis, largest=int(rng.integers(2)))
    return proto, {"x": x}, {"k": ints(int(rng.integers(1, x.shape[axis] + 1)))}


CASES: dict[str, Callable[[Random], Case]] = {
    name.removeprefix("some_"): make for name, make in list(globals().items()) if name.startswith("some_")
}


def model_of(proto: onnx.NodeProto, inputs: Arrays, constants: Arrays, outputs: int = 1, opset: int = 25) -> onnx.ModelProto:
    declared = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()]
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in proto.output]
    graph = helper.make_graph([proto], "test", declared, results, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def test_negative_pads_cut_off() -> None:
    """The evaluator has none."""
    x = np.arange(20, dtype=np.int64).reshape(4, 5)
    graph = import_onnx(model_of(node("Pad", "x pads value"), {"x": x}, {"pads": ints(-1, 2, 1, -3), "value": np.array(7)}))
    expected = np.pad(x[1:, :2], ((0, 1), (2, 0)), constant_values=7)
    np.testing.assert_array_equal(run_reference(graph, {"x": x})["y"], expected)


@pytest.mark.parametrize("kind", CASES)
def test_random_nodes(kind: str) -> None:
    for seed in range(40):
        proto, inputs, constants = CASES[kind](np.random.default_rng([seed, zlib.crc32(kind.encode())]))
        where = f"{kind}, seed {seed}: {helper.printable_node(proto)}, { {n: a.shape for n, a in inputs.items()} }, {constants}"
        model = model_of(proto, inputs, constants)
        with np.errstate(all="ignore"):
            expected = ReferenceEvaluator(model).run(None, inputs)
        try:
            graph = import_onnx(model)
        except ModelError as error:
            raise AssertionError(where) from error
        verify_graph(graph)
        for version in (graph, optimise(graph)):
            found = run_reference(version, {name: inputs[name] for name in version.inputs})
            for name, other in zip(proto.output, expected, strict=True):
                assert found[name].shape == np.shape(other), where
                assert found[name].dtype == other.dtype, where
                np.testing.assert_allclose(found[name], other, rtol=1e-5, atol=1e-5, err_msg=where)


def test_every_importer_is_drawn() -> None:
    """Some are fixed cases: what is known already, and what the ONNX project's suite tests."""
    elsewhere = {
        "GatherND",
        "ReverseSequence",
        "NonZero",
        "Unique",
        "GlobalMaxPool",
        "Upsample",
        "Col2Im",
        "Scatter",
        "TensorScatter",
        "MaxUnpool",
    }
    drawn = {make(np.random.default_rng(seed))[0].op_type for make in CASES.values() for seed in range(60)}
    families = (slicing, indexing, reduction, einsum, resize, scatter, sorting)
    assert {name for family in families for name in family.IMPORTERS} == drawn | elsewhere
