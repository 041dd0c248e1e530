// The four units and what joins them: command queues, token FIFOs, scratchpads.
//
//                 +-------+
//     program --> | FETCH |
//                 +-------+
//          +----------+----------+         command queues (vdla_issue)
//          v          v          v
//      +------+ <> +---------+ <> +-------+    <> token FIFOs, one each way
//      | LOAD |    | COMPUTE |    | STORE |
//      +------+    +---------+    +-------+
//          |        ^   |   ^         ^
//          v        |   v   |         |
//        inp, wgt --+  acc, uop    out mirror (written with acc)
//
// `halt`: the units start nothing more and ask the bus for nothing more; what they have asked for comes back. After a
// fault the state is undefined until `rst`. A unit raises a fault of an instruction at the latest in the cycle after `done`.

`default_nettype none

`include "vdla_config.vh"

module vdla_core #(
    parameter PACKED_PRODUCTS = 0
) (
    input  wire                             clk,
    input  wire                             rst,
    input  wire                             halt,

    input  wire [`VDLA_ADDRESS_WIDTH-1:0]   program_address,
    input  wire [31:0]                      program_length,
    input  wire [`VDLA_ADDRESS_WIDTH-1:0]   dram_base,
    input  wire [`VDLA_ADDRESS_WIDTH:0]     dram_end,

    output wire [2:0]                       ar_valid,        // fetch, load, compute
    input  wire [2:0]                       ar_ready,
    output wire [3*`VDLA_ADDRESS_WIDTH-1:0] ar_address,
    output wire [3*8-1:0]                   ar_length,
    input  wire [2:0]                       r_valid,
    input  wire [3*`VDLA_BUS_WIDTH-1:0]     r_data,
    input  wire [3*2-1:0]                   r_response,
    input  wire [2:0]                       r_last,

    output wire                             aw_valid,        // store
    input  wire                             aw_ready,
    output wire [`VDLA_ADDRESS_WIDTH-1:0]   aw_address,
    output wire [7:0]                       aw_length,
    output wire                             w_valid,
    input  wire                             w_ready,
    output wire [`VDLA_BUS_WIDTH-1:0]       w_data,
    output wire [`VDLA_BUS_BYTES-1:0]       w_strobe,
    output wire                             w_last,
    input  wire                             b_valid,
    input  wire [1:0]                       b_response,

    output reg                              quiet,           // of the cycle before
    output reg                              ended,
    output reg                              finished,
    output reg                              moving,
    output reg  [3:0]                       fault,           // of two cycles before
    output reg  [1:0]                       fault_unit,
    output reg  [1:0]                       fault_response,
    output reg  [31:0]                      fault_instruction,

    output wire [3:0]                       event_start,     // of an instruction; a bit for each unit
    output wire [3:0]                       event_retire,
    output wire [3:0]                       event_busy,
    output wire [3:0]                       event_wait
);

