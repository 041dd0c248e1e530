"""`vdla compile` and `vdla simulate`."""

from __future__ import annotations

from pathlib import Path

import typer

from vdla.cli.console import print_json, progress, say, table
from vdla.cli.run_commands import (
    BatchOption,
    CalibrationOption,
    DesignOption,
    DumpOption,
    HidingOption,
    JsonOption,
    ModelArgument,
    SeedOption,
    ShapeOption,
)  # fmt: skip


def compile_model(
    model: str = ModelArgument,
    output: Path = typer.Option(..., "--output", "-o", help="The .vdla module to write."),
    design: str = DesignOption,
    batch: int = BatchOption,
    input_shape: list[str] = ShapeOption,
    calibration: Path = CalibrationOption,
    seed: int = SeedOption,
    latency_hiding: bool = HidingOption,
    dump_ir: Path = DumpOption,
    json: bool = JsonOption,
) -> None:
    """Compile a model for a design and save the module.

    Example: vdla compile resnet18 -o resnet18.vdla --design pynq_z1
    """
    from vdla.files import require_writable_folder
    from vdla.flows import CompileOptions, compile_to_model, save
    from vdla.flows.inputs import load_calibration, parse_shapes

    for folder in (output.parent, dump_ir):
        if folder is not None:
            require_writable_folder(folder)
    options = CompileOptions(
        batch=batch, input_shapes=parse_shapes(input_shape or []), calibration=load_calibration(calibration), seed=seed,
        latency_hiding=latency_hiding, dump_ir=dump_ir,
    )  # fmt: skip
    with progress(quiet=json) as stage:
        compiled = compile_to_model(model, design, options, on_stage=stage)
        save(compiled, output)
    on = list(compiled.placement.targets.values())
    summary = {
        "file": str(output),
        "design": compiled.design.name,
        "programs": len(compiled.programs),
        "instructions": sum(len(p.words) for p in compiled.programs),
        "dram_bytes": sum(p.dram_bytes for p in compiled.programs),
        "nodes_on_vdla": on.count("vdla"),
        "nodes_on_cpu": on.count("cpu"),
        "bytes": output.stat().st_size,
    }
    if json:
        print_json(summary)
    else:
        say(f"{output}: " + ", ".join(f"{value:,} {key}" for key, value in summary.items() if isinstance(value, int)))


def simulate(
    program: Path = typer.Argument(help="A .vdla module, a .vprog program, or assembly text (.s)."),
    design: str = typer.Option("pynq_z1", "--design", "-d", help="The design of assembly text; other files carry theirs."),
    timing_only: bool = typer.Option(False, "--timing-only", help="Cycles without values."),
    sanitize: bool = typer.Option(False, "--sanitize", help="Watch every access for races, unwritten reads and ranges."),
    trace: Path = typer.Option(None, "--trace", metavar="FILE", help="Write a Chrome/Perfetto trace (JSON)."),
    seed: int = SeedOption,
    json: bool = JsonOption,
) -> None:
    """Simulate compiled programs on generated inputs: cycles, stalls, traffic.

    Example: vdla simulate resnet18.vdla --timing-only
    """
    from vdla.cli.isa_commands import read_assembly
    from vdla.flows.simulate import simulate_programs, simulation_documents, write_program_trace
    from vdla.runtime.program_file import read_programs

    programs = [read_assembly(program, design)] if program.suffix == ".s" else read_programs(program)
    results = simulate_programs(programs, seed=seed, functional=not timing_only, sanitize=sanitize)
    if trace is not None:
        write_program_trace(trace, programs, [r.profile for r in results if r.profile is not None])
    documents = simulation_documents(programs, results)
    if json:
        return print_json({"file": str(program), "programs": documents, "cycles": sum(d["cycles"] for d in documents)})
    for document in documents:
        rows = [
            [
                layer["name"],
                f"{layer['cycles']:,}",
                *(f"{layer['busy'][u]:,}" for u in ("load", "compute", "store")),
                f"{layer['dram_bytes']:,}",
            ]
            for layer in document["layers"]
        ]
        headings = [("layer", "left"), *((h, "right") for h in ("cycles", "load", "compute", "store", "DRAM bytes"))]
        say(table(headings, rows))
        say(f"{document['cycles']:,} cycles, {document['ms']:.3f} ms on {document['design']}")
        for warning in document["warnings"]:
            say(f"warning: {warning}")
    return None
