// STORE: writes rows of tiles from the narrow mirror of acc to DRAM.
//
//     cycle      of an instruction that starts in t
//     t + 2      `begun`, `insn` is there and holds since t + 1; the first row's address, how many entries there are
//     t + 3      the first burst and the first beat's entries; whether all entries are in range
//     t + 4      first write request; the first beat's entries are read; `sram_fault`, if not all are in range
//     t + 5      its tiles are put in their lanes
//     t + 6      it is on the bus (WRITE_SETUP after the request), if the bus takes it; a beat a cycle
//     b          the last response is taken; `done`
//
// Requests and data go their own ways, as AXI asks: a beat is offered once the request of its burst has been offered,
// taken or not. `halt` lets what has been offered finish, data and all, and offers no more. A transfer with an entry
// outside acc writes nothing: the beats that are offered of it have no strobes.

`default_nettype none

`include "vdla_config.vh"

module vdla_store #(
    parameter LANES = 1, // tiles in a beat
    parameter INDEX = 4
) (
    input  wire                               clk,
    input  wire                               rst,
    input  wire                               halt,

    input  wire                               begun,
    input  wire [`VDLA_INSTRUCTION_WIDTH-1:0] insn,
    output wire                               done,
    input  wire [`VDLA_ADDRESS_WIDTH-1:0]     dram_base,
    input  wire [`VDLA_ADDRESS_WIDTH:0]       dram_end,

    output wire                               aw_valid,
    input  wire                               aw_ready,
    output wire [`VDLA_ADDRESS_WIDTH-1:0]     aw_address,
    output wire [7:0]                         aw_length,
    output wire                               w_valid,
    input  wire                               w_ready,
    output wire [`VDLA_BUS_WIDTH-1:0]         w_data,
    output wire [`VDLA_BUS_BYTES-1:0]         w_strobe,
    output wire                               w_last,
    input  wire                               b_valid,

    // Reads of the mirror
    output wire                               rd_valid,
    output wire [INDEX-1:0]                   rd_entry,
    input  wire [LANES*`VDLA_OUT_TILE_WIDTH-1:0] rd_data,

    output reg                                sram_fault,
    output wire                               dram_fault,
    output wire                               quiet
);

localparam REACH = `VDLA_REACH_WIDTH;
localparam ENTRY = `VDLA_ENTRY_WIDTH;
localparam X     = `VDLA_DMA_X_SIZE_WIDTH;
localparam Y     = `VDLA_DMA_Y_SIZE_WIDTH;
localparam BUS   = `VDLA_BUS_SHIFT;
localparam SHIFT = $clog2(`VDLA_OUT_TILE_BYTES);
localparam PARTS = `VDLA_OUT_TILE_WIDTH > `VDLA_BUS_WIDTH ? `VDLA_OUT_TILE_WIDTH / `VDLA_BUS_WIDTH : 1;
localparam POS   = $clog2(LANES) + 1;
localparam PART  = $clog2(PARTS) + 1;
localparam SLICE = `VDLA_BUS_BYTES / LANES; // bytes of a tile in a beat
localparam LOW   = BUS + 8;                 // bits of an address that say where in its burst a beat lies
localparam BURSTS = 26;                     // width of a number of bursts: no transfer from acc has so many
localparam              LANE_SHIFT = $clog2(LANES);
localparam              LAST_PART  = PARTS - 1;
localparam [7:0]        FULL       = `VDLA_MAX_BURST - 1;
localparam [ENTRY-1:0]  DEPTH      = `VDLA_ACC_DEPTH;

// ----------------------------------------------------------------------------
// The instruction

wire [`VDLA_DMA_SRAM_BASE_WIDTH-1:0] sram_base = insn[`VDLA_DMA_SRAM_BASE_BITS];
wire [`VDLA_DMA_DRAM_BASE_WIDTH-1:0] dram_tile = insn[`VDLA_DMA_DRAM_BASE_BITS];
wire [`VDLA_DMA_X_STRIDE_WIDTH-1:0]  x_stride  = insn[`VDLA_DMA_X_STRIDE_BITS];
wire [X-1:0] x_size = insn[`VDLA_DMA_X_SIZE_BITS];
wire [Y-1:0] y_size = insn[`VDLA_DMA_Y_SIZE_BITS];

wire             has_data  = |x_size && |y_size;
wire [REACH-1:0] offset    = {{REACH - `VDLA_DMA_DRAM_BASE_WIDTH{1'b0}}, dram_tile} << SHIFT;
wire [REACH-1:0] address   = offset + {{REACH - `VDLA_ADDRESS_WIDTH{1'b0}}, dram_base};
wire [REACH-1:0] stride    = {{REACH - `VDLA_DMA_X_STRIDE_WIDTH{1'b0}}, x_stride} << SHIFT;
wire [31:0]      row_bytes = {{32 - X{1'b0}}, x_size} << SHIFT;
wire [ENTRY-1:0] base      = {{ENTRY - `VDLA_DMA_SRAM_BASE_WIDTH{1'b0}}, sram_base};

reg             setup_q;   // t + 3
reg             moves_q;   // there is something to move
reg [ENTRY-1:0] entries_q; // in all
reg [ENTRY:0]   room_q;    // entries from the first to acc's end; negative when that is before it

always @(posedge clk)
    if (rst) begin
        setup_q    <= 1'b0;
        sram_fault <= 1'b0;
    end else begin
        setup_q <= begun;
        if (setup_q)
            sram_fault <= moves_q && (room_q[ENTRY] || entries_q > room_q[ENTRY-1:0]);
    end

always @(posedge clk)
    if (begun) begin
        moves_q   <= has_data;
        entries_q <= {{ENTRY - X{1'b0}}, x_size} * {{ENTRY - Y{1'b0}}, y_size};
        room_q    <= {1'b0, DEPTH} - {1'b0, base};
    end

// ----------------------------------------------------------------------------
// Requests

wire burst_valid;
wire requests_left;
reg  pending_q; // a request is on the bus
wire aw_fire = aw_valid && aw_ready;

assign aw_valid = burst_valid && (pending_q || !halt);

vdla_bursts requests (
    .clk             (clk),
    .rst             (rst),
    .begin_valid     (begun),
    .begin_any       (has_data),
    .begin_address   (address),
    .begin_stride    (stride),
    .begin_row_bytes (row_bytes),
    .begin_rows      (y_size),
    .limit           (dram_end),
    .burst_valid     (burst_valid),
    .burst_ready     (aw_fire),
    .burst_address   (aw_address),
    .burst_length    (aw_length),
    .active          (requests_left),
    .out_of_range    (dram_fault)
);

always @(posedge clk)
    if (rst)
        pending_q <= 1'b0;
    else
        pending_q <= aw_valid && !aw_ready;

// ----------------------------------------------------------------------------
// The beats to read, and where in its burst each lies: a burst ends with a row, or with a block of VDLA_MAX_BURST beats

wire [ENTRY-1:0] entry;
wire [LANES-1:0] mask;
wire [PART-1:0]  part;
wire             ends_row;
wire             last;

vdla_beats #(.LANES(LANES), .PARTS(PARTS)) beats (
    .clk         (clk),
    .begin_valid (begun),
    .x_size      (x_size),
    .y_size      (y_size),
    .tile        (dram_tile[POS-1:0]),
    .tile_stride (x_stride[POS-1:0]),
    .lane_shift  (LANE_SHIFT[$clog2(POS):0]),
    .last_part   (LAST_PART[PART-1:0]),
    .pitch       ({{ENTRY - X{1'b0}}, x_size}),
    .first_entry (base),
    .step        (rd_valid),
    .entry       (entry),
    .mask        (mask),
    .part        (part),
    .ends_row    (ends_row),
    .last        (last)
);

reg  [LOW-1:0] row_q;        // the next row's first byte
reg  [7:0]     place_q;      // of the beat in its block
reg            ends_block_q; // it is the last place
wire           next_row   = setup_q || rd_valid && ends_row;
wire [7:0]     row_place  = row_q[BUS +: 8] & FULL;
wire [7:0]     next_place = (place_q + 1'b1) & FULL;
wire           ends_burst = ends_block_q || ends_row;

always @(posedge clk)
    if (begun)
        row_q <= address[LOW-1:0];
    else if (next_row)
        row_q <= row_q + stride[LOW-1:0];

always @(posedge clk)
    if (next_row) begin
        place_q      <= row_place;
        ends_block_q <= row_place == FULL;
    end else if (rd_valid) begin
        place_q      <= next_place;
        ends_block_q <= next_place == FULL;
    end

// ----------------------------------------------------------------------------
// When they are read: once the request of their burst is on the bus, and while there is room to queue them. Of the bursts
// requested and those whose data have all been read, `lead_q` is by how many the first are ahead; one of the second can
// be, while its request still waits.

reg              data_q;   // beats are left
reg [BURSTS-1:0] lead_q;
reg              ahead_q;  // lead_q is not 0
reg              behind_q; // one burst has been read before its request was taken
reg              space_q;  // in the queue
wire             read_over = rd_valid && ends_burst;

assign rd_valid = data_q && space_q && !behind_q && (ahead_q || aw_valid);
assign rd_entry = entry[INDEX-1:0];

always @(posedge clk)
    if (rst) begin
        data_q   <= 1'b0;
        lead_q   <= 0;
        ahead_q  <= 1'b0;
        behind_q <= 1'b0;
    end else begin
        data_q <= setup_q ? moves_q : data_q && !(rd_valid && last);
        if (aw_fire && !read_over) begin
            behind_q <= 1'b0;
            ahead_q  <= !behind_q;
            if (!behind_q)
                lead_q <= lead_q + 1;
        end else if (read_over && !aw_fire) begin
            behind_q <= !ahead_q;
            ahead_q  <= ahead_q && lead_q != 1;
            if (ahead_q)
                lead_q <= lead_q - 1;
        end
    end

// ----------------------------------------------------------------------------
// The beat that was read, one cycle later

reg             read_q;
reg             read_last_q;
reg [LANES-1:0] read_mask_q;
reg [PART-1:0]  read_part_q;

always @(posedge clk)
    if (rst)
        read_q <= 1'b0;
    else
        read_q <= rd_valid;

always @(posedge clk) begin
    read_last_q <= ends_burst;
    read_mask_q <= mask;
    read_part_q <= part;
end

wire [`VDLA_BUS_WIDTH-1:0] read_data;
wire [`VDLA_BUS_BYTES-1:0] read_strobe;

generate if (PARTS == 1) begin: whole
    assign read_data = rd_data[`VDLA_BUS_WIDTH-1:0];
end else begin: sliced
    assign read_data = rd_data[read_part_q[PART-2:0] * `VDLA_BUS_WIDTH +: `VDLA_BUS_WIDTH];
end endgenerate

genvar l;
generate for (l = 0; l < LANES; l = l + 1) begin: lane
    assign read_strobe[l * SLICE +: SLICE] = {SLICE{read_mask_q[l] && !sram_fault}};
end endgenerate

// Beats wait here for the bus: at most four, with those being read.
reg  [2:0] held_q;
wire [2:0] held_d = held_q + {2'b0, rd_valid} - {2'b0, w_valid && w_ready};
wire       queue_ready;
wire [2:0] queued;

always @(posedge clk)
    if (rst) begin
        held_q  <= 0;
        space_q <= 1'b1;
    end else begin
        held_q  <= held_d;
        space_q <= !held_d[2];
    end

vdla_fifo #(.DEPTH(4), .WIDTH(`VDLA_BUS_WIDTH + `VDLA_BUS_BYTES + 1)) queue (
    .clk        (clk),
    .rst        (rst),
    .push_valid (read_q),
    .push_ready (queue_ready),
    .push_data  ({read_last_q, read_strobe, read_data}),
    .pop_valid  (w_valid),
    .pop_ready  (w_ready),
    .pop_data   ({w_last, w_strobe, w_data}),
    .count      (queued)
);

// ----------------------------------------------------------------------------
// The end: when every burst has its response

reg [BURSTS-1:0] flying_q; // bursts requested and not answered
reg              none_q;   // that is 0
reg              one_q;    // or 1
reg              active_q;

assign done  = active_q && !requests_left && (b_valid ? one_q : none_q);
assign quiet = none_q && !pending_q && !w_valid && !read_q;

always @(posedge clk)
    if (rst) begin
        flying_q <= 0;
        none_q   <= 1'b1;
        one_q    <= 1'b0;
        active_q <= 1'b0;
    end else begin
        active_q <= begun || active_q && !done;
        if (aw_fire && !b_valid) begin
            flying_q <= flying_q + 1;
            none_q   <= 1'b0;
            one_q    <= none_q;
        end else if (b_valid && !aw_fire) begin
            flying_q <= flying_q - 1;
            none_q   <= one_q;
            one_q    <= flying_q == 2;
        end
    end

wire _unused = &{1'b0, queue_ready, queued, entry[ENTRY-1:INDEX], read_part_q};

endmodule

`default_nettype wire
