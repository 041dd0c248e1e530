// vdla_bursts: every burst is legal and stays until it is taken; the bursts of a row are consecutive, cover its beats
// exactly, and there are as many rows as were asked for; none ends beyond the limit. The first comes two cycles after the
// transfer begins, and each of the others in the cycle after the one before is taken.

`default_nettype none

`include "vdla_config.vh"

module bursts_proof (
    input wire                             clk,
    input wire                             begin_valid,
    input wire                             begin_any,
    input wire [`VDLA_REACH_WIDTH-1:0]     begin_address,
    input wire [`VDLA_REACH_WIDTH-1:0]     begin_stride,
    input wire [31:0]                      begin_row_bytes,
    input wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] begin_rows,
    input wire [`VDLA_ADDRESS_WIDTH:0]     limit_any,
    input wire                             burst_ready
);

localparam REACH = `VDLA_REACH_WIDTH;
localparam A     = `VDLA_ADDRESS_WIDTH;
localparam SHIFT = `VDLA_BUS_SHIFT;
localparam [REACH-1:0] BUS = `VDLA_BUS_BYTES;

reg rst = 1'b1;
always @(posedge clk)
    rst <= 1'b0;

reg [A:0] limit = 0; // does not change during a transfer
wire      active;
always @(posedge clk)
    if (!active && !begin_valid)
        limit <= limit_any;

wire         burst_valid;
wire [A-1:0] burst_address;
wire [7:0]   burst_length;
wire         out_of_range;

vdla_bursts dut (
    .clk(clk), .rst(rst),
    .begin_valid(begin_valid), .begin_any(begin_any), .begin_address(begin_address), .begin_stride(begin_stride),
    .begin_row_bytes(begin_row_bytes), .begin_rows(begin_rows), .limit(limit),
    .burst_valid(burst_valid), .burst_ready(burst_ready), .burst_address(burst_address), .burst_length(burst_length),
    .active(active), .out_of_range(out_of_range)
);

// What the instruction formats allow
always @(*) begin
    assume (!begin_valid || !active);
    assume (!burst_ready || burst_valid);
    assume (begin_row_bytes < 32'h4000_0000 && (!begin_any || begin_row_bytes != 0 && begin_rows != 0));
    assume (begin_address < {2'b01, {REACH - 2{1'b0}}} && begin_stride < {1'b1, {REACH - 14{1'b0}}});
    assume (limit_any <= {1'b1, {A{1'b0}}});
end

// The transfer as it should be: this row, and the beat where the next burst begins
localparam BEAT = REACH - SHIFT;
reg [REACH-1:0] row_q;
reg [BEAT-1:0]  beat_q;
reg [REACH-1:0] stride_q;
reg [31:0]      size_q;
reg [`VDLA_DMA_Y_SIZE_WIDTH-1:0] rows_q = 0; // left, with this one

wire [REACH-1:0] row_end   = row_q + size_q;
wire [REACH-1:0] rounded   = row_end + BUS - 1;
wire [BEAT-1:0]  end_beat  = rounded[REACH-1:SHIFT]; // one past the row's last
wire [REACH-1:0] last_byte = row_end - 1;
wire [BEAT-1:0]  burst_end = beat_q + burst_length + 1;
wire [REACH-1:0] next_row  = row_q + stride_q;
wire             take      = burst_valid && burst_ready;
wire             row_over  = burst_end == end_beat;
wire [BEAT-1:0]  to_end    = end_beat - beat_q;
wire [BEAT-1:0]  to_block  = `VDLA_MAX_BURST - beat_q % `VDLA_MAX_BURST;

always @(posedge clk)
    if (rst)
        rows_q <= 0;
    else if (begin_valid) begin
        row_q    <= begin_address;
        beat_q   <= begin_address[REACH-1:SHIFT];
        stride_q <= begin_stride;
        size_q   <= begin_row_bytes;
        rows_q   <= begin_any ? begin_rows : 0;
    end else if (take) begin
        row_q  <= row_over ? next_row : row_q;
        beat_q <= row_over ? next_row[REACH-1:SHIFT] : burst_end;
        rows_q <= rows_q - row_over;
    end

