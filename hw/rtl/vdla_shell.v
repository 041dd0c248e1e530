// The accelerator as the outside sees it: AXI4-Lite registers (docs/registers.md), AXI4 masters towards DRAM, an
// interrupt. What a run is, and when it ends, is vdla_run_control; what runs is vdla_core.
//
// `aresetn` is registered once here and is synchronous and active high inside.
//
// AXI4 masters: INCR bursts of at most VDLA_MAX_BURST beats that never cross 4 KiB; 40-bit addresses; full strobes except
// where a row begins or ends inside a beat; reads of one ID are answered in order, those of different IDs in any order.

`default_nettype none

`include "vdla_isa.vh"

module vdla_shell #(
    // 1: two products of the GEMM core share one 25x18 multiplier; 0: a multiplier for each
    parameter PACKED_PRODUCTS = 0
) (
    input  wire                       aclk,
    input  wire                       aresetn,
    output wire                       irq,

`ifdef VDLA_TRACE
    // Simulation only. A unit's bit: 1 load, 2 compute, 3 store. In the sense of vdla/sim/timing.py: trace_start in the
    // cycle an instruction starts, trace_retire in the cycle it finishes; trace_running from cycle 0 on.
    output wire                       trace_running,
    output wire [3:0]                 trace_start,
    output wire [3:0]                 trace_retire,
`endif

`ifdef VDLA_PORTS_SHARED
    // One AXI4 master for all units; IDs: 0 fetch, 1 load, 2 compute, 3 store.
    output wire [1:0]                 m_axi_awid,
    output wire [39:0]                m_axi_awaddr,
    output wire [7:0]                 m_axi_awlen,
    output wire [2:0]                 m_axi_awsize,
    output wire [1:0]                 m_axi_awburst,
    output wire                       m_axi_awlock,
    output wire [3:0]                 m_axi_awcache,
    output wire [2:0]                 m_axi_awprot,
    output wire [3:0]                 m_axi_awqos,
    output wire                       m_axi_awvalid,
    input  wire                       m_axi_awready,
    output wire [`VDLA_BUS_WIDTH-1:0] m_axi_wdata,
    output wire [`VDLA_BUS_WIDTH/8-1:0] m_axi_wstrb,
    output wire                       m_axi_wlast,
    output wire                       m_axi_wvalid,
    input  wire                       m_axi_wready,
    input  wire [1:0]                 m_axi_bid,
    input  wire [1:0]                 m_axi_bresp,
    input  wire                       m_axi_bvalid,
    output wire                       m_axi_bready,

    output wire [1:0]                 m_axi_arid,
    output wire [39:0]                m_axi_araddr,
    output wire [7:0]                 m_axi_arlen,
    output wire [2:0]                 m_axi_arsize,
    output wire [1:0]                 m_axi_arburst,
    output wire                       m_axi_arlock,
    output wire [3:0]                 m_axi_arcache,
    output wire [2:0]                 m_axi_arprot,
    output wire [3:0]                 m_axi_arqos,
    output wire                       m_axi_arvalid,
    input  wire                       m_axi_arready,
    input  wire [1:0]                 m_axi_rid,
    input  wire [`VDLA_BUS_WIDTH-1:0] m_axi_rdata,
    input  wire [1:0]                 m_axi_rresp,
    input  wire                       m_axi_rlast,
    input  wire                       m_axi_rvalid,
    output wire                       m_axi_rready,
