// The accelerator as the outside sees it: AXI4-Lite registers (docs/registers.md), AXI4 masters towards DRAM, an
// interrupt. What a run is, and when it ends, is vdla_run_control; what runs is vdla_core.
//
// `aresetn` is registered once here and is synchronous and active high inside.
//
// AXI4 masters: INCR bursts of at most VDLA_MAX_BURST beats that never cross 4 KiB; 40-bit addresses; full strobes except
// where a row begins or ends inside a beat; reads of one ID are answered in order, those of different IDs in any order.

`default_nettype none

`include "vdla_config.vh"

module vdla_shell #(
    // 1: two products of the GEMM core share one 25x18 multiplier; 0: a multiplier for each
    parameter PACKED_PRODUCTS = 0
) (
    input  wire                       aclk,
    input  wire                       aresetn,
    output wire                       irq,

`ifdef VDLA_TRACE
    // Simulation only. A unit's bit: 0 fetch, 1 load, 2 compute, 3 store. In the sense of vdla/isa/timing.py: trace_start
    // in the cycle an instruction starts (of FETCH: is dispatched), trace_retire in the cycle it finishes; trace_running
    // from cycle 0 on.
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

localparam A   = `VDLA_ADDRESS_WIDTH;
localparam BUS = `VDLA_BUS_WIDTH;
localparam BEAT_SHIFT = `VDLA_BUS_SHIFT;

reg rst;
always @(posedge aclk)
    rst <= !aresetn;

// ----------------------------------------------------------------------------
// Registers, and the run they start

wire         start, reset, irq_clear, irq_enable, idle, active, running, done, irq_q;
wire [A-1:0] program_address;
wire [31:0]  program_length;
wire [31:0]  program_capacity;
wire [A-1:0] dram_base;
wire [A-1:0] dram_limit;
wire [63:0]  expected_hash;
wire [31:0]  watchdog;
wire [3:0]   fault;
wire [1:0]   fault_unit;
wire [1:0]   fault_response;
wire [31:0]  fault_instruction;
wire [63:0]  cycles;
wire [127:0] busy_cycles;
wire [127:0] wait_cycles;
wire [127:0] instructions;

assign s_axil_bresp = 2'b00;
assign s_axil_rresp = 2'b00;
assign irq          = irq_q && irq_enable;

vdla_registers registers (
    .clk               (aclk),
    .rst               (rst),
    .aw_address        (s_axil_awaddr),
    .aw_valid          (s_axil_awvalid),
    .aw_ready          (s_axil_awready),
    .w_data            (s_axil_wdata),
    .w_strobe          (s_axil_wstrb),
    .w_valid           (s_axil_wvalid),
    .w_ready           (s_axil_wready),
    .b_valid           (s_axil_bvalid),
    .b_ready           (s_axil_bready),
    .ar_address        (s_axil_araddr),
    .ar_valid          (s_axil_arvalid),
    .ar_ready          (s_axil_arready),
    .r_data            (s_axil_rdata),
    .r_valid           (s_axil_rvalid),
    .r_ready           (s_axil_rready),
    .start             (start),
    .reset             (reset),
    .irq_clear         (irq_clear),
    .irq_enable        (irq_enable),
    .program_address   (program_address),
    .program_length    (program_length),
    .program_capacity  (program_capacity),
    .dram_base         (dram_base),
    .dram_limit        (dram_limit),
    .expected_hash     (expected_hash),
    .watchdog          (watchdog),
    .idle              (idle && !active),
    .running           (active),
    .done              (done),
    .irq               (irq_q),
    .fault             (fault),
    .fault_unit        (fault_unit),
    .fault_response    (fault_response),
    .fault_instruction (fault_instruction),
    .cycles            (cycles),
    .busy_cycles       (busy_cycles),
    .wait_cycles       (wait_cycles),
    .instructions      (instructions)
);

wire        halt;
wire        core_rst, core_quiet, core_ended, core_finished, core_moving;
wire [3:0]  core_fault;
wire [1:0]  core_fault_unit;
wire [1:0]  core_fault_response;
wire [31:0] core_fault_instruction;

vdla_run_control run_control (
    .clk                    (aclk),
    .rst                    (rst),
    .start                  (start),
    .reset                  (reset),
    .irq_clear              (irq_clear),
    .expected_hash          (expected_hash),
    .program_length         (program_length),
    .program_capacity       (program_capacity),
    .watchdog               (watchdog),
    .idle                   (idle),
    .active                 (active),
    .running                (running),
    .done                   (done),
    .fault                  (fault),
    .fault_unit             (fault_unit),
    .fault_response         (fault_response),
    .fault_instruction      (fault_instruction),
    .irq                    (irq_q),
    .cycles                 (cycles),
    .core_rst               (core_rst),
    .halt                   (halt),
    .core_quiet             (core_quiet),
    .core_ended             (core_ended),
    .core_finished          (core_finished),
    .core_moving            (core_moving),
    .core_fault             (core_fault),
    .core_fault_unit        (core_fault_unit),
    .core_fault_response    (core_fault_response),
    .core_fault_instruction (core_fault_instruction)
);

// ----------------------------------------------------------------------------
// The core

wire [2:0]       ar_valid; // fetch, load, compute
wire [2:0]       ar_ready;
wire [3*A-1:0]   ar_address;
wire [23:0]      ar_length;
wire [2:0]       r_valid;
wire [3*BUS-1:0] r_data;
wire [5:0]       r_response;
wire [2:0]       r_last;
wire             aw_valid, aw_ready, w_valid, w_ready, w_last, b_valid;
wire [A-1:0]     aw_address;
wire [7:0]       aw_length;
wire [BUS-1:0]   w_data;
wire [BUS/8-1:0] w_strobe;
wire [1:0]       b_response;
wire [3:0]       event_start, event_retire, event_busy, event_wait;

reg [A:0] dram_end_q;
always @(posedge aclk)
    dram_end_q <= {1'b0, dram_base} + {1'b0, dram_limit};

vdla_core #(.PACKED_PRODUCTS(PACKED_PRODUCTS)) core (
    .clk               (aclk),
    .rst               (core_rst),
    .halt              (halt),
    .program_address   (program_address),
    .program_length    (program_length),
    .dram_base         (dram_base),
    .dram_end          (dram_end_q),
    .ar_valid          (ar_valid),
    .ar_ready          (ar_ready),
    .ar_address        (ar_address),
    .ar_length         (ar_length),
    .r_valid           (r_valid),
    .r_data            (r_data),
    .r_response        (r_response),
    .r_last            (r_last),
    .aw_valid          (aw_valid),
    .aw_ready          (aw_ready),
    .aw_address        (aw_address),
    .aw_length         (aw_length),
    .w_valid           (w_valid),
    .w_ready           (w_ready),
    .w_data            (w_data),
    .w_strobe          (w_strobe),
    .w_last            (w_last),
    .b_valid           (b_valid),
    .b_response        (b_response),
    .quiet             (core_quiet),
    .ended             (core_ended),
    .finished          (core_finished),
    .moving            (core_moving),
    .fault             (core_fault),
    .fault_unit        (core_fault_unit),
    .fault_response    (core_fault_response),
    .fault_instruction (core_fault_instruction),
    .event_start       (event_start),
    .event_retire      (event_retire),
    .event_busy        (event_busy),
    .event_wait        (event_wait)
);

