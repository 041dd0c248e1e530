// What follows from the generated vdla_isa.vh.
`ifndef VDLA_CONFIG_VH
`define VDLA_CONFIG_VH

`include "vdla_isa.vh"
`include "vdla_registers.vh"

`define VDLA_BUS_BYTES        (`VDLA_BUS_WIDTH / 8)
`define VDLA_BUS_SHIFT        $clog2(`VDLA_BUS_BYTES)
`define VDLA_ADDRESS_WIDTH    40
`define VDLA_REACH_WIDTH      50  // of byte addresses before they are known to be in range: no field overflows it
`define VDLA_ENTRY_WIDTH      28  // of SRAM indices before they are known to be in range

// Elements of an acc tile, one lane of the vector unit each
`define VDLA_LANES            (`VDLA_BATCH * `VDLA_BLOCK_OUT)
`define VDLA_INP_TILE_WIDTH   (8 * `VDLA_INP_TILE_BYTES)
`define VDLA_WGT_TILE_WIDTH   (8 * `VDLA_WGT_TILE_BYTES)
`define VDLA_ACC_TILE_WIDTH   (8 * `VDLA_ACC_TILE_BYTES)
`define VDLA_OUT_TILE_WIDTH   (8 * `VDLA_OUT_TILE_BYTES)
`define VDLA_UOP_WIDTH        (8 * `VDLA_UOP_BYTES)

`endif
