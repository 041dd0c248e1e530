// vdla_bursts: every burst is legal and stays until it is taken; the bursts of a row are consecutive, cover its beats
// exactly, and there are as many rows as were asked for; none ends beyond the limit.

`default_nettype none

`include "vdla_config.vh"

module bursts_proof (
    input wire                             clk,
    input wire                             begin_valid,
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
wire [8:0]   burst_beats;
wire         out_of_range;

vdla_bursts dut (
    .clk(clk), .rst(rst),
    .begin_valid(begin_valid), .begin_address(begin_address), .begin_stride(begin_stride),
    .begin_row_bytes(begin_row_bytes), .begin_rows(begin_rows), .limit(limit),
    .burst_valid(burst_valid), .burst_ready(burst_ready), .burst_address(burst_address), .burst_beats(burst_beats),
    .active(active), .out_of_range(out_of_range)
);

// What the instruction formats allow
always @(*) begin
    assume (!begin_valid || !active);
    assume (begin_row_bytes != 0 && begin_row_bytes < 32'h4000_0000 && begin_rows != 0);
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
wire [BEAT-1:0]  burst_end = beat_q + burst_beats;
wire [REACH-1:0] next_row  = row_q + stride_q;
wire             take      = burst_valid && burst_ready;
wire             row_over  = burst_end == end_beat;

always @(posedge clk)
    if (rst)
        rows_q <= 0;
    else if (begin_valid) begin
        row_q    <= begin_address;
        beat_q   <= begin_address[REACH-1:SHIFT];
        stride_q <= begin_stride;
        size_q   <= begin_row_bytes;
        rows_q   <= begin_rows;
    end else if (take) begin
        row_q  <= row_over ? next_row : row_q;
        beat_q <= row_over ? next_row[REACH-1:SHIFT] : burst_end;
        rows_q <= rows_q - row_over;
    end

wire [8:0] length = burst_beats - 1;
check_stream #(.WIDTH(A + 9)) promise (
    .clk(clk), .rst(rst), .valid(burst_valid), .ready(burst_ready), .payload({burst_address, burst_beats})
);
check_burst legal (.rst(rst), .valid(burst_valid), .address(burst_address), .length(length[7:0]));

// For the induction: how the module's registers stand to that
(* hierconn *) wire [REACH-1:0]    \dut.row_q ;
(* hierconn *) wire [REACH-1:0]    \dut.stride_q ;
(* hierconn *) wire [31:0]         \dut.span_q ;
(* hierconn *) wire [REACH:0]      \dut.last_row_q ;
(* hierconn *) wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] \dut.rows_q ;
(* hierconn *) wire [A-SHIFT-1:0]  \dut.beat_q ;
(* hierconn *) wire [31-SHIFT:0]   \dut.left_q ;

always @(*)
    if (!rst) begin
        assert (active == (rows_q != 0));
        assert (limit <= {1'b1, {A{1'b0}}});
        if (active) begin
            assert (size_q != 0 && size_q < 32'h4000_0000);
            assert (row_q < {2'b01, {REACH - 2{1'b0}}} && stride_q < {1'b1, {REACH - 14{1'b0}}});
            assert (\dut.row_q == row_q && \dut.stride_q == stride_q && \dut.rows_q == rows_q);
            assert (\dut.span_q == size_q + BUS - 1);
            assert (\dut.last_row_q == {{REACH - A{1'b0}}, limit} - {{REACH - 31{1'b0}}, size_q});
            assert (\dut.beat_q == beat_q[A-SHIFT-1:0]);
            assert (beat_q < end_beat && beat_q >= row_q[REACH-1:SHIFT]);
            assert (\dut.left_q == end_beat - beat_q);
            assert (burst_valid == !out_of_range);
            assert (out_of_range == (row_end > limit));
        end
        if (burst_valid) begin
            assert (burst_address == {beat_q, {SHIFT{1'b0}}});
            assert (burst_end <= end_beat);
        end
    end

always @(posedge clk)
    if (!rst) begin
        cover (take && row_over && rows_q == 2);
        cover (take && burst_beats < `VDLA_MAX_BURST && !row_over); // cut at a 4 KiB boundary
        cover (out_of_range);
    end

endmodule

`default_nettype wire
