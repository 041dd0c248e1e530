// Runs a LOAD: requests its rows, turns their beats into SRAM writes, and writes the padding at the same time.
//
// A loader serves up to three kinds of buffer, each with its tile size (1 << SHIFT_*) and depth; `kind` says which.
//
//     cycle      of an instruction that starts in t
//     t          `start`
//     t + 1      `begin_valid`, `insn` is there; addresses and counts are worked out
//     t + 2      first request; first entry of padding
//     c          a beat is taken from the bus
//     c + 1      its entries are worked out (vdla_beats)
//     c + 2      `wr_valid`: its entries are written; `done` when it was the last
//     c + 3      the instruction has finished (READ_DRAIN after the last beat is over)
//
// A write is of the whole beat: where tiles are smaller than a beat, of the lanes in `wr_lanes`, lane l to entry
// wr_entry + l, lane 0 being the tile at the beat's start; where a tile is several beats, of part `wr_part` of one entry.

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
    output reg  [`VDLA_BUS_WIDTH-1:0]         wr_data,
    output reg                                pad_valid,
    output reg  [`VDLA_ENTRY_WIDTH-1:0]       pad_entry,
    input  wire                               pad_ready,

    output wire                               sram_fault,
    output wire                               dram_fault,
    output wire                               quiet
);

localparam REACH  = `VDLA_REACH_WIDTH;
localparam ENTRY  = `VDLA_ENTRY_WIDTH;
localparam X      = `VDLA_DMA_X_SIZE_WIDTH;
localparam Y      = `VDLA_DMA_Y_SIZE_WIDTH;
localparam P      = `VDLA_DMA_Y_PAD_BEFORE_WIDTH;
localparam BUS    = `VDLA_BUS_SHIFT;
localparam POS    = $clog2(LANES) + 1; // one bit more than a place in a beat
localparam PART   = $clog2(PARTS) + 1;

// Tiles of a beat, and beats of a tile less one, for each kind
localparam [POS-1:0]  LANES_0 = SHIFT_0 < BUS ? 1 << (BUS - SHIFT_0) : 1;
localparam [POS-1:0]  LANES_1 = SHIFT_1 < BUS ? 1 << (BUS - SHIFT_1) : 1;
localparam [POS-1:0]  LANES_2 = SHIFT_2 < BUS ? 1 << (BUS - SHIFT_2) : 1;
localparam [PART-1:0] PARTS_0 = SHIFT_0 > BUS ? (1 << (SHIFT_0 - BUS)) - 1 : 0;
localparam [PART-1:0] PARTS_1 = SHIFT_1 > BUS ? (1 << (SHIFT_1 - BUS)) - 1 : 0;
localparam [PART-1:0] PARTS_2 = SHIFT_2 > BUS ? (1 << (SHIFT_2 - BUS)) - 1 : 0;
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

wire has_data = |x_size && |y_size;
wire has_pads;

