// What AXI4 and the timing contract ask of a burst: beats of the bus's width, at most VDLA_MAX_BURST of them, none beyond
// the 4 KiB that the first lies in.

`default_nettype none

`include "vdla_config.vh"

module check_burst (
    input wire                           rst,
    input wire                           valid,
    input wire [`VDLA_ADDRESS_WIDTH-1:0] address,
    input wire [7:0]                     length  // beats - 1
);

wire [12:0] first = {1'b0, address[11:0]};
wire [12:0] last  = first + {5'b0, length} * `VDLA_BUS_BYTES;

always @(*)
    if (!rst && valid) begin
        assert (first % `VDLA_BUS_BYTES == 0);
        assert (length < `VDLA_MAX_BURST);
        assert (last < `VDLA_BOUNDARY_BYTES);
    end

endmodule

`default_nettype wire
