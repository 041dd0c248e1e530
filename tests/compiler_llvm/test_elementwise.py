"""Every elementwise operator of the registry as machine code against its NumPy kernel, in each of its dtypes: vectors and their
tails, broadcasting, the edges of arithmetic. What a record says of an operator is held against both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Load
from vdla.compiler.ir.traverse import walk_expr
from vdla.compiler.operators.operator import ANY, Operator
from vdla.compiler.operators.registry import OPERATORS, infer_types, with_defaults
from vdla.compiler.ops.cpu import build_cpu_kernel
from vdla.element_types import ELEMENT_TYPES, numpy_dtype

EDGES = np.float32([0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1, -1, 1e-30, 1e30, -1e30, np.inf, -np.inf, np.nan, 1e-40])
GIVEN: dict[str, list[dict[str, Any]]] = {
    "clip": [{"low": -0.5, "high": 1.25}, {"low": 2, "high": 5}, {"low": -3, "high": np.inf}],
    "cast": [*({"to": to} for to in ANY), *({"to": to, "saturate": False} for to in ANY if to.startswith("float8_e4m3"))],
    "bit_cast": [{"to": to} for to in ANY],
    "bit_shift": [{"direction": "left"}, {"direction": "right"}],
    "gelu": [{}, {"approximate": "tanh"}],
    "mod": [{}, {"fmod": True}],
    "is_inf": [{}, {"positive": False}, {"negative": False}, {"positive": False, "negative": False}],
    "quantize": [{"scale": 0.05, "zero_point": 3}],
}
APART = {o.name for o in OPERATORS.values() if any(i.channels for i in o.inputs)} | {"dequantize"}
"""With parameters for each channel: test_operators.py."""
PLAIN = [o for o in OPERATORS.values() if o.is_elementwise and o.name not in APART]
FLOATS = [o for o in PLAIN if "float32" in o.inputs[-1].dtypes]


def arrays_for(operator: Operator, dtype: str, seed: int) -> list[np.ndarray]:
    """Arrays that broadcast, over the operator's domain and beyond."""
    rng, count = np.random.default_rng(seed), 3 if operator.variadic else len(operator.inputs)
    shapes = [(3, 5, 41), (41,), (5, 1)][:count]
    element = ELEMENT_TYPES[dtype]
    if dtype in ("float32", "float64"):
        low, high = max(operator.domain[0], -5.0), min(operator.domain[1], 6.0)
        arrays = [rng.uniform(low, high, shape).astype(dtype) for shape in shapes]
        arrays[0][0, 0, : len(EDGES)] = EDGES
        if count > 1:
            arrays[1][-3:] = [np.nan, 0, np.inf]
    elif element.is_float:
        codes = [rng.integers(0, 1 << element.bits, shape) for shape in shapes]
        arrays = [c.astype(f"uint{8 * element.item_bytes}").view(numpy_dtype(dtype)) for c in codes]
    elif element.bits < 8 or dtype == "bool":
        arrays = [rng.integers(*element.range, shape, np.int64, endpoint=True).astype(numpy_dtype(dtype)) for shape in shapes]
    else:
        arrays = [rng.integers(-9 if element.signed else 0, 10, shape).astype(dtype) for shape in shapes]
        arrays[0][0, 0, :3] = [element.range[0], element.range[1], element.range[0] + 1]
        if count > 1:
            arrays[1][:3] = [element.range[1] if not element.signed else -1, 0, 3]  # what a processor's division traps on
    if operator.name == "where":
        arrays[0] = rng.integers(0, 2, shapes[0]).astype(bool)
    if operator.name == "quantize":
        arrays = [np.nan_to_num(x) for x in arrays]  # NaN is no level
    return arrays


def fits(operator: Operator, dtype: str, attributes: dict[str, Any]) -> bool:
    """Whether the operator has these attributes with this dtype."""
    if operator.name == "clip" and "int" in dtype:
        return attributes["low"] == int(attributes["low"])
    if operator.name == "cast" and attributes["to"] == "float8_e8m0fnu":
        return dtype == attributes["to"]
    return operator.name != "bit_cast" or ELEMENT_TYPES[dtype].bits == ELEMENT_TYPES[attributes["to"]].bits


CASES = [
    pytest.param(o, dtype, a, id=f"{o.name}-{dtype}-{'-'.join(map(str, a.values()))}")
    for o in PLAIN
    for dtype in o.inputs[-1].dtypes
    for a in GIVEN.get(o.name, [{}])
    if fits(o, dtype, a)
]


