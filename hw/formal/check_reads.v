// A memory's view of a read port: the requests keep the ready/valid promise, each is a legal burst, and never are more
// than LIMIT of them in flight (requested, last beat not over). The environment's part: no beat that was not asked for.
// For proofs by induction, `flying` is the number in flight.

`default_nettype none

`include "vdla_config.vh"

module check_reads #(
    parameter LIMIT = `VDLA_OUTSTANDING
) (
    input  wire                           clk,
    input  wire                           rst,
    input  wire                           ar_valid,
    input  wire                           ar_ready,
    input  wire [`VDLA_ADDRESS_WIDTH-1:0] ar_address,
    input  wire [7:0]                     ar_length,
    input  wire                           r_over,   // the last beat of a burst is taken
    output wire [6:0]                     flying
);

reg [6:0] flying_q = 0;
assign flying = flying_q;

always @(posedge clk)
    if (rst)
        flying_q <= 0;
    else
        flying_q <= flying_q + {6'b0, ar_valid && ar_ready} - {6'b0, r_over};

always @(*)
    if (!rst) begin
        assume (!r_over || flying_q != 0);
        assert (flying_q <= LIMIT);
        assert (!ar_valid || flying_q < LIMIT);
    end

check_stream #(.WIDTH(`VDLA_ADDRESS_WIDTH + 8)) requests (
    .clk(clk), .rst(rst), .valid(ar_valid), .ready(ar_ready), .payload({ar_address, ar_length})
);
check_burst bursts (.rst(rst), .valid(ar_valid), .address(ar_address), .length(ar_length));

endmodule

`default_nettype wire
