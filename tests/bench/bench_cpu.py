"""The CPU backend beside this machine's peak and onnxruntime, one operator at a time.

    python tests/bench/bench_cpu.py [--repeat N] [--only NAME]

Prints JSON: for each layer the best of N interleaved runs of both, as GFLOP/s (GOP/s for integers), the
fraction of the peak measured here, and the ratio to onnxruntime's time (above 1: we are faster). Peak is that of a loop of
independent multiply-adds in vector registers, on as many threads as are used, so frequency and load are in it; for int8
it is four times that where four bytes are multiplied at once.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from vdla.compiler import ir
from vdla.compiler.backends.llvm import compile_function, host_target
from vdla.compiler.backends.llvm.thread_pool import thread_count
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators.registry import infer_type, with_defaults
from vdla.compiler.ops.cpu import build_cpu_kernel

RESNET = {  # name: height and width, input and output channels, kernel, stride (the paper's table 1, and ResNet-18's first)
    "C1": (224, 3, 64, 7, 2), "C2": (56, 64, 64, 3, 1), "C3": (56, 64, 64, 1, 1), "C4": (56, 64, 128, 3, 2),
    "C5": (56, 64, 128, 1, 2), "C6": (28, 128, 128, 3, 1), "C7": (28, 128, 256, 3, 2), "C8": (28, 128, 256, 1, 2),
    "C9": (14, 256, 256, 3, 1), "C10": (14, 256, 512, 3, 2), "C11": (14, 256, 512, 1, 2), "C12": (7, 512, 512, 3, 1),
}  # fmt: skip
DEPTHWISE = {"D1": (112, 32, 1), "D2": (112, 64, 2), "D5": (28, 256, 1), "D9": (14, 512, 1)}
ONNX_NAMES = {"strides": "strides", "pads": "pads", "groups": "group"}
MATRICES = {"classifier": (1, 512, 1000), "batch64": (64, 512, 1000)}


def peak(dtype: str, threads: int) -> float:
    """Multiply-adds a second · 2 / 10⁹ of one loop over 24 vector accumulators, times `threads` at once."""
    steps, rows, lanes = 200_000, 24, 16
    x, y = ir.Buffer("x", (lanes,), dtype), ir.Buffer("y", (threads, rows, lanes), dtype)
    t, k, r, v, r0, v0 = (ir.Var(n) for n in ("t", "k", "r", "v", "r0", "v0"))
    start = ir.For(r0, rows, ir.For(v0, lanes, ir.Store(y, (t, r0, v0), ir.Const(1, dtype)), "vectorized"), "unrolled")
    step = ir.For(r, rows, ir.For(v, lanes, ir.Store(y, (t, r, v), y[t, r, v] * x[v] + x[v]), "vectorized"), "unrolled")
    kernel = compile_function(
        ir.Function("peak", (x, y), ir.For(t, threads, ir.seq(start, ir.For(k, steps, step)), "parallel"))
    )
    arrays = np.full(lanes, 0.5).astype(dtype), np.zeros((threads, rows, lanes), dtype)
    return 2 * threads * steps * rows * lanes / best(lambda: kernel(*arrays), 5) / 1e9


def best(run: Callable[[], object], repeat: int) -> float:
    """Seconds of the fastest of `repeat` runs."""
    times = []
    for _ in range(repeat):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return min(times)


def convolutions() -> dict[str, tuple[str, list[tuple[int, ...]], dict, int]]:
    """name → op, shapes of x, w, b, attributes, multiply-adds."""
    layers = {}
    for name, (size, c, o, k, s) in RESNET.items():
        out = (size + 2 * (k // 2) - k) // s + 1
        layers[name] = ("conv2d", [(1, c, size, size), (o, c, k, k), (o,)], _attributes(k, s, 1), out * out * o * c * k * k)
    for name, (size, c, s) in DEPTHWISE.items():
        out = (size - 1) // s + 1
        layers[name] = ("conv2d", [(1, c, size, size), (c, 1, 3, 3), (c,)], _attributes(3, s, c), out * out * c * 9)
    for name, (m, i, o) in MATRICES.items():
        layers[name] = ("dense", [(m, i), (o, i), (o,)], {}, m * i * o)
    return layers


def _attributes(kernel: int, stride: int, groups: int) -> dict:
    return {"strides": (stride, stride), "pads": (kernel // 2,) * 4, "groups": groups}


def float_pair(op: str, shapes: list[tuple[int, ...]], attributes: dict, threads: int) -> tuple[Callable, Callable]:
    """Runs of our kernel and of onnxruntime's, checked to agree."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype("float32") for s in shapes]
    types = tuple(TensorType(s, "float32") for s in shapes)
    merged = with_defaults(op, attributes)
    kernel = build_cpu_kernel(op, types, (infer_type(op, types, merged),), merged)
    (y,) = kernel.run(*arrays)
    if op == "conv2d":
        node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **{ONNX_NAMES[k]: v for k, v in attributes.items()})
    else:
        node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    session = _session(node, arrays[0], y, threads, {"w": arrays[1], "b": arrays[2]})
    np.testing.assert_allclose(y, session.run(None, {"x": arrays[0]})[0], rtol=1e-3, atol=1e-3)
    return lambda: kernel(*arrays, y), lambda: session.run(None, {"x": arrays[0]})


