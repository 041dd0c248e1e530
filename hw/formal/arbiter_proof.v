// vdla_arbiter: three units that keep the ready/valid promise become one stream that does; each request on the bus is
// that of the unit its ID names, is taken when that unit's is, and goes to the first of COMPUTE, LOAD, FETCH that asked
// when it was chosen; a beat goes to the unit its ID names and to no other.

`default_nettype none

`include "vdla_config.vh"

module arbiter_proof (
    input wire                             clk,
    input wire [2:0]                       ar_valid,
    input wire [3*`VDLA_ADDRESS_WIDTH-1:0] ar_address,
    input wire [3*8-1:0]                   ar_length,
    input wire                             bus_ar_ready,
    input wire                             bus_r_valid,
    input wire [1:0]                       bus_r_id
);

localparam A = `VDLA_ADDRESS_WIDTH;

reg rst = 1'b1;
always @(posedge clk)
    rst <= 1'b0;

wire [2:0]   ar_ready;
wire [2:0]   r_valid;
wire         bus_ar_valid;
wire [1:0]   bus_ar_id;
wire [A-1:0] bus_ar_address;
wire [7:0]   bus_ar_length;

vdla_arbiter dut (
    .clk(clk), .rst(rst), .ar_valid(ar_valid), .ar_ready(ar_ready), .ar_address(ar_address), .ar_length(ar_length),
    .r_valid(r_valid), .bus_ar_valid(bus_ar_valid), .bus_ar_ready(bus_ar_ready), .bus_ar_id(bus_ar_id),
    .bus_ar_address(bus_ar_address), .bus_ar_length(bus_ar_length), .bus_r_valid(bus_r_valid), .bus_r_id(bus_r_id)
);

genvar u;
generate for (u = 0; u < 3; u = u + 1) begin: unit
    check_stream #(.WIDTH(A + 8), .ASSUME(1)) promise (
        .clk(clk), .rst(rst), .valid(ar_valid[u]), .ready(ar_ready[u]),
        .payload({ar_address[A * u +: A], ar_length[8 * u +: 8]})
    );
    always @(*)
        if (!rst) begin
            assert (ar_ready[u] == (bus_ar_ready && bus_ar_id == u));
            assert (r_valid[u] == (bus_r_valid && bus_r_id == u));
            if (bus_ar_valid && bus_ar_id == u) begin
                assert (ar_valid[u]);
                assert (bus_ar_address == ar_address[A * u +: A] && bus_ar_length == ar_length[8 * u +: 8]);
            end
        end
end endgenerate

check_stream #(.WIDTH(A + 10)) bus (
    .clk(clk), .rst(rst), .valid(bus_ar_valid), .ready(bus_ar_ready),
    .payload({bus_ar_id, bus_ar_address, bus_ar_length})
);

reg held_q = 1'b0; // the request on the bus was there in the cycle before
always @(posedge clk)
    held_q <= !rst && bus_ar_valid && !bus_ar_ready;

// For the induction
(* hierconn *) wire       \dut.held_q ;
(* hierconn *) wire [2:0] \dut.unit_q ;

always @(*) begin
    assume (bus_r_id < 3);
    if (!rst) begin
        assert (bus_ar_valid == |ar_valid);
        assert (\dut.held_q == held_q);
        if (held_q)
            assert (\dut.unit_q == (\dut.unit_q & -\dut.unit_q ) && |(\dut.unit_q & ar_valid)); // one, and it asks
        else if (bus_ar_valid)
            assert (bus_ar_id == (ar_valid[2] ? 2 : ar_valid[1] ? 1 : 0));
    end
end

endmodule

`default_nettype wire
