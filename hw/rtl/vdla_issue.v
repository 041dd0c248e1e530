// The front of LOAD, COMPUTE or STORE: the command queue, and when an instruction starts and retires.
//
// An instruction starts (`start`) in the cycle in which it is at the head of the queue, the one before has finished, and
// every token it pops is there; it takes them in that cycle. From the next cycle on it is in `insn`, and `begun` is high
// in that first cycle only. The unit raises `done` in the last cycle the instruction occupies it; in the next one
// (`retire`) the instruction's tokens are pushed, and the next one can start.

`default_nettype none

`include "vdla_config.vh"

module vdla_issue (
    input  wire                               clk,
    input  wire                               rst,
    input  wire                               halt, // start nothing more

    input  wire                               dispatch_valid,
    output wire                               dispatch_ready,
    input  wire [`VDLA_INSTRUCTION_WIDTH-1:0] dispatch_insn,

    input  wire                               prev_available,
    output wire                               prev_pop,
    output wire                               prev_push,
    input  wire                               next_available,
    output wire                               next_pop,
    output wire                               next_push,

    output wire                               start,
    output wire [`VDLA_INSTRUCTION_WIDTH-1:0] start_insn,
    output reg                                begun,
    output reg  [`VDLA_INSTRUCTION_WIDTH-1:0] insn,
    input  wire                               done,
    output reg                                retire,

    output reg                                busy,
    output wire                               waiting, // for tokens
    output wire                               empty    // nothing queued
);

localparam POP_PREV  = `VDLA_INSN_POP_PREV_LSB;
localparam POP_NEXT  = `VDLA_INSN_POP_NEXT_LSB;
localparam PUSH_PREV = `VDLA_INSN_PUSH_PREV_LSB;
localparam PUSH_NEXT = `VDLA_INSN_PUSH_NEXT_LSB;

wire head_valid;
wire [$clog2(`VDLA_QUEUE_DEPTH):0] count;

vdla_fifo #(.DEPTH(`VDLA_QUEUE_DEPTH), .WIDTH(`VDLA_INSTRUCTION_WIDTH)) queue (
    .clk        (clk),
    .rst        (rst),
    .push_valid (dispatch_valid),
    .push_ready (dispatch_ready),
    .push_data  (dispatch_insn),
    .pop_valid  (head_valid),
    .pop_ready  (start),
    .pop_data   (start_insn),
    .count      (count)
);

wire tokens = (prev_available || !start_insn[POP_PREV]) && (next_available || !start_insn[POP_NEXT]);

assign empty    = count == 0;
assign start    = head_valid && !busy && !halt && tokens;
assign waiting  = head_valid && !busy && !tokens;
assign prev_pop = start && start_insn[POP_PREV];
assign next_pop = start && start_insn[POP_NEXT];

reg push_prev_q;
reg push_next_q;
assign prev_push = retire && push_prev_q;
assign next_push = retire && push_next_q;

always @(posedge clk)
    if (rst) begin
        busy   <= 1'b0;
        begun  <= 1'b0;
        retire <= 1'b0;
    end else begin
        busy   <= start || busy && !done;
        begun  <= start;
        retire <= done;
    end

always @(posedge clk)
    if (start)
        insn <= start_insn;

// Apart from insn, because the next instruction may be starting in the cycle this one pushes.
always @(posedge clk)
    if (done) begin
        push_prev_q <= insn[PUSH_PREV];
        push_next_q <= insn[PUSH_NEXT];
    end

endmodule

`default_nettype wire
