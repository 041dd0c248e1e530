"""The meaning of the IR: a function, executed one scalar step after another in program order.

Every loop runs serially in order, whatever its kind; what annotates an allocation means nothing. A block runs its init just
before the point where all its reduce iters are 0, and nothing where its predicate does not hold. Memory is undefined until
written: here it holds a pattern that no test expects. An index outside a buffer, or a block point outside its domain, is an
error.

The function is written out as Python source over `memoryview`s, which is some twenty times faster than walking the tree
and as plain to read: `source_of` shows it. Scalar operations are those of `scalar_semantics`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vdla.compiler.ir import scalar_semantics
from vdla.compiler.ir.bounds import FULL_RANGE, UNKNOWN, Interval, exact_bounds, representable
from vdla.compiler.ir.element_types import BOOL, INTEGERS, NARROW, NARROW_FLOATS, NARROW_INTEGERS
from vdla.compiler.ir.narrow_floats import narrow_float
from vdla.compiler.ir.nodes import (
    Allocate,
    Binary,
    Block,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    For,
    Function,
    If,
    Intrinsic,
    Load,
    Select,
    Seq,
    Stmt,
    Store,
    Var,
)
from vdla.compiler.ir.printer import print_head
from vdla.compiler.ir.traverse import children
from vdla.compiler.ir.vdla_intrinsic_semantics import VDLA_INTRINSICS, IntrinsicSemantics
from vdla.element_types import ELEMENT_TYPES, numpy_dtype
from vdla.errors import CompileError, RunError

POISON = {dtype: scalar_semantics.wrap(0xAAAAAAAAAAAAAAAB, dtype) for dtype in (*INTEGERS, *NARROW_INTEGERS)}
"""What undefined memory holds: 0xAB, 0xAA …; NaN in floats that have one, true in bool."""

NESTING_LIMIT = 12
"""Python allows 20 nested loops in one function; deeper ones continue in an inner function."""

Arrays = Mapping[str, np.ndarray] | Sequence[np.ndarray]


def interpret(func: Function, arrays: Arrays, intrinsics: Mapping[str, IntrinsicSemantics] | None = None) -> list[np.ndarray]:
    """The outputs of `func`, in order.

    arrays: the inputs by name or in order, of the parameters' shapes and dtypes; initial contents of outputs may follow.
    intrinsics: what each `Intrinsic` does, besides those of VDLA: fn(regions as views, attributes, predicate's value).
    Raises `RunError` on wrong arrays, `CompileError` on an index out of range, a block point outside its domain, a whole
    division by zero or an unknown intrinsic.
    """
    given = bind_arrays(func, arrays)
    inputs = len(func.params) - func.output_count
    storage = [
        np.ascontiguousarray(given[p.name]) if i < inputs else output_array(p, given.get(p.name))
        for i, p in enumerate(func.params)
    ]
    writer = Writer()
    namespace = writer.compile(func) | {
        "run_intrinsic": IntrinsicRunner(writer.intrinsics, {**VDLA_INTRINSICS, **(intrinsics or {})})
    }
    exec(compile(writer.text(), f"<{func.name}>", "exec"), namespace)
    try:
        namespace["run"](*storage)
    except ZeroDivisionError as error:
        raise CompileError("whole division by zero", where=f"function {func.name}") from error
    return storage[inputs:]


def source_of(func: Function) -> str:
    """The Python source that `interpret` runs."""
    writer = Writer()
    writer.compile(func)
    return writer.text()


def bind_arrays(func: Function, arrays: Arrays) -> dict[str, np.ndarray]:
    """Parameter name → array. Raises `RunError` when one is missing, unknown or of another shape or dtype."""
    where, params = f"function {func.name}", {p.name: p for p in func.params}
    if not isinstance(arrays, Mapping):
        if len(arrays) > len(params):
            raise RunError("too many arrays", where=where, found=len(arrays), expected=f"at most {len(params)}")
        arrays = dict(zip(params, arrays, strict=False))
    needed = [p.name for p in func.params[: len(func.params) - func.output_count]]
    for name in [n for n in needed if n not in arrays]:
        raise RunError(f"no array for {name}", where=where, found=sorted(arrays), expected=", ".join(needed))
    for name, array in arrays.items():
        if name not in params:
            raise RunError("an array for no parameter", where=where, found=name, expected=", ".join(params))
        want, found = (params[name].dtype, params[name].shape), (str(np.asarray(array).dtype), np.shape(array))
        if want != found:
            raise RunError(
                f"array for {name}", where=where, found=f"{found[0]}{list(found[1])}", expected=f"{want[0]}{list(want[1])}"
            )
    return {name: np.asarray(array) for name, array in arrays.items()}


def new_array(buffer: Buffer) -> np.ndarray:
    """Undefined memory."""
    value = POISON.get(buffer.dtype, True if buffer.dtype == BOOL else np.nan)
    return np.full(buffer.shape, value, numpy_dtype(buffer.dtype))


def output_array(buffer: Buffer, initial: np.ndarray | None) -> np.ndarray:
    return new_array(buffer) if initial is None else np.array(initial, order="C")


def out_of_range(index: int, size: int, buffer: str, dimension: int) -> int:
    """`index`, when it is one of dimension `dimension` of `buffer`."""
    if 0 <= index < size:
        return index
    raise CompileError(f"index {dimension} into {buffer} out of range", found=index, expected=f"0..{size - 1}")


def outside_domain(value: int, extent: int, block: str, iteration: str) -> None:
    if not 0 <= value < extent:
        raise CompileError(
            f"block {block} is run outside its domain", found=f"{iteration} = {value}", expected=f"0..{extent - 1}"
        )


@dataclass
class IntrinsicRunner:
    """Called from the written source with the position of an intrinsic, its predicate, arrays and region starts."""

    statements: list[Intrinsic]
    table: Mapping[str, IntrinsicSemantics]

    def __call__(
        self, position: int, predicate: bool, arrays: Sequence[np.ndarray], starts: Sequence[Sequence[int] | None]
    ) -> None:
        stmt = self.statements[position]
        if stmt.name not in self.table:
            raise CompileError(
                f"unknown intrinsic {stmt.name}", where=print_head(stmt), expected="one of " + ", ".join(sorted(self.table))
            )
        views: list[np.ndarray | None] = []
        for region, array, start in zip(stmt.operands, arrays, starts, strict=True):
            if start is None:
                views.append(None)
                continue
            for dimension, (first, extent, size) in enumerate(zip(start, region.extents, region.buffer.shape, strict=True)):
                if not 0 <= first <= size - extent:
                    found = f"{first}..{first + extent - 1}"
                    raise CompileError(
                        f"region of {region.buffer.name} out of range in dimension {dimension}",
                        where=print_head(stmt),
                        found=found,
                        expected=f"0..{size - 1}",
                    )
            views.append(
                array[tuple(slice(first, first + extent) for first, extent in zip(start, region.extents, strict=True))]
            )
        self.table[stmt.name](views, dict(stmt.attributes), predicate)


class Writer:
    """Writes a function as Python source, with what the source refers to in `namespace`."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.intrinsics: list[Intrinsic] = []
        self.names: dict[Var | Buffer, str] = {}
        self.ranges: dict[Var, Interval] = {}
        self.namespace: dict[str, Any] = {}

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    def compile(self, func: Function) -> dict[str, Any]:
        self.namespace = {
            **{name: getattr(scalar_semantics, name) for name in SCALAR_FUNCTIONS},
            **{f"call_{name}": f for name, f in scalar_semantics.FLOAT_CALLS.items()},
            **{f"narrow_{name}": narrow_float(name) for name in NARROW_FLOATS},
            "out_of_range": out_of_range, "outside_domain": outside_domain, "new_array": new_array,
            "inf": float("inf"), "nan": float("nan"),
        }  # fmt: skip
        parameters = [self.declare(p) for p in func.params]
        self.lines.append(f"def run({', '.join('array_' + p for p in parameters)}):")
        for buffer, name in zip(func.params, parameters, strict=True):
            self.lines.append(f"    {name} = {view_of(buffer, name)}")
        self.lines += indent(self.stmt(func.body, 0), 1)
        return self.namespace

    def declare(self, owner: Var | Buffer) -> str:
        plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in owner.name)
        self.names[owner] = f"{plain}_{len(self.names)}"
        return self.names[owner]

    def name(self, owner: Var | Buffer) -> str:
        if owner not in self.names:
            raise CompileError(f"{owner.name} is used outside its loop or allocation", hint="verify the function")
        return self.names[owner]

    # Statements: lists of lines

    def stmt(self, stmt: Stmt, depth: int) -> list[str]:
        match stmt:
            case Store(buffer, indices, value):
                return [f"{self.name(buffer)}[{self.offset(buffer, indices)}] = {encoded(self.expr(value)[0], buffer.dtype)}"]
            case For():
                return self.loop(stmt, depth)
            case Seq(body):
                return [line for child in body for line in self.stmt(child, depth)] or ["pass"]
            case If(condition, then, otherwise):
                lines = [f"if {self.expr(condition)[0]}:", *indent(self.stmt(then, depth), 1)]
                return lines if otherwise is None else [*lines, "else:", *indent(self.stmt(otherwise, depth), 1)]
            case Allocate(buffer, body):
                name = self.declare(buffer)
                self.namespace[f"buffer_{name}"] = buffer
                lines = [f"array_{name} = new_array(buffer_{name})", f"{name} = {view_of(buffer, name)}"]
                return [*lines, *self.stmt(body, depth)]
            case Block():
                return self.block(stmt, depth)
            case Intrinsic():
                return [self.intrinsic(stmt)]
            case _:
                raise CompileError("no statement of the IR", found=stmt)

    def loop(self, loop: For, depth: int) -> list[str]:
        name = self.declare(loop.var)
        self.ranges[loop.var] = (0, loop.extent - 1)
        head = f"for {name} in range({loop.extent}):"
        if depth < NESTING_LIMIT:
            return [head, *indent(self.stmt(loop.body, depth + 1), 1)]
        inner = f"inner_{name}"
        return [f"def {inner}():", f"    {head}", *indent(self.stmt(loop.body, 1), 2), f"{inner}()"]

    def block(self, block: Block, depth: int) -> list[str]:
        lines, checks = [], []
        predicate = None if block.predicate is None else self.expr(block.predicate)[0]
        for it, binding in zip(block.iters, block.bindings, strict=True):
            text, limits = self.expr(binding)
            name = self.declare(it.var)
            self.ranges[it.var] = (0, it.extent - 1)
            lines.append(f"{name} = {text}")
            if limits[0] < 0 or limits[1] >= it.extent:
                checks.append(f"outside_domain({name}, {it.extent}, {block.name!r}, {it.var.name!r})")
        inside = checks + self.block_body(block, depth)
        return lines + (inside if predicate is None else [f"if {predicate}:", *indent(inside, 1)])

    def block_body(self, block: Block, depth: int) -> list[str]:
        body = self.stmt(block.body, depth)
        if block.init is None:
            return body
        init = self.stmt(block.init, depth)
        first = " and ".join(f"{self.name(it.var)} == 0" for it in block.iters if it.kind == "reduce")
        return [f"if {first}:", *indent(init, 1), *body] if first else [*init, *body]

    def intrinsic(self, stmt: Intrinsic) -> str:
        self.intrinsics.append(stmt)
        starts = ["(" + "".join(f"{self.expr(s)[0]}, " for s in region.starts) + ")" for region in stmt.operands]
        arrays = "".join(f"array_{self.name(region.buffer)}, " for region in stmt.operands)
        position = len(self.intrinsics) - 1
        if stmt.predicate is None:
            return f"run_intrinsic({position}, True, ({arrays}), ({', '.join(starts)},))"
        without = [starts[0], *["None"] * (len(starts) - 1)]
        run = f"run_intrinsic({position}, True, ({arrays}), ({', '.join(starts)},))"
        pad = f"run_intrinsic({position}, False, ({arrays}), ({', '.join(without)},))"
        return f"{run} if {self.expr(stmt.predicate)[0]} else {pad}"

    # Expressions: text and interval (UNKNOWN for floats)

    def offset(self, buffer: Buffer, indices: Sequence[Expr]) -> str:
        """The flat index, each index checked unless its interval lies inside."""
        if len(indices) != len(buffer.shape):
            raise CompileError(f"number of indices into {buffer.name}", found=len(indices), expected=str(len(buffer.shape)))
        text = "0"
        for dimension, (index, size) in enumerate(zip(indices, buffer.shape, strict=True)):
            step, limits = self.expr(index)
            if limits[0] < 0 or limits[1] >= size:
                step = f"out_of_range({step}, {size}, {buffer.name!r}, {dimension})"
            text = step if dimension == 0 else f"({text}) * {size} + {step}"
        return text

    def expr(self, node: Expr) -> tuple[str, Interval]:
        if isinstance(node, Var):
            return self.name(node), self.ranges[node]
        if isinstance(node, Load):
            element = f"{self.name(node.buffer)}[{self.offset(node.buffer, node.indices)}]"
            return decoded(element, node.dtype), FULL_RANGE.get(node.dtype, UNKNOWN)
        below = [self.expr(child) for child in children(node)]
        text = write_operation(node, [t for t, _ in below])
        if node.dtype not in FULL_RANGE:
            return (f"round_float32({text})" if needs_rounding(node) else text), UNKNOWN
        interval = exact_bounds(node, tuple(i for _, i in below))
        return wrapped(text, node.dtype, interval), representable(node.dtype, interval)


