"""Kernels of every class compiled for the boards' processors, run under emulation: the same results as on this machine."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
from drawing import draw
from emulation import MACHINES, Machine, emulate
from random_graphs import Net, by_numpy, float_network, integer_network
from random_loops import EXACT, LoopMaker, comparable, random_inputs

from vdla.compiler import ir
from vdla.compiler.backends.llvm import Target, compile_function, emit_module, emit_object
from vdla.compiler.backends.llvm.target import assembly_code
from vdla.compiler.graph.fuse import fuse
from vdla.compiler.ops.cpu import build_group_kernel, template_of, varying_inputs, workload_of
from vdla.compiler.ops.cpu.templates import scheduled
from vdla.compiler.passes.lower import lower
from vdla.errors import CompileError

TOLERANCE = 2e-5
"""Relative, and of the output's largest element: sums of up to 150 terms in another order, with or without fused multiply-adds,
differ by 150 · 2⁻²⁴ = 9e-6; NEON also takes denormal numbers for zero."""
ROUNDED_ALIKE = (
    "relu",
    "clip",
    "sigmoid",
    "tanh",
    "add",
    "sub",
    "mul",
    "div",
    "max_pool2d",
    "pad",
    "concat",
    "reshape",
    "transpose",
)
"""Float operators with one rounding, or whose fused multiply-adds are written out: equal bit for bit on any machine."""


def floats(net: Net) -> None:
    image, narrow, wide = net.input((1, 4, 9, 11)), net.input((2, 6, 7, 7)), net.input((1, 3, 12, 40))
    net.op("conv2d", wide, net.normal(6, 3, 3, 3), net.normal(6), pads=(1, 1, 1, 1))  # direct
    net.op("conv2d", wide, net.normal(4, 3, 3, 5), strides=(2, 3), pads=(0, 2, 1, 4), dilations=(2, 1))
    net.op("conv2d", narrow, net.normal(13, 6, 3, 3), net.normal(13), pads=(1, 1, 1, 1))  # columns
    net.op("conv2d", narrow, net.normal(8, 6, 1, 1))  # the image is the matrix of columns
    net.op("conv2d", narrow, net.normal(12, 2, 3, 2), groups=3, strides=(1, 2))
    net.op("conv2d", image, net.normal(4, 1, 3, 3), net.normal(4), groups=4, strides=(2, 2), pads=(1, 1, 1, 1))  # depthwise
    net.op("dense", net.input((3, 64)), net.normal(17, 64), net.normal(17))
    net.op("dense", net.input((1, 33)), net.normal(10, 33))
    net.op("matmul", net.input((3, 1, 16, 12)), net.input((2, 12, 40)))
    net.op("batch_norm", image, *(net.normal(4) for _ in range(3)), net.constant(net.random.uniform(0.5, 2, 4)))
    for op in ("relu", "sigmoid", "tanh", "hard_sigmoid", "hard_swish"):
        net.op(op, image)
    net.op("clip", image, low=-0.5, high=1.25)
    for op in ("add", "sub", "mul", "div"):
        net.op(op, image, net.normal(4, 1, 1))
    net.op("softmax", image, axis=1)
    net.op("lrn", image, size=3, alpha=1e-2, beta=0.6)  # calls powf
    net.op("max_pool2d", image, kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    net.op("avg_pool2d", image, kernel=(2, 4), strides=(2, 3), ceil=True)
    net.op("global_avg_pool", image)
    net.op("reduce_mean", image, axes=(1, 3), keepdims=False)
    net.op("pad", image, before=(0, 1, 0, 2), after=(0, 0, 0, 3), value=1.5)
    net.op("concat", image, image, axis=1)
    net.op("reshape", image, shape=(36, 11))
    net.op("transpose", image, permutation=(0, 2, 3, 1))


def integers(net: Net) -> None:
    x = net.op("quantize", net.input((2, 6, 9, 11)), scale=0.03, zero_point=-3)
    wide = net.op("quantize", net.input((1, 3, 12, 40)), scale=0.03)
    weight = lambda *shape: net.constant(net.random.integers(-128, 128, shape), "int8")  # noqa: E731
    net.op("qconv2d", wide, weight(6, 3, 3, 3), *net.parameters(6), pads=(1, 1, 1, 1), strides=(2, 2), pad_value=-7)
    net.op("qconv2d", x, weight(13, 6, 3, 3), *net.parameters(13), pads=(1, 1, 1, 1))
    net.op("qconv2d", x, weight(6, 1, 3, 3), *net.parameters(6), groups=6)
    net.op("qconv2d", x, weight(6, 6, 1, 1), *net.parameters(6), "", "", "", weight(256))
    summed = net.op("qconv2d", x, weight(6, 6, 1, 1), *net.parameters(6), x, *net.parameters(6))
    for op in ("qadd", "qsub", "qmax", "qmin"):
        net.op(op, x, summed, *(p for _ in range(3) for p in net.parameters(6)), high=50)
    net.op("qsub", x, weight(1, 6, 1, 1), *(p for _ in range(3) for p in net.parameters(6)))
    net.op("qmul", x, summed, *net.parameters(6), a_zero_point=3, b_zero_point=-9)
    net.op("qtable", x, weight(256))
    net.op("qmax_pool2d", x, kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    net.op("qavg_pool2d", x, *net.parameters(6), kernel=(3, 3), pads=(1, 1, 1, 1), pad_value=-9)
    net.op("qdense", net.op("quantize", net.input((3, 64)), scale=0.02), weight(10, 64), *net.parameters(10))
    net.op("requantize", x, *net.parameters(6))
    columns = net.op("im2col", x, kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1), pad_value=5, fold="window")
    net.op("pack_nchwc", columns, batch=1, block=16)
    net.op("pack_nchwc", wide, batch=1, block=4)
    tiles = net.op("pack_nchwc", x, batch=2, block=8)
    net.op(
        "dequantize", net.op("unpack_nchwc", tiles, shape=(2, 6, 9, 11)), scale=tuple(net.random.uniform(0.01, 0.02, 6)), axis=1
    )


@dataclass(frozen=True)
class Work:
    """A lowered function for another machine, its inputs, what it gives here, and how near it must come."""

    func: ir.Function
    inputs: list[np.ndarray]
    expected: list[np.ndarray]
    exact: bool


def groups_of(net: Net, name: str, target: Target, dice: random.Random | None = None) -> dict[str, Work]:
    """The network's kernels, each given NumPy's inputs: one for each operator, or (dice) fused and in random configurations."""
    graph = net.graph(*(node.outputs[0] for node in net.nodes))
    values, found = by_numpy(graph, net.samples()), {}
    for i, group in enumerate(fuse(net.graph() if dice else graph)):
        workload = workload_of(group, graph.type_of)
        config = draw(template_of(workload).space(workload, target), dice) if dice else None
        func, composition = scheduled(workload, target, config)
        assert not composition.parts
        inputs = [np.ascontiguousarray(values[tensor]) for tensor in varying_inputs(group, {})]
        outputs = build_group_kernel(group, graph.type_of, {}).run(*inputs)
        own = [value for _, _, value in composition.read_by(composition.outputs) if value is not None]
        exact = all(output.dtype != np.float32 for output in outputs) or all(node.op in ROUNDED_ALIKE for node in group.nodes)
        arrays = [a.reshape(p.shape) for a, p in zip([*inputs, *own], func.params, strict=False)]
        found[f"{name} {i}: {workload.name} {config or ''}"] = Work(lower(func, every_pass=True), arrays, outputs, exact)
    return found


def loops(seed: int) -> ir.Function:
    return LoopMaker(seed, EXACT).function()


def large() -> ir.Function:
    """A parallel loop inside another, large enough to be worth threads, over a temporary that is not for the stack."""
    n = 1600
    x, y, middle = ir.Buffer("x", (n,), "int32"), ir.Buffer("y", (40, n), "int32"), ir.Buffer("middle", (40, n), "int32")
    r, i, k, s, j = (ir.Var(name) for name in "riksj")
    inner = ir.For(k, 8, ir.Store(middle, (r, i * 8 + k), x[i * 8 + k] * r + 1), "vectorized")
    first = ir.For(r, 40, ir.For(i, n // 8, inner, "parallel"))
    second = ir.For(s, 40, ir.For(j, n, ir.Store(y, (s, j), middle[39 - s, n - 1 - j]), "vectorized"), "parallel")
    return ir.Function("large", (x, y), ir.Allocate(middle, ir.seq(first, second)))


def plain(func: ir.Function, inputs: list[np.ndarray]) -> Work:
    return Work(func, inputs, compile_function(func).run(*inputs), True)


def work_for(target: Target) -> dict[str, Work]:
    found: dict[str, Work] = {"large": plain(large(), [np.arange(1600, dtype="int32") * 7 - 5000])}
    for name, add in (("floats", floats), ("integers", integers)):
        net = Net(11)
        add(net)
        found |= groups_of(net, name, target)
    for make in (float_network, integer_network):
        for seed in (2, 3, 5):
            found |= groups_of(make(seed), f"{make.__name__}({seed})", target, random.Random(seed))
    return found | {f"LoopMaker({seed})": plain(f := loops(seed), random_inputs(f, seed)) for seed in range(40)}


def machine_named(name: str) -> Machine:
    machine = MACHINES[name]
    if machine.missing:
        pytest.skip(
            f"not installed: {machine.missing} (Debian: qemu-user-static and gcc-{machine.compiler.removesuffix('-gcc')})"
        )
    return machine


@pytest.mark.parametrize("name", MACHINES)
def test_every_class_of_kernel_runs_on_the_boards_processors(name, tmp_path):
    machine = machine_named(name)
    work = work_for(machine.target)
    found = emulate({key: (w.func, w.inputs) for key, w in work.items()}, machine, tmp_path)
    for key, w in work.items():
        for ours, expected in zip(found[key], w.expected, strict=True):
            ours = ours.view(expected.dtype).reshape(expected.shape)  # packed in words
            if w.exact:
                np.testing.assert_array_equal(comparable(ours), comparable(expected), err_msg=key)
            else:
                limit = TOLERANCE * float(np.abs(expected).max())
                np.testing.assert_allclose(ours, expected, rtol=TOLERANCE, atol=limit, err_msg=key)


def test_the_work_allocates_calls_the_library_and_runs_in_parallel():
    """With sizes of the machine's own width: a 32-bit library reads half of a 64-bit argument."""
    target, net = MACHINES["armv7"].target, Net(11)
    floats(net)
    work = [*groups_of(net, "floats", target).values(), plain(large(), [np.arange(1600, dtype="int32")])]
    assembly = "".join(str(emit_module(w.func, target)) for w in work)
    for called in ('call ptr @"aligned_alloc"(i32 64, i32 ', 'call void @"free"', 'call void @"vdla_parallel_for"', '@"powf"'):
        assert called in assembly


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("armv7-linux-gnueabihf", "armv7-unknown-linux-gnueabihf"),
        ("arm-none-eabi", "arm-unknown-none-eabi"),
        ("aarch64-linux-gnu", "aarch64-unknown-linux-gnu"),
        ("x86_64-linux", "x86_64-unknown-linux"),
        ("x86_64-pc-linux-gnu", "x86_64-pc-linux-gnu"),
        ("aarch64-apple-darwin22.1.0", "aarch64-apple-darwin22.1.0"),
    ],
)
def test_a_vendor_may_be_left_out(given, full):
    assert Target(given).triple == full
    assert Target(given) == Target(full)


