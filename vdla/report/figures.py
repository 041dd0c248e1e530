"""The report's figures as SVG text: where the cycles go, the roofline, how busy each unit was when."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from vdla.design import Design
from vdla.device import UNITS, Profile
from vdla.report.run_report import LayerReport

matplotlib.rcParams["svg.hashsalt"] = "vdla"  # equal runs, equal files
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: smaller, searchable

COLOURS = {
    "GEMM": "#2a6f97",
    "ALU": "#61a5c2",
    "DMA": "#a9d6e5",
    "waits for load": "#e07a5f",
    "waits for store": "#f2cc8f",
    "bus": "#bc6c25",
    "queue": "#9a8c98",
}
TIME_BINS = 480


def svg(figure: Figure) -> str:
    """The figure's <svg> element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def cycles_by_cause(layers: Sequence[LayerReport]) -> str:
    """For each layer, COMPUTE's cycles: GEMM, ALU, its own DMA, and what it waited for."""
    figure = Figure(figsize=(9, 0.9 + 0.27 * len(layers)))
    axes = figure.subplots()
    parts = {name: np.array([_parts(layer)[name] for layer in layers]) / 1e3 for name in COLOURS}
    left = np.zeros(len(layers))
    rows = np.arange(len(layers))
    for name, widths in parts.items():
        if widths.any():
            axes.barh(rows, widths, left=left, color=COLOURS[name], label=name, height=0.75)
            left += widths
    axes.plot([layer.bound_cycles / 1e3 for layer in layers], rows, "k|", markersize=9, label="the layer's own roofline")
    axes.set_yticks(rows, [layer.source for layer in layers], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("thousand cycles of COMPUTE")
    axes.legend(
        fontsize=8, loc="upper center", bbox_to_anchor=(0.45, -0.5 / (0.9 + 0.27 * len(layers)) - 0.02), ncols=4, frameon=False
    )
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def _parts(layer: LayerReport) -> dict[str, float]:
    stalls, busy = layer.stalls, layer.unit_busy.get("compute", 0)
    return {
        "GEMM": layer.gemm_cycles,
        "ALU": layer.alu_cycles,
        "DMA": max(0, busy - layer.gemm_cycles - layer.alu_cycles),
        "waits for load": stalls.get("token_from_load", 0),
        "waits for store": stalls.get("token_from_store", 0),
        "bus": stalls.get("bus", 0),
        "queue": stalls.get("queue", 0),
    }


def roofline(layers: Sequence[LayerReport], design: Design) -> str:
    """Achieved GOPS against operations for each byte of the layer's tensors, under the design's roofs."""
    figure = Figure(figsize=(9, 4.2))
    axes = figure.subplots()
    bandwidth = design.bytes_per_cycle * design.clock_mhz / 1e3
    intensity = np.geomspace(1, 1000, 200)
    axes.loglog(intensity, np.minimum(design.peak_gops, intensity * bandwidth), color="#333333")
    axes.annotate(f"{design.peak_gops:,.1f} GOPS", (1000, design.peak_gops), ha="right", va="bottom", fontsize=8)
    axes.annotate(f"{bandwidth:,.2f} GB/s", (1.2, 1.2 * bandwidth), rotation=30, fontsize=8, va="bottom")
    for layer in layers:
        if layer.macs and layer.cycles:
            gops = 2 * layer.macs * design.clock_mhz / 1e3 / layer.cycles
            axes.plot(layer.operations_per_byte, gops, "o", color=COLOURS["GEMM"], markersize=5)
            axes.annotate(
                layer.source.split("+")[0],
                (layer.operations_per_byte, gops),
                fontsize=7,
                xytext=(4, -4),
                textcoords="offset points",
            )
    axes.set_xlabel("operations for each byte (every tensor of the layer once)")
    axes.set_ylabel("GOPS, useful operations")
    axes.grid(which="both", color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def timeline(profile: Profile, unit_of: np.ndarray, layer_ends: Sequence[tuple[str, int]], clock_mhz: float) -> str:
    """How busy LOAD, COMPUTE and STORE were over time. unit_of: index into UNITS of each instruction, int[n].

    layer_ends: layer name and the cycle at which it had retired.
    """
    figure = Figure(figsize=(9, 2.4))
    axes = figure.subplots()
    rows = [busy_fractions(profile, unit_of == UNITS.index(unit)) for unit in UNITS[1:]]
    milliseconds = profile.cycles / (clock_mhz * 1e3)
    image = axes.imshow(
        np.array(rows),
        aspect="auto",
        cmap="Blues",
        vmin=0,
        vmax=1,
        extent=(0, milliseconds, 2.5, -0.5),
        interpolation="nearest",
    )
    axes.set_yticks(range(3), UNITS[1:])
    for _, end in layer_ends:
        axes.axvline(end / (clock_mhz * 1e3), color="#e07a5f", linewidth=0.5)
    axes.set_xlabel("ms (lines: a layer retired)")
    figure.colorbar(image, ax=axes, label="busy", fraction=0.03, pad=0.02)
    return svg(figure)


def busy_fractions(profile: Profile, chosen: np.ndarray, bins: int = TIME_BINS) -> np.ndarray:
    """Share of each of `bins` equal time slices during which one of the chosen instructions ran, float[bins]."""
    edges = np.linspace(0, max(profile.cycles, 1), bins + 1)
    start, finish = np.sort(profile.start[chosen]).astype(float), np.sort(profile.finish[chosen]).astype(float)
    # Cycles busy before time t = Σ min(t, finish) - min(t, start); both sums from sorted arrays and prefix sums.
    return (
        np.clip(np.diff(_clipped_sum(finish, edges) - _clipped_sum(start, edges)) / np.diff(edges), 0, 1)
        if len(start)
        else np.zeros(bins)
    )


def _clipped_sum(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Σ min(edge, value) for every edge; `values` sorted."""
    prefix = np.concatenate([[0.0], np.cumsum(values)])
    below = np.searchsorted(values, edges)
    return prefix[below] + (len(values) - below) * edges
