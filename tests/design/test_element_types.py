"""The table of element types, against NumPy and ml_dtypes."""

from __future__ import annotations

import sys

import ml_dtypes
import numpy as np
import pytest

from vdla.design_file import load_design, shipped_designs
from vdla.element_types import BIPOLAR, BOOL, ELEMENT_TYPES, FLOAT, numpy_dtype
from vdla.errors import RunError
from vdla.isa.definition import Scratchpad, element_type, tile_bytes

NATIVE = [name for name, element in ELEMENT_TYPES.items() if element.native]


def test_numpy_has_the_native_ones() -> None:
    wanted = {np.dtype(code).name for code in np.typecodes["AllInteger"] + "efd?"}
    assert set(NATIVE) == wanted


@pytest.mark.parametrize("name", NATIVE)
def test_native_types_are_numpys(name: str) -> None:
    element, dtype = ELEMENT_TYPES[name], np.dtype(name)
    assert element.bits == 8 * dtype.itemsize
    assert element.is_float == (dtype.kind == "f")
    assert element.is_integer == (dtype.kind in "iu")
    assert str(numpy_dtype(name)) == name and numpy_dtype(name) == dtype and dtype.itemsize == element.item_bytes
    assert element.signed == (dtype.kind in "if")
    if element.is_integer:
        assert element.range == (np.iinfo(dtype).min, np.iinfo(dtype).max)
    assert element.bytes_of(7) == np.zeros(7, dtype).nbytes


@pytest.mark.parametrize("name", [name for name in ELEMENT_TYPES if name not in NATIVE and name != "bipolar"])
def test_other_types_are_those_of_ml_dtypes(name: str) -> None:
    element, dtype = ELEMENT_TYPES[name], np.dtype(getattr(ml_dtypes, name))
    if element.is_float:
        assert element.bits == ml_dtypes.finfo(dtype).bits
        assert element.storage == f"uint{8 * element.item_bytes}"
        with pytest.raises(ValueError, match="is a float"):
            _ = element.range
    else:
        info = ml_dtypes.iinfo(dtype)
        assert (element.bits, element.range) == (info.bits, (int(info.min), int(info.max)))
        assert np.iinfo(element.storage).min <= info.min and info.max <= np.iinfo(element.storage).max
    assert element.signed == (dtype.type(-1).astype(np.float32) == -1 if element.kind == FLOAT else info.min < 0)


def test_numpy_has_no_other_types_of_tensors() -> None:
    assert [str(numpy_dtype(name)) for name in NATIVE] == NATIVE
    for name in ("bipolar", "float128", "string"):
        with pytest.raises(ValueError, match=name):
            numpy_dtype(name)


def test_without_ml_dtypes_its_types_are_refused_and_numpys_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    numpy_dtype.cache_clear()
    assert numpy_dtype("int8") == np.int8
    with pytest.raises(RunError, match="bfloat16.*ml_dtypes"):
        numpy_dtype("bfloat16")


def test_types_of_few_values() -> None:
    assert (ELEMENT_TYPES["bool"].kind, ELEMENT_TYPES["bool"].range) == (BOOL, (0, 1))
    assert (ELEMENT_TYPES["bipolar"].kind, ELEMENT_TYPES["bipolar"].range, ELEMENT_TYPES["bipolar"].bits) == (
        BIPOLAR,
        (-1, 1),
        1,
    )


@pytest.mark.parametrize(("name", "count", "size"), [("int4", 3, 2), ("int2", 4, 1), ("bipolar", 9, 2), ("int8", 0, 0)])
def test_dense_elements_share_bytes(name: str, count: int, size: int) -> None:
    assert ELEMENT_TYPES[name].bytes_of(count) == size


@pytest.mark.parametrize("name", shipped_designs())
def test_tiles_are_their_elements(name: str) -> None:
    design = load_design(name)
    g = design.gemm
    shapes = {
        Scratchpad.INP: (g.batch, g.block_in), Scratchpad.WGT: (g.block_out, g.block_in),
        Scratchpad.ACC: (g.batch, g.block_out), Scratchpad.OUT: (g.batch, g.block_out),
    }  # fmt: skip
    for buffer, shape in shapes.items():
        assert np.zeros(shape, element_type(design, buffer).storage).nbytes == tile_bytes(design, buffer)
