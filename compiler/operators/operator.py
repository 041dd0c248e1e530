"""The record of one operator: what it takes, what it computes, and what the rest of the compiler may know about it.

A family module (`unary`, `pooling` …) holds one record for each of its operators; `registry` gathers them. Nothing else lists
operators by name in order to say something about them: passes, importers and targets ask the fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.element_types import DTYPES, FLOATS, INTEGERS
from vdla.compiler.operators.attribute import Attribute
from vdla.compiler.operators.definition import Attributes, Definition, Types
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError

FLOAT = FLOATS
"""Other floats are computed in float32: whatever emits an operator casts them there and back."""
INT8 = ("int8",)
INT32 = ("int32",)
BOOL = ("bool",)
INTEGER = INTEGERS
NUMBER = (*FLOAT, *INTEGER)
SIGNED = tuple(name for name in NUMBER if ELEMENT_TYPES[name].signed)
ANY = DTYPES
"""Of what elements are only moved about, chosen or converted."""
MAX_RANK = 64
ANY_RANK = (0, MAX_RANK)
IMAGE = (4, 4)
"""Ranks from … to: (N, C, H, W)."""

Infer = Callable[[Types, Attributes], tuple[TensorType, ...]]
Define = Callable[..., Definition]
"""Types and attributes → tensor expressions; some take keywords too: forms of one value, between which a schedule chooses."""
Kernel = Callable[[Sequence[Any], Attributes], np.ndarray | tuple[np.ndarray, ...]]
"""Inputs (None where an optional one is absent) and all attributes → the output, or a tuple of them where there are several."""


class Fusion(str, Enum):  # noqa: UP042 - StrEnum came with Python 3.11; a board has 3.10
    """How an operator fuses; the first four are the classes of the TVM paper, of which elementwise is a kind of injective."""

    ELEMENTWISE = "elementwise"  # an element of the output needs the same one of each operand, or the one it is broadcast from
    INJECTIVE = "injective"  # an element of the output needs one element, elsewhere
    REDUCTION = "reduction"
    COMPLEX = "complex"  # a layer, on whose output elementwise operators ride
    OPAQUE = "opaque"  # fuses with nothing


@dataclass(frozen=True, slots=True)
class Input:
    """What one input must be.

    dtypes: those it may have. like: an earlier input, whose dtype it shares. rank: fewest and most dimensions. channels: it is
    a vector of one value for each index of an (input, axis), or with `or_one` of a single value for all of them.
    """

    name: str
    dtypes: tuple[str, ...] = FLOAT
    like: str = ""
    rank: tuple[int, int] = ANY_RANK
    channels: tuple[str, int] | None = None
    or_one: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """inputs: the last `optional` may be absent; of a `variadic` operator the last one stands for one or more.

    infer: the outputs' types, given inputs and attributes already checked against the declarations here.
    define: the same as tensor expressions. kernel: the same in NumPy, sharing no code with them, so that each checks the other.
    """

    name: str
    inputs: tuple[Input, ...]
    infer: Infer
    define: Define
    kernel: Kernel
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    optional: int = 0
    variadic: bool = False
    mixed: bool = False
    """Its variadic inputs may differ in dtype."""

    fusion: Fusion = Fusion.OPAQUE
    reads: int = 1
    """How often the tensor expression, on floats where it takes them, has its most-read input in it."""
    moves: bool = False
    """It only moves elements about, or puts a constant between them."""
    commutes: bool = False
    """It commutes with dequantisation, s·(q - z) of every element, where all inputs share s and z: quantised, it is itself."""
    integer_form: str = ""
    """The operator that does the same to int8 levels, where that is another one."""
    rescaled_form: str = ""
    """The operator that does the same to levels of two tensors, each rescaled from a scale of its own."""
    product_form: str = ""
    """The operator that does the same to levels of two tensors, whose scales multiply."""
    takes_clip: bool = False
    """Its quantised form ends in a requantisation, to which a clip behind it can be left."""
    channel_axis: int | None = None
    """Of a layer with weights, input 1, a row of them for each channel of the output: where those channels lie there."""
    non_negative: bool = False
    """No element of the output is below zero, of floats."""
    clips: Callable[[Attributes], tuple[float, float]] | None = None
    """It is min(max(x, low), high), for these two."""
    slope: float = inf
    """The largest |∂y/∂x| at the default attributes: how much an error of an input can grow. Infinite where it jumps."""
    monotone: bool = False
    """y does not decrease as x grows, at the default attributes."""
    domain: tuple[float, float] = (-inf, inf)
    """The real inputs between which it gives real numbers."""
    host_reason: str = ""
    """Why the host runs it, where that is not for want of an integer form."""

    @property
    def arity(self) -> tuple[int, int]:
        """Fewest and most inputs."""
        count = len(self.inputs)
        return count - self.optional, 1 << 30 if self.variadic else count

    @property
    def is_elementwise(self) -> bool:
        return self.fusion is Fusion.ELEMENTWISE

    @property
    def has_table(self) -> bool:
        """Whether it is a function of one float: of int8 levels, `qtable` computes it, where the output is levels too."""
        one = len(self.inputs) == 1 and not self.variadic
        return self.is_elementwise and one and "float32" in self.inputs[0].dtypes

    def input_at(self, index: int) -> Input:
        """The declaration of one input."""
        return self.inputs[min(index, len(self.inputs) - 1)]


def check_inputs(operator: Operator, types: Types) -> None:
    """Number, dtypes, ranks and parameter shapes of the inputs. Raises `ModelError`."""
    fewest, most = operator.arity
    if not fewest <= len(types) <= most:
        expected = f"{fewest} or more" if operator.variadic else f"{fewest} to {most}" if fewest < most else str(most)
        raise ModelError(f"wrong number of inputs of {operator.name}", found=len(types), expected=expected)
    known: dict[str, TensorType] = {}
    for index, given in enumerate(types):
        declared = operator.input_at(index)
        if given is None:
            if index < fewest or operator.variadic:
                raise ModelError(f"input {declared.name} of {operator.name} is absent", expected="a tensor")
            continue
        check_input(operator, declared, given, known)
        known.setdefault(declared.name, given)


def check_input(operator: Operator, declared: Input, given: TensorType, known: Mapping[str, TensorType]) -> None:
    """One input, `known` being those before it."""
    what = f"input {declared.name} of {operator.name}"
    same = known.get(declared.like or (declared.name if operator.variadic and not operator.mixed else ""))
    allowed = declared.dtypes if same is None else (same.dtype,)
    if given.dtype not in allowed:
        raise ModelError(f"unsupported dtype of {what}", found=given.dtype, expected=" or ".join(allowed))
    low, high = declared.rank
    if not low <= len(given.shape) <= high:
        allowed_rank = str(low) if low == high else f"{low} or more" if high == MAX_RANK else f"{low} to {high}"
        raise ModelError(f"unsupported shape of {what}", found=given.shape, expected=f"{allowed_rank} dimensions")
    if declared.channels is not None:
        source, axis = declared.channels
        shapes = [(known[source].shape[axis],), *([(1,)] if declared.or_one else [])]
        if given.shape not in shapes:
            expected = " or ".join(map(str, shapes)) + f", for {source} of shape {known[source].shape}"
            raise ModelError(f"{what} does not fit {source}", found=given.shape, expected=expected)


def complete_attributes(operator: Operator, attributes: Attributes) -> dict[str, Any]:
    """All attributes, defaults included. Raises `ModelError` on one that is unknown, missing or not what it must be."""
    known = operator.attributes
    if unknown := sorted(set(attributes) - set(known)):
        expected = ", ".join(sorted(known)) or "none"
        raise ModelError(f"{operator.name} has no attribute {unknown}", expected=expected)
    complete = {name: attributes.get(name, known[name].default) for name in known}
    if missing := [name for name, value in complete.items() if value is None]:
        raise ModelError(f"{operator.name} needs attribute {missing}")
    for name, value in complete.items():
        if not known[name].accepts(value):
            raise ModelError(f"attribute {name} of {operator.name}", found=value, expected=known[name].expected)
    return complete
