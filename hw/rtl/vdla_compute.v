// COMPUTE: GEMM, ALU, loads of uop and acc, FINISH; the uop and acc scratchpads and acc's narrow mirror.
//
//     cycle    of a GEMM or ALU step k, when every step takes one cycle (t: the instruction's start)
//     t+3+k    A   uop is read                                        vdla_sequencer
//     t+4+k    B   indices
//     t+5+k    C   they are checked
//     t+6+k    D   GEMM: inp and wgt are read; ALU: P0, acc is read   vdla_steps
//     t+7+k        GEMM: operands                                     vdla_gemm
//     t+9+k        products
//     t+10+k       sums of groups; P0: acc is read
//     t+11+k       totals
//     t+13+k       P3: the sum                                        vdla_vector
//     t+14+k   W   GEMM: acc is written. The ALU's short operations write it in t+11+k, the long ones in t+20+k
//
// So an instruction is over GEMM_FILL = 10, ALU_FILL = 7 or ALU_LONG_FILL = 16 cycles after DECODE = 4 and its steps.
//
// The mirror holds the low byte of every element of acc and is written with it, so that STORE never takes a read of acc
// from COMPUTE.

`default_nettype none

`include "vdla_config.vh"

module vdla_compute #(
    parameter PACKED_PRODUCTS = 0,
    parameter OUT_LANES = 1, // out tiles in a beat
    parameter ACC_INDEX = 4,
    parameter INP_INDEX = 4,
    parameter WGT_INDEX = 4
) (
    input  wire                               clk,
    input  wire                               rst,
    input  wire                               halt,

    input  wire                               begun,
    input  wire [`VDLA_INSTRUCTION_WIDTH-1:0] insn,
    output wire                               done,
    output wire                               finish, // FINISH is done
    input  wire [`VDLA_ADDRESS_WIDTH-1:0]     dram_base,
    input  wire [`VDLA_ADDRESS_WIDTH:0]       dram_end,

    output wire                               ar_valid,
    input  wire                               ar_ready,
    output wire [`VDLA_ADDRESS_WIDTH-1:0]     ar_address,
    output wire [7:0]                         ar_length,
    input  wire                               r_valid,
    input  wire [`VDLA_BUS_WIDTH-1:0]         r_data,
    input  wire                               r_last,

    output wire                               operand_valid, // reads of inp and wgt
    output wire [INP_INDEX-1:0]               inp_entry,
    output wire [WGT_INDEX-1:0]               wgt_entry,
    input  wire [`VDLA_INP_TILE_WIDTH-1:0]    inp_data,
    input  wire [`VDLA_WGT_TILE_WIDTH-1:0]    wgt_data,

    input  wire                               mirror_valid,  // reads by STORE
    input  wire [ACC_INDEX-1:0]               mirror_entry,
    output wire [OUT_LANES*`VDLA_OUT_TILE_WIDTH-1:0] mirror_data,

    output wire                               sram_fault,
    output wire                               dram_fault,
    output wire                               quiet
);

