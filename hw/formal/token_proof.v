// vdla_token: as many tokens can be taken as were pushed, none in the cycle of its push, and only a full FIFO overflows.

`default_nettype none

module token_proof #(
    parameter WIDTH = 3
) (
    input wire clk,
    input wire push,
    input wire pop
);

reg rst = 1'b1;
always @(posedge clk)
    rst <= 1'b0;

wire available;
wire overflow;

vdla_token #(.WIDTH(WIDTH)) dut (
    .clk(clk), .rst(rst), .push(push), .pop(pop), .available(available), .overflow(overflow)
);

localparam [WIDTH:0] MOST = (1 << WIDTH) - 1;
reg [WIDTH:0] tokens_q = 0; // pushed and not taken

always @(posedge clk)
    if (rst)
        tokens_q <= 0;
    else
        tokens_q <= tokens_q + (push && !overflow) - pop;

(* hierconn *) wire [WIDTH-1:0] \dut.count_q ;
(* hierconn *) wire             \dut.full_q ;

always @(*) begin
    assume (!pop || available);
    if (!rst) begin
        assert (tokens_q == {1'b0, \dut.count_q });
        assert (available == (tokens_q != 0));
        assert (\dut.full_q == (tokens_q == MOST));
        assert (overflow == (push && !pop && tokens_q == MOST));
    end
end

always @(posedge clk)
    if (!rst)
        cover (overflow);

endmodule

`default_nettype wire
