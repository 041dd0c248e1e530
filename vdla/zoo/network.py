"""Writing a network as ONNX: layers as methods, seeded weights, batch-norm statistics that fit them.

A random network behaves only if each batch norm knows the mean and variance of what reaches it. `calibrate.py` measured
those once, with the weights made here; they are shipped in `statistics.npz`, in layer order.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vdla.zoo.random_numbers import gaussian, stream, uniform

OPSET, IR_VERSION = 17, 8  # read by every onnx and onnxruntime the project allows
EPSILON = 1e-5


class Network:
    """An ONNX graph under construction. Layer methods take and return tensor names."""

    def __init__(
        self,
        name: str,
        seed: int,
        input_shape: tuple[int, ...],
        statistics: np.ndarray | None = None,
        dtype: int = TensorProto.FLOAT,
    ) -> None:
        """`statistics`: float16[2, channels] (mean, variance) in layer order; None measures them instead of using them.

        The only input is called "input"; `dtype` is its element type.
        """
        self.name, self.seed, self.statistics = name, seed, statistics
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs = [helper.make_tensor_value_info("input", dtype, input_shape)]
        self.measured: list[str] = []  # mean, variance of each batch norm, when measuring
        self.channels_done = 0

    def node(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_output"], name=name, **attributes))
        return f"{name}_output"

    def weight(self, name: str, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def several(self, op: str, inputs: list[str], name: str, count: int, **attributes: Any) -> list[str]:
        """A node of `count` outputs."""
        outputs = [f"{name}_output_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs

    def integers(self, name: str, *values: int) -> str:
        """A constant int64 vector: a shape, axes, sizes."""
        return self.weight(name, np.array(values, np.int64))

    def number(self, name: str, value: float) -> str:
        """A constant float32 scalar."""
        return self.weight(name, np.array(value, np.float32))

    def conv(
        self,
        x: str,
        name: str,
        channels: tuple[int, int],
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        *,
        pad: int | None = None,
        bias: bool = False,
    ) -> str:
        """Convolution from channels[0] to channels[1], SAME-padded unless `pad` says otherwise, He-initialised."""
        shape = (channels[1], channels[0] // groups, kernel, kernel)
        fan_in = shape[1] * kernel * kernel
        array = gaussian(stream(self.seed, name), shape) * np.float32((2 / fan_in) ** 0.5)
        pads = [kernel // 2 if pad is None else pad] * 4
        inputs = [x, self.weight(f"{name}.weight", array), *self.bias(name, channels[1], bias)]
        return self.node("Conv", inputs, name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=groups)

    def conv_transpose(
        self, x: str, name: str, channels: tuple[int, int], kernel: int, stride: int, pad: int = 0, *, bias: bool = False
    ) -> str:
        """`stride` times the size when kernel - 2 pad = stride; He-initialised for what an output sums."""
        shape = (*channels, kernel, kernel)
        summed = channels[0] * (kernel / stride) ** 2
        array = gaussian(stream(self.seed, name), shape) * np.float32((2 / summed) ** 0.5)
        inputs = [x, self.weight(f"{name}.weight", array), *self.bias(name, channels[1], bias)]
        return self.node("ConvTranspose", inputs, name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def bias(self, name: str, channels: int, wanted: bool = True) -> list[str]:
        """A bias of ±0.1 as a list that extends a node's inputs; empty when none is wanted."""
        if not wanted:
            return []
        return [self.weight(f"{name}.bias", uniform(stream(self.seed, f"{name}.bias"), -0.1, 0.1, channels))]

    def linear(self, x: str, name: str, features: tuple[int, int], gain: float = 1.0) -> str:
        """A dense layer over the last of several axes, as exporters write it: MatMul and Add; weights `gain` times Xavier's."""
        array = gaussian(stream(self.seed, name), features) * np.float32(gain / features[0] ** 0.5)
        product = self.node("MatMul", [x, self.weight(f"{name}.weight", array)], f"{name}.product")
        return self.node("Add", [product, *self.bias(name, features[1])], name)

    def gemm(self, x: str, name: str, features: tuple[int, int]) -> str:
        """A dense layer with bias on [batch, features], He-initialised."""
        array = gaussian(stream(self.seed, name), features[::-1]) * np.float32((2 / features[0]) ** 0.5)
        return self.node("Gemm", [x, self.weight(f"{name}.weight", array), *self.bias(name, features[1])], name, transB=1)

    def batch_norm(self, x: str, name: str, channels: int, shift: tuple[float, float] = (-0.3, 0.3)) -> str:
        """Scale 0.7..1.3 and `shift` (a range) of what has mean 0 and variance 1 by the statistics."""
        bits = stream(self.seed, name)
        gamma = self.weight(f"{name}.weight", uniform(bits, 0.7, 1.3, channels))
        beta = self.weight(f"{name}.bias", uniform(bits, *shift, channels))
        start, self.channels_done = self.channels_done, self.channels_done + channels
        if self.statistics is None:
            return self.measuring_batch_norm(x, name, gamma, beta, channels)
        mean, variance = self.statistics[:, start : start + channels].astype(np.float32)
        running = [self.weight(f"{name}.running_mean", mean), self.weight(f"{name}.running_var", variance)]
        return self.node("BatchNormalization", [x, gamma, beta, *running], name, epsilon=EPSILON)

    def measuring_batch_norm(self, x: str, name: str, gamma: str, beta: str, channels: int) -> str:
        """The same by this batch's own statistics, which become outputs of the network."""
        along = [1, channels, 1, 1]
        shape = self.weight(f"{name}.along", np.array(along, np.int64))
        mean = self.node("ReduceMean", [x], f"{name}.mean", axes=[0, 2, 3])
        centred = self.node("Sub", [x, mean], f"{name}.centred")
        variance = self.node(
            "ReduceMean", [self.node("Mul", [centred, centred], f"{name}.square")], f"{name}.variance", axes=[0, 2, 3]
        )
        self.measured += [mean, variance]
        scaled = self.node("Div", [centred, self.node("Sqrt", [variance], f"{name}.deviation")], f"{name}.scaled")
        scaled = self.node("Mul", [scaled, self.node("Reshape", [gamma, shape], f"{name}.gamma")], f"{name}.gain")
        return self.node("Add", [scaled, self.node("Reshape", [beta, shape], f"{name}.beta")], name)

    def relu(self, x: str, name: str) -> str:
        return self.node("Relu", [x], name)

    def relu6(self, x: str, name: str) -> str:
        """Clip, as exporters write it; the bounds are shared by every use."""
        if not any(w.name == "six" for w in self.weights):
            self.weight("zero", np.array(0, np.float32))
            self.weight("six", np.array(6, np.float32))
        return self.node("Clip", [x, "zero", "six"], name)

    def classifier(self, x: str, name: str, features: int, classes: int) -> str:
        """Global average, flatten, Gemm with bias: logits of standard deviation about 1."""
        pooled = self.node("GlobalAveragePool", [x], f"{name}.pool")
        flat = self.node("Flatten", [pooled], f"{name}.flatten", axis=1)
        bits = stream(self.seed, name)
        w = self.weight(f"{name}.weight", gaussian(bits, (classes, features)) * np.float32((2 / features) ** 0.5))
        b = self.weight(f"{name}.bias", uniform(bits, -0.1, 0.1, classes))
        return self.node("Gemm", [flat, w, b], name, transB=1)

    def silu(self, x: str, name: str) -> str:
        """x sigmoid(x), as exporters write it."""
        return self.node("Mul", [x, self.node("Sigmoid", [x], f"{name}.sigmoid")], name)

    def layer_norm(self, x: str, name: str, features: int) -> str:
        """Over the last axis, scale 0.7..1.3 and shift ±0.3."""
        bits = stream(self.seed, name)
        gamma = self.weight(f"{name}.weight", uniform(bits, 0.7, 1.3, features))
        beta = self.weight(f"{name}.bias", uniform(bits, -0.3, 0.3, features))
        return self.node("LayerNormalization", [x, gamma, beta], name, axis=-1, epsilon=EPSILON)

    def reshape(self, x: str, name: str, *shape: int) -> str:
        return self.node("Reshape", [x, self.integers(f"{name}.shape", *shape)], name)

    def model(self, output: str, shape: tuple[int, ...]) -> onnx.ModelProto:
        """The finished model; its output is named "output"."""
        self.nodes[-1].output[0] = "output"
        assert output == f"{self.nodes[-1].name}_output"
        outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)]
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.measured]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="vdla.zoo")


def shipped_statistics(name: str) -> np.ndarray:
    """float16[2, channels]: the mean and variance of every batch norm's input, in layer order."""
    with files("vdla.zoo").joinpath("statistics.npz").open("rb") as file, np.load(file) as arrays:
        return arrays[name]
