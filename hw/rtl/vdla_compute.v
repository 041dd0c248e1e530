// COMPUTE: GEMM, ALU, loads of uop and acc, FINISH; the uop and acc scratchpads and acc's narrow mirror.
//
//     cycle   of a GEMM or ALU step k, when every step takes one cycle (t: the instruction's start)
//     t+1+k   A   uop is read                                vdla_sequencer
//     t+2+k   B   indices
//     t+3+k   C   GEMM: inp and wgt are read; ALU: P0        vdla_steps
//     t+4+k   D   GEMM: operands                             vdla_gemm
//     t+5+k   E         products
//     t+6+k   F         sums of groups, and P0
//     t+7+k   G         totals, and P1
//     t+8+k   P2  GEMM: acc is written. ALU: P0 is C, so that the short operations write in t+5+k and the long ones in
//                 t+10+k                                     vdla_vector
//
// So GEMM is over GEMM_FILL = 6 cycles after DECODE = 2 and its steps, ALU ALU_FILL = 8.
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

    input  wire                               start,
    input  wire [`VDLA_INSTRUCTION_WIDTH-1:0] start_insn,
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
localparam LATENCY   = `VDLA_ALU_FILL - 1;
localparam [1:0] UOP = 2'd0, ACC = 2'd1, OUT = 2'd2;

// ----------------------------------------------------------------------------
// The instruction

wire [2:0] opcode = insn[`VDLA_INSN_OPCODE_BITS];
wire [2:0] buffer = insn[`VDLA_DMA_BUFFER_BITS];
wire [3:0] alu_op = insn[`VDLA_ALU_OP_BITS];
wire [1:0] mode   = insn[`VDLA_GEMM_MODE_BITS];
wire       load   = opcode == `VDLA_OPCODE_LOAD;
wire       gemm   = opcode == `VDLA_OPCODE_GEMM;
wire       alu    = opcode == `VDLA_OPCODE_ALU;
wire [1:0] kind   = buffer == `VDLA_BUFFER_UOP ? UOP : buffer == `VDLA_BUFFER_ACC ? ACC : OUT;

wire per_channel = alu && (alu_op == `VDLA_ALU_OP_REQUANTISE || alu_op == `VDLA_ALU_OP_RESCALE);
wire use_imm     = alu && insn[`VDLA_ALU_USE_IMM_LSB];
wire multiplied  = alu && (alu_op == `VDLA_ALU_OP_MUL || alu_op == `VDLA_ALU_OP_SHL || alu_op == `VDLA_ALU_OP_SHR);
wire long        = per_channel || multiplied; // what vdla_rescale does
wire multiplies  = gemm && mode != `VDLA_GEMM_MODE_RESET;

// ----------------------------------------------------------------------------
// Loads

wire                         load_done;
wire                         load_fault;
wire                         ld_valid;
wire [`VDLA_ENTRY_WIDTH-1:0] ld_entry;
wire [LANES-1:0]             ld_lanes;
wire [$clog2(PARTS):0]       ld_part;
wire [BUS-1:0]               ld_data;
wire                         pad_valid;
wire [`VDLA_ENTRY_WIDTH-1:0] pad_entry;
wire                         uop_pad_ready;
wire                         acc_pad_ready;
wire [7:0]                   pad_value = insn[`VDLA_DMA_PAD_VALUE_BITS];

vdla_loader #(
    .SHIFT_0(UOP_SHIFT), .SHIFT_1(ACC_SHIFT), .SHIFT_2(OUT_SHIFT),
    .DEPTH_0(`VDLA_UOP_DEPTH), .DEPTH_1(`VDLA_ACC_DEPTH), .DEPTH_2(`VDLA_ACC_DEPTH),
    .LANES(LANES), .PARTS(PARTS)
) loader (
    .clk         (clk),
    .rst         (rst),
    .halt        (halt),
    .begin_valid (begun && load),
    .insn        (insn),
    .kind        (kind),
    .dram_base   (dram_base),
    .dram_end    (dram_end),
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
    .wr_data     (ld_data),
    .pad_valid   (pad_valid),
    .pad_entry   (pad_entry),
    .pad_ready   (kind == UOP ? uop_pad_ready : acc_pad_ready),
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
wire                             step_same_src;
wire                             step_fault;

vdla_sequencer #(.UOP_INDEX(UOP_INDEX), .SRC_WIDTH(SRC_WIDTH)) sequencer (
    .clk           (clk),
    .rst           (rst),
    .start         (start),
    .start_insn    (start_insn),
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
    .step_same_src (step_same_src),
    .step_fault    (step_fault)
);

wire                             gemm_valid;
wire                             read_valid;
wire [1:0]                       read_what;
wire [`VDLA_ACC_INDEX_WIDTH-1:0] read_entry;
wire                             late_valid;
wire [`VDLA_ACC_INDEX_WIDTH-1:0] late_entry;
wire [LATENCY:1]                 flying;

vdla_steps #(.SRC_WIDTH(SRC_WIDTH), .LATENCY(LATENCY)) steps (
    .clk           (clk),
    .rst           (rst),
    .alu           (alu),
    .tensor        (alu && !use_imm && !per_channel),
    .per_channel   (per_channel),
    .long          (long),
    .step_valid    (step_valid),
    .step_dst      (step_dst),
    .step_src      (step_src),
    .step_same_src (step_same_src),
    .advance       (advance),
    .gemm_valid    (gemm_valid),
    .read_valid    (read_valid),
    .read_what     (read_what),
    .read_entry    (read_entry),
    .write_valid   (late_valid),
    .write_entry   (late_entry),
    .flying        (flying)
);