check_stream #(.WIDTH(A + 8)) promise (
    .clk(clk), .rst(rst), .valid(burst_valid), .ready(burst_ready), .payload({burst_address, burst_length})
);
check_burst legal (.rst(rst), .valid(burst_valid), .address(burst_address), .length(burst_length));

reg fresh_q = 1'b0; // the cycle after a transfer has begun
always @(posedge clk)
    fresh_q <= !rst && begin_valid && begin_any;

// For the induction: how the module's registers stand to that
localparam BURST = $clog2(`VDLA_MAX_BURST);
localparam BLOCK = SHIFT + BURST;
(* hierconn *) wire              \dut.row_valid_q ;
(* hierconn *) wire [REACH-1:0]  \dut.row_q ;
(* hierconn *) wire [REACH-1:0]  \dut.stride_q ;
(* hierconn *) wire [31:0]       \dut.reach_q ;
(* hierconn *) wire [REACH:0]    \dut.last_row_q ;
(* hierconn *) wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] \dut.rows_q ;
(* hierconn *) wire [A-SHIFT-1:0] \dut.beat_q ;
(* hierconn *) wire [31-BLOCK:0] \dut.left_q ;
(* hierconn *) wire              \dut.last_q ;
(* hierconn *) wire [7:0]        \dut.end_q ;

wire [REACH-BLOCK-1:0] blocks_left = last_byte[REACH-1:BLOCK] - beat_q[BEAT-1:BURST]; // after this burst's
wire [7:0]             row_end_place = last_byte[SHIFT +: 8] & (`VDLA_MAX_BURST - 1);

always @(*)
    if (!rst) begin
        assert (active == (rows_q != 0));
        assert (limit <= {1'b1, {A{1'b0}}});
        assert (active == (fresh_q || burst_valid || out_of_range));
        assert (!burst_valid || !out_of_range);
        if (active) begin
            assert (size_q != 0 && size_q < 32'h4000_0000);
            assert (row_q < {2'b01, {REACH - 2{1'b0}}} && stride_q < {1'b1, {REACH - 14{1'b0}}});
            assert (\dut.stride_q == stride_q);
            assert (\dut.reach_q == size_q - 1);
            assert (\dut.last_row_q == {{REACH - A{1'b0}}, limit} - {{REACH - 31{1'b0}}, size_q});
            assert (beat_q < end_beat && beat_q >= row_q[REACH-1:SHIFT]);
        end
        if (fresh_q) begin
            assert (!burst_valid && !out_of_range && \dut.row_valid_q );
            assert (\dut.row_q == row_q && \dut.rows_q == rows_q && beat_q == row_q[REACH-1:SHIFT]);
        end else if (active) begin
            assert (\dut.row_valid_q == (rows_q != 1));
            assert (!\dut.row_valid_q || \dut.row_q == next_row && \dut.rows_q == rows_q - 1);
            assert (out_of_range == (row_end > limit));
        end else
            assert (!\dut.row_valid_q );
        if (burst_valid) begin
            assert (burst_address == {beat_q, {SHIFT{1'b0}}});
            assert (burst_end <= end_beat);
            assert (burst_length == (to_end < to_block ? to_end : to_block) - 1);
            assert (\dut.beat_q == beat_q[A-SHIFT-1:0]);
            assert (\dut.left_q == blocks_left);
            assert (\dut.last_q == (blocks_left == 0));
            assert (\dut.last_q ? row_over : burst_end % `VDLA_MAX_BURST == 0);
            assert (\dut.end_q == row_end_place);
        end
    end

always @(posedge clk)
    if (!rst) begin
        cover (take && row_over && rows_q == 2);
        cover (take && burst_length < `VDLA_MAX_BURST - 1 && !row_over); // cut where a block ends
        cover (out_of_range);
    end

endmodule

`default_nettype wire
