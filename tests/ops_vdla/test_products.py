"""Products of two activations in one program with the layers that compute them: what one stores another loads as weights."""

from __future__ import annotations

import re

import numpy as np
import pytest
from random_layers import _int8, _parameters

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.ops.vdla.layers import refusal, workload_of
from vdla.compiler.ops.vdla.packing import pack_activation, unpack_activation
from vdla.compiler.program import build_program
from vdla.design_file import load_design
from vdla.isa import check_program
from vdla.sim.device import Simulator


def attention_scores(rows: int, columns: int, depth: int, heads: int = 1, **attributes: int) -> Graph:
    """x ─ two convolutions ─▶ a and b ─ qmatmul2d ─▶ y."""
    rng = np.random.default_rng(0)
    constants, nodes = {}, []
    tensors = {"x": TensorType((heads, depth, rows, 1), "int8"), "z": TensorType((heads, depth, columns, 1), "int8")}
    for source, result, length in (("x", "a", rows), ("z", "b", columns)):
        own = {f"{result}.w": _int8(rng, (depth, depth, 1, 1))}
        own |= {f"{result}.{name}": value for name, value in _parameters(rng, depth, shift=24).items()}
        nodes.append(Node(result, "qconv2d", (source, *own), (result,), {}))
        tensors[result] = TensorType((heads, depth, length, 1), "int8")
        constants |= own
    own = _parameters(rng, 1)
    nodes.append(Node("y", "qmatmul2d", ("a", "b", *own), ("y",), attributes))
    constants |= own
    tensors["y"] = TensorType((heads, columns, rows, 1), "int8")
    tensors |= {name: TensorType(value.shape, str(value.dtype)) for name, value in constants.items()}
    return Graph("scores", ("x", "z"), ("y",), tuple(nodes), tensors, constants)


@pytest.mark.parametrize(("rows", "columns", "depth", "heads"), [(12, 16, 16, 2), (5, 32, 8, 1), (33, 48, 32, 3)])
@pytest.mark.parametrize("name", ["tiny", "pynq_z1"])
def test_computed_weights(name: str, rows: int, columns: int, depth: int, heads: int) -> None:
    design, graph = load_design(name), attention_scores(rows, columns, depth * 2, heads)
    program = build_program(graph.nodes, graph, design, True, None)
    check_program(program).require()
    rng = np.random.default_rng(1)
    values = {tensor: _int8(rng, graph.type_of(tensor).shape) for tensor in graph.inputs}
    packed = {slot.name: pack_activation(values[slot.name.removesuffix(".packed")], design) for slot in program.inputs}
    found = Simulator(design, sanitize=True).run(program, packed).outputs[program.outputs[0].name]
    expected = run_reference(graph, values)["y"]
    np.testing.assert_array_equal(unpack_activation(found, expected.shape), expected)


def test_a_product_waits_for_little() -> None:
    """Scores of 128 × 128 positions of 64 channels in 12 heads, on the paper's design."""
    design, graph = load_design("pynq_z1"), attention_scores(128, 128, 64, 12)
    (node,) = [node for node in graph.nodes if node.op == "qmatmul2d"]
    cycles = Simulator(design).timing_only(build_program([node], graph, design, True, None)).cycles
    workload = workload_of(node, graph, design)
    compute = workload.gemm_uops + workload.out_tiles  # every tile is also requantised
    assert compute <= cycles < 1.15 * compute


@pytest.mark.parametrize(
    ("sizes", "attributes", "reason"),
    [
        ((8, 16, 16), {"b_zero_point": 3}, "zero points needs sums of what it multiplies.*'b_zero_point': 3"),
        ((8, 18, 16), {}, "filled in part.*16 channels, 18 positions.*multiples of 4"),
        ((8, 16, 10), {}, "filled in part.*10 channels"),
    ],
)
def test_what_the_accelerator_does_not_multiply(sizes: tuple[int, int, int], attributes: dict[str, int], reason: str) -> None:
    graph = attention_scores(*sizes, **attributes)
    assert re.search(reason, refusal(graph.nodes[-1], graph, load_design("tiny")))
    batched = load_design("tiny").varied(gemm={"batch": 2})
    assert "no weight tile" in refusal(attention_scores(8, 16, 16).nodes[-1], graph, batched)
