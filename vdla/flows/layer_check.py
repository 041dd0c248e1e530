"""Every layer of a run beside the integer reference, on what came in: a difference is charged to the layer that made it.

The reference is taken along step by step. Each tensor that the run shows is compared with what the reference makes of the
tensors before it as the run had them, and then takes the reference's place; what nothing needs any more is dropped.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.reference import run_node
from vdla.compiler.targets import Step
from vdla.element_types import ELEMENT_TYPES
from vdla.flows.difference import difference, tolerance_of


@dataclass
class LayerCheck:
    """graph: what the reference executes. exactly: the tensors that the accelerator's layers compute.

    exact: of those, whether each equals the reference's. differing: the tensors of the host out of tolerance. seconds: the
    reference's own. `observe` and `on_step` are for `Module.run`.
    """

    graph: Graph
    inputs: Mapping[str, np.ndarray]
    exactly: Collection[str]
    exact: dict[str, bool] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        graph = self.graph
        self._values: dict[str, np.ndarray] = {**graph.constants, **self.inputs}
        self._producers = graph.producer()
        self._position = {name: k for k, node in enumerate(graph.nodes) for name in node.outputs}
        self._readers = {name: len(users) for name, users in graph.consumers().items()}
        self._kept = {*graph.constants, *graph.outputs}
        self._done: set[str] = set()  # nodes that the reference has run
        self._shown = {*graph.constants, *self.inputs}  # tensors whose value is the run's own
        self._rounded: set[str] = set()  # computed from floats that the run did not show: last bits are the reference's
        self._waiting: dict[str, np.ndarray] = {}

    def observe(self, name: str, value: np.ndarray) -> None:
        """Take what a program is given, or a layer left; compared after the step, so that the device's time is its own."""
        if name in self._position and name not in self._waiting:
            self._waiting[name] = value.copy()
        elif not np.array_equal(self._waiting.get(name, self._values.get(name, value)), value):
            self._differs(name)

    def on_step(self, step: Step, made: Mapping[str, np.ndarray], seconds: float) -> None:
        begun = time.perf_counter()
        shown = {**{name: value for name, value in made.items() if name in self._position}, **self._waiting}
        self._waiting = {}
        for name in sorted(shown, key=self._position.__getitem__):
            self._compare(name, shown[name])
        self.seconds += time.perf_counter() - begun

    def _compare(self, name: str, found: np.ndarray) -> None:
        if self.graph.type_of(name).shape != found.shape:
            return  # a target's rewriting made another tensor of that name
        if name not in self._values:
            node = self._producers[name]
            if node.name in self._done:
                return  # shown again after its last use
            self._evaluate(node)
        expected = self._values[name]
        if name in self.exactly and name not in self.exact:
            self.exact[name] = bool(np.array_equal(found, expected))
        elif not (np.array_equal(found, expected) if self._is_exact(name) else alike(found, expected)):
            self._differs(name)
        self._values[name] = found
        self._shown.add(name)
        self._rounded.discard(name)

    def _is_exact(self, name: str) -> bool:
        """Whether rounding can make no difference: it was shown before, or is of integers alone."""
        return name in self._shown or name not in self._rounded

    def _differs(self, name: str) -> None:
        if name not in self.differing:
            self.differing.append(name)

    def _evaluate(self, wanted: Node) -> None:
        """Run a node of the reference, those that it still needs before it."""
        pending = [wanted]
        while pending:
            node = pending[-1]
            if node.name in self._done:  # two that wait needed it, and what it reads may be gone
                pending.pop()
                continue
            if needed := [x for x in node.inputs if x and x not in self._values]:
                pending += [self._producers[x] for x in dict.fromkeys(needed)]
                continue
            pending.pop()
            self._run(node)

    def _run(self, node: Node) -> None:
        self._done.add(node.name)
        made = run_node(node, self._values)
        floats = any(_is_float(self.graph, x) for x in (*node.inputs, *node.outputs) if x)
        if floats or any(x in self._rounded for x in node.inputs):
            self._rounded |= made.keys()
        self._values.update(made)
        for name in dict.fromkeys(node.inputs):
            if name in self._readers:
                self._readers[name] -= 1
                if not self._readers[name] and name not in self._kept:
                    self._values.pop(name, None)


def _is_float(graph: Graph, name: str) -> bool:
    return ELEMENT_TYPES[graph.type_of(name).dtype].is_float


def alike(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether what one kernel computed from floats may be told apart from the reference by rounding alone."""
    if found.dtype == np.int8:
        return rounded_alike(found, expected)
    if (element := ELEMENT_TYPES[str(found.dtype)]).is_float:
        return difference(found, expected).relative <= tolerance_of(element)
    return bool(np.array_equal(found, expected))


def rounded_alike(found: np.ndarray, expected: np.ndarray) -> bool:
    """Levels at most one apart, or in the root mean square half a level."""
    apart = np.abs(found.astype(np.float32) - expected.astype(np.float32))
    return bool(apart.max(initial=0) <= 1 or np.sqrt(np.mean(np.square(apart))) <= 0.5)