vdla_counters counters (
    .clk          (aclk),
    .rst          (core_rst),
    .running      (running),
    .busy         (event_busy),
    .waiting      (event_wait),
    .start        (event_start),
    .busy_cycles  (busy_cycles),
    .wait_cycles  (wait_cycles),
    .instructions (instructions)
);

`ifdef VDLA_TRACE
assign trace_running = running;
assign trace_start   = event_start;
assign trace_retire  = event_retire;
`endif

// ----------------------------------------------------------------------------
// Memory ports: the core's signals, and what AXI4 has besides, which is constant. Of three readers the lowest is FETCH.

localparam [2:0] BEAT_SIZE = BEAT_SHIFT[2:0];
localparam [1:0] INCR = 2'b01;
localparam [3:0] BUFFERABLE_MODIFIABLE = 4'b0011;

`ifdef VDLA_PORTS_SHARED
    vdla_arbiter arbiter (
        .clk            (aclk),
        .rst            (rst),
        .ar_valid       (ar_valid),
        .ar_ready       (ar_ready),
        .ar_address     (ar_address),
        .ar_length      (ar_length),
        .r_valid        (r_valid),
        .bus_ar_valid   (m_axi_arvalid),
        .bus_ar_ready   (m_axi_arready),
        .bus_ar_id      (m_axi_arid),
        .bus_ar_address (m_axi_araddr),
        .bus_ar_length  (m_axi_arlen),
        .bus_r_valid    (m_axi_rvalid),
        .bus_r_id       (m_axi_rid)
    );

    assign r_data       = {3{m_axi_rdata}};
    assign r_response   = {3{m_axi_rresp}};
    assign r_last       = {3{m_axi_rlast}};
    assign m_axi_rready = 1'b1;

    assign m_axi_awid   = 2'd3;
    assign m_axi_bready = 1'b1;
    assign {m_axi_awaddr, m_axi_awlen, m_axi_awvalid} = {aw_address, aw_length, aw_valid};
    assign {m_axi_wdata, m_axi_wstrb, m_axi_wlast, m_axi_wvalid} = {w_data, w_strobe, w_last, w_valid};
    assign {aw_ready, w_ready}   = {m_axi_awready, m_axi_wready};
    assign {b_valid, b_response} = {m_axi_bvalid, m_axi_bresp};

    assign {m_axi_arsize, m_axi_awsize}   = {2{BEAT_SIZE}};
    assign {m_axi_arburst, m_axi_awburst} = {2{INCR}};
    assign {m_axi_arlock, m_axi_awlock}   = 2'd0;
    assign {m_axi_arcache, m_axi_awcache} = {2{BUFFERABLE_MODIFIABLE}};
    assign {m_axi_arprot, m_axi_awprot}   = 6'd0;
    assign {m_axi_arqos, m_axi_awqos}     = 8'd0;

    wire _unused_ids = &{1'b0, m_axi_bid};
`else
    assign {m_axi_compute_arid, m_axi_load_arid, m_axi_fetch_arid}          = {2'd2, 2'd1, 2'd0};
    assign {m_axi_compute_araddr, m_axi_load_araddr, m_axi_fetch_araddr}    = ar_address;
    assign {m_axi_compute_arlen, m_axi_load_arlen, m_axi_fetch_arlen}       = ar_length;
    assign {m_axi_compute_arvalid, m_axi_load_arvalid, m_axi_fetch_arvalid} = ar_valid;
    assign {m_axi_compute_rready, m_axi_load_rready, m_axi_fetch_rready}    = 3'b111;
    assign ar_ready   = {m_axi_compute_arready, m_axi_load_arready, m_axi_fetch_arready};
    assign r_valid    = {m_axi_compute_rvalid, m_axi_load_rvalid, m_axi_fetch_rvalid};
    assign r_data     = {m_axi_compute_rdata, m_axi_load_rdata, m_axi_fetch_rdata};
    assign r_last     = {m_axi_compute_rlast, m_axi_load_rlast, m_axi_fetch_rlast};
    assign r_response = {m_axi_compute_rresp, m_axi_load_rresp, m_axi_fetch_rresp};

    assign m_axi_store_awid   = 2'd3;
    assign m_axi_store_bready = 1'b1;
    assign {m_axi_store_awaddr, m_axi_store_awlen, m_axi_store_awvalid} = {aw_address, aw_length, aw_valid};
    assign {m_axi_store_wdata, m_axi_store_wstrb, m_axi_store_wlast, m_axi_store_wvalid} = {w_data, w_strobe, w_last, w_valid};
    assign {aw_ready, w_ready}   = {m_axi_store_awready, m_axi_store_wready};
    assign {b_valid, b_response} = {m_axi_store_bvalid, m_axi_store_bresp};

    assign {m_axi_compute_arsize, m_axi_load_arsize, m_axi_fetch_arsize, m_axi_store_awsize}     = {4{BEAT_SIZE}};
    assign {m_axi_compute_arburst, m_axi_load_arburst, m_axi_fetch_arburst, m_axi_store_awburst} = {4{INCR}};
    assign {m_axi_compute_arlock, m_axi_load_arlock, m_axi_fetch_arlock, m_axi_store_awlock}     = 4'd0;
    assign {m_axi_compute_arcache, m_axi_load_arcache, m_axi_fetch_arcache, m_axi_store_awcache} = {4{BUFFERABLE_MODIFIABLE}};
    assign {m_axi_compute_arprot, m_axi_load_arprot, m_axi_fetch_arprot, m_axi_store_awprot}     = 12'd0;
    assign {m_axi_compute_arqos, m_axi_load_arqos, m_axi_fetch_arqos, m_axi_store_awqos}         = 16'd0;

    wire _unused_ids = &{1'b0, m_axi_fetch_rid, m_axi_load_rid, m_axi_compute_rid, m_axi_store_bid};
`endif

wire _unused = &{1'b0, s_axil_awprot, s_axil_arprot, event_retire};

endmodule

`default_nettype wire
