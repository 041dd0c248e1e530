"""Which target runs each node, and why; and the order that makes runs of consecutive nodes on one target as long as can be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.targets.backend import Backend, Run
from vdla.compiler.targets.cheaper import moves
from vdla.compiler.targets.wishes import Wish, asked_for
from vdla.design import Design
from vdla.host_models import host_model

IDLE = "a copy on the host: no accelerator layer runs beside it"


@dataclass(frozen=True)
class Placement:
    """Node name → the name of its target, and the reason in words: the target's for taking it, or that of the target preferred
    most for not taking it."""

    targets: Mapping[str, str]
    reasons: Mapping[str, str]

    def because(self, causes: Mapping[str, str], host: str) -> Placement:
        """The same, with a cause by node in place of the target's reason for each that is on the host for want of a kernel."""
        here = {name for name, target in self.targets.items() if target == host and not asked_for(self.reasons[name])}
        return Placement(self.targets, {**self.reasons, **{name: why for name, why in causes.items() if name in here}})


def place_and_partition(
    graph: Graph, backends: Sequence[Backend], design: Design | None, wishes: Mapping[str, Wish] = MappingProxyType({})
) -> tuple[Placement, list[Run]]:
    """Placement and runs. backends: the preferred first, the host last, which is given what the others refuse. wishes: node
    name → where the user wants it.

    A run that would leave its target nothing to do goes to the host, and so does a region that is faster there: if the design
    names its host, of whom there is a model. Raises `CompileError` for a wish that cannot be granted.
    """
    *preferred, host = backends
    by_name = {backend.name: backend for backend in backends}
    away = {name: wish.reason for name, wish in wishes.items() if wish.target == host.name}
    wanted = {name: wish for name, wish in wishes.items() if wish.target != host.name}
    compared = False
    while True:
        placement = place(graph, preferred, host, design, away, wanted)
        runs = partition(graph, placement, [host.name, *(backend.name for backend in preferred)])
        idle = {node.name: IDLE for run in runs if by_name[run.target].idle(run.nodes, graph) for node in run.nodes}
        if not idle and not compared:
            idle, compared = cheaper_on_host(graph, placement, by_name, design, wanted), True
        if not idle:
            return placement, runs
        if refused := next((name for name in idle if name in wanted and wanted[name].strict), None):
            raise wanted[refused].error(refused, idle[refused])
        away |= idle


def cheaper_on_host(
    graph: Graph, placement: Placement, backends: Mapping[str, Backend], design: Design | None, wanted: Collection[str]
) -> dict[str, str]:
    """Node → the reason for which it had better run on the host; nothing where the design names none."""
    if design is None or design.board is None:
        return {}
    reasons: dict[str, str] = {}
    for backend in backends.values():
        if backend.seconds is None:
            continue
        mine = {name for name, target in placement.targets.items() if target == backend.name}
        here = partial(seconds_on, backend, graph, design)
        found = moves(graph, mine - set(wanted), mine & set(wanted), here, host_model(design.host_name))
        reasons |= {name: move.reason for move in found for name in move.nodes}
    return reasons


def seconds_on(backend: Backend, graph: Graph, design: Design, node: Node) -> float:
    assert backend.seconds is not None
    return backend.seconds(node, graph, design)


def place(
    graph: Graph,
    preferred: Sequence[Backend],
    host: Backend,
    design: Design | None,
    away: Mapping[str, str] = MappingProxyType({}),
    wanted: Mapping[str, Wish] = MappingProxyType({}),
) -> Placement:
    """Each node on the first target that takes it, else on the host. away: nodes that are on the host whoever takes them, with
    the reason. wanted: where a node has to be; raises `CompileError` with the target's reason where it cannot."""
    targets: dict[str, str] = {}
    reasons: dict[str, str] = {}
    producers = graph.producer()
    judges = {backend.name: backend.judge_for(graph, design) for backend in preferred}
    for node in graph.nodes:
        refusals = []
        wish = wanted.get(node.name)
        for name, judge in judges.items():
            if node.name in away or (wish is not None and wish.target != name):
                continue
            beside = [x for x in node.inputs if x in producers and targets[producers[x].name] == name]
            verdict = judge(node, beside)
            if verdict.accepted:
                targets[node.name], reasons[node.name] = name, wish.reason if wish else verdict.reason
                break
            if wish is not None and wish.strict:
                raise wish.error(node.name, verdict.reason)
            refusals.append(verdict.reason)
        else:
            targets[node.name] = host.name
            reasons[node.name] = away.get(node.name) or (refusals[0] if refusals else "nothing else was asked")
    return Placement(targets, reasons)


def partition(graph: Graph, placement: Placement, names: Sequence[str]) -> list[Run]:
    """Runs in an executable order: target after target in turn, every node of it that is ready, so that runs are maximal."""
    pending = {node.name: node for node in graph.nodes}
    ready = set(graph.inputs) | set(graph.constants) | {""}
    runs: list[Run] = []
    turn = 0
    while pending:
        target = names[turn % len(names)]
        taken: list[Node] = []
        for node in list(pending.values()):
            if placement.targets[node.name] == target and all(name in ready for name in node.inputs):
                taken.append(pending.pop(node.name))
                ready.update(node.outputs)
        if taken:
            runs.append(Run(target, tuple(taken)))
        turn += 1
    return runs


def joined(runs: Sequence[Run]) -> list[Run]:
    """Neighbouring runs on one target as one; empty ones gone."""
    result: list[Run] = []
    for run in runs:
        if not run.nodes:
            continue
        if result and result[-1].target == run.target:
            result[-1] = Run(run.target, result[-1].nodes + run.nodes)
        else:
            result.append(run)
    return result
