"""Random inputs and attributes, mostly wrong: an operator refuses them as a `ModelError`, or its expression and its kernel take
them and give exactly the types that inference said. A seed names a trial."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators.operator import ANY, Operator
from vdla.compiler.operators.registry import OPERATORS, infer_types, with_defaults
from vdla.errors import ModelError

VALUES: list[Any] = [
    -129, -3, -1, 0, 1, 2, 3, 5, 0.5, -1.5, True, False, "columns", "window", "tanh", "edge", "linear", "zeros", "float32",
    "bfloat16", "uint8", "int4", "left", "x", None, (), (0,), (1,), (0, 1), (1, 0), (1, 1), (2, 3), (3, 2), (2, 1, 1),
    (0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 3), (2, 1, 3, 2), (-1, 0, 0, 0), (1, 2, 3, 4), [1, 1], (0.5, 2.0),
]  # fmt: skip


def random_type(rng: np.random.Generator, dtypes: tuple[str, ...], rank: tuple[int, int]) -> TensorType:
    """Mostly of a dtype and a rank that will do."""
    dtype = str(rng.choice(dtypes if rng.random() < 0.9 else ANY))
    low, high = (rank[0], min(rank[1], rank[0] + 3)) if rng.random() < 0.9 else (0, 5)
    return TensorType(tuple(int(n) for n in rng.choice([1, 1, 2, 3, 4], int(rng.integers(low, high + 1)))), dtype)


def recurrent(gates: int, *extra: int) -> Callable[[np.random.Generator], list[tuple[int, ...]]]:
    """Shapes of a recurrent operator's inputs; extra: rows of its last input for each unit."""

    def shapes(rng: np.random.Generator) -> list[tuple[int, ...]]:
        steps, batch, hidden = map(int, rng.integers(1, 4, 3))
        states = [(batch, hidden)] * (2 if gates == 4 else 1)
        return [(steps, batch, gates * hidden), (gates * hidden, hidden), *states, (batch,), *((n * hidden,) for n in extra)]

    return shapes


TYPICAL = {"rnn": recurrent(1), "gru": recurrent(3, 1), "lstm": recurrent(4, 3)}
"""Of operators whose inputs hang together: shapes that fit."""


def typical_inputs(rng: np.random.Generator, operator: Operator) -> tuple[TensorType | None, ...]:
    shapes = TYPICAL[operator.name](rng)
    floats = operator.inputs[0].dtypes
    dtype = str(rng.choice(floats))
    given = zip(shapes, operator.inputs, strict=True)
    types = [TensorType(shape, dtype if declared.dtypes == floats else declared.dtypes[0]) for shape, declared in given]
    return tuple(types[: int(rng.integers(operator.arity[0], len(types) + 1))])


def random_inputs(rng: np.random.Generator, operator: Operator) -> tuple[TensorType | None, ...]:
    """Parameters for channels mostly fit, and operands are mostly alike."""
    if operator.name in TYPICAL and rng.random() < 0.3:
        return typical_inputs(rng, operator)
    types: list[TensorType | None] = []
    count = len(operator.inputs) - (operator.optional if rng.random() < 0.5 else 0) + int(operator.variadic and rng.integers(3))
    for index in range(max(count + (rng.random() < 0.03), 0)):
        declared = operator.input_at(index)
        given = random_type(rng, declared.dtypes, declared.rank)
        first = types[0] if types else None
        if declared.channels is not None and rng.random() < 0.95:
            names = [i.name for i in operator.inputs]
            source = types[names.index(declared.channels[0])]
            if source is not None and len(source.shape) > declared.channels[1]:
                given = TensorType((source.shape[declared.channels[1]],), given.dtype)
        elif first is not None and rng.random() < 0.6:
            given = TensorType(first.shape, first.dtype if declared.like and rng.random() < 0.9 else given.dtype)
        types.append(None if rng.random() < 0.02 else given)
    return tuple(types)


