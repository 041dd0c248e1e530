// The vector unit: GEMM's accumulation and the ALU's operations, one acc tile a cycle.
//
//     stage  P0   acc is read (`read_*`)
//            P1   the data come
//            P2   operand registers
//            P3   GEMM: the sum. Short operations: sum and comparisons. Long ones: stage 0 of vdla_rescale
//            P4   short operations: the result is chosen
//            W    the result is written: W is P4 of GEMM, P5 of the short operations, P12 of the long ones
//
// A read by GEMM sees every write of an earlier step, one by the ALU every write of a step that issued two cycles before
// (ten, after a long operation; vdla_steps sees to that), because what is read too early is replaced by
//
//     in P2   `fresh`, what GEMM or a short operation is about to write in the next cycle
//     in P2   what is in W
//     in P1   what is in W, and what was there one cycle ago (in P0 it was being written)
//
// the youngest first. Whether it is replaced is known one cycle ahead, from the entries under way.

`default_nettype none

`include "vdla_config.vh"

module vdla_vector #(
    parameter WRITE_AGE = 11
) (
    input  wire                             clk,
    input  wire                             rst,

    input  wire                             gemm,       // these hold for the whole instruction
    input  wire [1:0]                       gemm_mode,
    input  wire [3:0]                       alu_op,
    input  wire                             use_imm,
    input  wire [15:0]                      imm,
    input  wire                             long,

    input  wire                             read_valid, // P0
    input  wire [1:0]                       read_what,
    input  wire [`VDLA_ACC_INDEX_WIDTH-1:0] read_entry,
    input  wire [`VDLA_ACC_TILE_WIDTH-1:0]  acc,        // P1
    input  wire [`VDLA_ACC_TILE_WIDTH-1:0]  totals,     // P2, of the GEMM core

    input  wire [WRITE_AGE:1]               issued,     // the long operations under way, by age
    input  wire [`VDLA_ACC_INDEX_WIDTH-1:0] late_entry, // what the oldest writes

    output reg                              wr_valid,   // W
    output reg  [`VDLA_ACC_INDEX_WIDTH-1:0] wr_entry,
    output reg  [`VDLA_ACC_TILE_WIDTH-1:0]  wr_data
);

`include "vdla_reads.vh"

localparam ACC = `VDLA_ACC_INDEX_WIDTH;
localparam W   = `VDLA_ACC_TILE_WIDTH;

reg keeps_q;    // GEMM adds to acc
reg resets_q;
reg inverted_q; // CLIP between bounds of which the lower one is above the upper one

always @(posedge clk) begin
    keeps_q    <= gemm && gemm_mode == `VDLA_GEMM_MODE_ACCUMULATE || !gemm;
    resets_q   <= gemm_mode == `VDLA_GEMM_MODE_RESET;
    inverted_q <= $signed(imm[7:0]) > $signed(imm[15:8]);
end

// ----------------------------------------------------------------------------
// Entries under way. `p*_writes`: a write of GEMM or a short operation, which P3 or P4 will make `fresh`.

reg           p1_valid;
reg           p2_valid;
reg           p1_writes;
reg           p2_writes;
reg           p3_writes;
reg           p4_writes;
reg [1:0]     p1_what;
reg [1:0]     p2_what;
reg [ACC-1:0] p1_entry;
reg [ACC-1:0] p2_entry;
reg [ACC-1:0] p3_entry;
reg [ACC-1:0] p4_entry;

always @(posedge clk)
    if (rst) begin
        p1_valid  <= 1'b0;
        p2_valid  <= 1'b0;
        p1_writes <= 1'b0;
        p2_writes <= 1'b0;
        p3_writes <= 1'b0;
        p4_writes <= 1'b0;
        wr_valid  <= 1'b0;
    end else begin
        p1_valid  <= read_valid;
        p2_valid  <= p1_valid;
        p1_writes <= read_valid && read_what == READ_DST && !long;
        p2_writes <= p1_writes;
        p3_writes <= p2_writes;
        p4_writes <= p3_writes && !gemm;
        wr_valid  <= next_valid;
    end

wire           late       = issued[WRITE_AGE];
wire           next_valid = late || (gemm ? p3_writes : p4_writes); // what W will have in the next cycle
wire [ACC-1:0] next_entry = late ? late_entry : gemm ? p3_entry : p4_entry;

reg p1_from_w;
reg p1_from_last;
reg p2_from_fresh;
reg p2_from_w;

always @(posedge clk) begin
    p1_what       <= read_what;
    p2_what       <= p1_what;
    p1_entry      <= read_entry;
    p2_entry      <= p1_entry;
    p3_entry      <= p2_entry;
    p4_entry      <= p3_entry;
    wr_entry      <= next_entry;
    p1_from_w     <= next_valid && next_entry == read_entry;
    p1_from_last  <= wr_valid && wr_entry == read_entry;
    p2_from_fresh <= gemm ? p2_writes && p2_entry == p1_entry : p3_writes && p3_entry == p1_entry;
    p2_from_w     <= next_valid && next_entry == p1_entry;
end

// ----------------------------------------------------------------------------
// P1, P2: operands

wire [W-1:0] fresh;
reg  [W-1:0] last_q;
reg  [W-1:0] data_q;
reg  [W-1:0] x_q;
reg  [W-1:0] y_q;
reg  [W-1:0] bias_q;
reg  [W-1:0] scale_q;

wire [W-1:0] tile = p2_from_fresh ? fresh : p2_from_w ? wr_data : data_q;

always @(posedge clk)
    if (wr_valid)
        last_q <= wr_data;

always @(posedge clk)
    if (p1_valid)
        data_q <= p1_from_w ? wr_data : p1_from_last ? last_q : acc;

always @(posedge clk)
    if (p2_valid) begin
        if (p2_what == READ_DST)
            x_q <= keeps_q ? tile : {W{1'b0}};
        if (gemm)
            y_q <= resets_q ? {W{1'b0}} : totals;
        else if (use_imm)
            y_q <= {`VDLA_LANES{{16{imm[15]}}, imm}};
        else if (p2_what == READ_SRC)
            y_q <= tile;
        if (p2_what == READ_BIAS)
            bias_q <= tile;
        if (p2_what == READ_SCALE)
            scale_q <= tile;
    end

