"""The graph passes, in order."""

from __future__ import annotations

from collections.abc import Callable

from vdla.compiler.graph.canonicalise import canonicalise
from vdla.compiler.graph.channel_factors import channel_factors
from vdla.compiler.graph.fold_affine import fold_affine
from vdla.compiler.graph.fold_constants import fold_constants
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.images import images
from vdla.compiler.graph.known_operands import known_operands
from vdla.compiler.graph.phases import phases
from vdla.compiler.graph.pixel_blocks import pixel_blocks
from vdla.compiler.graph.rewrite import eliminate_dead
from vdla.compiler.graph.sink_moves import sink_moves
from vdla.compiler.graph.unroll import unroll
from vdla.compiler.graph.verify import verify_graph

Pass = Callable[[Graph], Graph]
Dump = Callable[[str, Graph], None]

PASSES: tuple[Pass, ...] = (
    eliminate_dead,
    fold_constants,  # weights computed from weights become weights, which the rest look for
    canonicalise,  # sub and div by constants become the add and mul that fold_affine knows
    fold_affine,  # leaves constants that were merged to be dropped, and shifts of zero
    canonicalise,  # a padding or clip can meet its layer only once the batch norm between them is gone
)

FOR_PROGRAMS: tuple[Pass, ...] = (
    known_operands,  # what is constant is one, for all that follow
    unroll,
    fold_constants,  # the first step's products with states that are constants
    phases,
    pixel_blocks,
    images,  # behind unroll, whose inputs are many rows
    sink_moves,  # layers meet what is elementwise behind them
    canonicalise,
    fold_affine,
    channel_factors,  # what no layer in front of it could take
    canonicalise,
)
"""Before a graph is quantised for targets with programs: whatever is a convolution in other words becomes one."""


def optimise(graph: Graph, dump: Dump | None = None, passes: tuple[Pass, ...] = PASSES) -> Graph:
    """The same computation in fewer, simpler nodes; inputs and outputs keep names and types.

    `dump(stage, graph)` sees the imported graph and each pass's result. Raises `CompileError` when a pass breaks the graph.
    """
    verify_graph(graph, "import")
    if dump:
        dump("import", graph)
    return apply(graph, passes, dump)


def for_programs(graph: Graph, dump: Dump | None = None) -> Graph:
    """An optimised graph in the operators that a target with programs has kernels for; else as `optimise`."""
    return apply(graph, FOR_PROGRAMS, dump)


def apply(graph: Graph, passes: tuple[Pass, ...], dump: Dump | None) -> Graph:
    for function in passes:
        graph = function(graph)
        verify_graph(graph, function.__name__)
        if dump:
            dump(function.__name__, graph)
    return graph
