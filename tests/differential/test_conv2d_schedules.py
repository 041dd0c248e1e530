"""Every point of the convolution's schedule space lowers, passes the checker and is bit-exact.

Random shapes (channels that divide nothing, strides, padding, dilation, groups, 1×1 to 7×7, residuals) × random tilings,
loop orders and buffer counts, on `tiny` and `pynq_z1`. The expected result is plain NumPy on unpacked tensors and shares
no code with packing, schedule, emission or simulator. `VDLA_LONG=1` runs 500 points on each design.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from vdla import load_design
from vdla.compiler.backends.vdla.link import LinkedKernel, link
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import infer_type
from vdla.compiler.ops.configuration import Config
from vdla.compiler.ops.vdla.conv_template import footprint
from vdla.compiler.ops.vdla.conv_tiling import ConvTiling
from vdla.compiler.ops.vdla.kernels import kernel, template_of
from vdla.compiler.ops.vdla.layers import activations_of, constants_of, workload_of
from vdla.compiler.ops.vdla.packing import pack_activation, packed_shape, unpack_activation
from vdla.isa import check_program
from vdla.isa.program import Program, Segment, Slot
from vdla.isa.semantics import pack_scale
from vdla.sim.device import Simulator

POINTS = 500 if os.environ.get("VDLA_LONG") else 40
DESIGNS = ("tiny", "pynq_z1")


def random_layer(random: np.random.Generator, largest: int) -> tuple[Node, Graph, dict[str, np.ndarray]]:
    """A qconv2d node in a graph of its own, and int8 activations for it."""
    kernel = tuple(int(k) for k in random.choice([1, 1, 2, 3, 3, 5, 7], 2))
    strides = tuple(int(s) for s in random.integers(1, 4, 2))
    dilations = tuple(int(d) if k > 1 else 1 for d, k in zip(random.choice([1, 1, 2], 2), kernel, strict=True))
    pads = tuple(int(random.integers(0, k * d)) for k, d in zip(kernel * 2, dilations * 2, strict=True))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [int(max(s - pads[a] - pads[a + 2], 1) + random.integers(0, largest)) for a, s in enumerate(spans)]
    style = random.choice(["dense", "dense", "dense", "depthwise", "grouped"])
    if style == "depthwise":
        groups = int(random.integers(2, 3 * largest))
        c_group = o_group = 1
    elif style == "grouped":
        groups, c_group = int(random.integers(2, 9)), int(random.choice([2, 4]))
        o_group = c_group
    else:
        groups, c_group, o_group = 1, int(random.integers(1, 3 * largest)), int(random.integers(1, 3 * largest))
    c, o, n = groups * c_group, groups * o_group, int(random.choice([1, 1, 2]))
    attributes = {
        "strides": strides, "pads": pads, "dilations": dilations, "groups": groups,
        "pad_value": int(random.integers(-128, 128)),
        "low": int(random.integers(-128, 0)), "high": int(random.integers(0, 128)),
    }  # fmt: skip
    x = TensorType((n, c, *size), "int8")
    w = random.integers(-128, 128, (o, c_group, *kernel), np.int8)

    def scales() -> np.ndarray:
        multiplier = np.where(random.random(o) < 0.5, 1 << 18, random.integers(1 << 18, 1 << 19, o))  # half with ties
        return pack_scale(multiplier, random.integers(20, 29, o), random.integers(-20, 20, o))

    constants = {"w": w, "bias": random.integers(-(1 << 12), 1 << 12, o).astype(np.int32), "scale": scales()}
    types = tuple(TensorType(value.shape, str(value.dtype)) for value in constants.values())
    y = infer_type("qconv2d", (x, *types), attributes)
    tensors, inputs, names = {"x": x, "y": y}, ["x"], ["x", "w", "bias", "scale"]
    if random.random() < 0.4:
        constants["rbias"] = random.integers(-100, 100, o).astype(np.int32)
        constants["rscale"] = pack_scale(random.integers(1 << 18, 1 << 19, o), random.integers(9, 15, o), np.zeros(o, np.int64))
        tensors["r"], inputs = y, ["x", "r"]
        names += ["r", "rbias", "rscale"]
    node = Node("conv", "qconv2d", tuple(names), ("y",), attributes)
    tensors |= {k: TensorType(v.shape, str(v.dtype)) for k, v in constants.items()}
    values = {k: random.integers(-128, 128, tensors[k].shape, np.int8) for k in inputs}
    return node, Graph("g", tuple(inputs), ("y",), (node,), tensors, constants), values


def expected_output(node: Node, graph: Graph, values: dict[str, np.ndarray]) -> np.ndarray:
    """qconv2d as the opset defines it, in int64, one kernel element at a time."""
    a, k = node.attributes, graph.constants
    (top, left, bottom, right), (sy, sx), (dy, dx) = a["pads"], a["strides"], a["dilations"]
    x = np.pad(values["x"].astype(np.int64), ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=a["pad_value"])
    n, o, oh, ow = graph.tensors["y"].shape
    groups, c_group, o_group = a["groups"], k["w"].shape[1], o // a["groups"]
    acc = np.zeros((n, o, oh, ow), np.int64)
    for g in range(groups):
        for i in range(k["w"].shape[2]):
            for j in range(k["w"].shape[3]):
                part = x[
                    :,
                    g * c_group : (g + 1) * c_group,
                    i * dy : i * dy + (oh - 1) * sy + 1 : sy,
                    j * dx : j * dx + (ow - 1) * sx + 1 : sx,
                ]
                w = k["w"][g * o_group : (g + 1) * o_group, :, i, j].astype(np.int64)
                acc[:, g * o_group : (g + 1) * o_group] += np.einsum("nchw,oc->nohw", part, w)
    if "r" in values:
        acc += scaled(values["r"].astype(np.int64), k["rbias"], k["rscale"])
    return np.clip(scaled(acc, k["bias"], k["scale"]), a["low"], a["high"]).astype(np.int8)


def scaled(acc: np.ndarray, bias: np.ndarray, word: np.ndarray) -> np.ndarray:
    """round((acc + bias) · multiplier / 2^shift) + zero point, halves to even, with Python integers for the fields."""
    result = np.empty_like(acc)
    for c in range(acc.shape[1]):
        raw = int(word[c]) & 0xFFFFFFFF
        multiplier = (raw & 0x3FFFF) + 0x40000
        shift, zero_point = raw >> 18 & 63, (raw >> 24) - (256 if raw >> 31 else 0)
        whole, rest = np.divmod((acc[:, c] + int(bias[c])) * multiplier, 1 << shift)
        result[:, c] = whole + (2 * rest + whole % 2 > 1 << shift) + zero_point
    return result


UNEVEN = ("images", "rows", "columns", "out_blocks", "in_blocks", "kernel_rows", "kernel_columns")


def random_config(random: np.random.Generator, workload, design) -> Config:
    """Any valid configuration, half of the time with extents that cut nothing evenly."""
    space = template_of(workload).space(workload, design)
    while True:
        config = Config(tuple((knob.name, knob.choices[random.integers(len(knob.choices))]) for knob in space.knobs))
        if config in space:
            break
    if random.random() < 0.5:
        extents = {name: int(random.integers(1, config[name] + 1)) for name in UNEVEN}
        uneven = config.replace(**extents)
        config = uneven if footprint(workload, ConvTiling.of(uneven)).fits(design) else config
    return config


def single_layer_program(node: Node, graph: Graph, design, config: Config) -> Program:
    """The layer alone under `config`, its tensors one after another in DRAM."""
    bindings: dict[str, int] = {}
    segments, slots, size = [], {}, 0
    for name, value in constants_of(node, graph, design).items():
        segments.append(Segment(name, size, np.ascontiguousarray(value).view(np.uint8).reshape(-1)))
        bindings[name], size = size, aligned(size + value.nbytes, design)
    for name, tensor in activations_of(node, graph).items():
        slots[name] = Slot(tensor, size, packed_shape(graph.type_of(tensor).shape, design), "int8")
        bindings[name], size = size, aligned(size + slots[name].bytes, design)
    emission = kernel(workload_of(node, graph, design), design, config)
    linked = LinkedKernel(emission, bindings, node.name, node.op, (slots["y"],))
    inputs = [slot for name, slot in slots.items() if name != "y"]
    return link([linked], design, dram_bytes=size, segments=segments, inputs=inputs, outputs=[slots["y"]])


def aligned(size: int, design) -> int:
    return -(-size // design.dram_alignment) * design.dram_alignment


@pytest.mark.parametrize("design_name", DESIGNS)
@pytest.mark.parametrize("seed", range(POINTS))
def test_any_point_of_the_schedule_space_is_correct(design_name: str, seed: int) -> None:
    design = load_design(design_name)
    random = np.random.default_rng([seed, len(design_name)])
    node, graph, values = random_layer(random, largest=6 if design_name == "tiny" else 20)
    workload = workload_of(node, graph, design)
    config = random_config(random, workload, design)
    program = single_layer_program(node, graph, design, config)
    check_program(program).require()
    packed = {name: pack_activation(value, design) for name, value in values.items()}
    result = Simulator(design).run(program, packed)
    found = unpack_activation(result.outputs["y"], graph.tensors["y"].shape)
    np.testing.assert_array_equal(found, expected_output(node, graph, values), err_msg=f"seed {seed}: {workload} {config}")
