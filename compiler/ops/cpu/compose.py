"""Several operators' tensor expressions as one: wiring them together, inlining, and taking constant parts out.

    before: quantize y0[i] = round(x[i] / s)     pack y[c, k] = y0[16·c + k]
    after:  y[c, k] = round(x[16·c + k] / s)

A stage is inlined where that repeats little work. Else it stays a stage of its own, a loop nest in the same kernel: im2col
reads an element once for each kernel position, so what computes that element is not for inlining there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod

from vdla.compiler import ir, te
from vdla.compiler.operators.definition import flatten, joined, unflatten

Source = Callable[[tuple[ir.Expr, ...]], ir.Expr]
"""Indices → the value there."""
TRAFFIC = 3
"""Operations that writing an element and reading it back is worth."""
CODE_LIMIT = 400
"""Most nodes of an expression, counted in every unrolled copy. im2col in each of a tile's 16 elements takes 60 ms longer to
compile than as a stage of its own, and saves 0.04 ms of 0.24 in ResNet-18."""
STAGE_LIMIT = 2000
"""Most nodes of an expression that others are inlined into: indices through several reshapes multiply what they are made of."""
COSTS = {"div": 4, "sqrt": 4, "rsqrt": 4, "round_even": 2, "requantise": 10, "rescale": 6}
CALL_COST = 20
"""Of exp, tanh and other functions made of many operations."""


def stages_below(output: te.Tensor) -> list[te.Tensor]:
    """`output` and every stage it needs, producers first."""
    order: dict[te.Tensor, None] = {}

    def visit(tensor: te.Tensor) -> None:
        if tensor.value is not None and tensor not in order:
            for producer in tensor.inputs:
                visit(producer)
            order[tensor] = None

    visit(output)
    return list(order)


def placeholders_below(output: te.Tensor) -> set[te.Tensor]:
    """The placeholders that `output` depends on."""
    return {tensor for stage in stages_below(output) for tensor in stage.inputs if tensor.value is None}


def rebuilt(outputs: Sequence[te.Tensor], sources: Mapping[te.Tensor, Source]) -> tuple[te.Tensor, ...]:
    """`outputs`, reading `sources` in place of the tensors those are keyed by. Stages above none of these stay themselves."""
    rebuilder = Rebuilder(sources)
    return tuple(rebuilder.of(output) for output in outputs)


class Rebuilder:
    """Stages anew, each once; of those computed together all at once."""

    def __init__(self, sources: Mapping[te.Tensor, Source]) -> None:
        self.sources = sources
        self.made: dict[te.Tensor, te.Tensor] = {}
        self.joints: dict[te.TupleStage | te.Scan, tuple[te.Tensor, ...]] = {}

    def of(self, output: te.Tensor) -> te.Tensor:
        """`output`, all below it made anew where it changes."""
        for stage in stages_below(output):
            if stage not in self.made:
                self.made[stage] = self.stage(stage)
        return self.made.get(output, output)

    def stage(self, stage: te.Tensor) -> te.Tensor:
        """One stage, those it reads having been made."""
        match stage.value:
            case te.Part(te.TupleStage() | te.Scan() as joint, position):
                if joint not in self.joints:
                    self.joints[joint] = self.scan(joint) if isinstance(joint, te.Scan) else self.tuple_stage(joint)
                tensors = self.joints[joint]
                return replace(tensors[position], name=stage.name) if tensors else stage
            case te.Reduction() as reduction:
                value = self.expr(reduction.value)
                return stage if value is reduction.value else replace(stage, value=replace(reduction, value=value))
            case ir.Expr() as old:
                value = self.expr(old)
                return stage if value is old else replace(stage, value=value)
        return stage

    def tuple_stage(self, old: te.TupleStage) -> tuple[te.Tensor, ...]:
        """The tensors of the new one; none where nothing changes."""
        results = tuple(map(self.expr, old.reduction.results))
        if all(a is b for a, b in zip(results, old.reduction.results, strict=True)):
            return ()
        return replace(old, reduction=replace(old.reduction, results=results)).tensors()

    def scan(self, old: te.Scan) -> tuple[te.Tensor, ...]:
        """The tensors of the new one; none where nothing changes."""
        if all(self.tensor(tensor) is tensor for tensor in old.inputs):
            return ()
        for step in old.steps:
            self.made[step] = self.stage(step)

        def place(state: te.State) -> Callable[..., Sequence[ir.Scalar]] | None:
            at = state.at
            return None if at is None else lambda *axes: [self.expr(ir.as_expr(index)) for index in at(*axes)]

        states = [te.State(s.tensor, self.tensor(s.initial), self.tensor(s.update), place(s)) for s in old.states]
        finals, collected = te.scan(old.axis, states, [self.tensor(c) for c in old.collect], old.name)
        return (*finals, *collected)

    def tensor(self, old: te.Tensor) -> te.Tensor:
        """What stands for `old` where it is not an element that is read, but all of it."""
        if old not in self.sources:
            return self.made.get(old, old)
        if old not in self.made:
            copy = te.compute(old.shape, lambda *at: self.sources[old](at), old.name)
            match copy.value:
                case ir.Load(te.Tensor() as fed, indices) if indices == copy.axes and fed.shape == old.shape:
                    self.made[old] = fed
                case _:
                    self.made[old] = copy
        return self.made[old]

    def expr(self, expr: ir.Expr) -> ir.Expr:
        return ir.map_expr(expr, self.load)

    def load(self, node: ir.Expr) -> ir.Expr:
        if not isinstance(node, ir.Load) or not isinstance(node.buffer, te.Tensor):
            return node
        if node.buffer in self.sources:
            return self.sources[node.buffer](node.indices)
        stage = self.made.get(node.buffer, node.buffer)
        return node if stage is node.buffer else ir.Load(stage, node.indices)


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


def wired(outputs: Sequence[te.Tensor], feeds: Mapping[te.Tensor, te.Tensor]) -> tuple[te.Tensor, ...]:
    """`outputs` with placeholders replaced by computed tensors of as many elements."""

    def source(placeholder: te.Tensor, tensor: te.Tensor) -> Source:
        if placeholder.shape == tensor.shape:
            return lambda at: ir.Load(tensor, at)
        return lambda at: ir.Load(tensor, unflatten(flatten(at, placeholder.shape), tensor.shape))

    return rebuilt(outputs, {placeholder: source(placeholder, tensor) for placeholder, tensor in feeds.items()})


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
        small = copies * size(tensor) <= CODE_LIMIT
        if always or (small and worth_inlining(tensor, stages)):
            (grown,) = rebuilt([output], {tensor: partial(element, tensor)})
            if always or max(map(size, stages_below(grown))) <= STAGE_LIMIT:
                output = grown
    return output


def size(stage: te.Tensor) -> int:
    """Nodes of a stage's expressions."""
    return sum(1 for value in values_of(stage) for _ in ir.walk_expr(value))


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
    output: te.Tensor, constants: Collection[te.Tensor]
) -> tuple[te.Tensor, list[tuple[te.Tensor, te.Tensor]]]:
    """`output` with stages that depend on `constants` alone as placeholders; and each placeholder with the stage it holds."""
    fixed = set(constants)
    parts: dict[te.Tensor, te.Tensor] = {}
    for stage in stages_below(output):
        if stage is not output and fixed.issuperset(stage.inputs):
            fixed.add(stage)
        else:
            for tensor in stage.inputs:
                if tensor in fixed and tensor.value is not None:
                    parts.setdefault(tensor, te.placeholder(tensor.shape, tensor.dtype, tensor.name))
    found = list(parts.items())
    return wired([output], parts)[0], [(placeholder, stage) for stage, placeholder in found]
