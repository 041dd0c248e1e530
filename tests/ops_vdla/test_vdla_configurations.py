"""The space of configurations of every kind of VDLA kernel: each point is a correct program, and what is refused cannot be one.

`VDLA_LONG=1` draws hundreds of points.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from random_layers import KINDS, _graph, _parameters, random_design, random_layer

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.ops.configuration import Config, Space
from vdla.compiler.ops.vdla.kernels import kernel, template_of
from vdla.compiler.ops.vdla.layers import refusal, workload_of
from vdla.compiler.ops.vdla.packing import pack_activation, unpack_activation
from vdla.compiler.ops.vdla.workload import ConvWorkload, ElementwiseWorkload, PoolWorkload, Workload
from vdla.compiler.program import build_program
from vdla.compiler.targets.vdla_layout import quantised_name
from vdla.design import Design
from vdla.design_file import load_design
from vdla.errors import CompileError
from vdla.isa import check_program
from vdla.sim.device import Simulator

TINY = load_design("tiny")
LONG = bool(os.environ.get("VDLA_LONG"))
POINTS = range(400 if LONG else 40)
CORNERS = range(400 if LONG else 64)


def any_layer(seed: int, tiny: bool) -> tuple[Node, Graph, dict[str, np.ndarray], Design, np.random.Generator]:
    """A layer that the design runs."""
    rng = np.random.default_rng(seed)
    while True:
        design = TINY if tiny else random_design(rng)
        node, graph, values = random_layer(rng, KINDS[seed % len(KINDS)])
        if not refusal(node, graph, design):
            return node, graph, values, design, rng


def any_point(rng: np.random.Generator, space: Space) -> Config:
    """Any combination of choices, valid or not."""
    return Config(tuple((knob.name, knob.choices[rng.integers(len(knob.choices))]) for knob in space.knobs))


def any_config(rng: np.random.Generator, space: Space) -> Config:
    """Any valid one; where they are rare, the last knobs' smallest."""
    for _ in range(200):
        if (config := any_point(rng, space)) in space:
            return config
    return next(iter(space))


@pytest.mark.parametrize("tiny", [True, False], ids=["tiny", "random_design"])
@pytest.mark.parametrize("seed", POINTS)
def test_any_configuration_is_a_correct_program(seed: int, tiny: bool) -> None:
    node, graph, values, design, rng = any_layer(seed, tiny)
    workload = workload_of(node, graph, design)
    config = any_config(rng, template_of(workload).space(workload, design))
    where = f"seed {seed}: {workload} under {config}"
    program = build_program([node], graph, design, bool(rng.integers(2)), None, {workload: config})
    check_program(program).require()
    packed = {slot.name: pack_activation(values[quantised_name(slot.name)], design) for slot in program.inputs}
    found = Simulator(design).run(program, packed).outputs[program.outputs[0].name]
    expected = run_reference(graph, values)["y"]
    np.testing.assert_array_equal(unpack_activation(found, expected.shape), expected, err_msg=where)


@pytest.mark.parametrize("seed", POINTS)
def test_spaces(seed: int) -> None:
    """The heuristic's choices and all neighbours are points; a point is its text; a neighbour differs in one knob."""
    node, graph, _, design, rng = any_layer(seed, tiny=seed % 2 == 0)
    workload = workload_of(node, graph, design)
    template = template_of(workload)
    space = template.space(workload, design)
    config = any_config(rng, space)
    for point in (template.default(workload, design), template.serial(workload, design), config):
        assert not space.problem(point), f"seed {seed}"
        assert Config.parse(str(point)) == point, f"seed {seed}"
    for neighbour in space.neighbours(config):
        assert neighbour in space, f"seed {seed}"
        assert len(set(neighbour.settings) - set(config.settings)) == 1, f"seed {seed}"
    assert all(point in space for point in islice(space, 10)), f"seed {seed}"


@pytest.mark.parametrize("seed", CORNERS)
def test_exactly_what_fits_is_valid(seed: int) -> None:
    """At the border: where no knob can be raised further, this point is emitted, and those a step beyond cannot be."""
    node, graph, _, design, rng = any_layer(seed, tiny=False)
    workload = workload_of(node, graph, design)
    space = template_of(workload).space(workload, design)
    config = any_config(rng, space)
    while inside := [step for step in raised(space, config) if not space.refusal(step)]:
        config = inside[rng.integers(len(inside))]
    kernel(workload, design, config)
    for beyond in raised(space, config):
        check_overflow(space.refusal(beyond))
        print(f"seed {seed}: {workload} under {beyond}: {space.refusal(beyond)}")  # shown when it does fit
        with pytest.raises(CompileError, match="need .* tiles of"):
            kernel(workload, design, beyond)


