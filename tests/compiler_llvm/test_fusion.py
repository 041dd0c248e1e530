"""Fused kernels: the same as a kernel for each operator, and as NumPy; nothing dear repeated; constants prepared once."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from random_graphs import Net, by_numpy, float_network, integer_network

from vdla.compiler import ir
from vdla.compiler.graph.fuse import FusionGroup, fuse
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.model import CompiledModel
from vdla.compiler.ops.cpu import build, build_group_kernel, scheduled_group
from vdla.compiler.passes.lower import lower
from vdla.compiler.targets import Step
from vdla.compiler.targets.placement import Placement
from vdla.design_file import load_design
from vdla.errors import RunError
from vdla.flows import load
from vdla.report.run_report import layer_reports
from vdla.runtime.module import Module
from vdla.runtime.program_file import module_to_bytes
from vdla.sim import Simulator

TOLERANCE = 1e-4
"""Of a tensor's largest element. Fused, a multiply and an add may round once instead of twice, and sums may be reordered: some
1e-7 for each of at most 100 operations in a row, each of which may amplify what came before about twice."""


def module_of(graph: Graph, groups: tuple[FusionGroup, ...]) -> Module:
    """A model that runs on the host alone."""
    design = load_design("tiny")
    placement = Placement({n.name: "cpu" for n in graph.nodes}, {n.name: "a test" for n in graph.nodes})
    steps = tuple(Step("cpu", f"step {k}", group.nodes) for k, group in enumerate(groups))
    return Module(CompiledModel(design, graph, graph, placement, steps), Simulator(design))


def check(net: Net, message: str) -> tuple[FusionGroup, ...]:
    """Fused, unfused and NumPy agree on every tensor that leaves a group, integers bit for bit. Returns the groups."""
    graph = net.graph()
    groups = fuse(graph)
    visible = net.graph(*(name for group in groups for name in group.outputs))
    verify_graph(visible)
    inputs = net.samples()
    expected = by_numpy(visible, inputs)
    fused = module_of(visible, groups).run(inputs).outputs
    alone = module_of(visible, tuple(FusionGroup((node,)) for node in visible.nodes)).run(inputs).outputs
    for group in groups:
        where = f"{message}: {[n.op for n in group.nodes]}"
        for name, other in ((name, other[name]) for name in group.outputs for other in (alone, expected)):
            assert fused[name].dtype == other.dtype, where
            if other.dtype == np.float32:
                largest = float(np.abs(other).max())
                np.testing.assert_allclose(fused[name], other, rtol=TOLERANCE, atol=TOLERANCE * largest, err_msg=where)
            else:
                np.testing.assert_array_equal(fused[name], other, err_msg=where)
    return groups


@pytest.mark.parametrize("seed", range(12))
def test_random_float_networks(seed: int) -> None:
    check(float_network(seed), f"float_network({seed})")


@pytest.mark.parametrize("seed", range(24))
def test_random_integer_networks(seed: int) -> None:
    check(integer_network(seed), f"integer_network({seed})")


@pytest.mark.parametrize("seed", range(0, 24, 4))
def test_fused_programs_are_legal_after_every_pass(seed: int) -> None:
    """Kernels are verified before and after lowering only."""
    for graph in (float_network(seed).graph(), integer_network(seed).graph()):
        for group in fuse(graph):
            func, _ = scheduled_group(group, graph.type_of, frozenset(graph.constants))
            lower(func, every_pass=True)


def test_what_comes_before_and_after_the_accelerator() -> None:
    net = Net(0)
    x = net.op("quantize", net.input((1, 3, 20, 21)), scale=0.02, zero_point=5)
    columns = net.op("im2col", x, kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1), pad_value=5, fold="window")
    net.op("pack_nchwc", columns, batch=1, block=16)
    tiles = net.op("pack_nchwc", net.op("quantize", net.input((1, 20, 7, 5)), scale=0.1), batch=2, block=8)
    y = net.op("dequantize", net.op("unpack_nchwc", tiles, shape=(1, 20, 7, 5)), scale=0.1)
    net.op("mul", y, net.op("sigmoid", y))
    groups = check(net, "before and after")
    assert [[n.op for n in group.nodes] for group in groups] == [
        ["quantize", "im2col", "pack_nchwc"],
        ["quantize", "pack_nchwc", "unpack_nchwc", "dequantize", "sigmoid", "mul"],
    ]


def test_elementwise_operators_ride_on_layers() -> None:
    net = Net(1)
    x = net.input((1, 8, 12, 12))
    y = net.op("add", net.op("relu", net.op("conv2d", x, net.normal(8, 8, 3, 3), pads=(1, 1, 1, 1))), x)
    y = net.op("relu", net.op("max_pool2d", y, kernel=(2, 2), strides=(2, 2)))
    y = net.op("reshape", net.op("global_avg_pool", net.op("tanh", y)), shape=(1, 8))
    net.op("sigmoid", net.op("dense", y, net.normal(5, 8), net.normal(5)))
    assert [len(group.nodes) for group in check(net, "riders")] == [3, 3, 1, 1, 2]


def evaluations(func: ir.Function, op: str) -> int:
    """How often a function calls `op`."""

    def visit(stmt: ir.Stmt) -> int:
        if isinstance(stmt, ir.For):
            return stmt.extent * visit(stmt.body)
        own = sum(isinstance(e, ir.Call) and e.op == op for e in ir.walk_expr(stmt.value)) if isinstance(stmt, ir.Store) else 0
        return own + sum(map(visit, ir.stmt_children(stmt)))

    return visit(func.body)


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_im2col_does_not_repeat_the_rounding(pads: tuple[int, ...]) -> None:
    """Each element is read nine times, and rounded once; of padding too, with what is added to make rows even."""
    net = Net(0)
    x = net.op("quantize", net.input((1, 3, 32, 32)), scale=0.02)
    net.op("pack_nchwc", net.op("im2col", x, kernel=(3, 3), pads=pads, fold="window"), batch=1, block=16)
    graph = net.graph()
    (group,) = fuse(graph)
    func, _ = scheduled_group(group, graph.type_of)
    assert 3 * 32 * 32 <= evaluations(lower(func, every_pass=True), "round_even") <= 3 * 34 * 34


def test_a_gate_is_computed_once_for_each_channel() -> None:
    net = Net(0)
    net.op("mul", net.input((1, 16, 10, 10)), net.op("sigmoid", net.input((1, 16, 1, 1))))
    graph = net.graph()
    (group,) = fuse(graph)
    assert evaluations(lower(scheduled_group(group, graph.type_of)[0], every_pass=True), "sigmoid") == 16
    check(net, "gate")


def test_what_is_read_twice_at_one_place_is_inlined() -> None:
    """LLVM sees that it is the same."""
    net = Net(0)
    y = net.op("tanh", net.input((1, 4, 5, 6)))
    net.op("mul", y, net.op("sigmoid", y))
    (group,) = fuse(net.graph())
    func, _ = scheduled_group(group, net.graph().type_of)
    assert sum(isinstance(s, ir.Store) for s in _leaves(lower(func, every_pass=True).body)) == 1


def _leaves(stmt: ir.Stmt) -> list[ir.Stmt]:
    below = ir.stmt_children(stmt)
    return [leaf for child in below for leaf in _leaves(child)] if below else [stmt]


def test_constant_parts_are_computed_when_the_kernel_is_built() -> None:
    """A batch norm's factor; every call then only multiplies and adds."""
    net = Net(2)
    x = net.input((1, 5, 4, 4))
    net.op("batch_norm", x, *(net.normal(5) for _ in range(3)), net.constant(np.full(5, 0.5)))
    graph = net.graph()
    (group,) = fuse(graph)
    varying, _ = scheduled_group(group, graph.type_of)
    func, composition = scheduled_group(group, graph.type_of, frozenset(graph.constants))
    assert (evaluations(varying, "rsqrt"), evaluations(func, "rsqrt")) == (5, 0)
    assert [p.shape for p, _ in composition.parts] == [(5,)]
    check(net, "batch norm")


