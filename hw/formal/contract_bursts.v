// In place of vdla_bursts, what bursts_proof proves of it: the bursts of a row are consecutive and cover its beats exactly,
// each ends with its row or where a block of VDLA_MAX_BURST beats does, and there are as many rows as were asked for. The
// first comes two cycles after the transfer begins, each of the others in the cycle after the one before is taken, and it
// stays until it is taken. At any row there may be no more of them: `out_of_range`. Which block a burst lies in is left open.

`default_nettype none

`include "vdla_config.vh"

module vdla_bursts (
    input  wire                           clk,
    input  wire                           rst,
    input  wire                           begin_valid,
    input  wire                           begin_any,
    input  wire [`VDLA_REACH_WIDTH-1:0]   begin_address,
    input  wire [`VDLA_REACH_WIDTH-1:0]   begin_stride,
    input  wire [31:0]                    begin_row_bytes,
    input  wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] begin_rows,
    input  wire [`VDLA_ADDRESS_WIDTH:0]   limit,
    output reg                            burst_valid,
    input  wire                           burst_ready,
    output wire [`VDLA_ADDRESS_WIDTH-1:0] burst_address,
    output wire [7:0]                     burst_length,
    output wire                           active,
    output reg                            out_of_range
);

localparam REACH = `VDLA_REACH_WIDTH;
localparam SHIFT = `VDLA_BUS_SHIFT;
localparam PLACE = $clog2(`VDLA_MAX_BURST);
localparam BLOCK = SHIFT + PLACE;
localparam BEATS = 32; // width of a number of beats
localparam [BEATS-1:0] BURST = `VDLA_MAX_BURST;

(* anyseq *) wire [`VDLA_ADDRESS_WIDTH-1:BLOCK] any_block;
(* anyseq *) wire                               any_too_far;

// What it may be asked
always @(*)
    if (!rst) begin
        assert (!begin_valid || !active);
        assert (!burst_ready || burst_valid);
        assert (!(begin_valid && begin_any) || begin_row_bytes != 0 && begin_row_bytes < 32'h4000_0000 && begin_rows != 0);
        assert (begin_address < {2'b01, {REACH - 2{1'b0}}} && begin_stride < {1'b1, {REACH - 14{1'b0}}});
        assert (limit <= {1'b1, {`VDLA_ADDRESS_WIDTH{1'b0}}});
    end

// The transfer: this row, and the burst that comes next
reg [BLOCK-1:0] row_q;    // where it begins in a block, in bytes
reg [BLOCK-1:0] stride_q;
reg [31:0]      size_q;
reg [`VDLA_DMA_Y_SIZE_WIDTH-1:0] rows_q; // left, with this one
reg [PLACE-1:0] place_q;  // where the burst begins in its block, in beats
reg [BEATS-1:0] left_q;   // beats of the row from there
reg [`VDLA_ADDRESS_WIDTH-1:BLOCK] block_q;
reg             fresh_q;  // the cycle after the transfer has begun

function [BEATS-1:0] beats_of_row(input [BLOCK-1:0] row, input [31:0] size);
    beats_of_row = ({{32 - SHIFT{1'b0}}, row[SHIFT-1:0]} + size + `VDLA_BUS_BYTES - 1) >> SHIFT;
endfunction

wire [BEATS-1:0] to_block = BURST - {{BEATS - PLACE{1'b0}}, place_q};
wire [BEATS-1:0] beats    = left_q < to_block ? left_q : to_block;
wire [BEATS-1:0] less_one = beats - 1;
wire [BLOCK-1:0] next_row = row_q + stride_q;
wire             row_over = beats == left_q;
wire             split    = fresh_q || burst_ready && row_over && rows_q != 1; // a row's first burst comes

assign burst_address = {block_q, place_q, {SHIFT{1'b0}}};
assign burst_length  = less_one[7:0];
assign active        = rows_q != 0;

always @(posedge clk) begin
    fresh_q <= !rst && begin_valid && begin_any;
    if (rst) begin
        burst_valid  <= 1'b0;
        out_of_range <= 1'b0;
        rows_q       <= 0;
    end else begin
        if (split) begin
            burst_valid  <= !any_too_far;
            out_of_range <= any_too_far;
        end else if (burst_ready && row_over)
            burst_valid <= 1'b0;
        if (begin_valid)
            rows_q <= begin_any ? begin_rows : 0;
        else if (burst_ready && row_over)
            rows_q <= rows_q - 1;
    end
    if (begin_valid) begin
        row_q    <= begin_address[BLOCK-1:0];
        stride_q <= begin_stride[BLOCK-1:0];
        size_q   <= begin_row_bytes;
        place_q  <= begin_address[BLOCK-1:SHIFT];
        left_q   <= beats_of_row(begin_address[BLOCK-1:0], begin_row_bytes);
    end else if (burst_ready) begin
        row_q   <= row_over ? next_row : row_q;
        place_q <= row_over ? next_row[BLOCK-1:SHIFT] : 0;
        left_q  <= row_over ? beats_of_row(next_row, size_q) : left_q - beats;
    end
    if (split || burst_ready)
        block_q <= any_block;
end

endmodule

`default_nettype wire