def raised(space: Space, config: Config) -> Iterator[Config]:
    """Every point one step up in one knob, valid or not."""
    for knob in space.knobs:
        place = knob.choices.index(config[knob.name])
        if place + 1 < len(knob.choices):
            yield config.replace(**{knob.name: knob.choices[place + 1]})


def check_overflow(problem: str) -> None:
    """It names scratchpads and numbers that do not fit them."""
    for part in problem.split("; "):
        match = re.fullmatch(r"(inp|wgt|acc): ([\d,]+) tiles of ([\d,]+)", part)
        assert match, problem
        needed, depth = (int(number.replace(",", "")) for number in match.groups()[1:])
        assert needed > depth, problem


def with_acc(tiles: int) -> Design:
    """Not checked: fewer tiles than a design may have, too."""
    return replace(TINY, sram=replace(TINY.sram, acc=tiles * TINY.acc_tile_bytes))


CONV = ConvWorkload(1, 1, 2, 2, 6, 6, (3, 3), (1, 1), (1, 1, 1, 1))


def test_the_whole_space_of_a_convolution() -> None:
    """Every extent that cuts evenly, both orders, one or two buffers of each scratchpad."""
    space = template_of(CONV).space(CONV, TINY)
    choices = {knob.name: knob.choices for knob in space.knobs}
    assert choices == {
        "images": (1,), "groups": (1,), "out_blocks": (1, 2), "in_blocks": (1, 2), "kernel_rows": (1, 2, 3),
        "kernel_columns": (1, 2, 3), "rows": (1, 2, 3, 6), "columns": (1, 2, 3, 6),
        "weights_outer": (False, True), "inp_buffers": (1, 2), "wgt_buffers": (1, 2), "acc_buffers": (1, 2),
    }  # fmt: skip
    assert space.points == 2 * 2 * 3 * 3 * 4 * 4 * 2 * 8
    assert len(list(space)) == space.points
    outputs = [o * h * v for o in (1, 2) for h in (1, 2, 3, 6) for v in (1, 2, 3, 6)]
    parameters = [2 * o for o in (1, 2) for _ in range(16)]
    fitting = sum(b * tiles + p <= 40 for tiles, p in zip(outputs, parameters, strict=True) for b in (1, 2))
    others = 2 * 9 * 2 * 4  # in_blocks, parts of the window, order, the other buffers
    others = 2 * 9 * 2 * 4  # in_blocks, parts of the window, order, the other buffers
    assert len(list(template_of(CONV).space(CONV, with_acc(40)))) == fitting * others


def convolution(size: int) -> tuple[Node, Graph]:
    rng = np.random.default_rng(0)
    while True:
        node, graph, _ = random_layer(rng, "qconv2d")
        if graph.type_of("y").shape[2:] == (size, size) and workload_of(node, graph, TINY).out_blocks > 2:
            return node, graph


def test_a_configuration_that_is_none_is_refused() -> None:
    node, graph = convolution(8)
    workload = workload_of(node, graph, TINY)
    template = template_of(workload)
    good = template.default(workload, TINY)
    whole = {knob.name: knob.choices[-1] for knob in template.space(workload, TINY).knobs}
    for config, message in (
        (good.replace(rows=5), r"layer: .*rows is 5, not one of 1, 2, 3, 4, 8"),
        (good.replace(weights_outer=1), "weights_outer is 1, not one of false, true"),
        (good.replace(**whole), r"layer: .*acc: [\d,]+ tiles of 256"),
        (Config.of(rows=8), "knobs are images, groups, out_blocks, in_blocks, kernel_rows"),
    ):
        with pytest.raises(CompileError, match=message):
            build_program([node], graph, TINY, True, None, {workload: config})


def test_a_program_is_built_under_the_configuration_given() -> None:
    node, graph = convolution(8)
    workload = workload_of(node, graph, TINY)
    default = template_of(workload).default(workload, TINY)
    plain, same, other = (
        build_program([node], graph, TINY, True, None, configs).words
        for configs in ({}, {workload: default}, {workload: default.replace(rows=1, columns=1)})
    )
    assert np.array_equal(plain, same)
    assert len(other) > len(plain)


