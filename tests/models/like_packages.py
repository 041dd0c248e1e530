"""Small networks written as those in PyPI's packages are: the same forms and habits of exporters, with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper, parser

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Small:
    """dims, bind: what is open in the model, as in `import_onnx`."""

    model: onnx.ModelProto
    inputs: Arrays
    dims: Mapping[str, int]
    bind: Arrays = field(default_factory=dict)


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    scale = np.prod(shape[1:]) ** -0.5
    return np.random.default_rng([seed, *shape]).normal(0, scale, shape).astype(np.float32)


def model_of(text: str, opset: int, stored: Arrays) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>{text}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in stored.items())
    return model


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def voice() -> Small:
    """silero-vad: an If on the sampling rate, a spectrum by convolution after a reflecting pad, an LSTM whose states come in
    and go out as one tensor."""
    text = """voice (float[batch, samples] sound, float[2, batch, 8] state, int64 sr)
            => (float[N, 1] speech, float[A, B, C] next) {
        fast = Constant<value = int64 {16000}>()
        is_fast = Equal(sr, fast)
        speech, next = If (is_fast) <
            then_branch = high () => (float[N, 1] p, float[A, B, C] s) {
                rows = Unsqueeze(sound, one)
                padded = Pad<mode = "reflect">(rows, pads)
                waves = Conv<strides = [8]>(padded, window)
                real = Slice(waves, zero, five, one)
                imaginary = Slice(waves, five, ten, one)
                real2 = Mul(real, real)
                imaginary2 = Mul(imaginary, imaginary)
                power = Add(real2, imaginary2)
                spectrum = Sqrt(power)
                encoded = Conv<strides = [2], pads = [1, 1]>(spectrum, encoder, encoder_bias)
                features = Relu(encoded)
                steps = Transpose<perm = [2, 0, 1]>(features)
                h_row, c_row = Split<axis = 0>(state)
                y, h, c = LSTM<hidden_size = 8>(steps, w, r, b, , h_row, c_row)
                flat = Squeeze(y, one)
                channels = Transpose<perm = [1, 2, 0]>(flat)
                last = Conv(channels, decoder)
                mean = ReduceMean<axes = [2], keepdims = 0>(last)
                p = Sigmoid(mean)
                s = Concat<axis = 0>(h, c)
            },
            else_branch = low () => (float[N, 1] p2, float[A, B, C] s2) {
                mean2 = ReduceMean<axes = [1], keepdims = 1>(sound)
                p2 = Sigmoid(mean2)
                s2 = Identity(state)
            }>
    }"""
    stored = {
        "pads": integers(0, 0, 3, 0, 0, 5), "zero": integers(0), "one": integers(1), "five": integers(5), "ten": integers(10),
        "window": weights(10, 1, 16), "encoder": weights(6, 5, 3), "encoder_bias": weights(6), "decoder": weights(1, 8, 1),
        "w": weights(1, 32, 6), "r": weights(1, 32, 8), "b": weights(1, 64),
    }  # fmt: skip
    inputs = {"sound": weights(1, 96, seed=1) * 9, "state": weights(2, 1, 8, seed=2), "sr": np.array(16_000)}
    return Small(model_of(text, 16, stored), inputs, {"batch": 1, "samples": 96}, {"sr": np.array(16_000)})


def wake_word() -> Small:
    """openwakeword's hey_jarvis: a second network decides again, if the first one's score is high."""
    text = """wake (float[1, 4, 6] x) => (float[1, 1] y) {
        flat = Flatten(x)
        hidden = Gemm<transB = 1>(flat, w1, b1)
        mean = ReduceMean<axes = [-1]>(hidden)
        centred = Sub(hidden, mean)
        active = Relu(centred)
        score = Gemm<transB = 1>(active, w2)
        first = Sigmoid(score)
        half = Constant<value = float {0.3}>()
        high = GreaterOrEqual(first, half)
        one = Squeeze(high)
        y = If (one) <
            then_branch = again () => (float[1, 1] t) { second = Gemm<transB = 1>(flat, w3) t = Sigmoid(second) },
            else_branch = kept () => (float[1, 1] e) { e = Identity(first) }>
    }"""
    stored = {"w1": weights(9, 24), "b1": weights(9), "w2": weights(1, 9), "w3": weights(1, 24)}
    return Small(model_of(text, 13, stored), {"x": weights(1, 4, 6, seed=1) * 5}, {})


def text_finder() -> Small:
    """PP-OCR's detector: hard sigmoids that excite channels, maps enlarged by nearest neighbour, transposed convolutions."""
    text = """finder (float[p2o_0, 3, p2o_1, p2o_2] x) => (float[A, 1, B, C] y) {
        fine = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w1, b1)
        cubic = HardSigmoid<alpha = 0.16666667, beta = 0.5>(fine)
        swish = Mul(fine, cubic)
        coarse = Conv<strides = [2, 2], pads = [1, 1, 1, 1], group = 8>(swish, w2)
        squeezed = GlobalAveragePool(coarse)
        inner = Conv(squeezed, w3, b3)
        gate = HardSigmoid<alpha = 0.2, beta = 0.5>(inner)
        excited = Mul(coarse, gate)
        large = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
            (excited, nothing, scales)
        joined = Concat<axis = 1>(swish, large)
        up = ConvTranspose<strides = [2, 2], kernel_shape = [2, 2], group = 1, pads = [0, 0, 0, 0]>(joined, w4)
        biased = Add(up, b4)
        active = Relu(biased)
        thin = Conv(active, w5)
        y = Sigmoid(thin)
    }"""
    stored = {
        "w1": weights(8, 3, 3, 3), "b1": weights(8), "w2": weights(8, 1, 3, 3), "w3": weights(8, 8, 1, 1), "b3": weights(8),
        "nothing": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32), "w4": weights(16, 4, 2, 2),
        "b4": weights(1, 4, 1, 1), "w5": weights(1, 4, 1, 1),
    }  # fmt: skip
    sizes = {"p2o_0": 1, "p2o_1": 20, "p2o_2": 28}
    return Small(model_of(text, 12, stored), {"x": weights(1, 3, 20, 28, seed=1) * 9}, sizes)


