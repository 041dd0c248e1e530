// A FIFO of DEPTH words, a power of two. What is pushed in one cycle is at the head, if the FIFO was empty, in the next;
// push_ready does not look at pop_ready, so a full FIFO takes a word only in the cycle after one has left.

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

localparam POINTER_WIDTH = $clog2(DEPTH);

reg [WIDTH-1:0]         memory [0:DEPTH-1];
reg [POINTER_WIDTH:0]   head_q;
reg [POINTER_WIDTH:0]   tail_q;

wire push = push_valid && push_ready;
wire pop  = pop_valid && pop_ready;

assign count      = tail_q - head_q;
assign push_ready = !count[POINTER_WIDTH];
assign pop_valid  = tail_q != head_q;
assign pop_data   = memory[head_q[POINTER_WIDTH-1:0]];

always @(posedge clk)
    if (push)
        memory[tail_q[POINTER_WIDTH-1:0]] <= push_data;

always @(posedge clk)
    if (rst) begin
        head_q <= 0;
        tail_q <= 0;
    end else begin
        head_q <= head_q + {{POINTER_WIDTH{1'b0}}, pop};
        tail_q <= tail_q + {{POINTER_WIDTH{1'b0}}, push};
    end

endmodule

`default_nettype wire
