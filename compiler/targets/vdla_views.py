"""Where tensors lie that only move: inside others, which costs the accelerator nothing, or copied there by kernels.

A part of a tensor that is a run of its tiles needs no copy, nor does a tensor in another shape of the same tiles; a concat is
its inputs' tiles one after another, when each was put there to begin with. A tensor has one place: whatever else wants it
somewhere is copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.ops.vdla.moves import MOVING, Move, moves_of, read_as_run, written_as_run
from vdla.compiler.ops.vdla.packing import packed_shape
from vdla.compiler.ops.vdla.workload import Workload
from vdla.compiler.targets.backend import Judge, Verdict
from vdla.compiler.targets.placement import IDLE
from vdla.design import Design

MOVED = "moved in the accelerator's memory"
Place = tuple[str, int]
"""A tensor with memory of its own, and a byte offset in it."""


def moves(node: Node) -> bool:
    """Whether a node only moves levels."""
    return node.op in MOVING


def copies_of(node: Node, graph: Graph, design: Design) -> list[Workload]:
    """What the kernels of a node that moves levels compute, where every tensor can lie as it would."""
    found = [move.workload for move in moves_of(node, graph, design)]
    return [w for w in found if read_as_run(w) is None and written_as_run(w) is None]


def judge_with_moves(refusal: Callable[[Node], str]) -> Judge:
    """Everything with a kernel goes to the accelerator; `refusal` says why a node has none (empty when it has). What only moves
    levels goes where some of its inputs are."""

    def judge(node: Node, beside: Sequence[str]) -> Verdict:
        if why := refusal(node):
            return Verdict(False, why)
        if not moves(node):
            return Verdict(True, "a VDLA kernel")
        return Verdict(True, MOVED) if beside else Verdict(False, IDLE)

    return judge


@dataclass
class Places:
    """Where the tensors of a program lie. inside: those without memory of their own, in others. copies: node → its kernels."""

    design: Design
    graph: Graph
    inside: dict[str, Place] = field(default_factory=dict)
    copies: dict[str, list[Move]] = field(default_factory=dict)

    def of(self, tensor: str) -> Place:
        offset = 0
        while tensor in self.inside:
            tensor, further = self.inside[tensor]
            offset += further
        return tensor, offset

    def bytes_of(self, tensor: str) -> int:
        return math.prod(packed_shape(self.graph.type_of(tensor).shape, self.design))

    def add(self, node: Node) -> None:
        """What the node moves: views where tensors can lie so, the rest as copies."""
        self.copies[node.name] = [move for move in moves_of(node, self.graph, self.design) if not self._lies(move)]

    def _lies(self, move: Move) -> bool:
        """Whether the move needs no kernel: its target is a part of its source, or its source can be a part of its target."""
        if move.source in self.graph.constants:
            return False
        tile = self.design.inp_tile_bytes
        if (start := read_as_run(move.workload)) is not None and move.target not in self.inside:
            self.inside[move.target] = move.source, start * tile
            return True
        if (start := written_as_run(move.workload)) is None:
            return False
        root, offset = self.of(move.source)
        own, _ = self.of(move.target)
        if offset or root == own or self.bytes_of(root) != self.bytes_of(move.source):
            return False
        self.inside[root] = move.target, start * tile
        return True


def placed(nodes: Sequence[Node], graph: Graph, design: Design) -> Places:
    places = Places(design, graph)
    for node in nodes:
        if moves(node):
            places.add(node)
    return places
