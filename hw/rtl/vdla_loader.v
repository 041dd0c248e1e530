// Runs a LOAD: requests its rows, turns their beats into SRAM writes, and writes the padding when no beat is written.
//
// A loader serves up to three kinds of buffer, each with its tile size (1 << SHIFT_*) and depth; `kind` says which.
//
//     cycle      of an instruction that starts in t
//     t + 1      `insn` is there and holds: sizes in bytes, sums of counts
//     t + 2      `begin_valid`; the first row's address
//     t + 3      the first burst; the first entry of padding
//     t + 4      first request; first entry of padding written
//     t + 5      `sram_fault`, if not all entries are in range
//     c          a beat is taken from the bus, from t + 5 on
//     c + 1      its entries are known (vdla_beats)
//     c + 2      they are written; `done` when it was the last
//     c + 3      the instruction has finished (READ_DRAIN after the last beat is over)
//
// A write is of the whole beat: where tiles are smaller than a beat, of the lanes in `wr_lanes`, lane l to entry
// wr_entry + l, lane 0 being the tile at the beat's start; where a tile is several beats, of part `wr_part` of one entry.
// Or, with `wr_whole`, it is padding: wr_data, which is `pad_data`, goes to all of entry wr_entry (wr_lanes has lane 0
// only), beat by beat the same.

`default_nettype none

`include "vdla_config.vh"

module vdla_loader #(
    parameter SHIFT_0 = 2,
    parameter SHIFT_1 = 2,
    parameter SHIFT_2 = 2,
    parameter DEPTH_0 = 16,
    parameter DEPTH_1 = 16,
    parameter DEPTH_2 = 16,
    parameter LANES   = 1, // most tiles in a beat
    parameter PARTS   = 1  // most beats in a tile
) (
    input  wire                               clk,
    input  wire                               rst,
    input  wire                               halt,

    input  wire                               begin_valid,
    input  wire [`VDLA_INSTRUCTION_WIDTH-1:0] insn,
    input  wire [1:0]                         kind,
    input  wire [`VDLA_ADDRESS_WIDTH-1:0]     dram_base,
    input  wire [`VDLA_ADDRESS_WIDTH:0]       dram_end,
    input  wire [`VDLA_BUS_WIDTH-1:0]         pad_data,  // a beat of padding, for this kind
    output wire                               done,

    output wire                               ar_valid,
    input  wire                               ar_ready,
    output wire [`VDLA_ADDRESS_WIDTH-1:0]     ar_address,
    output wire [7:0]                         ar_length,
    input  wire                               r_valid,
    input  wire [`VDLA_BUS_WIDTH-1:0]         r_data,
    input  wire                               r_last,

    output reg                                wr_valid,
    output reg  [`VDLA_ENTRY_WIDTH-1:0]       wr_entry,
    output reg  [LANES-1:0]                   wr_lanes,
    output reg  [$clog2(PARTS):0]             wr_part,
    output reg                                wr_whole,
    output reg  [`VDLA_BUS_WIDTH-1:0]         wr_data,

    output reg                                sram_fault,
    output wire                               dram_fault,
    output wire                               quiet
);

localparam REACH = `VDLA_REACH_WIDTH;
localparam ENTRY = `VDLA_ENTRY_WIDTH;
localparam X     = `VDLA_DMA_X_SIZE_WIDTH;
localparam Y     = `VDLA_DMA_Y_SIZE_WIDTH;
localparam P     = `VDLA_DMA_Y_PAD_BEFORE_WIDTH;
localparam BUS   = `VDLA_BUS_SHIFT;
localparam POS   = $clog2(LANES) + 1; // one bit more than a place in a beat
localparam SHIFT = $clog2(POS) + 1;   // than the logarithm of one
localparam PART  = $clog2(PARTS) + 1;

// Tiles of a beat, as a power of two, and beats of a tile less one, for each kind
localparam             LANES_0 = SHIFT_0 < BUS ? BUS - SHIFT_0 : 0;
localparam             LANES_1 = SHIFT_1 < BUS ? BUS - SHIFT_1 : 0;
localparam             LANES_2 = SHIFT_2 < BUS ? BUS - SHIFT_2 : 0;
localparam [PART-1:0]  PARTS_0 = SHIFT_0 > BUS ? (1 << (SHIFT_0 - BUS)) - 1 : 0;
localparam [PART-1:0]  PARTS_1 = SHIFT_1 > BUS ? (1 << (SHIFT_1 - BUS)) - 1 : 0;
localparam [PART-1:0]  PARTS_2 = SHIFT_2 > BUS ? (1 << (SHIFT_2 - BUS)) - 1 : 0;
localparam [ENTRY-1:0] ENTRIES_0 = DEPTH_0;
localparam [ENTRY-1:0] ENTRIES_1 = DEPTH_1;
localparam [ENTRY-1:0] ENTRIES_2 = DEPTH_2;