@pytest.mark.parametrize("name", ["tiny", "pynq_z1"])
@pytest.mark.parametrize(
    ("size", "kernel", "dilation"), [(33, (31, 31), 1), (40, (40, 40), 1), (35, (3, 3), 16), (40, (1, 40), 1)]
)
def test_a_window_larger_than_a_scratchpad(size: int, kernel: tuple[int, int], dilation: int, name: str) -> None:
    """Is summed part by part."""
    node, graph, values = window(size, kernel, dilation)
    design = load_design(name)
    program = build_program([node], graph, design, True, None)
    packed = {slot.name: pack_activation(values["x"], design) for slot in program.inputs}
    found = Simulator(design).run(program, packed).outputs[program.outputs[0].name]
    expected = run_reference(graph, values)["y"]
    np.testing.assert_array_equal(unpack_activation(found, expected.shape), expected)


def window(size: int, kernel: tuple[int, int], dilation: int) -> tuple[Node, Graph, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(-9, 10, (5, 6, *kernel), np.int8), **_parameters(rng, 5)}
    attributes = {"dilations": (dilation, dilation), "pads": (dilation - 1,) * 4}
    return _graph(rng, "qconv2d", {"x": (1, 6, size, size)}, constants, attributes)


@pytest.mark.parametrize("name", ["tiny", "pynq_z1"])
def test_gaps_of_a_dilated_window_cost_nothing(name: str) -> None:
    """A window of 3 × 3 over 33 × 33, near and far apart; the transfers of far ones are a few more."""
    design, cycles = load_design(name), []
    for size, dilation in ((35, 1), (35, 16)):
        node, graph, _ = window(size, (3, 3), dilation)
        assert graph.type_of("y").shape[2:] == (33, 33)
        cycles.append(Simulator(design).timing_only(build_program([node], graph, design, True, None)).cycles)
    assert cycles[1] < 1.1 * cycles[0]


def test_a_pool_gives_up_a_buffer_for_a_larger_tile() -> None:
    """One of acc, which at one and the same tile saves a few cycles at most."""
    attributes = {"kernel": (3, 3), "pads": (1, 1, 1, 1)}
    tensors = {"x": TensorType((1, 8, 28, 28), "int8"), "y": TensorType((1, 8, 28, 28), "int8")}
    node = Node("layer", "qmax_pool2d", ("x",), ("y",), attributes)
    graph = Graph("pool", ("x",), ("y",), (node,), tensors, {})
    workload = workload_of(node, graph, TINY)
    default = template_of(workload).default(workload, TINY)
    assert (default["rows"], default["inp_buffers"], default["acc_buffers"]) == (2, 2, 1)

    def cycles(config: Config) -> int:
        program = build_program([node], graph, TINY, True, None, {workload: config})
        zeros = {slot.name: np.zeros(slot.shape, slot.dtype) for slot in program.inputs}
        return Simulator(TINY).run(program, zeros).profile.cycles

    small, two = default.replace(rows=1), default.replace(rows=1, acc_buffers=2)
    assert cycles(default) < 0.9 * cycles(two)
    assert 0.99 * cycles(small) < cycles(two) <= cycles(small)


@pytest.mark.parametrize(
    ("workload", "design", "message"),
    [
        (ConvWorkload(1, 1, 1, 1, 20, 20, (20, 20)), with_acc(2), "product's operands .* found 'inp 1, wgt 1, acc 3"),
        (PoolWorkload(1, 1, 20, 20, (20, 20), (1, 1), (0,) * 4, 1, 1), TINY, "window's elements .* found 'inp 400, wgt 1, acc"),
        (
            ElementwiseWorkload("qadd", 1, 1, 9),
            with_acc(1),
            "operands do not fit the scratchpads.*found 'inp 2, wgt 2, acc 8 tiles'; expected at most .* 1;",
        ),
    ],
    ids=["convolution", "pool", "elementwise"],
)
def test_no_configuration_of_what_cannot_fit(workload: Workload, design: Design, message: str) -> None:
    template = template_of(workload)
    for function in (template.space, template.default, template.serial):
        with pytest.raises(CompileError, match=message):
            function(workload, design)
