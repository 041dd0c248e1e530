"""Fake quantisation that a model has written out, as quantize and dequantize.

    before   mul(sub(clip(add(round(div(x, s)), z), low, high), z), s)     in this order or clip before round, perhaps without z
    after    dequantize(clip(quantize(x)))                                 the clip of levels where there are fewer than 256

Weights that went through the same are constants on a grid by now: its step is found from the values themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.rewrite import eliminate_dead
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.emit import unused_name

Array = np.ndarray
BYTE = 255
LONGEST = 6
"""Nodes between the two factors."""
CLOSE = 1e-5
"""Relative: what float32's rounding leaves between x / s and x · (1 / s)."""
OFF_GRID = 2e-3
"""By how much of a step a weight may lie beside the grid: float32's rounding of 255 steps is far below."""
SAMPLE = 64


@dataclass(frozen=True, slots=True)
class FakeQuantised:
    """x rounded to multiples of `scale`, from `low` of them to `high`."""

    x: str
    scale: float
    low: int
    high: int

    @property
    def zero_point(self) -> int:
        """The level of 0, such that int8 holds them all."""
        return 0 if self.low >= -128 and self.high <= 127 else -128 - self.low


def with_written_out(graph: Graph) -> Graph:
    """The graph with what was written out as quantize and dequantize."""
    producer, names = graph.producer(), set(graph.tensors)
    nodes: list[Node] = []
    tensors: dict[str, TensorType] = {}
    for node in graph.nodes:
        found = fake_quantised(graph, producer, node) if node.op in ("mul", "div") else None
        if found is None:
            nodes.append(node)
            continue
        affine = {"scale": found.scale, "zero_point": found.zero_point}
        bounds = {"low": float(found.low + found.zero_point), "high": float(found.high + found.zero_point)}
        steps = [("quantize", affine), *([("clip", bounds)] if found.high - found.low < BYTE else [])]
        levels = found.x
        for op, attributes in steps:
            result = unused_name(f"{node.outputs[0]}.{op}", names)
            names.add(result)
            tensors[result] = TensorType(graph.tensors[node.outputs[0]].shape, "int8")
            nodes.append(Node(result, op, (levels,), (result,), MappingProxyType(attributes), node.source))
            levels = result
        nodes.append(Node(node.name, "dequantize", (levels,), node.outputs, MappingProxyType(affine), node.source))
    return eliminate_dead(graph.with_nodes(nodes, tensors)) if tensors else graph


def fake_quantised(graph: Graph, producer: Mapping[str, Node], last: Node) -> FakeQuantised | None:
    """What ends in a multiplication by the step; None for any other."""
    scale = factor_of(graph, last)
    if scale is None or graph.tensors[last.outputs[0]].dtype != "float32":
        return None
    chain: list[Node] = []
    node = producer.get(last.inputs[0])
    while node is not None and factor_of(graph, node) is None and len(chain) < LONGEST:
        chain.insert(0, node)
        node = producer.get(node.inputs[0]) if node.inputs else None
    inverse = None if node is None else factor_of(graph, node)
    if node is None or inverse is None or abs(scale * inverse - 1) > CLOSE or node.inputs[0] in graph.constants:
        return None
    ends = ends_of(graph, chain)
    if ends is None or not 0 < ends[1] - ends[0] <= BYTE or not -BYTE <= ends[0] <= 0 <= ends[1]:
        return None
    return FakeQuantised(node.inputs[0], float(np.float32(scale)), *ends)


def ends_of(graph: Graph, chain: list[Node]) -> tuple[int, int] | None:
    """The least and the greatest of the whole numbers that a round, a clip and terms that cancel leave; None for others."""
    offset, rounds = 0.0, 0
    low, high = -np.inf, np.inf
    for node in chain:
        clips, term = OPERATORS[node.op].clips, scalar(graph, node.inputs[1]) if len(node.inputs) == 2 else None
        if clips is not None:
            least, most = (bound - offset for bound in clips(with_defaults(node.op, node.attributes)))
            low, high = (min(max(end, least), most) for end in (low, high))
        elif node.op == "round":
            rounds += 1
        elif node.op in ("add", "sub") and term is not None and term == np.rint(term):
            offset += term if node.op == "add" else -term
        else:
            return None
    if rounds != 1 or offset or not np.isfinite([low, high]).all():
        return None
    return int(np.rint(low)), int(np.rint(high))


def factor_of(graph: Graph, node: Node) -> float | None:
    """The positive number that a node multiplies its first input by; None for any other node."""
    if node.op not in ("mul", "div"):
        return None
    value = scalar(graph, node.inputs[1])
    if value is None or not 0 < value < np.inf:
        return None
    return value if node.op == "mul" else 1 / value


def scalar(graph: Graph, name: str) -> float | None:
    """A constant of one element."""
    array = graph.constants.get(name)
    return float(array.ravel()[0]) if array is not None and array.size == 1 else None


def on_grid(w: Array) -> tuple[Array, Array] | None:
    """int16 levels of at most 255 and float64[O] steps of which the float weights [O, …] are multiples, channel by channel, the
    coarsest there are; None where there are none."""
    flat = w.reshape(len(w), -1).astype(np.float64)
    steps = np.array([step_of(row) for row in flat])
    if not (steps > 0).all():
        return None
    levels = flat / steps[:, None]
    if (np.abs(levels - np.rint(levels)) > OFF_GRID).any():
        return None
    return np.rint(levels).astype(np.int16).reshape(w.shape), steps


def step_of(row: Array) -> float:
    """The step of one channel, as far as a sample of its weights tells; 0 where there is none. Of zeros 1."""
    largest = float(np.abs(row).max(initial=0.0))
    if largest == 0:
        return 1.0
    counts = np.arange(1, BYTE + 1)
    sample = np.abs(row[np.flatnonzero(row)[:SAMPLE]])
    levels = sample[None, :] * (counts[:, None] / largest)
    fits = np.abs(levels - np.rint(levels)).max(axis=1) <= OFF_GRID
    return largest / int(counts[np.argmax(fits)]) if fits.any() else 0.0