def integer_pair(shapes: list[tuple[int, ...]], attributes: dict, threads: int) -> tuple[Callable, Callable]:
    """qconv2d and QLinearConv: int8 in, int32 sums, scaled back to 8 bits. onnxruntime rounds at most one step apart."""
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-128, 128, s).astype("int8") for s in shapes[:2])
    shift = 18 + int(np.log2(np.prod(w.shape[1:])) / 2)
    bias, scale = np.zeros(shapes[2], "int32"), np.full(shapes[2], (shift + 8) << 18, "int32")  # 2^18 / 2^(shift + 8)
    types = tuple(TensorType(a.shape, str(a.dtype)) for a in (x, w, bias, scale))
    merged = with_defaults("qconv2d", attributes)
    kernel = build_cpu_kernel("qconv2d", types, (infer_type("qconv2d", types, merged),), merged)
    (y,) = kernel.run(x, w, bias, scale)
    one, half = np.array(1, "float32"), np.array(2.0 ** (10 - shift), "float32")
    middle, zero = np.array(128, "uint8"), np.array(0, "int8")  # activations are uint8 there: the same numbers, shifted
    shifted = (x.astype(int) + 128).astype("uint8")
    constants = {"xs": one, "xz": middle, "w": w, "ws": half, "wz": zero, "ys": one, "yz": middle}
    node = helper.make_node("QLinearConv", ["x", *constants], ["y"], **{ONNX_NAMES[k]: v for k, v in attributes.items()})
    session = _session(node, shifted, y.astype("uint8"), threads, constants)
    theirs = session.run(None, {"x": shifted})[0].astype(int) - 128
    assert np.abs(theirs - y).max() <= 1
    return lambda: kernel(x, w, bias, scale, y), lambda: session.run(None, {"x": shifted})


def _session(
    node, x: np.ndarray, y: np.ndarray, threads: int, constants: dict[str, np.ndarray]
) -> onnxruntime.InferenceSession:
    """One node as a model, its weights constant, as a network has them."""
    to_type = helper.np_dtype_to_tensor_dtype
    given = helper.make_tensor_value_info("x", to_type(x.dtype), x.shape)
    out = helper.make_tensor_value_info("y", to_type(y.dtype), y.shape)
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([node], "layer", [given], [out], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def measure(pair: tuple[Callable, Callable], macs: int, top: float, repeat: int) -> dict[str, float]:
    """Ours and theirs by turns, so that load on the machine falls on both."""
    ours, theirs = [], []
    for _ in range(repeat):
        ours.append(best(pair[0], 3))
        theirs.append(best(pair[1], 3))
    rate = 2 * macs / min(ours) / 1e9
    return {
        "us": round(min(ours) * 1e6, 1),
        "gops": round(rate, 1),
        "of_peak": round(rate / top, 3),
        "onnxruntime_us": round(min(theirs) * 1e6, 1),
        "speed_ratio": round(min(theirs) / min(ours), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    threads = thread_count()
    top = peak("float32", threads)
    byte_top = 4 * top if host_target().multiplies_bytes else top
    result: dict = {"threads": threads, "peak_gflops": round(top, 1), "float32": {}, "int8": {}}
    for name, (op, shapes, attributes, macs) in convolutions().items():
        if options.only not in ("", name):
            continue
        result["float32"][name] = measure(float_pair(op, shapes, attributes, threads), macs, top, options.repeat)
        if op == "conv2d":
            result["int8"][name] = measure(integer_pair(shapes, attributes, threads), macs, byte_top, options.repeat)
    for kind in ("float32", "int8"):
        ratios = [r["speed_ratio"] for r in result[kind].values()]
        result[f"{kind}_mean_speed_ratio"] = round(float(np.exp(np.mean(np.log(ratios)))), 2) if ratios else None
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
