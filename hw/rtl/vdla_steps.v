// Issues the steps of a GEMM or ALU instruction: stage D, the reads of the operands.
//
// GEMM: a step a cycle; inp and wgt are read in stage D (`gemm_valid`), acc four cycles later.
//
// ALU: the reads of acc, one a cycle (`read_*`): of a step with a tensor operand acc[src] and then acc[dst]; of REQUANTISE
// and RESCALE acc[src] and acc[src + 1], unless those of the step before hold, and then acc[dst]. The read of acc[dst] is
// the step's issue. Meanwhile `advance` is low, and the sequencer keeps the next step in stage C.
//
// A read of an entry that an earlier step writes waits until LATENCY cycles after the issue of that step: LONG_LATENCY for
// the long operations, 2 for the others, which is when vdla_vector can forward it. So that a wait costs no more than an OR
// of registers, each read is compared with the issues before it one cycle ahead: bit a of `conflict_q` says that a step
// which issued a cycles ago writes what is to be read now.
//
// `issued`, the age of the long operations under way, drives the stages of vdla_rescale: bit a is high a cycles after the
// issue. `write_entry` is what the oldest, at age WRITE_AGE, writes.

`default_nettype none

`include "vdla_config.vh"

module vdla_steps #(
    parameter SRC_WIDTH    = `VDLA_UOP_SRC_WIDTH,
    parameter LONG_LATENCY = 12,
    parameter WRITE_AGE    = 13
) (
    input  wire                             clk,
    input  wire                             rst,

    input  wire                             begun,
    input  wire                             alu,         // these hold for the whole instruction
    input  wire                             tensor,
    input  wire                             per_channel,
    input  wire                             long,

    input  wire                             step_valid,  // stage C
    input  wire                             step_end,
    input  wire [`VDLA_ACC_INDEX_WIDTH-1:0] step_dst,
    input  wire [SRC_WIDTH-1:0]             step_src,
    input  wire [`VDLA_WGT_INDEX_WIDTH-1:0] step_wgt,
    output wire                             advance,

    output reg                              end_valid,   // the end of the steps is in stage D

    output wire                             gemm_valid,
    output wire [SRC_WIDTH-1:0]             gemm_src,
    output wire [`VDLA_WGT_INDEX_WIDTH-1:0] gemm_wgt,

    output wire                             read_valid,
    output wire [1:0]                       read_what,
    output wire [`VDLA_ACC_INDEX_WIDTH-1:0] read_entry,

    output wire [WRITE_AGE:1]               issued,
    output wire [`VDLA_ACC_INDEX_WIDTH-1:0] write_entry
);

`include "vdla_reads.vh"

localparam ACC = `VDLA_ACC_INDEX_WIDTH;

// ----------------------------------------------------------------------------
// The step in stage D, and its next read

