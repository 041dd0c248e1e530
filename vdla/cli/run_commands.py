"""`vdla run`: the main job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vdla.cli.console import Progress, print_json, progress, say, table
from vdla.cli.cpu_text import cpu_run_text
from vdla.cli.model_options import (
    BatchOption,
    BindOption,
    CalibrationOption,
    DesignOption,
    DimOption,
    DumpOption,
    FuseOption,
    HidingOption,
    InputsOption,
    JsonOption,
    ModelArgument,
    PlaceOption,
    SeedOption,
    ShapeOption,
    TargetOption,
    compile_options,
    refuse_for_cpu,
)  # fmt: skip
from vdla.cli.placement_text import placement_lines
from vdla.text import duration

if TYPE_CHECKING:
    from vdla.flows import CompileOptions, CpuRun, Run
    from vdla.report.run_report import LayerReport, RunReport

TraceOption = typer.Option(None, "--trace", metavar="FILE", help="Write a Chrome/Perfetto trace (JSON).")
VerboseOption = typer.Option(False, "--verbose", "-v", help="Units and DRAM traffic of each layer; why the host runs the rest.")


def run(
    model: str = ModelArgument,
    target: str = TargetOption,
    design: str = DesignOption,
    batch: int = BatchOption,
    input_shape: list[str] = ShapeOption,
    dim: list[str] = DimOption,
    bind: list[str] = BindOption,
    calibration: Path = CalibrationOption,
    inputs: Path = InputsOption,
    seed: int = SeedOption,
    latency_hiding: bool = HidingOption,
    fuse: bool = FuseOption,
    place: list[str] = PlaceOption,
    report: Path = typer.Option(
        None, "--report", metavar="DIR", help="Write a self-contained HTML report and, of a design, a Perfetto trace."
    ),
    trace: Path = TraceOption,
    annotate: Path = typer.Option(
        None, "--annotate", metavar="FILE.onnx", help="Write the model with placement, scales, cycles and reasons on its nodes."
    ),
    dump_ir: Path = DumpOption,
    save_tensors: Path = typer.Option(
        None, "--save-tensors", metavar="FILE", help="Write every tensor by its ONNX name (.npz); see compare-tensors."
    ),
    tensors_from: str = typer.Option(
        None,
        "--tensors-from",
        metavar="WHO",
        help="Whose: reference, cpu, simulator or rtl.",
        show_default="simulator, or cpu with --target cpu",
    ),
    verbose: bool = VerboseOption,
    json: bool = JsonOption,
) -> int:
    """Compile a model, simulate it bit-exactly, check it against the reference, and say where the cycles go.

    With --target cpu: run the float model on this machine's CPU, compare with the reference, and time each kernel.

    Exit code 1 when a layer differs from the reference on the values that came in: on the accelerator in any bit, on the
    host by more than rounding.

    \b
    Examples:
      vdla run resnet18
      vdla run model.onnx --design my_design.yaml --report report
      vdla run mobilenet --design zynq_4port --json
      vdla run model.onnx --input-shape image=1,3,224,224 --calibration samples.npz
      vdla run model.onnx --place 'head.*=cpu' --annotate annotated.onnx
      vdla run model.onnx --target cpu --dim batch=1 --bind sr=16000
      vdla run model.onnx --save-tensors rtl.npz --tensors-from rtl
    """
    from vdla.files import require_writable_file, require_writable_folder
    from vdla.flows import Run, run_model, run_on_cpu
    from vdla.flows.annotate import refuse_to_overwrite, write_annotated
    from vdla.flows.inputs import load_inputs

    for folder in (report, dump_ir):
        if folder is not None:
            require_writable_folder(folder)
    for file in (trace, save_tensors, annotate):
        if file is not None:
            require_writable_file(file)
    if annotate is not None:
        refuse_to_overwrite(annotate, model)
    options = compile_options(
        model, target=target, batch=batch, input_shape=input_shape, dim=dim, bind=bind, calibration=calibration, seed=seed,
        latency_hiding=latency_hiding, fuse=fuse, place=place, dump_ir=dump_ir,
    )  # fmt: skip
    given = load_inputs(inputs)
    source = tensor_source(tensors_from, save_tensors, options)
    if not options.for_design:
        hiding = not latency_hiding
        refuse_for_cpu(
            {
                "--design": design, "--calibration": calibration, "--no-latency-hiding": hiding, "--trace": trace,
                "--place": place or None, "--annotate": annotate,
            }
        )  # fmt: skip
    with progress(quiet=json) as stage:
        done: Run | CpuRun
        if options.for_design:
            done = run_model(model, design, options, inputs=given, on_stage=stage)
        else:
            done = run_on_cpu(model, options, inputs=given, on_stage=stage)
        saved = write_files(done, model, options, stage, report, trace, save_tensors, source)
        if annotate is not None and isinstance(done, Run):
            stage("writing the annotated model")
            write_annotated(annotate, model, options, done)
    if json:
        print_json(done.report.json())
    else:
        say(report_text(done, verbose))
        page = report and report / "index.html"
        written = ((page, "report"), (trace, "trace"), (annotate, "annotated model"), (dump_ir, "IR"))
        for path, what in written:
            if path:
                say(f"{what}: {path}")
        if saved:
            say(saved)
    return 0 if done.succeeded else 1


def tensor_source(tensors_from: str | None, save_tensors: Path | None, options: CompileOptions) -> str:
    """Whose tensors are to be saved. Raises `RunError` where the target has no such executor."""
    from vdla.errors import RunError
    from vdla.flows.tensors import sources_of

    sources = sources_of(options)
    if tensors_from is None:
        return sources[0]
    if tensors_from not in sources:
        other = "leave --target out" if not options.for_design else "--target cpu"
        hint = other if tensors_from in ("cpu", "simulator", "rtl") else ""
        raise RunError(
            "no such executor here", where="--tensors-from", found=tensors_from, expected=" or ".join(sources), hint=hint
        )
    if save_tensors is None:
        raise RunError("no file to write them to", where="--tensors-from", found=tensors_from, hint="--save-tensors FILE.npz")
    return tensors_from


def write_files(
    done: Run | CpuRun,
    model: str,
    options: CompileOptions,
    stage: Progress,
    report: Path | None,
    trace: Path | None,
    save_tensors: Path | None,
    source: str,
) -> str:
    """Write what was asked for; what is to be said of it."""
    from vdla.flows import write_cpu_report, write_report, write_trace
    from vdla.flows.run import Run
    from vdla.flows.tensors import saved_text, write_tensors

    if report is not None:
        stage("writing the report")
        write_report(report, done) if isinstance(done, Run) else write_cpu_report(report, done)
    if trace is not None and isinstance(done, Run):
        write_trace(trace, done)
    if save_tensors is None:
        return ""
    stage(f"running the {source} once more for its tensors")
    return saved_text(save_tensors, write_tensors(save_tensors, source, model, options, done.module, done.inputs))


def report_text(done: Run | CpuRun, verbose: bool) -> str:
    from vdla.flows.run import Run

    return run_text(done.report, verbose) if isinstance(done, Run) else cpu_run_text(done.report, verbose)


def run_text(report: RunReport, verbose: bool) -> str:
    """The per-layer table and the totals."""
    columns = [
        ("layer", "left"), ("op", "left"), ("MMAC", "right"), ("cycles", "right"), ("bound", "right"), ("util", "right"),
        ("KiB", "right"), ("waits for", "left"),
    ]  # fmt: skip
    rows = [_row(layer) for layer in report.layers]
    lines = [table(columns, rows), "", *_totals(report)]
    if verbose:
        lines += ["", *_details(report)]
    return "\n".join(lines)


def _row(layer: LayerReport) -> list[str]:
    name = layer.short_label
    if not layer.on_device:
        macs = f"{layer.macs / 1e6:,.2f}" if layer.macs else ""
        return [name, layer.op, macs, "host", "", "", f"{layer.bytes / 1024:,.0f}", f"about {duration(layer.seconds)}"]
    differs = "DIFFERS from the reference; " if layer.bit_exact is False else ""
    return [
        name,
        layer.op,
        f"{layer.macs / 1e6:,.2f}" if layer.macs else "",
        f"{layer.cycles:,}",
        f"{layer.bound_cycles:,}",
        f"{100 * layer.utilization:.1f}%" if layer.macs else "",
        f"{layer.dram_bytes / 1024:,.0f}",
        differs + waits_text(layer.stalls, layer.cycles),
    ]


def waits_text(stalls: Mapping[str, int], cycles: int) -> str:
    """COMPUTE's stalls of at least 1 % of the layer, largest first."""
    shown = sorted(((n, cause) for cause, n in stalls.items() if cycles and n >= 0.01 * cycles), reverse=True)
    return ", ".join(f"{cause.removeprefix('token_from_')} {100 * n / cycles:.0f}%" for n, cause in shown)


