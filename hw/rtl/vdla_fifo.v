// A FIFO of DEPTH words, a power of two. What is pushed in one cycle is at the head, if the FIFO was empty, in the next;
// push_ready does not look at pop_ready, so a full FIFO takes a word only in the cycle after one has left. All outputs are
// registers: the head is apart from the memory, and a word pushed when nothing is behind it goes to both.

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
localparam [POINTER_WIDTH:0] FULL = DEPTH;

reg [WIDTH-1:0]         memory [0:DEPTH-1];
reg [WIDTH-1:0]         head_q;
reg [POINTER_WIDTH-1:0] read_q;  // of the word behind the head
reg [POINTER_WIDTH-1:0] write_q;
reg [POINTER_WIDTH:0]   count_q;
reg                     some_q;  // count_q != 0
reg                     more_q;  // count_q > 1: there are words behind the head
reg                     full_q;  // count_q == DEPTH

wire push  = push_valid && !full_q;
wire pop   = some_q && pop_ready;
wire moves = pop || !some_q;     // a word comes to the head, if there is one

assign count      = count_q;
assign push_ready = !full_q;
assign pop_valid  = some_q;
assign pop_data   = head_q;

always @(posedge clk)
    if (push)
        memory[write_q] <= push_data;

always @(posedge clk)
    if (moves)
        head_q <= more_q ? memory[read_q] : push_data;

always @(posedge clk)
    if (rst) begin
        read_q  <= 0;
        write_q <= 0;
    end else begin
        if (moves && (more_q || push))
            read_q <= read_q + 1;
        if (push)
            write_q <= write_q + 1;
    end

always @(posedge clk)
    if (rst) begin
        count_q <= 0;
        some_q  <= 1'b0;
        more_q  <= 1'b0;
        full_q  <= 1'b0;
    end else if (push && !pop) begin
        count_q <= count_q + 1;
        some_q  <= 1'b1;
        more_q  <= some_q;
        full_q  <= count_q == FULL - 1;
    end else if (pop && !push) begin
        count_q <= count_q - 1;
        some_q  <= more_q;
        more_q  <= more_q && count_q != 2;
        full_q  <= 1'b0;
    end

endmodule

`default_nettype wire
