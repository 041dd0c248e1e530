"""`verify` takes what is legal and refuses what is not, showing the statement."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent, indent

import pytest
from random_functions import random_case

from vdla.compiler import ir
from vdla.errors import CompileError

X, Y = ir.Buffer("x", (4, 4), "int8"), ir.Buffer("y", (4, 4), "int8")
I, J, K = ir.Var("i"), ir.Var("j"), ir.Var("k")


def function(body: ir.Stmt, outputs: int = 1) -> ir.Function:
    return ir.Function("f", (X, Y), body, outputs)


def nest(body: ir.Stmt, kind: str = "serial") -> ir.Function:
    return function(ir.For(I, 4, ir.For(J, 4, body, kind)))


def store(value: ir.Expr, *indices: ir.Expr) -> ir.Store:
    return ir.Store(Y, indices or (I, J), value)


def block(
    *iters: ir.Iter, bindings: tuple[ir.Expr, ...] = (I, J), indices: tuple[ir.Expr, ...] | None = None, **more
) -> ir.Block:
    indices = indices or tuple(it.var for it in iters)
    return ir.Block("b", iters, bindings, ir.Store(Y, indices, ir.Const(0, "int8")), **more)


A, B = ir.Iter(ir.Var("a"), 4), ir.Iter(ir.Var("b"), 4)
LOAD = ir.Load(X, (I, J))
ZERO = ir.Const(0, "int8")


def looked_up(data: ir.Expr) -> ir.Load:
    return ir.Load(X, (data.astype("int32"), ir.Const(0)))


def clamped(data: ir.Expr) -> ir.Expr:
    return ir.Binary("min", ir.Binary("max", data.astype("int32"), ir.Const(0)), ir.Const(3))


BROKEN: dict[str, tuple[ir.Function, str]] = {
    "unknown variable": (
        nest(store(LOAD, K, J)),
        "function f, at `y[k, j] = x[i, j]`: variable k is used outside its loop; found 'k'; expected i, j",
    ),
    "variable after its loop": (
        function(ir.Seq((ir.For(I, 4, ir.Seq(())), store(ZERO, I, I)))),
        "function f, at `y[i, i] = int8(0)`: variable i is used outside its loop",
    ),
    "bound twice": (
        function(ir.Seq((ir.For(I, 4, ir.Seq(())), ir.For(I, 4, ir.Seq(()))))),
        "function f, at `for i in range(4):`: i is bound twice",
    ),
    "two of a name": (
        function(ir.For(I, 4, ir.For(ir.Var("i"), 4, ir.Seq(())))),
        "function f, at `for i in range(4):`: a name with two owners; found 'i'",
    ),
    "variable named as a buffer": (
        function(ir.For(ir.Var("x"), 4, ir.Seq(()))),
        "function f, at `for x in range(4):`: a name with two owners; found 'x'",
    ),
    "parameter twice": (ir.Function("f", (X, X), ir.Seq(())), "function f: x is bound twice"),
    "no outputs": (function(ir.Seq(()), 0), "function f: output_count; found 0; expected 1 to 2, the number of parameters"),
    "zero extent": (
        function(ir.For(I, 0, ir.Seq(()))),
        "function f, at `for i in range(0):`: extent of i; found 0; expected a whole number, 1 or more",
    ),
    "unknown kind": (
        function(ir.For(I, 4, ir.Seq(()), "sideways")),
        "function f, at `for i in sideways(4):`: kind of loop i; found 'sideways'; expected one of serial",
    ),
    "float variable": (
        function(ir.For(ir.Var("i", "float32"), 4, ir.Seq(()))),
        "function f, at `for i: float32 in range(4):`: dtype of variable i; found 'float32'",
    ),
    "stored dtype": (
        nest(store(ir.Cast("int32", LOAD))),
        "function f, at `y[i, j] = cast(int32, x[i, j])`: dtype stored to y; found 'int32'; expected int8",
    ),
    "operand dtypes": (
        nest(store(ir.Binary("add", LOAD, ir.Const(1)))),
        "function f, at `y[i, j] = x[i, j] + 1`: operands of add; found 'int8, int32'; expected one dtype; try: cast one",
    ),
    "div of integers": (
        nest(store(ir.Binary("div", LOAD, LOAD))),
        "function f, at `y[i, j] = x[i, j] / x[i, j]`: operands of div; found 'int8'; expected one of float32, float64",
    ),
    "and of numbers": (
        nest(store(ir.Binary("and", LOAD, LOAD))),
        "function f, at `y[i, j] = x[i, j] and x[i, j]`: operands of and; found 'int8'; expected one of bool",
    ),
    "unknown operation": (
        nest(store(ir.Binary("xor", LOAD, LOAD))),
        "function f, at `y[i, j] = xor(x[i, j], x[i, j])`: binary operation; found 'xor'; expected one of add",
    ),
    "unknown call": (
        nest(store(ir.Call("gamma", (LOAD,), "int8"))),
        "function f, at `y[i, j] = gamma(x[i, j])`: call; found 'gamma'; expected one of exp",
    ),
    "exp of int8": (
        nest(store(ir.Call("exp", (LOAD,), "int8"))),
        "function f, at `y[i, j] = exp(x[i, j])`: dtypes of exp; found 'int8 to int8'; expected one of float32",
    ),
    "arguments of pow": (
        nest(store(ir.Call("pow", (ir.Const(1.0, "float32"),), "float32"))),
        "function f, at `y[i, j] = pow(1.0)`: number of arguments of pow; found 1; expected 2",
    ),
    "attributes of requantise": (
        nest(store(ir.Call("requantise", (I, I, I), "int32", (("low", 0),)))),
        "function f, at `y[i, j] = requantise(i, i, i; low=0)`: attributes of requantise; found ['low']; expected high, low",
    ),
    "constant too large": (
        nest(store(ir.Const(128, "int8"))),
        "function f, at `y[i, j] = int8(128)`: a constant that int8 does not hold; found 128; expected a whole number",
    ),
    "fraction in an integer": (
        nest(store(ir.Const(0.5, "int8"))),
        "function f, at `y[i, j] = int8(0.5)`: a constant that int8 does not hold; found 0.5",
    ),
    "cast to nowhere": (
        nest(store(ir.Cast("int3", LOAD))),
        "function f, at `y[i, j] = cast(int3, x[i, j])`: dtype of a cast; found 'int3'",
    ),
    "select condition": (
        nest(store(ir.Select(I, LOAD, LOAD))),
        "function f, at `y[i, j] = select(i, x[i, j], x[i, j])`: dtype of the condition of a select; found 'int32'",
    ),
    "select branches": (
        nest(store(ir.Select(I < 2, LOAD, ir.Const(0)))),
        "function f, at `y[i, j] = select(i < 2, x[i, j], 0)`: operands of select; found 'int8, int32'; expected one dtype",
    ),
    "if condition": (
        nest(ir.If(I, ir.Seq(()))),
        "function f, at `if i:`: dtype of the condition; found 'int32'; expected bool",
    ),
    "too few indices": (
        nest(store(LOAD, I)),
        "function f, at `y[i] = x[i, j]`: number of indices into y; found 1; expected 2, its rank",
    ),
    "too many indices": (
        nest(store(ir.Load(X, (I, J, I)))),
        "function f, at `y[i, j] = x[i, j, i]`: number of indices into x; found 3; expected 2, its rank",
    ),
    "float index": (
        nest(store(ir.Load(X, (I, ir.Const(1.0, "float32"))))),
        "function f, at `y[i, j] = x[i, 1.0]`: index 1 into x; found 'float32'; expected an integer",
    ),
    "constant index": (
        nest(store(ir.Load(X, (I, ir.Const(4))))),
        "function f, at `y[i, j] = x[i, 4]`: index 1 into x leaves its shape; found '4 in 4..4'; expected 0..3",
    ),
    "affine index": (
        nest(store(ir.Load(X, (I, J + 1)))),
        "function f, at `y[i, j] = x[i, j + 1]`: index 1 into x leaves its shape; found 'j + 1 in 1..4'; expected 0..3",
    ),
    "negative index": (
        nest(store(ZERO, I - 1, J)),
        "function f, at `y[i - 1, j] = int8(0)`: index 0 into y leaves its shape; found 'i - 1 in -1..2'; expected 0..3",
    ),
    "not allocated": (
        nest(store(ir.Load(ir.Buffer("t", (1,), "int8"), (ir.Const(0),)))),
        "function f, at `y[i, j] = t[0]`: buffer t is used outside its allocation; found 'not in scope'",
    ),
    "after its allocation": (
        function(
            ir.Seq(
                (
                    ir.Allocate(ir.Buffer("t", (1,), "int8"), ir.Seq(())),
                    store(ir.Load(ir.Buffer("t", (1,), "int8"), (ir.Const(0),)), ir.Const(0), ir.Const(0)),
                )
            )
        ),
        "function f, at `y[0, 0] = t[0]`: buffer t is used outside its allocation",
    ),
    "input written": (
        nest(ir.Store(X, (I, J), ZERO)),
        "function f, at `x[i, j] = int8(0)`: x is written; found 'an input'; expected an output or an allocated buffer",
    ),
    "unknown scope": (
        function(ir.Allocate(ir.Buffer("t", (1,), "int8", "ram"), ir.Seq(()))),
        "function f, at `allocate t: int8[1] in ram`: scope of buffer t; found 'ram'; expected one of global",
    ),
    "empty buffer": (
        function(ir.Allocate(ir.Buffer("t", (2, 0), "int8"), ir.Seq(()))),
        "function f, at `allocate t: int8[2, 0]`: shape of buffer t; found [2, 0]",
    ),
    "unknown buffer dtype": (
        function(ir.Allocate(ir.Buffer("t", (2,), "int3"), ir.Seq(()))),
        "function f, at `allocate t: int3[2]`: dtype of buffer t; found 'int3'",
    ),
    "no tile": (
        function(ir.Allocate(ir.Buffer("t", (16,), "int8", "vdla.inp"), ir.Seq(()))),
        "function f, at `allocate t: int8[16] in vdla.inp`: rank of buffer t in vdla.inp; found 1; expected 2 or more",
    ),
    "dtype of a tile": (
        function(ir.Allocate(ir.Buffer("t", (1, 16), "int8", "vdla.acc"), ir.Seq(()))),
        "function f, at `allocate t: int8[1, 16] in vdla.acc`: dtype of buffer t in vdla.acc; found 'int8'; expected int32",
    ),
    "bindings": (
        nest(block(A, B, bindings=(I,))),
        "function f, at `block b:`: number of bindings; found 1; expected 2, one for each iter",
    ),
    "iter kind": (
        nest(block(replace(A, kind="weird"), B)),
        "function f, at `block b:`: kind of iter a; found 'weird'; expected one of spatial, reduce, scan",
    ),
    "binding dtype": (
        nest(block(A, B, bindings=(ir.Cast("int64", I), J))),
        "function f, at `block b:`: dtype of the binding of a; found 'int64'; expected int32",
    ),
    "binding outside": (
        nest(block(A, B, bindings=(I + 1, J))),
        "function f, at `block b:`: binding of a leaves its domain; found 'i + 1 in 1..4'; expected 0..3",
    ),
    "loop variable inside": (
        nest(block(A, B, indices=(A.var, J))),
        "function f, at `y[a, j] = int8(0)`: variable j from outside its block; found 'j'; expected the block's own iters",
    ),
    "iter in the predicate": (
        nest(block(A, B, predicate=A.var < 2)),
        "function f, at `block b:`: variable a is used outside its loop",
    ),
    "predicate dtype": (
        nest(block(A, B, predicate=I)),
        "function f, at `block b:`: dtype of the predicate; found 'int32'; expected bool",
    ),
    "iter after its block": (
        nest(ir.Seq((block(A, B), store(ZERO, A.var, J)))),
        "function f, at `y[a, j] = int8(0)`: variable a is used outside its loop",
    ),
    "writes along a reduce iter": (
        nest(block(A, replace(B, kind="reduce"))),
        "function f, at `y[a, b] = int8(0)`: block b writes y along a reduce iter; found 'b'; expected indices of",
    ),
    "same element": (
        nest(block(A, B, indices=(A.var, A.var))),
        "function f, at `y[a, a] = int8(0)`: block b writes the same element of y for every value of a spatial iter; found 'b'",
    ),
    "init uses a reduce iter": (
        nest(block(A, replace(B, kind="reduce"), indices=(A.var, ir.Const(0)), init=ir.Store(Y, (A.var, B.var), ZERO))),
        "function f, at `y[a, b] = int8(0)`: variable b from outside its block",
    ),
    "parallel reduction": (
        nest(block(A, replace(B, kind="reduce"), indices=(A.var, ir.Const(0))), "parallel"),
        "function f, at `block b:`: reduce iter b is driven by a concurrent loop; found 'j'; expected serial",
    ),
    "parallel scan": (
        nest(block(A, replace(B, kind="scan")), "parallel"),
        "function f, at `block b:`: scan iter b is driven by a concurrent loop; found 'j'; expected serial or unrolled loops; "
        "try: make a loop inside the scan concurrent",
    ),
    "index of data": (
        nest(store(looked_up(LOAD), I, J)),
        "function f, at `y[i, j] = x[cast(int32, x[i, j]), 0]`: index 0 into x depends on data and may leave its shape; found "
        "'cast(int32, x[i, j]) in -128..127'; expected 0..3; try: clamp it, te.clip(index, 0, 3), or read under a select that",
    ),
    "guard of something else": (
        nest(store(ir.Select(I < 2, looked_up(LOAD), ZERO))),
        "function f, at `y[i, j] = select(i < 2, x[cast(int32, x[i, j]), 0], int8(0))`: index 0 into x depends on data",
    ),
    "guard from one side": (
        nest(store(ir.Select(LOAD.astype("int32") < 4, looked_up(LOAD), ZERO))),
        "function f, at `y[i, j] = select(cast(int32, x[i, j]) < 4, x[cast(int32, x[i, j]), 0], int8(0))`: index 0 into x "
        "depends on data and may leave its shape; found 'cast(int32, x[i, j]) in -128..3'",
    ),
    "guard on the other branch": (
        nest(store(ir.Select(ir.Binary("eq", LOAD.astype("int32"), ir.Const(1)), ZERO, looked_up(LOAD)))),
        "function f, at `y[i, j] = select(cast(int32, x[i, j]) == 1, int8(0), x[cast(int32, x[i, j]), 0])`: index 0 into x",
    ),
    "guard that may have changed": (
        nest(
            ir.If(
                ir.Binary("eq", ir.Load(Y, (I, J)).astype("int32"), ir.Const(1)),
                ir.Seq((store(ZERO), store(ir.Load(X, (ir.Load(Y, (I, J)).astype("int32"), J))))),
            )
        ),
        "function f, at `y[i, j] = x[cast(int32, y[i, j]), j]`: index 0 into x depends on data",
    ),
    "stored at data": (
        nest(store(ZERO, LOAD.astype("int32"), J)),
        "function f, at `y[cast(int32, x[i, j]), j] = int8(0)`: index 0 into y depends on data",
    ),
    "spatial iter in data only": (
        nest(block(A, B, indices=(clamped(ir.Load(X, (A.var, B.var))), B.var))),
        "function f, at `y[min(max(cast(int32, x[a, b]), 0), 3), b] = int8(0)`: block b writes the same element of y for every "
        "value of a spatial iter; found 'a'; expected that iter in the indices, or of kind reduce or scan, data apart",
    ),
    "binding of data": (
        nest(block(A, B, bindings=(clamped(LOAD), J))),
        "function f, at `block b:`: binding of a depends on data; found 'min(max(cast(int32, x[i, j]), 0), 3)'",
    ),
    "two blocks": (
        nest(ir.Seq((block(A, B), ir.Block("b", (), (), ir.Seq(()))))),
        "function f, at `block b:`: two blocks of one name; found 'b'; expected block names unique within a function",
    ),
    "no operands": (
        function(ir.Intrinsic("go", ())),
        "function f, at `go()`: operands of go; found 0; expected the written region at least",
    ),
    "region rank": (
        nest(ir.Intrinsic("go", (ir.Region(Y, (I, J), (1,)),))),
        "function f, at `go(y[i +: 1])`: number of extents of a region of y; found 1; expected 2, its rank",
    ),
    "region extents": (
        nest(ir.Intrinsic("go", (ir.Region(Y, (I, J), (1, 5)),))),
        "function f, at `go(y[i +: 1, j +: 5])`: extents of a region of y; found [1, 5]; expected 1 or more, at most [4, 4]",
    ),
    "region outside": (
        nest(ir.Intrinsic("go", (ir.Region(Y, (I, J), (1, 2)),))),
        "function f, at `go(y[i +: 1, j +: 2])`: index 1 into y leaves its shape; found 'j in 0..3'; expected 0..2",
    ),
    "intrinsic writes an input": (
        nest(ir.Intrinsic("go", (ir.Region(X, (I, J), (1, 1)),))),
        "function f, at `go(x[i +: 1, j +: 1])`: x is written; found 'an input'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuses(name: str) -> None:
    func, words = BROKEN[name]
    with pytest.raises(CompileError) as caught:
        ir.verify(func)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


HEAD = "function f(x: int8[4, 4]) -> (y: int8[4, 4]):\n    for i in range(4):\n        for j in range(4):\n"

LEGAL = {
    "guarded by select": "y[i, j] = select(j >= 1, x[i, j - 1], int8(0))",
    "guarded by if": """
        if j >= 1:
            y[i, j] = x[i, j - 1]""",
    "cannot be decided": "y[i, j] = x[i, (j + i) % 4]",
    "not reached together": "y[i, j] = x[i, j - i + i]",
    "padded source": "go(y[i +: 1, j +: 1], x[i +: 1, j - 1 +: 1]; pad_value=0) where j >= 1",
    "partial tiles": """
        block b:
            axis a = spatial(4, i * 2 + j)
            where i * 2 + j < 4
            y[a, 0] = int8(0)""",
    "local buffers": """
        block b:
            axis a = spatial(4, i)
            allocate t: int8[1]
            t[0] = x[a, 0]
            y[a, 0] = t[0]""",
    "clamped data": "y[i, j] = x[min(max(cast(int32, x[i, j]), 0), 3), j]",
    "remainder of data": "y[i, j] = x[cast(int32, x[i, j]) % 4, j]",
    "data compared in a select": """
        y[i, j] = select(cast(int32, x[i, j]) >= 0 and 4 > cast(int32, x[i, j]), x[cast(int32, x[i, j]), j], int8(0))""",
    "data compared in an if": """
        if cast(int32, x[i, j]) == 2:
            y[i, j] = x[cast(int32, x[i, j]), j]""",
    "clamped data and a guarded variable": """
        for k in range(9):
            if k < 2:
                y[i, j] = x[min(max(cast(int32, x[i, j]), 0), 1) * 2 + k, j]""",
    "a step that writes where data say": """
        block b:
            axis t = scan(4, i)
            axis a = spatial(4, j)
            y[min(max(cast(int32, x[t, a]), 0), 3), a] = y[min(max(cast(int32, x[t, a]), 0), 3), a] + int8(1)""",
    "int64 variables": """
        for k: int64 in range(2):
            y[i, j] = x[i, k]""",
    "nested blocks": """
        block b:
            axis a = spatial(4, i)
            for k in range(4):
                block c:
                    axis d = spatial(4, a)
                    axis e = spatial(4, k)
                    y[d, e] = int8(0)""",
}


def inside_loops(text: str) -> ir.Function:
    return ir.parse(HEAD + indent(dedent(text), " " * 12))


@pytest.mark.parametrize("name", LEGAL)
def test_takes(name: str) -> None:
    ir.verify(inside_loops(LEGAL[name]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("block b:\n    pass", "function f, at `block b:`: a block after lowering; found 'b'"),
        (
            "for k in vthread(2):\n    pass",
            "function f, at `for k in vthread(2):`: a vthread loop after lowering; found 'k'",
        ),
        (
            "allocate t: int8[1] {double_buffer=1}\npass",
            "function f, at `allocate t: int8[1] {double_buffer=1}`: double_buffer after lowering",
        ),
        (
            "allocate t: int8[2, 1] {storage_align=4}\npass",
            "function f, at `allocate t: int8[2, 1] {storage_align=4}`: storage_align after lowering",
        ),
    ],
)
def test_lowered_refuses_what_lowering_removes(text: str, words: str) -> None:
    ir.verify(inside_loops(text))
    with pytest.raises(CompileError) as caught:
        ir.verify(inside_loops(text), lowered=True)
    assert str(caught.value).startswith(words)


def test_takes_random_functions() -> None:
    for seed in range(100):
        try:
            ir.verify(random_case(seed).function)
        except CompileError as error:
            raise AssertionError(f"seed {seed}") from error
