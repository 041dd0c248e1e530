"""The tensor IR: one small immutable language for every target.

A `Function` is a loop nest over `Buffer`s with static shapes. While it is being scheduled its computations sit in
`Block`s (an iteration domain with bindings to the loops outside, as in TVM's TensorIR); lowering removes blocks, virtual
threads and double buffers and leaves `For`, `Seq`, `If`, `Allocate`, `Store` and `Intrinsic`.

Nodes compare structurally; `Var` and `Buffer` compare by identity. Names are unique within a function (`verify` holds it),
so the text form (`printer`, `parser`) round-trips.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

Attributes = tuple[tuple[str, int | float | str], ...]
"""Sorted (key, value) pairs: an immutable mapping that compares structurally."""

ARITHMETIC = ("add", "sub", "mul", "div", "floordiv", "floormod", "min", "max", "shl", "shr", "bit_and", "bit_or", "bit_xor")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
LOGICAL = ("and", "or")
CALLS = (
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "tanh",
    "sigmoid",
    "erf",
    "pow",
    "fmod",
    "expm1",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "asinh",
    "acosh",
    "atanh",
    "floor",
    "ceil",
    "round_even",
    "abs",
    "requantise",
    "rescale",
    "reinterpret",
)
"""Pure functions. requantise(acc, bias, scale; low, high) and rescale(acc, bias, scale) are those of vdla.isa.semantics.
reinterpret takes the bits of a value as one of another dtype of the same width."""

LOOP_KINDS = (
    "serial",
    "parallel",
    "vectorized",
    "unrolled",
    "vthread",
    "block_x",
    "block_y",
    "block_z",
    "thread_x",
    "thread_y",
    "thread_z",
)
ITERS = ("spatial", "reduce", "scan")
SCOPES = ("global", "local", "shared", "vdla.inp", "vdla.wgt", "vdla.acc", "vdla.table")


class Expr:
    """A pure expression; `dtype` is one of `element_types.DTYPES`."""

    __slots__ = ()
    dtype: str

    def __add__(self, other: Scalar) -> Expr:
        return binary("add", self, other)

    def __radd__(self, other: Scalar) -> Expr:
        return binary("add", other, self)

    def __sub__(self, other: Scalar) -> Expr:
        return binary("sub", self, other)

    def __rsub__(self, other: Scalar) -> Expr:
        return binary("sub", other, self)

    def __mul__(self, other: Scalar) -> Expr:
        return binary("mul", self, other)

    def __rmul__(self, other: Scalar) -> Expr:
        return binary("mul", other, self)

    def __truediv__(self, other: Scalar) -> Expr:
        return binary("div", self, other)

    def __floordiv__(self, other: Scalar) -> Expr:
        return binary("floordiv", self, other)

    def __mod__(self, other: Scalar) -> Expr:
        return binary("floormod", self, other)

    def __lt__(self, other: Scalar) -> Expr:
        return binary("lt", self, other)

    def __le__(self, other: Scalar) -> Expr:
        return binary("le", self, other)

    def __gt__(self, other: Scalar) -> Expr:
        return binary("gt", self, other)

    def __ge__(self, other: Scalar) -> Expr:
        return binary("ge", self, other)

    def astype(self, dtype: str) -> Expr:
        return self if self.dtype == dtype else Cast(dtype, self)


Scalar = Expr | int | float


@dataclass(frozen=True, slots=True, eq=False)
class Var(Expr):
    """A loop or iteration variable, by identity."""

    name: str
    dtype: str = "int32"

    def __repr__(self) -> str:
        return f"Var({self.name})"


@dataclass(frozen=True, slots=True)
class Const(Expr):
    value: int | float
    dtype: str = "int32"


@dataclass(frozen=True, slots=True)
class Binary(Expr):
    """`op` of ARITHMETIC, COMPARISONS or LOGICAL; both operands have one dtype. div is of floats only.

    shr of a signed integer copies the sign, of an unsigned one brings in zeros.
    """

    op: str
    a: Expr
    b: Expr

    @property
    def dtype(self) -> str:  # type: ignore[override]
        return self.a.dtype if self.op in ARITHMETIC else "bool"


@dataclass(frozen=True, slots=True)
class Cast(Expr):
    """Conversion as by astype of NumPy and ml_dtypes, defined everywhere.

    Integer → integer wraps, anything → bool is "is not 0". Float → integer truncates; NaN is 0, and what is out of range is
    the nearest bound, for targets of less than 32 bits that of int32, from where they wrap. Anything → float rounds to nearest,
    ties to even; beyond the largest lies infinity, or NaN where the type has none, or its largest value if it has neither
    (float4_e2m1fn, where NaN becomes 0). To a narrow float it goes by way of float32, but float64 → float16 at once. In
    float8_e8m0fnu what is not positive is NaN, and ties go up.
    """

    dtype: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Select(Expr):
    """`a` where `condition` else `b`. Loads in the branch not taken are not performed (padding relies on it)."""

    condition: Expr
    a: Expr
    b: Expr

    @property
    def dtype(self) -> str:  # type: ignore[override]
        return self.a.dtype


@dataclass(frozen=True, slots=True)
class Call(Expr):
    op: str
    args: tuple[Expr, ...]
    dtype: str
    attributes: Attributes = ()


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """A dense row-major array in a memory `scope`. In the vdla.* scopes the last two dimensions are one SRAM tile."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scope: str = "global"

    def __repr__(self) -> str:
        return f"Buffer({self.name}: {self.dtype}{list(self.shape)} in {self.scope})"

    def __getitem__(self, indices: Scalar | tuple[Scalar, ...]) -> Load:
        indices = indices if isinstance(indices, tuple) else (indices,)
        return Load(self, tuple(as_expr(i) for i in indices))


