"""From a model's name or file to a compiled model: prepare (import, simplify, quantise) once, build for any design."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vdla.compiler.driver import build_model
from vdla.compiler.frontend.importers import importer_of
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.frontend.reader import Find
from vdla.compiler.frontend.static import StaticImporters
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.pipeline import for_programs, optimise
from vdla.compiler.graph.share_constants import share_constants
from vdla.compiler.model import CompiledModel
from vdla.compiler.ops.configuration import Configs
from vdla.compiler.quantise.affine import Levels
from vdla.compiler.quantise.qdq import from_qdq_with_levels, has_qdq, with_real_weights
from vdla.compiler.quantise.quantise import quantise_with_report
from vdla.compiler.quantise.written_out import with_written_out
from vdla.compiler.targets import BuildOptions, have_programs
from vdla.compiler.targets.wishes import Wish
from vdla.design import Design
from vdla.design_file import load_design
from vdla.files import write_file
from vdla.flows.calibration_data import fitted
from vdla.flows.dump import Dumper
from vdla.flows.inputs import CALIBRATION_SAMPLES, Inputs, generated_inputs, require_model
from vdla.runtime.module import Module
from vdla.runtime.program_file import module_to_bytes, read_module
from vdla.zoo import build, sample_inputs, zoo_models

OnStage = Callable[[str], None]
NOISE = (
    "the ranges of int8 come from generated noise, not from data: on real inputs the network may saturate and lose all "
    "accuracy; give --calibration"
)
DEFAULT_DESIGN = "pynq_z1"
"""What a model is compiled for when nothing is said."""


@dataclass(frozen=True)
class CompileOptions:
    """batch: images in a zoo model. input_shapes: for dynamic inputs of a file; dims: by name of the dimension, for every one
    that the shapes leave open; bind: inputs that become constants. calibration: one input dict a sample, or None to generate
    from `seed`. dump_ir: a folder for every stage's text. targets, configs, fuse, place: see `BuildOptions`.

    The model is quantised when one of the targets has programs; else it is compiled as it is, and for no design.
    """

    batch: int = 1
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    bind: Mapping[str, np.ndarray] = field(default_factory=dict)
    calibration: Sequence[Inputs] | None = None
    seed: int = 0
    latency_hiding: bool = True
    dump_ir: Path | None = None
    targets: tuple[str, ...] = ("vdla",)
    configs: Configs = field(default_factory=dict)
    fuse: bool = True
    place: tuple[Wish, ...] = ()

    @property
    def for_design(self) -> bool:
        """Whether a design has a part in it. Raises `CompileError` for a target that there is not."""
        return have_programs(self.targets)


def model_name(model: object) -> str:
    """How reports call a model: the zoo's name, the file's, or the graph's."""
    if isinstance(model, Prepared):
        return model_name(model.model)
    if isinstance(model, str | Path):
        return str(model) if str(model) in zoo_models() else Path(model).stem
    return str(getattr(getattr(model, "graph", None), "name", "") or "model")


def import_model(model: object, options: CompileOptions, find: Find = importer_of) -> Graph:
    """A zoo name, a path to an .onnx file, or a ModelProto → the float graph as imported. find: as in `import_onnx`.

    Raises `ModelError` when it cannot be read or holds what no backend supports.
    """
    if isinstance(model, str) and model in zoo_models():  # a file of that name is ./NAME
        return import_onnx(build(model, options.batch))
    if isinstance(model, str | Path):
        require_model(str(model), zoo_models())
    shapes = dict(options.input_shapes) or None
    return import_onnx(model, shapes, dims=options.dims, bind=options.bind, find=find)  # type: ignore[arg-type]


def calibration_inputs(model: object, graph: Graph, options: CompileOptions) -> Sequence[Inputs]:
    """The user's samples, the zoo's plausible ones, or generated noise; never those that `run` checks with."""
    if options.calibration is not None:
        return fitted(options.calibration, {name: graph.type_of(name) for name in graph.inputs})
    seeds = range(options.seed + 1, options.seed + 1 + CALIBRATION_SAMPLES)
    if isinstance(model, str) and model in zoo_models():
        return [sample_inputs(model, options.batch, seed) for seed in seeds]
    return [generated_inputs({name: graph.type_of(name) for name in graph.inputs}, seed) for seed in seeds]


@dataclass(frozen=True)
class Prepared:
    """A model imported, simplified and quantised: all that does not depend on a design. Built for as many as one likes.

    model: as given. float_graph: for the error against float. quantised: what is compiled; the float graph itself where no
    target has programs. seconds: what it took. levels: see `CompiledModel`. reasons: by node that stayed
    in float, why. notes: what else its user should know.
    """

    model: object
    float_graph: Graph
    quantised: Graph
    seconds: float
    levels: Levels = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def ranges_from_noise(model: object, options: CompileOptions) -> bool:
    """Whether nothing is known of what the model's inputs look like."""
    return options.calibration is None and not (isinstance(model, str) and model in zoo_models())


