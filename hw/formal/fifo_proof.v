// vdla_fifo: a word chosen at random is tracked from push to pop. Then the FIFO neither loses, doubles, changes nor
// reorders words; its count is right, and it takes words until it is full.

`default_nettype none

module fifo_proof #(
    parameter DEPTH = 4,
    parameter WIDTH = 4
) (
    input wire             clk,
    input wire             push_valid,
    input wire [WIDTH-1:0] push_data,
    input wire             pop_ready,
    input wire             track      // the word pushed now is the tracked one
);

localparam INDEX = $clog2(DEPTH);

reg rst = 1'b1;
always @(posedge clk)
    rst <= 1'b0;

wire             push_ready;
wire             pop_valid;
wire [WIDTH-1:0] pop_data;
wire [INDEX:0]   count;

vdla_fifo #(.DEPTH(DEPTH), .WIDTH(WIDTH)) dut (
    .clk(clk), .rst(rst), .push_valid(push_valid), .push_ready(push_ready), .push_data(push_data),
    .pop_valid(pop_valid), .pop_ready(pop_ready), .pop_data(pop_data), .count(count)
);

wire push = push_valid && push_ready;
wire pop  = pop_valid && pop_ready;

// What the FIFO should be
reg [INDEX:0]   count_q = 0;
reg             tracking_q = 1'b0;
reg [INDEX:0]   ahead_q;  // words ahead of the tracked one
reg [WIDTH-1:0] word_q;

always @(posedge clk)
    if (rst) begin
        count_q    <= 0;
        tracking_q <= 1'b0;
    end else begin
        count_q <= count_q + push - pop;
        if (!tracking_q && track && push) begin
            tracking_q <= 1'b1;
            ahead_q    <= count_q - pop;
            word_q     <= push_data;
        end else if (tracking_q && pop) begin
            tracking_q <= ahead_q != 0;
            ahead_q    <= ahead_q - 1;
        end
    end

// For the induction: where the tracked word lies, and what the registers say of each other. (The memory's words have these
// names once memory_map has made registers of them; those beyond DEPTH stand for nothing.)
(* hierconn *) wire [INDEX-1:0] \dut.read_q , \dut.write_q ;
(* hierconn *) wire             \dut.some_q , \dut.more_q , \dut.full_q ;
(* hierconn *) wire [WIDTH-1:0] \dut.memory[0] , \dut.memory[1] , \dut.memory[2] , \dut.memory[3] ;
(* hierconn *) wire [WIDTH-1:0] \dut.memory[4] , \dut.memory[5] , \dut.memory[6] , \dut.memory[7] ;
wire [8*WIDTH-1:0] words = {\dut.memory[7] , \dut.memory[6] , \dut.memory[5] , \dut.memory[4] ,
                            \dut.memory[3] , \dut.memory[2] , \dut.memory[1] , \dut.memory[0] };
wire [INDEX-1:0] place  = \dut.read_q + ahead_q - 1;
wire [INDEX-1:0] behind = \dut.write_q - \dut.read_q ; // words in the memory

check_stream #(.WIDTH(WIDTH)) popped (.clk(clk), .rst(rst), .valid(pop_valid), .ready(pop_ready), .payload(pop_data));

always @(*)
    if (!rst) begin
        assert (count == count_q);
        assert (count_q <= DEPTH);
        assert (push_ready == (count_q != DEPTH));
        assert (pop_valid == (count_q != 0));
        assert (\dut.some_q == (count_q != 0));
        assert (\dut.more_q == (count_q > 1));
        assert (\dut.full_q == (count_q == DEPTH));
        assert (count_q == 0 ? behind == 0 : behind == count_q - 1);
        if (tracking_q) begin
            assert (ahead_q < count_q);
            assert ((ahead_q == 0 ? pop_data : words[place * WIDTH +: WIDTH]) == word_q);
        end
    end

always @(posedge clk)
    if (!rst) begin
        cover (count_q == DEPTH);
        cover (tracking_q && pop && ahead_q == 0);
    end

endmodule

`default_nettype wire
