"""`vdla compile` and `vdla simulate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vdla.cli.console import print_json, progress, say, table
from vdla.cli.isa_commands import ProgramDesignOption, programs_of
from vdla.cli.model_options import (
    BatchOption,
    BindOption,
    CalibrationOption,
    DesignOption,
    DimOption,
    DumpOption,
    FuseOption,
    HidingOption,
    JsonOption,
    ModelArgument,
    PlaceOption,
    SeedOption,
    ShapeOption,
    TargetOption,
    compile_options,
    refuse_for_cpu,
)  # fmt: skip
from vdla.cli.run_commands import TraceOption, waits_text

if TYPE_CHECKING:
    from vdla.compiler.model import CompiledModel


def compile_model(
    model: str = ModelArgument,
    output: Path = typer.Option(..., "--output", "-o", metavar="FILE", help="The .vdla module to write."),
    target: str = TargetOption,
    design: str = DesignOption,
    batch: int = BatchOption,
    input_shape: list[str] = ShapeOption,
    dim: list[str] = DimOption,
    bind: list[str] = BindOption,
    calibration: Path = CalibrationOption,
    seed: int = SeedOption,
    latency_hiding: bool = HidingOption,
    fuse: bool = FuseOption,
    place: list[str] = PlaceOption,
    dump_ir: Path = DumpOption,
    json: bool = JsonOption,
) -> None:
    """Compile a model for a design, or for the CPU alone, and save the module. `vdla.load` in Python runs it.

    \b
    Examples:
      vdla compile resnet18 -o resnet18.vdla
      vdla compile model.onnx -o model.vdla --design kv260 --calibration samples.npz
      vdla compile model.onnx -o model.vdla --target cpu --dim batch=1
    """
    from vdla.files import require_writable_file, require_writable_folder
    from vdla.flows import compile_to_model, save

    require_writable_file(output)
    if dump_ir is not None:
        require_writable_folder(dump_ir)
    options = compile_options(
        model, target=target, batch=batch, input_shape=input_shape, dim=dim, bind=bind, calibration=calibration, seed=seed,
        latency_hiding=latency_hiding, fuse=fuse, place=place, dump_ir=dump_ir,
    )  # fmt: skip
    if not options.for_design:
        hiding = not latency_hiding
        given = {"--design": design, "--calibration": calibration, "--no-latency-hiding": hiding, "--place": place or None}
        refuse_for_cpu(given)
    with progress(quiet=json) as stage:
        compiled = compile_to_model(model, design, options, on_stage=stage)
        stage("writing the module")
        save(compiled, output)
    summary = compiled_summary(model, output, compiled)
    print_json(summary) if json else say(_compiled_text(summary))


def compiled_summary(model: str, output: Path, compiled: CompiledModel) -> dict[str, Any]:
    """The keys of `vdla compile --json`; those of a design are null where there is none."""
    from vdla.compiler.targets import target_names

    on = list(compiled.placement.targets.values())
    design = compiled.built_for
    return {
        "file": str(output),
        "bytes": output.stat().st_size,
        "model": model,
        "design": design and design.name,
        "design_hash": design and design.hash_hex,
        "programs": len(compiled.programs),
        "instructions": sum(len(p.words) for p in compiled.programs),
        "dram_bytes": sum(p.dram_bytes for p in compiled.programs),
        "kernels": sum(step.program is None for step in compiled.steps),
        **{f"nodes_on_{target}": on.count(target) for target in target_names()},
    }


def _compiled_text(summary: Mapping[str, Any]) -> str:
    """One line: of a design its programs, of the CPU its kernels."""
    from vdla.compiler.targets import host

    file = f"{summary['file']}: {summary['bytes'] / 2**20:,.2f} MiB"
    on_host = summary[f"nodes_on_{host().name}"]
    if summary["design"] is None:
        return (
            f"{file}, {on_host} operators in {summary['kernels']} kernels of the CPU, which are compiled when it is first run"
        )
    others = sum(n for key, n in summary.items() if key.startswith("nodes_on_")) - on_host
    return (
        f"{file}, {summary['programs']} programs of {summary['instructions']:,} instructions for {summary['design']}, "
        f"{summary['dram_bytes'] / 2**20:,.2f} MiB of DRAM; {others} operators on the accelerator, {on_host} on the host"
    )


def simulate(
    program: Path = typer.Argument(metavar="FILE", help="A .vdla module, a .vprog program, or assembly text (.s)."),
    design: str = ProgramDesignOption,
    timing_only: bool = typer.Option(False, "--timing-only", help="Cycles without values."),
    sanitize: bool = typer.Option(False, "--sanitize", help="Watch every access for races, unwritten reads and ranges."),
    trace: Path = TraceOption,
    seed: int = SeedOption,
    json: bool = JsonOption,
) -> None:
    """Simulate compiled programs on generated inputs: cycles, stalls, traffic.

    \b
    Examples:
      vdla simulate resnet18.vdla --timing-only
      vdla simulate program.s --design tiny --sanitize --trace trace.json
    """
    from vdla.files import require_writable_file, write_file
    from vdla.flows.simulate import simulate_programs, simulation_documents, trace_text

    if trace is not None:
        require_writable_file(trace)
    with progress(quiet=json) as stage:
        programs = programs_of(program, design)
        stage("simulating")
        results = simulate_programs(programs, seed=seed, functional=not timing_only, sanitize=sanitize)
        if trace is not None:
            stage("writing the trace")
            write_file(trace, trace_text(programs, [r.profile for r in results if r.profile is not None]))
    documents = simulation_documents(programs, results)
    if json:
        return print_json({"file": str(program), "cycles": sum(d["cycles"] for d in documents), "programs": documents})
    say("\n\n".join(_simulated_text(document) for document in documents))
    if trace is not None:
        say(f"trace: {trace}")
    return None


def _simulated_text(document: Mapping[str, Any]) -> str:
    """One program: a row for each layer, what each unit did, the total, the warnings."""
    columns = [("layer", "left"), *((h, "right") for h in ("cycles", "load", "compute", "store", "KiB")), ("waits for", "left")]
    rows = [
        [
            layer["name"],
            f"{layer['cycles']:,}",
            *(f"{layer['busy'][unit]:,}" for unit in ("load", "compute", "store")),
            f"{layer['dram_bytes'] / 1024:,.0f}",
            waits_text(layer["stalls"], layer["cycles"]),
        ]
        for layer in document["layers"]
    ]
    total = (
        f"{document['cycles']:,} cycles, {document['ms']:.3f} ms on {document['design']}; "
        f"{document['instructions']:,} instructions"
    )
    return "\n".join([table(columns, rows), "", total, *(f"warning: {warning}" for warning in document["warnings"])])
