// FETCH: reads the program in blocks of VDLA_FETCH_BLOCK instructions into a buffer of VDLA_FETCH_BLOCKS blocks and
// dispatches them in order, one a cycle, each to the command queue of its unit.
//
//     cycle
//     b          the last instruction of a block is dispatched: its place is free
//     b + 1      first burst of the block that replaces it is requested; then one a cycle. (Of the first blocks: when
//                `halt` falls.)
//     c          last beat of a block is taken; beats go to the buffer as they come
//     c + 1      its first instruction is read from the buffer, and which queue it is for
//     c + 2      it is dispatched, if that queue has room
//
// All bursts have the same length, but that the program's last may be shorter: it begins at a multiple of 4 KiB, and both
// blocks and bursts are powers of two.
//
// An instruction that does not exist stops FETCH for good: `bad` stays high. `program_address` and `program_length` are
// there from the cycle before the last one of `rst`, and stay.

`default_nettype none

`include "vdla_config.vh"

module vdla_fetch (
    input  wire                               clk,
    input  wire                               rst,
    input  wire                               halt,            // ask for and dispatch nothing more

    input  wire [`VDLA_ADDRESS_WIDTH-1:0]     program_address, // a multiple of 4 KiB
    input  wire [31:0]                        program_length,  // instructions, > 0

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
    output reg                                all_dispatched,
    output wire                               quiet            // nothing requested is outstanding
);

localparam BLOCK_BYTES = `VDLA_FETCH_BLOCK * `VDLA_INSTRUCTION_WIDTH / 8;
localparam BLOCK_BEATS = BLOCK_BYTES / `VDLA_BUS_BYTES;
localparam SLOTS       = `VDLA_FETCH_BLOCKS * `VDLA_FETCH_BLOCK; // instructions in the buffer
localparam BEATS       = `VDLA_FETCH_BLOCKS * BLOCK_BEATS;       // beats in the buffer
localparam BURST       = `VDLA_MAX_BURST < BLOCK_BEATS ? `VDLA_MAX_BURST : BLOCK_BEATS; // beats of a burst
localparam BURSTS      = BLOCK_BEATS / BURST;                    // bursts of a block
localparam ROOM        = `VDLA_FETCH_BLOCKS * BURSTS;            // bursts in the buffer
localparam INSN_SHIFT  = $clog2(`VDLA_INSTRUCTION_WIDTH / 8);
localparam BURST_SHIFT = $clog2(BURST * `VDLA_BUS_BYTES);
localparam BYTES_WIDTH = 32 + INSN_SHIFT;                        // of a program's size
localparam LEFT_WIDTH  = BYTES_WIDTH - BURST_SHIFT;
localparam ROOM_WIDTH  = $clog2(ROOM) + 1;
localparam [7:0] FULL_LENGTH = BURST - 1; // of a whole burst, in beats - 1; a mask

// ----------------------------------------------------------------------------
// The program's size: numbers of its last instruction, byte and burst

reg  [31:0]            last_insn_q;
wire [BYTES_WIDTH-1:0] last_byte  = {last_insn_q, {INSN_SHIFT{1'b1}}};
wire [LEFT_WIDTH-1:0]  last_burst = last_byte[BYTES_WIDTH-1:BURST_SHIFT];
wire [7:0]             last_beat  = last_byte[`VDLA_BUS_SHIFT +: 8] & FULL_LENGTH; // in its burst

always @(posedge clk)
    last_insn_q <= program_length - 1;

// ----------------------------------------------------------------------------
// Requests. What a request needs is counted: bursts of the program, room in the buffer, and bursts that may still be in
// flight. Whether there is some of each is worked out a cycle ahead.

localparam [6:0] OUTSTANDING = `VDLA_OUTSTANDING;

wire [ROOM_WIDTH-1:0] freed = BURSTS[ROOM_WIDTH-1:0];

reg [`VDLA_ADDRESS_WIDTH-1:BURST_SHIFT] address_q; // of the next burst
reg [LEFT_WIDTH-1:0] left_q;    // bursts of the program after it
reg                  more_q;    // it is not behind the program's end
reg                  final_q;   // it is the program's last: left_q == 0
reg [ROOM_WIDTH-1:0] room_q;    // bursts for which the buffer has room
reg [6:0]            flying_q;  // bursts requested and not over
reg                  may_ask_q; // there is a burst, room for it, and fewer than OUTSTANDING in flight
reg                  pending_q; // a request is on the bus

wire frees;                      // a block of the buffer
wire ar_fire = ar_valid && ar_ready;
wire r_over  = r_valid && r_last;
wire more_d  = ar_fire ? !final_q : more_q;
wire room_d  = frees || (ar_fire ? room_q != 1 : room_q != 0);
wire slot_d  = r_over || flying_q != (ar_fire ? OUTSTANDING - 1 : OUTSTANDING);

assign ar_valid   = pending_q || !halt && may_ask_q;
assign ar_address = {address_q, {BURST_SHIFT{1'b0}}};
assign ar_length  = final_q ? last_beat : FULL_LENGTH;
assign quiet      = flying_q == 0 && !pending_q;

always @(posedge clk)
    if (rst) begin
        pending_q <= 1'b0;
        may_ask_q <= 1'b1;
    end else begin
        pending_q <= ar_valid && !ar_ready;
        may_ask_q <= more_d && room_d && slot_d;
    end

always @(posedge clk)
    if (rst) begin
        address_q <= program_address[`VDLA_ADDRESS_WIDTH-1:BURST_SHIFT];
        left_q    <= last_burst;
        more_q    <= 1'b1;
        final_q   <= last_burst == 0;
    end else if (ar_fire) begin
        address_q <= address_q + 1;
        left_q    <= left_q - 1;
        more_q    <= !final_q;
        final_q   <= left_q == 1;
    end

always @(posedge clk)
    if (rst)
        room_q <= ROOM[ROOM_WIDTH-1:0];
    else if (frees)
        room_q <= room_q + (ar_fire ? freed - 1 : freed);
    else if (ar_fire)
        room_q <= room_q - 1;

always @(posedge clk)
    if (rst)
        flying_q <= 0;
    else if (ar_fire && !r_over)
        flying_q <= flying_q + 1;
    else if (r_over && !ar_fire)
        flying_q <= flying_q - 1;

// ----------------------------------------------------------------------------
// Buffer: rows of an instruction, or of a beat where beats are wider

localparam ROW_WIDTH = `VDLA_BUS_WIDTH < `VDLA_INSTRUCTION_WIDTH ? `VDLA_INSTRUCTION_WIDTH : `VDLA_BUS_WIDTH;
localparam PARTS     = ROW_WIDTH / `VDLA_BUS_WIDTH;         // beats of a row
localparam PER_ROW   = ROW_WIDTH / `VDLA_INSTRUCTION_WIDTH; // instructions of a row
localparam ROWS      = SLOTS / PER_ROW;
localparam ROW_INDEX = $clog2(ROWS);
localparam BEAT      = $clog2(BEATS);
localparam SLOT      = $clog2(SLOTS);
localparam LAST_BEAT = BLOCK_BEATS - 1;                     // of a block; a mask

reg [BEAT-1:0] write_q; // place of the next beat
reg [SLOT-1:0] read_q;  // place of the next instruction

wire [31:0]          write_place = {{32 - BEAT{1'b0}}, write_q};
wire [31:0]          read_place  = {{32 - SLOT{1'b0}}, read_q};
wire [ROW_INDEX-1:0] write_row   = write_q[BEAT-1:BEAT-ROW_INDEX];
wire [ROW_INDEX-1:0] read_row    = read_q[SLOT-1:SLOT-ROW_INDEX];
wire [ROW_WIDTH-1:0] row;

genvar p;
generate for (p = 0; p < PARTS; p = p + 1) begin: part
    reg [`VDLA_BUS_WIDTH-1:0] memory [0:ROWS-1];
    always @(posedge clk)
        if (r_valid && write_place % PARTS == p)
            memory[write_row] <= r_data;
    assign row[p * `VDLA_BUS_WIDTH +: `VDLA_BUS_WIDTH] = memory[read_row];
end endgenerate

// The program's last beat ends the last burst in flight after which none is requested.
wire block_in = r_valid && ((write_place & LAST_BEAT) == LAST_BEAT || r_last && !more_q && flying_q == 1);

always @(posedge clk)
    if (rst)
        write_q <= 0;
    else if (r_valid)
        write_q <= write_q + 1;

// ----------------------------------------------------------------------------
// Head: the instruction to dispatch, and what FETCH has to know of it. A block can be read when all of it has come.

localparam READY_WIDTH = $clog2(`VDLA_FETCH_BLOCKS) + 1;

reg [READY_WIDTH-1:0] ready_q;     // blocks that have come and are not read to their end
reg [31:0]            unread_q;    // instructions of the program after the next one to read
reg                   read_last_q; // it is the last: unread_q == 0

reg                               head_valid_q;
reg [`VDLA_INSTRUCTION_WIDTH-1:0] head_q;
reg [2:0]                         head_target_q; // one bit for each queue; none: the instruction does not exist
reg                               head_ends_q;   // last instruction of its block
reg                               head_last_q;   // last instruction of the program

wire dispatch;
wire read      = ready_q != 0 && (!head_valid_q || dispatch);
wire read_ends = read_place % `VDLA_FETCH_BLOCK == `VDLA_FETCH_BLOCK - 1;
wire block_out = read && (read_ends || read_last_q);

wire [ROW_WIDTH-1:0]              row_shifted = row >> ((read_place % PER_ROW) * `VDLA_INSTRUCTION_WIDTH);
wire [`VDLA_INSTRUCTION_WIDTH-1:0] insn       = row_shifted[`VDLA_INSTRUCTION_WIDTH-1:0];

always @(posedge clk)
    if (rst)
        ready_q <= 0;
    else if (block_in && !block_out)
        ready_q <= ready_q + 1;
    else if (block_out && !block_in)
        ready_q <= ready_q - 1;

always @(posedge clk)
    if (rst) begin
        read_q      <= 0;
        unread_q    <= last_insn_q;
        read_last_q <= last_insn_q == 0;
    end else if (read) begin
        read_q      <= read_q + 1;
        unread_q    <= unread_q - 1;
        read_last_q <= unread_q == 1;
    end

always @(posedge clk)
    if (rst)
        head_valid_q <= 1'b0;
    else
        head_valid_q <= read || head_valid_q && !dispatch;

reg [2:0] target;

wire [2:0] buffer = insn[`VDLA_DMA_BUFFER_BITS];

always @(*)
    case (insn[`VDLA_INSN_OPCODE_BITS])
        `VDLA_OPCODE_LOAD:
            case (buffer)
                `VDLA_BUFFER_WGT, `VDLA_BUFFER_INP:                    target = 3'b001;
                `VDLA_BUFFER_UOP, `VDLA_BUFFER_ACC, `VDLA_BUFFER_OUT:  target = 3'b010;
                default:                                               target = 3'b000;
            endcase
        `VDLA_OPCODE_STORE:  target = buffer == `VDLA_BUFFER_OUT ? 3'b100 : 3'b000;
        `VDLA_OPCODE_GEMM:   target = insn[`VDLA_GEMM_MODE_BITS] <= `VDLA_GEMM_MODE_RESET ? 3'b010 : 3'b000;
        `VDLA_OPCODE_ALU:    target = insn[`VDLA_ALU_OP_BITS] <= `VDLA_ALU_OP_LOOKUP ? 3'b010 : 3'b000;
        `VDLA_OPCODE_FINISH: target = 3'b010;
        default:             target = 3'b000;
    endcase

always @(posedge clk)
    if (read) begin
        head_q        <= insn;
        head_target_q <= target;
        head_ends_q   <= read_ends;
        head_last_q   <= read_last_q;
    end

// ----------------------------------------------------------------------------
// Dispatch

assign dispatch       = head_valid_q && !halt && |(head_target_q & dispatch_ready);
assign dispatch_valid = head_target_q & {3{head_valid_q && !halt}};
assign dispatch_insn  = head_q;
assign bad            = head_valid_q && head_target_q == 3'b000;
assign waiting        = head_valid_q && !halt && !dispatch;
assign frees          = dispatch && head_ends_q;

always @(posedge clk)
    if (rst) begin
        dispatched     <= 0;
        all_dispatched <= 1'b0;
    end else if (dispatch) begin
        dispatched     <= dispatched + 1;
        all_dispatched <= head_last_q;
    end

wire _unused = &{1'b0, program_address[BURST_SHIFT-1:0], last_byte[BURST_SHIFT-1:0]};

endmodule

`default_nettype wire
