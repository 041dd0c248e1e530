"""The networks that post-training quantisation is measured on: the zoo's, one of them trained, and trained ones of packages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter

from vdla.files import cache_folder
from vdla.zoo import build, sample_inputs, zoo_models

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from package_cases import case_of  # noqa: E402
from package_models import models  # noqa: E402

Arrays = Mapping[str, np.ndarray]

ZOO = ("digits", "resnet18", "mobilenet", "mobilenet_v2", "dqn", "unet", "yolo", "resnet50")
PACKAGES = {
    "text direction": "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    "text detection": "ch_PP-OCRv4_det_infer.onnx",
    "text recognition": "ch_PP-OCRv4_rec_infer.onnx",
    "nudity (ResNet-50)": "open-nsfw.onnx",
    "body parts (YOLOv8n)": "320n.onnx",
    "captcha (CNN + LSTM)": "common.onnx",
    "captcha detection": "common_det.onnx",
    "sound embedding": "embedding_model.onnx",
}
"""By what they do. The first model of that file name is taken."""


@dataclass(frozen=True)
class Network:
    """A float model of static shapes, and a maker of inputs by seed."""

    model: onnx.ModelProto
    sample: Callable[[int], Arrays]

    def samples(self, first: int, count: int) -> list[Arrays]:
        return [self.sample(seed) for seed in range(first, first + count)]


def network(name: str) -> Network:
    """Raises `LookupError` for a name that there is not."""
    if name in zoo_models():
        return Network(build(name), lambda seed: sample_inputs(name, 1, seed))
    if name not in PACKAGES:
        raise LookupError(f"{name}: there are {', '.join((*ZOO, *PACKAGES))}")
    folder = cache_folder("packages")
    folder.mkdir(parents=True, exist_ok=True)
    package, path, data = next(found for found in models(folder) if Path(found[1]).name == PACKAGES[name])
    case = case_of(package, path)
    return Network(recent(sized(onnx.load_model_from_string(data), case.sample(0))), case.sample)


def recent(model: onnx.ModelProto) -> onnx.ModelProto:
    """In an opset whose QuantizeLinear has an axis."""
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return model if opset >= 13 else onnx.version_converter.convert_version(model, 13)


def sized(model: onnx.ModelProto, inputs: Arrays) -> onnx.ModelProto:
    """The model for inputs of these shapes alone; shapes inside are inferred anew."""
    for value in model.graph.input:
        if value.name in inputs:
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, inputs[value.name].shape, strict=True):
                dim.Clear()
                dim.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.Clear()
    return model
