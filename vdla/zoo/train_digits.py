"""Train the digits network: `python -m vdla.zoo.train_digits` (needs scikit-learn, for its data only) rewrites
digits.onnx and digits_test.npz beside this file.

    conv 1→12 3x3, relu · conv 12→24 3x3, relu, max-pool 2x2 · conv 24→40 3x3 stride 2, relu · dense 160→10

Plain NumPy: layers are (forward, backward) pairs over im2col, the loss is cross-entropy, the optimiser Adam. Images are
shifted by up to a pixel while training. Channel counts are no multiples of 16 on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vdla.arithmetic import ceil_div
from vdla.zoo.digits import as_input
from vdla.zoo.network import IR_VERSION, OPSET

SEED, HELD_OUT, EPOCHS, BATCH, RATE = 8, 360, 60, 64, 2e-3
STRIDES = {"conv1": 1, "conv2": 1, "conv3": 2}
SHAPES = {"conv1": (12, 1, 3, 3), "conv2": (24, 12, 3, 3), "conv3": (40, 24, 3, 3), "fc": (10, 160)}
Weights = dict[str, np.ndarray]
Backward = Callable[[np.ndarray], np.ndarray]  # gradient at the output → gradient at the input


def columns(x: np.ndarray, stride: int) -> np.ndarray:
    """im2col for 3x3 with one pixel of padding: x[N, C, H, W] → [N, OH, OW, C·9]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    n, c, oh, ow = view.shape[:4]
    return view.transpose(0, 2, 3, 1, 4, 5).reshape(n, oh, ow, c * 9)


def scatter(gradient: np.ndarray, shape: tuple[int, ...], stride: int) -> np.ndarray:
    """The transpose of `columns`: sums [N, OH, OW, C·9] back into the shape of x."""
    n, c, h, w = shape
    oh, ow = gradient.shape[1:3]
    padded = np.zeros((n, c, h + 2, w + 2), gradient.dtype)
    taps = gradient.reshape(n, oh, ow, c, 3, 3).transpose(0, 3, 1, 2, 4, 5)
    for ky in range(3):
        for kx in range(3):
            padded[:, :, ky : ky + stride * oh : stride, kx : kx + stride * ow : stride] += taps[..., ky, kx]
    return padded[:, :, 1:-1, 1:-1]


def conv(x: np.ndarray, weights: Weights, name: str, gradients: Weights) -> tuple[np.ndarray, Backward]:
    """relu(conv(x) + b), and the function from the gradient at the output to that at x, which fills `gradients`."""
    w, stride = weights[f"{name}.weight"], STRIDES[name]
    cols = columns(x, stride)
    y = (cols @ w.reshape(len(w), -1).T + weights[f"{name}.bias"]).transpose(0, 3, 1, 2)

    def backward(gradient: np.ndarray) -> np.ndarray:
        g = (gradient * (y > 0)).transpose(0, 2, 3, 1)
        gradients[f"{name}.weight"] = np.tensordot(g, cols, ((0, 1, 2), (0, 1, 2))).reshape(w.shape)
        gradients[f"{name}.bias"] = g.sum((0, 1, 2))
        return scatter(g @ w.reshape(len(w), -1), x.shape, stride)

    return np.maximum(y, 0), backward


