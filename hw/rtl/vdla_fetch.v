// FETCH: reads the program in blocks of VDLA_FETCH_BLOCK instructions into a buffer of VDLA_FETCH_BLOCKS blocks and
// dispatches them in order, one a cycle, each to the command queue of its unit.
//
// The bursts of a block are requested, one a cycle, from the cycle after the last instruction of the block it replaces
// was dispatched, and at once for the first blocks. Beats go to the buffer as they come (r_ready is always high). When
// the last beat of a block is taken in cycle c, its first instruction is read from the buffer in c + 1 and can be
// dispatched in c + 2.
//
// An instruction that does not exist stops FETCH for good: `bad` stays high.

`default_nettype none

`include "vdla_config.vh"

module vdla_fetch (
    input  wire                               clk,
    input  wire                               rst,
    input  wire                               halt,            // ask for and dispatch nothing more

    input  wire [`VDLA_ADDRESS_WIDTH-1:0]     program_address, // a multiple of 4 KiB
    input  wire [31:0]                        program_length,  // instructions

    output wire                               ar_valid,
    input  wire                               ar_ready,
    output wire [`VDLA_ADDRESS_WIDTH-1:0]     ar_address,
    output wire [7:0]                         ar_length,       // beats - 1
    input  wire                               r_valid,
    input  wire [`VDLA_BUS_WIDTH-1:0]         r_data,
    input  wire                               r_last,

    output wire [2:0]                         dispatch_valid,  // load, compute, store
    input  wire [2:0]                         dispatch_ready,
    output wire [`VDLA_INSTRUCTION_WIDTH-1:0] dispatch_insn,

    output wire                               bad,
    output wire                               waiting,         // for room in a queue
    output reg  [31:0]                        dispatched,
    output wire                               all_dispatched,
    output wire                               quiet            // nothing requested is outstanding
);

localparam BLOCK_BYTES = `VDLA_FETCH_BLOCK * `VDLA_INSTRUCTION_WIDTH / 8;
localparam BLOCK_BEATS = BLOCK_BYTES / `VDLA_BUS_BYTES;
localparam SLOTS       = `VDLA_FETCH_BLOCKS * `VDLA_FETCH_BLOCK; // instructions in the buffer
localparam BEATS       = `VDLA_FETCH_BLOCKS * BLOCK_BEATS;       // beats in the buffer
localparam BEAT_WIDTH  = 32;                                     // numbers of beats in a program
localparam MAX_BURST   = `VDLA_MAX_BURST < BLOCK_BEATS ? `VDLA_MAX_BURST : BLOCK_BEATS;
localparam INSN_SHIFT  = 4;                                      // bytes of an instruction
localparam [BEAT_WIDTH-1:0] BEATS_AHEAD = BEATS;

// ----------------------------------------------------------------------------
// Requests

reg  [BEAT_WIDTH-1:0] requested_q; // beats asked for
reg  [BEAT_WIDTH-1:0] received_q;  // beats that have come
reg  [28:0]           blocks_q;    // blocks all of whose instructions are dispatched
reg                   pending_q;   // a request is on the bus

