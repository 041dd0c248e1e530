"""Architectures people really run, at reduced width and resolution, built on `random_models.Network` with seeded weights."""

from __future__ import annotations

import numpy as np
import onnx
from random_models import Network, model_of


def convolved(net: Network, x: str, out: int, kernel: int, stride: int = 1, *, groups: int = 1, act: str = "Relu") -> str:
    """Convolution that keeps the size over the stride, and an activation ("" for none)."""
    pad = (kernel - 1) // 2
    y = net.conv(x, out, (kernel, kernel), strides=(stride, stride), pads=(pad,) * 4, groups=groups)
    return net.same(act, y) if act else y


def max_pool(net: Network, x: str, kernel: int = 3, stride: int = 2, pad: int = 0, **attributes: int) -> str:
    return net.pool("MaxPool", x, (kernel, kernel), (stride, stride), (pad,) * 4, **attributes)


def classified(net: Network, x: str, classes: int = 10) -> str:
    return net.same("Softmax", net.dense(net.flatten(net.global_pool(x)), classes), axis=-1)


def alexnet(net: Network) -> str:
    """The original: large first strides, local response normalisation, two groups, three dense layers."""
    x = net.conv(net.input(1, 3, 67, 67), 48, (11, 11), strides=(4, 4), pads=(0, 0, 0, 0))
    x = max_pool(net, net.same("LRN", net.same("Relu", x), size=5, alpha=1e-3))
    x = convolved(net, x, 64, 5, groups=2)
    x = max_pool(net, net.same("LRN", x, size=5, alpha=1e-3))
    x = convolved(net, convolved(net, convolved(net, x, 96, 3), 96, 3, groups=2), 64, 3, groups=2)
    x = net.flatten(x)
    for width in (128, 64):
        x = net.same("Relu", net.dense(x, width))
    return net.same("Softmax", net.dense(x, 10), axis=-1)


def squeezenet(net: Network) -> str:
    """SqueezeNet 1.1: fire modules, max pools in ceil mode, a convolution for classifier."""

    def fire(x: str, squeeze: int, expand: int) -> str:
        x = convolved(net, x, squeeze, 1)
        return net.concat([convolved(net, x, expand, 1), convolved(net, x, expand, 3)])

    x = net.same("Relu", net.conv(net.input(1, 3, 57, 57), 64, (3, 3), strides=(2, 2), pads=(0, 0, 0, 0)))
    x = max_pool(net, x, ceil_mode=1)
    x = max_pool(net, fire(fire(x, 16, 64), 16, 64), ceil_mode=1)
    x = max_pool(net, fire(fire(x, 32, 128), 32, 128), ceil_mode=1)
    x = fire(fire(x, 48, 192), 64, 256)
    return net.flatten(net.global_pool(convolved(net, x, 10, 1)))


def mobilenet_v3(net: Network) -> str:
    """Inverted bottlenecks with depthwise convolutions of 3 and 5, squeeze-and-excite, hard-swish."""

    def bottleneck(x: str, expand: int, out: int, kernel: int, stride: int, excite: bool, act: str) -> str:
        y = convolved(net, convolved(net, x, expand, 1, act=act), expand, kernel, stride, groups=expand, act=act)
        if excite:
            gate = net.same("Relu", net.conv(net.global_pool(y), expand // 4))
            y = net.same("Mul", y, net.same("HardSigmoid", net.conv(gate, expand), alpha=1 / 6))
        y = convolved(net, y, out, 1, act="")
        return net.same("Add", y, x) if net.shapes[y] == net.shapes[x] else y

    x = convolved(net, net.input(1, 3, 48, 48), 16, 3, 2, act="HardSwish")
    x = bottleneck(x, 16, 16, 3, 2, True, "Relu")
    x = bottleneck(x, 72, 24, 3, 2, False, "Relu")
    x = bottleneck(x, 88, 24, 3, 1, False, "Relu")
    x = bottleneck(x, 96, 40, 5, 2, True, "HardSwish")
    x = bottleneck(x, 240, 40, 5, 1, True, "HardSwish")
    return classified(net, convolved(net, x, 144, 1, act="HardSwish"))


def inception(net: Network) -> str:
    """Two blocks of four branches, one of them a padded average pool."""

    def block(x: str, pool: str) -> str:
        pooled = net.pool(pool, x, (3, 3), (1, 1), (1, 1, 1, 1))
        return net.concat(
            [
                convolved(net, x, 64, 1),
                convolved(net, convolved(net, x, 48, 1), 64, 3),
                convolved(net, convolved(net, x, 16, 1), 32, 5),
                convolved(net, pooled, 32, 1),
            ]
        )

    x = max_pool(net, convolved(net, net.input(1, 3, 48, 48), 64, 7, 2), pad=1)
    return classified(net, block(block(x, "MaxPool"), "AveragePool"))


def resnet50(net: Network, groups: int = 1) -> str:
    """Bottlenecks 1×1, 3×3, 1×1 with projections, at a quarter of the width; with groups, ResNeXt."""

    def bottleneck(x: str, width: int, stride: int) -> str:
        y = convolved(net, convolved(net, x, width, 1), width, 3, stride, groups=groups)
        y = net.batch_norm(convolved(net, y, 4 * width, 1, act=""))
        if net.shapes[y] != net.shapes[x]:
            x = net.batch_norm(convolved(net, x, 4 * width, 1, stride, act=""))
        return net.same("Relu", net.same("Add", y, x))

    x = max_pool(net, convolved(net, net.input(1, 3, 56, 56), 16, 7, 2), pad=1)
    for width, stride in ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        x = bottleneck(x, width, stride)
    return classified(net, x)


def resnext(net: Network) -> str:
    return resnet50(net, groups=8)


def shufflenet_like(net: Network) -> str:
    """Grouped 1×1 convolutions whose groups divide no block, and a channel shuffle of reshapes and a transpose."""
    x = convolved(net, net.input(1, 3, 32, 32), 24, 3, 2)
    x = convolved(net, x, 60, 1)
    y = convolved(net, x, 60, 1, groups=3)
    n, c, h, w = net.shapes[y]
    five = net.constant(np.array([n, 3, c // 3, h, w], np.int64))
    y = net.add("Transpose", [net.add("Reshape", [y, five], (n, 3, c // 3, h, w))], (n, c // 3, 3, h, w), perm=[0, 2, 1, 3, 4])
    y = net.add("Reshape", [y, net.constant(np.array([n, c, h, w], np.int64))], (n, c, h, w))
    y = convolved(net, y, 60, 3, groups=60, act="")
    return classified(net, net.same("Relu", net.same("Add", convolved(net, y, 60, 1, groups=3, act=""), x)))


ARCHITECTURES = {f.__name__: f for f in (alexnet, squeezenet, mobilenet_v3, inception, resnet50, resnext, shufflenet_like)}


def architecture(name: str) -> onnx.ModelProto:
    net = Network(np.random.default_rng(0))
    net.outputs.append(ARCHITECTURES[name](net))
    return model_of(net, name)
