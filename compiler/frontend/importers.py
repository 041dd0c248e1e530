"""Which importer takes which ONNX operator, and what to try where none does."""

from __future__ import annotations

from vdla.compiler.frontend import (
    attention,
    classical,
    constants,
    control_flow,
    convolution,
    counting,
    dense,
    detection,
    dynamic_lstm,
    einsum,
    elementwise,
    indexing,
    loops,
    losses,
    microsoft,
    microsoft_fused,
    movement,
    normalisation,
    openvino,
    pooling,
    qonnx,
    quantisation,
    recurrent,
    reduction,
    resize,
    sampling,
    scatter,
    sequences,
    signal,
    slicing,
    sorting,
    training,
)
from vdla.compiler.frontend.node import Importer

IMPORTERS: dict[str, Importer] = {
    **attention.IMPORTERS,
    **constants.IMPORTERS,
    **control_flow.IMPORTERS,
    **loops.IMPORTERS,
    **convolution.IMPORTERS,
    **counting.IMPORTERS,
    **dense.IMPORTERS,
    **elementwise.IMPORTERS,
    **losses.IMPORTERS,
    **pooling.IMPORTERS,
    **normalisation.IMPORTERS,
    **movement.IMPORTERS,
    **slicing.IMPORTERS,
    **indexing.IMPORTERS,
    **reduction.IMPORTERS,
    **einsum.IMPORTERS,
    **resize.IMPORTERS,
    **sampling.IMPORTERS,
    **detection.IMPORTERS,
    **scatter.IMPORTERS,
    **sorting.IMPORTERS,
    **quantisation.IMPORTERS,
    **recurrent.IMPORTERS,
    **sequences.IMPORTERS,
    **signal.IMPORTERS,
}
DOMAINS: dict[str, dict[str, Importer]] = {
    "": IMPORTERS,
    "com.microsoft": {**microsoft.IMPORTERS, **microsoft_fused.IMPORTERS, **dynamic_lstm.IMPORTERS},
    "qonnx.custom_op.general": qonnx.IMPORTERS,
    "onnx.brevitas": qonnx.IMPORTERS,
    "finn.custom_op.general": qonnx.IMPORTERS,
    "org.openvinotoolkit": openvino.IMPORTERS,
    "ai.onnx.ml": classical.IMPORTERS,
    "ai.onnx.preview.training": training.IMPORTERS,
}
REMEDIES = {
    "com.microsoft": "this is onnxruntime's own dialect: save the model before onnxruntime optimises it",
    "qonnx": "of QONNX there are Quant and BipolarQuant; for the others: qonnx-convert MODEL --output-style qcdq",
    "onnx.brevitas": "of Brevitas there are Quant and BipolarQuant; for the others export in the QCDQ style",
    "finn": "use the model as it was before FINN's transformations",
    "org.openvinotoolkit": "of OpenVINO there is FakeQuantize: export from the framework to ONNX directly",
    "ai.onnx.preview.training": "export the model for inference",
    "ai.onnx.training": "export the model for inference",
    "ai.onnx.ml": "of classical machine learning there are trees, labels and thresholds: export the neural network alone",
    "ai.onnx.contrib": "leave out the pre- and post-processing of onnxruntime-extensions",
    "aten": "re-export with torch.onnx.export(dynamo=True), which writes standard operators",
    "org.pytorch.aten": "re-export with torch.onnx.export(dynamo=True), which writes standard operators",
}
"""Domains, or how they begin → the way back to standard operators."""
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
STRINGS = ("StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch")


def importer_of(domain: str, op: str) -> Importer | None:
    """None for an operator that has none."""
    return DOMAINS.get(domain, {}).get(op)
