// Splits a transfer into bursts: `rows` rows of `row_bytes` bytes, `stride` bytes apart, each into bursts of whole beats
// that end where a multiple of VDLA_MAX_BURST beats is reached. A burst is a power of two of at most 4096 bytes, so none
// crosses AXI's 4 KiB. One burst a cycle, across rows too.
//
//     t          `begin_valid`
//     t + 1      the first row is known, and its bursts are worked out: from now on a row ahead of the bursts
//     t + 2      `burst_valid`, or `out_of_range`
//
// `burst_valid` does not wait for `burst_ready`, and a burst stays until it is taken. A row that ends after `limit` is not
// split: `out_of_range` stays high and there are no more bursts. All outputs but `active` are registers.

`default_nettype none

`include "vdla_config.vh"

module vdla_bursts (
    input  wire                           clk,
    input  wire                           rst,

    input  wire                           begin_valid,     // only while not active
    input  wire                           begin_any,       // there is something to transfer: if not, nothing begins
    input  wire [`VDLA_REACH_WIDTH-1:0]   begin_address,
    input  wire [`VDLA_REACH_WIDTH-1:0]   begin_stride,
    input  wire [31:0]                    begin_row_bytes, // > 0, if there is
    input  wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] begin_rows,   // > 0, if there is
    input  wire [`VDLA_ADDRESS_WIDTH:0]   limit,           // first byte that may not be touched

    output reg                            burst_valid,
    input  wire                           burst_ready,     // high only while burst_valid is
    output wire [`VDLA_ADDRESS_WIDTH-1:0] burst_address,   // of its first whole beat
    output reg  [7:0]                     burst_length,    // beats - 1
    output wire                           active,          // bursts are left
    output reg                            out_of_range
);

localparam REACH = `VDLA_REACH_WIDTH;
localparam A     = `VDLA_ADDRESS_WIDTH;
localparam Y     = `VDLA_DMA_Y_SIZE_WIDTH;
localparam SHIFT = `VDLA_BUS_SHIFT;
localparam BLOCK = SHIFT + $clog2(`VDLA_MAX_BURST); // a burst ends where this many low bits of the address are over
localparam LOW   = SHIFT + 8;                       // of this many at most, so that 8 bits say where in a block a beat lies
localparam LEFT  = 32 - BLOCK;
localparam [7:0] FULL = `VDLA_MAX_BURST - 1;        // the length of a whole block, and the place in it of its last beat

// ----------------------------------------------------------------------------
// Rows: the one that is split next

reg             row_valid_q;
reg [REACH-1:0] row_q;      // its first byte
reg [Y-1:0]     rows_q;     // this one and those after it
reg [REACH-1:0] stride_q;
reg [31:0]      reach_q;    // from a row's first byte to its last
reg [REACH:0]   last_row_q; // where a row may begin at most; negative when nowhere

wire load; // it is split

always @(posedge clk)
    if (rst)
        row_valid_q <= 1'b0;
    else if (begin_valid)
        row_valid_q <= begin_any;
    else if (load)
        row_valid_q <= rows_q != 1;

always @(posedge clk)
    if (begin_valid) begin
        stride_q   <= begin_stride;
        reach_q    <= begin_row_bytes - 1;
        last_row_q <= {{REACH - A{1'b0}}, limit} - {{REACH - 31{1'b0}}, begin_row_bytes};
    end

always @(posedge clk)
    if (begin_valid || load) begin
        row_q  <= begin_valid ? begin_address : row_q + stride_q;
        rows_q <= begin_valid ? begin_rows : rows_q - 1;
    end

// What its bursts are. Counted from the row's first block and beat, the last byte lies in block and beat number:
wire [31:0]    from_block = reach_q + {{32 - BLOCK{1'b0}}, row_q[BLOCK-1:0]};
wire [LOW-1:0] from_beat  = reach_q[LOW-1:0] + {8'b0, row_q[SHIFT-1:0]};
wire [BLOCK:0] low_sum    = {1'b0, reach_q[BLOCK-1:0]} + {1'b0, row_q[BLOCK-1:0]}; // apart, for its carry comes early
wire           single     = reach_q[31:BLOCK] == 0 && !low_sum[BLOCK];
wire           too_far    = last_row_q[REACH] || row_q > last_row_q[REACH-1:0];

// ----------------------------------------------------------------------------
// Bursts

reg [A-SHIFT-1:0] beat_q; // first beat of the burst
reg [LEFT-1:0]    left_q; // bursts of the row after this one
reg               last_q; // there are none
reg [7:0]         end_q;  // length of the row's last one, if it is not the first

wire [A-SHIFT-1:0] block_end  = beat_q | {{A - LOW{1'b0}}, FULL};
wire               last_next  = left_q == 1;
wire [7:0]         row_first  = row_q[SHIFT +: 8] & FULL; // places in their blocks of a row's beats
wire [7:0]         row_last   = from_block[SHIFT +: 8] & FULL;
wire [7:0]         row_length = single ? from_beat[SHIFT +: 8] & FULL : FULL & ~row_first;

assign load          = row_valid_q && !out_of_range && (!burst_valid || burst_ready && last_q);
assign burst_address = {beat_q, {SHIFT{1'b0}}};
assign active        = row_valid_q || burst_valid || out_of_range;

always @(posedge clk)
    if (rst) begin
        burst_valid  <= 1'b0;
        out_of_range <= 1'b0;
    end else if (load) begin
        burst_valid  <= !too_far;
        out_of_range <= too_far;
    end else if (burst_ready && last_q)
        burst_valid <= 1'b0;

always @(posedge clk)
    if (load) begin
        beat_q       <= row_q[A-1:SHIFT];
        burst_length <= row_length;
        left_q       <= from_block[31:BLOCK];
        last_q       <= single;
        end_q        <= row_last;
    end else if (burst_ready) begin
        beat_q       <= block_end + 1;
        burst_length <= last_next ? end_q : FULL;
        left_q       <= left_q - 1;
        last_q       <= last_next;
    end

endmodule

`default_nettype wire
