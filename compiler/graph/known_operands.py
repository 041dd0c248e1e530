"""Constants that a quantised model keeps as levels are the numbers they stand for, but where they are a layer's weights.

    before   add(x, dequantize(levels))          batch_norm(x, dequantize(levels), …)
    after    add(x, constant)                    mul and add of constants

A sum with a constant is then a bias, an activation function spelt out a function of one number.
"""

from __future__ import annotations

import numpy as np

from vdla.compiler.graph.fold_affine import lower_batch_norm
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.rewrite import Change, Context, Rules, named_apart, rewrite
from vdla.compiler.graph.weights import read_weights, real
from vdla.compiler.operators.registry import OPERATORS

NORMS = tuple(name for name in OPERATORS if name.endswith("_norm"))


def known_operands(graph: Graph) -> Graph:
    """Apply the rules to elementwise operators and normalisations."""
    elementwise = [op for op, record in OPERATORS.items() if record.is_elementwise and op not in ("quantize", "dequantize")]
    rules: Rules = {**dict.fromkeys((*elementwise, *NORMS), [known]), "batch_norm": [known, lower_batch_norm]}
    return named_apart(rewrite(graph, rules))


def known(context: Context, node: Node) -> Change:
    """add(x, dequantize(constant)) → add(x, constant)"""
    inputs = []
    for name in node.inputs:
        weights = read_weights(context, name) if name else None
        if weights is None or weights.scale is None:
            inputs.append(name)
        else:
            inputs.append(context.add_constant(f"{name}.real", real(weights).astype(np.float32)))
    if inputs == list(node.inputs):
        return None
    return [context.make(node.op, inputs, node.outputs[0], node.attributes, name=node.name, source=node.source)]