def text_reader() -> Small:
    """ddddocr's common: convolutions, columns as steps of an LSTM both ways, shapes by arithmetic on shapes."""
    text = """reader (float[1, 1, 8, image_width] x) => (float[S, N, K] y) {
        a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w1, b1)
        sa = Sigmoid(a)
        swish = Mul(a, sa)
        maps = Conv<pads = [1, 1, 1, 1], strides = [2, 1]>(swish, w2, b2)
        columns = Transpose<perm = [3, 0, 1, 2]>(maps)
        shape = Shape(columns)
        steps = Gather<axis = 0>(shape, zero)
        batch = Gather<axis = 0>(shape, one)
        steps_row = Unsqueeze<axes = [0]>(steps)
        batch_row = Unsqueeze<axes = [0]>(batch)
        sequence_shape = Concat<axis = 0>(steps_row, batch_row, rest)
        sequence = Reshape(columns, sequence_shape)
        state_shape = Concat<axis = 0>(two, batch_row, units)
        state = ConstantOfShape(state_shape)
        ways, h, c = LSTM<hidden_size = 10, direction = "bidirectional">(sequence, w, r, b, , state, state)
        side_by_side = Transpose<perm = [0, 2, 1, 3]>(ways)
        flat_rows = Mul(steps, batch)
        flat_row = Unsqueeze<axes = [0]>(flat_rows)
        flat_shape = Concat<axis = 0>(flat_row, both)
        flat = Reshape(side_by_side, flat_shape)
        scores = Gemm<transB = 1>(flat, w3, b3)
        result_shape = Concat<axis = 0>(steps_row, batch_row, rest)
        y = Reshape(scores, result_shape)
    }"""
    stored = {
        "w1": weights(4, 1, 3, 3), "b1": weights(4), "w2": weights(6, 4, 3, 3), "b2": weights(6), "zero": np.array(0),
        "one": np.array(1), "two": integers(2), "units": integers(10), "both": integers(20), "rest": integers(-1),
        "w": weights(2, 40, 12), "r": weights(2, 40, 10), "b": weights(2, 80), "w3": weights(15, 20), "b3": weights(15),
    }  # fmt: skip
    return Small(model_of(text, 12, stored), {"x": weights(1, 1, 8, 18, seed=1) * 9}, {"image_width": 18})


def detector() -> Small:
    """nudenet's 320n: a grid of centres made from the shape of a map, boxes as distances from them."""
    text = """detector (float[batch, 3, height, width] images) => (float[A, B, C] boxes) {
        map = Conv<pads = [1, 1, 1, 1], strides = [4, 4]>(images, w1, b1)
        shape = Shape(map)
        rows = Gather<axis = 0>(shape, two)
        columns = Gather<axis = 0>(shape, three)
        across = Range(zero, columns, one)
        down = Range(zero, rows, one)
        xf = Cast<to = 1>(across)
        yf = Cast<to = 1>(down)
        xs = Add(xf, half)
        ys = Add(yf, half)
        grid_rows = Unsqueeze(rows, axis)
        grid_columns = Unsqueeze(columns, axis)
        grid = Concat<axis = 0>(grid_rows, grid_columns)
        x_row = Reshape(xs, row)
        y_column = Reshape(ys, column)
        x_grid = Expand(x_row, grid)
        y_grid = Expand(y_column, grid)
        x_flat = Reshape(x_grid, row)
        y_flat = Reshape(y_grid, row)
        centres = Concat<axis = 0>(x_flat, y_flat)
        batch = Gather<axis = 0>(shape, zero)
        batch_row = Unsqueeze(batch, axis)
        flat_shape = Concat<axis = 0>(batch_row, cells)
        flat = Reshape(map, flat_shape)
        sides, classes = Split<axis = 1>(flat, sizes)
        bins_shape = Concat<axis = 0>(batch_row, bins)
        binned = Reshape(sides, bins_shape)
        turned = Transpose<perm = [0, 2, 1, 3]>(binned)
        chances = Softmax<axis = 1>(turned)
        distances = Conv(chances, w2)
        distance_shape = Concat<axis = 0>(batch_row, four)
        far = Reshape(distances, distance_shape)
        near, beyond = Split<axis = 1>(far, halves)
        start = Sub(centres, near)
        end = Add(centres, beyond)
        sure = Sigmoid(classes)
        boxes = Concat<axis = 1>(start, end, sure)
    }"""
    stored = {
        "w1": weights(21, 3, 5, 5), "b1": weights(21), "w2": np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1),
        "zero": np.array(0), "one": np.array(1), "two": np.array(2), "three": np.array(3), "half": np.array(0.5, np.float32),
        "axis": integers(0), "row": integers(1, -1), "column": integers(-1, 1), "cells": integers(21, -1),
        "sizes": integers(16, 5), "bins": integers(4, 4, -1), "four": integers(4, -1), "halves": integers(2, 2),
    }  # fmt: skip
    sizes = {"batch": 1, "height": 24, "width": 32}
    return Small(model_of(text, 17, stored), {"images": weights(1, 3, 24, 32, seed=1) * 20}, sizes)


NETWORKS: dict[str, Callable[[], Small]] = {
    build.__name__: build for build in (voice, wake_word, text_finder, text_reader, detector)
}
