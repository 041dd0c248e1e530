"""The report's figures as SVG text: where the cycles go, the roofline, how busy each unit was when."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdla.design import Design
from vdla.device import UNITS, Profile
from vdla.report.breakdown import COLOURS, parts
from vdla.report.labels import grouped, place_labels
from vdla.report.run_report import LayerReport

STYLE: Any = {  # matplotlib types its keys one by one
    "svg.hashsalt": "vdla",  # equal runs, equal files
    "svg.fonttype": "none",  # text stays text: smaller, searchable
    "font.size": 9,
    "axes.edgecolor": "#5c6b77",
    "axes.labelcolor": "#1d2b36",
    "xtick.color": "#5c6b77",
    "ytick.color": "#5c6b77",
}
WIDTH = 11.0  # inches, of every figure, so that they line up
TIME_BINS = 480
NUMBER_EVERY = 0.012  # of the timeline's width: layers narrower than this are not numbered


def new_figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def svg(figure: Figure) -> str:
    """The figure's <svg> element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


@matplotlib.rc_context(STYLE)
def cycles_by_cause(layers: Sequence[LayerReport]) -> str:
    """For each layer, COMPUTE's cycles: GEMM, ALU, its own DMA, and what it waited for. Layers are numbered from 1."""
    figure, axes = new_figure(1.1 + 0.24 * len(layers))
    columns = {name: np.array([parts(layer)[name] for layer in layers]) / 1e3 for name in COLOURS}
    left, rows = np.zeros(len(layers)), np.arange(len(layers))
    for name, widths in columns.items():
        if widths.any():
            axes.barh(rows, widths, left=left, color=COLOURS[name], label=name, height=0.75)
            left += widths
    bounds = [layer.bound_cycles / 1e3 for layer in layers]
    axes.plot(bounds, rows, "|", color="black", markersize=9, markeredgewidth=1.5, label="the layer's own roofline")
    axes.set_yticks(rows, [f"{layer.short_label}  {k:\u2007>2}" for k, layer in enumerate(layers, 1)])
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.set_xlabel("thousand cycles")
    axes.grid(axis="x", color="#eef1f4")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=len(COLOURS) + 1, frameon=False, handlelength=1, columnspacing=1.2)
    return svg(figure)


@matplotlib.rc_context(STYLE)
def roofline(layers: Sequence[LayerReport], design: Design) -> str:
    """Achieved GOPS against operations for each byte of the layer's tensors, under the design's roofs.

    Points bear the layers' numbers; those too close to tell apart share a label.
    """
    figure, axes = new_figure(4.6)
    shown = [(k, layer) for k, layer in enumerate(layers, 1) if layer.macs and layer.cycles]
    x = np.array([layer.operations_per_byte for _, layer in shown])
    y = np.array([2 * layer.macs * design.clock_mhz / 1e3 / layer.cycles for _, layer in shown])
    bandwidth, peak = design.bytes_per_cycle * design.clock_mhz / 1e3, design.peak_gops
    ridge = peak / bandwidth
    low, high = min([ridge, *x]) / 2, max([ridge, *x]) * 2
    roof_x = np.geomspace(low, high, 400)
    axes.set_xscale("log")
    axes.plot(roof_x, np.minimum(peak, roof_x * bandwidth), color="#1d2b36", linewidth=1.5)
    axes.axvline(ridge, color="#c9d1d8", linewidth=0.8, linestyle=":")
    axes.plot(x, y, "o", color=COLOURS["GEMM"], markersize=5, alpha=0.85)
    axes.set_xlim(low, high)
    if len(y) and np.median(y) < peak / 10:
        axes.set_yscale("log")  # where the points are; near the roof a linear scale tells them apart better
        axes.set_ylim(y.min() / 2, peak * 2)
    else:
        axes.set_ylim(0, peak * 1.16)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_xlabel("operations for each byte (every tensor of the layer moved once)")
    axes.set_ylabel("GOPS, useful operations")
    axes.grid(color="#eef1f4")
    axes.text(0.004, 0.97, f"roofs: {peak:,.1f} GOPS, {bandwidth:,.2f} GB/s", transform=axes.transAxes, va="top", fontsize=9)
    figure.draw_without_rendering()  # the layout must be known before labels can avoid one another
    roof = np.column_stack([roof_x, np.minimum(peak, roof_x * bandwidth)])
    number_points(axes, np.column_stack([x, y]), [k for k, _ in shown], avoid=roof)
    return svg(figure)


