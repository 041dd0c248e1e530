"""Which groups compute on levels: those that form an island worth the way from floats to levels and back.

An island is groups with an integer form that read each other's tensors. It is quantised when it holds a layer, or two operators
that compute (pools, pairs): one alone, between a quantize and a dequantize, moves more than it computes. At the shores of an
island with layers some operators are left in float, where they are more exact and cost no conversion more:

    leading    functions of one number, constants of channels, and pairs whose operands all come in as floats
    trailing   functions of one number, arithmetic with constants, and concats of tensors of unlike ranges, which a common scale
               would cost a bit or more, whose results are read as floats alone
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from vdla.compiler.operators.registry import OPERATORS
from vdla.compiler.quantise.histogram import Range
from vdla.compiler.quantise.plan import LAYERS, Form, Group

COMPUTES = LAYERS | {Form.PAIR, Form.PRODUCT, Form.POOL, Form.BATCH_NORM}
LEADING = frozenset({Form.TABLE, Form.CLIP, Form.CHANNELS, Form.PAIR, Form.PRODUCT, Form.BATCH_NORM})
TRAILING = frozenset({Form.TABLE, Form.CHANNELS})
JOINS = frozenset({Form.PAIR, Form.PRODUCT})


def choose(groups: Sequence[Group], ranges: Mapping[str, Range], in_float: Collection[str] = ()) -> list[Group]:
    """The groups, those `quantised` that are to be. ranges: of all activations that have an integer form. in_float: anchors'
    names that stay float whatever they are."""
    able = [group for group in groups if group.form is not None and group.anchor.name not in in_float]
    chosen: set[str] = set()
    for island in islands(able):
        if any(group.form in LAYERS for group in island):
            chosen |= {group.anchor.name for group in trimmed(island, ranges)}
        elif sum(computes(group) for group in island) > 1:
            chosen |= {group.anchor.name for group in island}
    return [replace(group, quantised=group.anchor.name in chosen) for group in groups]


def islands(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups by the tensors that join them, each island in order."""
    maker = {name: group for group in groups for name in group.outputs}
    parent = {group.anchor.name: group.anchor.name for group in groups}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for group in groups:
        for name in group.data:
            if name in maker:
                parent[root(group.anchor.name)] = root(maker[name].anchor.name)
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(root(group.anchor.name), []).append(group)
    return list(found.values())


def computes(group: Group) -> bool:
    """Whether it is what makes an island of two worth while; tables and moves are not, the host does as well in float."""
    return group.form in COMPUTES or bool(OPERATORS[group.anchor.op].integer_form)


def trails(group: Group, ranges: Mapping[str, Range]) -> bool:
    """Whether the group is better left in float where floats alone read it. What has no range is a constant."""
    if group.form is Form.CONCAT:
        widths = [ranges[name].high - ranges[name].low for name in group.inputs if name in ranges]
        return min(widths) < max(widths) / 2
    return group.form in TRAILING or (group.form in JOINS and any(name not in ranges for name in group.inputs))


def trimmed(island: Sequence[Group], ranges: Mapping[str, Range]) -> list[Group]:
    """An island without what is better left in float at its shores."""
    kept = list(island)
    while True:
        made = {name for group in kept for name in group.outputs}
        read = {name for group in kept for name in group.data}
        inner = [
            group
            for group in kept
            if not (group.form in LEADING and not any(name in made for name in group.data))
            and not (trails(group, ranges) and not any(name in read for name in group.outputs))
        ]
        if len(inner) == len(kept):
            return kept
        kept = inner
