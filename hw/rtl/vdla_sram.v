// A scratchpad of DEPTH entries in BANKS block RAMs, entry e in bank e mod BANKS.
//
// One write a cycle of up to WRITE_LANES consecutive entries: lane l, when its bit of wr_lanes is set, to entry
// wr_entry + l, and of each entry the chunks in wr_chunks. One read a cycle of READ_LANES consecutive entries, whose data
// come in the next cycle and stay until the next read.
//
// Indices are taken modulo the memory's size, so wr_entry and rd_entry may lie before the memory as long as the lanes
// used do not. Whoever writes or reads has checked the range.

`default_nettype none

module vdla_sram #(
    parameter DEPTH       = 16,
    parameter WIDTH       = 32,    // bits of an entry
    parameter CHUNK       = WIDTH, // bits written together
    parameter SLICE       = WIDTH, // bits of one lane of wr_data, repeated over the entry
    parameter WRITE_LANES = 1,
    parameter READ_LANES  = 1,
    parameter BANKS       = 1,     // a power of two, at least WRITE_LANES and READ_LANES
    parameter INDEX_WIDTH = 4      // at least $clog2(DEPTH) and $clog2(BANKS) + 1
) (
    input  wire                         clk,

    input  wire                         wr_valid,
    input  wire [INDEX_WIDTH-1:0]       wr_entry,
    input  wire [WRITE_LANES-1:0]       wr_lanes,
    input  wire [WIDTH/CHUNK-1:0]       wr_chunks,
    input  wire [WRITE_LANES*SLICE-1:0] wr_data,

    input  wire                         rd_valid,
    input  wire [INDEX_WIDTH-1:0]       rd_entry,
    output wire [READ_LANES*WIDTH-1:0]  rd_data
);

localparam BANK_SHIFT = $clog2(BANKS);
localparam ROW_WIDTH  = INDEX_WIDTH - BANK_SHIFT;
localparam ROWS       = (DEPTH + BANKS - 1) / BANKS;
localparam [INDEX_WIDTH-1:0] BANK_MASK = (1 << BANK_SHIFT) - 1;
localparam [INDEX_WIDTH-1:0] READ_END  = READ_LANES[INDEX_WIDTH-1:0];
localparam [INDEX_WIDTH-1:0] WRITE_END = WRITE_LANES[INDEX_WIDTH-1:0];

wire [BANKS*WIDTH-1:0] bank_data;

// ----------------------------------------------------------------------------
// Banks

genvar b;
generate for (b = 0; b < BANKS; b = b + 1) begin: bank
    localparam [INDEX_WIDTH-1:0] BANK = b;

    wire [INDEX_WIDTH-1:0] wr_lane  = (BANK - wr_entry) & BANK_MASK;
    wire [INDEX_WIDTH-1:0] wr_index = wr_entry + wr_lane;
    wire [INDEX_WIDTH-1:0] rd_lane  = (BANK - rd_entry) & BANK_MASK;
    wire [INDEX_WIDTH-1:0] rd_index = rd_entry + rd_lane;

    wire             wr_hit;
    wire [SLICE-1:0] wr_slice;
    if (WRITE_LANES == 1) begin: narrow
        assign wr_hit   = wr_valid && wr_lane < WRITE_END && wr_lanes[0];
        assign wr_slice = wr_data;
    end else begin: wide
        localparam LANE_WIDTH = $clog2(WRITE_LANES);
        assign wr_hit   = wr_valid && wr_lane < WRITE_END && wr_lanes[wr_lane[LANE_WIDTH-1:0]];
        assign wr_slice = wr_data[wr_lane[LANE_WIDTH-1:0] * SLICE +: SLICE];
    end

    vdla_ram #(
        .DEPTH(ROWS), .WIDTH(WIDTH), .CHUNK(CHUNK), .SLICE(SLICE), .ADDRESS_WIDTH(ROW_WIDTH)
    ) ram (
        .clk        (clk),
        .wr_chunks  (wr_chunks & {WIDTH / CHUNK{wr_hit}}),
        .wr_address (wr_index[INDEX_WIDTH-1:BANK_SHIFT]),
        .wr_data    (wr_slice),
        .rd_valid   (rd_valid && rd_lane < READ_END),
        .rd_address (rd_index[INDEX_WIDTH-1:BANK_SHIFT]),
        .rd_data    (bank_data[b * WIDTH +: WIDTH])
    );
end endgenerate

// ----------------------------------------------------------------------------
// Read data: lane l comes from bank (first + l) mod BANKS

generate if (BANKS == 1) begin: direct
    assign rd_data = bank_data;
end else begin: rotated
    reg [BANK_SHIFT-1:0] first_q;
    always @(posedge clk)
        if (rd_valid)
            first_q <= rd_entry[BANK_SHIFT-1:0];

    genvar l;
    for (l = 0; l < READ_LANES; l = l + 1) begin: lane
        localparam [BANK_SHIFT-1:0] LANE = l;
        wire [BANK_SHIFT-1:0] source = first_q + LANE;
        assign rd_data[l * WIDTH +: WIDTH] = bank_data[source * WIDTH +: WIDTH];
    end
end endgenerate

endmodule

`default_nettype wire
