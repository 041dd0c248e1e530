// In place of vdla_fifo, what fifo_proof proves of it: words come out in the order they went in, the first of them is on
// pop_data, and it takes words until there are DEPTH. The first word lies in the lowest bits of `words_q`.

`default_nettype none

module vdla_fifo #(
    parameter DEPTH = 4,
    parameter WIDTH = 8
) (
    input  wire                   clk,
    input  wire                   rst,
    input  wire                   push_valid,
    output wire                   push_ready,
    input  wire [WIDTH-1:0]       push_data,
    output wire                   pop_valid,
    input  wire                   pop_ready,
    output wire [WIDTH-1:0]       pop_data,
    output wire [$clog2(DEPTH):0] count
);

localparam COUNT = $clog2(DEPTH) + 1;
localparam [COUNT-1:0] FULL = DEPTH;

reg [DEPTH*WIDTH-1:0] words_q;
reg [COUNT-1:0]       count_q;

wire             push = push_valid && push_ready;
wire             pop  = pop_valid && pop_ready;
wire [COUNT-1:0] kept = count_q - {{COUNT - 1{1'b0}}, pop};

assign count      = count_q;
assign push_ready = count_q != FULL;
assign pop_valid  = count_q != 0;
assign pop_data   = words_q[WIDTH-1:0];

integer k;
always @(posedge clk)
    for (k = 0; k < DEPTH; k = k + 1)
        if (push && kept == k)
            words_q[k * WIDTH +: WIDTH] <= push_data;
        else if (pop)
            words_q[k * WIDTH +: WIDTH] <= words_q[(k + 1) % DEPTH * WIDTH +: WIDTH];

always @(posedge clk)
    count_q <= rst ? 0 : kept + {{COUNT - 1{1'b0}}, push};

endmodule

`default_nettype wire