SCALAR_FUNCTIONS = (
    "round_float32", "cast_to_integer", "cast_to_float32", "shift_left", "shift_right", "divide", "minimum", "maximum",
    "requantise", "rescale", "reinterpret", "wrap",
)  # fmt: skip

OPERATORS = {
    "add": "({} + {})", "sub": "({} - {})", "mul": "({} * {})", "div": "divide({}, {})", "floordiv": "({} // {})",
    "floormod": "({} % {})", "min": "minimum({}, {})", "max": "maximum({}, {})",
    "lt": "({} < {})", "le": "({} <= {})", "gt": "({} > {})", "ge": "({} >= {})", "eq": "({} == {})", "ne": "({} != {})",
    "and": "({} & {})", "or": "({} | {})", "bit_and": "({} & {})", "bit_or": "({} | {})", "bit_xor": "({} ^ {})",
}  # fmt: skip
"""As Python source. `and` and `or` evaluate both sides."""


def write_operation(node: Expr, below: list[str]) -> str:
    """The Python source of one node, before wrap-around or rounding."""
    match node:
        case Const(value, dtype):
            return write_constant(value, dtype)
        case Binary("shl" | "shr" as op):
            bits = ELEMENT_TYPES[node.dtype].bits
            return f"{'shift_left' if op == 'shl' else 'shift_right'}({below[0]}, {below[1]}, {bits})"
        case Binary(op):
            return OPERATORS[op].format(*below)
        case Select():
            return f"({below[1]} if {below[0]} else {below[2]})"
        case Cast(dtype, value):
            return write_cast(below[0], value.dtype, dtype)
        case Call("requantise", _, _, attributes):
            limits = dict(attributes)
            return f"requantise({', '.join(below)}, {limits['low']}, {limits['high']})"
        case Call("reinterpret", (value,), dtype):
            return f"reinterpret({below[0]}, {value.dtype!r}, {dtype!r})"
        case Call("rescale"):
            return f"rescale({', '.join(below)})"
        case Call(op):
            return f"call_{op}({', '.join(below)})"
        case _:
            raise CompileError("no expression of the IR", found=node)


