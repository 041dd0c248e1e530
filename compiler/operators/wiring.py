"""Tensor expressions with other tensors in the place of those they read: definitions wired together, stages inlined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from vdla.compiler import ir, te
from vdla.compiler.operators.definition import flatten, unflatten

Source = Callable[[tuple[ir.Expr, ...]], ir.Expr]
"""Indices → the value there."""


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


def wired(outputs: Sequence[te.Tensor], feeds: Mapping[te.Tensor, te.Tensor]) -> tuple[te.Tensor, ...]:
    """`outputs` with placeholders replaced by computed tensors of as many elements."""

    def source(placeholder: te.Tensor, tensor: te.Tensor) -> Source:
        if placeholder.shape == tensor.shape:
            return lambda at: ir.Load(tensor, at)
        return lambda at: ir.Load(tensor, unflatten(flatten(at, placeholder.shape), tensor.shape))

    return rebuilt(outputs, {placeholder: source(placeholder, tensor) for placeholder, tensor in feeds.items()})
