"""`Schedule`: the steps as methods on a function that changes under them.

s = Schedule(te.create_function("conv", [x, w], [y]))
oh, ow, k = s.loops("y")
oh_0, oh_1 = s.split(oh, [None, 4])
s.reorder(oh_0, ow, oh_1)
s.compute_at("padded", oh_0)
func = s.func

The shipped kernels need no tile, vthread, bind, reverse_compute_at, compute_inline, reverse_compute_inline, rfactor or
storage_align: these are for schedules of a user's own or found by search, and for other machines. The tests compare what they
give with the interpreter as they do for the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from vdla.compiler.ir.nodes import Block, Function, Var
from vdla.compiler.ir.printer import to_text
from vdla.compiler.ir.verify import verify
from vdla.compiler.schedule import buffers, compute_at, inline, loops, reduction, tensorize
from vdla.compiler.schedule.buffers import BufferRef
from vdla.compiler.schedule.locate import LoopRef, block_of, blocks_in, loops_of, path_to_block
from vdla.compiler.schedule.tensor_intrinsic import TensorIntrinsic


class Schedule:
    """`func` is the function as scheduled so far. Each method applies the step of its name; the steps say what they do.

    check: verify the function after every step (slow; for tests and bug hunts).
    """

    def __init__(self, func: Function, *, check: bool = False) -> None:
        self.func = func
        self.check = check

    def __str__(self) -> str:
        return to_text(self.func)

    def update(self, func: Function) -> None:
        if self.check:
            verify(func)
        self.func = func

    # Looking

    def block(self, name: str) -> str:
        """The name, once it is known to be there. Raises `CompileError` listing the blocks otherwise."""
        return block_of(path_to_block(self.func, name)).name

    def blocks(self) -> list[str]:
        """Names of all blocks, in program order."""
        return [b.name for b in blocks_in(self.func.body)]

    def loops(self, block: str) -> list[Var]:
        """Variables of the loops around a block, outermost first."""
        return [s.var for s in loops_of(path_to_block(self.func, block))]

    def get(self, block: str) -> Block:
        return block_of(path_to_block(self.func, block))

    # Loops

    def split(self, loop: LoopRef, factors: Sequence[int | None]) -> list[Var]:
        func, created = loops.split(self.func, loop, factors)
        self.update(func)
        return created

    def tile(self, rows: LoopRef, columns: LoopRef, row_factor: int, column_factor: int) -> list[Var]:
        """Split two loops and put them in the order row tiles, column tiles, rows, columns; returns the four.

        for i in range(16):            for i_0 in range(4):
            for j in range(32): …  →       for j_0 in range(4):
                                               for i_1 in range(4):
                                                   for j_1 in range(8): …
        """
        row = self.split(rows, [None, row_factor])
        column = self.split(columns, [None, column_factor])
        order = [row[0], column[0], row[1], column[1]]
        self.reorder(*order)
        return order

    def fuse(self, *loop_list: LoopRef) -> Var:
        func, created = loops.fuse(self.func, loop_list)
        self.update(func)
        return created

    def reorder(self, *loop_list: LoopRef) -> None:
        self.update(loops.reorder(self.func, loop_list))

    def unroll(self, loop: LoopRef) -> None:
        self.update(loops.unroll(self.func, loop))

    def vectorize(self, loop: LoopRef) -> None:
        self.update(loops.vectorize(self.func, loop))

    def parallel(self, loop: LoopRef) -> None:
        self.update(loops.parallel(self.func, loop))

    def vthread(self, loop: LoopRef) -> None:
        self.update(loops.vthread(self.func, loop))

    def bind(self, loop: LoopRef, thread: str) -> None:
        self.update(loops.bind(self.func, loop, thread))

    # Blocks

    def compute_at(self, block: str, loop: LoopRef) -> None:
        self.update(compute_at.compute_at(self.func, block, loop))

    def reverse_compute_at(self, block: str, loop: LoopRef) -> None:
        self.update(compute_at.reverse_compute_at(self.func, block, loop))

    def compute_inline(self, block: str) -> None:
        self.update(inline.compute_inline(self.func, block))

    def reverse_compute_inline(self, block: str) -> None:
        self.update(inline.reverse_compute_inline(self.func, block))

    def decompose_reduction(self, block: str, loop: LoopRef) -> str:
        func, created = reduction.decompose_reduction(self.func, block, loop)
        self.update(func)
        return created

    def rfactor(self, block: str, loop: LoopRef) -> str:
        func, created = reduction.rfactor(self.func, block, loop)
        self.update(func)
        return created

    def tensorize(self, target: LoopRef, intrinsic: TensorIntrinsic) -> None:
        self.update(tensorize.tensorize(self.func, target, intrinsic))

    # Buffers

    def cache_read(self, block: str, buffer: BufferRef, scope: str) -> str:
        func, created = buffers.cache_read(self.func, block, buffer, scope)
        self.update(func)
        return created

    def cache_write(self, block: str, scope: str) -> str:
        func, created = buffers.cache_write(self.func, block, scope)
        self.update(func)
        return created

    def set_scope(self, buffer: BufferRef, scope: str) -> None:
        self.update(buffers.set_scope(self.func, buffer, scope))

    def storage_align(self, buffer: BufferRef, elements: int) -> None:
        self.update(buffers.storage_align(self.func, buffer, elements))

    def double_buffer(self, buffer: BufferRef) -> None:
        self.update(buffers.double_buffer(self.func, buffer))