def random_attributes(rng: np.random.Generator, operator: Operator, types: tuple[TensorType | None, ...]) -> dict[str, Any]:
    """Values that mostly are of the right kind, or are missing where there is a default."""
    chosen: dict[str, Any] = {}
    shape = types[0].shape if types and types[0] is not None else ()
    rank = len(shape)
    near = [tuple(range(rank)), (1,) * rank, (0,) * rank, shape]
    if rank == 6:  # tiles
        near += [(shape[0] * shape[4], shape[1] * shape[5], *shape[2:4])] * 20
    if rank > 2:  # windows over the spatial axes
        near += [(1,) * (rank - 2), (2,) * (rank - 2), (0,) * (2 * rank - 4)] * 8
    for name, attribute in operator.attributes.items():
        fitting = [v for v in (*VALUES, *near) if v is not None and attribute.accepts(v)]
        if attribute.default is not None and rng.random() < 0.5:
            continue
        pool = fitting if fitting and rng.random() < 0.95 else VALUES
        chosen[name] = pool[int(rng.integers(len(pool)))]
    return chosen


F = "float32"
FITTING: dict[str, tuple[list[tuple[str, tuple[int, ...]]], dict[str, Any]]] = {
    "qtable": ([("int8", (2, 3)), ("int8", (256,))], {}),
    "rotary_embedding": ([(F, (2, 1, 3, 6)), (F, (2, 3, 2)), (F, (1, 3, 2))], {"rotated": 4}),
    "conv_transpose": (
        [(F, (2, 4, 3, 3)), (F, (4, 1, 2, 3)), (F, (2,))],
        {"strides": (2, 1), "dilations": (1, 2), "before": (1, -1), "output": (6, 7), "groups": 2},
    ),
    "deform_conv2d": ([(F, (2, 2, 3, 4)), (F, (3, 2, 2, 2)), (F, (2, 8, 2, 3)), (F, (3,)), (F, (2, 4, 2, 3))], {}),
}
"""Of operators whose inputs fit each other too closely to be drawn: what will do, taken in every fourth trial."""


def data(rng: np.random.Generator, t: TensorType) -> np.ndarray:
    few = t.dtype in ("bool", "int2")
    return rng.integers(0 if few else 1, 2 if few else 4, t.shape).astype(np.float32).astype(t.numpy_dtype)


DRAWN = [operator for operator in OPERATORS.values() if operator.name != "scan"]  # test_scan.py: no graph would fit by chance


@pytest.mark.parametrize("operator", DRAWN, ids=lambda o: o.name)
def test_refused_or_computed_as_inferred(operator: Operator) -> None:
    accepted = seed = 0
    while seed < 150 or (not accepted and seed < 3000):
        seed += 1
        rng = np.random.default_rng([seed, *operator.name.encode()])
        types = random_inputs(rng, operator)
        attributes = random_attributes(rng, operator, types)
        if operator.name in FITTING and seed % 4 == 0:
            fitting, attributes = FITTING[operator.name]
            types = tuple(TensorType(shape, dtype) for dtype, shape in fitting)
        where = f"{operator.name}, seed {seed}: {types}, {attributes}"
        try:
            outputs = infer_types(operator.name, types, attributes)
        except ModelError:
            continue
        except Exception as error:
            raise AssertionError(f"{where}: {error!r}") from error
        accepted += 1
        if not all(t.elements for t in outputs):  # a constant: nothing is computed
            continue
        complete = with_defaults(operator.name, attributes)
        definition = operator.define(types, complete)
        shapes = [(prod(s.shape), s.dtype) for s in definition.outputs]
        assert shapes == [(t.elements, t.dtype) for t in outputs], where
        te.create_function("f", definition.inputs, definition.outputs)
        with np.errstate(all="ignore"):
            result = operator.kernel([None if t is None else data(rng, t) for t in types], complete)
        arrays = result if isinstance(result, tuple) else (result,)
        assert [TensorType(np.shape(a), str(np.asarray(a).dtype)) for a in arrays] == list(outputs), where
    assert accepted, "no trial got past the checks"