def write_constant(value: int | float, dtype: str) -> str:
    if dtype == BOOL:
        return repr(bool(value))
    return f"({int(value) if dtype in FULL_RANGE else scalar_semantics.constant(value, dtype)!r})"


def write_cast(text: str, source: str, target: str) -> str:
    if target == BOOL:
        return f"({text} != 0)"
    if target in FULL_RANGE:
        return f"int({text})" if source == BOOL else text if source in FULL_RANGE else f"cast_to_integer({text}, {target!r})"
    if target in NARROW_FLOATS:
        through_float32 = needs_rounding(Cast("float32", Var("", source))) and (source, target) != ("float64", "float16")
        inner = write_cast(text, source, "float32")
        return f"narrow_{target}.round({f'round_float32({inner})' if through_float32 else inner})"
    if target == "float32" and source in ("int64", "uint64"):
        return f"cast_to_float32({text})"
    return f"float({text})" if source in FULL_RANGE else text


def decoded(element: str, dtype: str) -> str:
    """The value of what a view holds. Of narrow types it holds the code; bits above those of the type mean nothing."""
    if dtype not in NARROW:
        return element
    code = f"{element} & {(1 << ELEMENT_TYPES[dtype].bits) - 1}" if ELEMENT_TYPES[dtype].bits < 8 else element
    return f"narrow_{dtype}.values[{code}]" if dtype in NARROW_FLOATS else f"wrap({code}, {dtype!r})"