def _totals(report: RunReport) -> list[str]:
    over = report.cycles / report.bound_cycles if report.bound_cycles else 0
    return [
        f"{report.model} on {report.design}: {report.cycles:,} cycles, {report.ms:.2f} ms, {report.gops:.1f} GOPS; "
        f"{100 * report.utilization:.1f}% of the MACs used, {over:.2f}× the roofline",
        f"{report.exactness}; against the float model: relative error {report.rel_err:.4f}, largest {report.max_abs_err:.4g}",
        *([f"the host DIFFERS from the reference: {', '.join(report.host_differs)}"] if report.host_differs else []),
        *placement_lines(report.placement),
        "wall time: " + ", ".join(f"{name.removesuffix('_s')} {seconds:.2f} s" for name, seconds in report.wall.items()),
    ]


def _details(report: RunReport) -> list[str]:
    """Busy cycles of each unit and DRAM traffic by buffer; the host's operators with the reason for each."""
    units, buffers = ("load", "compute", "store"), ("uop", "wgt", "inp", "acc", "out", "store", "fetch")
    busy_columns = [("busy cycles", "left"), *((name, "right") for name in ("GEMM", "ALU", *units))]
    traffic_columns = [("DRAM traffic, KiB", "left"), *((name, "right") for name in (*buffers, "total"))]
    layers = [layer for layer in report.layers if layer.on_device]
    busy = [
        [
            layer.short_label,
            *(f"{n:,}" for n in (layer.gemm_cycles, layer.alu_cycles)),
            *(f"{layer.unit_busy.get(unit, 0):,}" for unit in units),
        ]
        for layer in layers
    ]
    traffic = [
        [
            layer.short_label,
            *(f"{n / 1024:,.1f}" if n else "" for n in (*(layer.traffic.get(b, 0) for b in buffers), layer.dram_bytes)),
        ]
        for layer in layers
    ]
    host = [[x.short_label, x.op, x.why] for x in report.layers if not x.on_device]
    provenance = ", ".join(f"{name} {value}" for name, value in report.provenance.items() if name != "command")
    return [
        table(busy_columns, busy),
        "",
        table(traffic_columns, traffic),
        "",
        table([("on the host", "left"), ("op", "left"), ("because", "left")], host),
        "",
        provenance,
    ]
