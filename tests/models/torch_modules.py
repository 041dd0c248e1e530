"""Networks as people write them in PyTorch: every family of the zoo and what else is common, small, or at full size.

Each function takes a width (1 is the published network, smaller ones are for tests) and gives a module and its inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Built = tuple[nn.Module, tuple[Tensor, ...]]
Activation = type[nn.Module]
FULL, SMALL = 1.0, 0.125


def scaled(channels: float, width: float, least: int = 8) -> int:
    """Channels at a width, a multiple of 8."""
    return max(least, int(channels * width + 4) // 8 * 8)


def image(width: float, channels: int = 3, size: int = 224) -> tuple[Tensor, ...]:
    return (torch.randn(1, channels, *(2 * [size if width == FULL else size // 4 // 32 * 32 or 32])),)


def fewer(count: int, width: float) -> int:
    """Repetitions of a block: all of them in the published network, else no more than two."""
    return count if width == FULL else min(count, 2)


def conv_bn(
    before: int, after: int, kernel: int, stride: int = 1, groups: int = 1, act: Activation | None = nn.ReLU
) -> nn.Module:
    layers = [nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(after)]
    return nn.Sequential(*layers, *([act()] if act else []))


class Residual(nn.Module):
    """ReLU of a branch plus the input, which a 1x1 convolution fits where shapes differ."""

    def __init__(self, branch: nn.Module, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.branch = branch
        self.fit = nn.Identity() if stride == 1 and before == after else conv_bn(before, after, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.branch(x) + self.fit(x))


def classifier(features: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(features, 1000)


def resnet(width: float, blocks: tuple[int, ...], bottleneck: bool) -> Built:
    before = scaled(64, width)
    layers: list[nn.Module] = [conv_bn(3, before, 7, 2), nn.MaxPool2d(3, 2, 1)]
    for stage, count in enumerate(blocks):
        inner = scaled(64 << stage, width)
        after = inner * (4 if bottleneck else 1)
        for block in range(fewer(count, width)):
            stride = 2 if stage and not block else 1
            if bottleneck:
                branch = [conv_bn(before, inner, 1), conv_bn(inner, inner, 3, stride), conv_bn(inner, after, 1, act=None)]
            else:
                branch = [conv_bn(before, inner, 3, stride), conv_bn(inner, inner, 3, act=None)]
            layers.append(Residual(nn.Sequential(*branch), before, after, stride))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1000)), image(width)


def resnet18(width: float) -> Built:
    return resnet(width, (2, 2, 2, 2), bottleneck=False)


def resnet50(width: float) -> Built:
    return resnet(width, (3, 4, 6, 3), bottleneck=True)


def mobilenet(width: float) -> Built:
    layers, before = [conv_bn(3, scaled(32, width), 3, 2, act=nn.ReLU6)], scaled(32, width)
    rows = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * fewer(5, width), (1024, 2), (1024, 1))
    for channels, stride in rows:
        after = scaled(channels, width)
        layers += [conv_bn(before, before, 3, stride, before, nn.ReLU6), conv_bn(before, after, 1, act=nn.ReLU6)]
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1000), nn.Softmax(-1)), image(width)


class SqueezeExcite(nn.Module):
    """Channels scaled by what their averages say."""

    def __init__(self, channels: int, inner: int, act: Activation, gate: Activation) -> None:
        super().__init__()
        layers = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inner, 1), act(), nn.Conv2d(inner, channels, 1), gate())
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layers(x)


class Inverted(nn.Module):
    """Expand, depthwise, perhaps squeeze-and-excite, project; added to the input where shapes agree."""

    def __init__(
        self,
        before: int,
        wide: int,
        after: int,
        kernel: int,
        stride: int,
        act: Activation,
        excite: nn.Module | None = None,
    ) -> None:
        super().__init__()
        layers = [conv_bn(before, wide, 1, act=act)] if wide != before else []
        layers += [conv_bn(wide, wide, kernel, stride, wide, act), excite or nn.Identity(), conv_bn(wide, after, 1, act=None)]
        self.layers, self.adds = nn.Sequential(*layers), stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


def mobilenet_v2(width: float) -> Built:
    before = scaled(32, width)
    layers: list[nn.Module] = [conv_bn(3, before, 3, 2, act=nn.ReLU6)]
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expand, channels, count, stride in stages:
        for block in range(fewer(count, width)):
            after = scaled(channels, width)
            layers.append(Inverted(before, before * expand, after, 3, 1 if block else stride, nn.ReLU6))
            before = after
    last = scaled(1280, width)
    return nn.Sequential(*layers, conv_bn(before, last, 1, act=nn.ReLU6), *classifier(last)), image(width)


def mobilenet_v3(width: float) -> Built:
    """Large: hard swish, hard sigmoid, squeeze-and-excite."""
    rows = (  # kernel, expanded, channels, squeeze-and-excite, hard swish, stride
        (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
        (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
        (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1), (5, 960, 160, 1, 1, 1),
    )  # fmt: skip
    before = scaled(16, width)
    layers: list[nn.Module] = [conv_bn(3, before, 3, 2, act=nn.Hardswish)]
    for kernel, expanded, channels, excite, swish, stride in rows if width == FULL else rows[:12:2]:
        wide, after = scaled(expanded, width), scaled(channels, width)
        squeeze = SqueezeExcite(wide, scaled(wide / 4, 1), nn.ReLU, nn.Hardsigmoid) if excite else None
        layers.append(Inverted(before, wide, after, kernel, stride, nn.Hardswish if swish else nn.ReLU, squeeze))
        before = after
    wide, last = scaled(960, width), scaled(1280, width)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, last), nn.Hardswish(), nn.Linear(last, 1000))
    return nn.Sequential(*layers, conv_bn(before, wide, 1, act=nn.Hardswish), *head), image(width)


def efficientnet(width: float) -> Built:
    """B0: SiLU, squeeze-and-excite, 5x5 depthwise."""
    rows = (  # expansion, channels, blocks, stride, kernel
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )  # fmt: skip
    before = scaled(32, width)
    layers: list[nn.Module] = [conv_bn(3, before, 3, 2, act=nn.SiLU)]
    for expand, channels, count, stride, kernel in rows:
        for block in range(fewer(count, width)):
            wide, after = before * expand, scaled(channels, width)
            squeeze = SqueezeExcite(wide, max(1, before // 4), nn.SiLU, nn.Sigmoid)
            layers.append(Inverted(before, wide, after, kernel, 1 if block else stride, nn.SiLU, squeeze))
            before = after
    last = scaled(1280, width)
    return nn.Sequential(*layers, conv_bn(before, last, 1, act=nn.SiLU), *classifier(last)), image(width)


class LanguageModel(nn.Module):
    """Words in, a score for every next word out."""

    def __init__(self, kind: type[nn.RNNBase], words: int, units: int, layers: int, both_ways: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(words, units)
        self.layers = kind(units, units, layers, batch_first=True, bidirectional=both_ways)
        self.scores = nn.Linear(units * (2 if both_ways else 1), words)

    def forward(self, words: Tensor) -> Tensor:
        return self.scores(self.layers(self.table(words))[0])


def language_model(kind: type[nn.RNNBase], width: float, both_ways: bool = False) -> Built:
    words, steps = (10_000, 35) if width == FULL else (50, 7)
    return LanguageModel(kind, words, scaled(650, width), 2, both_ways), (torch.randint(0, words, (1, steps)),)


def lstm_language_model(width: float) -> Built:
    return language_model(nn.LSTM, width)


def gru_language_model(width: float) -> Built:
    return language_model(nn.GRU, width)


def bidirectional_lstm(width: float) -> Built:
    return language_model(nn.LSTM, width, both_ways=True)


class WithStates(nn.Module):
    """A recurrent layer whose states come in and go out, as streaming models have them."""

    def __init__(self, size: int, units: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(size, units)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.lstm(x, (h, c))
        return y, h, c


def lstm(width: float) -> Built:
    size, units = scaled(128, width), scaled(256, width)
    return WithStates(size, units), (torch.randn(9, 2, size), torch.randn(1, 2, units), torch.randn(1, 2, units))


class Gru(nn.Module):
    def __init__(self, size: int, units: int) -> None:
        super().__init__()
        self.gru = nn.GRU(size, units, 2, bidirectional=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.gru(x)
        return y, h


def gru(width: float) -> Built:
    return Gru(scaled(128, width), scaled(256, width)), (torch.randn(9, 2, scaled(128, width)),)


def dqn(width: float) -> Built:
    a, b, c, hidden = (scaled(channels, width) for channels in (32, 64, 64, 512))
    convolutions = (nn.Conv2d(4, a, 8, 4), nn.ReLU(), nn.Conv2d(a, b, 4, 2), nn.ReLU(), nn.Conv2d(b, c, 3), nn.ReLU())
    dense = (nn.Flatten(), nn.Linear(49 * c, hidden), nn.ReLU(), nn.Linear(hidden, 18))
    return nn.Sequential(*convolutions, *dense), (torch.randn(1, 4, 84, 84),)


def dcgan(width: float) -> Built:
    widths = [scaled(channels, width) for channels in (1024, 512, 256, 128)]
    layers: list[nn.Module] = [nn.ConvTranspose2d(100, widths[0], 4, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1), nn.Tanh()), (torch.randn(1, 100, 1, 1),)


def transformer_layer(width: float) -> Built:
    size, tokens = scaled(768, width), 128 if width == FULL else 11
    layer = nn.TransformerEncoderLayer(size, 12 if width == FULL else 4, 4 * size, activation="gelu", batch_first=True)
    return nn.Sequential(layer), (torch.randn(1, tokens, size),)


def transformer_encoder(width: float) -> Built:
    """Pre-norm, ReLU, two layers, the sequence first."""
    size, tokens = scaled(512, width), 64 if width == FULL else 6
    layer = nn.TransformerEncoderLayer(size, 8 if width == FULL else 4, 4 * size, norm_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), (torch.randn(tokens, 1, size),)


class VisionTransformer(nn.Module):
    def __init__(self, size: int, patch: int, grid: int, heads: int, layers: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, size, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, size))
        self.positions = nn.Parameter(torch.randn(1, grid * grid + 1, size))
        layer = nn.TransformerEncoderLayer(size, heads, 4 * size, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(size), nn.Linear(size, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.layers(x))[:, 0])


def vit(width: float) -> Built:
    if width == FULL:
        return VisionTransformer(192, 16, 14, 3, 12), image(width)
    return VisionTransformer(scaled(192, width), 8, 4, 2, 2), image(width)


class UNet(nn.Module):
    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        befores = [1, *widths[:-1]]
        self.down = nn.ModuleList(self.twice(b, a) for b, a in zip(befores, widths, strict=True))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for b, a in pairs)
        self.up = nn.ModuleList(self.twice(2 * a, a) for _, a in pairs)
        self.classes = nn.Conv2d(widths[0], 2, 1)

    @staticmethod
    def twice(before: int, after: int) -> nn.Module:
        return nn.Sequential(conv_bn(before, after, 3), conv_bn(after, after, 3))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for number, down in enumerate(self.down):
            x = down(functional.max_pool2d(x, 2) if number else x)
            skips.append(x)
        for grow, up, skip in zip(self.grow, self.up, skips[-2::-1], strict=True):
            x = up(torch.cat([skip, grow(x)], 1))
        return self.classes(x)


def unet(width: float) -> Built:
    return UNet([scaled(channels, width) for channels in (16, 32, 64, 128, 256)]), image(width, 1, 256)


class SplitBlock(nn.Module):
    """YOLOv8's C2f."""

    def __init__(self, before: int, after: int, add: bool) -> None:
        super().__init__()
        half = after // 2
        self.first, self.last = conv_bn(before, after, 1, act=nn.SiLU), conv_bn(3 * half, after, 1, act=nn.SiLU)
        self.inner, self.add = nn.Sequential(conv_bn(half, half, 3, act=nn.SiLU), conv_bn(half, half, 3, act=nn.SiLU)), add

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x).chunk(2, 1)
        c = self.inner(b)
        return self.last(torch.cat([a, b, b + c if self.add else c], 1))


