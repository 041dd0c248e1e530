"""What is refused before an operator computes anything: number, dtype, rank and shape of inputs, and attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators.operator import ANY, Operator
from vdla.compiler.operators.registry import FAMILIES, OPERATORS, infer_type, infer_types, with_defaults
from vdla.errors import ModelError

F, I8, I32, I64, B = "float32", "int8", "int32", "int64", "bool"
CONV = [(F, (1, 4, 5, 5)), (F, (6, 4, 3, 3))]
QCONV = [(I8, (1, 4, 5, 5)), (I8, (6, 4, 1, 1)), (I32, (6,)), (I32, (1,))]
REFUSALS: dict[str, tuple[str, list[Any], dict[str, Any], str]] = {
    "unknown": ("nonsense", [], {}, "unknown operator; found 'nonsense'; expected abs"),
    "too few": ("add", [(F, (2,))], {}, "wrong number of inputs of add; found 1; expected 2"),
    "too many": ("conv2d", [*CONV, (F, (6,)), (F, (6,))], {}, "wrong number of inputs of conv2d; found 4; expected 2 to 3"),
    "none": ("concat", [], {"axis": 0}, "wrong number of inputs of concat; found 0; expected 1 or more"),
    "absent": ("add", [(F, (2,)), None], {}, "input b of add is absent"),
    "dtype": ("sin", [(I32, (2,))], {}, "unsupported dtype of input x of sin; found 'int32'; expected float32"),
    "another dtype": (
        "add",
        [(F, (2,)), (I64, (2,))],
        {},
        "unsupported dtype of input b of add; found 'int64'; expected float32",
    ),
    "mixed": ("max", [(I64, (2,)), (F, (2,))], {}, "unsupported dtype of input x of max; found 'float32'; expected int64"),
    "levels": ("qconv2d", [(F, (1, 4, 5, 5)), *QCONV[1:]], {}, "input x of qconv2d; found 'float32'; expected int8"),
    "condition": ("where", [(F, (2,))] * 3, {}, "input condition of where; found 'float32'; expected bool"),
    "rank": (
        "conv2d",
        [(F, (1, 4, 5)), CONV[1]],
        {},
        "unsupported shape of input x of conv2d; found (1, 4, 5); expected 4 dimensions",
    ),
    "low rank": ("matmul", [(F, (2,)), (F, (2, 2))], {}, "input a of matmul; found (2,); expected 2 or more dimensions"),
    "bias": (
        "conv2d",
        [*CONV, (F, (5,))],
        {},
        "input b of conv2d does not fit w; found (5,); expected (6,), for w of shape (6, 4, 3, 3)",
    ),
    "scales": (
        "qconv2d",
        [*QCONV[:3], (I32, (4,))],
        {},
        "input scale of qconv2d does not fit w; found (4,); expected (6,) or (1,)",
    ),
    "statistics": ("batch_norm", [(F, (2, 3)), *[(F, (3,))] * 3, (F, (1,))], {}, "input variance of batch_norm does not fit x"),
    "residual": ("qconv2d", [*QCONV, (I8, (1, 6, 5, 4)), *QCONV[2:]], {}, "the residual does not fit the output"),
    "ranks": (
        "qmul",
        [(I8, (1, 4, 5, 5)), (I8, (4, 1, 1)), (I32, (1,)), (I32, (1,))],
        {},
        "operands differ in rank; found '(1, 4, 5, 5) and (4, 1, 1)'",
    ),
    "operands": (
        "qadd",
        [(I8, (1, 4, 5, 5)), (I8, (1, 4, 5, 2)), *[(I32, (1,))] * 6],
        {},
        "shapes do not broadcast; found '(1, 4, 5, 5) and (1, 4, 5, 2)'",
    ),
    "a scale for each": (
        "qmatmul",
        [(I8, (3, 4)), (I8, (4, 5)), (I32, (5,)), (I32, (1,))],
        {},
        "a product of two activations has one bias and scale; found '(5,) and (1,)'",
    ),
    "images": (
        "qmatmul2d",
        [(I8, (2, 4, 5, 5)), (I8, (2, 3, 5, 1)), *[(I32, (1,))] * 2],
        {},
        "images that cannot be multiplied; found '(2, 4, 5, 5) and (2, 3, 5, 1)'",
    ),
    "short table of a convolution": (
        "qconv2d",
        [*QCONV, None, None, None, (I8, (255,))],
        {},
        "a table of wrong length; found (255,)",
    ),
    "short table": ("qtable", [(I8, (1, 4)), (I8, (255,))], {}, "a table of wrong length; found (255,); expected (256,), an"),
    "half a residual": ("qconv2d", [*QCONV, (I8, (1, 6, 5, 5)), None, None], {}, "a residual without its bias and scale"),
    "unknown attribute": ("add", [(F, (2,))] * 2, {"alpha": 1.0}, "add has no attribute ['alpha']; expected none"),
    "missing": ("clip", [(F, (2,))], {"low": 0.0}, "clip needs attribute ['high']"),
    "not a number": (
        "clip",
        [(F, (2,))],
        {"low": float("nan"), "high": 1.0},
        "attribute low of clip; found nan; expected a number",
    ),
    "text": ("elu", [(F, (2,))], {"alpha": "1"}, "attribute alpha of elu; found '1'; expected a number"),
    "truth": ("elu", [(F, (2,))], {"alpha": True}, "attribute alpha of elu; found True; expected a number"),
    "a pair": (
        "conv2d",
        CONV,
        {"strides": (1, 1, 1)},
        "attribute strides of conv2d; found (1, 1, 1); expected 2 whole numbers, at least 1",
    ),
    "zero stride": ("conv2d", CONV, {"strides": (1, 0)}, "attribute strides of conv2d; found (1, 0)"),
    "nothing to average": (
        "avg_pool2d",
        CONV[:1],
        {"kernel": (2, 2), "pads": (0, 2, 0, 0)},
        "a window lies in the padding alone",
    ),
    "negative pad": ("max_pool2d", CONV[:1], {"kernel": (2, 2), "pads": (0, 0, 0, -1)}, "attribute pads of max_pool2d"),
    "no groups": ("conv2d", CONV, {"groups": 0}, "attribute groups of conv2d; found 0; expected a whole number, at least 1"),
    "fraction": ("softmax", [(F, (2,))], {"axis": 0.5}, "attribute axis of softmax; found 0.5; expected a whole number"),
    "level": (
        "requantize",
        [(I8, (1, 2)), (I32, (1,)), (I32, (1,))],
        {"low": -129},
        "attribute low of requantize; found -129; expected a whole number, -128 to 127",
    ),
    "scale of zero": (
        "quantize",
        [(F, (2,))],
        {"scale": 0.0},
        "attribute scale of quantize; found 0.0; expected a positive number",
    ),
    "fold": ("im2col", [(I8, (1, 2, 3, 3))], {"kernel": (1, 1), "fold": "rows"}, "found 'rows'; expected columns or window"),
    "axis": ("softmax", [(F, (2, 3))], {"axis": 2}, "axis is out of range; found 2; expected -2..1"),
    "concat axis": ("concat", [(F, (2, 3))], {"axis": -3}, "axis is out of range"),
    "repeated axes": ("reduce_mean", [(F, (2, 3))], {"axes": (1, -1)}, "axes repeat; found (1, -1)"),
    "permutation": ("transpose", [(F, (2, 3))], {"permutation": (0, 0)}, "not a permutation of the axes"),
    "parts": (
        "split",
        [(F, (2, 3))],
        {"axis": 1, "sizes": (1, 1)},
        "the parts are not the whole; found (1, 1); expected sizes that sum to 3",
    ),
    "pads": ("pad", [(F, (2, 3))], {"before": (1,), "after": (0, 0)}, "pads do not fit the input; found '1 and 2 for (2, 3)'"),
    "blocks": (
        "depth_to_space",
        [(F, (1, 6, 2, 2))],
        {"blocks": (2, 2)},
        "blocks do not fit the channels; found 6; expected a multiple of 4",
    ),
    "broadcast": ("where", [(B, (2,)), (F, (3,)), (F, (1,))], {}, "shapes do not broadcast; found '(2,) and (3,) and (1,)'"),
    "tiles": ("unpack_nchwc", [(I8, (1, 2, 3, 3, 1, 4))], {"shape": (1, 9, 3, 3)}, "tiles do not hold the shape"),
    "channel scales": (
        "dequantize",
        [(I8, (2, 3))],
        {"scale": (1.0, 2.0)},
        "scales do not fit the axis; found 2; expected 1 or 3",
    ),
}


def typed(inputs: list[Any]) -> tuple[TensorType | None, ...]:
    return tuple(None if i is None else TensorType(i[1], i[0]) for i in inputs)


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(name: str) -> None:
    op, inputs, attributes, words = REFUSALS[name]
    with pytest.raises(ModelError) as caught:
        infer_types(op, typed(inputs), attributes)
    assert words in str(caught.value)


def test_several_outputs() -> None:
    types = infer_types("split", typed([(B, (2, 6))]), {"axis": -1, "sizes": (1, 2, 3)})
    assert types == (TensorType((2, 1), B), TensorType((2, 2), B), TensorType((2, 3), B))


def test_results_have_the_dtype_of_the_operation() -> None:
    two = typed([(I64, (2, 1)), (I64, (3,))])
    assert infer_type("add", two, {}) == TensorType((2, 3), I64)
    assert infer_type("less", two, {}) == TensorType((2, 3), B)
    assert infer_type("where", (TensorType((2, 1), B), *typed([(I8, (3,))] * 2)), {}) == TensorType((2, 3), I8)
    assert infer_type("cast", two[:1], {"to": F}) == TensorType((2, 1), F)


def test_numbers_of_numpy_are_numbers() -> None:
    assert with_defaults("softmax", {"axis": np.int64(1)}) == {"axis": 1}
    assert with_defaults("elu", {"alpha": np.float32(2)}) == {"alpha": 2}


def test_every_operator_is_in_one_family() -> None:
    assert sum(len(family.FAMILY) for family in FAMILIES) == len(OPERATORS) - 1  # a scan's body has any of the others


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_declarations_hold_together(operator: Operator) -> None:
    """What inputs refer to stands before them, and defaults are what the attribute accepts."""
    known: set[str] = set()
    for declared in operator.inputs:
        assert set(declared.dtypes) <= set(ANY)
        assert not declared.like or declared.like in known
        assert declared.channels is None or declared.channels[0] in known
        known.add(declared.name)
    assert len(known) == len(operator.inputs) and operator.optional < len(operator.inputs)
    assert all(a.default is None or a.accepts(a.default) for a in operator.attributes.values())
    assert not operator.integer_form or OPERATORS[operator.integer_form].commutes
    if operator.product_form:  # its activations, a bias and scale words, and the activations' zero points
        product = OPERATORS[operator.product_form]
        assert [i.dtypes for i in product.inputs] == [("int8",)] * 2 + [("int32",)] * 2
        assert {"a_zero_point", "b_zero_point"} < set(product.attributes)
    if operator.rescaled_form:  # its activations, and a bias and scale words for each and for the result
        declared = OPERATORS[operator.rescaled_form].inputs
        assert [i.dtypes for i in declared] == [("int8",)] * 2 + [("int32",)] * 6