@pytest.mark.parametrize(("operator", "dtype", "attributes"), CASES)
def test_machine_code_equals_numpy(operator: Operator, dtype: str, attributes: dict[str, Any]) -> None:
    arrays = arrays_for(operator, dtype, 1)
    complete = with_defaults(operator.name, attributes)
    types = tuple(TensorType(x.shape, str(x.dtype)) for x in arrays)
    kernel = build_cpu_kernel(operator.name, types, infer_types(operator.name, types, complete), complete)
    (found,) = kernel.run(*arrays)
    with np.errstate(all="ignore"):
        expected = np.asarray(operator.kernel(arrays, complete))
    assert found.dtype == expected.dtype
    if found.dtype.kind == "f" and operator.name not in ("cast", "bit_cast"):
        tolerance = 2e-6 if found.dtype == np.float32 else 1e-13
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance / 2)
    elif ELEMENT_TYPES[str(found.dtype)].is_float:  # which NaN does not matter
        np.testing.assert_array_equal(found.astype(np.float64), expected.astype(np.float64))
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("operator", FLOATS, ids=lambda o: o.name)
def test_reads_are_those_of_the_expression(operator: Operator) -> None:
    """Fusion bounds the code of a kernel by them. A variadic operator of two is meant."""
    types = tuple(TensorType((4,), "bool" if i.dtypes == ("bool",) else "float32") for i in operator.inputs)
    types = types * 2 if operator.variadic else types
    counts = []
    for attributes in [a for a in GIVEN.get(operator.name, [{}]) if fits(operator, "float32", a)]:
        (output,) = operator.define(types, with_defaults(operator.name, attributes)).outputs
        assert output.value is not None
        loads = [e.buffer for e in walk_expr(output.value) if isinstance(e, Load)]
        counts.append(max((loads.count(x) for x in set(loads)), default=0))
    assert max(counts) == operator.reads


@pytest.mark.parametrize("operator", [o for o in FLOATS if len(o.inputs) == 1 and not o.variadic], ids=lambda o: o.name)
def test_claims_about_values(operator: Operator) -> None:
    """Sign, slope, monotony, domain and interval, over a fine grid of the domain."""
    complete = with_defaults(operator.name, GIVEN.get(operator.name, [{}])[0])
    low, high = max(operator.domain[0], -20.0), min(operator.domain[1], 20.0)
    x = np.linspace(low, high, 40_001, dtype=np.float32)
    with np.errstate(all="ignore"):
        y = np.asarray(operator.kernel([x], complete)).astype(np.float64)
    assert not np.isnan(y).any()
    if operator.monotone:
        assert (np.diff(y) >= -1e-6 * np.abs(y[1:])).all()  # but for rounding
    if operator.non_negative:
        assert y.min() >= 0
    if np.isfinite(operator.slope):
        steps = np.abs(np.diff(y)) / np.diff(x.astype(np.float64))
        assert steps.max() <= operator.slope + 0.01
    if operator.clips is not None:
        bounds = operator.clips(complete)
        np.testing.assert_array_equal(y, np.clip(x, *np.float32(bounds)))


def test_what_is_claimed_is_claimed_by_some_and_not_by_all() -> None:
    """The claims above would hold of nothing, were the fields never set."""
    forms = ("integer_form", "rescaled_form", "product_form")
    for trait in ("moves", "commutes", *forms, "takes_clip", "non_negative", "monotone", "host_reason", "has_table"):
        assert 1 <= sum(bool(getattr(o, trait)) for o in OPERATORS.values()) < len(OPERATORS) / 2, trait
    assert {o.name for o in OPERATORS.values() if o.channel_axis is not None} == {"conv2d", "dense"}
    assert {o.name for o in OPERATORS.values() if o.clips is not None} == {"relu", "clip"}


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_powers_of_integers(dtype: str) -> None:
    """Against Python's whole numbers, modulo 2^bits."""
    low, high = ELEMENT_TYPES[dtype].range
    x = np.array([0, 1, -1, 2, -2, 3, -7, 10, high, low, 12345 % high], dtype)
    e = (
        np.array([0, 1, 2, 3, 4, 7, 8, 20, 63, 64, 100, high, high - 1, -1, -2, low], np.int64)
        .clip(low, high)
        .astype(dtype)[:, None]
    )
    types = (TensorType(x.shape, dtype), TensorType(e.shape, dtype))
    (found,) = build_cpu_kernel("integer_pow", types, infer_types("integer_pow", types, {}), {}).run(x, e)

    def power(base: int, exponent: int) -> int:
        if exponent < 0:
            return {1: 1, -1: 1 - 2 * (exponent % 2)}.get(base, 0)
        return (pow(base, exponent, 1 << ELEMENT_TYPES[dtype].bits) - low) % (high - low + 1) + low

    expected = [[power(int(b), int(n)) for b in x] for n in e.ravel()]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(OPERATORS["integer_pow"].kernel([x, e], {}), expected)
