"""VDLA as a backend of the ONNX project's test suite: `onnx.backend.base.Backend`, on the CPU target.

    import onnx, vdla.onnx_backend
    y, = vdla.onnx_backend.run_model(onnx.load("model.onnx"), [x])

Shapes are static here. A model whose shapes, axes or branches depend on the *values* of some inputs is compiled when it is run,
for the values it is given, and again when those change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep, Device, DeviceType

from vdla.compiler.driver import build_model
from vdla.compiler.frontend.node import UnknownValue
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.frontend.values import length_name
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.targets import BuildOptions
from vdla.errors import ModelError, ModelProblems
from vdla.runtime.module import Module


class VdlaRep(BackendRep):
    """A model ready to run. fused: operators share kernels, else each node is one of its own."""

    def __init__(self, model: onnx.ModelProto, fused: bool) -> None:
        self.model, self.fused = model, fused
        stored = {tensor.name for tensor in model.graph.initializer}
        self.names = [info.name for info in model.graph.input if info.name not in stored]
        self.outputs = [info.name for info in model.graph.output]
        self.optional = {info.name for info in model.graph.input if is_optional_tensor(info.type)}
        self.modules: dict[tuple[Any, ...], Module] = {}
        self.bound: dict[tuple[Any, ...], tuple[str, ...]] = {}  # shapes of the inputs → those whose values must be known

    def run(self, inputs: Sequence[Any] | Mapping[str, Any], **kwargs: Any) -> tuple[Any, ...]:
        """The outputs in the model's order. Raises `ModelError` for what is not supported, `RunError` for wrong inputs."""
        given = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(self.names, inputs, strict=False))
        shapes: dict[str, Any] = {}
        arrays: dict[str, np.ndarray] = {}
        for name, value in given.items():
            if isinstance(value, list):  # a sequence
                items = {f"{name}[{i}]": array_of(item) for i, item in enumerate(value)}
                shapes[name] = tuple(item.shape for item in items.values())
                arrays |= items
            elif value is None:  # an optional input that is absent
                shapes[name] = None
            else:
                part = f"{name}[0]" if name in self.optional else name
                arrays[part] = array_of(value)
                shapes[name] = arrays[part].shape
        module = self.compiled_for(shapes, arrays)
        found = module.run({name: arrays[name] for name in module.model.inputs}, timing=False).outputs
        return tuple(cut(found, name) if name in found else items_of(found, name) for name in self.outputs)

    def compiled_for(self, given: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Module:
        """The module for inputs of shapes `given`, and for the values of those that shapes or branches depend on."""
        shapes = tuple(given.items())
        bound = self.bound.get(shapes, ())
        while True:
            key = shapes, tuple((name, arrays[name].tobytes()) for name in bound)
            if key in self.modules:
                return self.modules[key]
            try:
                self.modules[key] = self.compiled(given, {name: arrays[name] for name in bound})
            except (UnknownValue, ModelProblems) as error:
                unknown = set(error.inputs) - set(bound)
                if not unknown:
                    raise
                self.bound[shapes] = bound = (*bound, *sorted(unknown))

    def compiled(self, shapes: Mapping[str, Any], bind: Mapping[str, np.ndarray]) -> Module:
        graph = optimise(import_onnx(self.model, shapes, bind=bind))
        return Module(build_model(graph, None, BuildOptions(targets=("cpu",), fuse=self.fused), graph))


def is_optional_tensor(kind: onnx.TypeProto) -> bool:
    return kind.HasField("optional_type") and kind.optional_type.elem_type.HasField("tensor_type")


def items_of(found: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """The tensors of an output that is a sequence."""
    return [cut(found, f"{name}[{i}]") for i in range(len(found)) if f"{name}[{i}]" in found]


def cut(found: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """An output; of one whose length is data, the places that count."""
    lengths = [found.get(length_name(name, axis)) for axis in range(found[name].ndim)]
    return found[name][tuple(slice(None if length is None else length.item()) for length in lengths)]


def array_of(value: Any) -> np.ndarray:
    """The suite gives types that NumPy lacks as ONNX's own tensors."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


class VdlaBackend(Backend):
    """The class the suite asks for."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", *, fused: bool = True, **kwargs: Any) -> VdlaRep:
        """Check `model` and make it ready. Raises `ModelError` when it is not a valid model."""
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError as error:
            raise ModelError("not a valid ONNX model", where=model.graph.name, found=str(error)) from None
        return VdlaRep(model, fused)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return Device(device).type == DeviceType.CPU


prepare = VdlaBackend.prepare
run_model = VdlaBackend.run_model
run_node = VdlaBackend.run_node
supports_device = VdlaBackend.supports_device