def number_points(axes: Axes, points: np.ndarray, numbers: Sequence[int], avoid: np.ndarray) -> None:
    """Label points with their numbers, joined by thin lines, none upon another, a point or the curve through `avoid`.

    points, avoid: data coordinates, float[n, 2].
    """
    if not len(points):
        return
    pixels = axes.transData.transform(points)
    clusters = grouped(pixels, numbers)
    box = axes.get_window_extent()
    obstacles = np.concatenate([pixels, axes.transData.transform(avoid)])
    places = place_labels(clusters, obstacles, (box.x0, box.y0, box.x1, box.y1))
    to_data = axes.transData.inverted().transform
    for cluster, place in zip(clusters, places, strict=True):
        axes.annotate(
            cluster.text, tuple(to_data(cluster.at)), xytext=tuple(to_data(place)), ha="center", va="center", fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "#9aa7b1", "linewidth": 0.6, "shrinkA": 4, "shrinkB": 3},
        )  # fmt: skip


@matplotlib.rc_context(STYLE)
def timeline(profile: Profile, unit_of: np.ndarray, layer_ends: Sequence[tuple[str, int]], clock_mhz: float) -> str:
    """How busy LOAD, COMPUTE and STORE were over time. unit_of: index into UNITS of each instruction, int[n].

    layer_ends: each layer's number, and the cycle at which it had retired.
    """
    figure, axes = new_figure(2.3)
    rows = [busy_fractions(profile, unit_of == UNITS.index(unit)) for unit in UNITS[1:]]
    cycles_per_ms = clock_mhz * 1e3
    milliseconds = max(profile.cycles, 1) / cycles_per_ms
    image = axes.imshow(
        np.stack(rows), aspect="auto", cmap="Blues", vmin=0, vmax=1, extent=(0, milliseconds, 2.5, -0.5), interpolation="none"
    )  # fmt: skip
    axes.set_yticks(range(3), UNITS[1:])
    axes.set_xlabel("ms")
    begin = 0.0
    for number, cycle in layer_ends:
        end = cycle / cycles_per_ms
        axes.plot([end, end], [-0.5, -0.75], color="#5c6b77", linewidth=0.6, clip_on=False)
        if end - begin > NUMBER_EVERY * milliseconds:
            axes.text((begin + end) / 2, -0.58, number, ha="center", va="bottom", fontsize=7.5, color="#5c6b77")
        begin = end
    figure.colorbar(image, ax=axes, label="share of time busy", fraction=0.03, pad=0.01)
    return svg(figure)


def busy_fractions(profile: Profile, chosen: np.ndarray, bins: int = TIME_BINS) -> np.ndarray:
    """Share of each of `bins` equal time slices during which one of the chosen instructions ran, float[bins]."""
    if not chosen.any():
        return np.zeros(bins)
    edges = np.linspace(0, max(profile.cycles, 1), bins + 1)
    start, finish = np.sort(profile.start[chosen]).astype(float), np.sort(profile.finish[chosen]).astype(float)
    # Cycles busy before time t = Σ min(t, finish) - min(t, start); both sums from sorted arrays and prefix sums.
    return np.clip(np.diff(_clipped_sum(finish, edges) - _clipped_sum(start, edges)) / np.diff(edges), 0, 1)


def _clipped_sum(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Σ min(edge, value) for every edge; `values` sorted."""
    prefix = np.concatenate([[0.0], np.cumsum(values)])
    below = np.searchsorted(values, edges)
    return prefix[below] + (len(values) - below) * edges
