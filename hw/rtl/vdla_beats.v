// Where the tiles of a transfer lie in its beats: for each beat in order, which SRAM entries it holds.
//
// Where tiles are smaller than a beat there are 1 << `lane_shift` of them in it, and those of `mask` belong to the
// transfer: lane l is entry `entry` + l, modulo what an entry's number can be. Where a tile is several beats, the beat is
// part `part` of `entry`, and `mask` is 1.
//
//     t          `begin_valid`
//     t + 1      the first row is known: from now on a row ahead of the beats
//     t + 2      the first beat; `step` moves on to the next, one a cycle, across rows too

`default_nettype none

`include "vdla_config.vh"

module vdla_beats #(
    parameter LANES = 1, // most tiles in a beat
    parameter PARTS = 1  // most beats in a tile
) (
    input  wire                         clk,

    input  wire                         begin_valid,     // all but first_entry hold from here until the last step
    input  wire [`VDLA_DMA_X_SIZE_WIDTH-1:0] x_size,     // > 0
    input  wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] y_size,     // > 0
    input  wire [$clog2(LANES):0]       tile,            // number of the first tile in DRAM
    input  wire [$clog2(LANES):0]       tile_stride,     // tiles from row to row
    input  wire [$clog2($clog2(LANES)+1):0] lane_shift,  // log2 of the tiles of a beat
    input  wire [$clog2(PARTS):0]       last_part,       // beats of a tile less one
    input  wire [`VDLA_ENTRY_WIDTH-1:0] pitch,           // entries from row to row
    input  wire [`VDLA_ENTRY_WIDTH-1:0] first_entry,

    input  wire                         step,
    output reg  [`VDLA_ENTRY_WIDTH-1:0] entry,
    output reg  [LANES-1:0]             mask,
    output wire [$clog2(PARTS):0]       part,
    output wire                         ends_row,        // this is the row's last beat
    output wire                         last             // and that of the last row
);

localparam X     = `VDLA_DMA_X_SIZE_WIDTH;
localparam Y     = `VDLA_DMA_Y_SIZE_WIDTH;
localparam ENTRY = `VDLA_ENTRY_WIDTH;
localparam POS   = $clog2(LANES) + 1;
localparam PART  = $clog2(PARTS) + 1;
localparam [POS-1:0] ONE_LANE = 1;

wire [POS-1:0] lanes     = ONE_LANE << lane_shift;
wire [POS-1:0] last_lane = lanes - 1'b1;

// ----------------------------------------------------------------------------
// Rows: the one that comes next

reg [ENTRY-1:0] row_entry_q; // of its first tile
reg [POS-1:0]   row_pos_q;   // place of that tile in its beat
reg [Y-1:0]     rows_q;      // rows after it
reg             last_row_q;  // there are none
reg [X-1:0]     last_tile_q; // number of a row's last tile
reg             fill_q;      // the first row is waiting

wire load = fill_q || step && ends_row; // the row's beats come next

always @(posedge clk) begin
    fill_q <= begin_valid;
    if (begin_valid) begin
        last_tile_q <= x_size - 1;
        row_entry_q <= first_entry;
        row_pos_q   <= tile & last_lane;
        rows_q      <= y_size - 1;
        last_row_q  <= y_size == 1;
    end else if (load) begin
        row_entry_q <= row_entry_q + pitch;
        row_pos_q   <= (row_pos_q + tile_stride) & last_lane;
        rows_q      <= rows_q - 1;
        last_row_q  <= rows_q == 1;
    end
end

// Its tiles come in groups, of a beat's tiles or of one. Counted from the first group's beat, its last tile is number:
wire [X:0]     row_end     = {1'b0, last_tile_q} + {{X + 1 - POS{1'b0}}, row_pos_q};
wire [X:0]     row_groups  = row_end >> lane_shift; // after the first
wire [POS-1:0] row_end_pos = row_end[POS-1:0] & last_lane;
wire           row_single  = row_groups == 0;

// ----------------------------------------------------------------------------
// Beats

reg [X:0]      groups_q;     // of this row after this one
reg            last_group_q; // there are none
reg            in_last_q;    // the row is the last
reg [POS-1:0]  from_q;       // lanes of this group
reg [POS-1:0]  to_q;
reg [POS-1:0]  end_pos_q;    // last lane of the row's last group
reg [PART-1:0] part_q;
reg            ends_tile_q;  // part_q is the last

wire           next_last = groups_q == 1;
wire [PART-1:0] next_part = part_q + 1'b1;

assign part     = part_q;
assign ends_row = ends_tile_q && last_group_q;
assign last     = ends_row && in_last_q;

integer l;
always @(*)
    for (l = 0; l < LANES; l = l + 1)
        mask[l] = l[POS-1:0] >= from_q && l[POS-1:0] <= to_q;

always @(posedge clk)
    if (load) begin
        entry        <= row_entry_q - {{ENTRY - POS{1'b0}}, row_pos_q};
        groups_q     <= row_groups;
        last_group_q <= row_single;
        in_last_q    <= last_row_q;
        from_q       <= row_pos_q;
        to_q         <= row_single ? row_end_pos : last_lane;
        end_pos_q    <= row_end_pos;
        part_q       <= 0;
        ends_tile_q  <= last_part == 0;
    end else if (step && ends_tile_q) begin
        entry        <= entry + {{ENTRY - POS{1'b0}}, lanes};
        groups_q     <= groups_q - 1;
        last_group_q <= next_last;
        from_q       <= 0;
        to_q         <= next_last ? end_pos_q : last_lane;
        part_q       <= 0;
        ends_tile_q  <= last_part == 0;
    end else if (step) begin
        part_q      <= next_part;
        ends_tile_q <= next_part == last_part;
    end

endmodule

`default_nettype wire
