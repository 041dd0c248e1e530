"""The lowering pipeline: from a scheduled function to loops, tests, allocations, stores and intrinsics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vdla.compiler.ir.nodes import Function
from vdla.compiler.ir.verify import verify
from vdla.compiler.passes.align_storage import align_storage
from vdla.compiler.passes.compact_buffers import compact_buffers
from vdla.compiler.passes.lower_blocks import lower_blocks
from vdla.compiler.passes.place_allocations import drop_dead_stores, place_allocations
from vdla.compiler.passes.simplify import simplify_function
from vdla.compiler.passes.unroll import unroll_loops
from vdla.compiler.passes.virtual_threads import clear_double_buffer, inject_double_buffers, inject_virtual_threads

Pass = Callable[[Function], Function]

PIPELINE: tuple[tuple[str, Pass], ...] = (
    ("drop_dead_stores", drop_dead_stores),
    ("place_allocations", place_allocations),  # while blocks still say which loops reduce
    ("lower_blocks", lower_blocks),
    ("compact_buffers", compact_buffers),
    (
        "inject_virtual_threads",
        inject_virtual_threads,
    ),  # before double buffers, which then belong to the loop around the threads
    ("inject_double_buffers", inject_double_buffers),
    ("clear_double_buffer", clear_double_buffer),
    ("align_storage", align_storage),  # behind all that gives buffers their shapes
    ("unroll_loops", unroll_loops),
    ("simplify", simplify_function),
)


def lower(
    func: Function,
    dump: Callable[[str, Function], None] | None = None,
    *,
    extra: Sequence[tuple[str, Pass]] = (),
    every_pass: bool = False,
) -> Function:
    """`func` with no block, vthread loop or double_buffer annotation left; verified before the first pass and after the last.

    dump: called with ("input", func) and then each pass's name and result. every_pass: verify after each of them, which a dump
    asks for too, being for someone who looks for the pass at fault. extra: passes of one target, behind PIPELINE.
    Raises `CompileError` for an illegal function.
    """
    verify(func)
    if dump is not None:
        dump("input", func)
    for name, run in (*PIPELINE, *extra):
        func = run(func)
        if dump is not None:
            dump(name, func)
        if every_pass or dump is not None:
            verify(func)
    verify(func, lowered=True)
    return func
