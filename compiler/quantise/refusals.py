"""Why what stays in float does: of each node the cause that holds for it, not its operator's usual one."""

from __future__ import annotations

from collections.abc import Sequence

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.plan import MAX_POOL_WINDOW, Group, counts_all

LEFT = "left in float: levels begin or end beside it, and in float it is more exact and costs no conversion more"
ALONE = "left in float: too little beside it computes on levels to be worth the way there and back"


def reasons_in_float(graph: Graph, groups: Sequence[Group]) -> dict[str, str]:
    """Node → why it is computed in float, for the members of every group that is not quantised."""
    on_levels = {name for group in groups if group.quantised for name in (*group.data, *group.outputs)}
    reasons: dict[str, str] = {}
    for group in groups:
        if not group.quantised:
            beside = any(name in on_levels for name in (*group.data, *group.outputs))
            for node in group.members:
                reasons[node.name] = refusal_to_quantise(graph, group, node) or (LEFT if beside else ALONE)
    return reasons


def refusal_to_quantise(graph: Graph, group: Group, node: Node | None = None) -> str:
    """Why a group, or a node of it, has no form in integers; empty where it has one."""
    node = node or group.anchor
    if group.form is not None:
        return ""
    for name in dict.fromkeys((*node.inputs, *node.outputs)):
        if name and name not in graph.constants and (dtype := graph.tensors[name].dtype) != "float32":
            return f"{name} is {dtype}, and only float32 becomes int8"
    if not any(name and name not in graph.constants for name in node.inputs):
        return "nothing of it depends on the model's inputs"
    return shape_refusal(graph, node) or f"no integer form of {node.op}"


def shape_refusal(graph: Graph, node: Node) -> str:
    """What about shapes, attributes and parameters is in the way; empty where nothing is known to be."""
    operator, a = OPERATORS[node.op], with_defaults(node.op, node.attributes)
    shape = graph.tensors[node.inputs[0]].shape
    computed = [name for name in node.inputs[1:] if name and name not in graph.constants]
    if (operator.channel_axis is not None or node.op == "batch_norm") and computed:
        return f"its parameters are not constant: {computed[0]} is computed"
    match node.op:
        case "dense" if len(shape) != 2:
            return f"its input has {len(shape)} dimensions, and rows in integers have 2"
        case "batch_norm" if len(shape) != 4:
            return f"its input has {len(shape)} dimensions, and images have 4"
        case "avg_pool2d" if not counts_all(a):
            return "its windows count unequally many elements: those over the border, or cut off by it"
        case "avg_pool2d" | "global_avg_pool" | "reduce_mean" if len(shape) == 4 and shape[2] * shape[3] > MAX_POOL_WINDOW:
            return f"its windows could overflow int32: more than {MAX_POOL_WINDOW} elements"
        case "reduce_mean":
            return f"its mean is over axes {list(a['axes'])} of {len(shape)} dimensions, not over an image's height and width"
        case "pad" if a["value"] != 0:
            return f"it pads with {a['value']}, which need not be a level"
        case _ if operator.rescaled_form or operator.product_form:
            shapes = " and ".join(str(list(graph.tensors[name].shape)) for name in node.inputs)
            return f"its operands do not broadcast channel by channel: {shapes}"
    return ""
