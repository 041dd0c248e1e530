"""One self-contained HTML page for a run: totals, figures, the table of layers. No scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape

from vdla.design import Design
from vdla.report.breakdown import COLOURS, parts
from vdla.report.placement_report import PlacementReport
from vdla.report.run_report import LayerReport, RunReport
from vdla.text import duration

LAYER_NOTE = "COMPUTE's time is each layer's own, as shares of its cycles; the numbers appear under the pointer."
PLACEMENT_NOTE = "Where the network runs. Execution goes from one target to another {} times."
FOOTER = (
    "Cycles of a layer: from the previous layer's last retirement to its own; they sum to the total though layers overlap. "
    "Roofline of a layer: its GEMM micro-ops, or each of its tensors over the bus once, whichever is more; of the network: all "
    "GEMM micro-ops, or weights, inputs and outputs over the bus once. Utilisation counts useful multiply-accumulates only."
)

STYLE = """
:root { color-scheme: light; --ink: #1d2b36; --soft: #5c6b77; --line: #e3e8ec; --bar: #2a6f97; --bad: #b3261e; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink); }
body { max-width: 1160px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .2rem; }
.about, .note { color: var(--soft); margin: .2rem 0 .8rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: .7rem; margin: 1.4rem 0; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .6rem .8rem; }
.card b { display: block; font-size: 1.2rem; white-space: nowrap; }
.card span { color: var(--soft); font-size: .8rem; line-height: 1.3; display: block; }
.card b span { display: inline; font-size: inherit; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .8rem; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th, td { padding: .22rem .4rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th.n, td.n { text-align: right; } td.why { white-space: normal; color: var(--soft); width: 100%; }
tbody tr:hover { background: #f6f8fa; } tfoot td { font-weight: 600; border-bottom: 0; }
.track { display: inline-flex; width: 64px; height: .6em; background: var(--line); border-radius: 2px; overflow: hidden; }
.track { margin-right: .5em; } .track i { display: block; height: 100%; background: var(--bar); }
.stack { width: 130px; margin: 0; height: .8em; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .35em 0 .9em; }
.key { font-size: .8rem; color: var(--soft); margin: .2rem 0 .5rem -.9em; }
.differs { color: var(--bad); font-weight: 600; } figure { margin: 0; } svg { width: 100%; height: auto; display: block; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .85rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
footer { margin: 2rem 0; color: var(--soft); font-size: .8rem; }
"""


def page(report: RunReport, design: Design, figures: Sequence[tuple[str, str, str]]) -> str:
    """The whole document. figures: heading, one sentence of explanation, SVG."""
    layers = [layer for layer in report.layers if layer.on_device]
    host = [layer for layer in report.layers if not layer.on_device]
    hiding = "" if report.latency_hiding else " Compiled without latency hiding."
    batch = f" Batch {report.batch}." if report.batch != 1 else ""
    seconds = {f"{name.removesuffix('_s')} took": f"{value:.2f} s" for name, value in report.wall.items()}
    body = [
        f"<h1>{escape(report.model)} on {escape(report.design)}</h1>",
        f'<p class="about">{escape(design.about)}{hiding}{batch}</p>',
        cards(report),
        *(section(title, note, f"<figure>{drawing}</figure>") for title, note, drawing in figures),
        section("Layers on the accelerator", LAYER_NOTE, key() + layer_table(layers, report) if layers else "<p>None.</p>"),
        section("Placement", PLACEMENT_NOTE.format(report.placement.switches), share_table(report.placement)),
        section("On the host", host_note(report.placement), host_part(host, report.placement) if host else "<p>None.</p>"),
        section("Where this came from", "Enough to run it again.", definitions({**report.provenance, **seconds})),
        f"<footer>{FOOTER}</footer>",
    ]
    return document(f"{report.model} on {report.design}", body)


def document(title: str, body: Sequence[str]) -> str:
    """A whole page. title: text; body: HTML."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>{"".join(body)}</body></html>\n'
    )


def cards(report: RunReport) -> str:
    over = report.cycles / report.bound_cycles if report.bound_cycles else 0.0
    exact = {True: "bit-exact", False: '<span class="differs">not bit-exact</span>', None: "–"}[report.bit_exact]
    values = [
        (f"{report.cycles:,}", "cycles"),
        (f"{report.ms:.2f} ms", "on the accelerator"),
        (f"{report.gops:.1f} GOPS", "useful operations"),
        (f"{100 * report.utilization:.1f} %", "of the MACs used"),
        (f"{over:.2f}×", f"the roofline, {report.bound_cycles:,} cycles"),
        (exact, report.exactness.partition(": ")[2] or report.exactness),
        (f"{report.rel_err:.4f}", "relative error against float"),
    ]
    return card_row(values)


def card_row(values: Sequence[tuple[str, str]]) -> str:
    """Figures in large type. values: HTML, and the text below it."""
    return (
        '<div class="cards">'
        + "".join(f'<div class="card"><b>{v}</b><span>{escape(k)}</span></div>' for v, k in values)
        + "</div>"
    )


def section(title: str, note: str, content: str) -> str:
    return f'<h2>{escape(title)}</h2><p class="note">{escape(note)}</p>{content}'


def key() -> str:
    """What the colours of the stacked bars mean."""
    return '<p class="key">' + "".join(f'<i style="background:{c}"></i>{escape(n)}' for n, c in COLOURS.items()) + "</p>"


def layer_table(layers: Sequence[LayerReport], report: RunReport) -> str:
    heads = ("#", "layer", "op", "MMAC", "cycles", "roofline", "×", "utilisation", "COMPUTE's time", "DRAM KiB", "bits")
    total = [
        "", "all", "", f"{sum(x.macs for x in layers) / 1e6:,.2f}", f"{report.cycles:,}", f"{report.bound_cycles:,}",
        ratio(report.cycles, report.bound_cycles), bar(report.utilization), "",
        f"{sum(x.dram_bytes for x in layers) / 1024:,.0f}", "",
    ]  # fmt: skip
    return table(heads, [_layer_row(k, x) for k, x in enumerate(layers, 1)], numeric={0, 3, 4, 5, 6, 9}, foot=total)


def _layer_row(number: int, layer: LayerReport) -> list[str]:
    exact = {True: "exact", False: '<span class="differs">differ</span>', None: "–"}[layer.bit_exact]
    name = f'<span title="{escape(layer.source)}">{escape(layer.short_label)}</span>'
    return [
        str(number), name, escape(layer.op), f"{layer.macs / 1e6:,.2f}" if layer.macs else "", f"{layer.cycles:,}",
        f"{layer.bound_cycles:,}", ratio(layer.cycles, layer.bound_cycles), bar(layer.utilization) if layer.macs else "",
        stack(layer), f"{layer.dram_bytes / 1024:,.0f}", exact,
    ]  # fmt: skip


def ratio(cycles: int, bound: int) -> str:
    return f"{cycles / bound:.2f}" if bound else ""


def bar(share: float) -> str:
    """A bar and its figure, for a share of 1."""
    return f'<span class="track"><i style="width:{min(100 * share, 100):.0f}%"></i></span>{100 * share:.1f} %'


def stack(layer: LayerReport) -> str:
    """A layer's cycles by cause as one bar; the numbers appear under the pointer."""
    shares = {name: cycles for name, cycles in parts(layer).items() if cycles}
    whole = max(1, sum(shares.values()))
    told = ", ".join(f"{name} {cycles:,}" for name, cycles in shares.items())
    pieces = "".join(f'<i style="width:{100 * c / whole:.2f}%;background:{COLOURS[n]}"></i>' for n, c in shares.items())
    return f'<span class="track stack" title="{escape(told)}">{pieces}</span>'


def share_table(placement: PlacementReport) -> str:
    heads = ("target", "operators", "MMAC", "of all MACs", "MiB", "time", "")
    rows = [
        [
            escape(share.target), f"{share.operators:,}", f"{share.macs / 1e6:,.2f}", bar(placement.share(share)),
            f"{share.bytes / 2**20:,.2f}", duration(share.seconds), "" if share.timed else escape(placement.estimate),
        ]
        for share in placement.targets
    ]  # fmt: skip
    return table(heads, rows, numeric={1, 2, 4, 5}, why=6)


def host_note(placement: PlacementReport) -> str:
    return f"What the accelerator does not run, and why. Times: {placement.estimate}."


def host_part(layers: Sequence[LayerReport], placement: PlacementReport) -> str:
    """The causes, the costliest first, then the operators."""
    return cause_table(placement) + "<p></p>" + host_table(layers)


def cause_table(placement: PlacementReport) -> str:
    rows = [
        [duration(cause.seconds), f"{cause.operators:,}", f"{cause.macs / 1e6:,.2f}" if cause.macs else "", escape(cause.cause)]
        for cause in placement.causes
    ]
    return table(("time", "operators", "MMAC", "cause"), rows, numeric={0, 1, 2}, why=3)


def host_table(layers: Sequence[LayerReport]) -> str:
    rows = [
        [
            escape(x.source), escape(x.op), f"{x.macs / 1e6:,.2f}" if x.macs else "", f"{x.bytes / 1024:,.0f}",
            duration(x.seconds), escape(x.why),
        ]
        for x in layers
    ]  # fmt: skip
    return table(("node", "op", "MMAC", "KiB", "time", "why it is here"), rows, numeric={2, 3, 4}, why=5)


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    numeric: Collection[int] = (),
    why: int | None = None,
    foot: Sequence[str] = (),
) -> str:
    """heads are text; rows and foot are HTML. numeric: columns to align right. why: the column of prose."""

    def cells(row: Sequence[str], tag: str) -> str:
        kinds = ["why" if k == why and tag == "td" else "n" if k in numeric else "" for k in range(len(row))]
        return "<tr>" + "".join(f"<{tag}{_class(kind)}>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"

    head = cells([escape(h) for h in heads], "th")
    body = "".join(cells(row, "td") for row in rows)
    end = f"<tfoot>{cells(foot, 'td')}</tfoot>" if foot else ""
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody>{end}</table></div>'


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def definitions(pairs: Mapping[str, object]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in pairs.items()) + "</dl>"