localparam INSN = `VDLA_INSTRUCTION_WIDTH;
localparam A    = `VDLA_ADDRESS_WIDTH;
localparam BUS  = `VDLA_BUS_WIDTH;

// Tiles in a beat, and the width of an index that can also number them (see vdla_sram)
localparam INP_LANES = `VDLA_BUS_BYTES > `VDLA_INP_TILE_BYTES ? `VDLA_BUS_BYTES / `VDLA_INP_TILE_BYTES : 1;
localparam WGT_LANES = `VDLA_BUS_BYTES > `VDLA_WGT_TILE_BYTES ? `VDLA_BUS_BYTES / `VDLA_WGT_TILE_BYTES : 1;
localparam OUT_LANES = `VDLA_BUS_BYTES > `VDLA_OUT_TILE_BYTES ? `VDLA_BUS_BYTES / `VDLA_OUT_TILE_BYTES : 1;
localparam INP_MIN   = $clog2(INP_LANES) + 2;
localparam WGT_MIN   = $clog2(WGT_LANES) + 2;
localparam OUT_MIN   = $clog2(OUT_LANES) + 2;
localparam INP_INDEX = `VDLA_INP_INDEX_WIDTH > INP_MIN ? `VDLA_INP_INDEX_WIDTH : INP_MIN;
localparam WGT_INDEX = `VDLA_WGT_INDEX_WIDTH > WGT_MIN ? `VDLA_WGT_INDEX_WIDTH : WGT_MIN;
localparam ACC_INDEX = `VDLA_ACC_INDEX_WIDTH > OUT_MIN ? `VDLA_ACC_INDEX_WIDTH : OUT_MIN;

// ----------------------------------------------------------------------------
// FETCH

wire [2:0]      dispatch_valid; // load, compute, store
wire [2:0]      dispatch_ready;
wire [INSN-1:0] dispatch_insn;
wire            fetch_bad;
wire            fetch_waits;
wire [31:0]     fetch_dispatched;
wire            all_dispatched;
wire            fetch_quiet;

vdla_fetch fetch (
    .clk             (clk),
    .rst             (rst),
    .halt            (halt),
    .program_address (program_address),
    .program_length  (program_length),
    .ar_valid        (ar_valid[0]),
    .ar_ready        (ar_ready[0]),
    .ar_address      (ar_address[0 +: A]),
    .ar_length       (ar_length[0 +: 8]),
    .r_valid         (r_valid[0]),
    .r_data          (r_data[0 +: BUS]),
    .r_last          (r_last[0]),
    .dispatch_valid  (dispatch_valid),
    .dispatch_ready  (dispatch_ready),
    .dispatch_insn   (dispatch_insn),
    .bad             (fetch_bad),
    .waiting         (fetch_waits),
    .dispatched      (fetch_dispatched),
    .all_dispatched  (all_dispatched),
    .quiet           (fetch_quiet)
);

wire dispatches = |(dispatch_valid & dispatch_ready);

// ----------------------------------------------------------------------------
// Tokens and issue. Index 0 load, 1 compute, 2 store; what lies beyond the ends never has a token.

wire [2:0]        prev_pop, prev_push, next_pop, next_push;
wire [2:0]        prev_available;
wire [2:0]        next_available;
wire [3:0]        overflow;
wire [2:0]        start, begun, done, retire, busy, waits, empty;
wire [3*INSN-1:0] insn;

vdla_token load_to_compute (
    .clk(clk), .rst(rst), .push(next_push[0]), .pop(prev_pop[1]), .available(prev_available[1]), .overflow(overflow[0])
);
vdla_token compute_to_load (
    .clk(clk), .rst(rst), .push(prev_push[1]), .pop(next_pop[0]), .available(next_available[0]), .overflow(overflow[1])
);
vdla_token compute_to_store (
    .clk(clk), .rst(rst), .push(next_push[1]), .pop(prev_pop[2]), .available(prev_available[2]), .overflow(overflow[2])
);
vdla_token store_to_compute (
    .clk(clk), .rst(rst), .push(prev_push[2]), .pop(next_pop[1]), .available(next_available[1]), .overflow(overflow[3])
);

assign prev_available[0] = 1'b0;
assign next_available[2] = 1'b0;

genvar u;
generate for (u = 0; u < 3; u = u + 1) begin: unit
    vdla_issue issue (
        .clk            (clk),
        .rst            (rst),
        .halt           (halt),
        .dispatch_valid (dispatch_valid[u]),
        .dispatch_ready (dispatch_ready[u]),
        .dispatch_insn  (dispatch_insn),
        .prev_available (prev_available[u]),
        .prev_pop       (prev_pop[u]),
        .prev_push      (prev_push[u]),
        .next_available (next_available[u]),
        .next_pop       (next_pop[u]),
        .next_push      (next_push[u]),
        .start          (start[u]),
        .begun          (begun[u]),
        .insn           (insn[INSN * u +: INSN]),
        .done           (done[u]),
        .retire         (retire[u]),
        .busy           (busy[u]),
        .waiting        (waits[u]),
        .empty          (empty[u])
    );
end endgenerate

// ----------------------------------------------------------------------------
// LOAD, COMPUTE, STORE

wire                            operand_valid;
wire [INP_INDEX-1:0]            inp_entry;
wire [WGT_INDEX-1:0]            wgt_entry;
wire [`VDLA_INP_TILE_WIDTH-1:0] inp_data;
wire [`VDLA_WGT_TILE_WIDTH-1:0] wgt_data;
wire                            mirror_valid;
wire [ACC_INDEX-1:0]            mirror_entry;
wire [OUT_LANES*`VDLA_OUT_TILE_WIDTH-1:0] mirror_data;
wire                            finish;
wire [2:0]                      sram_fault;
wire [2:0]                      dram_fault;
wire [2:0]                      unit_quiet;