class Yolo(nn.Module):
    """Backbone, pooled pyramid, a neck that goes up once, two heads, decoded boxes."""

    def __init__(self, width: float) -> None:
        super().__init__()
        a, b, c, d = (scaled(channels, width, 16) for channels in (32, 64, 128, 256))
        self.fine = nn.Sequential(conv_bn(3, a, 3, 2, act=nn.SiLU), conv_bn(a, b, 3, 2, act=nn.SiLU), SplitBlock(b, b, True))
        self.middle = nn.Sequential(conv_bn(b, c, 3, 2, act=nn.SiLU), SplitBlock(c, c, True))
        self.coarse = nn.Sequential(conv_bn(c, d, 3, 2, act=nn.SiLU), SplitBlock(d, d, True))
        self.pool, self.pooled = nn.MaxPool2d(5, 1, 2), conv_bn(4 * d, d, 1, act=nn.SiLU)
        self.neck = SplitBlock(c + d, c, False)
        self.heads = nn.ModuleList(nn.Conv2d(channels, 64 + 80, 1) for channels in (c, d))
        self.bins = nn.Conv2d(16, 1, 1, bias=False)
        self.bins.weight.data[:] = torch.arange(16.0).view(1, 16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.middle(self.fine(x))
        pools = [self.coarse(middle)]
        for _ in range(3):
            pools.append(self.pool(pools[-1]))
        coarse = self.pooled(torch.cat(pools, 1))
        middle = self.neck(torch.cat([functional.interpolate(coarse, scale_factor=2.0, mode="nearest"), middle], 1))
        maps = [head(y) for head, y in zip(self.heads, (middle, coarse), strict=True)]
        sides, classes = torch.cat([y.flatten(2) for y in maps], 2).split((64, 80), 1)
        batch, _, cells = sides.shape
        distances = self.bins(sides.view(batch, 4, 16, cells).transpose(1, 2).softmax(1)).view(batch, 4, cells)
        left_top, right_bottom = distances.chunk(2, 1)
        centres = torch.cat([self.centres(y) for y in maps], 1)
        start, end = centres - left_top, centres + right_bottom
        return torch.cat([(start + end) / 2, end - start, classes.sigmoid()], 1)

    @staticmethod
    def centres(y: Tensor) -> Tensor:
        rows, columns = torch.meshgrid(torch.arange(y.shape[2]) + 0.5, torch.arange(y.shape[3]) + 0.5, indexing="ij")
        return torch.stack([columns.reshape(-1), rows.reshape(-1)])


def yolo(width: float) -> Built:
    return Yolo(width), image(width, size=320)


BUILDERS = (
    resnet18, resnet50, mobilenet, mobilenet_v2, mobilenet_v3, efficientnet, lstm_language_model, gru_language_model,
    bidirectional_lstm, lstm, gru, dqn, dcgan, transformer_layer, transformer_encoder, vit, unet, yolo,
)  # fmt: skip
FAMILIES: dict[str, Callable[[float], Built]] = {build.__name__: build for build in BUILDERS}


def built(name: str, width: float) -> Built:
    """The module in evaluation mode and its inputs, seeded; batch norms have the statistics of random inputs."""
    torch.manual_seed(sum(map(ord, name)))
    module, inputs = FAMILIES[name](width)
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        module.train()
        with torch.no_grad():
            for _ in range(3):
                module(*(torch.randn(4, *x.shape[1:]) for x in inputs))
    return module.eval(), inputs
