"""Rearrangements that cut channels into parts, as what VDLA has kernels for: channels gathered, tiles moved, channels gathered.

    before   reshape (N, 2, C/2, H, W) → transpose (0, 2, 1, 3, 4) → reshape (N, C, H, W)          a channel shuffle
    after    gather [0, C/2, 1, C/2 + 1, …] along the channels

    before   depth_to_space of 4 × 3 channels, on blocks of 16
    after    gather, each pixel's 3 channels to a block of their own → rearrange, tile by tile → slice, its 3 channels: a view

A chain of reshapes and transposes is one rearrangement (`graph.moves`). Its channels are those parts that leave the axis, `L`,
or enter it, `E`, and those that stay, `S`, which must be whole tiles while the others move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from vdla.arithmetic import round_up
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.moves import Move, composed, cuts, move, pieces, reshaping, transposing
from vdla.compiler.operators.registry import infer_type
from vdla.design import Design

Shape = tuple[int, ...]
STEPS = ("reshape", "transpose", "depth_to_space")


@dataclass(frozen=True)
class Parts:
    """A rearrangement of images. sizes: of its parts, in the order of the source; source, target: the parts of each axis."""

    sizes: Shape
    source: tuple[tuple[int, ...], ...]
    target: tuple[tuple[int, ...], ...]

    def extents(self, parts: Sequence[int]) -> Shape:
        return tuple(self.sizes[part] for part in parts)


def rearrange_in_tiles(graph: Graph, design: Design, accepts: Callable[[Node, Graph], bool]) -> Graph:
    """Rewrite every chain between layers that the device `accepts`, but whose own nodes it does not."""
    producers, consumers = graph.producer(), graph.consumers()
    replaced: dict[str, list[Node]] = {}
    gone: set[str] = set()
    tensors: dict[str, TensorType] = {}
    constants: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        if node.op not in STEPS or node.name in gone or graph.type_of(node.outputs[0]).dtype != "int8":
            continue
        chain = chain_from(node, graph, consumers)
        last = chain[-1]
        before, after = producers.get(node.inputs[0]), consumers.get(last.outputs[0], [])
        beside = before is not None and before.op not in STEPS and accepts(before, graph)
        if not beside or not any(accepts(user, graph) for user in after) or all(accepts(step, graph) for step in chain):
            continue
        if (steps := as_steps(chain, graph, design)) is None:
            continue
        nodes, types, values = steps
        around = graph.with_nodes([*graph.nodes, *nodes], types, values)
        if not all(accepts(step, around) for step in nodes):
            continue
        replaced[last.name] = nodes
        gone |= {step.name for step in chain}
        tensors |= types
        constants |= values
    kept = [new for node in graph.nodes for new in replaced.get(node.name, [] if node.name in gone else [node])]
    return graph.with_nodes(kept, tensors, constants) if replaced else graph


def chain_from(node: Node, graph: Graph, consumers: Mapping[str, Sequence[Node]]) -> list[Node]:
    """The node and those behind it, each the only reader of the one before."""
    chain = [node]
    while True:
        name = chain[-1].outputs[0]
        users = consumers.get(name, [])
        if len(users) != 1 or users[0].op not in STEPS or name in graph.outputs:
            return chain
        chain.append(users[0])


def move_of(node: Node, graph: Graph) -> Move:
    source, result = (graph.type_of(name).shape for name in (node.inputs[0], node.outputs[0]))
    if node.op == "reshape":
        return reshaping(source, result)
    if node.op == "transpose":
        return transposing(source, node.attributes["permutation"])
    (n, c, h, w), (rows, columns) = source, node.attributes["blocks"]
    return move(source, (n, rows, columns, c // (rows * columns), h, w), (0, 3, 4, 1, 5, 2), result)


def parts_of(chain: Sequence[Node], graph: Graph) -> Parts | None:
    """None where its ends are no images, or parts cut across each other."""
    whole: Move | None = move_of(chain[0], graph)
    for node in chain[1:]:
        whole = composed(whole, move_of(node, graph)) if whole else None
    if whole is None or any(len(shape) not in (2, 4) for shape in (whole.source, whole.result)):
        return None
    source, result = ((*shape, 1, 1)[:4] for shape in (whole.source, whole.result))
    if (cut := cuts(Move(source, whole.parts, whole.order, result))) is None:
        return None
    sizes = tuple(size for part in cut for size in part)
    order = [piece for part in whole.order for piece in pieces(whole.parts, sizes)[part]]
    target = pieces(result, tuple(sizes[piece] for piece in order))
    return Parts(
        sizes, tuple(map(tuple, pieces(source, sizes))), tuple(tuple(order[place] for place in group) for group in target)
    )


def as_steps(
    chain: Sequence[Node], graph: Graph, design: Design
) -> tuple[list[Node], dict[str, TensorType], dict[str, np.ndarray]] | None:
    """The chain as gather, rearrange and gather, as far as they are needed; None where images move."""
    p = parts_of(chain, graph)
    if p is None or p.source[0] != p.target[0]:
        return None
    leaving = [part for part in p.source[1] if part not in p.target[1]]
    entering = [part for part in p.target[1] if part not in p.source[1]]
    staying = [part for part in p.target[1] if part in p.source[1]]
    width = prod(p.extents(staying))
    held = round_up(width, design.channel_block) if leaving or entering else width
    first = np.arange(prod(p.extents(p.source[1]))).reshape(p.extents(p.source[1]))
    first = first.transpose([p.source[1].index(part) for part in (*leaving, *staying)]).reshape(-1, width)
    first = np.pad(first, ((0, 0), (0, held - width))).reshape(-1)
    last = np.arange(prod(p.extents(entering)) * held).reshape(-1, held)[:, :width]
    last = last.reshape(p.extents((*entering, *staying)))
    last = last.transpose([(*entering, *staying).index(part) for part in p.target[1]]).reshape(-1)

    steps = Steps(chain[-1], graph, chain[0].inputs[0])
    n, c, h, w = (*graph.type_of(chain[0].inputs[0]).shape, 1, 1)[:4]
    if not np.array_equal(first, np.arange(c)):
        steps.gather(first)
    images = [n] if n > 1 else []
    channels = [held] if held > 1 else []
    in_order = [*([p.source[0]] if images else []), *((part,) for part in leaving), *([tuple(staying)] if channels else [])]
    in_order += [(part,) for d in (2, 3) for part in p.source[d]]
    sizes = (*images, *p.extents(leaving), *channels, *(size for d in (2, 3) for size in p.extents(p.source[d])))
    wanted = [*([p.source[0]] if images else []), *((part,) for part in entering), *([tuple(staying)] if channels else [])]
    wanted += [(part,) for d in (2, 3) for part in p.target[d]]
    shape = (n, prod(p.extents(entering)) * held, *(prod(p.extents(p.target[d])) for d in (2, 3)))
    if in_order != wanted or shape[2:] != (h, w):
        steps.add("rearrange", {"parts": sizes, "order": tuple(map(in_order.index, wanted)), "shape": shape})
    if len(last) < shape[1] and np.array_equal(last, np.arange(len(last))):
        steps.add("slice", {"starts": (0,) * 4, "steps": (1,) * 4, "sizes": (n, len(last), *shape[2:])})
    elif not np.array_equal(last, np.arange(shape[1])):
        steps.gather(last)
    return steps.finished()


class Steps:
    """Nodes in place of a chain, the last of which has the chain's output."""

    def __init__(self, last: Node, graph: Graph, source: str) -> None:
        self.last, self.graph, self.tensor = last, graph, source
        self.nodes: list[Node] = []
        self.tensors: dict[str, TensorType] = {}
        self.constants: dict[str, np.ndarray] = {}

    def add(self, op: str, attributes: dict[str, object], *others: str) -> None:
        types = [self.tensors.get(name) or self.graph.type_of(name) for name in (self.tensor,)]
        types += [TensorType(self.constants[name].shape, "int64") for name in others]
        output = f"{self.last.outputs[0]}.{op}{len(self.nodes)}"
        self.tensors[output] = infer_type(op, types, attributes)
        name = f"{self.last.name}.{op}{len(self.nodes)}"
        self.nodes.append(Node(name, op, (self.tensor, *others), (output,), attributes, self.last.source))
        self.tensor = output

    def gather(self, indices: np.ndarray) -> None:
        name = f"{self.last.name}.channels{len(self.nodes)}"
        self.constants[name] = indices.astype(np.int64)
        self.tensors[name] = TensorType(indices.shape, "int64")
        self.add("gather", {"axis": 1}, name)

    def finished(self) -> tuple[list[Node], dict[str, TensorType], dict[str, np.ndarray]]:
        """With a reshape at the end, a view, which gives the chain's output its shape and name."""
        shape = self.graph.type_of(self.last.outputs[0]).shape
        node = Node(self.last.name, "reshape", (self.tensor,), self.last.outputs, {"shape": shape}, self.last.source)
        return [*self.nodes, node], self.tensors, self.constants
