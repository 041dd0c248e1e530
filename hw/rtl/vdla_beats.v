// Where the tiles of a transfer lie in its beats: for each beat in order, which SRAM entries it holds.
//
// Where tiles are smaller than a beat there are `lanes` of them in it, and those of `mask` belong to the transfer: lane l
// is entry `entry` + l. Where a tile is several beats, the beat is part `part` of `entry`, and `mask` is 1.
//
// `begin_valid` takes the counts; `first_valid`, in that cycle or a later one before the first `step`, the first entry.
// `step` moves on to the next beat.

`default_nettype none

`include "vdla_config.vh"

module vdla_beats #(
    parameter LANES = 1, // most tiles in a beat
    parameter PARTS = 1  // most beats in a tile
) (
    input  wire                         clk,

    input  wire                         begin_valid,
    input  wire [`VDLA_DMA_X_SIZE_WIDTH-1:0] x_size,     // > 0; these hold until the last step
    input  wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] y_size,     // > 0
    input  wire [$clog2(LANES):0]       tile,            // number of the first tile in DRAM
    input  wire [$clog2(LANES):0]       tile_stride,     // tiles from row to row
    input  wire [$clog2(LANES):0]       lanes,           // tiles of a beat, a power of two
    input  wire [$clog2(PARTS):0]       last_part,       // beats of a tile less one
    input  wire [`VDLA_ENTRY_WIDTH-1:0] row_gap,         // entries from the end of a row to the next
    input  wire                         first_valid,
    input  wire [`VDLA_ENTRY_WIDTH-1:0] first_entry,

    input  wire                         step,
    output wire [`VDLA_ENTRY_WIDTH-1:0] entry,
    output wire [`VDLA_ENTRY_WIDTH-1:0] end_entry,       // one past the last in this beat
    output reg  [LANES-1:0]             mask,
    output wire [$clog2(PARTS):0]       part,
    output wire                         last             // this is the last beat
);

localparam X     = `VDLA_DMA_X_SIZE_WIDTH;
localparam ENTRY = `VDLA_ENTRY_WIDTH;
localparam POS   = $clog2(LANES) + 1;
localparam PART  = $clog2(PARTS) + 1;

reg [X-1:0]     left_q;    // tiles of this row not yet moved
reg [`VDLA_DMA_Y_SIZE_WIDTH-1:0] rows_q; // rows after this one
reg [POS-1:0]   row_pos_q; // place in its beat of the first tile of this row
reg [POS-1:0]   pos_q;     // of the next tile
reg [PART-1:0]  part_q;    // of the next tile
reg [ENTRY-1:0] entry_q;   // of the next tile

wire [POS-1:0] room      = lanes - pos_q; // tiles of this beat from the next one on
wire [X:0]     room_w    = {{X + 1 - POS{1'b0}}, room};
wire           ends_tile = part_q == last_part;
wire           ends_row  = ends_tile && {1'b0, left_q} <= room_w;
wire [X-1:0]   here      = ends_row ? left_q : room_w[X-1:0]; // tiles in this beat
wire [X-1:0]   moved     = ends_tile ? here : {X{1'b0}};
wire [POS-1:0] next_row_pos = (row_pos_q + tile_stride) & (lanes - 1'b1);
wire [ENTRY-1:0] entry_after = entry_q + {{ENTRY - X{1'b0}}, moved};

assign entry     = entry_q - {{ENTRY - POS{1'b0}}, pos_q};
assign end_entry = ends_tile ? entry_after : entry_q + 1;
assign part      = part_q;
assign last      = ends_row && rows_q == 0;

wire [POS-1:0] lane_end = ends_row ? pos_q + left_q[POS-1:0] : lanes;
integer l;
always @(*)
    for (l = 0; l < LANES; l = l + 1)
        mask[l] = l[POS-1:0] >= pos_q && l[POS-1:0] < lane_end;

always @(posedge clk)
    if (begin_valid) begin
        left_q    <= x_size;
        rows_q    <= y_size - 1;
        row_pos_q <= tile & (lanes - 1'b1);
        pos_q     <= tile & (lanes - 1'b1);
        part_q    <= 0;
    end else if (step) begin
        part_q <= ends_tile ? {PART{1'b0}} : part_q + 1'b1;
        if (ends_row) begin
            left_q    <= x_size;
            rows_q    <= rows_q - 1;
            row_pos_q <= next_row_pos;
            pos_q     <= next_row_pos;
        end else if (ends_tile) begin
            left_q <= left_q - moved;
            pos_q  <= 0;
        end
    end

always @(posedge clk)
    if (first_valid)
        entry_q <= first_entry;
    else if (step)
        entry_q <= ends_row ? entry_after + row_gap : entry_after;

endmodule

`default_nettype wire