// ----------------------------------------------------------------------------
// P3, P4, W: one lane for each element

wire [W-1:0] late_data;
wire [31:0]  low_bound  = {{24{imm[7]}}, imm[7:0]};
wire [31:0]  high_bound = {{24{imm[15]}}, imm[15:8]};

genvar e;
generate for (e = 0; e < `VDLA_LANES; e = e + 1) begin: lane
    wire [31:0] x   = x_q[32 * e +: 32];
    wire [31:0] y   = y_q[32 * e +: 32];
    wire [31:0] sum = x + y;
    reg  [31:0] x_4;
    reg  [31:0] y_4;
    reg  [31:0] sum_4;
    reg         less_4;
    reg         below_4;
    reg         above_4;
    reg  [31:0] value;

    always @(posedge clk)
        if (p3_writes && !gemm) begin
            x_4     <= x;
            y_4     <= y;
            sum_4   <= sum;
            less_4  <= $signed(x) < $signed(y);
            below_4 <= $signed(x) < $signed(low_bound);
            above_4 <= $signed(x) > $signed(high_bound);
        end

    always @(*)
        case (alu_op)
            `VDLA_ALU_OP_MIN:  value = less_4 ? x_4 : y_4;
            `VDLA_ALU_OP_MAX:  value = less_4 ? y_4 : x_4;
            `VDLA_ALU_OP_MOV:  value = y_4;
            `VDLA_ALU_OP_CLIP: value = above_4 || inverted_q ? high_bound : below_4 ? low_bound : x_4;
            default:           value = sum_4;
        endcase

    assign fresh[32 * e +: 32] = gemm ? sum : value;

    vdla_rescale rescale (
        .clk         (clk),
        .stage       (issued[10:3]),
        .op_multiply (alu_op == `VDLA_ALU_OP_MUL),
        .op_left     (alu_op == `VDLA_ALU_OP_SHL),
        .op_right    (alu_op == `VDLA_ALU_OP_SHR),
        .op_clip     (alu_op == `VDLA_ALU_OP_REQUANTISE),
        .immediate   (use_imm),
        .inverted    (inverted_q),
        .low         (imm[7:0]),
        .high        (imm[15:8]),
        .x           (x),
        .y           (y),
        .bias        (bias_q[32 * e +: 32]),
        .scale       (scale_q[32 * e +: 32]),
        .result      (late_data[32 * e +: 32])
    );
end endgenerate

always @(posedge clk)
    if (next_valid)
        wr_data <= late ? late_data : fresh;

endmodule

`default_nettype wire
