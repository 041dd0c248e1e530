"""Sliding windows: kernel, strides, dilations and pads from ONNX's attributes, with auto_pad and ceil_mode resolved."""

from __future__ import annotations

from dataclasses import dataclass

from vdla.arithmetic import ceil_div
from vdla.compiler.frontend.node import OnnxNode
from vdla.errors import ModelError

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # top, left, bottom, right
AUTO_PAD = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass(frozen=True, slots=True)
class Window:
    kernel: Pair
    strides: Pair
    dilations: Pair
    pads: Pads

    def span(self, axis: int) -> int:
        """Input elements from a window's first to its last."""
        return self.dilations[axis] * (self.kernel[axis] - 1) + 1


def read_window(node: OnnxNode, kernel: Pair, size: Pair) -> Window:
    """The node's window over an input of (height, width) `size`. Raises `ModelError`."""
    strides = pair(node, "strides", (1, 1))
    dilations = pair(node, "dilations", (1, 1))
    auto_pad = node.string("auto_pad", "NOTSET")
    if auto_pad not in AUTO_PAD:
        raise ModelError(f"unsupported auto_pad of {node.op}", found=auto_pad, expected=", ".join(AUTO_PAD))
    given = node.ints("pads")
    window = Window(kernel, strides, dilations, (0, 0, 0, 0))
    if auto_pad in ("NOTSET", "VALID"):
        pads = given if given is not None and auto_pad == "NOTSET" else (0, 0, 0, 0)
        if len(pads) != 4 or min(pads) < 0:
            raise ModelError(
                f"pads of {node.op} are not four non-negative numbers", found=pads, expected="(top, left, bottom, right)"
            )
        return Window(kernel, strides, dilations, (pads[0], pads[1], pads[2], pads[3]))
    (top, bottom), (left, right) = (same_pads(size[i], window.span(i), strides[i], auto_pad) for i in (0, 1))
    return Window(kernel, strides, dilations, (top, left, bottom, right))


def same_pads(size: int, span: int, stride: int, auto_pad: str) -> Pair:
    """Padding that gives ceil(size / stride) positions; an odd element goes after (UPPER) or before (LOWER)."""
    total = max((ceil_div(size, stride) - 1) * stride + span - size, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if auto_pad == "SAME_UPPER" else (more, less)


def pair(node: OnnxNode, name: str, default: Pair | None) -> Pair:
    """Two positive numbers, (vertical, horizontal)."""
    value = node.ints(name)
    if value is None:
        value = default
    if value is None or len(value) != 2 or min(value) < 1:
        raise ModelError(f"{name} of {node.op} is not two positive numbers", found=value, expected="(vertical, horizontal)")
    return (value[0], value[1])


def ceil_extension(window: Window, size: Pair) -> Pair:
    """More padding below and to the right with which floor division counts as ONNX's ceil_mode does.

    A last window that would start in the padding after the data is dropped, so the answer may be 0.
    """
    return (extension(window, size[0], 0), extension(window, size[1], 1))


def extension(window: Window, size: int, axis: int) -> int:
    before, after, stride = window.pads[axis], window.pads[axis + 2], window.strides[axis]
    positions = ceil_div(size + before + after - window.span(axis), stride) + 1
    if (positions - 1) * stride >= size + before:
        positions -= 1
    return max((positions - 1) * stride + window.span(axis) - size - before - after, 0)
