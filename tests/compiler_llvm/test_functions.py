"""The IR's pure functions: accuracy over a dense sample of all floats, requantisation bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vdla.compiler import ir
from vdla.compiler.backends.llvm import compile_function
from vdla.isa import semantics

SAMPLE = 4099  # of the 2³² bit patterns, every 4099th (a prime): about a million floats of every sign, exponent and kind


def every_kind_of_float() -> np.ndarray:
    return np.arange(0, 1 << 32, SAMPLE, dtype=np.uint64).astype(np.uint32).view(np.float32)


def apply(op: str, *arrays: np.ndarray, kind: str = "vectorized", attributes=()) -> np.ndarray:
    dtype, i = str(arrays[0].dtype), ir.Var("i")
    buffers = [ir.Buffer(f"x{k}", a.shape, dtype) for k, a in enumerate(arrays)]
    y = ir.Buffer("y", arrays[0].shape, dtype)
    call = ir.Call(op, tuple(b[i] for b in buffers), dtype, attributes)
    return compile_function(ir.Function(op, (*buffers, y), ir.For(i, len(arrays[0]), ir.Store(y, (i,), call), kind))).run(
        *arrays
    )[0]


def ulps(found: np.ndarray, exact: np.ndarray) -> float:
    """Largest error in units of the last place of the exact result (the smallest subnormal's near zero)."""
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    finite = np.isfinite(nearest)
    np.testing.assert_array_equal(found[~finite], nearest[~finite])
    unit = np.spacing(np.abs(nearest[finite])).astype(np.float64)
    return float(np.max(np.abs(found[finite].astype(np.float64) - exact[finite]) / unit))


EXACT = {
    "expm1": np.expm1,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": np.vectorize(math.erf),
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda x: np.where(
        x < 0, np.exp(np.minimum(x, 0)) / (1 + np.exp(np.minimum(x, 0))), 1 / (1 + np.exp(-np.maximum(x, 0)))
    ),
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "floor": np.floor,
    "ceil": np.ceil,
    "round_even": np.rint,
    "abs": np.abs,
}
LIBRARY = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")
LIMIT = {"exp": 1.0, "expm1": 2.0, "log": 1.0, "log1p": 1.5, "erf": 1.1, "tanh": 2.5, "sigmoid": 2.0, "rsqrt": 1.5}
LIMIT |= dict.fromkeys(LIBRARY, 2.5)


@pytest.mark.parametrize("kind", ["serial", "vectorized"])
@pytest.mark.parametrize("op", EXACT)
def test_float32_functions_are_within_their_stated_error(op, kind):
    """sigmoid below 2⁻¹²⁶ may flush: 1 + exp(-x) overflows a little before the quotient leaves the subnormals."""
    x = every_kind_of_float()
    if op == "sigmoid":
        x = x[~(x < -87)]
    with np.errstate(all="ignore"):
        exact = EXACT[op](x.astype(np.float64))
    assert ulps(apply(op, x, kind=kind), exact) <= LIMIT.get(op, 0.5)


def test_sigmoid_of_very_negative_numbers_is_tiny_and_not_nan():
    y = apply("sigmoid", np.array([-88, -100, -1e30, -np.inf], np.float32))
    assert (y >= 0).all()
    assert (y < 1e-37).all()


@pytest.mark.parametrize("op", ["pow", "fmod"])
def test_functions_of_two(op):
    """Floats of every kind against floats of every kind; for pow also such as do not overflow."""
    rng = np.random.default_rng(1)
    kinds = every_kind_of_float()
    pairs = [(rng.choice(kinds, 50_000), rng.choice(kinds, 50_000))]
    pairs.append((np.abs(rng.standard_normal(1001) * 2).astype(np.float32), rng.standard_normal(1001).astype(np.float32)))
    numpy = {"pow": np.power, "fmod": np.fmod}[op]
    for x, y in pairs:
        with np.errstate(all="ignore"):
            exact = numpy(x.astype(float), y.astype(float))
        assert ulps(apply(op, x, y), exact) <= 1.0


def test_erf_everywhere_it_matters():
    """Each float of a fine grid over the two branches and the seam between them."""
    x = np.linspace(-4.5, 4.5, 200_001).astype(np.float32)
    assert ulps(apply("erf", x), np.vectorize(math.erf)(x.astype(np.float64))) <= LIMIT["erf"]


def test_erf_of_common_numbers():
    """Where activations lie, as near as a C library's: the worst of all floats are a little further off."""
    x = np.abs(np.random.default_rng(1).standard_normal(1001) * 2).astype(np.float32)
    assert ulps(apply("erf", x), np.array([math.erf(v) for v in x.astype(float)])) <= 1.0


def edge_words(rng: np.random.Generator, count: int) -> np.ndarray:
    """int32 of all sizes, extremes included."""
    words = rng.integers(-(1 << 31), 1 << 31, count) >> rng.integers(0, 32, count)
    words[:6] = [0, 1, -1, (1 << 31) - 1, -(1 << 31), 1 << 30]
    return words.astype(np.int32)


@pytest.mark.parametrize("kind", ["serial", "vectorized"])
@pytest.mark.parametrize("seed", range(5))
def test_requantise_and_rescale_are_those_of_the_isa(seed, kind):
    """Every shift from 0 to 63, saturation, and accumulators that wrap."""
    rng = np.random.default_rng(seed)
    acc, bias, scale = (rng.permutation(edge_words(rng, 5003)) for _ in range(3))
    np.testing.assert_array_equal(
        apply("rescale", acc, bias, scale, kind=kind), semantics.rescale(acc, bias, scale), err_msg=f"seed {seed}"
    )
    found = apply("requantise", acc, bias, scale, kind=kind, attributes=(("high", 99), ("low", -128)))
    np.testing.assert_array_equal(found, semantics.requantise(acc, bias, scale, -128, 99), err_msg=f"seed {seed}")