def encoded(value: str, dtype: str) -> str:
    """What a view holds of a value."""
    if dtype in NARROW_INTEGERS:
        return f"{value} & {(1 << ELEMENT_TYPES[dtype].bits) - 1}"
    return f"narrow_{dtype}.encode({value})" if dtype in NARROW_FLOATS else value


def needs_rounding(node: Expr) -> bool:
    """Of a float32 node: whether its value, computed in float64, may not be a float32."""
    if node.dtype != "float32":
        return False
    match node:
        case Const() | Select() | Binary("min" | "max") | Call("reinterpret"):
            return False
        case Cast(_, value):
            return value.dtype in ("int32", "uint32", "int64", "uint64", "float64")
        case _:
            return True


def wrapped(text: str, dtype: str, interval: Interval) -> str:
    """`text` brought into the range of `dtype` unless its interval lies there."""
    low, high = FULL_RANGE[dtype]
    if low <= interval[0] and interval[1] <= high:
        return text
    return f"({text} & {high})" if low == 0 else f"(({text} + {-low} & {high - low}) - {-low})"


def view_of(buffer: Buffer, name: str) -> str:
    """A flat view of an array: indexing it gives and takes Python numbers, of narrow types their codes."""
    storage = f".view('uint{8 * ELEMENT_TYPES[buffer.dtype].item_bytes}')" if buffer.dtype in NARROW else ""
    return f"memoryview(array_{name}.reshape(-1){storage})"


def indent(lines: Sequence[str], levels: int) -> Iterator[str]:
    return ("    " * levels + line for line in lines)
