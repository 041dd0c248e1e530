"""`vdla cosim`: the same programs, inputs and memory on the simulator and on the RTL, compared byte for byte and cycle for
cycle."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vdla.design import Design
from vdla.design_file import load_design
from vdla.device import UNITS, DeviceResult, Observer, Profile
from vdla.errors import RunError
from vdla.flows.compilation import DEFAULT_DESIGN, CompileOptions, compile_to_model, model_name
from vdla.flows.inputs import Inputs
from vdla.flows.program_cut import PROLOGUE, cut
from vdla.flows.run import default_inputs
from vdla.hw.device import Execution, RtlDevice
from vdla.hw.simulation import MemoryModel
from vdla.isa.binding import bind_inputs, read_outputs, require_design
from vdla.isa.program import LayerSpan, Program
from vdla.isa.tokens import FIFOS, pops_of, pushes_of
from vdla.runtime.module import Module
from vdla.sim.device import time_columns
from vdla.sim.functional import run_functional

LAYER_TOLERANCE, TOTAL_TOLERANCE = 0.01, 0.005
"""By how much, as a share of the simulator's cycles, the RTL's may differ."""
STRESS_PAUSES, STRESS_LATENCIES = 250, 3
"""Under stress: how often each channel pauses, in 1/1000, and up to how many read latencies a burst takes longer."""


@dataclass(frozen=True, slots=True)
class LayerCycles:
    """Cycles of one layer, from the last retirement of the layers before it to its own last."""

    name: str
    sim_cycles: int
    rtl_cycles: int

    @property
    def difference(self) -> float:
        """(rtl − sim) / sim; 0 for a layer that took no time in either."""
        return (self.rtl_cycles - self.sim_cycles) / max(self.sim_cycles, 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One program on both. units: cycles in which each unit had an instruction under way, (simulator, RTL).

    differences: in words, what is not the same in memory or in the order of retirement; empty when all is.
    """

    layers: tuple[LayerCycles, ...]
    units: Mapping[str, tuple[int, int]]
    sim_cycles: int
    rtl_cycles: int
    differences: tuple[str, ...]
    clock_cycles: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CosimReport:
    """All programs of a model. `timed`: cycles can be compared (not under stress)."""

    model: str
    design: str
    comparisons: tuple[Comparison, ...]
    timed: bool = True

    @property
    def differences(self) -> list[str]:
        return [text for comparison in self.comparisons for text in comparison.differences]

    @property
    def bit_exact(self) -> bool | None:
        """Of all that was compared; None when nothing was."""
        return not self.differences if self.comparisons else None

    @property
    def layers(self) -> list[LayerCycles]:
        return [layer for comparison in self.comparisons for layer in comparison.layers]

    @property
    def total(self) -> LayerCycles:
        """Of the compared layers."""
        return LayerCycles("total", sum(x.sim_cycles for x in self.layers), sum(x.rtl_cycles for x in self.layers))

    @property
    def within_tolerance(self) -> bool:
        """Cycles are as near as the RTL and the simulator have to be; true under stress, where they mean nothing."""
        layers = all(abs(layer.difference) <= LAYER_TOLERANCE for layer in self.layers)
        return not self.timed or layers and abs(self.total.difference) <= TOTAL_TOLERANCE

    @property
    def cycles_per_second(self) -> float:
        return sum(c.clock_cycles for c in self.comparisons) / max(sum(c.seconds for c in self.comparisons), 1e-9)

    def json(self) -> dict[str, Any]:
        units = {u: {"sim": sum(c.units[u][0] for c in self.comparisons), "rtl": sum(c.units[u][1] for c in self.comparisons)}
                 for u in UNITS[1:]}  # fmt: skip
        return {
            "model": self.model,
            "design": self.design,
            "bit_exact": self.bit_exact,
            "within_tolerance": self.within_tolerance,
            "timed": self.timed,
            "cycles": {"sim": self.total.sim_cycles, "rtl": self.total.rtl_cycles, "difference": self.total.difference},
            "rtl_cycles_per_s": self.cycles_per_second,
            "units": units,
            "layers": [
                {"name": x.name, "sim_cycles": x.sim_cycles, "rtl_cycles": x.rtl_cycles, "difference": x.difference}
                for x in self.layers
            ],
            "differences": self.differences,
        }


@dataclass(frozen=True, slots=True)
class CosimOptions:
    """layers: which, in words (`choose_layers`); "" for all. read_latency: of the memory, in place of the design's.

    stress: a seed; the memory pauses, delays and reorders at random. waves: an FST file of the RTL.
    """

    layers: str = ""
    read_latency: int | None = None
    stress: int | None = None
    waves: Path | None = None


