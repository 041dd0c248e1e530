"""The cheapest way to part a network in two: a minimum cut, by Dinic's algorithm on a residual graph."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

Vertex = Hashable
SOURCE, SINK = "source", "sink"
INFINITE = 1 << 60
"""More than all costs together: an edge that may not be cut."""


@dataclass
class Cut:
    """Vertices to be parted into the side of SOURCE and that of SINK; costs are whole numbers.

    cut.add(a, b, 7)   # costs 7 if a is on the side of SOURCE and b on that of SINK
    """

    _heads: list[int] = field(default_factory=list)
    _rest: list[int] = field(default_factory=list)  # of each edge's capacity; edge k ^ 1 is edge k backwards
    _edges: list[list[int]] = field(default_factory=list)  # of each vertex
    _number: dict[Vertex, int] = field(default_factory=dict)

    def add(self, a: Vertex, b: Vertex, cost: int) -> None:
        """Edges between the same two add up. INFINITE: never."""
        if cost <= 0:
            return
        for tail, head, rest in ((a, b, cost), (b, a, 0)):
            self._edges[self._index(tail)].append(len(self._heads))
            self._heads.append(self._index(head))
            self._rest.append(rest)

    def _index(self, vertex: Vertex) -> int:
        if vertex not in self._number:
            self._number[vertex] = len(self._edges)
            self._edges.append([])
        return self._number[vertex]

    def sink_side(self) -> set[Vertex]:
        """The vertices on the side of SINK in a cheapest cut; of several the one with the fewest of them."""
        source, sink = self._index(SOURCE), self._index(SINK)
        while (level := self._levels(source))[sink] >= 0:
            self._saturate(source, sink, level)
        reaching = {sink}  # from which SINK can still be reached
        queue = deque([sink])
        while queue:
            at = queue.popleft()
            for edge in self._edges[at]:
                before = self._heads[edge]
                if before not in reaching and self._rest[edge ^ 1]:
                    reaching.add(before)
                    queue.append(before)
        return {vertex for vertex, number in self._number.items() if number in reaching}

    def _levels(self, source: int) -> list[int]:
        """Edges from the source to each vertex along what is left of the capacities; -1 for what it does not reach."""
        level = [-1] * len(self._edges)
        level[source] = 0
        queue = deque([source])
        while queue:
            at = queue.popleft()
            for edge in self._edges[at]:
                if self._rest[edge] and level[self._heads[edge]] < 0:
                    level[self._heads[edge]] = level[at] + 1
                    queue.append(self._heads[edge])
        return level

    def _saturate(self, source: int, sink: int, level: list[int]) -> None:
        """A blocking flow: until every shortest path has an edge without capacity."""
        turn = [0] * len(self._edges)  # edges of a vertex before this one lead nowhere
        path: list[int] = []
        at = source
        while True:
            if at == sink:
                least = min(self._rest[edge] for edge in path)
                for edge in path:
                    self._rest[edge] -= least
                    self._rest[edge ^ 1] += least
                full = next(k for k, edge in enumerate(path) if not self._rest[edge])
                at = self._heads[path[full] ^ 1]
                del path[full:]
            edge = self._next(at, level, turn)
            if edge >= 0:
                path.append(edge)
                at = self._heads[edge]
            elif path:
                at = self._heads[path.pop() ^ 1]
                turn[at] += 1
            else:
                return

    def _next(self, at: int, level: list[int], turn: list[int]) -> int:
        while turn[at] < len(self._edges[at]):
            edge = self._edges[at][turn[at]]
            if self._rest[edge] and level[self._heads[edge]] == level[at] + 1:
                return edge
            turn[at] += 1
        return -1
