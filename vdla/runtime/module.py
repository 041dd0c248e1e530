"""A compiled model that can be run: `Module.run` walks its steps, host operators and VDLA programs in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.layout import quantised_name
from vdla.compiler.model import CompiledModel, HostStep, VdlaStep
from vdla.compiler.ops.cpu import HostKernel, build_group_kernel, varying_inputs
from vdla.compiler.ops.vdla.packing import unpack_activation
from vdla.design import Design
from vdla.device import Device, Profile
from vdla.errors import RunError
from vdla.files import write_file
from vdla.isa.program import LayerSpan, Program, Slot
from vdla.runtime.program_file import module_to_bytes

LayerObserver = Callable[[str, np.ndarray], None]
"""Called with a tensor's name and its int8 value, NCHW: before a program with each tensor it is given, and after each VDLA
layer with what that computed."""


@dataclass(frozen=True)
class Result:
    """outputs: one array for each model output. profiles: one for each program, in order, when timed.

    host_seconds: wall time of the host's operators, in a first run with their compilation; device_seconds: of the device.
    """

    outputs: Mapping[str, np.ndarray]
    profiles: tuple[Profile, ...]
    host_seconds: float
    device_seconds: float
    programs: tuple[Program, ...] = ()

    @property
    def cycles(self) -> int:
        """Accelerator cycles of all programs."""
        return sum(profile.cycles for profile in self.profiles)

    def trace(self) -> str:
        """The timed run as a Chrome/Perfetto trace (JSON). Raises `RunError` when the run was not timed."""
        from vdla.sim.trace import trace_json  # rarely wanted

        if len(self.profiles) != len(self.programs):
            raise RunError("the run was not timed", hint="run(…, timing=True)")
        return trace_json(list(zip(self.programs, self.profiles, strict=True)))


class Module:
    """A compiled model bound to a device.

    module = vdla.compile("model.onnx", "pynq_z1")
    result = module.run({"x": x})
    """

    def __init__(self, model: CompiledModel, device: Device) -> None:
        if model.design.hash_hex != device.design.hash_hex:
            raise RunError(
                "the module was built for another design",
                found=f"{model.design.name} ({model.design.hash_hex})",
                expected=f"{device.design.name} ({device.design.hash_hex})",
                hint="compile for the device's design",
            )
        self.model, self.device = model, device
        self._kernels: dict[str, HostKernel] = {}  # output → the kernel of the group that computes it

    @property
    def design(self) -> Design:
        return self.model.design

    def save(self, path: Path | str) -> Path:
        """Write a .vdla file; `vdla.load` reads it. Raises `OutputError` when it cannot be written."""
        return write_file(path, module_to_bytes(self.model))

    def run(self, inputs: Mapping[str, np.ndarray], *, timing: bool = True, observe: LayerObserver | None = None) -> Result:
        """Run once. inputs: one array for each model input, of its exact shape and dtype.

        Raises `RunError` for a missing, unknown or misshapen input and for faults of the device.
        """
        values: dict[str, np.ndarray] = dict(check_inputs(self.model.inputs, inputs))
        values.update(self.model.placed.constants)
        profiles: list[Profile] = []
        host = device = 0.0
        for step in self.model.steps:
            begun = time.perf_counter()
            if isinstance(step, HostStep):
                self._run_host(step, values)
                host += time.perf_counter() - begun
            else:
                profile = self._run_program(step, values, timing, observe)
                device += time.perf_counter() - begun
                if profile is not None:
                    profiles.append(profile)
        outputs = {name: values[name] for name in self.model.outputs}
        return Result(outputs, tuple(profiles), host, device, tuple(self.model.programs))

    def _run_host(self, step: HostStep, values: dict[str, np.ndarray]) -> None:
        group, graph = step.group, self.model.placed
        kernel = self._kernels.get(group.output)
        if kernel is None:
            kernel = self._kernels[group.output] = build_group_kernel(group, graph.type_of, graph.constants)
        inputs = [np.ascontiguousarray(values[name]) for name in varying_inputs(group, graph.constants)]
        values.update(zip(group.outputs, kernel.run(*inputs), strict=True))

    def _run_program(
        self, step: VdlaStep, values: dict[str, np.ndarray], timing: bool, observe: LayerObserver | None
    ) -> Profile | None:
        program = step.program
        inputs = {slot.name: values[slot.name] for slot in program.inputs}

        def show(slot: Slot, packed: np.ndarray) -> None:
            name = quantised_name(slot.name)
            if observe is not None and name in self.model.quantised.tensors:
                observe(name, unpack_activation(packed, self.model.quantised.type_of(name).shape))

        def after_layer(layer: LayerSpan, dram: np.ndarray) -> None:
            for slot in layer.outputs:
                show(slot, dram[slot.address : slot.address + slot.bytes].view(slot.dtype).reshape(slot.shape))

        for slot in program.inputs:
            show(slot, inputs[slot.name])
        result = self.device.run(program, inputs, timing=timing, observe=after_layer if observe else None)
        values.update(result.outputs)
        return result.profile


def check_inputs(expected: Mapping[str, TensorType], inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Raise `RunError` unless `inputs` has exactly the expected names, shapes and dtypes."""
    wanted = ", ".join(f"{name} {t.dtype}{list(t.shape)}" for name, t in expected.items())
    if not isinstance(inputs, Mapping):
        example = "{" + ", ".join(f'"{name}": …' for name in expected) + "}"
        raise RunError(
            "inputs are not a mapping of arrays", found=type(inputs).__name__, expected=wanted, hint=f"run({example})"
        )
    for name in inputs:
        if name not in expected:
            raise RunError("unknown input", found=name, expected=wanted)
    for name, t in expected.items():
        if name not in inputs:
            raise RunError("missing input", where=name, found=", ".join(inputs) or "no inputs", expected=wanted)
        x = np.asarray(inputs[name])
        if x.shape != t.shape or str(x.dtype) != t.dtype:
            raise RunError(
                "input of the wrong shape or type",
                where=name,
                found=f"{x.dtype}{list(x.shape)}",
                expected=f"{t.dtype}{list(t.shape)}",
            )
    return inputs
