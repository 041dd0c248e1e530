"""A third target, to prove the seam: small operators by the interpreter of the loop IR, lowered with a pass of its own.

This file and a call of `register` are all it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vdla.compiler import ir, te
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.passes.lower import lower
from vdla.compiler.targets import Backend, Bound, Placed, Run, Runner, Step, StepResult
from vdla.design import Design

NAME = "interpreter"
MOST_ELEMENTS = 2000


def refusal(node: Node, graph: Graph, design: Design) -> str:
    if not OPERATORS[node.op].is_elementwise:
        return "the interpreter takes its time"
    return "" if graph.type_of(node.outputs[0]).elements <= MOST_ELEMENTS else "the interpreter is patient, its users are not"


def countdown(func: ir.Function) -> ir.Function:
    """Its own lowering pass: every loop runs backwards."""

    def change(stmt: ir.Stmt) -> ir.Stmt:
        if not isinstance(stmt, ir.For):
            return stmt
        backwards = ir.Const(stmt.extent - 1) - stmt.var
        return replace(stmt, body=ir.substitute_stmt(stmt.body, {stmt.var: backwards}))

    return replace(func, body=ir.map_stmt(func.body, change))


def build(placed: Placed) -> Callable[[Run], list[Step]]:
    """One step for a run; `work` is how many operators it had when it was built."""
    return lambda run: [Step(NAME, run.nodes[-1].name, run.nodes, work=len(run.nodes))]


def runner(step: Step, bound: Bound) -> Runner:
    graph, kernels = bound.placed, []
    for node in step.nodes:
        types = tuple(graph.type_of(name) if name else None for name in node.inputs)
        definition = OPERATORS[node.op].define(types, with_defaults(node.op, node.attributes))
        func = te.create_function(node.op, definition.inputs, definition.outputs)
        kernels.append((node, lower(func, extra=BACKEND.passes), definition.constants))

    def run(values: Mapping[str, np.ndarray], timing: bool, observe: Any) -> StepResult:
        assert len(step.nodes) == step.work
        known, made = dict(values), {}
        for node, func, constants in kernels:
            arrays = [known[name] for name in node.inputs if name]
            inputs = [np.asarray(a).reshape(p.shape) for a, p in zip([*arrays, *constants], func.params, strict=False)]
            for name, value in zip(node.outputs, ir.interpret(func, inputs), strict=True):
                made[name] = known[name] = value
        return StepResult(made)

    return run


def check(step: Step, quantised: Graph, placed: Graph, known: set[str]) -> None:
    known.update(name for node in step.nodes for name in node.outputs)


BACKEND = Backend(
    NAME,
    refusal,
    build,
    runner,
    check=check,
    constants=lambda step: [name for node in step.nodes for name in node.inputs],
    save=lambda step: {"operators": step.work},
    load=lambda step, facts: replace(step, work=facts["operators"]),
    passes=(("countdown", countdown),),
)
