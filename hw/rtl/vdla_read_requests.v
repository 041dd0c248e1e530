// The read requests of one transfer: its bursts, at most one a cycle, with at most VDLA_OUTSTANDING of them in flight
// (requested, last beat not over). The first is on the bus two cycles after `begin_valid` (see vdla_bursts). `halt` lets a
// request that is on the bus finish and makes no more.

`default_nettype none

`include "vdla_config.vh"

module vdla_read_requests (
    input  wire                           clk,
    input  wire                           rst,
    input  wire                           halt,

    input  wire                           begin_valid,
    input  wire                           begin_any,
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

reg [6:0] flying_q;
reg       room_q;    // fewer than OUTSTANDING
reg       pending_q; // a request is on the bus
wire      burst_valid;
wire      active;
wire      fire = ar_valid && ar_ready;

assign ar_valid = burst_valid && (pending_q || room_q && !halt);
assign quiet    = flying_q == 0 && !pending_q;

vdla_bursts bursts (
    .clk             (clk),
    .rst             (rst),
    .begin_valid     (begin_valid),
    .begin_any       (begin_any),
    .begin_address   (begin_address),
    .begin_stride    (begin_stride),
    .begin_row_bytes (begin_row_bytes),
    .begin_rows      (begin_rows),
    .limit           (limit),
    .burst_valid     (burst_valid),
    .burst_ready     (fire),
    .burst_address   (ar_address),
    .burst_length    (ar_length),
    .active          (active),
    .out_of_range    (out_of_range)
);

always @(posedge clk)
    if (rst) begin
        flying_q  <= 0;
        room_q    <= 1'b1;
        pending_q <= 1'b0;
    end else begin
        pending_q <= ar_valid && !ar_ready;
        if (fire != r_over) begin
            flying_q <= r_over ? flying_q - 1 : flying_q + 1;
            room_q   <= r_over || flying_q != OUTSTANDING - 1;
        end
    end

wire _unused = &{1'b0, active};

endmodule

`default_nettype wire