@dataclass(frozen=True, slots=True)
class Load(Expr):
    buffer: Buffer
    indices: tuple[Expr, ...]

    @property
    def dtype(self) -> str:  # type: ignore[override]
        return self.buffer.dtype


class Stmt:
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Store(Stmt):
    buffer: Buffer
    indices: tuple[Expr, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class For(Stmt):
    """`var` runs over 0 … extent-1."""

    var: Var
    extent: int
    body: Stmt
    kind: str = "serial"


@dataclass(frozen=True, slots=True)
class Seq(Stmt):
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class If(Stmt):
    condition: Expr
    then: Stmt
    otherwise: Stmt | None = None


@dataclass(frozen=True, slots=True)
class Allocate(Stmt):
    """`buffer` exists, undefined at first, during `body`. annotations: double_buffer, storage_align."""

    buffer: Buffer
    body: Stmt
    annotations: Attributes = ()


@dataclass(frozen=True, slots=True)
class Iter:
    """One axis of a block's domain, 0 … extent-1, of a kind of ITERS.

    spatial: each value writes its own elements. reduce: every value goes into the same elements, in increasing order where
    the result depends on it. scan: a step of a recurrence, which reads what the steps before left; always in increasing order.
    """

    var: Var
    extent: int
    kind: str = "spatial"


@dataclass(frozen=True, slots=True)
class Block(Stmt):
    """`body` for one point of the domain; the loops outside choose the point through `bindings`, one for each iter.

    A point is executed only where `predicate` holds. `init` runs before the first reduction point of each spatial point.
    Within body and init only the iters' variables are used, never the loops'.
    """

    name: str
    iters: tuple[Iter, ...]
    bindings: tuple[Expr, ...]
    body: Stmt
    init: Stmt | None = None
    predicate: Expr | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """A box of `buffer`: first index and extent along each dimension."""

    buffer: Buffer
    starts: tuple[Expr, ...]
    extents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Intrinsic(Stmt):
    """One tensorised operation. What it does is the entry `name` of the target's intrinsic table.

    operands: the written region first. predicate: for a padded load, where the source is inside; elsewhere the
    destination gets attribute `pad_value`.
    """

    name: str
    operands: tuple[Region, ...]
    attributes: Attributes = ()
    predicate: Expr | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """params: global buffers, inputs first, then `output_count` outputs."""

    name: str
    params: tuple[Buffer, ...]
    body: Stmt
    output_count: int = 1
    attributes: Attributes = ()


TRUE = Const(1, "bool")
FALSE = Const(0, "bool")


def as_expr(value: Scalar, dtype: str = "int32") -> Expr:
    if isinstance(value, Expr):
        return value
    return Const(value, "float32" if isinstance(value, float) and dtype == "int32" else dtype)


def binary(op: str, a: Scalar, b: Scalar) -> Expr:
    """A binary expression; a bare Python number takes the other operand's dtype. Constants fold later, in `simplify`."""
    if not isinstance(a, Expr):
        a = Const(a, b.dtype) if isinstance(b, Expr) else as_expr(a)
    if not isinstance(b, Expr):
        b = Const(b, a.dtype)
    if a.dtype != b.dtype:
        raise TypeError(f"{op}: operands of {a.dtype} and {b.dtype}; cast one")
    return Binary(op, a, b)


def all_of(conditions: list[Expr]) -> Expr:
    """Conjunction; TRUE when empty."""
    return reduce(lambda a, b: Binary("and", a, b), conditions) if conditions else TRUE


def seq(*stmts: Stmt) -> Stmt:
    """Statements in order; nested sequences are flattened, a single one is returned bare."""
    flat = tuple(x for s in stmts for x in (s.body if isinstance(s, Seq) else (s,)))
    return flat[0] if len(flat) == 1 else Seq(flat)


def attribute(attributes: Attributes, key: str, default: int | float | str | None = None) -> int | float | str | None:
    return next((value for k, value in attributes if k == key), default)


def with_attribute(attributes: Attributes, key: str, value: int | float | str) -> Attributes:
    return tuple(sorted([(k, v) for k, v in attributes if k != key] + [(key, value)]))
