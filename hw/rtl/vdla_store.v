// STORE: writes rows of tiles from the narrow mirror of acc to DRAM.
//
//     cycle      of an instruction that starts in t
//     t + 1      `begun`, `insn` is there; addresses and counts are worked out
//     t + 2      first write request; the first beat's entries are read
//     t + 3      its tiles are put in their lanes
//     t + 4      it is on the bus (WRITE_SETUP after the request), if the bus takes it; a beat a cycle
//     b          the last response is taken; `done`
//
// Requests and data go their own ways, as AXI asks: a beat is offered once the request of its burst has been offered,
// taken or not. `halt` lets what has been offered finish, data and all, and offers no more.

`default_nettype none

`include "vdla_config.vh"

module vdla_store #(
    parameter LANES = 1, // tiles in a beat
    parameter INDEX = 4
) (
    input  wire                               clk,
    input  wire                               rst,
    input  wire                               halt,

    input  wire                               begun,
    input  wire [`VDLA_INSTRUCTION_WIDTH-1:0] insn,
    output wire                               done,
    input  wire [`VDLA_ADDRESS_WIDTH-1:0]     dram_base,
    input  wire [`VDLA_ADDRESS_WIDTH:0]       dram_end,

    output wire                               aw_valid,
    input  wire                               aw_ready,
    output wire [`VDLA_ADDRESS_WIDTH-1:0]     aw_address,
    output wire [7:0]                         aw_length,
    output wire                               w_valid,
    input  wire                               w_ready,
    output wire [`VDLA_BUS_WIDTH-1:0]         w_data,
    output wire [`VDLA_BUS_BYTES-1:0]         w_strobe,
    output wire                               w_last,
    input  wire                               b_valid,

    // Reads of the mirror
    output wire                               rd_valid,
    output wire [INDEX-1:0]                   rd_entry,
    input  wire [LANES*`VDLA_OUT_TILE_WIDTH-1:0] rd_data,

    output wire                               sram_fault,
    output wire                               dram_fault,
    output wire                               quiet
);

localparam REACH = `VDLA_REACH_WIDTH;
localparam ENTRY = `VDLA_ENTRY_WIDTH;
localparam X     = `VDLA_DMA_X_SIZE_WIDTH;
localparam Y     = `VDLA_DMA_Y_SIZE_WIDTH;
localparam SHIFT = $clog2(`VDLA_OUT_TILE_BYTES);
localparam PARTS = `VDLA_OUT_TILE_WIDTH > `VDLA_BUS_WIDTH ? `VDLA_OUT_TILE_WIDTH / `VDLA_BUS_WIDTH : 1;
localparam POS   = $clog2(LANES) + 1;
localparam PART  = $clog2(PARTS) + 1;
localparam SLICE = `VDLA_BUS_BYTES / LANES; // bytes of a tile in a beat
localparam            LAST_PART = PARTS - 1;
localparam [ENTRY-1:0] DEPTH     = `VDLA_ACC_DEPTH;

// ----------------------------------------------------------------------------
// The instruction

wire [`VDLA_DMA_SRAM_BASE_WIDTH-1:0] sram_base = insn[`VDLA_DMA_SRAM_BASE_BITS];
wire [`VDLA_DMA_DRAM_BASE_WIDTH-1:0] dram_tile = insn[`VDLA_DMA_DRAM_BASE_BITS];
wire [`VDLA_DMA_X_STRIDE_WIDTH-1:0]  x_stride  = insn[`VDLA_DMA_X_STRIDE_BITS];
wire [X-1:0] x_size = insn[`VDLA_DMA_X_SIZE_BITS];
wire [Y-1:0] y_size = insn[`VDLA_DMA_Y_SIZE_BITS];

wire             has_data  = |x_size && |y_size;
wire             begins    = begun && has_data;
wire [REACH-1:0] offset    = {{REACH - `VDLA_DMA_DRAM_BASE_WIDTH{1'b0}}, dram_tile} << SHIFT;
wire [REACH-1:0] address   = offset + {{REACH - `VDLA_ADDRESS_WIDTH{1'b0}}, dram_base};
wire [REACH-1:0] stride    = {{REACH - `VDLA_DMA_X_STRIDE_WIDTH{1'b0}}, x_stride} << SHIFT;
wire [31:0]      row_bytes = {{32 - X{1'b0}}, x_size} << SHIFT;

// ----------------------------------------------------------------------------
// Requests

wire       burst_valid;
wire [8:0] burst_beats;
wire [8:0] last_beat = burst_beats - 1;
wire       requests_left;
reg        pending_q; // a request is on the bus
wire       aw_fire = aw_valid && aw_ready;

assign aw_valid  = burst_valid && (pending_q || !halt);
assign aw_length = last_beat[7:0];

vdla_bursts requests (
    .clk             (clk),
    .rst             (rst),
    .begin_valid     (begins),
    .begin_address   (address),
    .begin_stride    (stride),
    .begin_row_bytes (row_bytes),
    .begin_rows      (y_size),
    .limit           (dram_end),
    .burst_valid     (burst_valid),
    .burst_ready     (aw_fire),
    .burst_address   (aw_address),
    .burst_beats     (burst_beats),
    .active          (requests_left),
    .out_of_range    (dram_fault)
);

always @(posedge clk)
    if (rst)
        pending_q <= 1'b0;
    else
        pending_q <= aw_valid && !aw_ready;

// ----------------------------------------------------------------------------
// Data: the bursts again, beat by beat. `lead_q` counts the bursts requested less those whose data have all been read; it
// is -1 while the request of a burst that has been read still waits.

wire        data_valid;
wire [8:0]  data_beats;
wire        data_left;
wire        data_fault;
wire [`VDLA_ADDRESS_WIDTH-1:0] data_address;
reg  [7:0]  beat_q;      // number in its burst of the beat to read
wire [8:0]  next_beat  = {1'b0, beat_q} + 1;
wire        ends_burst = next_beat == data_beats;
reg  [26:0] lead_q;
wire        offered    = !lead_q[26] && (lead_q != 0 || aw_valid);
wire        room;

assign rd_valid = data_valid && offered && room;

vdla_bursts data (
    .clk             (clk),
    .rst             (rst),
    .begin_valid     (begins),
    .begin_address   (address),
    .begin_stride    (stride),
    .begin_row_bytes (row_bytes),
    .begin_rows      (y_size),
    .limit           (dram_end),
    .burst_valid     (data_valid),
    .burst_ready     (rd_valid && ends_burst),
    .burst_address   (data_address),
    .burst_beats     (data_beats),
    .active          (data_left),
    .out_of_range    (data_fault)
);

always @(posedge clk)
    if (rst) begin
        beat_q <= 0;
        lead_q <= 0;
    end else begin
        if (rd_valid)
            beat_q <= ends_burst ? 8'd0 : next_beat[7:0];
        lead_q <= lead_q + {26'b0, aw_fire} - {26'b0, rd_valid && ends_burst};
    end

wire [ENTRY-1:0] entry;
wire [ENTRY-1:0] end_entry;
wire [LANES-1:0] mask;
wire [PART-1:0]  part;
wire             last;

vdla_beats #(.LANES(LANES), .PARTS(PARTS)) beats (
    .clk         (clk),
    .begin_valid (begun),
    .x_size      (x_size),
    .y_size      (y_size),
    .tile        (dram_tile[POS-1:0]),
    .tile_stride (x_stride[POS-1:0]),
    .lanes       (LANES[POS-1:0]),
    .last_part   (LAST_PART[PART-1:0]),
    .row_gap     ({ENTRY{1'b0}}),
    .first_valid (begun),
    .first_entry ({{ENTRY - `VDLA_DMA_SRAM_BASE_WIDTH{1'b0}}, sram_base}),
    .step        (rd_valid),
    .entry       (entry),
    .end_entry   (end_entry),
    .mask        (mask),
    .part        (part),
    .last        (last)
);

assign rd_entry   = entry[INDEX-1:0];
assign sram_fault = rd_valid && end_entry > DEPTH;

// The beat that was read, one cycle later
reg             read_q;
reg             read_last_q;
reg [LANES-1:0] read_mask_q;
reg [PART-1:0]  read_part_q;

always @(posedge clk)
    if (rst)
        read_q <= 1'b0;
    else
        read_q <= rd_valid;

always @(posedge clk)
    if (rd_valid) begin
        read_last_q <= ends_burst;
        read_mask_q <= sram_fault ? {LANES{1'b0}} : mask; // write nothing from outside acc
        read_part_q <= part;
    end

wire [`VDLA_BUS_WIDTH-1:0] read_data;
wire [`VDLA_BUS_BYTES-1:0] read_strobe;

generate if (PARTS == 1) begin: whole
    assign read_data = rd_data[`VDLA_BUS_WIDTH-1:0];
end else begin: sliced
    assign read_data = rd_data[read_part_q[PART-2:0] * `VDLA_BUS_WIDTH +: `VDLA_BUS_WIDTH];
end endgenerate

genvar l;
generate for (l = 0; l < LANES; l = l + 1) begin: lane
    assign read_strobe[l * SLICE +: SLICE] = {SLICE{read_mask_q[l]}};
end endgenerate

// Beats wait here for the bus; `room` counts the one being read.
wire [2:0] queued;
wire       queue_ready;
assign room = queued + {2'b0, read_q} < 3'd4;

vdla_fifo #(.DEPTH(4), .WIDTH(`VDLA_BUS_WIDTH + `VDLA_BUS_BYTES + 1)) queue (
    .clk        (clk),
    .rst        (rst),
    .push_valid (read_q),
    .push_ready (queue_ready),
    .push_data  ({read_last_q, read_strobe, read_data}),
    .pop_valid  (w_valid),
    .pop_ready  (w_ready),
    .pop_data   ({w_last, w_strobe, w_data}),
    .count      (queued)
);

// ----------------------------------------------------------------------------
// The end: when every burst has its response

reg  [26:0] flying_q; // bursts requested and not answered
wire        answered = flying_q == {26'b0, b_valid};
reg         active_q;

assign done  = begun ? !has_data : active_q && !requests_left && answered;
assign quiet = flying_q == 0 && !pending_q && !w_valid && !read_q;

always @(posedge clk)
    if (rst) begin
        flying_q <= 0;
        active_q <= 1'b0;
    end else begin
        flying_q <= flying_q + {26'b0, aw_fire} - {26'b0, b_valid};
        active_q <= (begun || active_q) && !done;
    end

wire _unused = &{1'b0, data_left, data_fault, data_address, last, queue_ready, last_beat[8], entry[ENTRY-1:INDEX], read_part_q};

endmodule

`default_nettype wire
