// Splits a transfer into bursts: `rows` rows of `row_bytes` bytes, `stride` bytes apart, each into bursts of at most
// VDLA_MAX_BURST whole beats that do not cross 4 KiB. One burst a cycle, from the cycle after `begin_valid`.
//
// `burst_valid` does not wait for `burst_ready`, and a burst stays until it is taken. A row that ends after `limit` is not
// split: `out_of_range` stays high and there are no more bursts.

`default_nettype none

`include "vdla_config.vh"

module vdla_bursts (
    input  wire                           clk,
    input  wire                           rst,

    input  wire                           begin_valid,
    input  wire [`VDLA_REACH_WIDTH-1:0]   begin_address,
    input  wire [`VDLA_REACH_WIDTH-1:0]   begin_stride,
    input  wire [31:0]                    begin_row_bytes, // > 0
    input  wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] begin_rows,   // > 0
    input  wire [`VDLA_ADDRESS_WIDTH:0]   limit,           // first byte that may not be touched

    output wire                           burst_valid,
    input  wire                           burst_ready,
    output wire [`VDLA_ADDRESS_WIDTH-1:0] burst_address,   // of its first whole beat
    output wire [8:0]                     burst_beats,
    output wire                           active,          // bursts are left
    output wire                           out_of_range
);

localparam REACH      = `VDLA_REACH_WIDTH;
localparam SHIFT      = `VDLA_BUS_SHIFT;
localparam BEATS      = 32 - SHIFT; // width of a row's number of beats
localparam PAGE_BEATS = `VDLA_BOUNDARY_BYTES / `VDLA_BUS_BYTES;
localparam PAGE       = $clog2(PAGE_BEATS);
localparam [BEATS-1:0] MAX_BURST = `VDLA_MAX_BURST;

reg             active_q;
reg [REACH-1:0] row_q;      // first byte of this row
reg [REACH-1:0] stride_q;
reg [31:0]      span_q;     // bytes of a row, rounded up
reg [REACH:0]   last_row_q; // where a row may begin at most; negative when nowhere
reg [`VDLA_DMA_Y_SIZE_WIDTH-1:0] rows_q; // this one and those after it
reg [`VDLA_ADDRESS_WIDTH-SHIFT-1:0] beat_q; // first beat of the burst
reg [BEATS-1:0] left_q;     // beats of this row from there

// ----------------------------------------------------------------------------
// The burst

wire [PAGE:0]    page_left   = PAGE_BEATS[PAGE:0] - {1'b0, beat_q[PAGE-1:0]};
wire [BEATS-1:0] page_left_w = {{BEATS - PAGE - 1{1'b0}}, page_left};
wire [BEATS-1:0] in_burst    = page_left_w < MAX_BURST ? page_left_w : MAX_BURST;
wire             ends_row    = left_q <= in_burst;
wire [BEATS-1:0] beats       = ends_row ? left_q : in_burst;

assign out_of_range  = active_q && (last_row_q[REACH] || row_q > last_row_q[REACH-1:0]);
assign burst_valid   = active_q && !out_of_range;
assign burst_address = {beat_q, {SHIFT{1'b0}}};
assign burst_beats   = beats[8:0];
assign active        = active_q;

// ----------------------------------------------------------------------------
// Rows

wire             take     = burst_valid && burst_ready;
wire [REACH-1:0] row_d    = begin_valid ? begin_address : row_q + stride_q;
wire [31:0]      span_d   = begin_valid ? begin_row_bytes + (`VDLA_BUS_BYTES - 1) : span_q;
wire [31:0]      reaches  = span_d + {{32 - SHIFT{1'b0}}, row_d[SHIFT-1:0]};

always @(posedge clk)
    if (rst)
        active_q <= 1'b0;
    else if (begin_valid)
        active_q <= 1'b1;
    else if (take && ends_row && rows_q == 1)
        active_q <= 1'b0;

always @(posedge clk)
    if (begin_valid) begin
        stride_q   <= begin_stride;
        span_q     <= span_d;
        last_row_q <= {{REACH - `VDLA_ADDRESS_WIDTH{1'b0}}, limit} - {{REACH - 31{1'b0}}, begin_row_bytes};
    end

always @(posedge clk)
    if (begin_valid || take && ends_row) begin
        row_q  <= row_d;
        rows_q <= begin_valid ? begin_rows : rows_q - 1;
        beat_q <= row_d[`VDLA_ADDRESS_WIDTH-1:SHIFT];
        left_q <= reaches[31:SHIFT];
    end else if (take) begin
        beat_q <= beat_q + {{`VDLA_ADDRESS_WIDTH - SHIFT - 9{1'b0}}, beats[8:0]};
        left_q <= left_q - beats;
    end

endmodule

`default_nettype wire
