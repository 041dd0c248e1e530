"""Tensors, their axes, and the two ways to make one by itself: `placeholder` and `compute`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

from vdla.compiler import ir
from vdla.compiler.ir.element_types import DTYPES, INTEGERS
from vdla.errors import CompileError


@dataclass(frozen=True, slots=True, eq=False)
class ReduceAxis(ir.Var):
    """A variable that runs over 0 … extent-1 in a reduction. One axis can serve several stages."""

    extent: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class ScanAxis(ir.Var):
    """A variable that runs over the steps 0 … extent-1 of one `scan`, in order."""

    extent: int = 1


@dataclass(frozen=True, slots=True)
class Reduction(ir.Expr):
    """`op` ("add", "mul", "min" or "max") over every point of `axes`, starting from `identity`. Outermost in a stage only."""

    op: str
    value: ir.Expr
    axes: tuple[ReduceAxis, ...]
    identity: ir.Const

    @property
    def dtype(self) -> str:  # type: ignore[override]
        return self.value.dtype


@dataclass(frozen=True, slots=True, eq=False)
class TupleReduction:
    """Several values folded together over every point of `axes`, starting from `identities`.

    results: the values with one point more, over the `accumulators`, which stand for the values so far.
    """

    accumulators: tuple[ir.Var, ...]
    results: tuple[ir.Expr, ...]
    identities: tuple[ir.Const, ...]
    axes: tuple[ReduceAxis, ...]


class Joint(Protocol):
    """What several tensors are computed by together: a `TupleStage`, or a `Scan`."""

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors it reads from outside."""

    @property
    def scan_axes(self) -> frozenset[ScanAxis]:
        """Axes of scans around it whose steps it takes part in."""

    @property
    def results(self) -> tuple[tuple[str, tuple[int, ...], str], ...]:
        """Name, shape and dtype of each of the tensors."""


@dataclass(frozen=True, slots=True)
class Part(ir.Expr):
    """The value of a tensor that is computed together with others: number `position` of `joint`. Outermost in a stage only."""

    joint: Joint
    position: int

    @property
    def dtype(self) -> str:  # type: ignore[override]
        return self.joint.results[self.position][2]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor(ir.Buffer):
    """A placeholder (`value` is None), or a stage: element `axes` is `value`."""

    axes: tuple[ir.Var, ...] = ()
    value: ir.Expr | None = None

    def __getitem__(self, indices: ir.Scalar | tuple[ir.Scalar, ...]) -> ir.Load:
        indices = indices if isinstance(indices, tuple) else (indices,)
        if len(indices) != len(self.shape):
            expected = f"{len(self.shape)}, one for each dimension of {list(self.shape)}"
            raise CompileError(f"wrong number of indices into {self.name}", found=len(indices), expected=expected)
        for position, index in enumerate(indices):
            dtype = index.dtype if isinstance(index, ir.Expr) else type(index).__name__
            if dtype not in (*INTEGERS, "int"):
                raise CompileError(
                    f"index {position} into {self.name} is not an integer", found=dtype, expected="an integer expression"
                )
        return ir.Load(self, tuple(ir.as_expr(i) for i in indices))

    @property
    def reduction(self) -> Reduction | None:
        return self.value if isinstance(self.value, Reduction) else None

    @property
    def is_plain(self) -> bool:
        """Whether an element is an expression of its own: no reduction, nor computed together with others."""
        return self.value is not None and not isinstance(self.value, Reduction | Part)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors this stage reads, in the order it first reads them."""
        return self.value.joint.inputs if isinstance(self.value, Part) else loaded_tensors(walk_value(self.value))

    @property
    def scan_axes(self) -> frozenset[ScanAxis]:
        """Axes of the scans whose steps this stage's own expressions use."""
        return self.value.joint.scan_axes if isinstance(self.value, Part) else scan_axes_in(walk_value(self.value))


