"""One self-contained HTML page for a run: totals, figures, the table of layers. No scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from vdla.design import Design
from vdla.report.run_report import LayerReport, RunReport

STYLE = """
:root { color-scheme: light; --ink: #1d2b36; --soft: #5c6b77; --line: #e3e8ec; --bar: #2a6f97; --bad: #b3261e; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.about { color: var(--soft); margin-top: .2rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.25rem; } .card span { color: var(--soft); font-size: .85rem; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid var(--line); }
th, td { text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.why { white-space: normal; color: var(--soft); text-align: left; }
.bar { display: inline-block; height: .7em; background: var(--bar); border-radius: 2px; vertical-align: baseline; }
.track { display: inline-block; width: 80px; background: var(--line); border-radius: 2px; }
.track { line-height: 0; margin-right: .5em; }
.differs { color: var(--bad); font-weight: 600; } figure { margin: 0; } svg { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .85rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 2rem; color: var(--soft); font-size: .8rem; }
"""


def page(report: RunReport, design: Design, figures: Sequence[tuple[str, str, str]]) -> str:
    """The whole document. figures: heading, one sentence of explanation, SVG."""
    body = [
        f"<h1>{escape(report.model)} on {escape(report.design)}</h1>",
        f'<p class="about">{escape(design.about)}</p>',
        cards(report),
        *(f"<h2>{escape(title)}</h2><p>{escape(note)}</p><figure>{drawing}</figure>" for title, note, drawing in figures),
        "<h2>Layers on the accelerator</h2>",
        layer_table([layer for layer in report.layers if layer.target == "vdla"]),
        "<h2>On the host</h2>",
        host_table([layer for layer in report.layers if layer.target != "vdla"]),
        "<h2>Where this came from</h2>",
        definitions({**report.provenance, **{k: f"{v:.3f} s" for k, v in report.wall.items()}}),
        "<footer>cycles of a layer: from the previous layer's last retirement to its own; they sum to the total. "
        "roofline of a layer: its micro-ops, or each of its tensors over the bus once.</footer>",
    ]
    title = escape(f"{report.model} on {report.design}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>{"".join(body)}</body></html>\n'
    )


def cards(report: RunReport) -> str:
    over = report.cycles / report.bound_cycles if report.bound_cycles else 0.0
    exact = "bit-exact" if report.bit_exact else '<span class="differs">not bit-exact</span>'
    values = [
        (f"{report.cycles:,}", "cycles"),
        (f"{report.ms:.2f} ms", "on the accelerator"),
        (f"{report.gops:.1f} GOPS", "useful operations"),
        (f"{100 * report.utilization:.1f} %", "of the MACs used"),
        (f"{over:.2f}×", f"the roofline, {report.bound_cycles:,} cycles"),
        (exact, "against the integer reference"),
        (f"{report.rel_err:.4f}", "relative error against float"),
    ]
    return (
        '<div class="cards">'
        + "".join(f'<div class="card"><b>{v}</b><span>{escape(k)}</span></div>' for v, k in values)
        + "</div>"
    )


def layer_table(layers: Sequence[LayerReport]) -> str:
    heads = ("layer", "op", "MMAC", "cycles", "roofline", "utilisation", "GEMM", "ALU", "DRAM KiB", "waits", "bits")
    return _table(heads, [_layer_row(layer) for layer in layers])


def _layer_row(layer: LayerReport) -> list[str]:
    exact = {True: "exact", False: '<span class="differs">differ</span>', None: "–"}[layer.bit_exact]
    waits = sum(layer.stalls.values())
    share = 100 * layer.utilization
    return [
        escape(layer.source), escape(layer.op), f"{layer.macs / 1e6:,.2f}", f"{layer.cycles:,}", f"{layer.bound_cycles:,}",
        f'<span class="track"><span class="bar" style="width:{min(share, 100):.0f}%"></span></span>{share:.1f} %',
        f"{layer.gemm_cycles:,}", f"{layer.alu_cycles:,}", f"{layer.dram_bytes / 1024:,.0f}", f"{waits:,}", exact,
    ]  # fmt: skip


def host_table(layers: Sequence[LayerReport]) -> str:
    return _table(("node", "op", "why it is here"), [[escape(x.source), escape(x.op), escape(x.why)] for x in layers], why=2)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], why: int | None = None) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    lines = (
        "<tr>" + "".join(f'<td class="why">{c}</td>' if k == why else f"<td>{c}</td>" for k, c in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def definitions(pairs: Mapping[str, object]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in pairs.items()) + "</dl>"
