"""Every configuration of every kind of kernel computes what NumPy does; the defaults are configurations like the others."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from drawing import draw
from random_graphs import Net, by_numpy

from vdla.compiler.backends.llvm import Target, host_target
from vdla.compiler.graph.fuse import FusionGroup, fuse
from vdla.compiler.graph.graph import Graph
from vdla.compiler.ir.printer import to_text
from vdla.compiler.ops.configuration import Config
from vdla.compiler.ops.cpu import Workload, build_group_kernel, kernel, template_of, varying_inputs, workload_of
from vdla.compiler.ops.cpu.templates import TEMPLATES
from vdla.compiler.ops.cpu.workload import numbered
from vdla.errors import CompileError

TOLERANCE = 2e-5
"""Of a tensor's largest element: sums of at most 100 terms in any order, 100 · 2⁻²⁴ = 6e-6."""


def weight(net: Net, *shape: int) -> str:
    return net.constant(net.random.integers(-128, 128, shape), "int8")


def image(net: Net, *shape: int) -> str:
    return net.op("quantize", net.input(shape), scale=0.03)


def convolution(net: Net) -> None:
    y = net.op("conv2d", net.input((2, 3, 6, 30)), net.normal(12, 3, 3, 3), net.normal(12), pads=(1, 1, 1, 1))
    net.op("relu", y)


def grouped_convolution(net: Net) -> None:
    net.op("conv2d", net.input((1, 6, 9, 12)), net.normal(8, 3, 3, 2), groups=2, strides=(2, 2), pads=(0, 1, 1, 0))


def pointwise_convolution(net: Net) -> None:
    net.op("conv2d", net.input((1, 10, 6, 8)), net.normal(16, 10, 1, 1))


def depthwise_convolution(net: Net) -> None:
    net.op("conv2d", net.input((1, 4, 12, 24)), net.normal(4, 1, 3, 3), net.normal(4), groups=4, pads=(1, 1, 1, 1))


def integer_convolution(net: Net) -> None:
    x = image(net, 1, 5, 10, 26)
    net.op("qconv2d", x, weight(net, 12, 5, 3, 3), *net.parameters(12), pads=(1, 1, 1, 1), strides=(1, 2), pad_value=4)


def integer_depthwise_convolution(net: Net) -> None:
    net.op("qconv2d", image(net, 2, 6, 8, 9), weight(net, 6, 1, 3, 3), *net.parameters(6), groups=6, pads=(1, 0, 1, 2))


def dense(net: Net) -> None:
    net.op("dense", net.input((6, 32)), net.normal(24, 32), net.normal(24))


def integer_dense(net: Net) -> None:
    net.op("qdense", net.op("quantize", net.input((4, 48)), scale=0.02), weight(net, 10, 48), *net.parameters(10))


def matmul(net: Net) -> None:
    net.op("relu", net.op("matmul", net.input((2, 12, 20)), net.input((20, 48))))


def pooling(net: Net) -> None:
    y = net.op("avg_pool2d", net.input((2, 3, 9, 20)), kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    net.op("max_pool2d", y, kernel=(2, 3))


def elementwise(net: Net) -> None:
    x = net.input((2, 5, 7, 9))
    net.op("mul", net.op("tanh", x), net.normal(5, 1, 1))


def reductions(net: Net) -> None:
    y = net.op("softmax", net.input((2, 5, 7, 9)), axis=1)
    net.op("reduce_mean", y, axes=(1, 3))


def packing(net: Net) -> None:
    net.op("pack_nchwc", image(net, 3, 20, 6, 10), batch=2, block=16)
    net.op("pack_nchwc", image(net, 1, 9, 3, 2), batch=1, block=6)


def recurrent(net: Net) -> None:
    steps, batch, hidden = 3, 4, 24
    states = [net.input((batch, hidden)) for _ in range(2)]
    net.ops("lstm", net.input((steps, batch, 4 * hidden)), net.normal(4 * hidden, hidden), *states)


KINDS: tuple[Callable[[Net], None], ...] = (
    convolution, grouped_convolution, pointwise_convolution, depthwise_convolution, integer_convolution,
    integer_depthwise_convolution, dense, integer_dense, matmul, pooling, elementwise, reductions, packing,
    recurrent,
)  # fmt: skip


def without(features: str) -> Target:
    """This machine without features that begin so."""
    host = host_target()
    return replace(host, features=host.features.replace(f"+{features}", f"-{features}"))


HERE = {"all": host_target(), "no byte products": without("avx512vnni"), "no AVX-512": without("avx512")}
THERE = {
    "armv7": Target("armv7-linux-gnueabihf", "cortex-a9", "+neon"),
    "aarch64": Target("aarch64-linux-gnu", "cortex-a53"),
    "avx2": Target("x86_64-linux-gnu", "haswell", "+avx2,+fma"),
    "avx512": Target("x86_64-linux-gnu", "icelake-server", "+avx2,+avx512f,+avx512vnni"),
}


def groups_of(kind: Callable[[Net], None], seed: int = 0) -> tuple[Net, Graph, tuple[FusionGroup, ...]]:
    net = Net(seed)
    kind(net)
    return net, net.graph(), fuse(net.graph())


def workloads(constant: bool = True) -> Iterator[Workload]:
    """Of every kind, with the weights constant or not."""
    for kind in KINDS:
        _, graph, groups = groups_of(kind)
        yield from (workload_of(group, graph.type_of, graph.constants if constant else ()) for group in groups)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_any_configuration_computes_the_same(kind, seed):
    dice = random.Random(f"{kind.__name__} {seed}")
    net, graph, groups = groups_of(kind, seed)
    inputs = net.samples()
    values = by_numpy(graph, inputs)
    target, constants = dice.choice(list(HERE.values())), dice.choice([graph.constants, {}])
    for group in groups:
        workload = workload_of(group, graph.type_of, constants)
        config = draw(template_of(workload).space(workload, target), dice)
        where = f"seed {seed}: {workload.name} {config} on {target.vector_bytes}-byte vectors"
        fixed = {number: constants[name] for name, number in numbered(group).items() if number in workload.fixed}
        bound = kernel(workload, target, config).bound(fixed)
        arrays = [np.ascontiguousarray(values[name]) for name in varying_inputs(group, constants)]
        for name, found in zip(group.outputs, bound.run(*arrays), strict=True):
            expected = values[name]
            if expected.dtype == np.float32:
                limit = TOLERANCE * float(np.abs(expected).max())
                np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=limit, err_msg=where)
            else:
                np.testing.assert_array_equal(found, expected, err_msg=where)


