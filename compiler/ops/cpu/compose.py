"""Several operators' tensor expressions as one: inlining what is wired together, and taking constant parts out.

    before: quantize y0[i] = round(x[i] / s)     pack y[c, k] = y0[16·c + k]
    after:  y[c, k] = round(x[16·c + k] / s)

A stage is inlined where that repeats little work. Else it stays a stage of its own, a loop nest in the same kernel: im2col
reads an element once for each kernel position, so what computes that element is not for inlining there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from itertools import islice
from math import prod

from vdla.compiler import ir, te
from vdla.compiler.operators.definition import joined
from vdla.compiler.operators.wiring import rebuilt, stages_below, wired

TRAFFIC = 3
"""Operations that writing an element and reading it back is worth."""
CODE_LIMIT = 400
"""Most nodes of an expression, counted in every unrolled copy. im2col in each of a tile's 16 elements takes 60 ms longer to
compile than as a stage of its own, and saves 0.04 ms of 0.24 in ResNet-18."""
EXPRESSION_LIMIT = 1000
"""Most nodes of an expression that grew by inlining. Indices are written out wherever they are used: gathers, slices and
reshapes behind each other multiply them."""
COSTS = {"div": 4, "sqrt": 4, "rsqrt": 4, "round_even": 2, "requantise": 10, "rescale": 6}
CALL_COST = 20
"""Of exp, tanh and other functions made of many operations."""


def inlined(output: te.Tensor, candidates: Collection[te.Tensor], always: bool = False, copies: int = 1) -> te.Tensor:
    """`output` with `candidates` put where they are read, consumers first; those not worth it (unless `always`) stay.

    A candidate is a plain stage other than `output`; one that a scan reads stays. copies: of its expression that `output` is
    unrolled to.
    """
    remaining = set(candidates)
    while remaining:
        stages = stages_below(output)
        tensor = max(remaining, key=stages.index)  # what is left lies below all that changes here
        remaining.remove(tensor)
        if any(isinstance(s.value, te.Part) and isinstance(s.value.joint, te.Scan) and tensor in s.inputs for s in stages):
            continue
        small = copies * sum(1 for value in values_of(tensor) for _ in ir.walk_expr(value)) <= CODE_LIMIT
        if always or (small and worth_inlining(tensor, stages)):
            (larger,) = rebuilt([output], {tensor: partial(element, tensor)})
            if always or not any(is_oversized(stage) for stage in stages_below(larger)):
                output = larger
    return output


def is_oversized(stage: te.Tensor) -> bool:
    """Whether an expression is too large to go on growing."""
    nodes = (node for value in values_of(stage) for node in ir.walk_expr(value))
    return next(islice(nodes, EXPRESSION_LIMIT, None), None) is not None


def values_of(stage: te.Tensor) -> tuple[ir.Expr, ...]:
    """What a stage computes for each point, the operand of its reduction if it is one; of a scan nothing is known."""
    match stage.value:
        case te.Reduction(_, value):
            return (value,)
        case te.Part(te.TupleStage() as joint):
            return joint.reduction.results
        case te.Part() | None:
            return ()
    return (stage.value,)


def element(stage: te.Tensor, at: tuple[ir.Expr, ...]) -> ir.Expr:
    """Element `at` of a plain stage."""
    assert stage.value is not None
    return ir.substitute(stage.value, dict(zip(stage.axes, at, strict=True)))


def worth_inlining(tensor: te.Tensor, stages: Sequence[te.Tensor]) -> bool:
    """Whether computing `tensor` wherever `stages` read it costs less than writing and reading it.

    Reads of one element at one point of a stage are computed once: LLVM sees that they are the same.
    """
    evaluations = 0
    for stage in stages:
        nodes = (e for value in values_of(stage) for e in ir.walk_expr(value))
        reads = {e.indices for e in nodes if isinstance(e, ir.Load) and e.buffer is tensor}
        evaluations += len(reads) * prod(stage.shape) * prod(axis.extent for axis in reduce_axes(stage))
    elements, work = prod(tensor.shape), sum(map(operations, values_of(tensor)))
    return evaluations * work <= elements * (work + TRAFFIC)


def reduce_axes(stage: te.Tensor) -> tuple[te.ReduceAxis, ...]:
    match stage.value:
        case te.Reduction(_, _, axes):
            return axes
        case te.Part(te.TupleStage() as joint):
            return joint.reduction.axes
    return ()


def operations(value: ir.Expr) -> int:
    """What computing one element costs, in vector operations; indices are free, being mostly shared by many."""
    if isinstance(value, ir.Load | ir.Const | ir.Var):
        return 0
    if isinstance(value, ir.Select):  # its condition is one about indices: padding and concatenation
        return 1 + operations(value.a) + operations(value.b)
    cost = COSTS.get(getattr(value, "op", ""), CALL_COST if isinstance(value, ir.Call) else 1)
    return cost + sum(map(operations, ir.children(value)))


def as_words(output: te.Tensor) -> te.Tensor:
    """An int8 stage whose last axis is a multiple of four as int32, the first of four bytes lowest: the same bytes in memory.

    Vectors can run along any other axis then, scattering whole words, where bytes would go one by one.
    """

    def word(*at: ir.Expr) -> ir.Expr:
        return joined([te.cast(te.cast(element(output, (*at[:-1], at[-1] * 4 + r)), "uint8"), "int32") for r in range(4)])

    shape = (*output.shape[:-1], output.shape[-1] // 4)
    return te.compute(shape, word, output.name, axes=[axis.name for axis in output.axes])


def without_constant_parts(
    outputs: Sequence[te.Tensor], constants: Collection[te.Tensor]
) -> tuple[tuple[te.Tensor, ...], list[tuple[te.Tensor, te.Tensor]]]:
    """`outputs` with stages that depend on `constants` alone as placeholders; and each placeholder with the stage it holds."""
    fixed = set(constants)
    parts: dict[te.Tensor, te.Tensor] = {}
    for stage in (stage for output in outputs for stage in stages_below(output)):
        if stage not in outputs and fixed.issuperset(stage.inputs):
            fixed.add(stage)
        else:
            for tensor in stage.inputs:
                if tensor in fixed and tensor.value is not None:
                    parts.setdefault(tensor, te.placeholder(tensor.shape, tensor.dtype, tensor.name))
    found = list(parts.items())
    return wired(outputs, parts), [(placeholder, stage) for stage, placeholder in found]
