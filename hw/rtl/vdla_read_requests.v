// The read requests of one transfer: its bursts, at most one a cycle, with at most VDLA_OUTSTANDING of them in flight
// (requested, last beat not over). `halt` lets a request that is on the bus finish and makes no more.

`default_nettype none

`include "vdla_config.vh"

module vdla_read_requests (
    input  wire                           clk,
    input  wire                           rst,
    input  wire                           halt,

    input  wire                           begin_valid,
    input  wire [`VDLA_REACH_WIDTH-1:0]   begin_address,
    input  wire [`VDLA_REACH_WIDTH-1:0]   begin_stride,
    input  wire [31:0]                    begin_row_bytes,
    input  wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] begin_rows,
    input  wire [`VDLA_ADDRESS_WIDTH:0]   limit,

    output wire                           ar_valid,
    input  wire                           ar_ready,
    output wire [`VDLA_ADDRESS_WIDTH-1:0] ar_address,
    output wire [7:0]                     ar_length, // beats - 1
    input  wire                           r_over,    // the last beat of a burst is taken

    output wire                           out_of_range,
    output wire                           quiet      // nothing requested is outstanding
);

localparam [6:0] OUTSTANDING = `VDLA_OUTSTANDING;

reg  [6:0] flying_q;
reg        pending_q; // a request is on the bus
wire       burst_valid;
wire [8:0] burst_beats;
wire [8:0] last_beat = burst_beats - 1;
wire       active;

assign ar_valid  = burst_valid && (pending_q || !halt && flying_q < OUTSTANDING);
assign ar_length = last_beat[7:0];
assign quiet     = flying_q == 0 && !pending_q;

vdla_bursts bursts (
    .clk             (clk),
    .rst             (rst),
    .begin_valid     (begin_valid),
    .begin_address   (begin_address),
    .begin_stride    (begin_stride),
    .begin_row_bytes (begin_row_bytes),
    .begin_rows      (begin_rows),
    .limit           (limit),
    .burst_valid     (burst_valid),
    .burst_ready     (ar_valid && ar_ready),
    .burst_address   (ar_address),
    .burst_beats     (burst_beats),
    .active          (active),
    .out_of_range    (out_of_range)
);

always @(posedge clk)
    if (rst) begin
        flying_q  <= 0;
        pending_q <= 1'b0;
    end else begin
        flying_q  <= flying_q + {6'b0, ar_valid && ar_ready} - {6'b0, r_over};
        pending_q <= ar_valid && !ar_ready;
    end

wire _unused = &{1'b0, active, last_beat[8]};

endmodule

`default_nettype wire