vdla_load #(
    .INP_LANES(INP_LANES), .WGT_LANES(WGT_LANES), .INP_INDEX(INP_INDEX), .WGT_INDEX(WGT_INDEX)
) load (
    .clk        (clk),
    .rst        (rst),
    .halt       (halt),
    .begun      (begun[0]),
    .insn       (insn[0 +: INSN]),
    .done       (done[0]),
    .dram_base  (dram_base),
    .dram_end   (dram_end),
    .ar_valid   (ar_valid[1]),
    .ar_ready   (ar_ready[1]),
    .ar_address (ar_address[A +: A]),
    .ar_length  (ar_length[8 +: 8]),
    .r_valid    (r_valid[1]),
    .r_data     (r_data[BUS +: BUS]),
    .r_last     (r_last[1]),
    .rd_valid   (operand_valid),
    .inp_entry  (inp_entry),
    .wgt_entry  (wgt_entry),
    .inp_data   (inp_data),
    .wgt_data   (wgt_data),
    .sram_fault (sram_fault[0]),
    .dram_fault (dram_fault[0]),
    .quiet      (unit_quiet[0])
);

vdla_compute #(
    .PACKED_PRODUCTS(PACKED_PRODUCTS), .OUT_LANES(OUT_LANES),
    .ACC_INDEX(ACC_INDEX), .INP_INDEX(INP_INDEX), .WGT_INDEX(WGT_INDEX)
) compute (
    .clk           (clk),
    .rst           (rst),
    .halt          (halt),
    .begun         (begun[1]),
    .insn          (insn[INSN +: INSN]),
    .done          (done[1]),
    .finish        (finish),
    .dram_base     (dram_base),
    .dram_end      (dram_end),
    .ar_valid      (ar_valid[2]),
    .ar_ready      (ar_ready[2]),
    .ar_address    (ar_address[2*A +: A]),
    .ar_length     (ar_length[16 +: 8]),
    .r_valid       (r_valid[2]),
    .r_data        (r_data[2*BUS +: BUS]),
    .r_last        (r_last[2]),
    .operand_valid (operand_valid),
    .inp_entry     (inp_entry),
    .wgt_entry     (wgt_entry),
    .inp_data      (inp_data),
    .wgt_data      (wgt_data),
    .mirror_valid  (mirror_valid),
    .mirror_entry  (mirror_entry),
    .mirror_data   (mirror_data),
    .sram_fault    (sram_fault[1]),
    .dram_fault    (dram_fault[1]),
    .quiet         (unit_quiet[1])
);

vdla_store #(.LANES(OUT_LANES), .INDEX(ACC_INDEX)) store (
    .clk        (clk),
    .rst        (rst),
    .halt       (halt),
    .begun      (begun[2]),
    .insn       (insn[2*INSN +: INSN]),
    .done       (done[2]),
    .dram_base  (dram_base),
    .dram_end   (dram_end),
    .aw_valid   (aw_valid),
    .aw_ready   (aw_ready),
    .aw_address (aw_address),
    .aw_length  (aw_length),
    .w_valid    (w_valid),
    .w_ready    (w_ready),
    .w_data     (w_data),
    .w_strobe   (w_strobe),
    .w_last     (w_last),
    .b_valid    (b_valid),
    .rd_valid   (mirror_valid),
    .rd_entry   (mirror_entry),
    .rd_data    (mirror_data),
    .sram_fault (sram_fault[2]),
    .dram_fault (dram_fault[2]),
    .quiet      (unit_quiet[2])
);

