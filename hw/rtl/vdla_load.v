// LOAD: fills inp and wgt from DRAM. The loader's writes, data and padding, go straight to the two scratchpads; its header
// says when. All of them are over before the next instruction is in `insn`.

`default_nettype none

`include "vdla_config.vh"

module vdla_load #(
    parameter INP_LANES = 1,
    parameter WGT_LANES = 1,
    parameter INP_INDEX = 4,
    parameter WGT_INDEX = 4
) (
    input  wire                               clk,
    input  wire                               rst,
    input  wire                               halt,

    input  wire                               begun,
    input  wire [`VDLA_INSTRUCTION_WIDTH-1:0] insn,
    output wire                               done,
    input  wire [`VDLA_ADDRESS_WIDTH-1:0]     dram_base,
    input  wire [`VDLA_ADDRESS_WIDTH:0]       dram_end,

    output wire                               ar_valid,
    input  wire                               ar_ready,
    output wire [`VDLA_ADDRESS_WIDTH-1:0]     ar_address,
    output wire [7:0]                         ar_length,
    input  wire                               r_valid,
    input  wire [`VDLA_BUS_WIDTH-1:0]         r_data,
    input  wire                               r_last,

    // Reads by COMPUTE
    input  wire                               rd_valid,
    input  wire [INP_INDEX-1:0]               inp_entry,
    input  wire [WGT_INDEX-1:0]               wgt_entry,
    output wire [`VDLA_INP_TILE_WIDTH-1:0]    inp_data,
    output wire [`VDLA_WGT_TILE_WIDTH-1:0]    wgt_data,

    output wire                               sram_fault,
    output wire                               dram_fault,
    output wire                               quiet
);

localparam INP_SHIFT = $clog2(`VDLA_INP_TILE_BYTES);
localparam WGT_SHIFT = $clog2(`VDLA_WGT_TILE_BYTES);
localparam INP_SLICE = `VDLA_INP_TILE_WIDTH < `VDLA_BUS_WIDTH ? `VDLA_INP_TILE_WIDTH : `VDLA_BUS_WIDTH;
localparam WGT_SLICE = `VDLA_WGT_TILE_WIDTH < `VDLA_BUS_WIDTH ? `VDLA_WGT_TILE_WIDTH : `VDLA_BUS_WIDTH;
localparam INP_PARTS = `VDLA_INP_TILE_WIDTH / INP_SLICE;
localparam WGT_PARTS = `VDLA_WGT_TILE_WIDTH / WGT_SLICE;
localparam LANES     = INP_LANES > WGT_LANES ? INP_LANES : WGT_LANES;
localparam PARTS     = INP_PARTS > WGT_PARTS ? INP_PARTS : WGT_PARTS;
localparam [1:0] INP = 2'd0, WGT = 2'd1;

wire [1:0]                   kind = insn[`VDLA_DMA_BUFFER_BITS] == `VDLA_BUFFER_INP ? INP : WGT;
wire                         wr_valid;
wire [`VDLA_ENTRY_WIDTH-1:0] wr_entry;
wire [LANES-1:0]             wr_lanes;
wire [$clog2(PARTS):0]       wr_part;
wire [`VDLA_BUS_WIDTH-1:0]   wr_data;
wire                         wr_whole;
wire [7:0]                   pad_value = insn[`VDLA_DMA_PAD_VALUE_BITS];

vdla_loader #(
    .SHIFT_0(INP_SHIFT), .SHIFT_1(WGT_SHIFT), .SHIFT_2(WGT_SHIFT),
    .DEPTH_0(`VDLA_INP_DEPTH), .DEPTH_1(`VDLA_WGT_DEPTH), .DEPTH_2(`VDLA_WGT_DEPTH),
    .LANES(LANES), .PARTS(PARTS)
) loader (
    .clk         (clk),
    .rst         (rst),
    .halt        (halt),
    .begin_valid (begun),
    .insn        (insn),
    .kind        (kind),
    .dram_base   (dram_base),
    .dram_end    (dram_end),
    .pad_data    ({`VDLA_BUS_BYTES{pad_value}}),
    .done        (done),
    .ar_valid    (ar_valid),
    .ar_ready    (ar_ready),
    .ar_address  (ar_address),
    .ar_length   (ar_length),
    .r_valid     (r_valid),
    .r_data      (r_data),
    .r_last      (r_last),
    .wr_valid    (wr_valid),
    .wr_entry    (wr_entry),
    .wr_lanes    (wr_lanes),
    .wr_part     (wr_part),
    .wr_whole    (wr_whole),
    .wr_data     (wr_data),
    .sram_fault  (sram_fault),
    .dram_fault  (dram_fault),
    .quiet       (quiet)
);

// ----------------------------------------------------------------------------
// Scratchpads

localparam [INP_PARTS-1:0] INP_FIRST = 1;
localparam [WGT_PARTS-1:0] WGT_FIRST = 1;

vdla_sram #(
    .DEPTH(`VDLA_INP_DEPTH), .WIDTH(`VDLA_INP_TILE_WIDTH), .CHUNK(INP_SLICE), .SLICE(INP_SLICE),
    .WRITE_LANES(INP_LANES), .BANKS(INP_LANES), .INDEX_WIDTH(INP_INDEX)
) inp (
    .clk       (clk),
    .wr_valid  (wr_valid && kind == INP),
    .wr_entry  (wr_entry[INP_INDEX-1:0]),
    .wr_lanes  (wr_lanes[INP_LANES-1:0]),
    .wr_chunks (wr_whole ? {INP_PARTS{1'b1}} : INP_FIRST << wr_part),
    .wr_data   (wr_data[INP_LANES*INP_SLICE-1:0]),
    .rd_valid  (rd_valid),
    .rd_entry  (inp_entry),
    .rd_data   (inp_data)
);

vdla_sram #(
    .DEPTH(`VDLA_WGT_DEPTH), .WIDTH(`VDLA_WGT_TILE_WIDTH), .CHUNK(WGT_SLICE), .SLICE(WGT_SLICE),
    .WRITE_LANES(WGT_LANES), .BANKS(WGT_LANES), .INDEX_WIDTH(WGT_INDEX)
) wgt (
    .clk       (clk),
    .wr_valid  (wr_valid && kind == WGT),
    .wr_entry  (wr_entry[WGT_INDEX-1:0]),
    .wr_lanes  (wr_lanes[WGT_LANES-1:0]),
    .wr_chunks (wr_whole ? {WGT_PARTS{1'b1}} : WGT_FIRST << wr_part),
    .wr_data   (wr_data[WGT_LANES*WGT_SLICE-1:0]),
    .rd_valid  (rd_valid),
    .rd_entry  (wgt_entry),
    .rd_data   (wgt_data)
);

endmodule

`default_nettype wire
