// Walks the micro-ops of a GEMM or ALU instruction: outer loop, inner loop, micro-ops; one step a cycle while `advance`.
//
//     stage   of a step, for an instruction that starts in t
//     A       t + 1   the uop memory is read
//     B       t + 2   the loops' offsets are added to the micro-op's indices
//     C       t + 3   `step_valid`, with the step's indices
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

    input  wire                               start,      // in t
    input  wire [`VDLA_INSTRUCTION_WIDTH-1:0] start_insn,
    input  wire [`VDLA_INSTRUCTION_WIDTH-1:0] insn,       // from t + 1 on
    input  wire                               advance,

    output wire                               uop_valid,
    output wire [UOP_INDEX-1:0]               uop_entry,
    input  wire [`VDLA_UOP_WIDTH-1:0]         uop_data,

    output reg                                step_valid,
    output reg                                end_valid,
    output reg  [`VDLA_ACC_INDEX_WIDTH-1:0]   step_dst,
    output reg  [SRC_WIDTH-1:0]               step_src,
    output reg  [`VDLA_WGT_INDEX_WIDTH-1:0]   step_wgt,
    output reg                                step_same_src, // as the step before
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

function is_alu(input [`VDLA_INSTRUCTION_WIDTH-1:0] word);
    is_alu = word[`VDLA_INSN_OPCODE_BITS] == `VDLA_OPCODE_ALU;
endfunction

// ----------------------------------------------------------------------------
// Fields. GEMM and ALU have the same loops in different places.

wire           alu       = is_alu(insn);
wire           starts    = start && (start_insn[`VDLA_INSN_OPCODE_BITS] == `VDLA_OPCODE_GEMM || is_alu(start_insn));
wire [UOP-1:0] begin_s   = is_alu(start_insn) ? start_insn[`VDLA_ALU_UOP_BEGIN_BITS] : start_insn[`VDLA_GEMM_UOP_BEGIN_BITS];
wire [UOP:0]   end_s     = is_alu(start_insn) ? start_insn[`VDLA_ALU_UOP_END_BITS] : start_insn[`VDLA_GEMM_UOP_END_BITS];
wire [L-1:0]   outer_s   = is_alu(start_insn) ? start_insn[`VDLA_ALU_LOOP_OUTER_BITS] : start_insn[`VDLA_GEMM_LOOP_OUTER_BITS];
wire [L-1:0]   inner_s   = is_alu(start_insn) ? start_insn[`VDLA_ALU_LOOP_INNER_BITS] : start_insn[`VDLA_GEMM_LOOP_INNER_BITS];
wire [UOP-1:0] uop_begin = alu ? insn[`VDLA_ALU_UOP_BEGIN_BITS] : insn[`VDLA_GEMM_UOP_BEGIN_BITS];
wire [UOP:0]   uop_end   = alu ? insn[`VDLA_ALU_UOP_END_BITS] : insn[`VDLA_GEMM_UOP_END_BITS];
wire [L-1:0]   inner     = alu ? insn[`VDLA_ALU_LOOP_INNER_BITS] : insn[`VDLA_GEMM_LOOP_INNER_BITS];

wire [DST-1:0] dst_outer = alu ? insn[`VDLA_ALU_DST_OUTER_BITS] : insn[`VDLA_GEMM_DST_OUTER_BITS];
wire [DST-1:0] dst_inner = alu ? insn[`VDLA_ALU_DST_INNER_BITS] : insn[`VDLA_GEMM_DST_INNER_BITS];
wire [SRC-1:0] src_outer = alu ? {{SRC - DST{1'b0}}, insn[`VDLA_ALU_SRC_OUTER_BITS]}
                               : {{SRC - INP{1'b0}}, insn[`VDLA_GEMM_SRC_OUTER_BITS]};
wire [SRC-1:0] src_inner = alu ? {{SRC - DST{1'b0}}, insn[`VDLA_ALU_SRC_INNER_BITS]}
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

wire [UOP:0] next_uop   = uop_q + 1;
wire         ends_inner = next_uop == uop_end;
wire         ends_outer = ends_inner && inner_q == 0;
wire         ends       = ends_outer && outer_q == 0;

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
        walking_q <= end_s > {1'b0, begin_s} && outer_s != 0 && inner_s != 0;
        ending_q  <= 1'b1;
    end else if (advance) begin
        walking_q <= walking_q && !ends;
        ending_q  <= ending_q && walking_q;
    end

always @(posedge clk)
    if (starts) begin
        uop_q     <= {1'b0, begin_s};
        outer_q   <= outer_s - 1;
        inner_q   <= inner_s - 1;
        dst_row_q <= 0;
        src_row_q <= 0;
        wgt_row_q <= 0;
        dst_q     <= 0;
        src_q     <= 0;
        wgt_q     <= 0;
    end else if (advance && walking_q) begin
        uop_q <= ends_inner ? {1'b0, uop_begin} : next_uop;
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

wire [DST_W-1:0] dst = b_dst_q + {2'b0, uop_data[`VDLA_UOP_DST_BITS]};
wire [SRC_W-1:0] src = b_src_q + {2'b0, uop_data[`VDLA_UOP_SRC_BITS]};
wire [WGT_W-1:0] wgt = b_wgt_q + {2'b0, uop_data[`VDLA_UOP_WGT_BITS]};

// ----------------------------------------------------------------------------
// C: which of the indices the instruction uses, and whether they are in range

wire per_channel = insn[`VDLA_ALU_OP_BITS] == `VDLA_ALU_OP_REQUANTISE || insn[`VDLA_ALU_OP_BITS] == `VDLA_ALU_OP_RESCALE;
wire multiplies  = !alu && insn[`VDLA_GEMM_MODE_BITS] != `VDLA_GEMM_MODE_RESET;
wire uses_src    = multiplies || alu && (per_channel || !insn[`VDLA_ALU_USE_IMM_LSB]);

localparam [DST_W-1:0] ACC_END = `VDLA_ACC_DEPTH;
localparam [SRC_W-1:0] SRC_ACC = `VDLA_ACC_DEPTH;
localparam [SRC_W-1:0] SRC_INP = `VDLA_INP_DEPTH;
localparam [WGT_W-1:0] WGT_END = `VDLA_WGT_DEPTH;

reg             fault_q;
reg             any_q;   // there was a step before
reg [SRC_W-1:0] last_src_q;
wire [SRC_W-1:0] src_end = !alu ? SRC_INP : SRC_ACC - {{SRC_W - 1{1'b0}}, per_channel};

assign step_fault = step_valid && fault_q;

always @(posedge clk)
    if (rst) begin
        step_valid <= 1'b0;
        end_valid  <= 1'b0;
        any_q      <= 1'b0;
    end else if (starts) begin
        step_valid <= 1'b0;
        end_valid  <= 1'b0;
        any_q      <= 1'b0;
    end else if (advance) begin
        step_valid <= b_valid_q;
        end_valid  <= b_end_q;
        any_q      <= any_q || b_valid_q;
    end

always @(posedge clk)
    if (advance && b_valid_q) begin
        step_dst      <= dst[DST-1:0];
        step_src      <= src[SRC-1:0];
        step_wgt      <= wgt[WGT-1:0];
        step_same_src <= any_q && src == last_src_q;
        last_src_q    <= src;
        fault_q       <= b_fault_q || dst >= ACC_END || uses_src && src >= src_end || multiplies && wgt >= WGT_END;
    end

endmodule

`default_nettype wire
