// The front of LOAD, COMPUTE or STORE: the command queue, and when an instruction starts and retires.
//
//     cycle     of an instruction that starts in t and finishes in f
//     t         it is at the head of the queue, the one before has finished, and every token it pops is there: `start`;
//               it takes the tokens
//     t + 1     it is in `insn`, to f - 1 at least, and leaves the queue
//     t + 2     `begun`, in this cycle only: units have had a cycle to decode it
//     f - 1     the unit raises `done`: the last cycle the instruction occupies it
//     f         `retire`: its tokens are pushed, and the next one can start
//
// `start` is a function of registers: the queue's head, `busy`, `halt` and the token FIFOs' `available`.

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
    output reg                                prev_push,
    input  wire                               next_available,
    output wire                               next_pop,
    output reg                                next_push,

    output wire                               start,
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

reg                                started_q;
wire                               head_valid;
wire [`VDLA_INSTRUCTION_WIDTH-1:0] head;
wire [$clog2(`VDLA_QUEUE_DEPTH):0] count;

vdla_fifo #(.DEPTH(`VDLA_QUEUE_DEPTH), .WIDTH(`VDLA_INSTRUCTION_WIDTH)) queue (
    .clk        (clk),
    .rst        (rst),
    .push_valid (dispatch_valid),
    .push_ready (dispatch_ready),
    .push_data  (dispatch_insn),
    .pop_valid  (head_valid),
    .pop_ready  (started_q), // a cycle late: nothing starts in the cycle after
    .pop_data   (head),
    .count      (count)
);

wire tokens = (prev_available || !head[POP_PREV]) && (next_available || !head[POP_NEXT]);

assign empty    = !head_valid;
assign start    = head_valid && !busy && !halt && tokens;
assign waiting  = head_valid && !busy && !tokens;
assign prev_pop = start && head[POP_PREV];
assign next_pop = start && head[POP_NEXT];

always @(posedge clk)
    if (rst) begin
        busy      <= 1'b0;
        started_q <= 1'b0;
        begun     <= 1'b0;
        retire    <= 1'b0;
        prev_push <= 1'b0;
        next_push <= 1'b0;
    end else begin
        busy      <= start || busy && !done;
        started_q <= start;
        begun     <= started_q;
        retire    <= done;
        prev_push <= done && insn[PUSH_PREV];
        next_push <= done && insn[PUSH_NEXT];
    end

always @(posedge clk)
    if (!busy) // not `start`, which comes late
        insn <= head;

wire _unused = &{1'b0, count};

endmodule

`default_nettype wire
