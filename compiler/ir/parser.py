"""Reads the text form that `printer` writes; see there for the language."""

from __future__ import annotations

import json

from vdla.compiler.ir.element_types import DTYPES
from vdla.compiler.ir.lexer import Token, error_at, tokens_of
from vdla.compiler.ir.nodes import (
    ARITHMETIC,
    CALLS,
    ITERS,
    LOOP_KINDS,
    SCOPES,
    Allocate,
    Attributes,
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
    Iter,
    Load,
    Region,
    Select,
    Seq,
    Stmt,
    Store,
    Var,
)
from vdla.compiler.ir.printer import COMPARISON_LEVEL, INFIX
from vdla.compiler.ir.token_reader import TokenReader

OPERATIONS = {symbol: (op, level) for op, (symbol, level) in INFIX.items()}
TIGHTEST = max(level for _, level in OPERATIONS.values())
LOOP_WORDS = {"range": "serial", **{kind: kind for kind in LOOP_KINDS if kind != "serial"}}
CALL_LIKE = (*(op for op in ARITHMETIC if op not in INFIX), *CALLS)


def parse(text: str) -> Function:
    """The function whose text form is `text`.

    Raises `CompileError` with line and column, what was found and what was expected. Names are resolved here; that the
    function is legal is for `verify`.
    """
    parser = Parser(tokens_of(text))
    try:
        func = parser.function()
    except RecursionError:
        raise parser.fail("shallower nesting", what="brackets or blocks nested too deeply") from None
    parser.expect_kind("end")
    return func


