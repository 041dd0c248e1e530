"""Random layers of every kind that has a VDLA kernel, each alone in a graph, and random designs to run them on."""

from __future__ import annotations

from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import infer_type, with_defaults
from vdla.design import Design
from vdla.design_file import design_from_dict
from vdla.isa.semantics import pack_scale

Arrays = dict[str, np.ndarray]
LAYERS = ("qconv2d", "qconv2d", "qconv2d", "qdense", "qmatmul2d", "qavg_pool2d", "qmax_pool2d")
KINDS = (*LAYERS, "qadd", "qsub", "qmax", "qmin", "qmul", "qtable", "requantize")


def random_design(rng: np.random.Generator) -> Design:
    """Small blocks, and SRAMs so small that few tilings fit."""
    block, batch = int(rng.choice([2, 4, 8])), int(rng.choice([1, 1, 2]))
    depths = [int(d) for d in rng.choice([16, 24, 40, 100], 3)]
    data = {
        "name": "random",
        "about": "a design drawn at random",
        "clock_mhz": 100,
        "gemm": {"batch": batch, "block_in": block, "block_out": block},
        "sram": {
            "uop": 8 * int(rng.choice([16, 64, 256])),
            "inp": depths[0] * batch * block,
            "wgt": depths[1] * block * block,
            "acc": depths[2] * batch * block * 4,
        },
        "memory": {"bus_bits": int(rng.choice([32, 64])), "ports": str(rng.choice(["shared", "separate"]))},
    }
    return design_from_dict(data, "random")


def random_layer(rng: np.random.Generator, op: str) -> tuple[Node, Graph, Arrays]:
    """A node, its graph, and int8 values for the graph's inputs."""
    n, c, size = int(rng.choice([1, 1, 2, 3])), int(rng.integers(1, 20)), tuple(int(e) for e in rng.integers(5, 10, 2))
    bounds = {"low": int(rng.integers(-128, 0)), "high": int(rng.integers(0, 128))}
    match op:
        case "qconv2d":
            return _convolution(rng, n, size, bounds)
        case "qdense":
            o = int(rng.integers(1, 20))
            constants = {"w": _int8(rng, (o, c)), **_parameters(rng, o)}
            return _graph(rng, op, {"x": (n, c)}, constants, bounds)
        case "qmatmul2d":  # of every extent that divides by the blocks of `random_design`; zero points are for the host
            n, channels, positions = (int(e) for e in rng.integers(1, 4, 3))
            zero = {} if rng.random() < 0.9 else {"b_zero_point": 1}
            activations = {"a": (n, 8 * channels, *size), "b": (n, 8 * channels, 8 * positions, 1)}
            return _graph(rng, op, activations, _parameters(rng, 1), bounds | zero)
        case "qavg_pool2d" | "qmax_pool2d":
            kernel, strides = (tuple(int(e) for e in rng.integers(1, 4, 2)) for _ in range(2))
            pads = tuple(int(rng.integers(0, extent)) for extent in kernel * 2)
            attributes = {"kernel": kernel, "strides": strides, "pads": pads}
            if op == "qmax_pool2d":
                return _graph(rng, op, {"x": (n, c, *size)}, {}, attributes)
            return _graph(rng, op, {"x": (n, c, *size)}, _parameters(rng, 1, shift=10), attributes | bounds)
        case "qadd" | "qsub" | "qmax" | "qmin" | "qmul":
            return _pair(rng, op, (n, c, *size), bounds)
        case "requantize":
            return _graph(rng, op, {"x": (n, c, *size)}, _parameters(rng, c, shift=16), bounds)
        case "qtable":
            return _graph(rng, op, {"x": (n, c, *size)}, {"table": _int8(rng, (256,))}, {})
    raise AssertionError(op)


