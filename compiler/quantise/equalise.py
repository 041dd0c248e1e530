"""Cross-layer equalisation: one layer divides a channel by what the next multiplies it by, so that channels fill their levels.

    before   x → conv2d(w1, b1) → relu → conv2d(w2)
    after    x → conv2d(w1 / s, b1 / s) → relu → conv2d(w2 · s)        s for each channel between the two

The same in float but for rounding, since what lies between is positively homogeneous: f(x / s) = f(x) / s. Weights have a scale
for each channel of the output, so the first layer loses nothing; activations have one scale for all channels, and gain. A
depthwise second layer takes any s at no cost; of another one s is the geometric mean of what suits activations and weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.operators.registry import OPERATORS
from vdla.compiler.quantise.calibrate import Inputs
from vdla.compiler.quantise.plan import clip_interval

Array = np.ndarray
MOST = 64.0
"""No channel is scaled by more than this: what was small in calibration may not stay so."""
SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Pair:
    """Two convolutions and the tensor that the second reads, a positively homogeneous function of what the first computes."""

    first: Node
    second: Node
    between: str


def equalise(graph: Graph, calibration: Sequence[Inputs]) -> Graph:
    """The graph with the weights of its pairs of convolutions scaled."""
    found = list(pairs(graph))
    reach = channel_reach(graph, calibration[:SAMPLES], {pair.between for pair in found})
    constants = dict(graph.constants)
    owner = shared(graph)
    for pair in found:
        names = (*pair.first.inputs[1:], pair.second.inputs[1])
        if any(name in owner for name in names if name):
            continue
        scale = scales(reach[pair.between], constants[pair.second.inputs[1]], is_depthwise(graph, pair.second))
        for name in pair.first.inputs[1:]:
            if name:
                constants[name] = along(constants[name], 1 / scale, 0)
        axis = 0 if is_depthwise(graph, pair.second) else 1
        constants[pair.second.inputs[1]] = along(constants[pair.second.inputs[1]], scale, axis)
    return graph.with_nodes(graph.nodes, constants=constants)


def pairs(graph: Graph) -> Iterator[Pair]:
    """In order: each convolution is a second once, and a first once."""
    readers, producer = graph.consumers(), graph.producer()
    for second in graph.nodes:
        if second.op != "conv2d" or second.inputs[1] not in graph.constants:
            continue
        if second.attributes.get("groups", 1) != 1 and not is_depthwise(graph, second):
            continue
        name = second.inputs[0]
        while (node := producer.get(name)) is not None and len(readers[name]) == 1 and name not in graph.outputs:
            if node.op == "conv2d":
                if all(w in graph.constants for w in node.inputs[1:] if w):
                    yield Pair(node, second, second.inputs[0])
                break
            if not is_homogeneous(node):
                break
            name = node.inputs[0]


def is_homogeneous(node: Node) -> bool:
    """Whether f(x · s) = f(x) · s for each channel and positive s: relu, max pools."""
    return clip_interval(node) == (0.0, np.inf) or bool(OPERATORS[node.op].integer_form)


def is_depthwise(graph: Graph, node: Node) -> bool:
    shape = graph.tensors[node.inputs[1]].shape
    return shape[1] == 1 and node.attributes.get("groups", 1) == shape[0]


def shared(graph: Graph) -> set[str]:
    """Constants that more than one node reads, or one twice."""
    uses: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            uses[name] = uses.get(name, 0) + 1
    return {name for name in graph.constants if uses.get(name, 0) > 1}


def channel_reach(graph: Graph, calibration: Sequence[Inputs], tensors: set[str]) -> Mapping[str, Array]:
    """float64[C]: the largest magnitude seen in each channel (axis 1)."""
    reach: dict[str, Array] = {}

    def observe(name: str, values: Array) -> None:
        if name in tensors:
            largest = np.abs(values).max(axis=(0, 2, 3)).astype(np.float64)
            reach[name] = np.maximum(reach[name], largest) if name in reach else largest

    for inputs in calibration:
        run_reference(graph, inputs, observe=observe)
    return reach


def scales(reach: Array, w: Array, depthwise: bool) -> Array:
    """float64[C]: what the first layer divides each channel by. A channel that never had a value keeps its own."""
    wanted = reach
    if not depthwise:
        largest = np.abs(w).max(axis=(0, 2, 3)).astype(np.float64)
        wanted = np.sqrt(reach / np.where(largest > 0, largest, 1.0))
        wanted = np.where(largest > 0, wanted, 0.0)
    if not np.isfinite(wanted).all() or not wanted.any():
        return np.ones(len(reach))
    scale = np.clip(wanted / wanted.max(), 1 / MOST, 1.0)
    return np.where(wanted > 0, scale, 1.0)


def along(w: Array, factor: Array, axis: int) -> Array:
    shape = [1] * w.ndim
    shape[axis] = -1
    return (w * factor.reshape(shape)).astype(w.dtype)