def max_pool(x: np.ndarray) -> tuple[np.ndarray, Backward]:
    """2x2, stride 2. Ties share the gradient."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
    y = blocks.max((3, 5), keepdims=True)
    winners = blocks == y
    share = winners / winners.sum((3, 5), keepdims=True)
    return y[:, :, :, 0, :, 0], lambda g: (share * g[:, :, :, None, :, None]).reshape(x.shape).astype(np.float32)


def dense(x: np.ndarray, weights: Weights, gradients: Weights) -> tuple[np.ndarray, Backward]:
    flat = x.reshape(len(x), -1)
    w = weights["fc.weight"]

    def backward(gradient: np.ndarray) -> np.ndarray:
        gradients["fc.weight"], gradients["fc.bias"] = gradient.T @ flat, gradient.sum(0)
        return (gradient @ w).reshape(x.shape)

    return flat @ w.T + weights["fc.bias"], backward


def forward(images: np.ndarray, weights: Weights, gradients: Weights) -> tuple[np.ndarray, list[Backward]]:
    """Logits, and the backward functions in forward order."""
    x, back1 = conv(images, weights, "conv1", gradients)
    x, back2 = conv(x, weights, "conv2", gradients)
    x, back3 = max_pool(x)
    x, back4 = conv(x, weights, "conv3", gradients)
    logits, back5 = dense(x, weights, gradients)
    return logits, [back1, back2, back3, back4, back5]


def loss_gradient(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """d cross-entropy / d logits, averaged over the batch."""
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = exponents / exponents.sum(1, keepdims=True)
    probabilities[np.arange(len(labels)), labels] -= 1
    return probabilities / np.float32(len(labels))


def initial_weights(rng: np.random.Generator) -> Weights:
    weights: Weights = {}
    for name, shape in SHAPES.items():
        deviation = np.sqrt(2 / np.prod(shape[1:]))
        weights[f"{name}.weight"] = (rng.standard_normal(shape) * deviation).astype(np.float32)
        weights[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    return weights


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by -1, 0 or 1 pixel both ways, zeros coming in."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (8, 8), axis=(2, 3))
    down, right = rng.integers(0, 3, (2, len(images)))
    return windows[np.arange(len(images)), :, down, right]


def train(images: np.ndarray, labels: np.ndarray) -> Weights:
    """Adam, the rate falling along a half cosine, weights decaying a little."""
    rng = np.random.default_rng(SEED)
    weights = initial_weights(rng)
    first = {k: np.zeros_like(v) for k, v in weights.items()}
    second = {k: np.zeros_like(v) for k, v in weights.items()}
    step, steps = 0, EPOCHS * ceil_div(len(images), BATCH)
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, len(images), BATCH):
            chosen = order[start : start + BATCH]
            step += 1
            gradients: Weights = {}
            logits, backs = forward(shifted(images[chosen], rng), weights, gradients)
            gradient = loss_gradient(logits, labels[chosen])
            for back in reversed(backs):
                gradient = back(gradient)
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            for name, g in gradients.items():
                first[name] = 0.9 * first[name] + 0.1 * g
                second[name] = 0.999 * second[name] + 0.001 * g * g
                slope = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
                weights[name] = (weights[name] - rate * (slope + 1e-2 * weights[name])).astype(np.float32)
    return weights


def accuracy(images: np.ndarray, labels: np.ndarray, weights: Weights) -> float:
    return float((forward(images, weights, {})[0].argmax(1) == labels).mean())


def as_onnx(weights: Weights) -> onnx.ModelProto:
    def convolution(name: str, x: str) -> onnx.NodeProto:
        stride = STRIDES[name]
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        return helper.make_node("Conv", inputs, [f"{name}_output"], name=name, pads=[1] * 4, strides=[stride] * 2)

    def relu(name: str) -> onnx.NodeProto:
        return helper.make_node("Relu", [f"{name}_output"], [f"{name}_relu"], name=f"{name}.relu")

    nodes = [
        convolution("conv1", "input"),
        relu("conv1"),
        convolution("conv2", "conv1_relu"),
        relu("conv2"),
        helper.make_node("MaxPool", ["conv2_relu"], ["pool_output"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        convolution("conv3", "pool_output"),
        relu("conv3"),
        helper.make_node("Flatten", ["conv3_relu"], ["flatten_output"], name="flatten", axis=1),
        helper.make_node("Gemm", ["flatten_output", "fc.weight", "fc.bias"], ["output"], name="fc", transB=1),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 1, 8, 8))]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, 10))]
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "digits", inputs, outputs, stored)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="vdla.zoo.train_digits")


def main() -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    images, labels = data.images.astype(np.uint8), data.target.astype(np.uint8)
    order = np.random.default_rng(SEED).permutation(len(images))
    held_out, rest = order[:HELD_OUT], order[HELD_OUT:]
    weights = train(as_input(images[rest]), labels[rest])
    print(f"held-out accuracy {accuracy(as_input(images[held_out]), labels[held_out], weights):.4f}")
    here = Path(__file__).parent
    onnx.save(as_onnx(weights), here / "digits.onnx")
    np.savez_compressed(
        here / "digits_test.npz", images=images[held_out], labels=labels[held_out], training_images=images[rest][:128]
    )


if __name__ == "__main__":
    main()