class Parser(TokenReader):
    """Recursive descent. `variables` and `buffers` are what is in scope, innermost last wins."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.variables: dict[str, Var] = {}
        self.buffers: dict[str, Buffer] = {}

    # Function and suites

    def function(self) -> Function:
        self.expect("function")
        name = self.name("the function's name")
        params: list[Buffer] = []
        counts = []
        for arrow in (False, True):
            if arrow:
                self.expect("->")
            self.expect("(")
            params += self.listed(")", self.parameter)
            self.expect(")")
            counts.append(len(params))
        attributes = self.attributes()
        return Function(name, tuple(params), self.suite(), counts[1] - counts[0], attributes)

    def parameter(self) -> Buffer:
        start = self.next
        buffer = self.buffer()
        if buffer.name in self.buffers:
            raise self.fail("a name of its own", start, "two parameters of one name")
        self.buffers[buffer.name] = buffer
        return buffer

    def buffer(self) -> Buffer:
        """name: dtype[shape] in scope"""
        name = self.name("a buffer's name")
        self.expect(":")
        dtype = self.word("dtype", DTYPES)
        self.expect("[")
        shape = self.listed("]", self.whole)
        self.expect("]")
        return Buffer(name, shape, dtype, self.word("scope", SCOPES) if self.accept("in") else "global")

    def suite(self) -> Stmt:
        """A colon and the indented statements after it."""
        return as_suite(self.suite_items())

    def suite_items(self) -> list[Stmt]:
        self.open_suite()
        items = self.items()
        self.expect_kind("dedent")
        return items

    def open_suite(self) -> None:
        self.expect(":")
        self.expect_kind("newline")
        self.expect_kind("indent")

    def items(self) -> list[Stmt]:
        """Statements up to a dedent; an allocate takes all that follow it as its body."""
        if self.at("pass"):
            self.advance()
            self.expect_kind("newline")
            return []
        items: list[Stmt] = []
        while self.next.kind != "dedent":
            if self.next.kind == "end":
                raise self.fail("a statement")
            if self.at("allocate"):
                return [*items, self.allocate()]
            items.append(self.statement())
        return items

    def allocate(self) -> Allocate:
        self.advance()
        buffer = self.buffer()
        annotations = self.attributes()
        self.expect_kind("newline")
        outer = self.buffers
        self.buffers = {**outer, buffer.name: buffer}
        if self.next.kind == "dedent":
            raise self.fail("the statements that use the buffer, or pass")
        body = as_suite(self.items())
        self.buffers = outer
        return Allocate(buffer, body, annotations)

    # Statements

    def statement(self) -> Stmt:
        parsers = {"for": self.loop, "if": self.condition, "block": self.block, "scope": self.scope, "seq": self.explicit_seq}
        if self.next.kind == "name" and self.next.text in parsers:
            return parsers[self.next.text]()
        if not self.at_name():
            raise self.fail("a statement")
        if self.after.kind == "symbol" and self.after.text == "(":
            return self.intrinsic()
        return self.store()

    def store(self) -> Store:
        buffer = self.known_buffer()
        indices = self.indices()
        self.expect("=")
        value = self.expression()
        self.expect_kind("newline")
        return Store(buffer, indices, value)

    def loop(self) -> For:
        self.advance()
        var = self.binder()
        self.expect("in")
        kind = LOOP_WORDS[self.word("kind of loop", tuple(LOOP_WORDS))]
        self.expect("(")
        extent = self.whole()
        self.expect(")")
        outer = self.variables
        self.variables = {**outer, var.name: var}
        body = self.suite()
        self.variables = outer
        return For(var, extent, body, kind)

    def condition(self) -> If:
        self.advance()
        condition = self.expression()
        then = self.suite()
        otherwise = self.suite() if self.accept("else") else None
        return If(condition, then, otherwise)

    def scope(self) -> Stmt:
        self.advance()
        return self.suite()

    def explicit_seq(self) -> Seq:
        self.advance()
        return Seq(tuple(self.suite_items()))

    def binder(self) -> Var:
        """name, or name: dtype"""
        name = self.name("a variable's name")
        return Var(name, self.word("dtype", DTYPES)) if self.accept(":") else Var(name)

    def block(self) -> Block:
        self.advance()
        name = self.name("the block's name")
        self.open_suite()
        axes = []
        while self.at("axis"):
            axes.append(self.axis())
        predicate = None
        if self.accept("where"):
            predicate = self.expression()
            self.expect_kind("newline")
        outer = self.variables
        self.variables = {**outer, **{it.var.name: it.var for it, _ in axes}}
        init = self.suite() if self.accept("init") else None
        body = as_suite(self.items())
        self.expect_kind("dedent")
        self.variables = outer
        iters, bindings = tuple(it for it, _ in axes), tuple(binding for _, binding in axes)
        return Block(name, iters, bindings, body, init, predicate)

    def axis(self) -> tuple[Iter, Expr]:
        """axis name = kind(extent, binding)"""
        self.advance()
        var = self.binder()
        self.expect("=")
        kind = self.word("kind of axis", ITERS)
        self.expect("(")
        extent = self.whole()
        self.expect(",")
        binding = self.expression()
        self.expect(")")
        self.expect_kind("newline")
        return Iter(var, extent, kind), binding

    def intrinsic(self) -> Intrinsic:
        name = self.name("an intrinsic's name")
        self.expect("(")
        operands = self.listed(")", self.region, (";",))
        attributes = self.pairs(")") if self.accept(";") else ()
        self.expect(")")
        predicate = self.expression() if self.accept("where") else None
        self.expect_kind("newline")
        return Intrinsic(name, operands, attributes, predicate)

    def region(self) -> Region:
        """buffer[start +: extent, …]"""
        buffer = self.known_buffer()
        self.expect("[")
        box = self.listed("]", self.span)
        self.expect("]")
        return Region(buffer, tuple(start for start, _ in box), tuple(extent for _, extent in box))

    def span(self) -> tuple[Expr, int]:
        start = self.expression()
        self.expect("+:")
        return start, self.whole()

    def attributes(self) -> Attributes:
        """{key=value, …}, or nothing."""
        if not self.accept("{"):
            return ()
        pairs = self.pairs("}")
        self.expect("}")
        return pairs

    def pairs(self, close: str) -> Attributes:
        return self.listed(close, self.pair)

    def pair(self) -> tuple[str, int | float | str]:
        key = self.name("an attribute's name")
        self.expect("=")
        return key, json.loads(self.advance().text) if self.next.kind == "string" else self.number()

    # Expressions

    def expression(self, level: int = 0) -> Expr:
        """Operators that bind at least as tightly as `level`; left-associative, comparisons not at all."""
        left = self.atom()
        limit = TIGHTEST + 1
        while (found := OPERATIONS.get(self.next.text)) and self.next.kind in ("symbol", "name"):
            op, own = found
            if own < level or own >= limit:
                break
            self.advance()
            left = Binary(op, left, self.expression(own + 1))
            limit = own if own == COMPARISON_LEVEL else own + 1
        return left

    def atom(self) -> Expr:
        if self.accept("("):
            inner = self.expression()
            self.expect(")")
            return inner
        if self.next.kind == "number" or self.at("-"):
            value = self.number()
            return Const(value, "int32" if isinstance(value, int) else "float32")
        if self.at("true") or self.at("false"):
            return Const(int(self.advance().text == "true"), "bool")
        if self.at_call():
            return self.call()
        if self.at_name():
            return self.load_or_variable()
        raise self.fail("an expression")

    def at_call(self) -> bool:
        """name( or name:dtype("""
        if self.next.kind != "name" or self.after.kind != "symbol":
            return False
        return self.after.text == "(" or (self.after.text == ":" and self.tokens[self.position + 2].kind == "name")

    def load_or_variable(self) -> Expr:
        if self.after.kind == "symbol" and self.after.text == "[":
            return Load(self.known_buffer(), self.indices())
        token = self.next
        name = self.name("a variable")
        if name not in self.variables:
            known = f"one of {', '.join(self.variables)}" if self.variables else "a number: no variable is in scope"
            raise self.fail(known, token, "unknown variable")
        return self.variables[name]

    def call(self) -> Expr:
        token = self.advance()
        if token.text in DTYPES:
            self.expect("(")
            value = self.number()
            self.expect(")")
            return Const(value, token.text)
        if token.text in ("cast", "select"):
            return self.cast() if token.text == "cast" else self.select()
        if token.text not in CALL_LIKE:
            raise self.fail(f"one of {', '.join(CALL_LIKE)}, cast, select or a dtype", token, "unknown function")
        dtype = self.word("dtype", DTYPES) if self.accept(":") else None
        self.expect("(")
        args = self.listed(")", self.expression, (";",))
        attributes = self.pairs(")") if self.accept(";") else ()
        close = self.expect(")")
        if token.text in ARITHMETIC:
            return Binary(token.text, *self.exactly(2, args, token))
        if dtype is None and not args:
            raise self.fail("an argument, or a dtype after the name", close)
        return Call(token.text, args, dtype or args[0].dtype, attributes)

    def cast(self) -> Cast:
        self.expect("(")
        dtype = self.word("dtype", DTYPES)
        self.expect(",")
        value = self.expression()
        self.expect(")")
        return Cast(dtype, value)

    def select(self) -> Select:
        token = self.expect("(")
        args = self.listed(")", self.expression)
        self.expect(")")
        return Select(*self.exactly(3, args, token))

    def exactly(self, count: int, args: tuple[Expr, ...], token: Token) -> tuple[Expr, ...]:
        if len(args) != count:
            raise error_at(token.line, token.column, "number of arguments", str(len(args)), str(count))
        return args

    def indices(self) -> tuple[Expr, ...]:
        self.expect("[")
        indices = self.listed("]", self.expression)
        self.expect("]")
        return indices

    def known_buffer(self) -> Buffer:
        token = self.next
        name = self.name("a buffer")
        if name not in self.buffers:
            raise self.fail(f"one of {', '.join(self.buffers)}", token, "unknown buffer")
        return self.buffers[name]


def as_suite(items: list[Stmt]) -> Stmt:
    """What stands for a suite of `items`."""
    return items[0] if len(items) == 1 else Seq(tuple(items))
