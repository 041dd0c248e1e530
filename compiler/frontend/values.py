"""What names of a model stand for while it is read: tensors, arrays known already, sequences of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.compiler.graph.graph import TensorType


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of the graph, or an array known at import.

    unsigned: levels of uint8 in the model, held as int8, each less 128, as QuantizeLinear leaves them. Importers need not
    know: to them it is uint8 (`dtype`), and the builder makes true uint8 of it where an operator wants that.
    """

    name: str
    type: TensorType
    constant: np.ndarray | None = None
    unsigned: bool = False
    static: bool = False  # computed from constants alone (dequantised weights)

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
