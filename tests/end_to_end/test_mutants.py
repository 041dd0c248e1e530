"""Every token a compiled program carries is needed: clear one bit and the checker refuses it before it runs.

Layers of ResNet-18, each linked alone so that a check takes milliseconds, and the whole network for a sample of its bits.
`VDLA_LONG=1` clears every bit of the sampled layers.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from vdla.compiler.driver import BuildOptions, build_model
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.flatten import flatten_to_convolution
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.model import CompiledModel
from vdla.compiler.ops.vdla.first_layer import fold_first_layers
from vdla.compiler.program import build_program
from vdla.compiler.quantise.quantise import quantise
from vdla.design_file import load_design
from vdla.errors import RunError
from vdla.isa import check_program
from vdla.isa.layout import layout_of
from vdla.isa.program import Program
from vdla.isa.tokens import FIFOS, pops_of, pushes_of, queues_of
from vdla.sim import Simulator
from vdla.zoo import build, sample_inputs

LONG = bool(os.environ.get("VDLA_LONG"))
BITS = ("pop_prev", "pop_next", "push_prev", "push_next")
DESIGN = load_design("pynq_z1")
LAYERS = (0, 1, 2, 6, 8, 11, 16, 20)
"""Of the program: the first convolution, the pool, residuals, strides, projections, the average, the classifier."""
MUTANTS, WHOLE_MUTANTS, SANITIZED = (None, 40, 40) if LONG else (24, 6, 3)


@cache
def resnet18() -> CompiledModel:
    graph = optimise(import_onnx(build("resnet18", 1)))
    return build_model(quantise(graph, [sample_inputs("resnet18", 1, 1)]), DESIGN, BuildOptions())


@cache
def program_of(layer: int | None) -> Program:
    """One layer's program, or that of the whole network."""
    model = resnet18()
    whole = model.programs[0]
    if layer is None:
        return whole
    graph = fold_first_layers(flatten_to_convolution(model.quantised, lambda node, graph: True), DESIGN)
    node = next(n for n in graph.nodes if n.name == whole.layers[layer].name)
    return build_program([node], graph, DESIGN, True, None)


def tokens_of(program: Program) -> list[tuple[str, int]]:
    columns = program.columns()
    return [(bit, int(i)) for bit in BITS for i in np.flatnonzero(columns[bit])]


def without(program: Program, bit: str, instruction: int) -> Program:
    columns = program.columns()
    assert columns[bit][instruction] == 1
    columns[bit][instruction] = 0
    return replace(program, words=layout_of(program.design).encode(columns))


def sample(program: Program, count: int | None, seed: int) -> list[tuple[str, int]]:
    tokens = tokens_of(program)
    if count is None or count >= len(tokens):
        return tokens
    return [tokens[i] for i in np.random.default_rng(seed).choice(len(tokens), count, replace=False)]


def check_refused(program: Program, bit: str, instruction: int) -> None:
    report = check_program(without(program, bit, instruction))
    assert not report.ok, f"instruction {instruction} without {bit} passes"
    assert {problem.kind for problem in report.problems} & {"token", "deadlock", "race"}


@pytest.mark.parametrize("layer", LAYERS)
def test_no_layer_passes_without_one_of_its_tokens(layer: int) -> None:
    program = program_of(layer)
    assert check_program(program).ok
    for bit, instruction in sample(program, MUTANTS, layer):
        check_refused(program, bit, instruction)


def test_resnet18_does_not_pass_without_one_of_its_tokens() -> None:
    program = program_of(None)
    for bit, instruction in sample(program, WHOLE_MUTANTS, 0):
        check_refused(program, bit, instruction)


def pairs_of(program: Program) -> list[tuple[str, int, str, int]]:
    """Each token: the bit and instruction that push it, those that pop it."""
    columns = program.columns()
    queue = queues_of(columns)
    return [
        (fifo.push, int(push), fifo.pop, int(pop))
        for fifo in FIFOS
        for push, pop in zip(pushes_of(columns, queue, fifo), pops_of(columns, queue, fifo), strict=True)
    ]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_sanitizer_finds_the_race_that_a_token_prevented(layer: int) -> None:
    """A push and its pop both cleared leave a program that balances and runs; it is the checker and the sanitizer, which
    share no code, that see the race. (A bit cleared alone leaves a deadlock or a FIFO that is not empty.)"""
    program = program_of(layer)
    pairs = pairs_of(program)
    for k in np.random.default_rng(layer).choice(len(pairs), min(SANITIZED, len(pairs)), replace=False):
        push, pusher, pop, popper = pairs[k]
        mutant = without(without(program, push, pusher), pop, popper)
        assert not check_program(mutant).ok, f"token {pusher}→{popper}"
        zeros = {slot.name: np.zeros(slot.shape, slot.dtype) for slot in program.inputs}
        with pytest.raises(RunError):
            Simulator(DESIGN, sanitize=True).run(mutant, zeros, timing=False)