wire [BEAT_WIDTH-1:0] freed   = {3'b0, blocks_q} * BLOCK_BEATS;
wire [BEAT_WIDTH-1:0] allowed = freed + BEATS_AHEAD;
wire [35:0]           bytes   = {program_length, {INSN_SHIFT{1'b0}}} + (`VDLA_BUS_BYTES - 1);
wire [35:0]           all     = bytes >> `VDLA_BUS_SHIFT;
wire [BEAT_WIDTH-1:0] total   = all[BEAT_WIDTH-1:0];
wire [BEAT_WIDTH-1:0] left    = total - requested_q;

// Beats to the end of the block, of the program, and of the longest burst: the least.
reg [BEAT_WIDTH-1:0] burst;
always @(*) begin
    burst = BLOCK_BEATS - (requested_q & (BLOCK_BEATS - 1));
    if (left < burst)
        burst = left;
    if (burst > MAX_BURST)
        burst = MAX_BURST;
end

wire [BEAT_WIDTH-1:0] last_beat = burst - 1;
wire [`VDLA_ADDRESS_WIDTH-1:0] offset = {{`VDLA_ADDRESS_WIDTH - BEAT_WIDTH{1'b0}}, requested_q} << `VDLA_BUS_SHIFT;
wire ar_fire = ar_valid && ar_ready;

reg [6:0] flying_q; // bursts requested and not over
localparam [6:0] OUTSTANDING = `VDLA_OUTSTANDING;

assign ar_valid   = pending_q ||
    !halt && requested_q != allowed && left != 0 && flying_q < OUTSTANDING;
assign ar_address = program_address + offset;
assign ar_length  = last_beat[7:0];
assign quiet      = flying_q == 0 && !pending_q;

always @(posedge clk)
    if (rst) begin
        requested_q <= 0;
        flying_q    <= 0;
        pending_q   <= 1'b0;
    end else begin
        pending_q <= ar_valid && !ar_ready;
        flying_q  <= flying_q + {6'b0, ar_fire} - {6'b0, r_valid && r_last};
        if (ar_fire)
            requested_q <= requested_q + burst;
    end

// ----------------------------------------------------------------------------
// Buffer: rows of an instruction, or of a beat where beats are wider

localparam ROW_WIDTH = `VDLA_BUS_WIDTH < `VDLA_INSTRUCTION_WIDTH ? `VDLA_INSTRUCTION_WIDTH : `VDLA_BUS_WIDTH;
localparam PARTS     = ROW_WIDTH / `VDLA_BUS_WIDTH;         // beats of a row
localparam PER_ROW   = ROW_WIDTH / `VDLA_INSTRUCTION_WIDTH; // instructions of a row
localparam ROWS      = SLOTS / PER_ROW;
localparam ROW_INDEX = $clog2(ROWS);

reg [31:0] read_q; // instructions read from the buffer

wire [31:0]          write_row_number = received_q / PARTS;
wire [31:0]          read_row_number  = read_q / PER_ROW;
wire [ROW_INDEX-1:0] write_row        = write_row_number[ROW_INDEX-1:0];
wire [ROW_INDEX-1:0] read_row         = read_row_number[ROW_INDEX-1:0];
wire [ROW_WIDTH-1:0] row;

genvar p;
generate for (p = 0; p < PARTS; p = p + 1) begin: part
    reg [`VDLA_BUS_WIDTH-1:0] memory [0:ROWS-1];
    always @(posedge clk)
        if (r_valid && received_q % PARTS == p)
            memory[write_row] <= r_data;
    assign row[p * `VDLA_BUS_WIDTH +: `VDLA_BUS_WIDTH] = memory[read_row];
end endgenerate

always @(posedge clk)
    if (rst)
        received_q <= 0;
    else if (r_valid)
        received_q <= received_q + 1;

// ----------------------------------------------------------------------------
// Head: the instruction to dispatch. A block can be read when all of it has come.

reg                               head_valid_q;
reg [`VDLA_INSTRUCTION_WIDTH-1:0] head_q;

wire [31:0] blocks_in   = received_q / BLOCK_BEATS;
wire        block_there = read_q[31:3] < blocks_in[28:0] || received_q == total && total != 0;
wire        dispatch;
wire        read        = block_there && read_q != program_length && (!head_valid_q || dispatch);

wire [ROW_WIDTH-1:0] row_shifted = row >> ((read_q % PER_ROW) * `VDLA_INSTRUCTION_WIDTH);

always @(posedge clk)
    if (rst) begin
        head_valid_q <= 1'b0;
        read_q       <= 0;
    end else begin
        head_valid_q <= read || head_valid_q && !dispatch;
        if (read)
            read_q <= read_q + 1;
    end

always @(posedge clk)
    if (read)
        head_q <= row_shifted[`VDLA_INSTRUCTION_WIDTH-1:0];

// ----------------------------------------------------------------------------
// Dispatch

reg [2:0] target; // one bit for each queue; none: the instruction does not exist

wire [2:0] buffer = head_q[`VDLA_DMA_BUFFER_BITS];

always @(*) begin
    target = 3'b000;
    case (head_q[`VDLA_INSN_OPCODE_BITS])
        `VDLA_OPCODE_LOAD:
            case (buffer)
                `VDLA_BUFFER_WGT, `VDLA_BUFFER_INP:                    target = 3'b001;
                `VDLA_BUFFER_UOP, `VDLA_BUFFER_ACC, `VDLA_BUFFER_OUT:  target = 3'b010;
                default:                                               target = 3'b000;
            endcase
        `VDLA_OPCODE_STORE:  target = buffer == `VDLA_BUFFER_OUT ? 3'b100 : 3'b000;
        `VDLA_OPCODE_GEMM:   target = head_q[`VDLA_GEMM_MODE_BITS] <= `VDLA_GEMM_MODE_RESET ? 3'b010 : 3'b000;
        `VDLA_OPCODE_ALU:    target = head_q[`VDLA_ALU_OP_BITS] <= `VDLA_ALU_OP_RESCALE ? 3'b010 : 3'b000;
        `VDLA_OPCODE_FINISH: target = 3'b010;
        default:             target = 3'b000;
    endcase
end

assign dispatch       = head_valid_q && !halt && |(target & dispatch_ready);
assign dispatch_valid = target & {3{head_valid_q && !halt}};
assign dispatch_insn  = head_q;
assign bad            = head_valid_q && target == 3'b000;
assign waiting        = head_valid_q && !halt && !dispatch;
assign all_dispatched = dispatched == program_length;

always @(posedge clk)
    if (rst) begin
        dispatched <= 0;
        blocks_q   <= 0;
    end else if (dispatch) begin
        dispatched <= dispatched + 1;
        blocks_q   <= blocks_q + {28'b0, &dispatched[2:0]};
    end

endmodule

`default_nettype wire
