"""Element types on other processors: casts under emulation as on this machine, and no library that need not be there."""

from __future__ import annotations

import re

import numpy as np
import pytest
from element_values import SCALE, assert_same, elementwise, values_of
from emulation import MACHINES, emulate

from vdla.compiler import te
from vdla.compiler.backends.llvm import Target, compile_function, emit_module, emit_object
from vdla.compiler.backends.llvm.target import assembly_code
from vdla.compiler.ir.element_types import DTYPES, FLOATS, NARROW_FLOATS

TRIPLES = {
    **{name: machine.target for name, machine in MACHINES.items()},
    "x86-64": Target("x86_64-linux-gnu"),
    "x86-64 with f16c": Target("x86_64-linux-gnu", "haswell", "+avx2,+f16c"),
    "riscv64": Target("riscv64-unknown-linux-gnu", "generic-rv64", "+m,+f,+d"),
}


def normal(dtype: str) -> np.ndarray:
    """Some elements, none of which is a subnormal float32: NEON takes those for 0."""
    x = np.random.default_rng(5).permutation(values_of(dtype))[:1000]
    size = np.abs(x.astype(np.float64))
    return np.where((size > 0) & (size < 2.0**-126), x.dtype.type(1), x).astype(x.dtype) if "float" in dtype else x


@pytest.mark.parametrize("name", MACHINES)
def test_casts_are_those_of_this_machine(name: str, tmp_path) -> None:
    machine = MACHINES[name]
    if machine.missing:
        pytest.skip(f"not installed: {machine.missing}")
    work, expected = {}, {}
    for source in DTYPES:
        x = normal(source)
        for target in DTYPES if source in ("float32", "float64", "int64", "uint64") else ("float32", "float64", "int32", SCALE):
            func = elementwise([(len(x), source)], lambda v, to=target: te.cast(v, to))
            work[f"{source} to {target}"] = (func, [x])
            expected[f"{source} to {target}"] = compile_function(func).run(x)
    for key, (found,) in emulate(work, machine, tmp_path).items():
        assert_same(found, expected[key][0], key)


@pytest.mark.parametrize("kind", ["serial", "vectorized"])
@pytest.mark.parametrize("name", TRIPLES)
def test_narrow_floats_need_no_library(name: str, kind: str) -> None:
    """LLVM would call __extendhfsf2 and the like, which a kernel's loader does not have."""
    for dtype in NARROW_FLOATS:
        for wide in FLOATS:
            for source, target in ((dtype, wide), (wide, dtype)):
                func = elementwise([(37, source)], lambda v, to=target: te.cast(v, to), kind)
                assert emit_object(func, TRIPLES[name])
                assembly = assembly_code(str(emit_module(func, TRIPLES[name])), TRIPLES[name])
                assert not re.findall(r"\b(?:bl|callq?|call)\s+\S+|__\w*[hs]f2?\b", assembly), f"{source} to {target}"
