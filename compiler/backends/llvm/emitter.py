"""The state of emission: where instructions go and what each variable and buffer is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from llvmlite import ir as llvm_ir

from vdla.compiler.backends.llvm.types import POINTER
from vdla.compiler.ir.nodes import Buffer, Var


@dataclass(frozen=True)
class Lanes:
    """A chunk of a vectorised loop: `var` is base + 0 … count-1."""

    var: Var
    count: int


@dataclass
class Emitter:
    """Emission into one LLVM function.

    size: the target's `size_t`, which the C library's functions take; all arithmetic on indices is in 64 bits on any machine.
    native_half: whether the processor converts float16 itself.
    variables: every loop variable in scope, as an int64 (for the vectorised variable, its first lane). ranges: its least and
    greatest value. depths: how many variables were bound before it. pointers: every buffer in scope.
    sums: index sums already computed and valid here. mask: lanes that are active; None when all are.
    outlined: whether this is the body of a parallel loop.
    """

    module: llvm_ir.Module
    builder: llvm_ir.IRBuilder
    vector_bytes: int
    size: llvm_ir.IntType
    native_half: bool = False
    variables: dict[Var, llvm_ir.Value] = field(default_factory=dict)
    ranges: dict[Var, tuple[int, int]] = field(default_factory=dict)
    depths: dict[Var, int] = field(default_factory=dict)
    pointers: dict[Buffer, llvm_ir.Value] = field(default_factory=dict)
    allocations: dict[Buffer, llvm_ir.Value] = field(default_factory=dict)
    sums: dict[tuple, llvm_ir.Value] = field(default_factory=dict)
    lanes: Lanes | None = None
    mask: llvm_ir.Value | None = None
    outlined: bool = False

    def bind(self, var: Var, value: llvm_ir.Value, low: int, high: int) -> None:
        """Give a loop variable its value and its range."""
        self.variables[var], self.ranges[var] = value, (low, high)
        self.depths[var] = len(self.depths)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Code that may not run, or runs repeatedly: sums computed inside are unknown outside."""
        saved = self.sums
        self.sums = dict(saved)
        try:
            yield
        finally:
            self.sums = saved

    @contextmanager
    def vector(self, lanes: Lanes) -> Iterator[None]:
        """Emission of `lanes.count` iterations at once."""
        with self.scope():
            self.lanes = lanes
            try:
                yield
            finally:
                self.lanes = None

    @contextmanager
    def masked(self, mask: llvm_ir.Value | None) -> Iterator[None]:
        saved, self.mask = self.mask, mask
        try:
            yield
        finally:
            self.mask = saved

    def stack_array(self, element: llvm_ir.Type, count: int, align: int) -> llvm_ir.Value:
        """Memory for `count` elements in the function's frame, reserved once however often this point is reached."""
        with self.builder.goto_entry_block():
            memory = self.builder.alloca(llvm_ir.ArrayType(element, count))
        memory.align = align
        memory.type = POINTER  # llvmlite types an alloca by its contents
        return memory