@pytest.mark.parametrize("by_bytes", [True, False])
def test_packed_weights(by_bytes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions that multiply four bytes at a time have their weights as words, packed once; two with other weights share
    machine code and nothing else."""
    host = build.host_target()
    target = host if by_bytes else replace(host, features=host.features.replace("+avx512vnni", "-avx512vnni"))
    monkeypatch.setattr(build, "host_target", lambda: target)
    by_bytes = target.multiplies_bytes
    net = Net(3)
    x = net.op("quantize", net.input((1, 5, 9, 9)), scale=0.02)
    for _ in range(2):
        w = net.constant(net.random.integers(-128, 128, (8, 5, 3, 3)), "int8")
        net.op("relu", net.op("dequantize", net.op("qconv2d", x, w, *net.parameters(8)), scale=0.1))
    groups = check(net, "packed weights")
    assert [len(group.nodes) for group in groups] == [1, 3, 3]
    graph = net.graph()
    one, other = (build_group_kernel(group, graph.type_of, graph.constants) for group in groups[1:])
    assert one.kernel is other.kernel
    assert [k.shape for k in one.constants].count((8, -(-5 * 9 // 4))) == by_bytes


def test_every_node_is_reported_though_several_share_a_step() -> None:
    net = float_network(4)
    graph = net.graph()
    module = module_of(graph, fuse(graph))
    assert len(module.model.steps) < len(graph.nodes)
    layers = layer_reports(module.model, (), {})
    assert {(layer.name, layer.op, layer.target, layer.why) for layer in layers} == {
        (node.name, node.op, "cpu", "a test") for node in graph.nodes
    }


def test_groups_are_saved_and_read_back(tmp_path) -> None:
    net = float_network(5)
    graph = net.graph()
    module, inputs = module_of(graph, fuse(graph)), net.samples()
    again = load(module.save(tmp_path / "m.vdla"))
    assert [[n.name for n in s.nodes] for s in again.model.steps] == [[n.name for n in g.nodes] for g in fuse(graph)]
    for name, value in module.run(inputs).outputs.items():
        np.testing.assert_array_equal(again.run(inputs).outputs[name], value)


@pytest.mark.parametrize(("nodes", "words"), [(2, "found .*relu1, softmax0"), (0, "found 'none'")])
def test_a_file_whose_groups_do_not_fuse_is_refused(nodes: int, words: str, tmp_path) -> None:
    net = Net(0)
    net.op("relu", net.op("softmax", net.input((2, 6)), axis=1))
    graph = net.graph()
    path = tmp_path / "m.vdla"
    path.write_bytes(module_to_bytes(module_of(graph, (FusionGroup(graph.nodes[:nodes]),)).model))
    with pytest.raises(RunError, match=f"operators that do not fuse share a step; {words}"):
        load(path)


def test_sizes_of_the_networks_tested() -> None:
    """Groups of three and more, of each class, are among the random networks."""
    groups = [g for seed in range(12) for net in (float_network(seed), integer_network(seed)) for g in fuse(net.graph())]
    large = [g.kind for g in groups if len(g.nodes) > 2]
    assert all(large.count(kind) >= 5 for kind in ("injective", "complex")), large
    assert prod(len(g.nodes) for g in groups if g.kind == "reduction") > 1
