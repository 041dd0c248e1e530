"""What a run holds: DRAM plans and the host's values beside the largest live set, and nothing after its last use."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import vdla
from vdla.compiler.graph.memory_plan import Lifetime, largest_live_set, plan_memory
from vdla.flows import CompileOptions
from vdla.runtime.module import Module, dead_after

LIMIT = 1.05


def live_naively(lifetimes: list[Lifetime]) -> int:
    steps = range(max(t.last for t in lifetimes) + 1)
    return max(sum(t.bytes for t in lifetimes if t.first <= step <= t.last) for step in steps)


def network_like(generator: random.Random, steps: int) -> list[Lifetime]:
    """A chain with shortcuts: each step makes a tensor for the next, sometimes for a later one; sizes halve on the way."""
    tensors, size = [], 1 << 16
    for step in range(steps):
        if generator.random() < 0.2:
            size = max(size // 2, 64)
        reach = generator.randint(2, 6) if generator.random() < 0.3 else 1
        tensors.append(Lifetime(f"t{step}", size * generator.choice((1, 1, 2)), step, min(step + reach, steps)))
    return tensors


@pytest.mark.parametrize("case", range(20))
def test_plans_do_not_overlap_and_are_near_the_bound(case: int) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    generator = random.Random(seed)
    tensors = network_like(generator, generator.randint(1, 60))
    alignment = generator.choice((1, 8, 64))
    offsets, size = plan_memory(tensors, alignment)
    live = live_naively(tensors)
    assert largest_live_set(tensors) == live
    assert live <= size
    for i, a in enumerate(tensors):
        assert offsets[a.name] % alignment == 0
        assert offsets[a.name] + a.bytes <= size
        for b in tensors[:i]:
            together = a.first <= b.last and b.first <= a.last
            apart = offsets[a.name] + a.bytes <= offsets[b.name] or offsets[b.name] + b.bytes <= offsets[a.name]
            assert apart or not together, (a, b)
    assert size <= 1.1 * live + 64 * alignment


def test_no_gap_that_another_order_fills() -> None:
    """A part of YOLO, which each of the usual orders leaves a fifth larger."""
    sizes = [(38400, 0, 0), (25600, 0, 1), (32000, 0, 2), (25600, 0, 3), (25600, 1, 3), (32000, 2, 3)]
    tensors = [Lifetime(str(i), *tensor) for i, tensor in enumerate(sizes)]
    assert plan_memory(tensors, 256)[1] == live_naively(tensors)


def test_nothing_to_plan() -> None:
    assert plan_memory([], 64) == ({}, 0)


def chain(layers: int) -> onnx.ModelProto:
    """A chain of convolutions and an addition of its middle to its end; each map is 256 KiB."""
    kernel = np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32) / 2
    nodes, last, middle = [], "x", ""
    for k in range(layers):
        nodes.append(helper.make_node("Conv", [last, "w"], [f"c{k}"], name=f"conv{k}"))
        nodes.append(helper.make_node("MaxPool", [f"c{k}"], [f"p{k}"], name=f"pool{k}", kernel_shape=[3, 3], pads=[1] * 4))
        last = f"p{k}"
        middle = last if k == layers // 2 else middle
    nodes.append(helper.make_node("Add", [last, middle], ["y"], name="add"))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 128, 128]) for name in "xy")
    graph = helper.make_graph(nodes, "chain", [x], [y], [numpy_helper.from_array(kernel, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_a_run_holds_little_more_than_its_largest_live_set() -> None:
    """By Python's own account of what NumPy allocates; the inputs are the caller's."""
    module = vdla.compile(chain(8), targets=("cpu",))
    x = {"x": np.random.default_rng(1).standard_normal((1, 4, 128, 128)).astype(np.float32)}
    expected = module.run(x).outputs["y"]
    tracemalloc.start()
    found = module.run(x).outputs["y"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found, expected)
    maps = 3 * x["x"].nbytes  # a layer's input and output, and the middle one that is still needed
    assert peak <= LIMIT * maps


def test_values_of_other_targets_are_dropped_too() -> None:
    """With the accelerator the same rule: whatever a step reads is there, whatever none reads is gone."""
    module = vdla.compile("digits", "tiny")
    steps, placed = module.model.steps, module.model.placed
    dead = dead_after(steps, placed)
    gone: set[str] = set()
    for step, names in zip(steps, dead, strict=True):
        assert not gone & {name for node in step.nodes for name in node.inputs}
        gone |= set(names)
    made = {name for node in placed.nodes for name in node.outputs} | set(placed.inputs)
    assert gone == made - set(placed.outputs)


def test_an_output_in_the_middle_stays() -> None:
    model = chain(3)
    model.graph.output.append(helper.make_tensor_value_info("p0", TensorProto.FLOAT, [1, 4, 128, 128]))
    model.graph.output.append(helper.make_tensor_value_info("x_again", TensorProto.FLOAT, [1, 4, 128, 128]))
    model.graph.node.append(helper.make_node("Identity", ["x"], ["x_again"]))
    module: Module = vdla.compile(model, options=CompileOptions(targets=("cpu",)))
    x = {"x": np.random.default_rng(1).standard_normal((1, 4, 128, 128)).astype(np.float32)}
    outputs = module.run(x).outputs
    assert list(outputs) == ["y", "p0", "x_again"]
    np.testing.assert_array_equal(outputs["x_again"], x["x"])
    assert np.isfinite(outputs["p0"]).all()
