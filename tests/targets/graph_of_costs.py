"""Chains of convolutions with shortcuts, and what a placement of their nodes costs, counted tensor by tensor."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.targets.cheaper import conversion_seconds, host_seconds
from vdla.host_models import HostModel


def random_chain(generator: random.Random, length: int) -> Graph:
    """1×1 convolutions of 1 to 64 channels one after another, and additions of two maps of one shape."""
    maps, nodes, tensors, constants = ["x"], [], {"x": TensorType((1, 8, 16, 16), "float32")}, {}
    for k in range(length):
        alike = [name for name in maps[:-1] if tensors[name] == tensors[maps[-1]]]
        output = f"t{k}"
        if alike and generator.random() < 0.4:
            nodes.append(Node(f"n{k}", "add", (maps[-1], generator.choice(alike)), (output,)))
            tensors[output] = tensors[maps[-1]]
        else:
            channels = generator.choice((8, 8, 64))
            weight = np.zeros((channels, tensors[maps[-1]].shape[1], 1, 1), np.float32)
            constants[f"w{k}"] = weight
            tensors[f"w{k}"] = TensorType(weight.shape, "float32")
            nodes.append(Node(f"n{k}", "conv2d", (maps[-1], f"w{k}"), (output,)))
            tensors[output] = TensorType((1, channels, 16, 16), "float32")
        maps.append(output)
    return Graph("chain", ("x",), (maps[-1],), tuple(nodes), tensors, constants)


def total_cost(graph: Graph, on_host: set[str], here: Mapping[str, float], host: HostModel, worth_it: float) -> float:
    """Seconds of all nodes where they are, the host's times `worth_it`, and of each conversion once."""
    total = 0.0
    for node in graph.nodes:
        total += worth_it * host_seconds(node, graph, host) if node.name in on_host else here[node.name]
    makers = {name: node.name in on_host for node in graph.nodes for name in node.outputs} | dict.fromkeys(graph.inputs, True)
    for name, made_on_host in makers.items():
        readers = [node.name in on_host for node in graph.nodes if name in node.inputs]
        readers += [True] if name in graph.outputs else []
        seconds = conversion_seconds(graph.type_of(name).bytes, host)
        if made_on_host and not all(readers):
            total += seconds + host.start_us * 1e-6
        if not made_on_host and any(readers):
            total += seconds
    return total
