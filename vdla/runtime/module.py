"""A compiled model that can be run: `Module.run` walks its steps, each of which its target knows how to run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vdla.compiler.graph.graph import Graph, TensorType
from vdla.compiler.model import CompiledModel
from vdla.compiler.targets import Bound, Runner, Step, backend_of
from vdla.design import Design
from vdla.device import Device, Profile
from vdla.errors import RunError
from vdla.files import write_file
from vdla.isa.binding import refuse_other_design, require_design
from vdla.isa.program import Program
from vdla.runtime.program_file import module_to_bytes

LayerObserver = Callable[[str, np.ndarray], None]
"""Called with a tensor's name and its int8 value, NCHW: before a program with each tensor it is given, and after each VDLA
layer with what that computed."""
StepObserver = Callable[[Step, Mapping[str, np.ndarray], float], None]
"""Called after each step with what it computed, by tensor of the placed graph, and its seconds."""


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
    """A compiled model bound to a device; one for the host alone needs none.

    module = vdla.compile("model.onnx", "pynq_z1")
    result = module.run({"x": x})
    """

    def __init__(self, model: CompiledModel, device: Device | None = None) -> None:
        if device is not None:
            refuse_other_design("the module", model.design, device.design)
        elif model.built_for is not None:
            raise RunError("a module of a design needs a device", found=model.built_for.name, hint="Module(model, device)")
        self.model, self.device = model, device
        self._runners: dict[int, Runner] = {}  # position of a step → what runs it, made when it first does

    @property
    def design(self) -> Design:
        """Raises `RunError` for a model of the host alone."""
        return self.model.design

    def save(self, path: Path | str) -> Path:
        """Write a .vdla file; `vdla.load` reads it. Raises `OutputError` when it cannot be written."""
        return write_file(path, module_to_bytes(self.model))

    def make_ready(self, on_step: Callable[[int], None] = lambda number: None) -> None:
        """Do what the first run would: compile the host's kernels. on_step: is told the position of each step before it."""
        for number, step in enumerate(self.model.steps):
            on_step(number)
            self._runner(number, step)

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        *,
        timing: bool = True,
        observe: LayerObserver | None = None,
        on_step: StepObserver | None = None,
    ) -> Result:
        """Run once. inputs: one array for each model input, of its exact shape and dtype.

        A tensor is kept until the last step that reads it has run, an output to the end. Raises `RunError` for a missing,
        unknown or misshapen input and for faults of the device.
        """
        values: dict[str, np.ndarray] = {**self.model.placed.constants, **check_inputs(self.model.inputs, inputs)}
        profiles: list[Profile] = []
        host = device = 0.0
        for number, (step, dead) in enumerate(zip(self.model.steps, self._dead, strict=True)):
            begun = time.perf_counter()
            result = self._runner(number, step)(values, timing, observe)
            seconds = time.perf_counter() - begun
            host, device = (host + seconds, device) if step.program is None else (host, device + seconds)
            if on_step is not None:
                on_step(step, result.outputs, seconds)
            if result.profile is not None:
                profiles.append(result.profile)
            values.update(result.outputs)
            del result  # or its arrays would outlive the next step
            for name in dead:
                values.pop(name, None)
        outputs = {name: values[name] for name in self.model.outputs}
        return Result(outputs, tuple(profiles), host, device, self._programs())

    @cached_property
    def _dead(self) -> list[list[str]]:
        return dead_after(self.model.steps, self.model.placed)

    def _programs(self) -> tuple[Program, ...]:
        """As what the device ran: with its clock and memory."""
        if self.device is None:
            return ()
        return tuple(require_design(program, self.device.design) for program in self.model.programs)

    def _runner(self, number: int, step: Step) -> Runner:
        if number not in self._runners:
            bound = Bound(self.model.quantised, self.model.placed, self.device)
            self._runners[number] = backend_of(step.target).runner(step, bound)
        return self._runners[number]


def dead_after(steps: Sequence[Step], graph: Graph) -> list[list[str]]:
    """For each step the tensors that none after it reads: they can be dropped. Outputs and constants of `graph` never are."""
    last: dict[str, int] = {}
    for number, step in enumerate(steps):
        for node in step.nodes:
            last.update(dict.fromkeys((*node.inputs, *node.outputs), number))
    dead: list[list[str]] = [[] for _ in steps]
    for name, number in last.items():
        if name not in graph.outputs and name not in graph.constants:
            dead[number].append(name)
    return dead


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
