"""The types of elements, once: what tensors, designs and instructions are made of.

`bits` is what an element takes where elements lie densely: in a tile, in DRAM. `storage` is the NumPy dtype of an array that
holds one element an item: the type itself where NumPy has it; else the raw bits of a float, or a narrow integer's value.
`numpy_dtype` gives the type as NumPy computes with it, where the package ml_dtypes adds those that NumPy lacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.errors import RunError

FLOAT, SIGNED, UNSIGNED, BOOL, BIPOLAR = "float", "signed", "unsigned", "bool", "bipolar"


@dataclass(frozen=True)
class ElementType:
    """kind: FLOAT, SIGNED or UNSIGNED integer, BOOL, or BIPOLAR (one bit: -1 or 1)."""

    name: str
    kind: str
    bits: int
    storage: str

    @property
    def native(self) -> bool:
        """NumPy has the type itself."""
        return self.storage == self.name

    @property
    def is_float(self) -> bool:
        return self.kind == FLOAT

    @property
    def is_integer(self) -> bool:
        return self.kind in (SIGNED, UNSIGNED)

    @property
    def signed(self) -> bool:
        """It has negative values."""
        return self.kind in (FLOAT, SIGNED, BIPOLAR) and self.name != "float8_e8m0fnu"

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value of what is no float. Raises `ValueError` for a float."""
        if self.kind == FLOAT:
            raise ValueError(f"{self.name} is a float")
        if self.kind in (BOOL, BIPOLAR):
            return (0, 1) if self.kind == BOOL else (-1, 1)
        if self.kind == SIGNED:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1

    @property
    def item_bytes(self) -> int:
        """Bytes of one element in an array or a buffer of the host, where each has bytes of its own."""
        return ceil_div(self.bits, 8)

    def bytes_of(self, count: int) -> int:
        """Bytes of `count` elements that lie densely."""
        return ceil_div(count * self.bits, 8)


ELEMENT_TYPES: dict[str, ElementType] = {
    name: ElementType(name, kind, bits, storage)
    for name, kind, bits, storage in (
        ("float64", FLOAT, 64, "float64"),
        ("float32", FLOAT, 32, "float32"),
        ("float16", FLOAT, 16, "float16"),
        ("bfloat16", FLOAT, 16, "uint16"),
        ("float8_e4m3fn", FLOAT, 8, "uint8"),
        ("float8_e4m3fnuz", FLOAT, 8, "uint8"),
        ("float8_e5m2", FLOAT, 8, "uint8"),
        ("float8_e5m2fnuz", FLOAT, 8, "uint8"),
        ("float8_e8m0fnu", FLOAT, 8, "uint8"),  # powers of two, the scales of a block: no sign and no zero
        ("float4_e2m1fn", FLOAT, 4, "uint8"),
        ("int64", SIGNED, 64, "int64"),
        ("int32", SIGNED, 32, "int32"),
        ("int16", SIGNED, 16, "int16"),
        ("int8", SIGNED, 8, "int8"),
        ("int4", SIGNED, 4, "int8"),
        ("int2", SIGNED, 2, "int8"),
        ("uint64", UNSIGNED, 64, "uint64"),
        ("uint32", UNSIGNED, 32, "uint32"),
        ("uint16", UNSIGNED, 16, "uint16"),
        ("uint8", UNSIGNED, 8, "uint8"),
        ("uint4", UNSIGNED, 4, "uint8"),
        ("uint2", UNSIGNED, 2, "uint8"),
        ("bool", BOOL, 8, "bool"),  # a whole byte, as NumPy, ONNX and C have it
        ("bipolar", BIPOLAR, 1, "int8"),
    )
}


@cache
def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of a type of tensors; its `str` is `name` again. ml_dtypes keeps 4- and 2-bit elements one a byte.

    Raises `ValueError` for a name that is none (bipolar elements lie in no array of the host), `RunError` where NumPy lacks
    the type and ml_dtypes is not installed.
    """
    if name not in ELEMENT_TYPES or name == "bipolar":
        raise ValueError(f"no type of tensors: {name}")
    if ELEMENT_TYPES[name].native:
        return np.dtype(name)
    try:
        import ml_dtypes  # here, because boards have NumPy alone
    except ImportError:
        hint = "pip install ml_dtypes"
        raise RunError("NumPy has no such type of its own", found=name, expected="the package ml_dtypes", hint=hint) from None
    return np.dtype(getattr(ml_dtypes, name))
