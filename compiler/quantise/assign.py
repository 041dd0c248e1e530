"""What the int8 levels of each tensor mean: from calibrated ranges, with tensors that must agree made to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vdla.compiler.graph.graph import Graph
from vdla.compiler.quantise.affine import Affine
from vdla.compiler.quantise.emit import UNCLIPPED
from vdla.compiler.quantise.histogram import Range
from vdla.compiler.quantise.plan import Form, Group, within
from vdla.compiler.quantise.scales import affine_from_range, symmetric_from_range


def tensors_to_observe(graph: Graph, groups: Iterable[Group]) -> tuple[str, ...]:
    """Every activation that may exist as int8."""
    able = [group for group in groups if group.form is not None]
    names = dict.fromkeys(name for group in able for name in (*group.data, *group.outputs))
    return tuple(name for name in names if name not in graph.constants)


def assign_affines(graph: Graph, groups: Sequence[Group], ranges: Mapping[str, Range]) -> dict[str, Affine]:
    """Tensor → what its int8 levels mean.

    Its own range; but a tensor that only a concat reads takes the concat's, so that concat needs no arithmetic; what inherits
    its meaning keeps its input's; and a factor of a matrix product is symmetric, since zero points of both would cost sums.
    """
    chosen = [group for group in groups if group.quantised]
    tree = Inheritance(graph, chosen)
    clips = {group.output: group.clip for group in chosen}
    symmetric = {tree.root(name) for group in chosen if group.form is Form.MATMUL for name in group.inputs}
    affines = {}
    for name, found in ranges.items():
        clip = clips.get(name, UNCLIPPED)
        low, high = within(found.low, *clip), within(found.high, *clip)
        affines[name] = symmetric_from_range(low, high) if name in symmetric else affine_from_range(low, high)
    for group in reversed(chosen):  # backwards, so that concats of concats agree
        if group.form is Form.CONCAT:
            wanted = affines[tree.root(group.output)]
            alone = [name for name in group.inputs if tree.only_for(name, group)]
            affines.update({tree.root(name): wanted for name in alone})
    return affines | {name: affines[tree.root(name)] for name in tree.source}  # in place of its own range


@dataclass
class Inheritance:
    """Which tensors mean what another means. source: tensor → the one its levels come from, unchanged."""

    graph: Graph
    groups: Sequence[Group]
    source: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.readers = self.graph.consumers()
        for group in self.groups:
            if group.keeps_levels:
                self.source.update(dict.fromkeys(group.outputs, group.inputs[0]))

    def root(self, name: str) -> str:
        while name in self.source:
            name = self.source[name]
        return name

    def only_for(self, name: str, group: Group) -> bool:
        """Whether the tensor, and each its levels come from, ends in this group alone."""
        if name in self.graph.constants:
            return False
        while True:
            if name in self.graph.outputs or len(self.readers[name]) != 1:
                return False
            if name not in self.source:
                return True
            name = self.source[name]
