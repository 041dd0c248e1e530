"""YOLOv8 nano for 320x320 images and 80 classes: the layers and channels of its published configuration, decoded boxes out."""

from __future__ import annotations

import numpy as np
import onnx

from vdla.zoo.images import brightness
from vdla.zoo.network import Network, shipped_statistics

SEED = 8
SIZE = 320
STRIDES = (8, 16, 32)
CLASSES = 80
BINS = 16  # a box side's distance is the mean of a softmax over this many
CELLS = sum((SIZE // stride) ** 2 for stride in STRIDES)


def build(batch: int) -> onnx.ModelProto:
    """Images in 0..1 → float32[batch, 4 + 80, cells]: a box (centre, size, in pixels) and class probabilities for each cell."""
    return network(batch, shipped_statistics("yolo"))


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    return {"input": brightness(count, seed, SIZE)}


def network(batch: int, statistics: np.ndarray | None) -> onnx.ModelProto:
    net = Network("yolo", SEED, (batch, 3, SIZE, SIZE), statistics)
    maps = neck(net, backbone(net))
    raw = []
    for level, (x, channels) in enumerate(zip(maps, (64, 128, 256), strict=True)):
        sides = branch(net, x, f"head{level}.box", channels, 64, 4 * BINS)
        classes = branch(net, x, f"head{level}.class", channels, CLASSES, CLASSES)
        both = net.node("Concat", [sides, classes], f"head{level}.both", axis=1)
        raw.append(net.reshape(both, f"head{level}.flat", batch, 4 * BINS + CLASSES, -1))
    return net.model(decode(net, net.node("Concat", raw, "head.cells", axis=2), batch), (batch, 4 + CLASSES, CELLS))


def backbone(net: Network) -> tuple[str, str, str]:
    """Maps of 64, 128 and 256 channels at strides 8, 16 and 32."""
    x = unit(net, unit(net, "input", "stem", (3, 16), 3, 2), "down1", (16, 32), 3, 2)
    x = split_block(net, x, "stage1", (32, 32), 1)
    first = split_block(net, unit(net, x, "down2", (32, 64), 3, 2), "stage2", (64, 64), 2)
    second = split_block(net, unit(net, first, "down3", (64, 128), 3, 2), "stage3", (128, 128), 2)
    x = split_block(net, unit(net, second, "down4", (128, 256), 3, 2), "stage4", (256, 256), 1)
    pools = [unit(net, x, "pyramid.in", (256, 128), 1)]
    for number in range(3):
        pools.append(
            net.node("MaxPool", [pools[-1]], f"pyramid.pool{number}", kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1])
        )
    return first, second, unit(net, net.node("Concat", pools, "pyramid.join", axis=1), "pyramid.out", (512, 256), 1)


def neck(net: Network, maps: tuple[str, str, str]) -> tuple[str, str, str]:
    """Coarse maps brought to the fine ones and back; channels as they come."""
    fine, middle, coarse = maps
    net.weight("twice", np.array([1, 1, 2, 2], np.float32))
    down_middle = split_block(
        net, joined(net, enlarged(net, coarse, "grow1"), middle, "join1"), "neck1", (384, 128), 1, add=False
    )
    out_fine = split_block(
        net, joined(net, enlarged(net, down_middle, "grow2"), fine, "join2"), "neck2", (192, 64), 1, add=False
    )
    x = joined(net, unit(net, out_fine, "shrink1", (64, 64), 3, 2), down_middle, "join3")
    out_middle = split_block(net, x, "neck3", (192, 128), 1, add=False)
    x = joined(net, unit(net, out_middle, "shrink2", (128, 128), 3, 2), coarse, "join4")
    return out_fine, out_middle, split_block(net, x, "neck4", (384, 256), 1, add=False)


def unit(net: Network, x: str, name: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> str:
    """Convolution, batch norm, SiLU."""
    x = net.conv(x, f"{name}.conv", channels, kernel, stride)
    return net.silu(net.batch_norm(x, f"{name}.bn", channels[1]), f"{name}.silu")


def split_block(net: Network, x: str, name: str, channels: tuple[int, int], repeats: int, *, add: bool = True) -> str:
    """Half the channels pass, half go through `repeats` pairs of 3x3 units; all that arises is concatenated ("C2f")."""
    before, after = channels
    half = after // 2
    x = unit(net, x, f"{name}.in", (before, after), 1)
    parts = net.several("Split", [x, net.integers(f"{name}.halves", half, half)], f"{name}.split", 2, axis=1)
    for number in range(repeats):
        y = unit(net, parts[-1], f"{name}.{number}.first", (half, half), 3)
        y = unit(net, y, f"{name}.{number}.second", (half, half), 3)
        parts.append(net.node("Add", [parts[-1], y], f"{name}.{number}.add") if add else y)
    return unit(net, net.node("Concat", parts, f"{name}.join", axis=1), f"{name}.out", ((2 + repeats) * half, after), 1)


def enlarged(net: Network, x: str, name: str) -> str:
    """Twice the size, each pixel four times."""
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return net.node("Resize", [x, "", "twice"], name, **nearest)


def joined(net: Network, x: str, y: str, name: str) -> str:
    return net.node("Concat", [x, y], name, axis=1)


def branch(net: Network, x: str, name: str, before: int, width: int, after: int) -> str:
    """Two 3x3 units and a 1x1 convolution with bias."""
    x = unit(net, unit(net, x, f"{name}.0", (before, width), 3), f"{name}.1", (width, width), 3)
    return net.conv(x, f"{name}.2", (width, after), 1, bias=True)


def decode(net: Network, cells: str, batch: int) -> str:
    """Distances of the four sides from each cell's centre → centre and size in pixels, beside the classes' probabilities."""
    sizes = net.integers("head.sizes", 4 * BINS, CLASSES)
    sides, scores = net.several("Split", [cells, sizes], "head.split", 2, axis=1)
    x = net.reshape(sides, "bins", batch, 4, BINS, CELLS)
    x = net.node("Softmax", [net.node("Transpose", [x], "bins.first", perm=[0, 2, 1, 3])], "bins.softmax", axis=1)
    bins = net.weight("bins.weight", np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1))
    x = net.node("Conv", [x, bins], "bins.mean", kernel_shape=[1, 1])
    x = net.reshape(x, "distances", batch, 4, CELLS)
    left_top, right_bottom = net.several("Split", [x, net.integers("pairs", 2, 2)], "sides", 2, axis=1)
    centres, strides = (net.weight(f"cells.{what}", array) for what, array in cell_centres().items())
    start = net.node("Sub", [centres, left_top], "box.start")
    end = net.node("Add", [centres, right_bottom], "box.end")
    middle = net.node("Div", [net.node("Add", [start, end], "box.sum"), net.number("two", 2)], "box.middle")
    box = net.node("Concat", [middle, net.node("Sub", [end, start], "box.size")], "box", axis=1)
    pixels = net.node("Mul", [box, strides], "box.pixels")
    return net.node("Concat", [pixels, net.node("Sigmoid", [scores], "probabilities")], "detections", axis=1)


def cell_centres() -> dict[str, np.ndarray]:
    """centres: float32[1, 2, cells] in units of each cell's stride; strides: float32[1, cells]."""
    centres, strides = [], []
    for stride in STRIDES:
        points = np.arange(SIZE // stride, dtype=np.float32) + np.float32(0.5)
        y, x = np.meshgrid(points, points, indexing="ij")
        centres.append(np.stack([x.ravel(), y.ravel()]))
        strides.append(np.full(x.size, stride, np.float32))
    return {"centres": np.concatenate(centres, axis=1)[None], "strides": np.concatenate(strides)[None]}
