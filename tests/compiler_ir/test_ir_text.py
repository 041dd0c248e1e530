"""The text form: golden, and read back."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
from random_functions import random_case
from test_te import conv2d_stages

from vdla.compiler import ir, te
from vdla.errors import CompileError

GOLDEN = Path(__file__).parent / "golden"

EVERYTHING = """\
function everything(x: int8[2, 16], flags: bool[4], f: float64[4]) -> (y: int8[2, 16], z: float32[4]) {c=1.5, key="\\"", n=-3}:
    allocate t: int8[1, 16] in vdla.inp {double_buffer=1}
    allocate a: int32[1, 16] in vdla.acc {double_buffer=1, "two words"="x"}
    for i in vthread(2):
        vdla.load(t[0 +: 1, 0 +: 16], x[i - 1 +: 1, 0 +: 16]; pad_value=-1) where i >= 1
        vdla.gemm_reset(a[0 +: 1, 0 +: 16])
        vdla.store(y[i +: 1, 0 +: 16], a[0 +: 1, 0 +: 16])
    scope:
        allocate s: float32[1]
        s[0] = 1.0
        z[0] = s[0] + -2.5 / float32(inf)
    seq:
        z[1] = select(flags[0] and true or false, exp(z[0]), pow(z[0], 1e-05))
    for j: int64 in parallel(4):
        if cast(int32, j) < 2:
            pass
        else:
            z[j] = cast(float32, requantise(a[0, j], 3, 4; high=127, low=-128) // (2 - (1 - 5)))
    for k in range(4):
        block z:
            axis z.k = spatial(4, k)
            axis z.r: int64 = reduce(1, int64(0))
            where k * 2 % 3 != 1
            init:
                z[z.k] = float32(nan)
            z[z.k] = max(z[z.k], cast(float32, min(z.k << 1, (z.k == 2) + (z.k >> 1))))
    seq:
        seq:
            pass
        scope:
            allocate "odd name": uint8[]
            "odd name"[] = uint8(255)
        f_log()
    z[0] = floor:float32(int16(-7); how="down")
"""


def test_every_construct_reads_back() -> None:
    function = ir.parse(EVERYTHING)
    assert ir.to_text(function) == EVERYTHING
    assert ir.structural_equal(function, ir.parse(ir.to_text(function)))


def test_golden_conv2d() -> None:
    x, w, y = conv2d_stages(1, 3, 6, 8, 3, 1, 2)
    assert ir.to_text(te.create_function("conv2d", [x, w], [y])) == (GOLDEN / "conv2d.ir").read_text()


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_random_functions_read_back(first: int) -> None:
    for seed in range(first, first + 50):
        function = random_case(seed).function
        text = ir.to_text(function)
        again = ir.parse(text)
        ir.verify(again)
        assert ir.structural_equal(function, again), f"seed {seed}"
        assert ir.to_text(again) == text, f"seed {seed}"


@pytest.mark.parametrize("inner", [*ir.ARITHMETIC, *ir.COMPARISONS, *ir.LOGICAL])
def test_any_nesting_of_operators_reads_back(inner: str) -> None:
    """Brackets: every operator on either side of every other, legal or not."""
    y, i = ir.Buffer("y", (4,), "int32"), ir.Var("i")
    for outer in (*ir.ARITHMETIC, *ir.COMPARISONS, *ir.LOGICAL):
        nested = ir.Binary(inner, i, ir.Const(-1))
        for value in (ir.Binary(outer, nested, i), ir.Binary(outer, i, nested), ir.Binary(outer, nested, nested)):
            function = ir.Function("f", (y,), ir.For(i, 4, ir.Store(y, (i,), value)))
            assert ir.structural_equal(function, ir.parse(ir.to_text(function))), ir.to_text(function)


@pytest.mark.parametrize("seed", range(3))
def test_sequences_and_scopes_read_back(seed: int) -> None:
    """Where a suite ends an allocate or a sequence is kept exactly."""
    rng = random.Random(seed)
    y = ir.Buffer("y", (), "int32")
    count = 0

    def statement(depth: int):
        nonlocal count
        kind = rng.choice(("store", "seq", "seq", "allocate", "for") if depth else ("store",))
        count += 1
        if kind == "store":
            return ir.Store(y, (), ir.Const(count))
        if kind == "seq":
            return ir.Seq(tuple(statement(depth - 1) for _ in range(rng.randrange(4))))
        if kind == "allocate":
            return ir.Allocate(ir.Buffer(f"b{count}", (1,), "int8"), statement(depth - 1))
        return ir.For(ir.Var(f"i{count}"), 2, statement(depth - 1))

    for _ in range(200):
        function = ir.Function("f", (y,), statement(5))
        assert ir.structural_equal(function, ir.parse(ir.to_text(function))), f"seed {seed}\n{ir.to_text(function)}"


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (5, "int32", "5"),
        (-5, "int32", "-5"),
        (5, "int8", "int8(5)"),
        (1, "bool", "true"),
        (0.1, "float32", "0.1"),
        (1e300, "float64", "float64(1e+300)"),
        (-math.inf, "float32", "float32(-inf)"),
        (math.nan, "float64", "float64(nan)"),
        (3, "float32", "float32(3)"),
        (-0.0, "float32", "-0.0"),
    ],
)
def test_constants(value: float, dtype: str, text: str) -> None:
    assert ir.to_text(ir.Const(value, dtype)) == text
    y = ir.Buffer("y", (), dtype)
    function = ir.Function("f", (y,), ir.Store(y, (), ir.Const(value, dtype)))
    assert ir.structural_equal(function, ir.parse(ir.to_text(function)))


def test_equality_sees_differences() -> None:
    function = ir.parse(EVERYTHING)
    edits = [
        ("c=1.5", "c=1.6"),
        ("n=-3", "n=-3.0"),
        ("everything", "something"),
        ("vthread(2)", "serial(2)"),
        ("i - 1", "i - 2"),
        ("pad_value=-1", "pad_value=0"),
        ("where i >= 1", "where i > 1"),
        ("+ -2.5", "+ 2.5"),
        ("true", "false"),
        ("z[1] =", "z[2] ="),
        ("exp(z[0])", "exp(z[1])"),
        ("log()", "exp()"),
        ("reduce(1", "spatial(1"),
        ("z.k << 1", "z.k << 2"),
        ('how="down"', 'how="up"'),
        ("in vdla.acc", "in local"),
        ("int8[2, 16], flags", "int8[2, 17], flags"),
        ("float64[4])", "float32[4])"),
        ("where k * 2 % 3 != 1\n            init", "init"),
        ("block z:", "block q:"),
        ("s[0] = 1.0", "s[0] = float32(1)"),
    ]
    for old, new in edits:
        assert old in EVERYTHING
        changed = EVERYTHING.replace(old, new.replace("serial(", "range("))
        assert not ir.structural_equal(function, ir.parse(changed)), old


def test_equality_wants_one_variable_for_one() -> None:
    y, i, j = ir.Buffer("y", (4, 4), "int32"), ir.Var("i"), ir.Var("j")

    def nest(value, a=i, b=j):
        return ir.Function("f", (y,), ir.For(a, 4, ir.For(b, 4, ir.Store(y, (a, b), value))))

    assert ir.structural_equal(nest(i + j), nest(j + i, j, i))
    assert not ir.structural_equal(nest(i + j), nest(j + i))
    assert not ir.structural_equal(nest(i + i), nest(i + j))
    assert not ir.structural_equal(nest(i + j), nest(i + i))
    x, z = ir.Buffer("x", (4, 4), "int32"), ir.Buffer("z", (4, 4), "int32")
    two = ir.Function("f", (x, z), ir.Store(x, (ir.Const(0), ir.Const(0)), ir.Load(z, (ir.Const(0), ir.Const(0)))), 2)
    one = ir.Function("f", (x, z), ir.Store(x, (ir.Const(0), ir.Const(0)), ir.Load(x, (ir.Const(0), ir.Const(0)))), 2)
    assert not ir.structural_equal(two, one)
    assert not ir.structural_equal(one, two)
    assert not ir.structural_equal(replace(two, body=ir.Seq(())), replace(two, params=(x, x), body=ir.Seq(())))


HEAD = "function f(x: int8[4]) -> (y: int8[4]):\n"

ERRORS = {
    "def f():": "line 1, column 1: syntax; found 'def'; expected 'function'",
    "function f(x: int8[4]) (y: int8[4]):": "line 1, column 24: syntax; found '('; expected '->'",
    "function f(x: int9[4]) -> ():": "line 1, column 15: dtype; found 'int9'; expected one of bool, int64",
    "function f(x: int8[4.5]) -> ():": "line 1, column 20: syntax; found '4.5'; expected a whole number",
    "function f(x: int8[4] in ram) -> ():": "line 1, column 26: scope; found 'ram'; expected one of global, local",
    "function f(x: int8[4], x: int8[4]) -> ():": "line 1, column 24: two parameters of one name; found 'x'",
    "function f() -> ()": "line 1, column 19: syntax; found 'the end of the line'; expected ':'",
    HEAD + "y[0] = x[0]": "line 2, column 1: syntax; found 'y'; expected an indented line",
    HEAD
    + "    y[0] = x[0]\n  y[0] = x[0]": "line 3, column 3: indentation; found '2 spaces'; expected 0 spaces, as a line above",
    HEAD + "    y[0] = q[0]": "line 2, column 12: unknown buffer; found 'q'; expected one of x, y",
    HEAD + "    y[i] = x[0]": "line 2, column 7: unknown variable; found 'i'; expected a number: no variable is in scope",
    HEAD + "    for i in range(4):\n        y[i] = x[j]": "line 3, column 18: unknown variable; found 'j'; expected one of i",
    HEAD
    + "    for i in while(4):\n        y[i] = x[i]": "line 2, column 14: kind of loop; found 'while'; expected one of range",
    HEAD + "    for i in range(4)\n        y[i] = x[i]": "line 2, column 22: syntax; found 'the end of the line'; expected ':'",
    HEAD + "    y[0] = x[0] +": "line 2, column 18: syntax; found 'the end of the line'; expected an expression",
    HEAD + "    y[0] = (x[0]": "line 2, column 17: syntax; found 'the end of the line'; expected ')'",
    HEAD + "    y[0 = x[0]": "line 2, column 9: syntax; found '='; expected ',' or ']'",
    HEAD + "    y[0] = gamma(x[0])": "line 2, column 12: unknown function; found 'gamma'; expected one of min, max, bit_and",
    HEAD + "    y[0] = min(x[0])": "line 2, column 12: number of arguments; found '1'; expected 2",
    HEAD + "    y[0] = 1 < 2 < 3": "line 2, column 18: syntax; found '<'; expected the end of the line",
    HEAD + "    y[0] = x[0] ?": "line 2, column 17: unreadable text; found '?'; expected a name, number, string or symbol",
    HEAD + "    load(y[0 : 1])": "line 2, column 14: syntax; found ':'; expected '+:'",
    HEAD + '    "\\q"[0] = x[0]': "line 2, column 5: unreadable string; found '\"\\\\q\"'; expected a string as in JSON",
    HEAD + "    block b:\n        axis i = range(4, 0)\n        pass": "line 3, column 18: kind of axis; found 'range'",
    HEAD + "    allocate t: int8[4]": "line 3, column 1: syntax; found 'a line less indented'; expected the statements",
    HEAD + "    + 3": "line 2, column 5: syntax; found '+'; expected a statement",
    HEAD + "    for in in range(4):\n        pass": "line 2, column 9: syntax; found 'in'; expected a variable's name",
    HEAD + "    y[0] = x[0]\nrest": "line 3, column 1: syntax; found 'rest'; expected the end of the text",
    HEAD + f"    y[{'9' * 5000}] = x[0]": "line 2, column 7: a number too long; found '999",
    HEAD + "    y[0] = " + "(" * 9999: "line 2, column ",
    "": "line 1, column 1: syntax; found 'the end of the text'; expected 'function'",
}


@pytest.mark.parametrize("text", ERRORS, ids=lambda text: text[-40:])
def test_errors_say_where(text: str) -> None:
    with pytest.raises(CompileError) as caught:
        ir.parse(text)
    assert str(caught.value).startswith(ERRORS[text])


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_damaged_text_is_an_error_or_a_function_never_a_traceback(first: int) -> None:
    for seed in range(first, first + 100):
        rng = random.Random(seed)
        text = EVERYTHING
        for _ in range(rng.randrange(1, 4)):
            at, cut = rng.randrange(len(text)), rng.randrange(6)
            text = (
                text[:at]
                + rng.choice(("", "(", "]", ":", " ", "\n", "x", "1", ";", "seq:", '"', "-", "\t", "é"))
                + text[at + cut :]
            )
        try:
            function = ir.parse(text)
        except CompileError:
            continue
        assert list(ir.walk_stmt(function.body)), f"seed {seed}"


def test_call_dtypes_and_odd_names_are_kept() -> None:
    y = ir.Buffer("for", (), "float32")
    function = ir.Function("a b", (y,), ir.Store(y, (), ir.Call("floor", (ir.Const(1, "int32"),), "float32")))
    assert ir.to_text(function) == 'function "a b"() -> ("for": float32[]):\n    "for"[] = floor:float32(1)\n'
    assert ir.structural_equal(function, ir.parse(ir.to_text(function)))