// ----------------------------------------------------------------------------
// Faults, by unit. Instructions are counted by unit: FETCH is at the next one to dispatch, the others at the last one
// started. What is noted is where they were in the cycle of the fault.

reg [3:0]  bus_fault_q;
reg [7:0]  response_q;
reg [2:0]  sram_fault_q;
reg [2:0]  dram_fault_q;
reg [3:0]  overflow_q;
reg        fetch_bad_q;

always @(posedge clk)
    if (rst) begin
        bus_fault_q  <= 0;
        sram_fault_q <= 0;
        dram_fault_q <= 0;
        overflow_q   <= 0;
        fetch_bad_q  <= 1'b0;
    end else begin
        bus_fault_q  <= {b_valid && b_response[1], r_valid & {r_response[5], r_response[3], r_response[1]}};
        sram_fault_q <= sram_fault;
        dram_fault_q <= dram_fault;
        overflow_q   <= overflow;
        fetch_bad_q  <= fetch_bad;
    end

always @(posedge clk)
    response_q <= {b_response, r_response};

wire [3*32-1:0] started; // number of the last one
reg  [4*32-1:0] at_q;

generate for (u = 0; u < 3; u = u + 1) begin: place
    reg [31:0] started_q;
    always @(posedge clk)
        if (rst)
            started_q <= {32{1'b1}};
        else if (start[u])
            started_q <= started_q + 1;
    assign started[32 * u +: 32] = started_q;
end endgenerate

always @(posedge clk)
    at_q <= {started, fetch_dispatched};

// ----------------------------------------------------------------------------
// The fault: one of them, and the first is kept

reg [3:0] fault_d;
reg [1:0] unit_d;
reg [1:0] response_d;
integer k;

always @(*) begin
    fault_d    = `VDLA_FAULT_NONE;
    unit_d     = 2'd0;
    response_d = 2'd0;
    if (fetch_bad_q)
        fault_d = `VDLA_FAULT_BAD_INSTRUCTION;
    for (k = 0; k < 3; k = k + 1) begin
        if (sram_fault_q[k]) begin
            fault_d = `VDLA_FAULT_SRAM_RANGE;
            unit_d  = k[1:0] + 2'd1;
        end
        if (dram_fault_q[k]) begin
            fault_d = `VDLA_FAULT_DRAM_RANGE;
            unit_d  = k[1:0] + 2'd1;
        end
        if (bus_fault_q[k]) begin
            fault_d    = `VDLA_FAULT_BUS_READ;
            unit_d     = k[1:0];
            response_d = response_q[2 * k +: 2];
        end
    end
    if (bus_fault_q[3]) begin
        fault_d    = `VDLA_FAULT_BUS_WRITE;
        unit_d     = 2'd3;
        response_d = response_q[7:6];
    end
    if (|overflow_q) begin
        fault_d = `VDLA_FAULT_TOKEN_OVERFLOW;
        unit_d  = overflow_q[0] ? 2'd1 : overflow_q[3] ? 2'd3 : 2'd2;
    end
end

always @(posedge clk)
    if (rst)
        fault <= `VDLA_FAULT_NONE;
    else if (fault == `VDLA_FAULT_NONE)
        fault <= fault_d;

always @(posedge clk)
    if (fault == `VDLA_FAULT_NONE) begin
        fault_unit        <= unit_d;
        fault_response    <= response_d;
        fault_instruction <= at_q[32 * unit_d +: 32];
    end

// ----------------------------------------------------------------------------
// The run as a whole

always @(posedge clk) begin
    quiet  <= fetch_quiet && &unit_quiet;
    moving <= !fetch_quiet || dispatches || |busy || |start;
end

always @(posedge clk)
    if (rst)
        ended <= 1'b0;
    else
        ended <= all_dispatched && &empty && !(|busy);

assign event_start  = {start, dispatches};
assign event_retire = {retire, 1'b0};
assign event_busy   = {busy, dispatches};
assign event_wait   = {waits, fetch_waits};

always @(posedge clk)
    if (rst)
        finished <= 1'b0;
    else if (finish)
        finished <= 1'b1;

endmodule

`default_nettype wire