@pytest.mark.parametrize("triple", ["z80-none", "nonsense", "", "armv7", "aarch64", "armv7-linux"])
def test_what_does_not_name_a_machine_is_refused_with_examples(triple):
    """Without an environment, Arm's calling convention would be a guess."""
    with pytest.raises(CompileError, match=f"found '{triple}'; expected such as armv7-unknown-linux-gnueabihf"):
        Target(triple)


def test_floats_are_passed_in_registers_on_hard_float_arm():
    """`powf` gets its arguments in s0 and s1, where they are; the other convention moves them to r0 and r1."""
    x, i = ir.Buffer("x", (4,), "float32"), ir.Var("i")
    func = ir.Function("powers", (x,), ir.For(i, 4, ir.Store(x, (i,), ir.Call("pow", (x[i], x[i]), "float32"))))
    target = MACHINES["armv7"].target
    assert b"powf" in emit_object(func, target)
    assembly = assembly_code(str(emit_module(func, target)), target)
    assert "bl\tpowf" in assembly
    assert "vmov\tr0" not in assembly


def test_a_buffer_beyond_the_targets_memory_is_refused():
    x, y, i = ir.Buffer("x", (1,), "int8"), ir.Buffer("y", (1 << 31,), "int8"), ir.Var("i")
    func = ir.Function("huge", (x,), ir.Allocate(y, ir.For(i, 1, ir.seq(ir.Store(y, (i,), x[i]), ir.Store(x, (i,), y[i])))))
    emit_module(func, MACHINES["aarch64"].target)
    with pytest.raises(CompileError, match="memory cannot hold; found '2,147,483,648 bytes'"):
        emit_module(func, MACHINES["armv7"].target)
