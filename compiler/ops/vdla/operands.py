"""A node's operands as the accelerator sees them: the image of a tensor, parameters for each channel, the identity tile."""

from __future__ import annotations

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.ops.vdla.packing import pack_parameters
from vdla.design import Design
from vdla.errors import CompileError


def image_of(graph: Graph, tensor: str) -> tuple[int, int, int, int]:
    """(N, C, H, W) of a tensor; a matrix has H = W = 1. Raises `CompileError` for any other number of dimensions."""
    shape = graph.type_of(tensor).shape
    if len(shape) not in (2, 4):
        raise CompileError(
            "the accelerator's tensors have 2 or 4 dimensions", where=tensor, found=shape, expected="(N, C) or (N, C, H, W)"
        )
    n, c, h, w = (*shape, 1, 1)[:4]
    return n, c, h, w


def identity_tile(design: Design) -> np.ndarray:
    """int8[1, block_out, block_in]: a micro-op with it widens an int8 tile to int32."""
    return np.eye(design.gemm.block_out, dtype=np.int8)[None]


def widening_tiles(design: Design, count: int) -> np.ndarray:
    """int8[count, block_out, block_in]: the identity tile, and one that spreads the first lane over all."""
    spread = np.zeros_like(identity_tile(design))
    spread[:, :, 0] = 1
    return np.concatenate([identity_tile(design), spread])[:count]


def packed_parameters(node: Node, graph: Graph, design: Design, bias: int, groups: int = 1) -> np.ndarray:
    """int32[groups, blocks of each, 2, batch, block_out] of one parameter for each output channel. The blocks of a group follow
    the last one's. bias: the position of the bias among the node's inputs, before that of the scale words."""
    values, scale = (graph.constants[node.inputs[k]] for k in (bias, bias + 1))
    packed = pack_parameters(values, scale, graph.type_of(node.outputs[0]).shape[1], 1, design)
    return packed.reshape(groups, -1, *packed.shape[2:])
