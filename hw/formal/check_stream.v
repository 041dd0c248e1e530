// The ready/valid promise: valid, once raised, stays, payload unchanged, until ready. Nothing is valid right after reset.
// `ASSUME`: it is the environment's promise, not the design's.

`default_nettype none

module check_stream #(
    parameter WIDTH  = 1,
    parameter ASSUME = 0
) (
    input wire             clk,
    input wire             rst,
    input wire             valid,
    input wire             ready,
    input wire [WIDTH-1:0] payload
);

reg             waiting_q = 1'b0;
reg [WIDTH-1:0] payload_q;

always @(posedge clk) begin
    waiting_q <= !rst && valid && !ready;
    payload_q <= payload;
end

wire kept = !waiting_q || valid && payload == payload_q;

generate if (ASSUME != 0) begin: environment
    always @(*) if (!rst) assume (kept);
end else begin: design
    always @(*) if (!rst) assert (kept);
end endgenerate

endmodule

`default_nettype wire
