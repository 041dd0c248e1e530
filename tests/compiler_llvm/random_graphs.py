"""Random networks of everything the host runs, and NumPy's answer to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from vdla.compiler.graph.fuse import fuse
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.reference import run_node
from vdla.compiler.operators.operator import Operator
from vdla.compiler.operators.registry import OPERATORS, infer_types, with_defaults
from vdla.compiler.ops.cpu import build_group_kernel, varying_inputs
from vdla.isa.semantics import pack_scale


class Net:
    """A graph under construction; `op` returns the name of what a node computes."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: dict[str, TensorType] = {}
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[str] = []

    def input(self, shape: tuple[int, ...], dtype: str = "float32") -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(name)
        self.tensors[name] = TensorType(shape, dtype)
        return name

    def constant(self, value: Any, dtype: str = "float32") -> str:
        name, array = f"c{len(self.constants)}", np.ascontiguousarray(value, dtype)
        self.constants[name], self.tensors[name] = array, TensorType(array.shape, dtype)
        return name

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        (name,) = self.ops(op, *inputs, **attributes)
        return name

    def ops(self, op: str, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """All outputs of a node."""
        types = infer_types(op, tuple(self.tensors[i] if i else None for i in inputs), attributes)
        base = f"t{len(self.nodes)}"
        names = (base,) if len(types) == 1 else tuple(f"{base}.{k}" for k in range(len(types)))
        self.tensors.update(zip(names, types, strict=True))
        self.nodes.append(Node(f"{op}{len(self.nodes)}", op, inputs, names, attributes))
        return names

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def normal(self, *shape: int) -> str:
        return self.constant(self.random.standard_normal(shape))

    def parameters(self, channels: int) -> list[str]:
        """bias and scale."""
        bias = self.random.integers(-1000, 1000, channels)
        scale = pack_scale(self.random.integers(1 << 18, 1 << 19, channels), np.full(channels, 25), np.zeros(channels, int))
        return [self.constant(bias, "int32"), self.constant(scale, "int32")]

    def graph(self, *extra: str) -> Graph:
        """Every tensor nobody reads is an output, and `extra`."""
        read = {name for node in self.nodes for name in node.inputs}
        ends = [name for n in self.nodes for name in n.outputs if name not in read]
        outputs = tuple(dict.fromkeys((*ends, *extra)))
        return Graph("random", tuple(self.inputs), outputs, tuple(self.nodes), self.tensors, self.constants)

    def samples(self) -> dict[str, np.ndarray]:
        return {name: self.random.standard_normal(self.shape(name)).astype("float32") for name in self.inputs}


def tame(operator: Operator) -> bool:
    """Whether it takes any floats, nothing else, and hardly increases an error in them."""
    given = all(a.default is not None for a in operator.attributes.values())
    floats = all(i.dtypes[0] == "float32" for i in operator.inputs)
    return operator.is_elementwise and given and floats and operator.slope <= 2


TAME = [o for o in OPERATORS.values() if tame(o)]
UNARY = tuple(o.name for o in TAME if o.arity == (1, 1))
BINARY = ("mul", *(o.name for o in TAME if o.arity != (1, 1)))


def float_step(net: Net, x: str, others: list[str]) -> str:
    """One random operator on the image x."""
    n, c, h, w = net.shape(x)
    pick = net.random
    same = [name for name in others if net.shape(name) == net.shape(x)]
    match pick.choice(
        ["unary"] * 4
        + ["binary"] * 4
        + ["vector", "gate", "norm", "conv", "depth", "max", "avg", "move", "pad", "split", "where"]
        + ["reverse", "look up", "mirror", "repeat", "computed place", "extreme"]
    ):
        case "binary" if same:
            return net.op(str(pick.choice(BINARY)), x, same[int(pick.integers(len(same)))])
        case "where" if same:
            other = same[int(pick.integers(len(same)))]
            return net.op("where", net.op("greater", x, other), x, other)
        case "split" if c > 1:
            first = int(pick.integers(1, c))
            return net.op("concat", *net.ops("split", x, axis=1, sizes=(first, c - first))[::-1], axis=1)
        case "reverse":
            return net.op("slice", x, starts=(0, c - 1, 0, w - 1), steps=(1, -1, 1, -1), sizes=net.shape(x))
        case "look up":
            axis = int(pick.integers(4))
            return net.op(
                "gather", x, net.constant(pick.integers(0, (n, c, h, w)[axis], (n, c, h, w)[axis]), "int64"), axis=axis
            )
        case "mirror":
            padded = net.op("border_pad", x, before=(0, 0, 1, 2), after=(0, 0, 0, 1), mode=str(pick.choice(["edge", "wrap"])))
            return net.op("slice", padded, starts=(0, 0, 0, 1), steps=(1, 1, 1, 1), sizes=net.shape(x))
        case "repeat":
            twice = net.op(str(pick.choice(["repeat", "tile"])), x, repeats=(1, 1, 2, 2))
            return net.op("slice", twice, starts=(0, 0, 1, 0), steps=(1, 1, 2, 2), sizes=net.shape(x))
        case "computed place":
            places = net.op("arg_max", x, axis=3, keepdims=True)
            return net.op("expand", net.op("gather_elements", x, places, axis=3), shape=net.shape(x))
        case "extreme":
            return net.op("sub", x, net.op("reduce_max", x, axes=(1,), keepdims=True))
        case "vector":
            return net.op(str(pick.choice(BINARY)), x, net.normal(c, 1, 1))
        case "gate":
            return net.op("mul", x, net.op("sigmoid", net.op("global_avg_pool", x)))
        case "norm":
            return net.op("batch_norm", x, *(net.normal(c) for _ in range(3)), net.constant(pick.uniform(0.5, 2, c)))
        case "conv":
            kernel = int(pick.choice([1, 3]))
            out = int(pick.choice([c, 5]))
            scale = (c * kernel * kernel) ** -0.5
            weight = net.constant(scale * pick.standard_normal((out, c, kernel, kernel)))
            return net.op("conv2d", x, weight, net.normal(out), pads=(kernel // 2,) * 4)
        case "depth":
            weight = net.constant(pick.standard_normal((c, 1, 3, 3)) / 3)
            return net.op("conv2d", x, weight, groups=c, pads=(1, 1, 1, 1))
        case "max" if min(h, w) > 3:
            return net.op("max_pool2d", x, kernel=(3, 3), strides=(1, 1), pads=(1, 1, 1, 1))
        case "avg" if min(h, w) > 3:
            return net.op("avg_pool2d", x, kernel=(2, 2), strides=(1, 1), pads=(0, 0, 1, 1))
        case "move":
            moved = net.op("transpose", x, permutation=(0, 1, 3, 2))
            return net.op("reshape", moved, shape=(n, c, h, w)) if pick.integers(2) else moved
        case "pad" if max(h, w) < 20:
            return net.op("pad", x, before=(0, 0, 1, 0), after=(0, 0, 0, 2), value=0.5)
        case _:
            return net.op(str(pick.choice(UNARY)), x)


def float_network(seed: int) -> Net:
    net = Net(seed)
    images = [net.input((int(net.random.integers(1, 3)), int(net.random.integers(2, 7)), 9, int(net.random.integers(8, 30))))]
    for _ in range(12):
        images.append(float_step(net, images[-1 - int(net.random.integers(min(len(images), 2)))], images))
    net.op("reduce_mean", images[-1], axes=(2, 3), keepdims=False)
    return net


def integer_network(seed: int) -> Net:
    """quantise, integers through layouts and layers, and back to floats under elementwise operators."""
    net = Net(seed)
    pick = net.random
    n, c = int(pick.integers(1, 4)), int(pick.integers(1, 9))
    x = net.op("quantize", net.input((n, c, 10, int(pick.integers(3, 30)))), scale=0.03, zero_point=int(pick.integers(-9, 9)))
    if pick.integers(2):
        strides, pads = tuple(map(int, pick.integers(1, 4, 2))), tuple(map(int, pick.integers(0, 3, 4)))
        fold, dilations = str(pick.choice(["window", "columns"])), tuple(map(int, pick.integers(1, 3, 2)))
        pads = pads if fold == "window" else (0, pads[1], 0, pads[3])
        x = net.op("im2col", x, kernel=(3, 2), strides=strides, pads=pads, dilations=dilations, pad_value=-3, fold=fold)
    for _ in range(3):
        channels = net.shape(x)[1]
        match kind := str(
            pick.choice(["conv", "conv", "pool", "pool", "qadd", "qsub", "qmax", "qmin", "qmul", "qtable", "requantize"])
        ):
            case "conv":
                w = net.constant(pick.integers(-128, 128, (6, channels, 1, 1)), "int8")
                x = net.op("qconv2d", x, w, *net.parameters(6), pad_value=4, pads=(0, 1, 0, 0))
            case "pool":
                x = net.op("qmax_pool2d", x, kernel=(2, 2), pads=(1, 1, 0, 0))
            case "qadd" | "qsub" | "qmax" | "qmin":
                other = x if pick.integers(2) else net.constant(pick.integers(-128, 128, (1, channels, 1, 1)), "int8")
                x = net.op(kind, x, other, *(p for _ in range(3) for p in net.parameters(channels)), high=90)
            case "qmul":
                other = x if pick.integers(2) else net.constant(pick.integers(-128, 128, (1, channels, 1, 1)), "int8")
                x = net.op("qmul", x, other, *net.parameters(channels), a_zero_point=-7, b_zero_point=90)
            case "qtable":
                x = net.op("qtable", x, net.constant(pick.integers(-128, 128, 256), "int8"))
            case _:
                x = net.op("requantize", x, *net.parameters(channels))
    if pick.integers(3):
        shape, block = net.shape(x), int(pick.choice([4, 8, 16, 32, 6]))
        packed = net.op("pack_nchwc", x, batch=int(pick.integers(1, 3)), block=block)
        if pick.integers(2):
            return net
        x = net.op("unpack_nchwc", packed, shape=shape)
    y = net.op("dequantize", x, scale=tuple(pick.uniform(0.01, 0.02, net.shape(x)[1])), zero_point=3, axis=1)
    net.op("mul", y, net.op("sigmoid", y))
    return net


def pack(x: np.ndarray, a: dict[str, Any]) -> np.ndarray:
    batch, block = a["batch"], a["block"]
    n, c, h, w = x.shape
    padded = np.zeros((-(-n // batch) * batch, -(-c // block) * block, h, w), x.dtype)
    padded[:n, :c] = x
    return padded.reshape(-1, batch, padded.shape[1] // block, block, h, w).transpose(0, 2, 4, 5, 1, 3)


def unpack(x: np.ndarray, a: dict[str, Any]) -> np.ndarray:
    n, c, h, w = a["shape"]
    flat = x.transpose(0, 4, 1, 5, 2, 3).reshape(x.shape[0] * x.shape[4], -1, h, w)
    return flat[:n, :c]


def im2col(x: np.ndarray, a: dict[str, Any]) -> np.ndarray:
    (kh, kw), (sy, sx), (dy, dx), (top, left, bottom, right) = a["kernel"], a["strides"], a["dilations"], a["pads"]
    if a["fold"] == "columns":
        kh, sy, dy = 1, 1, 1
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=a["pad_value"])
    rows, columns = x.shape[2] - (kh - 1) * dy, x.shape[3] - (kw - 1) * dx
    taps = [x[:, :, i * dy : i * dy + rows : sy, j * dx : j * dx + columns : sx] for i in range(kh) for j in range(kw)]
    return np.concatenate(taps, axis=1)


LAYOUT = {"pack_nchwc": pack, "unpack_nchwc": unpack, "im2col": im2col}


def by_numpy(graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor, one operator after another."""
    values = {**graph.constants, **inputs}
    for node in graph.nodes:
        arrays = [values[name] if name else None for name in node.inputs]
        a = with_defaults(node.op, node.attributes)
        if node.op in LAYOUT:
            values[node.outputs[0]] = LAYOUT[node.op](arrays[0], a)
        else:
            values |= run_node(node, values)
    return values


def check_kernels(net: Net, tolerance: float = 2e-5) -> None:
    """Every kernel of the network, with its constants and without."""
    graph = net.graph()
    inputs = {name: x.astype(net.tensors[name].dtype) for name, x in net.samples().items()}
    values = by_numpy(graph, inputs)
    for constants in (graph.constants, {}):
        for group in fuse(graph):
            kernel = build_group_kernel(group, graph.type_of, constants)
            arrays = [np.asarray(values[name], order="C") for name in varying_inputs(group, constants)]
            for name, found in zip(group.outputs, kernel.run(*arrays), strict=True):
                assert found.dtype == values[name].dtype
                np.testing.assert_allclose(found, values[name], rtol=tolerance, atol=tolerance, err_msg=name)
