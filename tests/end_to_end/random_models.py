"""Random convolutional networks as ONNX, every one a legal model that onnxruntime runs. A seed names a model.

`random_model(seed)` opens with the family `FAMILIES[seed % len(FAMILIES)]`, so that any run of consecutive seeds meets them
all; around it come random convolutions, pools and activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vdla.compiler.frontend.elementwise import ACTIVATIONS, FUNCTIONS
from vdla.compiler.operators.registry import OPERATORS

Shape = tuple[int, ...]
OPSET = 17


def is_gentle(name: str, op: str) -> bool:
    """Whether ONNX has the operator in this opset, of one float, and it neither multiplies errors nor goes to and fro."""
    operator = OPERATORS[op]
    known = onnx.defs.has(name) and any(
        s.name == name and s.since_version <= OPSET for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""
    )
    return known and operator.arity == (1, 1) and operator.monotone and operator.slope <= 2


GENTLE = tuple(name for name, direct in (ACTIVATIONS | FUNCTIONS).items() if is_gentle(name, direct.op))


@dataclass
class Network:
    """An ONNX graph in the making. Methods append a node and return its output; `shapes` knows every tensor's."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def input(self, *shape: int) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(name)
        self.shapes[name] = shape
        return name

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def add(self, op: str, inputs: list[str], shape: Shape, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{op.lower()}{len(self.nodes)}", **attributes))
        self.shapes[name] = shape
        return name

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    # -- operators -----------------------------------------------------------------------------------------------------

    def conv(
        self, x: str, out: int, kernel: Shape = (1, 1), *, strides: Shape = (1, 1), pads: Shape | None = None,
        dilations: Shape = (1, 1), groups: int = 1, bias: bool = True,
    ) -> str:  # fmt: skip
        """Without `pads`, those that keep the size at stride 1."""
        n, c, h, w = self.shapes[x]
        spans = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        pads = pads or (spans[0] // 2, spans[1] // 2, spans[0] - spans[0] // 2, spans[1] - spans[1] // 2)
        fan_in = c // groups * kernel[0] * kernel[1]
        weight = (
            self.rng.standard_normal((out, c // groups, *kernel))
            * np.sqrt(2 / fan_in)
            * self.rng.uniform(0.3, 1.5, (out, 1, 1, 1))
        )
        parameters = [self.constant(weight.astype(np.float32))]
        if bias:
            parameters.append(self.constant((0.2 * self.rng.standard_normal(out)).astype(np.float32)))
        size = [(extent + pads[i] + pads[i + 2] - spans[i] - 1) // strides[i] + 1 for i, extent in enumerate((h, w))]
        return self.add(
            "Conv", [x, *parameters], (n, out, *size), kernel_shape=kernel, strides=strides, pads=pads,
            dilations=dilations, group=groups,
        )  # fmt: skip

    def pool(self, op: str, x: str, kernel: Shape, strides: Shape, pads: Shape = (0, 0, 0, 0), **attributes: Any) -> str:
        """`ceil_mode` is dropped where a window would begin behind the image: what that means changed between opsets."""
        n, c, *extents = self.shapes[x]
        spans = [extent + pads[i] + pads[i + 2] - kernel[i] for i, extent in enumerate(extents)]
        size = [span // stride + 1 for span, stride in zip(spans, strides, strict=True)]
        if attributes.get("ceil_mode"):
            longer = [-(-span // stride) + 1 for span, stride in zip(spans, strides, strict=True)]
            if any((longer[i] - 1) * strides[i] >= extents[i] + pads[i] for i in range(2)):
                attributes["ceil_mode"] = 0
            else:
                size = longer
        return self.add(op, [x], (n, c, *size), kernel_shape=kernel, strides=strides, pads=pads, **attributes)

    def same(self, op: str, x: str, *others: str, **attributes: Any) -> str:
        return self.add(op, [x, *others], self.shapes[x], **attributes)

    def activation(self, x: str) -> str:
        match self.pick("relu", "relu", "relu", "relu6", "clip", "hard_swish", "gentle", "gentle", "none", "batch_norm"):
            case "relu":
                return self.same("Relu", x)
            case "relu6":
                return self.same("Clip", x, *(self.constant(np.float32(v)) for v in (0, 6)))
            case "clip":
                return self.same("Clip", x, *(self.constant(np.float32(v)) for v in (-0.7, 1.1)))
            case "hard_swish":
                return self.same("HardSwish", x)
            case "gentle":
                return self.same(self.pick(*GENTLE), x)
            case "batch_norm":
                return self.batch_norm(x)
        return x

    def batch_norm(self, x: str) -> str:
        c = self.shapes[x][1]
        low_high = ((0.5, 1.5), (-0.5, 0.5), (-0.3, 0.3), (0.5, 2))
        parameters = [self.constant(self.rng.uniform(*bounds, c).astype(np.float32)) for bounds in low_high]
        return self.same("BatchNormalization", x, *parameters)

    def global_pool(self, x: str) -> str:
        return self.add("GlobalAveragePool", [x], (*self.shapes[x][:2], 1, 1))

    def flatten(self, x: str) -> str:
        n, *rest = self.shapes[x]
        return self.add("Flatten", [x], (n, int(np.prod(rest))))

    def dense(self, x: str, out: int) -> str:
        n, c = self.shapes[x]
        weight = self.rng.standard_normal((out, c)) / np.sqrt(c)
        bias = 0.2 * self.rng.standard_normal(out)
        names = [self.constant(v.astype(np.float32)) for v in (weight, bias)]
        return self.add("Gemm", [x, *names], (n, out), transB=1)

    def concat(self, parts: list[str]) -> str:
        n, _, *rest = self.shapes[parts[0]]
        return self.add("Concat", parts, (n, sum(self.shapes[p][1] for p in parts), *rest), axis=1)

    # -- random pieces -------------------------------------------------------------------------------------------------

    def channels(self) -> int:
        return int(self.pick(1, 2, 3, 5, 6, 7, 8, 12, 16, 17, 20, 24, 33))

    def any_conv(self, x: str) -> str:
        """Any window that fits: dilated, strided beyond its size, 1×N, padded unevenly."""
        _, c, h, w = self.shapes[x]
        kernel = self.pick((1, 1), (1, 1), (3, 3), (3, 3), (5, 5), (1, 3), (5, 1), (1, 7), (2, 2), (2, 3), (4, 4))
        dilations = self.pick((1, 1), (1, 1), (1, 1), (2, 2), (1, 2), (3, 1))
        pads = self.pick(None, None, (0, 0, 0, 0), tuple(int(p) for p in self.rng.integers(0, 3, 4)))
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        if pads is not None and any(e + pads[i] + pads[i + 2] < spans[i] for i, e in enumerate((h, w))):
            pads = None
        strides = self.pick((1, 1), (1, 1), (1, 1), (2, 2), (1, 2), (2, 1), (3, 3)) if min(h, w) > 4 else (1, 1)
        return self.conv(x, self.channels(), kernel, strides=strides, pads=pads, dilations=dilations, bias=self.chance(0.8))

    def any_pool(self, x: str) -> str:
        _, _, h, w = self.shapes[x]
        k = min(int(self.pick(2, 3, 3, 5)), h, w)
        kernel = self.pick((k, k), (k, k), (k, 1), (1, k))
        stride = int(self.pick(1, 2, 2, 3))
        pads = tuple(int(self.rng.integers(0, kernel[i % 2])) for i in range(4)) if self.chance(0.5) else (0, 0, 0, 0)
        if self.chance(0.5):
            return self.pool("MaxPool", x, kernel, (stride, stride), pads, ceil_mode=int(self.chance(0.4)))
        include = {"count_include_pad": int(self.chance(0.5))}
        return self.pool("AveragePool", x, kernel, (stride, stride), pads, ceil_mode=int(self.chance(0.3)), **include)


def grouped(net: Network, x: str) -> str:
    """Depthwise, ResNeXt-like, and groups that neither fill nor divide a block."""
    each, groups = net.pick((1, 5), (1, 16), (1, 20), (2, 3), (2, 8), (3, 4), (5, 3), (6, 2), (8, 2), (16, 2), (4, 6), (12, 2))
    x = net.activation(net.conv(x, each * groups))
    out = net.pick(each, each, each, 2 * each, each + 1, 1) * groups
    kernel = net.pick((3, 3), (1, 1), (1, 3), (5, 5))
    strides = (2, 2) if net.chance(0.3) and min(net.shapes[x][2:]) > 4 else (1, 1)
    return net.activation(net.conv(x, out, kernel, groups=groups, strides=strides))


def residual(net: Network, x: str) -> str:
    """With the tensor itself or a projection; perhaps a second one straight after, or a tensor added to itself."""
    c = net.shapes[x][1]
    kind = net.pick("identity", "projection", "double", "self", "pooled")
    if kind == "self":
        return net.activation(net.same("Add", x, x))
    if kind == "pooled":
        pooled = net.pool("AveragePool", x, (3, 3), (1, 1), (1, 1, 1, 1), count_include_pad=net.pick(0, 1))
        return net.activation(net.same("Add", x, pooled))
    inner = net.activation(net.conv(x, net.channels(), (3, 3)))
    if kind == "projection":
        out = net.channels()
        y = net.same("Add", net.conv(inner, out, (3, 3)), net.conv(x, out))
        return net.activation(y)
    y = net.same("Add", net.conv(inner, c, (3, 3)), x)
    if kind == "double":
        y = net.same("Add", net.conv(net.same("Relu", y), c), y)
        y = net.same("Add", y, x)
    return net.activation(y)


def maxout(net: Network, x: str) -> str:
    """The greater or the lesser of two convolutions, or of one and what it read, perhaps of three; or their difference."""
    c = net.shapes[x][1]
    op = net.pick("Max", "Min", "Sub")
    others = net.pick("conv", "conv", "self", *(["three"] if op != "Sub" else []))
    parts = [net.conv(x, c, (3, 3)), x if others == "self" else net.conv(x, c)]
    if others == "three":
        parts.append(net.conv(x, c, (1, 3)))
    return net.activation(net.same(op, *parts))


def branches(net: Network, x: str) -> str:
    """Inception and SqueezeNet: two to four branches side by side."""
    parts = []
    for _ in range(int(net.rng.integers(2, 5))):
        kernel = net.pick((1, 1), (3, 3), (5, 5), (1, 3))
        source = x
        if net.chance(0.3):
            source = net.pool(net.pick("MaxPool", "AveragePool"), x, (3, 3), (1, 1), (1, 1, 1, 1))
        parts.append(source if net.chance(0.15) else net.same("Relu", net.conv(source, net.channels(), kernel)))
    if net.chance(0.2):
        parts.append(parts[0])
    return net.concat(parts)


def squeeze_excite(net: Network, x: str) -> str:
    c = net.shapes[x][1]
    gate = net.same("Relu", net.conv(net.global_pool(x), max(1, c // 4)))
    gate = net.same(net.pick("Sigmoid", "HardSigmoid"), net.conv(gate, c))
    return net.add("Mul", net.pick([x, gate], [gate, x]), net.shapes[x])


def normalised(net: Network, x: str) -> str:
    x = net.same("LRN", x, size=int(net.pick(3, 5)), alpha=0.01)
    return net.activation(net.conv(x, net.channels(), (3, 3)))


def padded(net: Network, x: str) -> str:
    """A Pad node before a window, or in front of nothing that takes it."""
    n, c, h, w = net.shapes[x]
    top, left, bottom, right = (int(p) for p in net.rng.integers(0, 3, 4))
    pads = net.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    value = net.constant(np.float32(net.pick(0, 0, 0.5)))
    x = net.add("Pad", [x, pads, value], (n, c, h + top + bottom, w + left + right))
    return net.pick(net.any_conv, net.any_pool, net.activation)(x)


def transposed(net: Network, x: str) -> str:
    n, c, h, w = net.shapes[x]
    x = net.add("Transpose", [x], (n, c, w, h), perm=[0, 1, 3, 2])
    return net.activation(net.conv(x, net.channels(), (3, 1)))


def moved(net: Network, x: str) -> str:
    """What detectors and mobile networks do between their layers: enlarge, crop, split, shuffle, pixels from channels."""
    n, c, h, w = net.shapes[x]
    kind = net.pick("enlarge", "crop", "channels", "swap", "shuffle", "pixels")
    if kind == "shuffle" or kind == "pixels":
        c = 4 * int(net.pick(1, 2, 3, 8))
    x = net.same("Relu", net.conv(x, c, (3, 3)))
    match kind:
        case "enlarge":
            factors = net.pick((2, 2), (1, 3), (2, 1))
            scales = net.constant(np.array([1, 1, *factors], np.float32))
            how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            x = net.add("Resize", [x, "", scales], (n, c, h * factors[0], w * factors[1]), **how)
        case "crop" | "channels":
            low, high = ([0, 0, 1, 0], [n, c, h, w - 1]) if kind == "crop" else ([0, c // 3, 0, 0], [n, c, h, w])
            bounds = [net.constant(np.array(values, np.int64)) for values in (low, high)]
            x = net.add("Slice", [x, *bounds], tuple(b - a for a, b in zip(low, high, strict=True)))
        case "swap" if c > 1:
            cut = int(net.rng.integers(1, c))
            bounds = [net.constant(np.array(values, np.int64)) for values in ([0], [cut], [c], [1])]
            first = net.add("Slice", [x, *bounds[:2], bounds[3]], (n, cut, h, w))
            second = net.add("Slice", [x, *bounds[1:]], (n, c - cut, h, w))
            x = net.concat([second, first])
        case "shuffle":
            split, whole = (net.constant(np.array(shape, np.int64)) for shape in ((n, 4, c // 4, h, w), (n, c, h, w)))
            x = net.add("Reshape", [x, split], (n, 4, c // 4, h, w))
            x = net.add("Transpose", [x], (n, c // 4, 4, h, w), perm=[0, 2, 1, 3, 4])
            x = net.add("Reshape", [x, whole], (n, c, h, w))
        case "pixels":
            x = net.add("DepthToSpace", [x], (n, c // 4, 2 * h, 2 * w), blocksize=2, mode=net.pick("DCR", "CRD"))
    return net.activation(net.conv(x, net.channels(), (3, 3)))


def pools(net: Network, x: str) -> str:
    for _ in range(int(net.rng.integers(1, 4))):
        x = net.any_pool(x)
    return x


def branching_outputs(net: Network, x: str) -> str:
    """A tensor that is an output and is read on; an output of its own branch."""
    y = net.activation(net.any_conv(x))
    net.outputs.append(y)
    net.outputs.append(net.any_conv(y))
    return net.activation(net.conv(y, net.channels(), (3, 3)))


def second_input(net: Network, x: str) -> str:
    """Another input of the same shape meets the first; or the same input once more."""
    other = net.input(*net.shapes[x]) if net.chance(0.6) else net.inputs[0]
    if net.shapes[other] != net.shapes[x]:
        other = net.input(*net.shapes[x])
    if net.chance(0.3):
        return net.same("Add", x, other)
    if net.chance(0.5):
        return net.concat([x, net.activation(net.conv(other, net.channels(), (3, 3)))])
    return net.same("Add", net.conv(x, net.shapes[x][1], (3, 3)), other)


def no_products(net: Network, x: str) -> str:
    """Nothing that would be worth an accelerator."""
    return net.same(net.pick("Sigmoid", "Tanh", "HardSwish"), net.any_pool(net.same("LRN", x, size=3)))


def plain(net: Network, x: str) -> str:
    return net.activation(net.any_conv(x))


Family = Callable[[Network, str], str]
FAMILIES: tuple[Family, ...] = (
    plain, grouped, residual, maxout, branches, squeeze_excite, normalised, padded, transposed, moved, pools, branching_outputs,
    second_input, no_products,
)  # fmt: skip
ALONE = {no_products}


def head(net: Network, x: str) -> str:
    """How networks end: a map, or classes by way of a pool, a flatten, dense layers, a softmax."""
    if net.chance(0.35):
        return x
    if net.chance(0.6):
        x = net.global_pool(x)
    x = net.flatten(x)
    for _ in range(int(net.rng.integers(1, 3))):
        x = net.dense(x, int(net.rng.integers(1, 40)))
        x = net.activation(x) if len(net.shapes[x]) == 4 else net.pick(x, net.same("Relu", x))
    return net.same("Softmax", x, axis=-1) if net.chance(0.4) else x


def random_model(seed: int, batch: int | None = None) -> onnx.ModelProto:
    """The model of `seed`; `batch` images, or one to three."""
    net = Network(np.random.default_rng(seed))
    n = batch or int(net.pick(1, 1, 1, 2, 3))
    x = net.input(n, int(net.pick(1, 2, 3, 3, 4, 8, 17)), *(int(e) for e in net.rng.integers(5, 15, 2)))
    family = FAMILIES[seed % len(FAMILIES)]
    if family in ALONE:
        x = family(net, x)
    else:
        before, after = (int(net.rng.integers(0, 3)) for _ in range(2))
        for piece in (*(plain,) * before, family, *net.rng.choice(np.array(FAMILIES[:-1], object), after)):
            x = piece(net, x)
        x = head(net, x)
    if not net.nodes:
        x = net.any_conv(x)
    net.outputs.append(x)
    return model_of(net, f"random_{family.__name__}_{seed}")


def model_of(net: Network, name: str) -> onnx.ModelProto:
    def declared(tensor: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(tensor, TensorProto.FLOAT, net.shapes[tensor])

    constants = [numpy_helper.from_array(value, constant) for constant, value in net.constants.items()]
    outputs = [declared(tensor) for tensor in dict.fromkeys(net.outputs)]
    graph = helper.make_graph(net.nodes, name, [declared(t) for t in net.inputs], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model