def cosimulate(
    model: object,
    design: str | Path | Design | None = None,
    compile_options: CompileOptions | None = None,
    options: CosimOptions | None = None,
    *,
    inputs: Inputs | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> CosimReport:
    """Compile `model` for `design` (DEFAULT_DESIGN when None), run its programs (or some layers of them) on both, and compare.

    Raises what `compile_to_model` does, and `RunError` for unknown layers and for faults of the RTL.
    """
    compile_options, options = compile_options or CompileOptions(), options or CosimOptions()
    loaded = load_design(DEFAULT_DESIGN if design is None else design)
    compiled = compile_to_model(model, loaded, compile_options, on_stage=on_stage)
    names = [layer.name for program in compiled.programs for layer in program.layers]
    chosen = choose_layers(options.layers, names)
    on_stage("building the RTL simulation" if chosen else "")
    device = ComparingDevice(loaded, options, chosen, on_stage)
    Module(compiled, device).run(inputs or default_inputs(model, compiled, compile_options), timing=False)
    return CosimReport(model_name(model), loaded.name, tuple(device.comparisons), options.stress is None)


def choose_layers(text: str, names: Sequence[str]) -> set[int]:
    """Positions in `names` that `text` speaks of: names and positions, and ranges first..last of either, with commas between
    them; all when it is empty. Raises `RunError` for what is none of these."""
    if not text.strip():
        return set(range(len(names)))

    def position(word: str) -> int:
        if word in names:
            return names.index(word)
        if word.isdigit() and int(word) < len(names):
            return int(word)
        near = difflib.get_close_matches(word, names, n=1)
        raise RunError(
            "no such layer on the accelerator",
            where="--layers",
            found=word,
            expected=f"a name or 0..{len(names) - 1}: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}",
            hint=f"did you mean {near[0]}?" if near else "",
        )

    chosen: set[int] = set()
    for part in (part.strip() for part in text.split(",")):
        first, dots, last = part.partition("..") if part not in names else (part, "", "")
        chosen |= set(range(position(first), position(last) + 1)) if dots else {position(part)}
    if not chosen:
        raise RunError("no layer in the range", where="--layers", found=text, expected="first..last, first not after last")
    return chosen


@dataclass
class ComparingDevice:
    """A device that runs each program on the simulator, and what is chosen of it on the RTL too. chosen: positions among
    the layers of all programs it will be given, in order."""

    design: Design
    options: CosimOptions
    chosen: set[int]
    on_stage: Callable[[str], None] = lambda stage: None
    comparisons: list[Comparison] = field(default_factory=list)
    _layers_seen: int = 0

    def run(
        self, program: Program, inputs: Mapping[str, np.ndarray], *, timing: bool = True, observe: Observer | None = None
    ) -> DeviceResult:
        """The simulator's result; see `Device.run`. Raises `RunError` for faults of the RTL too."""
        program = require_design(program, self.design)
        dram, columns = bind_inputs(program, inputs), program.columns()
        for part, image in self._parts(program, dram):
            self.on_stage(f"simulating the RTL of {', '.join(x.name for x in compared_layers(part)[:3])} …")
            self.comparisons.append(self._compare(part, image))
        profile = time_columns(program, columns) if timing else None
        run_functional(program, columns, dram, observe)
        return DeviceResult(read_outputs(program, dram), profile)

    def _parts(self, program: Program, dram: np.ndarray) -> list[tuple[Program, np.ndarray]]:
        """What of `program` is to be compared, as programs with their DRAM: the whole, or stretches of chosen layers."""
        count = len(program.layers)
        mine = [k for k in range(count) if k + self._layers_seen in self.chosen]
        self._layers_seen += count
        if len(mine) == count:
            return [(program, dram)]
        starts = [k for k in mine if k - 1 not in mine]
        ends = [k for k in mine if k + 1 not in mine]
        cuts = [cut(program, dram, first, last) for first, last in zip(starts, ends, strict=True)]
        return [(part, part.dram_image()) for part in cuts]

    def _compare(self, program: Program, dram: np.ndarray) -> Comparison:
        waves = self.options.waves
        if waves is not None and self.comparisons:  # one file for each program
            waves = waves.with_stem(f"{waves.stem}-{len(self.comparisons)}")
        memory = memory_model(self.design, self.options)
        return compare(program, dram, RtlDevice(self.design, memory=memory, waves=waves), self.options.read_latency)


def memory_model(design: Design, options: CosimOptions) -> MemoryModel:
    """The memory `options` ask for."""
    if options.stress is None:
        return MemoryModel(read_latency=options.read_latency)
    latency = design.memory.read_latency if options.read_latency is None else options.read_latency
    return MemoryModel(options.read_latency, None, STRESS_PAUSES, STRESS_LATENCIES * latency, options.stress)


def compare(program: Program, dram: np.ndarray, rtl: RtlDevice, read_latency: int | None = None) -> Comparison:
    """`program` on both, from the same `dram` (uint8[dram_bytes], not changed)."""
    columns, expected = program.columns(), dram.copy()
    timed = program if read_latency is None else replace(program, design=_with_latency(program.design, read_latency))
    profile = time_columns(timed, columns)
    run_functional(program, columns, expected)
    execution = rtl.execute(program, dram)
    differences = [*_memory_differences(program, expected, execution.dram), *order_differences(columns, execution)]
    rtl_layers, sim_layers = _layer_cycles(program, execution.finish), _layer_cycles(program, profile.finish)
    return Comparison(
        tuple(LayerCycles(x.name, sim_layers[x.name], rtl_layers[x.name]) for x in compared_layers(program)),
        _unit_cycles(profile, execution),
        profile.cycles,
        int(execution.finish.max(initial=0)),
        tuple(differences),
        execution.clock_cycles,
        execution.seconds,
    )


def _with_latency(design: Design, read_latency: int) -> Design:
    return design.varied(memory={"read_latency": read_latency})


def compared_layers(program: Program) -> list[LayerSpan]:
    return [layer for layer in program.layers if layer.name != PROLOGUE]


def _layer_cycles(program: Program, finish: np.ndarray) -> dict[str, int]:
    """As `vdla.profile.profile_of`: what lies outside the layers counts for the layer before it."""
    ends = np.maximum.accumulate(finish)
    last = [int(ends[layer.end - 1]) if layer.end else 0 for layer in program.layers]
    if last:
        last[-1] = int(ends[-1])
    return {layer.name: b - a for layer, a, b in zip(program.layers, [0, *last], last, strict=False)}


def _unit_cycles(profile: Profile, execution: Execution) -> dict[str, tuple[int, int]]:
    cycles = {}
    for unit, name in enumerate(UNITS[1:], 1):
        mine = execution.unit == unit
        cycles[name] = (
            int((profile.finish - profile.start)[mine].sum()), int((execution.finish - execution.start)[mine].sum())
        )  # fmt: skip
    return cycles


def _memory_differences(program: Program, expected: np.ndarray, found: np.ndarray) -> list[str]:
    """Every byte of DRAM, whether the program meant to write it or not."""
    wrong = np.flatnonzero(expected != found)
    if not len(wrong):
        return []
    first = int(wrong[0])
    slots = [(f"tensor {slot.name} of layer {layer.name}", slot) for layer in program.layers for slot in layer.outputs]
    slots += [(f"tensor {slot.name}", slot) for slot in (*program.inputs, *program.outputs)]
    place = next((text for text, slot in slots if slot.address <= first < slot.address + slot.bytes), "no tensor")
    return [f"{len(wrong):,} bytes of DRAM differ, the first at {first:#x} ({place}): "
            f"simulator {int(expected[first])}, RTL {int(found[first])}"]  # fmt: skip


def order_differences(columns: np.ndarray, execution: Execution) -> list[str]:
    """Every unit retires its instructions in order, one at a time, and none starts before what its tokens stand for."""
    texts = []
    queues = execution.unit - 1
    for unit in range(1, len(UNITS)):
        mine = np.flatnonzero(execution.unit == unit)
        early = np.flatnonzero(execution.start[mine[1:]] < execution.finish[mine[:-1]])
        texts += [f"instruction {mine[k + 1]} starts before {mine[k]}, the one before it in {UNITS[unit]}, has retired"
                  for k in early[:1]]  # fmt: skip
    for fifo in FIFOS:
        pushes, pops = pushes_of(columns, queues, fifo), pops_of(columns, queues, fifo)
        pairs = min(len(pushes), len(pops))
        early = np.flatnonzero(execution.start[pops[:pairs]] <= execution.finish[pushes[:pairs]])
        texts += [f"instruction {pops[k]} starts before its token from instruction {pushes[k]}" for k in early[:1]]
    return texts