reg                            valid_q;
reg [ACC-1:0]                  dst_q;
reg [SRC_WIDTH-1:0]            src_q;
reg [ACC-1:0]                  src_next_q;
reg [`VDLA_WGT_INDEX_WIDTH-1:0] wgt_q;
reg                            overwrites_q; // it writes acc[src] or acc[src + 1]
reg                            any_q;        // of this instruction, a step has been here
reg [1:0]                      what_q;
reg                            more_q;       // after this read there is another one of this step
reg [ACC-1:0]                  entry_q;
reg [LONG_LATENCY-1:1]         conflict_q;

wire alu_valid = valid_q && alu;
wire waits     = |conflict_q;
wire read      = alu_valid && !waits;
wire issues    = read && what_q == READ_DST;

assign advance = !alu_valid || issues;

wire [ACC-1:0] step_src_acc  = step_src[ACC-1:0];
wire [ACC-1:0] step_src_next = step_src_acc + 1;
wire           holds         = any_q && step_src == src_q && !overwrites_q; // the parameters of the step before
wire           src_first     = tensor || per_channel && !holds;

always @(posedge clk)
    if (rst) begin
        valid_q   <= 1'b0;
        end_valid <= 1'b0;
        any_q     <= 1'b0;
        more_q    <= 1'b0;
    end else begin
        if (advance)
            more_q <= step_valid && src_first;
        else if (!waits)
            more_q <= what_q == READ_BIAS;
        if (advance) begin
            valid_q   <= step_valid;
            end_valid <= step_end;
        end
        any_q <= !begun && (any_q || step_valid && advance);
    end

always @(posedge clk)
    if (advance && step_valid) begin
        dst_q        <= step_dst;
        src_q        <= step_src;
        src_next_q   <= step_src_next;
        wgt_q        <= step_wgt;
        overwrites_q <= step_dst == step_src_acc || step_dst == step_src_next;
    end

always @(posedge clk)
    if (advance) begin
        what_q  <= tensor ? READ_SRC : src_first ? READ_BIAS : READ_DST;
        entry_q <= src_first ? step_src_acc : step_dst;
    end else if (!waits) begin
        what_q  <= what_q == READ_BIAS ? READ_SCALE : READ_DST;
        entry_q <= what_q == READ_BIAS ? src_next_q : dst_q;
    end

// ----------------------------------------------------------------------------
// Conflicts of the next read: two candidates, of this step or the next one, compared with every step that may be writing

reg  [WRITE_AGE:1]      issued_q;
reg  [WRITE_AGE*ACC:1]  issued_dst_q;
wire [ACC-1:0]          candidate_src = more_q ? src_next_q : step_src_acc;
wire [ACC-1:0]          candidate_dst = more_q ? dst_q : step_dst;
wire [LONG_LATENCY-1:1] conflict_src;
wire [LONG_LATENCY-1:1] conflict_dst;

assign conflict_src[1] = alu_valid && what_q == READ_DST && dst_q == candidate_src;
assign conflict_dst[1] = alu_valid && what_q == READ_DST && dst_q == candidate_dst;

genvar age;
generate for (age = 1; age < LONG_LATENCY - 1; age = age + 1) begin: ages
    assign conflict_src[age + 1] = issued_q[age] && issued_dst_q[age * ACC -: ACC] == candidate_src;
    assign conflict_dst[age + 1] = issued_q[age] && issued_dst_q[age * ACC -: ACC] == candidate_dst;
end endgenerate

wire of_src = more_q ? what_q == READ_BIAS : src_first;

always @(posedge clk)
    if (rst)
        conflict_q <= 0;
    else if (waits)
        conflict_q <= {conflict_q[LONG_LATENCY-2:2], conflict_q[1] && long, 1'b0};
    else
        conflict_q <= !alu ? {LONG_LATENCY - 1{1'b0}} : of_src ? conflict_src : conflict_dst;

always @(posedge clk)
    if (rst)
        issued_q <= 0;
    else
        issued_q <= {issued_q[WRITE_AGE-1:1], long && issues};

always @(posedge clk)
    issued_dst_q <= {issued_dst_q[(WRITE_AGE-1)*ACC:1], dst_q};

assign issued      = issued_q;
assign write_entry = issued_dst_q[WRITE_AGE * ACC -: ACC];

// ----------------------------------------------------------------------------
// GEMM, and the read of acc for both

reg [3:0]       gemm_valid_q;
reg [4*ACC-1:0] gemm_dst_q;

assign gemm_valid = valid_q && !alu;
assign gemm_src   = src_q;
assign gemm_wgt   = wgt_q;

always @(posedge clk)
    if (rst)
        gemm_valid_q <= 4'b0;
    else
        gemm_valid_q <= {gemm_valid_q[2:0], gemm_valid};

always @(posedge clk)
    gemm_dst_q <= {gemm_dst_q[3*ACC-1:0], dst_q};

assign read_valid = alu ? read : gemm_valid_q[3];
assign read_what  = alu ? what_q : READ_DST;
assign read_entry = alu ? entry_q : gemm_dst_q[4*ACC-1:3*ACC];

endmodule

`default_nettype wire
