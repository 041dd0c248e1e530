"""Tensor expressions: what to compute, without saying in which order.

    x = te.placeholder((64, 128), "int8", "x")
    w = te.placeholder((32, 128), "int8", "w")
    k = te.reduce_axis(128, "k")
    y = te.compute((64, 32), lambda i, j: te.sum(te.cast(x[i, k], "int32") * te.cast(w[j, k], "int32"), k), "y")
    function = te.create_function("dense", [x, w], [y])

`sum`, `prod`, `max` and `min` reduce; `maximum` and `minimum` are elementwise, as in NumPy.

Several values reduced together, here the largest and where it is:

    def larger(best, new):
        return te.maximum(best[0], new[0]), te.select(new[0] > best[0], new[1], best[1])

    value, index = te.compute((64,), lambda i: te.reduce_tuple(larger, (te.lowest("int8"), -1), (x[i, k], k), k), "largest")

Recurrences: the stages of one step read states, which are placeholders, and sequences at index t:

    t = te.scan_axis(20, "t")
    h = te.placeholder((32,), "float32", "h")
    g = te.compute((32,), lambda i: te.sum(w[i, k] * h[k], k), "g")
    h_next = te.compute((32,), lambda i: te.tanh(g[i] + x[t, i]), "h_next")
    (h_last,), (h_all,) = te.scan(t, [te.State(h, initial=h_0, update=h_next)], collect=[h_next])

h_last[i] is the state after the last step, h_all[t, i] what h_next was in each. `te.State(…, at=…)` updates a part of the
state in place, such as one element of a histogram.

An index may depend on data: table[te.clip(index[i], 0, n - 1)]. It has to be clamped (or guarded by a select that compares
it), so that it is in bounds whatever the data are; `te.position` does so with indices that may count from the end.
"""

from vdla.compiler.te.function_builder import create_function
from vdla.compiler.te.functions import (
    absolute,
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    bit_and,
    bit_not,
    bit_or,
    bit_xor,
    cast,
    ceil,
    clip,
    const,
    cos,
    cosh,
    equal,
    erf,
    exp,
    expm1,
    floor,
    fmod,
    log,
    log1p,
    logical_and,
    logical_or,
    maximum,
    minimum,
    not_equal,
    position,
    power,
    reinterpret,
    requantise,
    rescale,
    round_even,
    rsqrt,
    select,
    shift_left,
    shift_right,
    sigmoid,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)
from vdla.compiler.te.reductions import highest, lowest, max, min, prod, reduce_tuple, reduction, sum
from vdla.compiler.te.scan import Scan, State, scan, scan_axis
from vdla.compiler.te.tensor import (
    Part,
    ReduceAxis,
    Reduction,
    ScanAxis,
    Tensor,
    TupleReduction,
    TupleStage,
    compute,
    placeholder,
    reduce_axis,
)

__all__ = [
    "Part", "ReduceAxis", "Reduction", "Scan", "ScanAxis", "State", "Tensor", "TupleReduction", "TupleStage", "absolute",
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "bit_and", "bit_not", "bit_or", "bit_xor", "cast", "ceil", "clip",
    "compute", "const", "cos", "cosh", "create_function", "equal", "erf", "exp", "expm1", "floor", "fmod", "highest", "log",
    "log1p", "logical_and", "logical_or", "lowest", "max", "maximum", "min", "minimum", "not_equal", "placeholder", "position",
    "power", "prod", "reduce_axis", "reduce_tuple", "reduction", "reinterpret", "requantise", "rescale", "round_even", "rsqrt",
    "scan", "scan_axis", "select", "shift_left", "shift_right", "sigmoid", "sin", "sinh", "sqrt", "sum", "tan", "tanh",
]  # fmt: skip
