"""Where tensors lie that only move: inside others, which costs the accelerator nothing, or copied there by kernels.

A part of a tensor that is a run of its tiles needs no copy, nor does a tensor in another shape of the same tiles; a concat is
its inputs' tiles one after another, when each was put there to begin with. A tensor has one place: whatever else wants it
somewhere is copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
        found = moves_of(node, self.graph, self.design)
        movable = [k for k, move in enumerate(found) if move.source not in self.graph.constants]
        lying = {k for k in movable if self._lies_in_source(found[k])}
        lying |= self._lie_in_target({k: found[k] for k in movable if k not in lying})
        self.copies[node.name] = [move for k, move in enumerate(found) if k not in lying]

    def _lies_in_source(self, move: Move) -> bool:
        """Whether the target is a run of its source's tiles, which it then names."""
        start = read_as_run(move.workload)
        if start is not None:
            self.inside[move.target] = move.source, start * self.design.inp_tile_bytes
        return start is not None

    def _lie_in_target(self, moves: Mapping[int, Move]) -> set[int]:
        """Those whose sources can be where they are wanted: a tensor is put there if all of it is wanted, as a whole or part by
        part after a split."""
        wanted: dict[tuple[str, Place], list[int]] = {}
        for k, move in moves.items():
            if (start := written_as_run(move.workload)) is not None:
                root, offset = self.of(move.source)
                base = start * self.design.inp_tile_bytes - offset
                wanted.setdefault((root, (move.target, base)), []).append(k)
        lying: set[int] = set()
        for (root, place), parts in wanted.items():
            whole = sum(self.bytes_of(moves[k].source) for k in parts) == self.bytes_of(root)
            if whole and root not in self.inside and root != self.of(place[0])[0]:
                self.inside[root] = place
                lying.update(parts)
        return lying


def placed(nodes: Sequence[Node], graph: Graph, design: Design) -> Places:
    places = Places(design, graph)
    for node in nodes:
        if moves(node):
            places.add(node)
    return places