// The end marker comes where a further step would have been, so the last write is a fixed number of cycles later.
reg [`VDLA_ALU_FILL-3:0] tail_q;
always @(posedge clk)
    if (rst || done)
        tail_q <= 0;
    else
        tail_q <= {tail_q[`VDLA_ALU_FILL-4:0], step_end};

assign finish     = begun && opcode == `VDLA_OPCODE_FINISH;
assign done       = load_done || finish || (alu ? tail_q[`VDLA_ALU_FILL-3] : gemm && tail_q[`VDLA_GEMM_FILL-3]);
assign sram_fault = load_fault || step_fault;

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

assign operand_valid = gemm_valid && multiplies;
assign inp_entry     = {{INP_INDEX - `VDLA_INP_INDEX_WIDTH{1'b0}}, step_src[`VDLA_INP_INDEX_WIDTH-1:0]};
assign wgt_entry     = {{WGT_INDEX - `VDLA_WGT_INDEX_WIDTH{1'b0}}, step_wgt};

vdla_gemm #(.PACKED(PACKED_PRODUCTS)) core (
    .clk    (clk),
    .rst    (rst),
    .valid  (operands_q),
    .inp    (inp_data),
    .wgt    (wgt_data),
    .totals (totals)
);

vdla_vector vector (
    .clk        (clk),
    .rst        (rst),
    .gemm       (gemm),
    .gemm_mode  (mode),
    .alu_op     (alu_op),
    .use_imm    (use_imm),
    .imm        (insn[`VDLA_ALU_IMM_BITS]),
    .long       (long),
    .read_valid (read_valid),
    .read_what  (read_what),
    .read_entry (read_entry),
    .acc        (acc_data),
    .totals     (totals),
    .late_stage (flying[6:2]),
    .late_valid (late_valid),
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
    .wr_valid  (ld_valid && kind == UOP),
    .wr_entry  (ld_entry[UOP_INDEX-1:0]),
    .wr_lanes  (ld_lanes[UOP_LANES-1:0]),
    .wr_chunks (UOP_FIRST << ld_part),
    .wr_data   (ld_data[UOP_LANES*UOP_SLICE-1:0]),
    .pad_valid (pad_valid && kind == UOP),
    .pad_entry (pad_entry[UOP_INDEX-1:0]),
    .pad_data  ({UOP_SLICE{1'b0}}),
    .pad_ready (uop_pad_ready),
    .rd_valid  (uop_valid),
    .rd_entry  (uop_entry),
    .rd_data   (uop_data)
);

// ----------------------------------------------------------------------------
// acc and its mirror. A beat of an ACC load fills a chunk of an entry, or ACC_BEAT entries; one of an OUT load, whose
// bytes widen to four, OUT_CHUNKS chunks of an entry, or OUT_LANES entries.

wire [OUT_LANES*ACC_W-1:0] acc_lanes_data;
wire [OUT_LANES*ACC_W-1:0] out_lanes_data;
wire [OUT_LANES*ACC_W-1:0] ld_lanes_data = kind == ACC ? acc_lanes_data : out_lanes_data;
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
wire [CHUNKS-1:0] ld_chunks = kind == ACC ? ACC_FIRST << ld_part : OUT_FIRST << (OUT_CHUNKS * ld_part);

wire [OUT_LANES-1:0] first_lane = 1;
wire [ACC_INDEX-1:0] wr_index   = {{ACC_INDEX - `VDLA_ACC_INDEX_WIDTH{1'b0}}, wr_entry};
wire                 ld_acc     = ld_valid && kind != UOP;
wire                 pad_acc    = pad_valid && kind != UOP;
wire [31:0]          pad_word   = {{24{pad_value[7]}}, pad_value};

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
    .WRITE_LANES(OUT_LANES), .BANKS(2 * OUT_LANES), .INDEX_WIDTH(ACC_INDEX)
) acc (
    .clk       (clk),
    .wr_valid  (acc_wr_valid),
    .wr_entry  (acc_wr_entry),
    .wr_lanes  (acc_wr_lanes),
    .wr_chunks (acc_wr_chunks),
    .wr_data   (acc_wr_data),
    .pad_valid (pad_acc),
    .pad_entry (pad_entry[ACC_INDEX-1:0]),
    .pad_data  ({`VDLA_LANES{pad_word}}),
    .pad_ready (acc_pad_ready),
    .rd_valid  (read_valid),
    .rd_entry  ({{ACC_INDEX - `VDLA_ACC_INDEX_WIDTH{1'b0}}, read_entry}),
    .rd_data   (acc_data)
);

wire mirror_pad_ready; // as acc_pad_ready

vdla_sram #(
    .DEPTH(`VDLA_ACC_DEPTH), .WIDTH(OUT_W), .CHUNK(CHUNK / 4),
    .WRITE_LANES(OUT_LANES), .READ_LANES(OUT_LANES), .BANKS(2 * OUT_LANES), .INDEX_WIDTH(ACC_INDEX)
) mirror (
    .clk       (clk),
    .wr_valid  (acc_wr_valid),
    .wr_entry  (acc_wr_entry),
    .wr_lanes  (acc_wr_lanes),
    .wr_chunks (acc_wr_chunks),
    .wr_data   (out_wr_data),
    .pad_valid (pad_acc),
    .pad_entry (pad_entry[ACC_INDEX-1:0]),
    .pad_data  ({`VDLA_LANES{pad_value}}),
    .pad_ready (mirror_pad_ready),
    .rd_valid  (mirror_valid),
    .rd_entry  (mirror_entry),
    .rd_data   (mirror_data)
);

wire _unused = &{1'b0, mirror_pad_ready, ld_lanes, ld_part, step_src, flying};

endmodule

`default_nettype wire
