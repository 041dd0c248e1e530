"""What a target is to the rest of the compiler: one record of functions, found by name in one registry.

    vdla.compiler.targets.backend_of("vdla").refusal(node, graph, design)

Placement, the driver, module files and the runtime ask the record; none of them knows a target by name. A target's name is
data: it stands in placements, steps, module files and reports. Devices (a simulator, the RTL, a board) are another thing:
what runs the programs of one target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.ops.configuration import Configs
from vdla.compiler.targets.wishes import Wish
from vdla.design import Design
from vdla.device import Device, Profile
from vdla.errors import CompileError
from vdla.isa.program import Program

Dump = Callable[[str, str], None]
"""Receives the name of a stage and its text (for --dump-ir)."""
Observe = Callable[[str, np.ndarray], None]
"""Receives a tensor's name in the quantised graph and its value, NCHW."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a target takes a node; `reason` in words, either way."""

    accepted: bool
    reason: str


Judge = Callable[[Node, Sequence[str]], Verdict]
"""Asked about each node in turn, with those of its inputs that the target itself computes."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive nodes on one target."""

    target: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Step:
    """What runs at once: some consecutive nodes of the placed graph on one target.

    program: the accelerator's, for a target whose steps run on a device. work: whatever else the target's `build` left.
    """

    target: str
    name: str
    nodes: tuple[Node, ...]
    program: Program | None = None
    work: Any = None


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """latency_hiding: double-buffer tiles so that loads, computation and stores overlap.

    targets: where operators may run, the preferred first; the host takes what they refuse. configs: the configuration of a
    kernel by its workload, in place of the default. fuse: on the host, operators share kernels; else each node is one. place:
    where the user wants nodes to be.
    """

    latency_hiding: bool = True
    targets: tuple[str, ...] = ("vdla",)
    configs: Configs = field(default_factory=dict)
    fuse: bool = True
    place: tuple[Wish, ...] = ()
    dump: Dump | None = None


@dataclass(frozen=True)
class Placed:
    """A network with every node on a target, as `Backend.build` sees it.

    graph: before layout operators, with the model's own tensors. laid_out: with them, in execution order; runs are its nodes.
    design: None when no target has programs.
    """

    graph: Graph
    laid_out: Graph
    runs: tuple[Run, ...]
    design: Design | None
    options: BuildOptions


@dataclass(frozen=True, slots=True)
class StepResult:
    """outputs: by tensor of the placed graph. profile: of a program that was timed."""

    outputs: Mapping[str, np.ndarray]
    profile: Profile | None = None


Runner = Callable[[Mapping[str, np.ndarray], bool, Observe | None], StepResult]
"""Runs one step: the values so far, whether to time it, and who wants to see what goes in and what each layer leaves."""


@dataclass(frozen=True)
class Bound:
    """What a step is bound to before it runs. quantised: whose tensors observers know; placed: with layout operators.

    device: None when no target has programs.
    """

    quantised: Graph
    placed: Graph
    device: Device | None


def _unchanged(graph: Graph, design: Design | None) -> Graph:
    return graph


def _as_they_are(graph: Graph, runs: Sequence[Run], design: Design | None) -> tuple[Graph, list[Run]]:
    return graph, list(runs)


def _nothing(*_: object) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Backend:
    """One target. Every function is given the design, which is None where no target has programs.

    refusal(node, graph, design): why it cannot run the node; empty when it can. Looks at types and constants only.
    build(placed): once for a network; what that returns makes the steps of each of the target's runs.
    runner(step, bound): a step made ready to run, any number of times.

    Optional:
    rewrite(graph, design): the graph as this target would rather have it, before placement.
    judge(graph, design): for a target that takes a node or not by what stands beside it; asks `refusal` if not given.
    idle(nodes, graph): whether these nodes alone would leave the target nothing to do; they go elsewhere then.
    layout(graph, runs, design): the placed graph and its runs with the operators that move tensors to and from the target.
    check(step, quantised, placed, known): raises `VdlaError` unless a step read from a file makes sense in these graphs, after
        tensors `known`, and adds its outputs to them.
    constants(step): constants of the placed graph that a run of the step reads.
    save(step), load(step, facts): what a file keeps of `work`, as JSON, and a step with it restored.
    template_of(workload): how this target builds a kernel (`ops.configuration.Template`).
    passes: lowering passes of its own, names and functions, behind those that all targets share.
    seconds(node, graph, design): an estimate of the time of a node that the target takes, on the target: what placement weighs
        against the host's. Without it whatever the target takes stays there.
    has_programs: its steps are programs of a design, which a device runs and times; it computes with integers.
    is_host: where operators end up that nothing else takes.
    """

    name: str
    refusal: Callable[[Node, Graph, Design | None], str]
    build: Callable[[Placed], Callable[[Run], list[Step]]]
    runner: Callable[[Step, Bound], Runner]
    rewrite: Callable[[Graph, Design | None], Graph] = _unchanged
    judge: Callable[[Graph, Design | None], Judge] | None = None
    idle: Callable[[Sequence[Node], Graph], bool] = lambda nodes, graph: False
    layout: Callable[[Graph, Sequence[Run], Design | None], tuple[Graph, list[Run]]] = _as_they_are
    check: Callable[[Step, Graph, Graph, set[str]], None] = lambda step, quantised, placed, known: None
    constants: Callable[[Step], Sequence[str]] = _nothing
    save: Callable[[Step], Mapping[str, Any]] = lambda step: {}
    load: Callable[[Step, Mapping[str, Any]], Step] = lambda step, facts: step
    template_of: Callable[[Any], Any] | None = None
    passes: tuple[tuple[str, Callable[..., Any]], ...] = ()
    seconds: Callable[[Node, Graph, Design], float] | None = None
    has_programs: bool = False
    is_host: bool = False

    def judge_for(self, graph: Graph, design: Design | None) -> Judge:
        """What decides which nodes of `graph` the target takes."""
        if self.judge is not None:
            return self.judge(graph, design)

        def judge(node: Node, beside: Sequence[str]) -> Verdict:
            why = self.refusal(node, graph, design)
            return Verdict(not why, why or f"a {self.name} kernel")

        return judge


_backends: dict[str, Backend] = {}


def register(backend: Backend) -> None:
    """Make a target known by its name."""
    assert backend.name not in _backends, f"two targets are called {backend.name}"
    _backends[backend.name] = backend


@contextmanager
def registered(backend: Backend) -> Iterator[None]:
    """`register` for a while."""
    register(backend)
    try:
        yield
    finally:
        del _backends[backend.name]


def target_names() -> tuple[str, ...]:
    return tuple(_backends)


def backend_of(name: str) -> Backend:
    """Raises `CompileError` for a target that there is not."""
    if name not in _backends:
        raise CompileError("no such target", found=name, expected=" or ".join(_backends))
    return _backends[name]


def have_programs(targets: Iterable[str]) -> bool:
    """Whether a model for these targets is quantised, and built for a design. Raises `CompileError` for one there is not."""
    return any(backend.has_programs for backend in [backend_of(name) for name in targets])


def host() -> Backend:
    """The target that takes what no other does."""
    return next(backend for backend in _backends.values() if backend.is_host)