@dataclass(frozen=True, slots=True, eq=False)
class TupleStage:
    """The tensors of one tuple reduction: element `axes` of number k is value k of `reduction`."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[ir.Var, ...]
    reduction: TupleReduction

    @property
    def results(self) -> tuple[tuple[str, tuple[int, ...], str], ...]:
        return tuple((f"{self.name}_{k}", self.shape, c.dtype) for k, c in enumerate(self.reduction.identities))

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return loaded_tensors(walk_all(self.reduction.results))

    @property
    def scan_axes(self) -> frozenset[ScanAxis]:
        return scan_axes_in(walk_all(self.reduction.results))

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(name, shape, dtype, axes=self.axes, value=Part(self, k))
            for k, (name, shape, dtype) in enumerate(self.results)
        )


def walk_all(values: Iterable[ir.Expr]) -> Iterator[ir.Expr]:
    return (node for value in values for node in ir.walk_expr(value))


def loaded_tensors(nodes: Iterable[ir.Expr]) -> tuple[Tensor, ...]:
    loads = (node.buffer for node in nodes if isinstance(node, ir.Load))
    return tuple(dict.fromkeys(tensor for tensor in loads if isinstance(tensor, Tensor)))


def scan_axes_in(nodes: Iterable[ir.Expr]) -> frozenset[ScanAxis]:
    return frozenset(node for node in nodes if isinstance(node, ScanAxis))


def walk_value(value: ir.Expr | None) -> Iterator[ir.Expr]:
    """Every expression below a stage's value, a reduction's operand included."""
    if isinstance(value, Reduction):
        yield from ir.walk_expr(value.value)
    elif value is not None:
        yield from ir.walk_expr(value)


def placeholder(shape: Sequence[int], dtype: str, name: str) -> Tensor:
    """An input. Raises `CompileError` on a shape or dtype that cannot be."""
    check_shape(shape, f"placeholder {name}")
    if dtype not in DTYPES:
        raise CompileError("unknown dtype", where=f"placeholder {name}", found=dtype, expected="one of " + ", ".join(DTYPES))
    return Tensor(name, tuple(int(n) for n in shape), dtype)


def reduce_axis(extent: int, name: str) -> ReduceAxis:
    """An axis for `sum`, `max` and the like."""
    check_shape((extent,), f"reduce axis {name}")
    return ReduceAxis(name, extent=int(extent))


@overload
def compute(shape: Sequence[int], fn: Callable[..., ir.Scalar], name: str, axes: Sequence[str] | None = None) -> Tensor: ...


@overload
def compute(
    shape: Sequence[int], fn: Callable[..., TupleReduction], name: str, axes: Sequence[str] | None = None
) -> tuple[Tensor, ...]: ...


def compute(
    shape: Sequence[int],
    fn: Callable[..., ir.Scalar | TupleReduction],
    name: str,
    axes: Sequence[str] | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """A stage: element (i, j, …) of the result is `fn(i, j, …)`, an expression or a reduction of one.

    A tuple reduction gives a tuple of tensors, named name_0, name_1, …, computed by one block `name`.
    axes: names of the axes; by default those of `fn`'s parameters without defaults, or i0, i1, … when it takes `*indices`.
    Raises `CompileError`, naming the stage, when `fn` does.
    """
    where = f"stage {name}"
    check_shape(shape, where)
    variables = tuple(ir.Var(axis) for axis in axis_names(fn, len(shape), axes, where))
    try:
        value = fn(*variables)
        if isinstance(value, TupleReduction):
            check_nodes(walk_all(value.results), (*variables, *value.accumulators), value.axes)
            return TupleStage(name, tuple(int(n) for n in shape), variables, value).tensors()
        if not isinstance(value, (ir.Expr, int, float)):
            raise CompileError(
                "the function gives no expression", found=repr(value), expected="an expression, a reduction or a number"
            )
        value = ir.as_expr(value)
        check_nodes(walk_value(value), variables, value.axes if isinstance(value, Reduction) else ())
    except CompileError as error:
        if error.where:
            raise
        raise CompileError(error.what, where=where, found=error.found, expected=error.expected, hint=error.hint) from None
    except TypeError as error:  # `binary` on two dtypes, or Python on what is no expression
        raise CompileError(str(error), where=where) from error
    return Tensor(name, tuple(int(n) for n in shape), value.dtype, axes=variables, value=value)


def check_shape(shape: Sequence[int], where: str) -> None:
    for position, extent in enumerate(shape):
        if int(extent) != extent or extent <= 0:
            raise CompileError(
                f"dimension {position} is not a positive whole number",
                where=where,
                found=list(shape),
                expected="extents of 1 or more",
            )


def axis_names(fn: Callable[..., object], rank: int, axes: Sequence[str] | None, where: str) -> list[str]:
    parameters = [p for p in inspect.signature(fn).parameters.values() if p.default is p.empty]
    variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    if not variadic and len(parameters) != rank:
        raise CompileError(
            "the function does not take one index for each dimension",
            where=where,
            found=len(parameters),
            expected=f"{rank} parameters",
        )
    if axes is None:
        return [f"i{d}" for d in range(rank)] if variadic else [p.name for p in parameters]
    if len(axes) != rank or len(set(axes)) != rank:
        raise CompileError(
            "axes does not name each dimension once", where=where, found=list(axes), expected=f"{rank} different names"
        )
    return list(axes)


def check_nodes(nodes: Iterable[ir.Expr], variables: tuple[ir.Var, ...], reduced: tuple[ReduceAxis, ...]) -> None:
    """Refuse reductions that are not outermost, variables from elsewhere, and buffers that are not tensors.

    Axes of scans are from elsewhere too, and welcome: that the stage is one of their steps is seen when a function is made.
    """
    for node in nodes:
        if isinstance(node, Reduction):
            raise CompileError(
                "a reduction inside another expression",
                expected="the reduction outermost",
                hint="a stage of its own for the reduction",
            )
        if isinstance(node, ReduceAxis) and node not in reduced:
            raise CompileError(
                f"reduce axis {node.name} is used but not reduced over", expected=f"{node.name} among the axes of the reduction"
            )
        if isinstance(node, ir.Var) and not isinstance(node, ScanAxis) and node not in variables and node not in reduced:
            raise CompileError(
                f"variable {node.name} is not an axis of this stage", expected=", ".join(v.name for v in variables) or "none"
            )
        if isinstance(node, ir.Load) and not isinstance(node.buffer, Tensor):
            raise CompileError(
                f"{node.buffer.name} is not a tensor", found=node.buffer, expected="a placeholder or a computed tensor"
            )
