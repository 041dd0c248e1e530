"""Peak memory of whole commands on models whose weights are what counts, each in a process of its own.

    python tests/bench/bench_memory.py [--model vgg19 dense] [--command run run-cpu compile]     prints one JSON document

vgg19: VGG-19 at 224x224, 144 M parameters. dense: one layer 25,088 → 4,096 behind a flatten. Peaks are the kernel's account of
the process (ru_maxrss), in MiB; `weights` is what the model's float weights take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
COMMANDS = {
    "run": ["run", "{model}", "--json"],
    "run-cpu": ["run", "{model}", "--target", "cpu", "--json"],
    "compile": ["compile", "{model}", "-o", "{model}.vdla", "--json"],
}


class Layers:
    """Nodes and weights of a chain of layers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)
        self.last = "x"

    def add(self, op: str, *shapes: tuple[int, ...], **attributes: object) -> None:
        """A layer on the last one's output, with random weights of `shapes`: He-initialised, biases of 0.01."""
        name = f"{op.lower()}{len(self.nodes)}"
        inputs = [self.last]
        for number, shape in enumerate(shapes):
            fan_in = int(np.prod(shape[1:]))
            deviation = np.float32((2 / fan_in) ** 0.5 if len(shape) > 1 else 0.01)
            array = self.random.standard_normal(shape, np.float32) * deviation
            inputs.append(f"{name}.{number}")
            self.weights.append(numpy_helper.from_array(array, inputs[-1]))
        self.last = f"{name}_output"
        self.nodes.append(helper.make_node(op, inputs, [self.last], name=name, **attributes))

    def write(self, path: Path, input_shape: list[int], output_shape: list[int]) -> None:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)
        y = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, output_shape)
        graph = helper.make_graph(self.nodes, path.stem, [x], [y], self.weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def vgg19(path: Path) -> None:
    net, before = Layers(), 3
    for channels, count in STAGES:
        for _ in range(count):
            net.add("Conv", (channels, before, 3, 3), (channels,), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            net.add("Relu")
            before = channels
        net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Flatten")
    for number, (features, after) in enumerate(((25088, 4096), (4096, 4096), (4096, 1000))):
        net.add("Gemm", (after, features), (after,), transB=1)
        if number < 2:
            net.add("Relu")
    net.write(path, [1, 3, 224, 224], [1, 1000])


def dense(path: Path) -> None:
    net = Layers()
    net.add("Flatten")
    net.add("Gemm", (4096, 25088), (4096,), transB=1)
    net.write(path, [1, 512, 7, 7], [1, 4096])


MODELS = {"vgg19": vgg19, "dense": dense}


def peak_of(command: list[str]) -> dict[str, object]:
    """Run `vdla` with these arguments; its exit code, peak and seconds."""
    begun = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "vdla.cli", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    return {"exit": child.returncode, "peak_mib": round(usage.ru_maxrss / 1024), "seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", nargs="*", default=list(MODELS), choices=MODELS)
    parser.add_argument("--command", nargs="*", default=["run", "run-cpu"], choices=COMMANDS)
    parser.add_argument("--keep", type=Path, help="a folder for the models, which are made once")
    options = parser.parse_args()
    document: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for name in options.model:
            path = folder / f"{name}.onnx"
            if not path.exists():
                subprocess.run([sys.executable, __file__, "--make", name, str(path)], check=True)
            peaks = {c: peak_of([word.format(model=path) for word in COMMANDS[c]]) for c in options.command}
            document[name] = {"weights_mib": round(path.stat().st_size / 2**20), **peaks}
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:  # in a process of its own: models are made in memory
        MODELS[sys.argv[2]](Path(sys.argv[3]))
    else:
        main()