`else
    // One AXI4 master for each unit: three that read, one that writes.
    output wire [1:0]                 m_axi_fetch_arid,
    output wire [39:0]                m_axi_fetch_araddr,
    output wire [7:0]                 m_axi_fetch_arlen,
    output wire [2:0]                 m_axi_fetch_arsize,
    output wire [1:0]                 m_axi_fetch_arburst,
    output wire                       m_axi_fetch_arlock,
    output wire [3:0]                 m_axi_fetch_arcache,
    output wire [2:0]                 m_axi_fetch_arprot,
    output wire [3:0]                 m_axi_fetch_arqos,
    output wire                       m_axi_fetch_arvalid,
    input  wire                       m_axi_fetch_arready,
    input  wire [1:0]                 m_axi_fetch_rid,
    input  wire [`VDLA_BUS_WIDTH-1:0] m_axi_fetch_rdata,
    input  wire [1:0]                 m_axi_fetch_rresp,
    input  wire                       m_axi_fetch_rlast,
    input  wire                       m_axi_fetch_rvalid,
    output wire                       m_axi_fetch_rready,

    output wire [1:0]                 m_axi_load_arid,
    output wire [39:0]                m_axi_load_araddr,
    output wire [7:0]                 m_axi_load_arlen,
    output wire [2:0]                 m_axi_load_arsize,
    output wire [1:0]                 m_axi_load_arburst,
    output wire                       m_axi_load_arlock,
    output wire [3:0]                 m_axi_load_arcache,
    output wire [2:0]                 m_axi_load_arprot,
    output wire [3:0]                 m_axi_load_arqos,
    output wire                       m_axi_load_arvalid,
    input  wire                       m_axi_load_arready,
    input  wire [1:0]                 m_axi_load_rid,
    input  wire [`VDLA_BUS_WIDTH-1:0] m_axi_load_rdata,
    input  wire [1:0]                 m_axi_load_rresp,
    input  wire                       m_axi_load_rlast,
    input  wire                       m_axi_load_rvalid,
    output wire                       m_axi_load_rready,

    output wire [1:0]                 m_axi_compute_arid,
    output wire [39:0]                m_axi_compute_araddr,
    output wire [7:0]                 m_axi_compute_arlen,
    output wire [2:0]                 m_axi_compute_arsize,
    output wire [1:0]                 m_axi_compute_arburst,
    output wire                       m_axi_compute_arlock,
    output wire [3:0]                 m_axi_compute_arcache,
    output wire [2:0]                 m_axi_compute_arprot,
    output wire [3:0]                 m_axi_compute_arqos,
    output wire                       m_axi_compute_arvalid,
    input  wire                       m_axi_compute_arready,
    input  wire [1:0]                 m_axi_compute_rid,
    input  wire [`VDLA_BUS_WIDTH-1:0] m_axi_compute_rdata,
    input  wire [1:0]                 m_axi_compute_rresp,
    input  wire                       m_axi_compute_rlast,
    input  wire                       m_axi_compute_rvalid,
    output wire                       m_axi_compute_rready,

    output wire [1:0]                 m_axi_store_awid,
    output wire [39:0]                m_axi_store_awaddr,
    output wire [7:0]                 m_axi_store_awlen,
    output wire [2:0]                 m_axi_store_awsize,
    output wire [1:0]                 m_axi_store_awburst,
    output wire                       m_axi_store_awlock,
    output wire [3:0]                 m_axi_store_awcache,
    output wire [2:0]                 m_axi_store_awprot,
    output wire [3:0]                 m_axi_store_awqos,
    output wire                       m_axi_store_awvalid,
    input  wire                       m_axi_store_awready,
    output wire [`VDLA_BUS_WIDTH-1:0] m_axi_store_wdata,
    output wire [`VDLA_BUS_WIDTH/8-1:0] m_axi_store_wstrb,
    output wire                       m_axi_store_wlast,
    output wire                       m_axi_store_wvalid,
    input  wire                       m_axi_store_wready,
    input  wire [1:0]                 m_axi_store_bid,
    input  wire [1:0]                 m_axi_store_bresp,
    input  wire                       m_axi_store_bvalid,
    output wire                       m_axi_store_bready,
`endif

    input  wire [11:0]                s_axil_awaddr,
    input  wire [2:0]                 s_axil_awprot,
    input  wire                       s_axil_awvalid,
    output wire                       s_axil_awready,
    input  wire [31:0]                s_axil_wdata,
    input  wire [3:0]                 s_axil_wstrb,
    input  wire                       s_axil_wvalid,
    output wire                       s_axil_wready,
    output wire [1:0]                 s_axil_bresp,
    output wire                       s_axil_bvalid,
    input  wire                       s_axil_bready,
    input  wire [11:0]                s_axil_araddr,
    input  wire [2:0]                 s_axil_arprot,
    input  wire                       s_axil_arvalid,
    output wire                       s_axil_arready,
    output wire [31:0]                s_axil_rdata,
    output wire [1:0]                 s_axil_rresp,
    output wire                       s_axil_rvalid,
    input  wire                       s_axil_rready
);

endmodule

`default_nettype wire
