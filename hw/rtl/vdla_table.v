// The table of LOOKUP: 256 int8 levels, a copy for each lane, so that a whole tile is looked up in a cycle.
//
//     P2      `read`: every lane's `level`
//     P3      `found`, until the next read
//
// TABULATE writes an acc tile as it is. When it does, in W, `write` is high; entry e comes from byte e / TILES of the tile:
//
//     W       the byte is chosen
//     W + 1   all copies are written, at an entry that counts on from `first`
//
// A copy has one address for both. The last write is a cycle after its instruction is over, the first read of another
// instruction later than that; and `begun` of the next TABULATE, which sets the entry, comes after the last W of this one.

`default_nettype none

`include "vdla_config.vh"

module vdla_table (
    input  wire                            clk,
    input  wire                            rst,

    input  wire                            begun,
    input  wire [7:0]                      first, // the first entry that the instruction writes

    input  wire                            write, // W
    input  wire [`VDLA_ACC_TILE_WIDTH-1:0] tile,

    input  wire                            read,  // P2
    input  wire [8*`VDLA_LANES-1:0]        level, // each lane's, two's complement
    output reg  [8*`VDLA_LANES-1:0]        found  // P3
);

localparam TILES     = `VDLA_LANES < 256 ? 256 / `VDLA_LANES : 1; // that hold a table
localparam BYTE_BITS = 8 - $clog2(TILES);

// ----------------------------------------------------------------------------
// The byte and its entry

reg       write_q;
reg [7:0] entry_q; // of the byte in W
reg [7:0] write_entry_q;
reg [7:0] byte_q;

always @(posedge clk)
    if (rst)
        write_q <= 1'b0;
    else
        write_q <= write;

always @(posedge clk) begin
    write_entry_q <= entry_q;
    if (begun)
        entry_q <= first;
    else if (write)
        entry_q <= entry_q + 8'd1;
end

generate if (BYTE_BITS == 0) begin: one_lane
    always @(posedge clk)
        byte_q <= tile[7:0];
end else begin: many_lanes
    wire [BYTE_BITS-1:0] lane = entry_q[7 -: BYTE_BITS];
    always @(posedge clk)
        byte_q <= tile[32 * lane +: 8];
end endgenerate

// ----------------------------------------------------------------------------
// The copies

genvar e;
generate for (e = 0; e < `VDLA_LANES; e = e + 1) begin: lane_copy
    reg  [7:0] memory [0:255];
    wire [7:0] address = write_q ? write_entry_q : level[8 * e +: 8] ^ 8'h80;

    always @(posedge clk) begin
        if (write_q)
            memory[address] <= byte_q;
        if (read)
            found[8 * e +: 8] <= memory[address];
    end
end endgenerate

wire _unused = &{1'b0, tile};

endmodule

`default_nettype wire
