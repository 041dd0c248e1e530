"""`vdla.from_torch`: every family of networks through both exporters, against PyTorch's own numbers; and what it refuses."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch_check import EXPORTERS, TOLERANCE, compare
from torch_modules import FAMILIES, SMALL, built

import vdla
from vdla.errors import ModelError


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", FAMILIES)
def test_agrees_with_pytorch(name: str, exporter: str) -> None:
    assert compare(*built(name, SMALL), exporter).largest < TOLERANCE


def test_compiles_for_a_design() -> None:
    """A module goes wherever a model does."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    x = torch.randn(1, 3, 16, 16)
    model = vdla.from_torch(module, x)
    found = vdla.compile(model, "tiny").run({model.graph.input[0].name: x.numpy()}).outputs
    wanted = module(x).detach().numpy()
    (scores,) = found.values()
    assert np.linalg.norm(scores - wanted) < 0.2 * np.linalg.norm(wanted)


def test_names_shapes_and_mode() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.9)
            self.drop.eval()

        def forward(self, image: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return self.drop(image) * scale

    module = Scaled()
    model = vdla.from_torch(module, [torch.randn(2, 3), torch.randn(3)])
    assert model.graph.name == "Scaled"
    shapes = {info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in model.graph.input}
    assert shapes == {"image": [2, 3], "scale": [3]}
    assert [node.op_type for node in model.graph.node] == ["Mul"]
    assert module.training and not module.drop.training


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Eigenvalues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(x).real


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (Eigenvalues(), torch.eye(3), "Eigenvalues: PyTorch's exporter has no ONNX for an operator; found 'aten.linalg_eig"),
        (Branching(), torch.eye(3), "Branching: PyTorch's exporter refused; found .*data-dependent.*try: control flow"),
        (nn.Linear(3, 4), torch.ones(5), r"Linear: the module does not run on example inputs \[5\]; found 'RuntimeError: mat1"),
        (nn.Linear(3, 4), 3, "Linear: the module does not run on example inputs int; found "),
        (3, 3, "not a PyTorch module; found 'int'; expected a torch.nn.Module"),
    ],
)
def test_refusals(module: object, inputs: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        vdla.from_torch(module, inputs)


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError, match=r"PyTorch's exporter is not installed; .*; try: pip install 'vdla\[torch\]'"):
        vdla.from_torch(None, ())