localparam BUS       = `VDLA_BUS_WIDTH;
localparam UOP_W     = `VDLA_UOP_WIDTH;
localparam ACC_W     = `VDLA_ACC_TILE_WIDTH;
localparam OUT_W     = `VDLA_OUT_TILE_WIDTH;
localparam UOP_SHIFT = $clog2(`VDLA_UOP_BYTES);
localparam ACC_SHIFT = $clog2(`VDLA_ACC_TILE_BYTES);
localparam OUT_SHIFT = $clog2(`VDLA_OUT_TILE_BYTES);
localparam UOP_SLICE = UOP_W < BUS ? UOP_W : BUS;
localparam UOP_LANES = BUS / UOP_SLICE;
localparam UOP_PARTS = UOP_W / UOP_SLICE;
localparam UOP_BITS  = `VDLA_UOP_INDEX_WIDTH;
localparam UOP_INDEX = UOP_BITS > $clog2(UOP_LANES) ? UOP_BITS : $clog2(UOP_LANES) + 1;
localparam CHUNK     = ACC_W < BUS ? ACC_W : BUS;
localparam CHUNKS    = ACC_W / CHUNK;
localparam ACC_BEAT  = ACC_W < BUS ? BUS / ACC_W : 1;         // acc tiles in a beat
localparam OUT_SLICE = OUT_W < BUS ? OUT_W : BUS;             // of an out tile, in a beat
localparam OUT_CHUNKS = OUT_W > BUS ? 4 * BUS / CHUNK : CHUNKS; // chunks of acc that such a slice fills
localparam LANES     = UOP_LANES > OUT_LANES ? UOP_LANES : OUT_LANES;
localparam PARTS     = UOP_PARTS > CHUNKS ? UOP_PARTS : CHUNKS;
localparam SRC_WIDTH = `VDLA_UOP_SRC_WIDTH;
localparam WRITE_AGE = `VDLA_ALU_LONG_LATENCY + 1; // cycles from the issue of a long operation to its result
localparam [1:0] UOP = 2'd0, ACC = 2'd1, OUT = 2'd2;

// ----------------------------------------------------------------------------
// The instruction: in t + 1 it is decoded, in t + 2 it has `begun`

wire [2:0] opcode = insn[`VDLA_INSN_OPCODE_BITS];
wire [2:0] buffer = insn[`VDLA_DMA_BUFFER_BITS];
wire [3:0] alu_op = insn[`VDLA_ALU_OP_BITS];
wire [1:0] mode   = insn[`VDLA_GEMM_MODE_BITS];
wire       gemm   = opcode == `VDLA_OPCODE_GEMM;
wire       alu    = opcode == `VDLA_OPCODE_ALU;
wire [1:0] kind   = buffer == `VDLA_BUFFER_UOP ? UOP : buffer == `VDLA_BUFFER_ACC ? ACC : OUT;

wire scales  = alu_op == `VDLA_ALU_OP_REQUANTISE || alu_op == `VDLA_ALU_OP_RESCALE;
wire use_imm = insn[`VDLA_ALU_USE_IMM_LSB];

reg load_q;
reg finish_q;
reg gemm_q;
reg alu_q;
reg multiplies_q;
reg tensor_q;
reg per_channel_q;
reg use_imm_q;
reg long_q;     // what vdla_rescale does
reg to_uop_q;   // where a LOAD writes
reg from_acc_q; // acc tiles, not out tiles

always @(posedge clk) begin
    load_q        <= opcode == `VDLA_OPCODE_LOAD;
    finish_q      <= opcode == `VDLA_OPCODE_FINISH;
    gemm_q        <= gemm;
    alu_q         <= alu;
    multiplies_q  <= gemm && mode != `VDLA_GEMM_MODE_RESET;
    tensor_q      <= alu && !use_imm && !scales;
    per_channel_q <= alu && scales;
    use_imm_q     <= alu && use_imm;
    long_q        <= alu && !(alu_op == `VDLA_ALU_OP_MIN || alu_op == `VDLA_ALU_OP_MAX ||
                              alu_op == `VDLA_ALU_OP_ADD || alu_op == `VDLA_ALU_OP_MOV ||
                              alu_op == `VDLA_ALU_OP_TABULATE || alu_op == `VDLA_ALU_OP_LOOKUP);
    to_uop_q      <= kind == UOP;
    from_acc_q    <= kind == ACC;
end

// ----------------------------------------------------------------------------
// Loads

wire                         load_done;
wire                         load_fault;
wire                         ld_valid;
wire [`VDLA_ENTRY_WIDTH-1:0] ld_entry;
wire [LANES-1:0]             ld_lanes;
wire [$clog2(PARTS):0]       ld_part;
wire [BUS-1:0]               ld_data;
wire                         ld_whole;
wire [7:0]                   pad_value = insn[`VDLA_DMA_PAD_VALUE_BITS];
wire [31:0]                  pad_word  = {{24{pad_value[7]}}, pad_value};
wire [BUS-1:0]               pad_data  = to_uop_q ? {BUS{1'b0}} : from_acc_q ? {BUS / 32{pad_word}} : {BUS / 8{pad_value}};

vdla_loader #(
    .SHIFT_0(UOP_SHIFT), .SHIFT_1(ACC_SHIFT), .SHIFT_2(OUT_SHIFT),
    .DEPTH_0(`VDLA_UOP_DEPTH), .DEPTH_1(`VDLA_ACC_DEPTH), .DEPTH_2(`VDLA_ACC_DEPTH),
    .LANES(LANES), .PARTS(PARTS)
) loader (
    .clk         (clk),
    .rst         (rst),
    .halt        (halt),
    .begin_valid (begun && load_q),
    .insn        (insn),
    .kind        (kind),
    .dram_base   (dram_base),
    .dram_end    (dram_end),
    .pad_data    (pad_data),
    .done        (load_done),
    .ar_valid    (ar_valid),
    .ar_ready    (ar_ready),
    .ar_address  (ar_address),
    .ar_length   (ar_length),
    .r_valid     (r_valid),
    .r_data      (r_data),
    .r_last      (r_last),
    .wr_valid    (ld_valid),
    .wr_entry    (ld_entry),
    .wr_lanes    (ld_lanes),
    .wr_part     (ld_part),
    .wr_whole    (ld_whole),
    .wr_data     (ld_data),
    .sram_fault  (load_fault),
    .dram_fault  (dram_fault),
    .quiet       (quiet)
);

// ----------------------------------------------------------------------------
// Steps

wire                             uop_valid;
wire [UOP_INDEX-1:0]             uop_entry;
wire [UOP_W-1:0]                 uop_data;
wire                             advance;
wire                             step_valid;
wire                             step_end;
wire [`VDLA_ACC_INDEX_WIDTH-1:0] step_dst;
wire [SRC_WIDTH-1:0]             step_src;
wire [`VDLA_WGT_INDEX_WIDTH-1:0] step_wgt;
wire                             step_fault;

vdla_sequencer #(.UOP_INDEX(UOP_INDEX), .SRC_WIDTH(SRC_WIDTH)) sequencer (
    .clk           (clk),
    .rst           (rst),
    .begun         (begun),
    .insn          (insn),
    .advance       (advance),
    .uop_valid     (uop_valid),
    .uop_entry     (uop_entry),
    .uop_data      (uop_data),
    .step_valid    (step_valid),
    .end_valid     (step_end),
    .step_dst      (step_dst),
    .step_src      (step_src),
    .step_wgt      (step_wgt),
    .step_fault    (step_fault)
);

wire                             end_valid;
wire                             gemm_valid;
wire [SRC_WIDTH-1:0]             gemm_src;
wire [`VDLA_WGT_INDEX_WIDTH-1:0] gemm_wgt;
wire                             read_valid;
wire [1:0]                       read_what;
wire [`VDLA_ACC_INDEX_WIDTH-1:0] read_entry;
wire [WRITE_AGE:1]               issued;
wire [`VDLA_ACC_INDEX_WIDTH-1:0] late_entry;

vdla_steps #(.SRC_WIDTH(SRC_WIDTH), .LONG_LATENCY(`VDLA_ALU_LONG_LATENCY), .WRITE_AGE(WRITE_AGE)) steps (
    .clk         (clk),
    .rst         (rst),
    .begun       (begun),
    .alu         (alu_q),
    .tensor      (tensor_q),
    .per_channel (per_channel_q),
    .long        (long_q),
    .step_valid  (step_valid),
    .step_end    (step_end),
    .step_dst    (step_dst),
    .step_src    (step_src),
    .step_wgt    (step_wgt),
    .advance     (advance),
    .end_valid   (end_valid),
    .gemm_valid  (gemm_valid),
    .gemm_src    (gemm_src),
    .gemm_wgt    (gemm_wgt),
    .read_valid  (read_valid),
    .read_what   (read_what),
    .read_entry  (read_entry),
    .issued      (issued),
    .write_entry (late_entry)
);

// The end marker comes where a further step would have been, so the last write is a fixed number of cycles later.
localparam GEMM_TAIL = `VDLA_GEMM_FILL - 4;
localparam ALU_TAIL  = `VDLA_ALU_FILL - 4;
localparam LONG_TAIL = `VDLA_ALU_LONG_FILL - 4;

reg [LONG_TAIL:0] tail_q;
always @(posedge clk)
    if (rst || done)
        tail_q <= 0;
    else
        tail_q <= {tail_q[LONG_TAIL-1:0], end_valid};

reg finishes_q;
reg fault_q;
always @(posedge clk)
    if (rst) begin
        finishes_q <= 1'b0;
        fault_q    <= 1'b0;
    end else begin
        finishes_q <= begun && finish_q;
        fault_q    <= step_fault;
    end

assign finish     = finishes_q;
assign done       = load_done || finishes_q || gemm_q && tail_q[GEMM_TAIL] ||
                    alu_q && (long_q ? tail_q[LONG_TAIL] : tail_q[ALU_TAIL]);
assign sram_fault = load_fault || fault_q;

// ----------------------------------------------------------------------------
// GEMM core and vector unit

wire [ACC_W-1:0]                 totals;
wire [ACC_W-1:0]                 acc_data;
wire                             wr_valid;
wire [`VDLA_ACC_INDEX_WIDTH-1:0] wr_entry;
wire [ACC_W-1:0]                 wr_data;

reg operands_q;
always @(posedge clk)
    if (rst)
        operands_q <= 1'b0;
    else
        operands_q <= operand_valid;

assign operand_valid = gemm_valid && multiplies_q;
assign inp_entry     = {{INP_INDEX - `VDLA_INP_INDEX_WIDTH{1'b0}}, gemm_src[`VDLA_INP_INDEX_WIDTH-1:0]};
assign wgt_entry     = {{WGT_INDEX - `VDLA_WGT_INDEX_WIDTH{1'b0}}, gemm_wgt};

vdla_gemm #(.PACKED(PACKED_PRODUCTS)) core (
    .clk    (clk),
    .rst    (rst),
    .valid  (operands_q),
    .inp    (inp_data),
    .wgt    (wgt_data),
    .totals (totals)
);

vdla_vector #(.WRITE_AGE(WRITE_AGE)) vector (
    .clk        (clk),
    .rst        (rst),
    .begun      (begun),
    .gemm       (gemm_q),
    .gemm_mode  (mode),
    .alu_op     (alu_op),
    .use_imm    (use_imm_q),
    .imm        (insn[`VDLA_ALU_IMM_BITS]),
    .long       (long_q),
    .read_valid (read_valid),
    .read_what  (read_what),
    .read_entry (read_entry),
    .acc        (acc_data),
    .totals     (totals),
    .issued     (issued),
    .late_entry (late_entry),
    .wr_valid   (wr_valid),
    .wr_entry   (wr_entry),
    .wr_data    (wr_data)
);

// ----------------------------------------------------------------------------
// uop

localparam [UOP_PARTS-1:0] UOP_FIRST = 1;

vdla_sram #(
    .DEPTH(`VDLA_UOP_DEPTH), .WIDTH(UOP_W), .CHUNK(UOP_SLICE), .SLICE(UOP_SLICE),
    .WRITE_LANES(UOP_LANES), .BANKS(UOP_LANES), .INDEX_WIDTH(UOP_INDEX)
) uop (
    .clk       (clk),
    .wr_valid  (ld_valid && to_uop_q),
    .wr_entry  (ld_entry[UOP_INDEX-1:0]),
    .wr_lanes  (ld_lanes[UOP_LANES-1:0]),
    .wr_chunks (ld_whole ? {UOP_PARTS{1'b1}} : UOP_FIRST << ld_part),
    .wr_data   (ld_data[UOP_LANES*UOP_SLICE-1:0]),
    .rd_valid  (uop_valid),
    .rd_entry  (uop_entry),
    .rd_data   (uop_data)
);

// ----------------------------------------------------------------------------
// acc and its mirror. A beat of an ACC load fills a chunk of an entry, or ACC_BEAT entries; one of an OUT load, whose
// bytes widen to four, OUT_CHUNKS chunks of an entry, or OUT_LANES entries.

wire [OUT_LANES*ACC_W-1:0] acc_lanes_data;
wire [OUT_LANES*ACC_W-1:0] out_lanes_data;
wire [OUT_LANES*ACC_W-1:0] ld_lanes_data = from_acc_q ? acc_lanes_data : out_lanes_data;
wire [OUT_LANES*ACC_W-1:0] acc_wr_data;
wire [OUT_LANES*OUT_W-1:0] out_wr_data;

genvar l;
genvar e;
generate for (l = 0; l < OUT_LANES; l = l + 1) begin: lane
    if (l < ACC_BEAT) begin: filled
        assign acc_lanes_data[ACC_W * l +: ACC_W] = {CHUNKS{ld_data[CHUNK * l +: CHUNK]}};
    end else begin: unused
        assign acc_lanes_data[ACC_W * l +: ACC_W] = {ACC_W{1'b0}};
    end
    for (e = 0; e < `VDLA_LANES; e = e + 1) begin: element
        localparam FROM = OUT_SLICE * l + (8 * e) % OUT_SLICE;
        assign out_lanes_data[ACC_W * l + 32 * e +: 32] = {{24{ld_data[FROM + 7]}}, ld_data[FROM +: 8]};
        assign out_wr_data[OUT_W * l + 8 * e +: 8] = acc_wr_data[ACC_W * l + 32 * e +: 8];
    end
end endgenerate

localparam [CHUNKS-1:0] ACC_FIRST = 1;
localparam [CHUNKS-1:0] OUT_FIRST = {CHUNKS{1'b1}} >> (CHUNKS - OUT_CHUNKS);
wire [CHUNKS-1:0] ld_chunks = ld_whole   ? {CHUNKS{1'b1}}
                            : from_acc_q ? ACC_FIRST << ld_part : OUT_FIRST << (OUT_CHUNKS * ld_part);

wire [OUT_LANES-1:0] first_lane = 1;
wire [ACC_INDEX-1:0] wr_index   = {{ACC_INDEX - `VDLA_ACC_INDEX_WIDTH{1'b0}}, wr_entry};
wire                 ld_acc     = ld_valid && !to_uop_q;

generate if (OUT_LANES == 1) begin: one_lane
    assign acc_wr_data = wr_valid ? wr_data : ld_lanes_data;
end else begin: many_lanes
    assign acc_wr_data = {ld_lanes_data[OUT_LANES*ACC_W-1:ACC_W], wr_valid ? wr_data : ld_lanes_data[ACC_W-1:0]};
end endgenerate

wire                 acc_wr_valid  = wr_valid || ld_acc;
wire [ACC_INDEX-1:0] acc_wr_entry  = wr_valid ? wr_index : ld_entry[ACC_INDEX-1:0];
wire [OUT_LANES-1:0] acc_wr_lanes  = wr_valid ? first_lane : ld_lanes[OUT_LANES-1:0];
wire [CHUNKS-1:0]    acc_wr_chunks = wr_valid ? {CHUNKS{1'b1}} : ld_chunks;

vdla_sram #(
    .DEPTH(`VDLA_ACC_DEPTH), .WIDTH(ACC_W), .CHUNK(CHUNK),
    .WRITE_LANES(OUT_LANES), .BANKS(OUT_LANES), .INDEX_WIDTH(ACC_INDEX)
) acc (
    .clk       (clk),
    .wr_valid  (acc_wr_valid),
    .wr_entry  (acc_wr_entry),
    .wr_lanes  (acc_wr_lanes),
    .wr_chunks (acc_wr_chunks),
    .wr_data   (acc_wr_data),
    .rd_valid  (read_valid),
    .rd_entry  ({{ACC_INDEX - `VDLA_ACC_INDEX_WIDTH{1'b0}}, read_entry}),
    .rd_data   (acc_data)
);

vdla_sram #(
    .DEPTH(`VDLA_ACC_DEPTH), .WIDTH(OUT_W), .CHUNK(CHUNK / 4),
    .WRITE_LANES(OUT_LANES), .READ_LANES(OUT_LANES), .BANKS(OUT_LANES), .INDEX_WIDTH(ACC_INDEX)
) mirror (
    .clk       (clk),
    .wr_valid  (acc_wr_valid),
    .wr_entry  (acc_wr_entry),
    .wr_lanes  (acc_wr_lanes),
    .wr_chunks (acc_wr_chunks),
    .wr_data   (out_wr_data),
    .rd_valid  (mirror_valid),
    .rd_entry  (mirror_entry),
    .rd_data   (mirror_data)
);

wire _unused = &{1'b0, ld_lanes, ld_part, gemm_src};

endmodule

`default_nettype wire
