"""What names of a model stand for while it is read: tensors, arrays known already, sequences of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.compiler.graph.graph import TensorType


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of the graph, or an array known at import.

    unsigned: levels of uint8 in the model, held as int8, each less 128, as QuantizeLinear leaves them. Importers need not
    know: to them it is uint8 (`dtype`), and the builder makes true uint8 of it where an operator wants that. length: how many
    places along `axis` count, where that is data (bounded.py); the shape has as many as there may be.
    """

    name: str
    type: TensorType
    constant: np.ndarray | None = None
    unsigned: bool = False
    static: bool = False  # computed from constants alone (dequantised weights)
    length: Value | None = None
    axis: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> str:
        """As the model has it."""
        return "uint8" if self.unsigned else self.type.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """ONNX's sequence of tensors; its length is known, since shapes are."""

    items: tuple[Value, ...]


Anything = Value | Sequence | None
"""What a node can be given; None is an absent optional input."""


def length_name(output: str, axis: int) -> str:
    """The output that says how many places of another count."""
    return f"{output}.length[{axis}]"
