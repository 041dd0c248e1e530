"""Small networks in the forms of the packages' models, against onnxruntime; `make package-models` runs those themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from like_packages import NETWORKS, Small
from onnxruntime.quantization import quantize_dynamic
from package_models import between_levels, differences, reference

import vdla
from vdla.flows import CompileOptions


def options_of(small: Small) -> CompileOptions:
    return CompileOptions(dims=small.dims, bind=small.bind)


@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_onnxruntime(name: str) -> None:
    small = NETWORKS[name]()
    module = vdla.compile(small.model, options=options_of(small), targets=("cpu",))
    free = {name: array for name, array in small.inputs.items() if name not in small.bind}
    wanted = reference(small.model.SerializeToString(), small.inputs)
    assert all(np.ptp(array) > 0.01 for array in wanted.values() if array.size > 1)
    largest, relative = differences(module.run(free, timing=False).outputs, wanted)
    assert largest < 1e-6 and relative < 1e-5


def test_quantised_while_it_runs(tmp_path: Path) -> None:
    """As ddddocr's common_old was made from a network like common."""
    small = NETWORKS["text_reader"]()
    onnx.save(small.model, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "quantised.onnx")
    model = onnx.load(tmp_path / "quantised.onnx")
    written = {node.op_type for node in model.graph.node}
    assert written > {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM"}
    largest, _ = between_levels(model, options_of(small), [small.inputs])
    assert largest < 1e-5
