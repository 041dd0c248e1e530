"""The minimum cut against every way to part a small network, and placement by cost against every placement."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from graph_of_costs import random_chain, total_cost

from vdla.compiler.graph.graph import Graph
from vdla.compiler.targets.cheaper import MUCH, WORTH_IT, cheapest_on_host, host_seconds, moves
from vdla.compiler.targets.min_cut import SINK, SOURCE, Cut
from vdla.host_models import HOST_MODELS


def cost_of(edges: list[tuple[str, str, int]], sink_side: set[str]) -> int:
    return sum(cost for a, b, cost in edges if a not in sink_side and b in sink_side)


@pytest.mark.parametrize("case", range(60))
def test_no_other_cut_is_cheaper(case: int) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    generator = random.Random(seed)
    inner = [f"v{k}" for k in range(generator.randint(0, 7))]
    vertices = [SOURCE, SINK, *inner]
    edges = []
    for _ in range(generator.randint(1, 25)):
        a, b = generator.sample(vertices, 2)
        edges.append((a, b, generator.randint(0, 9)))
    cut = Cut()
    for edge in edges:
        cut.add(*edge)
    found = {str(vertex) for vertex in cut.sink_side()}
    assert SINK in found
    assert SOURCE not in found
    every = [{SINK, *chosen} for size in range(len(inner) + 1) for chosen in combinations(inner, size)]
    least = min(cost_of(edges, side) for side in every)
    assert cost_of(edges, found) == least
    assert len(found) == min(len(side) for side in every if cost_of(edges, side) == least)


@pytest.mark.parametrize("case", range(20))
def test_no_other_placement_is_cheaper(case: int) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    generator = random.Random(seed)
    graph = random_chain(generator, generator.randint(2, 7))
    host = HOST_MODELS["cortex-a9"]
    movable = [node.name for node in graph.nodes if generator.random() < 0.8]
    fixed = {node.name for node in graph.nodes if node.name not in movable and generator.random() < 0.5}
    here = {node.name: generator.choice((1e-6, 1e-4, 1e-2)) for node in graph.nodes}
    there = {node.name: host_seconds(node, graph, host) for node in graph.nodes if node.name in movable}
    moved = cheapest_on_host(graph, fixed, there, here, host)
    forced = {node.name for node in graph.nodes} - set(movable) - fixed
    every = [forced | set(chosen) for size in range(len(movable) + 1) for chosen in combinations(movable, size)]
    costs = [total_cost(graph, side, here, host, WORTH_IT) for side in every]
    assert total_cost(graph, moved | forced, here, host, WORTH_IT) == pytest.approx(min(costs), rel=1e-6)


def chain() -> Graph:
    """Four convolutions in a row, each of less than 1 ms on the host."""
    return random_chain(NoShortcuts(), 4)


class NoShortcuts(random.Random):
    """Draws chains of convolutions of 64 channels."""

    def random(self) -> float:
        return 1.0

    def choice(self, values):  # type: ignore[no-untyped-def]
        return values[-1]


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        ((1e-6, 1e-6, 1e-6, 1e-6), []),
        ((1, 1, 1, 1), []),  # nothing would be left
        ((1, 1, 1e-6, 1e-6), [("n0", "n1")]),
        ((1e-6, 1e-6, 1e-6, 1), [("n3",)]),
        ((0, 1, 0, 0), []),  # alone between two layers
        ((0, 1, 1, 0), [("n1", "n2")]),
    ],
)
def test_regions_that_move(here, expected):
    """here: seconds on the target, of the first to the last node; 0: it has to stay."""
    graph, host = chain(), HOST_MODELS["cortex-a9"]
    times = dict(zip(["n0", "n1", "n2", "n3"], here, strict=True))
    movable = {name for name, seconds in times.items() if seconds}
    found = moves(graph, movable, times.keys() - movable, lambda node: times[node.name], host)
    assert [move.nodes for move in found] == expected
    for move in found:
        assert move.here > MUCH * move.there
        inside = sum(times[name] for name in move.nodes)
        assert move.there < move.here
        assert move.here == pytest.approx(inside, rel=1e-3)  # a second each: transfers are nothing
        assert move.reason.startswith("faster on the host: ")


def test_a_region_between_layers_has_to_gain_much():
    graph, host = chain(), HOST_MODELS["cortex-a9"]
    seconds = sum(host_seconds(node, graph, host) for node in graph.nodes[1:3])

    def moved(gain: float) -> list[tuple[str, ...]]:
        return [move.nodes for move in moves(graph, {"n1", "n2"}, {"n0", "n3"}, lambda node: gain * seconds / 2, host)]

    assert moved(8 * MUCH) == [("n1", "n2")]
    assert cheapest_on_host(graph, {"n0", "n3"}, {"n1": 1e-6, "n2": 1e-6}, {"n1": 3e-3, "n2": 3e-3}, host) == {"n1", "n2"}
    assert moved(3) == []


def test_what_has_to_stay_stays():
    graph, host = chain(), HOST_MODELS["cortex-a9"]
    found = moves(graph, {"n2", "n3"}, {"n0", "n1"}, lambda node: 1.0, host)
    assert [move.nodes for move in found] == [("n2", "n3")]
