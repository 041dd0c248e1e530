"""What of a network is faster on the host than on the target that would take it, conversions counted: a minimum cut.

Every node has a cost on each side, its seconds there; every tensor that crosses costs its conversion, once for all who read it:

    on the target     the layer's time by the target's own estimate
    on the host       the operator's time in the host model, and half as much again: a move has to be worth it
    into the target   to lay the tensor out, and to start a program
    out of it         to bring the tensor back into the host's layout
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.work import work_of
from vdla.compiler.targets.min_cut import INFINITE, SINK, SOURCE, Cut
from vdla.host_models import HostModel, kernel_seconds
from vdla.text import duration

Seconds = Callable[[Node], float]
WORTH_IT = 1.5
"""How much faster a region has to be on the host: both times are estimates."""
MUCH = 4.0
"""And one between two layers of the target: such a move puts the host into the middle of the network."""
TICKS = 1e12
"""Of the cut's whole numbers, in a second."""


def host_seconds(node: Node, graph: Graph, host: HostModel) -> float:
    """The node as a kernel of its own on the host."""
    work = work_of(node, graph)
    return kernel_seconds(host, work.macs, work.operations, work.bytes, work.floats)


def conversion_seconds(size: int, host: HostModel) -> float:
    """To lay out a tensor of `size` bytes anew, which reads and writes each."""
    return kernel_seconds(host, 0, size, 2 * size, floats=False)


@dataclass(frozen=True, slots=True)
class Move:
    """Nodes that follow one another and are faster on the host, in seconds: there, and here with the transfers it saves."""

    nodes: tuple[str, ...]
    there: float
    here: float

    @property
    def reason(self) -> str:
        others = f" with {len(self.nodes) - 1} beside it" if len(self.nodes) > 1 else ""
        return f"faster on the host: {duration(self.there)} there, {duration(self.here)} here with its transfers{others}"


def moves(graph: Graph, movable: Collection[str], fixed: Collection[str], here: Seconds, host: HostModel) -> list[Move]:
    """The regions to move, in the graph's order; none where nothing with products, if there is such, would be left on the
    target: whoever names a design for so small a network wants to see it there.

    movable: nodes that the target would take. fixed: others that stay on it whatever they cost. All others are on the host.
    """
    there = {node.name: host_seconds(node, graph, host) for node in graph.nodes if node.name in movable}
    times = {node.name: here(node) for node in graph.nodes if node.name in movable}
    moved = cheapest_on_host(graph, fixed, there, times, host)
    everything = set(movable) | set(fixed)
    onto = everything - moved
    layers = {node.name for node in graph.nodes if node.name in everything and work_of(node, graph).macs} or everything
    if not layers & onto:
        return []
    found = [region_move(region, graph, there, times, onto, host) for region in regions(graph, moved)]
    return [move for move in found if pays(move, graph, onto)]


def cheapest_on_host(
    graph: Graph, fixed: Collection[str], there: Mapping[str, float], here: Mapping[str, float], host: HostModel
) -> set[str]:
    """Which of the nodes that `there` and `here` have times of are on the host where all costs together are least."""
    cut = Cut()
    for node in graph.nodes:
        if node.name in there:
            cut.add(("node", node.name), SINK, ticks(here[node.name]))
            cut.add(SOURCE, ("node", node.name), ticks(WORTH_IT * there[node.name]))
        elif node.name in fixed:
            cut.add(SOURCE, ("node", node.name), INFINITE)
        else:
            cut.add(("node", node.name), SINK, INFINITE)
    producers, consumers = graph.producer(), graph.consumers()
    for name, seconds in crossings(graph, host).items():
        maker = ("node", producers[name].name) if name in producers else SINK
        cut.add(("into", name), maker, ticks(seconds + host.start_us * 1e-6))  # made on the host, read on the target
        if name in producers:
            cut.add(maker, ("out", name), ticks(seconds))
        for user in consumers.get(name, ()):
            cut.add(("node", user.name), ("into", name), INFINITE)
            cut.add(("out", name), ("node", user.name), INFINITE)
        if name in graph.outputs:
            cut.add(("out", name), SINK, INFINITE)
    side = cut.sink_side()
    return {vertex[1] for vertex in side if isinstance(vertex, tuple) and vertex[0] == "node" and vertex[1] in there}


def ticks(seconds: float) -> int:
    return round(seconds * TICKS)


def crossings(graph: Graph, host: HostModel) -> dict[str, float]:
    """Tensor → the seconds of its conversion, were it to cross."""
    made = [*graph.inputs, *(name for node in graph.nodes for name in node.outputs)]
    return {name: conversion_seconds(graph.type_of(name).bytes, host) for name in made if name}


def regions(graph: Graph, moved: Collection[str]) -> list[list[Node]]:
    """The moved nodes, those together that tensors join."""
    producers = graph.producer()
    members: dict[str, list[Node]] = {}  # of the region that begins with this node
    region_of: dict[str, str] = {}
    for node in graph.nodes:
        if node.name not in moved:
            continue
        members[node.name], region_of[node.name] = [node], node.name
        before = [producers[name].name for name in node.inputs if name in producers]
        for first in dict.fromkeys(region_of[name] for name in before if name in region_of):
            if (mine := region_of[node.name]) != first:
                members[first] += members.pop(mine)
                region_of |= dict.fromkeys((member.name for member in members[first]), first)
    return list(members.values())


def pays(move: Move, graph: Graph, onto: Collection[str]) -> bool:
    """Whether a region that lies between layers of the target may leave it: never a single operator, others where it pays
    much, for the target's program is cut in two."""
    if not between(move.nodes, graph, onto):
        return True
    return len(move.nodes) > 1 and move.here > MUCH * move.there


def between(names: Collection[str], graph: Graph, onto: Collection[str]) -> bool:
    """Whether nodes of `onto` compute what the named ones read, and read what they compute."""
    inside, producers, consumers = set(names), graph.producer(), graph.consumers()
    nodes = [node for node in graph.nodes if node.name in inside]
    fed = any(name in producers and producers[name].name in onto for node in nodes for name in node.inputs)
    return fed and any(user.name in onto for node in nodes for name in node.outputs for user in consumers.get(name, ()))


def region_move(
    region: Sequence[Node],
    graph: Graph,
    there: Mapping[str, float],
    here: Mapping[str, float],
    onto: Collection[str],
    host: HostModel,
) -> Move:
    """What a region takes on either side of its border with `onto`, the nodes that stay on the target."""
    names = {node.name for node in region}
    producers, consumers = graph.producer(), graph.consumers()
    read = {x for node in region for x in node.inputs if x and x not in graph.constants}
    made = {x for node in region for x in node.outputs}
    extra_here = extra_there = 0.0
    for name in sorted(read | made):
        cost = conversion_seconds(graph.type_of(name).bytes, host)
        users = [user.name for user in consumers.get(name, ())]
        if name in made:
            if any(user in onto for user in users):
                extra_there += cost + host.start_us * 1e-6
            if name in graph.outputs or any(user not in onto and user not in names for user in users):
                extra_here += cost
        elif name in producers and producers[name].name in onto:
            others = any(user not in onto and user not in names for user in users) or name in graph.outputs
            extra_there += 0.0 if others else cost
        elif not any(user in onto for user in users):
            extra_here += cost + host.start_us * 1e-6
    return Move(
        tuple(node.name for node in region),
        sum(there[name] for name in names) + extra_there,
        sum(here[name] for name in names) + extra_here,
    )
