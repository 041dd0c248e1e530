// Read requests of FETCH, LOAD and COMPUTE onto one AXI read channel, with the unit's number as ID; beats back by ID.
// COMPUTE goes before LOAD before FETCH (BUS_PRIORITY of the timing contract; STORE has the write channels to itself). A
// request that waits on the bus is not exchanged for another. Combinational but for that; units always take their beats.

`default_nettype none

`include "vdla_config.vh"

module vdla_arbiter (
    input  wire                             clk,
    input  wire                             rst,

    input  wire [2:0]                       ar_valid,   // fetch, load, compute
    output wire [2:0]                       ar_ready,
    input  wire [3*`VDLA_ADDRESS_WIDTH-1:0] ar_address,
    input  wire [3*8-1:0]                   ar_length,
    output wire [2:0]                       r_valid,

    output wire                             bus_ar_valid,
    input  wire                             bus_ar_ready,
    output wire [1:0]                       bus_ar_id,
    output wire [`VDLA_ADDRESS_WIDTH-1:0]   bus_ar_address,
    output wire [7:0]                       bus_ar_length,
    input  wire                             bus_r_valid,
    input  wire [1:0]                       bus_r_id
);

localparam A = `VDLA_ADDRESS_WIDTH;

reg        held_q;
reg  [2:0] unit_q;
wire [2:0] first = {ar_valid[2], ar_valid[2:1] == 2'b01, ar_valid[2:1] == 2'b00};
wire [2:0] unit  = held_q ? unit_q : first; // one bit

assign bus_ar_valid   = |ar_valid;
assign bus_ar_id      = unit[2:1];
assign bus_ar_address = unit[2] ? ar_address[2*A +: A] : unit[1] ? ar_address[A +: A] : ar_address[0 +: A];
assign bus_ar_length  = unit[2] ? ar_length[16 +: 8] : unit[1] ? ar_length[8 +: 8] : ar_length[0 +: 8];
assign ar_ready       = unit & {3{bus_ar_ready}};
assign r_valid        = {bus_r_id == 2'd2, bus_r_id == 2'd1, bus_r_id == 2'd0} & {3{bus_r_valid}};

always @(posedge clk)
    if (rst)
        held_q <= 1'b0;
    else
        held_q <= bus_ar_valid && !bus_ar_ready;

always @(posedge clk)
    unit_q <= unit;

endmodule

`default_nettype wire