def notes_of(dynamic: Sequence[str]) -> tuple[str, ...]:
    """What was made of nodes that quantise while they run, for whoever asked for a model as it is."""
    if not dynamic:
        return ()
    which = ", ".join(dynamic[:3]) + (f" and {len(dynamic) - 3} more" if len(dynamic) > 3 else "")
    return (f"{which}: quantised while the model runs; here by static scales from calibration",)


def prepare(
    model: object,
    options: CompileOptions | None = None,
    *,
    on_stage: OnStage = lambda stage: None,
    dump: Callable[[str, Graph], None] = lambda stage, graph: None,
) -> Prepared:
    """Import, simplify and quantise `model`: a zoo name, a path to an .onnx file, or a ModelProto. What is `Prepared` stays.

    Raises `ModelError`, or `RunError` for calibration data that does not fit the model.
    """
    if isinstance(model, Prepared):
        return model
    options = options or CompileOptions()
    begun = time.perf_counter()
    on_stage("importing the model")
    for_design = options.for_design
    importers = StaticImporters()
    float_graph = optimise(import_model(model, options, importers.find if for_design else importer_of), dump=dump)
    if not for_design:
        return Prepared(model, float_graph, float_graph, time.perf_counter() - begun)
    on_stage("quantising")
    recognised = with_written_out(float_graph)  # before passes move its factors
    came_quantised = has_qdq(recognised)
    suited = for_programs(recognised if came_quantised else with_real_weights(recognised), dump)
    if came_quantised:
        came = from_qdq_with_levels(suited)
        quantised, levels, reasons = came.graph, came.levels, came.reasons
    else:
        found = quantise_with_report(suited, calibration_inputs(model, float_graph, options))
        quantised, levels, reasons = found.graph, found.int8, found.reasons
    notes = notes_of(importers.met)
    if not came_quantised and ranges_from_noise(model, options):
        notes = (*notes, NOISE)
    quantised = share_constants(quantised)
    dump("quantised", quantised)
    return Prepared(model, float_graph, quantised, time.perf_counter() - begun, levels, reasons, notes)


def compile_to_model(
    model: object,
    design: str | Path | Design | None = None,
    options: CompileOptions | None = None,
    *,
    on_stage: OnStage = lambda stage: None,
) -> CompiledModel:
    """Prepare `model`, unless it is `Prepared` already, and build it for `design` (DEFAULT_DESIGN when None); for none where no
    target has programs.

    Raises what `prepare` does, `DesignError` and `CompileError`.
    """
    options = options or CompileOptions()
    loaded = design_for(design, options)  # before long work is done for it
    begun = time.perf_counter()
    dumper = Dumper(options.dump_ir)
    prepared = prepare(model, options, on_stage=on_stage, dump=dumper.graph)
    on_stage(f"compiling for {loaded.name if loaded else 'the CPU'}")
    build_options = BuildOptions(
        latency_hiding=options.latency_hiding,
        targets=options.targets,
        configs=options.configs,
        fuse=options.fuse,
        place=options.place,
        dump=dumper.kernel if options.dump_ir else None,
    )
    compiled = build_model(prepared.quantised, loaded, build_options, prepared.float_graph, prepared.reasons)
    dumper.graph("placed", compiled.placed)
    return replace(compiled, seconds={"compile_s": time.perf_counter() - begun}, levels=prepared.levels)


def design_for(design: str | Path | Design | None, options: CompileOptions) -> Design | None:
    """The design to build for. Raises `DesignError` when it cannot be read, `CompileError` for an unknown target."""
    if design is None and not options.for_design:
        return None
    return load_design(DEFAULT_DESIGN if design is None else design)


def compile(  # noqa: A001 - the public name, as in torch.compile
    model: object,
    design: str | Path | Design | None = None,
    options: CompileOptions | None = None,
    *,
    targets: tuple[str, ...] | None = None,
    sanitize: bool = False,
) -> Module:
    """Compile `model` for `design` (DEFAULT_DESIGN when None) and bind it to the simulator; targets: in place of the options'.
    For ("cpu",) the float model runs on this machine, without design, quantisation or simulator.

    Errors are those of `compile_to_model`.

    module = vdla.compile("model.onnx", "pynq_z1")
    outputs = module.run({"x": x}).outputs
    """
    options = options or CompileOptions()
    if targets is not None:
        options = replace(options, targets=targets)
    return bound(compile_to_model(model, design, options), sanitize=sanitize)


def bound(model: CompiledModel, *, sanitize: bool = False) -> Module:
    """A compiled model on the simulator of its design; one of the host alone on nothing more."""
    if model.built_for is None:
        return Module(model)
    from vdla.sim.device import Simulator  # Numba

    return Module(model, Simulator(model.design, sanitize=sanitize))


def save(model: CompiledModel, path: Path | str) -> Path:
    """Write a module file (.vdla). Raises `OutputError` when it cannot be written."""
    return write_file(path, module_to_bytes(model))


def load(path: Path | str) -> Module:
    """A saved module, bound as by `compile`. Raises `RunError` when the file is not one or is damaged."""
    return bound(read_module(path))