wire [REACH-1:0] tile_r   = {{REACH - `VDLA_DMA_DRAM_BASE_WIDTH{1'b0}}, dram_tile};
wire [REACH-1:0] stride_r = {{REACH - `VDLA_DMA_X_STRIDE_WIDTH{1'b0}}, x_stride};
wire [31:0]      size_r   = {{32 - X{1'b0}}, x_size};

reg [REACH-1:0] offset;    // in bytes
reg [REACH-1:0] stride;
reg [31:0]      row_bytes;
reg [POS-1:0]   lanes;     // tiles of a beat
reg [PART-1:0]  last_part; // beats of a tile less one
reg [ENTRY-1:0] depth;

always @(*)
    case (kind)
        2'd0: begin
            offset    = tile_r << SHIFT_0;
            stride    = stride_r << SHIFT_0;
            row_bytes = size_r << SHIFT_0;
            lanes     = LANES_0;
            last_part = PARTS_0;
            depth     = ENTRIES_0;
        end
        2'd1: begin
            offset    = tile_r << SHIFT_1;
            stride    = stride_r << SHIFT_1;
            row_bytes = size_r << SHIFT_1;
            lanes     = LANES_1;
            last_part = PARTS_1;
            depth     = ENTRIES_1;
        end
        default: begin
            offset    = tile_r << SHIFT_2;
            stride    = stride_r << SHIFT_2;
            row_bytes = size_r << SHIFT_2;
            lanes     = LANES_2;
            last_part = PARTS_2;
            depth     = ENTRIES_2;
        end
    endcase

// ----------------------------------------------------------------------------
// Requests

vdla_read_requests requests (
    .clk             (clk),
    .rst             (rst),
    .halt            (halt),
    .begin_valid     (begin_valid && has_data),
    .begin_address   (offset + {{REACH - `VDLA_ADDRESS_WIDTH{1'b0}}, dram_base}),
    .begin_stride    (stride),
    .begin_row_bytes (row_bytes),
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
// Data: where each beat's tiles go

reg             setup_q; // the cycle after begin_valid
reg             beat_q;  // a beat is in data_q
reg [`VDLA_BUS_WIDTH-1:0] data_q;

wire [ENTRY-1:0] sides       = {{ENTRY - P{1'b0}}, left} + {{ENTRY - P{1'b0}}, right};
wire [ENTRY-1:0] row_entries = {{ENTRY - X{1'b0}}, x_size} + sides;
wire [ENTRY-1:0] base        = {{ENTRY - `VDLA_DMA_SRAM_BASE_WIDTH{1'b0}}, sram_base};
wire [ENTRY-1:0] first_entry = base + {{ENTRY - P{1'b0}}, left} + {{ENTRY - P{1'b0}}, above} * row_entries;

wire [ENTRY-1:0] beat_entry;
wire [ENTRY-1:0] beat_end;
wire [LANES-1:0] beat_lanes;
wire [PART-1:0]  beat_part;
wire             beat_last;

vdla_beats #(.LANES(LANES), .PARTS(PARTS)) beats (
    .clk         (clk),
    .begin_valid (begin_valid),
    .x_size      (x_size),
    .y_size      (y_size),
    .tile        (dram_tile[POS-1:0]),
    .tile_stride (x_stride[POS-1:0]),
    .lanes       (lanes),
    .last_part   (last_part),
    .row_gap     (sides),
    .first_valid (setup_q),
    .first_entry (first_entry),
    .step        (beat_q),
    .entry       (beat_entry),
    .end_entry   (beat_end),
    .mask        (beat_lanes),
    .part        (beat_part),
    .last        (beat_last)
);

reg [ENTRY-1:0] wr_end_q; // one past the last entry written

always @(posedge clk)
    if (rst) begin
        setup_q  <= 1'b0;
        beat_q   <= 1'b0;
        wr_valid <= 1'b0;
    end else begin
        setup_q  <= begin_valid;
        beat_q   <= r_valid;
        wr_valid <= beat_q;
    end

always @(posedge clk)
    if (r_valid)
        data_q <= r_data;

always @(posedge clk)
    if (beat_q) begin
        wr_entry <= beat_entry;
        wr_lanes <= beat_lanes;
        wr_part  <= beat_part;
        wr_data  <= data_q;
        wr_end_q <= beat_end;
    end

// ----------------------------------------------------------------------------
// Padding

wire             padding_valid;
wire             padding_ready = !pad_valid || pad_ready;
wire [ENTRY-1:0] padding_entry;
wire             padding_last;

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
    .pad_valid   (padding_valid),
    .pad_ready   (padding_ready),
    .pad_entry   (padding_entry),
    .last        (padding_last)
);

always @(posedge clk)
    if (rst)
        pad_valid <= 1'b0;
    else if (padding_ready)
        pad_valid <= padding_valid;

always @(posedge clk)
    if (padding_ready)
        pad_entry <= padding_entry;

assign sram_fault = wr_valid && wr_end_q > depth || pad_valid && pad_entry >= depth;

// ----------------------------------------------------------------------------
// The end: data and padding

reg data_left_q;
reg pads_left_q;

wire data_over = begin_valid ? !has_data : !data_left_q;
wire pads_over = begin_valid ? !has_pads : !pads_left_q || padding_last;
reg  active_q;

assign done = (begin_valid || active_q) && data_over && pads_over;

always @(posedge clk)
    if (rst)
        active_q <= 1'b0;
    else
        active_q <= (begin_valid || active_q) && !done;

always @(posedge clk)
    if (begin_valid) begin
        data_left_q <= has_data;
        pads_left_q <= has_pads;
    end else begin
        if (beat_q && beat_last)
            data_left_q <= 1'b0;
        if (padding_last)
            pads_left_q <= 1'b0;
    end

endmodule

`default_nettype wire
