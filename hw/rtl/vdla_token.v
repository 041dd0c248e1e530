// A token FIFO: tokens carry nothing, so it is a counter. A token pushed in one cycle can be taken in the next (TOKEN_HOP).
// `available` is a register. `overflow` is high in the cycle a push finds the FIFO full; that token is lost.

`default_nettype none

module vdla_token #(
    parameter WIDTH = 20
) (
    input  wire clk,
    input  wire rst,
    input  wire push,
    input  wire pop,       // only while available
    output reg  available,
    output wire overflow
);

localparam [WIDTH-1:0] ONE    = 1;
localparam [WIDTH-1:0] BEFORE = {{WIDTH - 1{1'b1}}, 1'b0}; // one token less than full

reg [WIDTH-1:0] count_q;
reg             full_q;

assign overflow = push && !pop && full_q;

always @(posedge clk)
    if (rst) begin
        count_q   <= 0;
        available <= 1'b0;
        full_q    <= 1'b0;
    end else if (push && !pop) begin
        available <= 1'b1;
        full_q    <= full_q || count_q == BEFORE;
        if (!full_q)
            count_q <= count_q + 1;
    end else if (pop && !push) begin
        count_q   <= count_q - 1;
        available <= count_q != ONE;
        full_q    <= 1'b0;
    end

endmodule

`default_nettype wire
