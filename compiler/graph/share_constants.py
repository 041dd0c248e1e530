"""Constants that are equal become one: the weights that a recurrence's steps share are quantised once for each step.

before   qconv2d(h0, w0) … qconv2d(h1, w1)      w0 = w1
after    qconv2d(h0, w0) … qconv2d(h1, w0)
"""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

import numpy as np

from vdla.compiler.graph.graph import Graph

WORTH = 1 << 10
"""Bytes from which it matters whether there is one or two."""


def share_constants(graph: Graph) -> Graph:
    """The same graph with one name for each large constant."""
    known: dict[tuple[object, ...], list[str]] = {}
    same: dict[str, str] = {}
    for name, array in graph.constants.items():
        if array.nbytes < WORTH:
            continue
        alike = known.setdefault((array.shape, str(array.dtype), crc32(np.ascontiguousarray(array).data)), [])
        first = next((other for other in alike if np.array_equal(graph.constants[other], array)), "")
        if first:
            same[name] = first
        else:
            alike.append(name)
    if not same:
        return graph
    return graph.with_nodes(replace(node, inputs=tuple(same.get(name, name) for name in node.inputs)) for node in graph.nodes)
