// Walks the micro-ops of a GEMM or ALU instruction: outer loop, inner loop, micro-ops; one step a cycle while `advance`.
//
//     stage   of the first step of an instruction that starts in t
//             t + 1   `insn` is there and decoded
//             t + 2   `begun`: the loops are set up
//     A       t + 3   the uop memory is read
//     B       t + 4   the loops' offsets are added to the micro-op's indices
//     C       t + 5   `step_valid`, with the step's indices; they are checked
//
// After the last step comes one `end_valid` in stage C instead of a step; an instruction without steps has only that.
// `advance` low holds all three stages. A step with an index outside its memory has `step_fault`.

`default_nettype none

`include "vdla_config.vh"

module vdla_sequencer #(
    parameter UOP_INDEX = `VDLA_UOP_INDEX_WIDTH,
    parameter SRC_WIDTH = `VDLA_UOP_SRC_WIDTH // of a micro-op's src
) (
    input  wire                               clk,
    input  wire                               rst,

    input  wire                               begun,
    input  wire [`VDLA_INSTRUCTION_WIDTH-1:0] insn,
    input  wire                               advance,

    output wire                               uop_valid,
    output wire [UOP_INDEX-1:0]               uop_entry,
    input  wire [`VDLA_UOP_WIDTH-1:0]         uop_data,

    output reg                                step_valid,
    output reg                                end_valid,
    output wire [`VDLA_ACC_INDEX_WIDTH-1:0]   step_dst,
    output wire [SRC_WIDTH-1:0]               step_src,
    output wire [`VDLA_WGT_INDEX_WIDTH-1:0]   step_wgt,
    output wire                               step_fault
);

localparam UOP = `VDLA_UOP_INDEX_WIDTH;
localparam DST = `VDLA_ACC_INDEX_WIDTH;
localparam SRC = SRC_WIDTH;
localparam WGT = `VDLA_WGT_INDEX_WIDTH;
localparam INP = `VDLA_INP_INDEX_WIDTH;
localparam L   = `VDLA_GEMM_LOOP_OUTER_WIDTH;

// An offset is at most one stride above a range in which every earlier step has stayed.
localparam DST_W = DST + 2;
localparam SRC_W = SRC + 2;
localparam WGT_W = WGT + 2;

// ----------------------------------------------------------------------------
// Fields. GEMM and ALU have the same loops in different places.

reg            alu_q;
reg            loops_q; // it is GEMM or ALU
reg            walks_q; // it has steps
wire           alu_d     = insn[`VDLA_INSN_OPCODE_BITS] == `VDLA_OPCODE_ALU;
wire           starts    = begun && loops_q;
wire [UOP-1:0] uop_begin = alu_q ? insn[`VDLA_ALU_UOP_BEGIN_BITS] : insn[`VDLA_GEMM_UOP_BEGIN_BITS];
wire [UOP:0]   uop_end   = alu_q ? insn[`VDLA_ALU_UOP_END_BITS] : insn[`VDLA_GEMM_UOP_END_BITS];
wire [L-1:0]   outer     = alu_q ? insn[`VDLA_ALU_LOOP_OUTER_BITS] : insn[`VDLA_GEMM_LOOP_OUTER_BITS];
wire [L-1:0]   inner     = alu_q ? insn[`VDLA_ALU_LOOP_INNER_BITS] : insn[`VDLA_GEMM_LOOP_INNER_BITS];
wire           alu_walks  = insn[`VDLA_ALU_UOP_END_BITS] > {1'b0, insn[`VDLA_ALU_UOP_BEGIN_BITS]} &&
                            |insn[`VDLA_ALU_LOOP_OUTER_BITS] && |insn[`VDLA_ALU_LOOP_INNER_BITS];
wire           gemm_walks = insn[`VDLA_GEMM_UOP_END_BITS] > {1'b0, insn[`VDLA_GEMM_UOP_BEGIN_BITS]} &&
                            |insn[`VDLA_GEMM_LOOP_OUTER_BITS] && |insn[`VDLA_GEMM_LOOP_INNER_BITS];

