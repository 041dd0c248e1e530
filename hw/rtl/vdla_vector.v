// The vector unit: GEMM's accumulation and the ALU's operations, one acc tile a cycle.
//
//     stage  P0   acc is read (`read_*`)
//            P1   the data come
//            P2   operand registers
//            P3   GEMM: the sum. Short operations: sum and comparisons; what LOOKUP found, by an address that is the
//                 operand on its way to its register. Long ones: stage 0 of vdla_rescale
//            P4   short operations: the result is chosen: `value`
//            W    the result is written: W is P4 of GEMM, P5 of the short operations, P14 of the long ones
//
// A read by GEMM sees every write of an earlier step, one by the ALU every write of a step that issued two cycles before
// (twelve, after a long operation; vdla_steps sees to that), because what is read too early is replaced by
//
//     in P2   `sum` or `value`, what GEMM or a short operation is about to write in the next cycle
//     in P2   what is in W
//     in P1   what is in W, and what was there one cycle ago (in P0 it was being written)
//
// the youngest first. Whether it is replaced is known one cycle ahead, from the entries under way.

`default_nettype none

`include "vdla_config.vh"

module vdla_vector #(
    parameter WRITE_AGE = 13
) (
    input  wire                             clk,
    input  wire                             rst,

    input  wire                             begun,
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

    input  wire [WRITE_AGE:1]               issued,     // the long operations under way, by age
    input  wire [`VDLA_ACC_INDEX_WIDTH-1:0] late_entry, // what the oldest writes

    output reg                              wr_valid,   // W
    output reg  [`VDLA_ACC_INDEX_WIDTH-1:0] wr_entry,
    output reg  [`VDLA_ACC_TILE_WIDTH-1:0]  wr_data
);

`include "vdla_reads.vh"

localparam ACC = `VDLA_ACC_INDEX_WIDTH;
localparam W   = `VDLA_ACC_TILE_WIDTH;

// The operation, decoded
reg keeps_q;    // not a GEMM that overwrites acc
reg y_given_q;  // y is not read from acc
reg resets_q;
reg min_q;
reg max_q;
reg move_q;
reg look_up_q;
reg tabulate_q;
reg multiply_q;
reg left_q;
reg right_q;
reg scales_q;
reg clip_q;     // to bounds: REQUANTISE or CLIP

always @(posedge clk) begin
    keeps_q    <= !gemm || gemm_mode == `VDLA_GEMM_MODE_ACCUMULATE;
    y_given_q  <= gemm || use_imm;
    resets_q   <= gemm_mode == `VDLA_GEMM_MODE_RESET;
    min_q      <= alu_op == `VDLA_ALU_OP_MIN;
    max_q      <= alu_op == `VDLA_ALU_OP_MAX;
    move_q     <= alu_op == `VDLA_ALU_OP_MOV;
    look_up_q  <= alu_op == `VDLA_ALU_OP_LOOKUP;
    tabulate_q <= alu_op == `VDLA_ALU_OP_TABULATE && !gemm;
    multiply_q <= alu_op == `VDLA_ALU_OP_MUL;
    left_q     <= alu_op == `VDLA_ALU_OP_SHL;
    right_q    <= alu_op == `VDLA_ALU_OP_SHR;
    scales_q   <= alu_op == `VDLA_ALU_OP_REQUANTISE || alu_op == `VDLA_ALU_OP_RESCALE;
    clip_q     <= alu_op == `VDLA_ALU_OP_REQUANTISE || alu_op == `VDLA_ALU_OP_CLIP;
end

// ----------------------------------------------------------------------------
// Entries under way. `p*_writes`: a write of GEMM or a short operation, whose result comes in P3 or P4.

reg           p1_valid;
reg           p1_writes;
reg           p2_writes;
reg           p3_writes;
reg           p4_writes;
reg [1:0]     p1_what;
reg [ACC-1:0] p1_entry;
reg [ACC-1:0] p2_entry;
reg [ACC-1:0] p3_entry;
reg [ACC-1:0] p4_entry;

always @(posedge clk)
    if (rst) begin
        p1_valid  <= 1'b0;
        p1_writes <= 1'b0;
        p2_writes <= 1'b0;
        p3_writes <= 1'b0;
        p4_writes <= 1'b0;
        wr_valid  <= 1'b0;
    end else begin
        p1_valid  <= read_valid;
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
wire sum_next   = gemm && p2_writes && p2_entry == p1_entry;  // what P1 has read is the result in the next cycle
wire value_next = !gemm && p3_writes && p3_entry == p1_entry;
wire write_next = next_valid && next_entry == p1_entry;       // or is in W

always @(posedge clk) begin
    p1_what       <= read_what;
    p1_entry      <= read_entry;
    p2_entry      <= p1_entry;
    p3_entry      <= p2_entry;
    p4_entry      <= p3_entry;
    wr_entry      <= next_entry;
    p1_from_w     <= next_valid && next_entry == read_entry;
    p1_from_last  <= wr_valid && wr_entry == read_entry;
end

// ----------------------------------------------------------------------------
// P1, P2: operands

localparam [1:0] DATA = 2'd0, WRITTEN = 2'd1, SUM = 2'd2, VALUE = 2'd3;

wire [1:0] source = sum_next ? SUM : value_next ? VALUE : write_next ? WRITTEN : DATA;

reg  [W-1:0] last_q;
reg  [W-1:0] data_q;
reg          x_loads_q; // in P2
reg          y_loads_q;
reg          bias_loads_q;
reg          scale_loads_q;

always @(posedge clk) begin
    x_loads_q     <= p1_valid && p1_what == READ_DST;
    y_loads_q     <= p1_valid && (y_given_q || p1_what == READ_SRC);
    bias_loads_q  <= p1_valid && p1_what == READ_BIAS;
    scale_loads_q <= p1_valid && p1_what == READ_SCALE;
end

always @(posedge clk)
    if (wr_valid)
        last_q <= wr_data;

always @(posedge clk)
    if (p1_valid)
        data_q <= p1_from_w ? wr_data : p1_from_last ? last_q : acc;

// ----------------------------------------------------------------------------
// P2, P3, P4: one lane for each element

wire [W-1:0] sum;
wire [W-1:0] value;
wire [W-1:0] late_data;

wire [8*`VDLA_LANES-1:0] level;
wire [8*`VDLA_LANES-1:0] found;

vdla_table table_of_levels (
    .clk   (clk),
    .rst   (rst),
    .begun (begun),
    .first (imm[7:0]),
    .write (wr_valid && tabulate_q),
    .tile  (wr_data),
    .read  (x_loads_q),
    .level (level),
    .found (found)
);

genvar e;
generate for (e = 0; e < `VDLA_LANES; e = e + 1) begin: lane
    localparam A = 32 * e;
    (* keep *)
    reg [1:0]  source_q; // one a lane for tools that heed `keep` on a register; Yosys makes one of them all
    reg [31:0] tile;     // what was read, for all but GEMM, which has the sum of the step before
    reg [31:0] given_q;  // y, where it is not read from acc
    reg [31:0] x_q;
    reg [31:0] y_q;
    reg [31:0] bias_q;
    reg [31:0] scale_q;

    always @(posedge clk)
        source_q <= source;

    always @(*)
        case (source_q)
            VALUE:   tile = value[A +: 32];
            WRITTEN: tile = wr_data[A +: 32];
            default: tile = data_q[A +: 32];
        endcase

    assign level[8 * e +: 8] = tile[7:0];

    always @(posedge clk) begin
        given_q <= !gemm ? {{16{imm[15]}}, imm} : resets_q ? 32'd0 : totals[A +: 32];
        if (x_loads_q)
            x_q <= !keeps_q ? 32'd0 : source_q == SUM ? sum[A +: 32] : tile;
        if (y_loads_q)
            y_q <= y_given_q ? given_q : tile;
        if (bias_loads_q)
            bias_q <= tile;
        if (scale_loads_q)
            scale_q <= tile;
    end

    wire       less = $signed(x_q) < $signed(y_q);
    reg [31:0] x_4;
    reg [31:0] y_4;
    reg [31:0] sum_4;
    reg [7:0]  found_4;
    reg        takes_y_4; // both of these: what was found
    reg        adds_4;

    assign sum[A +: 32]   = x_q + y_q;
    assign value[A +: 32] = adds_4 ? (takes_y_4 ? {{24{found_4[7]}}, found_4} : sum_4) : takes_y_4 ? y_4 : x_4;

    always @(posedge clk) begin
        x_4       <= x_q;
        found_4   <= found[8 * e +: 8];
        y_4       <= y_q;
        sum_4     <= sum[A +: 32];
        takes_y_4 <= min_q && !less || max_q && less || move_q || look_up_q;
        adds_4    <= !min_q && !max_q && !move_q && !tabulate_q;
    end

    vdla_rescale rescale (
        .clk         (clk),
        .stage       (issued[12:3]),
        .op_multiply (multiply_q),
        .op_left     (left_q),
        .op_right    (right_q),
        .op_scale    (scales_q),
        .op_clip     (clip_q),
        .immediate   (use_imm),
        .low         (imm[7:0]),
        .high        (imm[15:8]),
        .x           (x_q),
        .y           (y_q),
        .bias        (bias_q),
        .scale       (scale_q),
        .result      (late_data[A +: 32])
    );
end endgenerate

always @(posedge clk)
    wr_data <= late ? late_data : gemm ? sum : value;

endmodule

`default_nettype wire
