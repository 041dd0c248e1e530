// The vector unit: GEMM's accumulation and the ALU's operations, one acc tile a cycle.
//
//     stage  P0   acc is read (`read_*`)
//            P1   the data come; operand registers
//            P2   result and write, for GEMM, MIN, MAX, ADD, MOV and CLIP; for the rest, stage 0 of vdla_rescale
//            P7   result and write of the rest (`late_*`)
//
// A read sees every write of an earlier step, whatever its distance: at the end of P1 a result that is being written is
// taken from P2, one that was written in the cycle of the read from `last_q`, and one written before from acc.

`default_nettype none

`include "vdla_config.vh"

module vdla_vector (
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
    input  wire [`VDLA_ACC_TILE_WIDTH-1:0]  totals,     // P1, of the GEMM core

    input  wire [4:0]                       late_stage, // stages of vdla_rescale
    input  wire                             late_valid,
    input  wire [`VDLA_ACC_INDEX_WIDTH-1:0] late_entry,

    output wire                             wr_valid,
    output wire [`VDLA_ACC_INDEX_WIDTH-1:0] wr_entry,
    output wire [`VDLA_ACC_TILE_WIDTH-1:0]  wr_data
);

`include "vdla_reads.vh"

localparam ACC = `VDLA_ACC_INDEX_WIDTH;
localparam W   = `VDLA_ACC_TILE_WIDTH;

wire accumulate = gemm_mode == `VDLA_GEMM_MODE_ACCUMULATE;
wire reset      = gemm_mode == `VDLA_GEMM_MODE_RESET;

// ----------------------------------------------------------------------------
// P1: operands

reg           p1_valid;
reg [1:0]     p1_what;
reg [ACC-1:0] p1_entry;
reg           p1_from_p2;   // what is read is being written now
reg           p1_from_last; // or was, in the last cycle
reg           p2_valid;
reg [ACC-1:0] p2_entry;
reg [W-1:0]   last_q;
wire [W-1:0]  result;

always @(posedge clk)
    if (rst) begin
        p1_valid <= 1'b0;
        p2_valid <= 1'b0;
    end else begin
        p1_valid <= read_valid;
        p2_valid <= p1_valid && p1_what == READ_DST && !long;
    end

always @(posedge clk)
    if (read_valid) begin
        p1_what      <= read_what;
        p1_entry     <= read_entry;
        p1_from_p2   <= p1_valid && p1_what == READ_DST && !long && p1_entry == read_entry;
        p1_from_last <= p2_valid && p2_entry == read_entry;
    end

always @(posedge clk)
    if (p1_valid)
        p2_entry <= p1_entry;

always @(posedge clk)
    if (p2_valid)
        last_q <= result;

wire [W-1:0] tile = p1_from_p2 ? result : p1_from_last ? last_q : acc;

reg [W-1:0] x_q;
reg [W-1:0] y_q;
reg [W-1:0] bias_q;
reg [W-1:0] scale_q;

always @(posedge clk)
    if (p1_valid) begin
        if (p1_what == READ_DST)
            x_q <= gemm && !accumulate ? {W{1'b0}} : tile;
        if (gemm)
            y_q <= reset ? {W{1'b0}} : totals;
        else if (use_imm)
            y_q <= {`VDLA_LANES{{16{imm[15]}}, imm}};
        else if (p1_what == READ_SRC)
            y_q <= tile;
        if (p1_what == READ_BIAS)
            bias_q <= acc;
        if (p1_what == READ_SCALE)
            scale_q <= acc;
    end

// ----------------------------------------------------------------------------
// P2: one lane for each element

wire [W-1:0] late;
wire [31:0]  low_bound  = {{24{imm[7]}}, imm[7:0]};
wire [31:0]  high_bound = {{24{imm[15]}}, imm[15:8]};

genvar e;
generate for (e = 0; e < `VDLA_LANES; e = e + 1) begin: lane
    wire [31:0] x = x_q[32 * e +: 32];
    wire [31:0] y = y_q[32 * e +: 32];
    wire        less = $signed(x) < $signed(y);
    wire [31:0] raised = $signed(x) < $signed(low_bound) ? low_bound : x;
    reg  [31:0] value;
    always @(*)
        case (alu_op)
            `VDLA_ALU_OP_MIN:  value = less ? x : y;
            `VDLA_ALU_OP_MAX:  value = less ? y : x;
            `VDLA_ALU_OP_MOV:  value = y;
            `VDLA_ALU_OP_CLIP: value = $signed(raised) > $signed(high_bound) ? high_bound : raised;
            default:           value = x + y;
        endcase
    assign result[32 * e +: 32] = gemm ? x + y : value;

    vdla_rescale rescale (
        .clk         (clk),
        .stage       (late_stage),
        .op_multiply (alu_op == `VDLA_ALU_OP_MUL),
        .op_left     (alu_op == `VDLA_ALU_OP_SHL),
        .op_right    (alu_op == `VDLA_ALU_OP_SHR),
        .op_clip     (alu_op == `VDLA_ALU_OP_REQUANTISE),
        .immediate   (use_imm),
        .low         (imm[7:0]),
        .high        (imm[15:8]),
        .x           (x),
        .y           (y),
        .bias        (bias_q[32 * e +: 32]),
        .scale       (scale_q[32 * e +: 32]),
        .result      (late[32 * e +: 32])
    );
end endgenerate

assign wr_valid = p2_valid || late_valid;
assign wr_entry = late_valid ? late_entry : p2_entry;
assign wr_data  = late_valid ? late : result;

endmodule

`default_nettype wire
