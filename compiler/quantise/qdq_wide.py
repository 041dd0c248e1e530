"""Layers whose weights, less their zero points, do not fit int8: a second sum over the inputs again.

    before   Σ w·x, w from -255 to 255
    after    Σ a·x + Σ b·x, a and b int8, a + b = w: one layer over concat(x, x'), where x' has the channels of x that b needs

Asymmetric weights reach beyond int8 by a few of the largest, so x' has few channels: a 1×1 convolution by zeros and ones picks
them. Where groups keep their channels apart, every row (or column) of x is there twice, and the kernel has twice as many.
Every product is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vdla.compiler.operators.registry import with_defaults
from vdla.compiler.quantise.emit import NodeSpec, Operand, emit_conv2d, emit_dense, emit_requantize
from vdla.compiler.quantise.qdq_weights import NoIntegerForm, as_bytes
from vdla.compiler.quantise.qdq_writer import Writer
from vdla.compiler.quantise.scales import QuantisedWeights

Array = np.ndarray
Layer = tuple[Operand, Array, Mapping[str, Any]]
"""What is read, int8 weights [O, …], and the attributes of conv2d."""

BLOCK = 16
"""Channels that a tensor is joined at: what lies in whole blocks is joined without a copy."""


def narrowed(c: Writer, x: Operand, levels: Array, a: Mapping[str, Any], source: str) -> Layer:
    """A conv2d, or a dense layer for weights of two dimensions, with int8 weights alone. levels: int16[O, …]."""
    parts = as_bytes(levels)
    if len(parts) == 1:
        return x, parts[0], a
    if a.get("groups", 1) > 1:
        return _repeated(c, x, parts, a, source)
    picked = [np.flatnonzero(part.any(axis=tuple(d for d in range(part.ndim) if d != 1))) for part in parts[1:]]
    channels, first = levels.shape[1], parts[0]
    needed = [part[:, k] for part, k in zip(parts[1:], picked, strict=True)]
    if channels < BLOCK and c.comes_in(x):
        slices = [_sliced(c, x, int(k), source) for k in np.concatenate(picked)]
        joined = c.move("concat", [x, *slices], f"{x.name}.wide", source, axis=1)
        return joined, np.concatenate([first, *needed], axis=1), a
    if channels % BLOCK:
        everything = np.concatenate([np.arange(channels), *picked])
        return _picked(c, x, everything, source), np.concatenate([first, *needed], axis=1), a
    pieces, weights = [x], [first]
    for part, k in zip(parts[1:], picked, strict=True):
        if 2 * len(k) < channels:
            last = part is parts[-1]
            wanted = k if last else np.pad(k, (0, -len(k) % BLOCK), mode="edge")
            chosen = part[:, wanted]
            chosen[:, len(k) :] = 0
            pieces.append(_picked(c, x, wanted, source))
            weights.append(chosen)
        else:
            pieces.append(_copied(c, x, source))
            weights.append(part)
    joined = c.move("concat", [_own(c, x, source), *pieces[1:]], f"{x.name}.wide", source, axis=1)
    return joined, np.concatenate(weights, axis=1), a


def _own(c: Writer, x: Operand, source: str) -> Operand:
    """x, or a copy of it where it has its place in memory within another tensor already."""
    placed = any(node.op == "concat" and x.name in (*node.inputs, *node.outputs) for node in c.nodes)
    meanings = [name for name, operand in c.levels.items() if operand.name == x.name]
    joins = any(reader.op == "concat" for name in meanings for reader in c.consumers.get(name, ()))
    return _copied(c, x, source) if placed or joins else x


def _sliced(c: Writer, x: Operand, channel: int, source: str) -> Operand:
    """One channel."""
    shape = c.shape(x.name)
    starts = tuple(channel if d == 1 else 0 for d in range(len(shape)))
    sizes = tuple(1 if d == 1 else n for d, n in enumerate(shape))
    name = f"{x.name}.channel{channel}"
    return c.move("slice", [x], name, source, starts=starts, steps=(1,) * len(shape), sizes=sizes)


def _copied(c: Writer, x: Operand, source: str) -> Operand:
    copy = c.new_levels(f"{x.name}.again", c.shape(x.name), x.affine)
    c.append(emit_requantize(NodeSpec(copy.name, source, copy), x))
    return copy


def _picked(c: Writer, x: Operand, channels: Array, source: str) -> Operand:
    """Some of x's channels, one after another."""
    n, all_channels, *places = c.shape(x.name)
    output = c.new_levels(f"{x.name}.picked", (n, len(channels), *places), x.affine)
    one = np.zeros((len(channels), all_channels), np.int8)
    one[np.arange(len(channels)), channels] = 1
    spec = NodeSpec(output.name, source, output)
    if not places:
        c.append(emit_dense(spec, x, _unscaled(one)))
    else:
        c.append(emit_conv2d(spec, x, _unscaled(one.reshape(*one.shape, 1, 1)), with_defaults("conv2d", {})))
    return output


def _unscaled(weights: Array) -> QuantisedWeights:
    return QuantisedWeights(weights, np.ones(len(weights)), np.zeros(len(weights), np.int64))


def _repeated(c: Writer, x: Operand, parts: list[Array], a: Mapping[str, Any], source: str) -> Layer:
    """Every row of x as often as there are parts, so that a kernel of as many times its rows meets each with every part."""
    axis = next((d for d in (0, 1) if a["dilations"][d] == 1), None)
    if axis is None:
        raise NoIntegerForm("groups of dilated kernels, whose weights less their zero points do not fit int8")
    times = len(parts)
    repeats = tuple(times if d == 2 + axis else 1 for d in range(4))
    wide = c.move("repeat", [x], f"{x.name}.repeated", source, repeats=repeats)
    weights = np.stack(parts, axis=3 + axis).reshape(*(n * r for n, r in zip(parts[0].shape, repeats, strict=True)))
    strides = tuple(s * (times if d == axis else 1) for d, s in enumerate(a["strides"]))
    pads = tuple(p * (times if d % 2 == axis else 1) for d, p in enumerate(a["pads"]))
    return wide, weights, {**a, "strides": strides, "pads": pads}
