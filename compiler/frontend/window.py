"""Sliding windows: kernel, strides, dilations and pads from ONNX's attributes, with auto_pad and ceil_mode resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vdla.arithmetic import ceil_div
from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError

Sizes = tuple[int, ...]
"""One number for each spatial axis; pads have those before every axis, then those after."""
AUTO_PAD = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
LINE, IMAGE, VOLUME = 3, 4, 5
"""Ranks of tensors with one spatial axis, two and three."""


@dataclass(frozen=True, slots=True)
class Window:
    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    pads: Sizes

    def span(self, axis: int) -> int:
        """Input elements from a window's first to its last."""
        return self.dilations[axis] * (self.kernel[axis] - 1) + 1

    @property
    def is_dense(self) -> bool:
        """Whether windows have no gaps."""
        return set(self.dilations) <= {1}

    def attributes(self) -> dict[str, Any]:
        """Those of an operator over windows but the kernel."""
        return {"strides": self.strides, "pads": self.pads, "dilations": self.dilations}


def maps(node: OnnxNode, index: int, dtypes: tuple[str, ...]) -> Value:
    """A required input of shape (N, C, …). Raises `ModelError` on one without spatial axes."""
    value = node.input(index, dtypes)
    if len(value.shape) < LINE:
        raise ModelError(f"{node.op} works on maps", found=f"input of shape {value.shape}", expected="(N, C, …)")
    return value


def read_window(node: OnnxNode, kernel: Sizes, size: Sizes) -> Window:
    """The node's window over an input of spatial `size`. Raises `ModelError`."""
    strides, dilations = steps(node, len(size))
    window = Window(kernel, strides, dilations, (0,) * (2 * len(size)))
    auto_pad = automatic(node)
    if auto_pad in ("NOTSET", "VALID"):
        pads = explicit_pads(node, len(size))
        return Window(kernel, strides, dilations, pads if auto_pad == "NOTSET" else window.pads)
    node.ints("pads")  # what auto_pad overrules
    both = [same_pads(size[i], window.span(i), strides[i], auto_pad) for i in range(len(size))]
    return Window(kernel, strides, dilations, (*(before for before, _ in both), *(after for _, after in both)))


def steps(node: OnnxNode, rank: int) -> tuple[Sizes, Sizes]:
    """Strides and dilations."""
    ones = (1,) * rank
    return numbers(node, "strides", rank, ones), numbers(node, "dilations", rank, ones)


def automatic(node: OnnxNode) -> str:
    """One of AUTO_PAD."""
    found = node.string("auto_pad", "NOTSET") or "NOTSET"
    if found not in AUTO_PAD:
        raise ModelError(f"unsupported auto_pad of {node.op}", found=found, expected=", ".join(AUTO_PAD))
    return found


def explicit_pads(node: OnnxNode, rank: int) -> Sizes:
    """`pads`, none by default."""
    pads = node.ints("pads") or (0,) * (2 * rank)
    if len(pads) != 2 * rank or min(pads) < 0:
        expected = "(top, left, bottom, right)" if rank == IMAGE - 2 else "those before each axis, then those after"
        raise ModelError(f"pads of {node.op} are not {2 * rank} non-negative numbers", found=pads, expected=expected)
    return pads


def same_pads(size: int, span: int, stride: int, auto_pad: str) -> tuple[int, int]:
    """Padding that gives ceil(size / stride) positions; an odd element goes after (UPPER) or before (LOWER)."""
    total = max((ceil_div(size, stride) - 1) * stride + span - size, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if auto_pad == "SAME_UPPER" else (more, less)


def numbers(node: OnnxNode, name: str, count: int, default: Sizes | None = None) -> Sizes:
    """`count` positive numbers."""
    value = node.ints(name)
    if not value:
        value = default
    if value is None or len(value) != count or min(value) < 1:
        expected = "(vertical, horizontal)" if count == IMAGE - 2 else "one for each spatial axis"
        raise ModelError(f"{name} of {node.op} is not {count} positive numbers", found=value, expected=expected)
    return value


def ceil_extension(window: Window, size: Sizes) -> Sizes:
    """More padding after each axis with which floor division counts as ONNX's ceil_mode does.

    A last window that would start in the padding after the data is dropped, so the answer may be 0.
    """
    return tuple(extension(window, size[axis], axis) for axis in range(len(size)))


def extension(window: Window, size: int, axis: int) -> int:
    before, after, stride = window.pads[axis], window.pads[axis + len(window.kernel)], window.strides[axis]
    positions = ceil_div(size + before + after - window.span(axis), stride) + 1
    if (positions - 1) * stride >= size + before:
        positions -= 1
    return max((positions - 1) * stride + window.span(axis) - size - before - after, 0)


def flat(window: Window) -> Window:
    """A window along a line as one over an image of one row, so that whatever runs images runs it."""
    (k,), (s,), (d,), (before, after) = window.kernel, window.strides, window.dilations, window.pads
    return Window((1, k), (1, s), (1, d), (0, before, 0, after))


def as_image(builder: GraphBuilder, line: Value) -> Value:
    """[N, C, W] → [N, C, 1, W]."""
    return builder.emit("reshape", [line], suffix="image", shape=(*line.shape[:-1], 1, line.shape[-1]))


def as_line(builder: GraphBuilder, image: Value) -> Value:
    """[N, C, 1, W] → [N, C, W]."""
    return builder.emit("reshape", [image], suffix="line", shape=(*image.shape[:-2], image.shape[-1]))