def _convolution(rng: np.random.Generator, n: int, size: tuple[int, ...], bounds: dict[str, int]) -> tuple[Node, Graph, Arrays]:
    kernel = tuple(int(e) for e in rng.choice([1, 1, 2, 3, 5], 2))
    dilations = tuple(int(rng.choice([1, 1, 2, 4])) if extent > 1 else 1 for extent in kernel)
    size = tuple(max(have, (k - 1) * d + 1) for have, k, d in zip(size, kernel, dilations, strict=True))
    groups = int(rng.choice([1, 1, 2, 5, 12]))
    c, o = (groups * int(rng.integers(1, 4 if groups > 1 else 20)) for _ in range(2))
    pads = tuple(int(rng.integers(0, extent)) for extent in kernel * 2)
    attributes = {
        "strides": tuple(int(e) for e in rng.integers(1, 3, 2)), "pads": pads, "dilations": dilations, "groups": groups,
        "pad_value": int(rng.integers(-128, 128)), **bounds,
    }  # fmt: skip
    constants = {"w": _int8(rng, (o, c // groups, *kernel)), **_parameters(rng, o)}
    activations: dict[str, tuple[int, ...]] = {"x": (n, c, *size)}
    if rng.random() < 0.5:
        types = (TensorType(activations["x"], "int8"), *(TensorType(v.shape, str(v.dtype)) for v in constants.values()))
        activations["residual"] = infer_type("qconv2d", types, with_defaults("qconv2d", attributes)).shape
        constants |= _parameters(rng, o, "residual_", shift=9)
    if rng.random() < 0.3:
        constants["table"] = _int8(rng, (256,))
    return _graph(rng, "qconv2d", activations, constants, attributes)


def _pair(rng: np.random.Generator, op: str, shape: tuple[int, ...], bounds: dict[str, int]) -> tuple[Node, Graph, Arrays]:
    """Either operand whole, broadcast along any axes, or a constant."""
    small, channels = str(rng.choice(["", "a", "b"])), shape[1]
    shapes = dict.fromkeys("ab", shape)
    if small:
        kept = {axis for axis in (0, 1) if rng.random() < 0.6} | ({2, 3} if rng.random() < 0.3 else set())
        shapes[small] = tuple(size if axis in kept else 1 for axis, size in enumerate(shape))
        channels = shapes["a"][1]
    attributes, constants = dict(bounds), {}
    if op == "qmul":
        attributes |= {"a_zero_point": int(rng.choice([0, -128, 7])), "b_zero_point": int(rng.choice([0, 127]))}
    else:
        for name in ("a_", "b_"):
            constants |= _parameters(rng, channels, name, shift=9)
    constants |= _parameters(rng, channels)
    if rng.random() < 0.3:
        constant = small or "b"
        constants[constant] = _int8(rng, shapes.pop(constant))
    return _graph(rng, op, shapes, constants, attributes)


ROLES = {
    "qconv2d": ("x", "w", "bias", "scale", "residual", "residual_bias", "residual_scale", "table"),
    "qdense": ("x", "w", "bias", "scale"),
    "qmatmul2d": ("a", "b", "bias", "scale"),
    "qavg_pool2d": ("x", "bias", "scale"),
    "qmax_pool2d": ("x",),
    "qmul": ("a", "b", "bias", "scale"),
    **dict.fromkeys(("qadd", "qsub", "qmax", "qmin"), ("a", "b", "a_bias", "a_scale", "b_bias", "b_scale", "bias", "scale")),
    "requantize": ("x", "bias", "scale"),
    "qtable": ("x", "table"),
}
"""Each operator's inputs in order, as compiler/operators has them."""


def _graph(
    rng: np.random.Generator,
    op: str,
    activations: dict[str, tuple[int, ...]],
    constants: Arrays,
    attributes: dict[str, Any],
) -> tuple[Node, Graph, Arrays]:
    tensors = {name: TensorType(shape, "int8") for name, shape in activations.items()}
    tensors |= {name: TensorType(value.shape, str(value.dtype)) for name, value in constants.items()}
    last = max(k for k, name in enumerate(ROLES[op]) if name in tensors)
    inputs = tuple(name if name in tensors else "" for name in ROLES[op][: last + 1])
    node = Node("layer", op, inputs, ("y",), attributes)
    tensors["y"] = infer_type(op, tuple(tensors.get(name) for name in inputs), with_defaults(op, attributes))
    graph = Graph("random", tuple(activations), ("y",), (node,), tensors, constants)
    return node, graph, {name: _int8(rng, shape) for name, shape in activations.items()}


def _int8(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-128, 128, shape, np.int8)


def _parameters(rng: np.random.Generator, channels: int, name: str = "", shift: int = 24) -> Arrays:
    multiplier = np.where(rng.random(channels) < 0.5, 1 << 18, rng.integers(1 << 18, 1 << 19, channels))  # half with ties
    words = pack_scale(multiplier, rng.integers(shift, shift + 6, channels), rng.integers(-20, 20, channels))
    return {f"{name}bias": rng.integers(-1000, 1000, channels).astype(np.int32), f"{name}scale": words}