@pytest.mark.parametrize("target", [*HERE.values(), *THERE.values()], ids=[*HERE, *THERE])
def test_defaults_are_configurations_and_survive_as_text(target):
    dice = random.Random(5)
    for workload in (*workloads(), *workloads(constant=False)):
        template = template_of(workload)
        space, default = template.space(workload, target), template.default(workload, target)
        assert not space.problem(default), (workload.name, str(default))
        for config in (default, draw(space, dice)):
            assert Config.parse(str(config)) == config
        assert template.build(workload, default, target).name == workload.name


def test_every_knob_changes_the_loops():
    """Of some workload, from some configuration to its neighbour."""
    target, heeded, known = THERE["avx512"], set(), set()
    for workload in workloads():
        template = template_of(workload)
        space = template.space(workload, target)
        known |= {(template.name, knob.name) for knob in space.knobs if len(knob.choices) > 1}
        dice = random.Random(workload.name)
        for config in [template.default(workload, target), *(draw(space, dice) for _ in range(6))]:
            before = to_text(template.build(workload, config, target))
            for other in space.neighbours(config):
                (knob,) = [name for name, value in other.settings if config[name] != value]
                if (template.name, knob) not in heeded and to_text(template.build(workload, other, target)) != before:
                    heeded.add((template.name, knob))
    assert heeded == known


def test_all_kinds_are_among_the_workloads():
    assert {template_of(w).name for w in workloads()} == {t.name for t in TEMPLATES.values()} | {"separate"}


def test_what_is_no_configuration_is_refused_by_name():
    workload = next(workloads())
    target = THERE["aarch64"]
    default = template_of(workload).default(workload, target)
    for config, words in (
        (default.replace(form="bytes"), "form is bytes, not one of direct, columns"),
        (default.replace(form="columns", rows=5), "rows is 5, not one of 1, 2, 3, 4, 6, 12"),
        (default.replace(rows=12, columns=30), "registers: .* of 32"),
        (Config.of(rows=1), "knobs are form, rows, columns, unroll"),
    ):
        with pytest.raises(CompileError, match=words):
            kernel(workload, target, config)


@pytest.mark.parametrize(
    ("name", "lanes", "registers", "byte_products"),
    [("armv7", 4, 16, False), ("aarch64", 4, 32, False), ("avx2", 8, 16, False), ("avx512", 16, 32, True)],
)
def test_defaults_follow_the_processor(name, lanes, registers, byte_products):
    """Blocks of accumulators leave registers for operands, and use most of the others."""
    target = THERE[name]
    assert (target.lanes, target.vector_registers, target.multiplies_bytes) == (lanes, registers, byte_products)
    net = Net(0)
    net.op("conv2d", net.input((1, 16, 14, 48)), net.normal(48, 16, 3, 3), pads=(1, 1, 1, 1))
    net.op("qconv2d", image(net, 1, 16, 14, 48), weight(net, 48, 16, 3, 3), *net.parameters(48), pads=(1, 1, 1, 1))
    graph = net.graph()
    forms = []
    for group in (g for g in fuse(graph) if "conv2d" in g.anchor.op):
        workload = workload_of(group, graph.type_of)
        config = template_of(workload).default(workload, target)
        forms.append(config["form"])
        if config["form"] == "direct":
            assert registers / 2 < config["rows"] * config["columns"] / lanes <= registers - 4
    assert forms == ["direct", "bytes" if byte_products else "direct"]


def test_equal_groups_share_a_kernel_and_take_a_configuration_in_place_of_the_default():
    _, graph, (group,) = groups_of(elementwise)
    other_net = Net(1)
    other_net.input((1,))
    elementwise(other_net)
    other_graph = other_net.graph()
    (other,) = fuse(other_graph)
    workload = workload_of(group, graph.type_of, graph.constants)
    assert group.inputs != other.inputs
    assert workload == workload_of(other, other_graph.type_of, other_graph.constants)
    assert workload != workload_of(group, graph.type_of)
    config = template_of(workload).default(workload, host_target()).replace(outer=1)
    first = build_group_kernel(group, graph.type_of, graph.constants)
    second = build_group_kernel(other, other_graph.type_of, other_graph.constants)
    chosen = build_group_kernel(group, graph.type_of, graph.constants, config)
    assert first.kernel is second.kernel
    assert first.kernel.assembly != chosen.kernel.assembly
