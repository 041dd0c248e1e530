"""Enough about a run for someone else to do it again."""

from __future__ import annotations

import hashlib
import shlex
import sys

import numpy as np

from vdla.compiler.graph.graph import Graph


def graph_hash(graph: Graph) -> str:
    """16 hex digits over a graph's nodes, attributes, types and constants."""
    digest = hashlib.sha256()
    for node in graph.nodes:
        digest.update(repr((node.name, node.op, node.inputs, node.outputs, sorted(node.attributes.items()))).encode())
    for name in sorted(graph.tensors):
        digest.update(repr((name, graph.tensors[name])).encode())
    for name in sorted(graph.constants):
        digest.update(np.ascontiguousarray(graph.constants[name]).view(np.uint8).data)
    return digest.hexdigest()[:16]


def command_line() -> str:
    """The command this process was started by, as a shell would take it."""
    return shlex.join(["vdla", *sys.argv[1:]])
