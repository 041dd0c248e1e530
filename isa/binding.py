"""What every device does at its door: refuse programs of other designs, put inputs into DRAM, take outputs out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vdla.design import Design, design_differences
from vdla.errors import RunError
from vdla.isa.program import Program


def require_design(program: Program, design: Design) -> Program:
    """`program` as one of `design`, on whose clock and memory it then runs. Raises `RunError` when it cannot run there."""
    refuse_other_design("the program", program.design, design)
    return replace(program, design=design)


def refuse_other_design(what: str, built_for: Design, design: Design) -> None:
    """Raise `RunError`, with every key that differs, unless `what`, built for one design, runs on the other."""
    if differences := design_differences(built_for, design, (f"in {what}", "in the design")):
        raise RunError(
            f"{what} was built for another design, {built_for.name}: {differences}",
            where=f"design {design.name}",
            hint=f"compile it for {design.name}: vdla compile MODEL --design …",
        )


def bind_inputs(program: Program, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The DRAM image with `inputs` in their slots. Raises `RunError` naming the expected slots when they do not match."""
    slots = {slot.name: slot for slot in program.inputs}
    expected = ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in program.inputs) or "no inputs"
    if missing := [name for name in slots if name not in inputs]:
        raise RunError(f"missing input {missing[0]}", where="inputs", found=sorted(inputs), expected=expected)
    if extra := [name for name in inputs if name not in slots]:
        raise RunError(f"unknown input {extra[0]}", where="inputs", found=sorted(inputs), expected=expected)
    dram = program.dram_image()
    for name, slot in slots.items():
        array = np.asarray(inputs[name])
        if array.shape != slot.shape or array.dtype != np.dtype(slot.dtype):
            raise RunError(
                "wrong shape or type", where=f"input {name}", found=f"{array.dtype}{list(array.shape)}", expected=expected
            )
        dram[slot.address : slot.address + slot.bytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return dram


def read_outputs(program: Program, dram: np.ndarray) -> dict[str, np.ndarray]:
    """One array for each output slot, copied out of `dram`."""
    return {s.name: dram[s.address : s.address + s.bytes].view(s.dtype).reshape(s.shape).copy() for s in program.outputs}
