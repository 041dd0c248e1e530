"""Movement on the accelerator: every operator that moves levels, in any configuration of its kernels, and as views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_layers import random_design
from test_vdla_configurations import any_config

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.operators.registry import infer_types, with_defaults
from vdla.compiler.ops.vdla.kernels import template_of
from vdla.compiler.ops.vdla.layers import refusal
from vdla.compiler.ops.vdla.moves import moves_of
from vdla.compiler.ops.vdla.packing import pack_activation, unpack_activation
from vdla.compiler.ops.vdla.tile_copies import Along, regular
from vdla.compiler.ops.vdla.workload import ConvWorkload, CopyAxis, CopyWorkload, Workload
from vdla.compiler.program import build_program
from vdla.compiler.targets.vdla_layout import quantised_name
from vdla.design import Design
from vdla.design_file import load_design
from vdla.isa import check_program
from vdla.sim.device import Simulator

TINY = load_design("tiny")
Shape = tuple[int, ...]
Drawn = tuple[list[Shape], dict[str, Any], dict[str, np.ndarray]]


def node_of(op: str, shapes: list[Shape], attributes: dict[str, Any], constants: dict[str, np.ndarray]) -> tuple[Node, Graph]:
    """A node alone in its graph; inputs named x0, x1, … and then the constants."""
    inputs = [f"x{k}" for k in range(len(shapes))]
    tensors = {name: TensorType(shape, "int8") for name, shape in zip(inputs, shapes, strict=True)}
    tensors |= {name: TensorType(value.shape, str(value.dtype)) for name, value in constants.items()}
    names = (*inputs, *constants)
    types = infer_types(op, [tensors[name] for name in names], attributes)
    outputs = tuple(f"y{k}" for k in range(len(types)))
    node = Node("move", op, names, outputs, with_defaults(op, attributes))
    tensors |= dict(zip(outputs, types, strict=True))
    return node, Graph("moves", tuple(inputs), outputs, (node,), tensors, constants)


def draw(rng: np.random.Generator, op: str, design: Design) -> Drawn:
    """Shapes of the inputs, attributes and constants. Channels in whole blocks half of the time."""
    block, batch = design.channel_block, design.gemm.batch
    channels = lambda: int(rng.integers(1, 4)) * block if rng.random() < 0.5 else int(rng.integers(1, 3 * block))  # noqa: E731
    n, c, h, w = shape = (batch * int(rng.integers(1, 3)), channels(), *(int(e) for e in rng.integers(1, 8, 2)))
    axis = int(rng.integers(1, 4))
    few = lambda: [0, 0, *(int(e) for e in rng.integers(0, 3, 2))]  # noqa: E731
    match op:
        case "concat":
            sizes = [channels() if axis == 1 else int(e) for e in rng.integers(1, 5, 3)]
            return [tuple(size if d == axis else e for d, e in enumerate(shape)) for size in sizes], {"axis": axis}, {}
        case "split":
            cut = int(rng.integers(1, shape[axis])) if shape[axis] > 1 else 0
            return [shape], {"axis": axis, "sizes": tuple(s for s in (cut, shape[axis] - cut) if s)}, {}
        case "slice":
            steps = [1, 1, *(int(e) for e in rng.choice([1, 1, 2, -1], 2))]
            ends = [sorted(int(e) for e in rng.integers(0, size, 2)) for size in shape]
            ends[0] = [0, n - 1]
            if rng.random() < 0.5:
                ends[2], ends[3], steps = [0, h - 1], [0, w - 1], [1, 1, 1, 1]
            else:
                ends[1] = [0, c - 1]
            starts = [end[0] if step > 0 else end[1] for end, step in zip(ends, steps, strict=True)]
            sizes = [(high - low) // abs(step) + 1 for (low, high), step in zip(ends, steps, strict=True)]
            return [shape], {"starts": tuple(starts), "steps": tuple(steps), "sizes": tuple(sizes)}, {}
        case "pad":
            before, after = few(), few()
            if rng.random() < 0.3:
                before, after = [0, int(rng.integers(0, 9)), 0, 0], [0, int(rng.integers(0, 9)), 0, 0]
            return [shape], {"before": tuple(before), "after": tuple(after), "value": float(rng.integers(-128, 128))}, {}
        case "border_pad":
            shape = (n, c, h + 2, w + 2)
            before, after = tuple(few()), tuple(few())
            return [shape], {"before": before, "after": after, "mode": str(rng.choice(["reflect", "edge", "wrap"]))}, {}
        case "repeat" | "tile":
            repeats = (1, 1, *(int(e) for e in rng.integers(1, 4, 2))) if rng.random() < 0.7 else (1, 2, 1, 1)
            return [shape], {"repeats": repeats}, {}
        case "expand":
            return [(n, c, 1, w)], {"shape": (n, c, 3, w)}, {}
        case "gather":
            axis = 1
            return [shape], {"axis": 1}, {"indices": rng.integers(-c, c, int(rng.integers(1, 2 * c + 1)))}
        case "reshape":
            return [shape], {"shape": [(n, c, h * w, 1), (n, c, 1, h * w), (n, c, w, h)][int(rng.integers(3))]}, {}
        case "transpose":
            return [shape], {"permutation": (0, 1, 3, 2)}, {}
        case "depth_to_space":
            rows, columns = (int(e) for e in rng.integers(1, 4, 2))
            return [(n, rows * columns * block * int(rng.integers(1, 3)), h, w)], {"blocks": (rows, columns)}, {}
    raise AssertionError(op)


OPS = (
    "concat", "concat", "split", "slice", "pad", "border_pad", "repeat", "tile", "expand", "gather", "reshape", "transpose",
    "depth_to_space",
)  # fmt: skip


@pytest.mark.parametrize("tiny", [True, False], ids=["tiny", "random_design"])
@pytest.mark.parametrize("seed", range(60))
def test_any_move_in_any_configuration(seed: int, tiny: bool) -> None:
    rng = np.random.default_rng(seed)
    op = OPS[seed % len(OPS)]
    design = TINY if tiny else random_design(rng)
    node, graph = node_of(op, *draw(rng, op, design))
    assert not refusal(node, graph, design), f"seed {seed}"
    values = {name: rng.integers(-128, 128, graph.type_of(name).shape, np.int8) for name in graph.inputs}
    configs = {}
    for move in moves_of(node, graph, design):
        configs[move.workload] = any_config(rng, template_of(move.workload).space(move.workload, design))
    program = build_program([node], graph, design, bool(rng.integers(2)), None, configs)
    check_program(program).require()
    packed = {slot.name: pack_activation(values[quantised_name(slot.name)], design) for slot in program.inputs}
    found = Simulator(design).run(program, packed).outputs
    expected = run_reference(graph, values)
    for slot in program.outputs:
        value = expected[quantised_name(slot.name)]
        where = f"seed {seed}: {graph.tensors} {node.attributes}"
        np.testing.assert_array_equal(unpack_activation(found[slot.name], value.shape), value, err_msg=where)


def kernels_of(
    op: str, shapes: list[Shape], constants: dict[str, np.ndarray] | None = None, **attributes: Any
) -> list[Workload]:
    """Workloads of what a program of the node alone runs."""
    node, graph = node_of(op, shapes, attributes, constants or {})
    workloads = [move.workload for move in moves_of(node, graph, TINY)]
    count = len(build_program([node], graph, TINY, True, None).layers)
    return workloads[len(workloads) - count :]


def test_what_is_a_view() -> None:
    """Whole blocks of channels of one image, images, rows of one block; other shapes of the same tiles."""
    whole = {"starts": (0, 0, 0, 0), "steps": (1, 1, 1, 1)}
    assert not kernels_of("split", [(1, 24, 5, 4)], axis=1, sizes=(8, 16))
    assert not kernels_of("split", [(3, 20, 5, 4)], axis=0, sizes=(1, 2))
    assert not kernels_of("split", [(1, 3, 5, 4)], axis=2, sizes=(2, 3))
    assert not kernels_of("slice", [(1, 20, 5, 4)], **{**whole, "starts": (0, 8, 0, 0), "sizes": (1, 11, 5, 4)})
    assert not kernels_of("reshape", [(2, 20, 5, 4)], shape=(2, 20, 10, 2))
    assert not kernels_of("transpose", [(2, 20, 5, 1)], permutation=(0, 1, 3, 2))
    assert not kernels_of("concat", [(1, 16, 5, 4), (1, 3, 5, 4)], axis=1)
    assert not kernels_of("concat", [(1, 16, 5, 4), (2, 16, 5, 4)], axis=0)
    assert not kernels_of("repeat", [(1, 16, 5, 4)], repeats=(1, 1, 1, 1))
    assert len(kernels_of("split", [(2, 24, 5, 4)], axis=1, sizes=(8, 16))) == 2
    assert len(kernels_of("concat", [(2, 16, 5, 4), (2, 3, 5, 4)], axis=1)) == 2


def test_copies_are_of_as_few_axes_as_can_be() -> None:
    assert kernels_of("repeat", [(1, 16, 5, 4)], repeats=(1, 1, 2, 2)) == [
        CopyWorkload((20, 4), (CopyAxis(20, 0), CopyAxis(2, None), CopyAxis(4, 1), CopyAxis(2, None)))
    ]
    assert kernels_of("pad", [(2, 16, 5, 4)], before=(0, 0, 1, 0), after=(0, 0, 0, 0), value=3.0) == [
        CopyWorkload((8, 20), (CopyAxis(8, 0), CopyAxis(24, 1, -4)), 3)
    ]
    (shuffled,) = kernels_of("gather", [(1, 16, 5, 4)], {"i": np.array([1, 0])}, axis=1)
    assert isinstance(shuffled, ConvWorkload)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "reason"),
    [
        ("reshape", [(1, 8, 4, 4)], {"shape": (1, 16, 4, 2)}, "a reshape moves channels to other tiles"),
        ("transpose", [(1, 8, 4, 4)], {"permutation": (0, 2, 3, 1)}, "a transpose moves channels out of their tiles"),
        ("depth_to_space", [(1, 8, 4, 4)], {"blocks": (2, 2)}, "pixels of a block share tiles; found '2 channels of each'"),
        (
            "slice",
            [(1, 16, 4, 4)],
            {"starts": (0, 3, 1, 0), "steps": (1, 1, 1, 1), "sizes": (1, 8, 2, 4)},
            "slice moves channels within their blocks and pixels or images at once",
        ),
        ("concat", [(1, 8, 4, 4, 2)] * 2, {"axis": 1}, "have 2 or 4 dimensions"),
    ],
)
def test_refusals_name_their_cause(op: str, shapes: list[Shape], attributes: dict[str, Any], reason: str) -> None:
    node, graph = node_of(op, shapes, attributes, {})
    assert reason in refusal(node, graph, TINY)


def test_irregular_steps() -> None:
    """In as many copies as there are regular stretches, up to a limit."""
    assert len(kernels_of("gather", [(1, 8, 9, 4)], {"i": np.array([0, 1, 3, 5, 7])}, axis=2)) == 2
    jumps = np.arange(80) // 2 * 3 % 9 + np.arange(80) % 2
    node, graph = node_of("gather", [(1, 8, 12, 4)], {"axis": 2}, {"i": jumps[np.random.default_rng(0).permutation(80)]})
    assert "irregular steps" in refusal(node, graph, TINY)


@pytest.mark.parametrize("seed", range(200))
def test_regular_indices_are_found_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, step = int(rng.integers(1, 6)), int(rng.choice([-2, -1, 1, 1, 3]))
    start = int(rng.integers(0, 4)) + max(0, -step) * (count - 1)
    size = max(start, start + step * (count - 1)) + 1 + int(rng.integers(0, 3))
    repeat, times = (int(e) for e in rng.choice([1, 1, 2, 3], 2))
    index = np.tile(np.repeat(start + step * np.arange(count), repeat), times)
    along = regular(index, size)
    assert along is not None
    again = along.start + along.step * np.arange(along.count)
    np.testing.assert_array_equal(np.tile(np.repeat(again, along.repeat), along.times), index, err_msg=f"seed {seed}")


def test_padding_is_what_lies_beside_the_tensor() -> None:
    assert regular(np.array([-1, -1, 0, 1, 2, -1]), 3) == Along(6, -2)
    assert regular(np.array([-1, 0, 1, -1]), 3) is None  # 2 is on the tensor