always @(posedge clk) begin
    alu_q   <= alu_d;
    loops_q <= alu_d || insn[`VDLA_INSN_OPCODE_BITS] == `VDLA_OPCODE_GEMM;
    walks_q <= alu_d ? alu_walks : gemm_walks;
end

wire [DST-1:0] dst_outer = alu_q ? insn[`VDLA_ALU_DST_OUTER_BITS] : insn[`VDLA_GEMM_DST_OUTER_BITS];
wire [DST-1:0] dst_inner = alu_q ? insn[`VDLA_ALU_DST_INNER_BITS] : insn[`VDLA_GEMM_DST_INNER_BITS];
wire [SRC-1:0] src_outer = alu_q ? {{SRC - DST{1'b0}}, insn[`VDLA_ALU_SRC_OUTER_BITS]}
                               : {{SRC - INP{1'b0}}, insn[`VDLA_GEMM_SRC_OUTER_BITS]};
wire [SRC-1:0] src_inner = alu_q ? {{SRC - DST{1'b0}}, insn[`VDLA_ALU_SRC_INNER_BITS]}
                               : {{SRC - INP{1'b0}}, insn[`VDLA_GEMM_SRC_INNER_BITS]};
wire [WGT-1:0] wgt_outer = insn[`VDLA_GEMM_WGT_OUTER_BITS];
wire [WGT-1:0] wgt_inner = insn[`VDLA_GEMM_WGT_INNER_BITS];

// ----------------------------------------------------------------------------
// A: loops

reg             walking_q; // steps are left
reg             ending_q;  // the end is to be sent
reg [UOP:0]     uop_q;
reg [L-1:0]     outer_q;   // iterations after this one
reg [L-1:0]     inner_q;
reg [DST_W-1:0] dst_row_q; // offsets at the start of this outer iteration
reg [SRC_W-1:0] src_row_q;
reg [WGT_W-1:0] wgt_row_q;
reg [DST_W-1:0] dst_q;     // offsets of this step
reg [SRC_W-1:0] src_q;
reg [WGT_W-1:0] wgt_q;
reg [UOP:0]     last_uop_q;

wire ends_inner = uop_q == last_uop_q;
wire ends_outer = ends_inner && inner_q == 0;
wire ends       = ends_outer && outer_q == 0;

wire [DST_W-1:0] dst_next_row = dst_row_q + {2'b0, dst_outer};
wire [SRC_W-1:0] src_next_row = src_row_q + {2'b0, src_outer};
wire [WGT_W-1:0] wgt_next_row = wgt_row_q + {2'b0, wgt_outer};

assign uop_valid = walking_q && advance;
assign uop_entry = uop_q[UOP_INDEX-1:0];

always @(posedge clk)
    if (rst) begin
        walking_q <= 1'b0;
        ending_q  <= 1'b0;
    end else if (starts) begin
        walking_q <= walks_q;
        ending_q  <= 1'b1;
    end else if (advance) begin
        walking_q <= walking_q && !ends;
        ending_q  <= ending_q && walking_q;
    end

always @(posedge clk)
    if (starts) begin
        uop_q      <= {1'b0, uop_begin};
        last_uop_q <= uop_end - 1;
        outer_q    <= outer - 1;
        inner_q    <= inner - 1;
        dst_row_q  <= 0;
        src_row_q  <= 0;
        wgt_row_q  <= 0;
        dst_q      <= 0;
        src_q      <= 0;
        wgt_q      <= 0;
    end else if (advance && walking_q) begin
        uop_q <= ends_inner ? {1'b0, uop_begin} : uop_q + 1;
        if (ends_outer) begin
            outer_q   <= outer_q - 1;
            inner_q   <= inner - 1;
            dst_row_q <= dst_next_row;
            src_row_q <= src_next_row;
            wgt_row_q <= wgt_next_row;
            dst_q     <= dst_next_row;
            src_q     <= src_next_row;
            wgt_q     <= wgt_next_row;
        end else if (ends_inner) begin
            inner_q <= inner_q - 1;
            dst_q   <= dst_q + {2'b0, dst_inner};
            src_q   <= src_q + {2'b0, src_inner};
            wgt_q   <= wgt_q + {2'b0, wgt_inner};
        end
    end

// ----------------------------------------------------------------------------
// B: the micro-op comes; its indices

reg             b_valid_q;
reg             b_end_q;
reg             b_fault_q;
reg [DST_W-1:0] b_dst_q;
reg [SRC_W-1:0] b_src_q;
reg [WGT_W-1:0] b_wgt_q;

always @(posedge clk)
    if (rst) begin
        b_valid_q <= 1'b0;
        b_end_q   <= 1'b0;
    end else if (advance) begin
        b_valid_q <= walking_q;
        b_end_q   <= ending_q && !walking_q;
    end

localparam [UOP:0] UOPS = `VDLA_UOP_DEPTH;

always @(posedge clk)
    if (advance) begin
        b_fault_q <= uop_q >= UOPS;
        b_dst_q   <= dst_q;
        b_src_q   <= src_q;
        b_wgt_q   <= wgt_q;
    end

// ----------------------------------------------------------------------------
// C: the indices. Those the instruction uses must be in range.

reg             fault_q;
reg [DST_W-1:0] c_dst_q;
reg [SRC_W-1:0] c_src_q;
reg [WGT_W-1:0] c_wgt_q;

always @(posedge clk)
    if (rst) begin
        step_valid <= 1'b0;
        end_valid  <= 1'b0;
    end else if (advance) begin
        step_valid <= b_valid_q;
        end_valid  <= b_end_q;
    end

always @(posedge clk)
    if (advance && b_valid_q) begin
        fault_q <= b_fault_q;
        c_dst_q <= b_dst_q + {2'b0, uop_data[`VDLA_UOP_DST_BITS]};
        c_src_q <= b_src_q + {2'b0, uop_data[`VDLA_UOP_SRC_BITS]};
        c_wgt_q <= b_wgt_q + {2'b0, uop_data[`VDLA_UOP_WGT_BITS]};
    end

assign step_dst = c_dst_q[DST-1:0];
assign step_src = c_src_q[SRC-1:0];
assign step_wgt = c_wgt_q[WGT-1:0];

localparam [DST_W-1:0] ACC_END = `VDLA_ACC_DEPTH;
localparam [SRC_W-1:0] SRC_ACC = `VDLA_ACC_DEPTH;
localparam [SRC_W-1:0] SRC_INP = `VDLA_INP_DEPTH;
localparam [WGT_W-1:0] WGT_END = `VDLA_WGT_DEPTH;

reg             multiplies_q; // these hold for the whole instruction, long before its first step
reg             uses_src_q;
reg [SRC_W-1:0] src_end_q;

wire per_channel = insn[`VDLA_ALU_OP_BITS] == `VDLA_ALU_OP_REQUANTISE || insn[`VDLA_ALU_OP_BITS] == `VDLA_ALU_OP_RESCALE;
wire multiplies  = !alu_q && insn[`VDLA_GEMM_MODE_BITS] != `VDLA_GEMM_MODE_RESET;

always @(posedge clk) begin
    multiplies_q <= multiplies;
    uses_src_q   <= multiplies || alu_q && (per_channel || !insn[`VDLA_ALU_USE_IMM_LSB]);
    src_end_q    <= !alu_q ? SRC_INP : SRC_ACC - {{SRC_W - 1{1'b0}}, per_channel};
end

assign step_fault = step_valid && (fault_q || c_dst_q >= ACC_END || uses_src_q && c_src_q >= src_end_q ||
                                   multiplies_q && c_wgt_q >= WGT_END);

endmodule

`default_nettype wire
