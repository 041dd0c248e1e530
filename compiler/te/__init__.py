"""Tensor expressions: what to compute, without saying in which order.

    x = te.placeholder((64, 128), "int8", "x")
    w = te.placeholder((32, 128), "int8", "w")
    k = te.reduce_axis(128, "k")
    y = te.compute((64, 32), lambda i, j: te.sum(te.cast(x[i, k], "int32") * te.cast(w[j, k], "int32"), k), "y")
    function = te.create_function("dense", [x, w], [y])

`sum`, `prod`, `max` and `min` reduce; `maximum` and `minimum` are elementwise, as in NumPy.
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
from vdla.compiler.te.reductions import max, min, prod, reduction, sum
from vdla.compiler.te.tensor import ReduceAxis, Reduction, Tensor, compute, placeholder, reduce_axis

__all__ = [
    "ReduceAxis", "Reduction", "Tensor", "absolute", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bit_and",
    "bit_not", "bit_or", "bit_xor", "cast", "ceil", "clip", "compute", "const", "cos", "cosh", "create_function", "equal",
    "erf", "exp", "expm1", "floor", "fmod", "log", "log1p", "logical_and", "logical_or", "max", "maximum", "min", "minimum",
    "not_equal", "placeholder", "power", "prod", "reduce_axis", "reduction", "reinterpret", "requantise", "rescale",
    "round_even", "rsqrt", "select", "shift_left", "shift_right", "sigmoid", "sin", "sinh", "sqrt", "sum", "tan", "tanh",
]  # fmt: skip
