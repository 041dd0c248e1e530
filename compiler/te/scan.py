"""Recurrences: stages computed step after step, some of them carried from each step to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vdla.compiler import ir
from vdla.compiler.ir.element_types import INTEGERS
from vdla.compiler.te.tensor import Part, ScanAxis, Tensor, check_shape, compute, loaded_tensors, walk_all
from vdla.errors import CompileError

Place = Callable[..., Sequence[ir.Scalar]]
"""Indices of an update → indices of the state where it is written."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What a scan carries: the steps read the placeholder `tensor`, which is `initial` in the first step.

    After each step it is `update`, of the same shape and dtype; or, with `at`, only its elements `at(i, …)` become elements
    (i, …) of `update`, the others stay: one row of a matrix, one element of a histogram. An index that depends on data
    must be clamped with `te.clip`; it may read what the step computes and what is outside the scan, but no state.
    """

    tensor: Tensor
    initial: Tensor
    update: Tensor
    at: Place | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """Element `axes` of a state's update goes to element `indices` of the state."""

    axes: tuple[ir.Var, ...]
    indices: tuple[ir.Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """`steps`, producers first, computed for each value of `axis` in order; then `collect` kept, then the states written.

    inputs: the tensors read from outside. scan_axes: of scans around this one whose steps it is part of. Its results are the
    states after the last step, then all steps' values of each of `collect`.
    """

    name: str
    axis: ScanAxis
    states: tuple[State, ...]
    writes: tuple[Write, ...]
    collect: tuple[Tensor, ...]
    steps: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    scan_axes: frozenset[ScanAxis]

    @property
    def results(self) -> tuple[tuple[str, tuple[int, ...], str], ...]:
        finals = [(s.tensor.name, s.tensor.shape, s.tensor.dtype) for s in self.states]
        return (*finals, *((f"{c.name}_steps", (self.axis.extent, *c.shape), c.dtype) for c in self.collect))

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(Tensor(*result, value=Part(self, k)) for k, result in enumerate(self.results))


def scan_axis(extent: int, name: str) -> ScanAxis:
    """The axis of a `scan` of `extent` steps."""
    check_shape((extent,), f"scan axis {name}")
    return ScanAxis(name, extent=int(extent))


def scan(
    axis: ScanAxis, states: Sequence[State], collect: Sequence[Tensor] = (), name: str = ""
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Compute for each value of `axis`, in order, the stages that the updates and `collect` need; states are carried.

        t = te.scan_axis(20, "t")
        h = te.placeholder((4,), "float32", "h")
        total = te.compute((4,), lambda i: h[i] + x[t, i], "total")
        (final,), (totals,) = te.scan(t, [te.State(h, initial=zeros, update=total)], collect=[total])

    Returns the states after the last step, and of each of `collect` a tensor (extent, *shape) of its values at every step.
    What depends on neither the axis nor a state is computed once, before. Within a step every stage reads the states as the
    step before left them; all updates are computed before any state changes. Backwards in time is x[extent - 1 - t, i].
    name: what errors call it, by default as its axis. Raises `CompileError` for states that do not fit.
    """
    name = name or axis.name
    where = f"scan {name}"
    states = tuple(states)
    check_states(states, tuple(collect), where)
    placeholders = {state.tensor for state in states}
    states = tuple(with_update_of_its_own(state, placeholders) for state in states)
    writes = tuple(write_of(state, placeholders, where) for state in states)
    wanted = [*(s.update for s in states), *collect, *loaded_tensors(walk_all(i for w in writes for i in w.indices))]
    steps, outside = steps_of(wanted, axis, placeholders)
    for state in states:
        if steps_of([state.initial], axis, placeholders)[0] or state.initial in placeholders:
            found, expected = state.initial.name, "a tensor that is there before the first step"
            raise CompileError(f"the initial value of {state.tensor.name}", where=where, found=found, expected=expected)
    around = frozenset(a for tensor in steps for a in tensor.scan_axes) | frozenset(
        node for node in walk_all(i for w in writes for i in w.indices) if isinstance(node, ScanAxis)
    )
    inputs = tuple(dict.fromkeys([*(s.initial for s in states), *outside]))
    made = Scan(name, axis, states, writes, tuple(collect), tuple(steps), inputs, around - {axis})
    results = made.tensors()
    return results[: len(states)], results[len(states) :]


def steps_of(wanted: Iterable[Tensor], axis: ScanAxis, states: set[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """(what of `wanted`, and below, differs from step to step, producers first; what it reads that does not)."""
    varies: dict[Tensor, bool] = dict.fromkeys(states, True)

    def depends(tensor: Tensor) -> bool:
        if tensor not in varies:
            varies[tensor] = axis in tensor.scan_axes or any(depends(below) for below in tensor.inputs)
        return varies[tensor]

    steps: dict[Tensor, None] = {}
    outside: dict[Tensor, None] = {}

    def visit(tensor: Tensor) -> None:
        if tensor in steps or tensor in states:
            return
        if not depends(tensor):
            outside[tensor] = None
            return
        for below in tensor.inputs:
            visit(below)
        steps[tensor] = None

    for tensor in wanted:
        visit(tensor)
    return list(steps), list(outside)


def check_states(states: tuple[State, ...], collect: tuple[Tensor, ...], where: str) -> None:
    if not states and not collect:
        raise CompileError("a scan of nothing", where=where, expected="a state, or a stage to collect")
    for position, state in enumerate(states):
        tensor = state.tensor
        if tensor.value is not None:
            raise CompileError(f"state {tensor.name} is computed", where=where, expected="a placeholder", hint="te.placeholder")
        if tensor in [s.tensor for s in states[:position]]:
            raise CompileError(f"state {tensor.name} is listed twice", where=where, expected="each state once")
        given = [("initial value", state.initial)] + ([("update", state.update)] if state.at is None else [])
        for what, other in given:
            if other.shape != tensor.shape:
                found, expected = list(other.shape), f"{list(tensor.shape)}, the state's"
                raise CompileError(f"shape of the {what} of {tensor.name}", where=where, found=found, expected=expected)
        for what, other in (("initial value", state.initial), ("update", state.update)):
            if other.dtype != tensor.dtype:
                wanted = f"{tensor.dtype}, the state's"
                raise CompileError(f"dtype of the {what} of {tensor.name}", where=where, found=other.dtype, expected=wanted)


def with_update_of_its_own(state: State, states: set[Tensor]) -> State:
    """A state that another one moves into gets a copy of that, so that the order in which states change does not matter."""
    source = state.update
    if source not in states:
        return state
    copy = compute(source.shape, lambda *i: source[i], f"{state.tensor.name}_next")
    return State(state.tensor, state.initial, copy, state.at)


def write_of(state: State, states: set[Tensor], where: str) -> Write:
    axes = tuple(ir.Var(f"i{d}") for d in range(len(state.update.shape)))
    if state.at is None:
        return Write(axes, axes)
    indices = tuple(ir.as_expr(index) for index in state.at(*axes))
    what = f"where state {state.tensor.name} is updated"
    if len(indices) != len(state.tensor.shape):
        raise CompileError(what, where=where, found=f"{len(indices)} indices", expected=f"{len(state.tensor.shape)}, its rank")
    for index in indices:
        if index.dtype not in INTEGERS:
            raise CompileError(what, where=where, found=index.dtype, expected="integer indices")
        for tensor in loaded_tensors(ir.walk_expr(index)):
            if tensor in states:
                hint = "read the index from a stage of its own, clamped"
                raise CompileError(f"{what} depends on a state", where=where, found=tensor.name, expected="no state", hint=hint)
    return Write(axes, indices)