// ----------------------------------------------------------------------------
// The instruction

wire [`VDLA_DMA_SRAM_BASE_WIDTH-1:0] sram_base = insn[`VDLA_DMA_SRAM_BASE_BITS];
wire [`VDLA_DMA_DRAM_BASE_WIDTH-1:0] dram_tile = insn[`VDLA_DMA_DRAM_BASE_BITS];
wire [`VDLA_DMA_X_STRIDE_WIDTH-1:0]  x_stride  = insn[`VDLA_DMA_X_STRIDE_BITS];
wire [X-1:0] x_size = insn[`VDLA_DMA_X_SIZE_BITS];
wire [Y-1:0] y_size = insn[`VDLA_DMA_Y_SIZE_BITS];
wire [P-1:0] left   = insn[`VDLA_DMA_X_PAD_BEFORE_BITS];
wire [P-1:0] right  = insn[`VDLA_DMA_X_PAD_AFTER_BITS];
wire [P-1:0] above  = insn[`VDLA_DMA_Y_PAD_BEFORE_BITS];
wire [P-1:0] below  = insn[`VDLA_DMA_Y_PAD_AFTER_BITS];

wire has_pads;

wire [REACH-1:0] tile_r   = {{REACH - `VDLA_DMA_DRAM_BASE_WIDTH{1'b0}}, dram_tile};
wire [REACH-1:0] stride_r = {{REACH - `VDLA_DMA_X_STRIDE_WIDTH{1'b0}}, x_stride};
wire [31:0]      size_r   = {{32 - X{1'b0}}, x_size};

reg             has_data_q;
reg [REACH-1:0] offset_q;    // in bytes
reg [REACH-1:0] stride_q;
reg [31:0]      row_bytes_q;
reg [SHIFT-1:0] lanes_q;     // tiles of a beat, as a power of two
reg [PART-1:0]  last_part_q; // beats of a tile less one
reg [ENTRY-1:0] depth_q;

always @(posedge clk)
    has_data_q <= |x_size && |y_size;

always @(posedge clk)
    case (kind)
        2'd0: begin
            offset_q    <= tile_r << SHIFT_0;
            stride_q    <= stride_r << SHIFT_0;
            row_bytes_q <= size_r << SHIFT_0;
            lanes_q     <= LANES_0[SHIFT-1:0];
            last_part_q <= PARTS_0;
            depth_q     <= ENTRIES_0;
        end
        2'd1: begin
            offset_q    <= tile_r << SHIFT_1;
            stride_q    <= stride_r << SHIFT_1;
            row_bytes_q <= size_r << SHIFT_1;
            lanes_q     <= LANES_1[SHIFT-1:0];
            last_part_q <= PARTS_1;
            depth_q     <= ENTRIES_1;
        end
        default: begin
            offset_q    <= tile_r << SHIFT_2;
            stride_q    <= stride_r << SHIFT_2;
            row_bytes_q <= size_r << SHIFT_2;
            lanes_q     <= LANES_2[SHIFT-1:0];
            last_part_q <= PARTS_2;
            depth_q     <= ENTRIES_2;
        end
    endcase

// ----------------------------------------------------------------------------
// Where in the SRAM: in t + 1 the sums, in t + 2 the products, in t + 4 the first entry of the data, and whether the last
// of all is in range

wire [ENTRY-1:0] base = {{ENTRY - `VDLA_DMA_SRAM_BASE_WIDTH{1'b0}}, sram_base};

reg             sums_q;     // t + 3
reg             products_q; // t + 4
reg [X:0]       columns_q;  // with the padding at the sides
reg [Y:0]       rows_q;     // with that above and below
reg [ENTRY-1:0] corner_q;   // first entry of the data if there are no rows above it
reg [ENTRY:0]   room_q;     // entries from the first to the SRAM's end; negative when that is before it
reg [ENTRY-1:0] above_q;    // entries of the rows above
reg [ENTRY-1:0] entries_q;  // of all rows

always @(posedge clk)
    if (rst) begin
        sums_q     <= 1'b0;
        products_q <= 1'b0;
        sram_fault <= 1'b0;
    end else begin
        sums_q     <= begin_valid;
        products_q <= sums_q;
        sram_fault <= products_q && |entries_q && (room_q[ENTRY] || entries_q > room_q[ENTRY-1:0]);
    end

always @(posedge clk) begin
    columns_q   <= {1'b0, x_size} + {{X + 1 - P{1'b0}}, left} + {{X + 1 - P{1'b0}}, right};
    rows_q      <= {1'b0, y_size} + {{Y + 1 - P{1'b0}}, above} + {{Y + 1 - P{1'b0}}, below};
    corner_q    <= base + {{ENTRY - P{1'b0}}, left};
    room_q      <= {1'b0, depth_q} - {1'b0, base};
    above_q     <= {{ENTRY - P{1'b0}}, above} * {{ENTRY - X - 1{1'b0}}, columns_q};
    entries_q   <= {{ENTRY - Y - 1{1'b0}}, rows_q} * {{ENTRY - X - 1{1'b0}}, columns_q};
end

// ----------------------------------------------------------------------------
// Requests

vdla_read_requests requests (
    .clk             (clk),
    .rst             (rst),
    .halt            (halt),
    .begin_valid     (begin_valid),
    .begin_any       (has_data_q),
    .begin_address   (offset_q + {{REACH - `VDLA_ADDRESS_WIDTH{1'b0}}, dram_base}),
    .begin_stride    (stride_q),
    .begin_row_bytes (row_bytes_q),
    .begin_rows      (y_size),
    .limit           (dram_end),
    .ar_valid        (ar_valid),
    .ar_ready        (ar_ready),
    .ar_address      (ar_address),
    .ar_length       (ar_length),
    .r_over          (r_valid && r_last),
    .out_of_range    (dram_fault),
    .quiet           (quiet)
);

// ----------------------------------------------------------------------------
// Data and padding: what is written next

reg                       beat_q; // a beat is in data_q
reg [`VDLA_BUS_WIDTH-1:0] data_q;
wire [ENTRY-1:0]          beat_entry;
wire [LANES-1:0]          beat_lanes;
wire [PART-1:0]           beat_part;
wire                      beat_ends_row;
wire                      beat_last;
wire                      pad_valid;
wire [ENTRY-1:0]          pad_entry;
wire                      pad_last;

vdla_beats #(.LANES(LANES), .PARTS(PARTS)) beats (
    .clk         (clk),
    .begin_valid (products_q),
    .x_size      (x_size),
    .y_size      (y_size),
    .tile        (dram_tile[POS-1:0]),
    .tile_stride (x_stride[POS-1:0]),
    .lane_shift  (lanes_q),
    .last_part   (last_part_q),
    .pitch       ({{ENTRY - X - 1{1'b0}}, columns_q}),
    .first_entry (corner_q + above_q),
    .step        (beat_q),
    .entry       (beat_entry),
    .mask        (beat_lanes),
    .part        (beat_part),
    .ends_row    (beat_ends_row),
    .last        (beat_last)
);

vdla_padding padding (
    .clk         (clk),
    .rst         (rst),
    .begin_valid (begin_valid),
    .begin_entry (base),
    .x_size      (x_size),
    .y_size      (y_size),
    .left        (left),
    .right       (right),
    .above       (above),
    .below       (below),
    .begin_any   (has_pads),
    .pad_valid   (pad_valid),
    .pad_ready   (!beat_q),
    .pad_entry   (pad_entry),
    .last        (pad_last)
);

localparam [LANES-1:0] FIRST_LANE = 1;

always @(posedge clk)
    if (rst) begin
        beat_q   <= 1'b0;
        wr_valid <= 1'b0;
    end else begin
        beat_q   <= r_valid;
        wr_valid <= beat_q || pad_valid;
    end

always @(posedge clk) begin
    data_q   <= r_data;
    wr_whole <= !beat_q;
    wr_entry <= beat_q ? beat_entry : pad_entry;
    wr_lanes <= beat_q ? beat_lanes : FIRST_LANE;
    wr_part  <= beat_part;
    wr_data  <= beat_q ? data_q : pad_data;
end

// ----------------------------------------------------------------------------
// The end: data and padding

reg active_q;
reg data_left_q;
reg pads_left_q;

assign done = active_q && !data_left_q && !pads_left_q;

always @(posedge clk)
    if (rst)
        active_q <= 1'b0;
    else
        active_q <= begin_valid || active_q && !done;

always @(posedge clk)
    if (begin_valid) begin
        data_left_q <= has_data_q;
        pads_left_q <= has_pads;
    end else begin
        if (beat_q && beat_last)
            data_left_q <= 1'b0;
        if (pad_last)
            pads_left_q <= 1'b0;
    end

wire _unused = &{1'b0, beat_ends_row};

endmodule

`default_nettype wire
