// What the timing contract asks of a burst: beats of the bus's width, all in one block of VDLA_MAX_BURST of them. And what
// AXI4 does: none beyond the 4 KiB that the first lies in.

`default_nettype none

`include "vdla_config.vh"

module check_burst (
    input wire                           rst,
    input wire                           valid,
    input wire [`VDLA_ADDRESS_WIDTH-1:0] address,
    input wire [7:0]                     length  // beats - 1
);

localparam BOUNDARY = 4096;

wire [12:0] first = {1'b0, address[11:0]};
wire [12:0] last  = first + {5'b0, length} * `VDLA_BUS_BYTES;
wire [12:0] place = first / `VDLA_BUS_BYTES % `VDLA_MAX_BURST;

always @(*)
    if (!rst && valid) begin
        assert (first % `VDLA_BUS_BYTES == 0);
        assert (place + length < `VDLA_MAX_BURST);
        assert (last < BOUNDARY);
    end

endmodule

`default_nettype wire
