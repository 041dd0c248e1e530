"""What COMPUTE did during a layer, in cycles: the parts that the figures and the table of the report stack."""

from __future__ import annotations

from vdla.report.run_report import LayerReport

COLOURS = {
    "GEMM": "#2a6f97",
    "ALU": "#61a5c2",
    "DMA": "#a9d6e5",
    "waits for load": "#e07a5f",
    "waits for store": "#f2cc8f",
    "bus": "#bc6c25",
    "queue": "#9a8c98",
    "idle": "#e3e8ec",
}
"""Part → colour. DMA: transfers of its own (micro-ops, accumulators). idle: done, while LOAD or STORE finish the layer."""


def parts(layer: LayerReport) -> dict[str, int]:
    """Cycles of each part; they sum to the layer's, unless COMPUTE worked ahead while the layer before retired."""
    stalls, busy = layer.stalls, layer.unit_busy.get("compute", 0)
    shares = {
        "GEMM": layer.gemm_cycles,
        "ALU": layer.alu_cycles,
        "DMA": max(0, busy - layer.gemm_cycles - layer.alu_cycles),
        "waits for load": stalls.get("token_from_load", 0),
        "waits for store": stalls.get("token_from_store", 0),
        "bus": stalls.get("bus", 0),
        "queue": stalls.get("queue", 0),
    }
    return shares | {"idle": max(0, layer.cycles - sum(shares.values()))}
