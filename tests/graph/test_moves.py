"""Rearrangements against NumPy's reshape and transpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vdla.compiler.graph.moves import Move, composed, move, reshaping, spread, steps, transposing

Shape = tuple[int, ...]


def random_shape(rng: np.random.Generator, elements: int) -> Shape:
    """A factorisation of `elements` with ones in it."""
    shape = []
    while elements > 1:
        divisors = [d for d in range(2, elements + 1) if elements % d == 0]
        shape.append(int(rng.choice(divisors)))
        elements //= shape[-1]
    for _ in range(int(rng.integers(0, 3))):
        shape.insert(int(rng.integers(len(shape) + 1)), 1)
    return tuple(shape)


def random_step(rng: np.random.Generator, shape: Shape) -> Move:
    if rng.integers(2):
        return reshaping(shape, random_shape(rng, int(np.prod(shape))))
    return transposing(shape, tuple(int(i) for i in rng.permutation(len(shape))))


def run(x: np.ndarray, op: str, a: dict[str, Any]) -> np.ndarray:
    return x.reshape(a["shape"]) if op == "reshape" else x.transpose(a["permutation"])


@pytest.mark.parametrize("trial", range(200))
def test_random_chains(trial: int) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    shape = random_shape(rng, int(rng.choice([1, 24, 36, 60, 128])))
    x = np.arange(np.prod(shape)).reshape(shape)
    whole, y, count = reshaping(shape, shape), x, 0
    for _ in range(6):
        step = random_step(rng, y.shape)
        together = composed(whole, step)
        if together is None:  # their parts cut across each other: start anew
            whole, x = reshaping(y.shape, y.shape), y
            together = composed(whole, step)
            assert together is not None, f"seed {seed}"
        y, whole, count = step.apply(y), together, count + 1
        assert (whole.source, whole.result) == (x.shape, y.shape), f"seed {seed}"
        np.testing.assert_array_equal(whole.apply(x), y, f"seed {seed}: {whole}")
        np.testing.assert_array_equal(whole.inverse.apply(y), x, f"seed {seed}")
        back = composed(whole, whole.inverse)
        assert back is not None and back.is_identity, f"seed {seed}"
        written = x
        for op, attributes in steps(whole):
            written = run(written, op, attributes)
        np.testing.assert_array_equal(written, y, f"seed {seed}: {steps(whole)}")
        assert len(steps(whole)) <= 3 and whole.is_identity == (not steps(whole)), f"seed {seed}"


@pytest.mark.parametrize("trial", range(100))
def test_what_broadcasts_moves_along(trial: int) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    shape = random_shape(rng, int(rng.choice([24, 36, 60])))
    whole = random_step(rng, shape)
    for _ in range(2):
        whole = composed(whole, random_step(rng, whole.result)) or whole
    own = tuple(size if rng.integers(2) else 1 for size in shape)[int(rng.integers(len(shape))) :]
    small = rng.integers(0, 99, own)
    moved = spread(whole, own)
    if moved is not None:
        expected = whole.apply(np.broadcast_to(small, shape))
        np.testing.assert_array_equal(np.broadcast_to(moved.apply(small), whole.result), expected, f"seed {seed}")


def test_equal_rearrangements_are_equal() -> None:
    heads = composed(reshaping((1, 128, 768), (1, 128, 12, 64)), transposing((1, 128, 12, 64), (0, 2, 1, 3)))
    back = transposing((1, 12, 128, 64), (0, 2, 1, 3))
    assert heads == move((1, 128, 768), (128, 12, 64), (1, 0, 2), (1, 12, 128, 64))
    assert composed(heads, back) == reshaping((1, 128, 768), (1, 128, 12, 64))
    assert composed(reshaping((4, 6), (24,)), reshaping((24,), (6, 4))) == reshaping((4, 6), (6, 4))
    cut = composed(reshaping((6, 4), (4, 6)), transposing((4, 6), (1, 0)))
    assert cut is not None and composed(transposing((4, 6), (1, 0)), cut) is None  # of parts (6, 4), and (4, 6)


def test_steps_are_few() -> None:
    assert steps(transposing((1, 128, 768), (0, 2, 1))) == [("transpose", {"permutation": (0, 2, 1)})]
    assert steps(move((1, 128, 768), (128, 768), (1, 0), (1, 768, 128, 1))) == [
        ("reshape", {"shape": (1, 1, 128, 768)}),
        ("transpose", {"permutation": (0, 3, 2, 1)}),
    ]
    assert steps(move((1, 768, 128, 1), (768, 128), (1, 0), (1, 128, 768))) == [
        ("reshape", {"shape": (1, 768, 128)}),
        ("transpose", {"permutation": (0, 2, 1)}),
    ]
    assert steps(move((4, 6), (4, 6), (1, 0), (2, 12))) == [
        ("transpose", {"permutation": (1, 0)}),
        ("reshape", {"shape": (2, 12)}),
    ]


def test_a_vector_of_channels_moves_along() -> None:
    image = move((1, 128, 768), (128, 768), (1, 0), (1, 768, 128, 1))
    assert spread(image, (768,)) == reshaping((768,), (1, 768, 1, 1))
    assert spread(image, (128, 1)) == reshaping((128, 1), (1, 1, 128, 1))
    assert spread(reshaping((2, 6), (12,)), (6,)) is None  # an axis of both kinds
    assert spread(reshaping((12,), (2, 6)), (1,)) == reshaping((1,), (1, 1))
