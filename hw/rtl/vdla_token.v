// A token FIFO: tokens carry nothing, so it is a counter. A token pushed in one cycle can be taken in the next (TOKEN_HOP).
// `overflow` is high in the cycle a push finds it full; that token is lost.

`default_nettype none

module vdla_token #(
    parameter WIDTH = 20
) (
    input  wire clk,
    input  wire rst,
    input  wire push,
    input  wire pop,       // only while available
    output wire available,
    output wire overflow
);

reg [WIDTH-1:0] count_q;

assign available = |count_q;
assign overflow  = push && !pop && &count_q;

always @(posedge clk)
    if (rst)
        count_q <= 0;
    else if (push && !pop && !overflow)
        count_q <= count_q + 1;
    else if (pop && !push)
        count_q <= count_q - 1;

endmodule

`default_nettype wire
