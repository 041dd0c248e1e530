// The GEMM core: every cycle (batch, block_in) times (block_out, block_in) transposed, int8 to int32.
//
//     stage  D      the operands come from the scratchpads (`valid`)
//            E      operand registers
//            F      operand registers again, beside the multipliers; products
//            G      product registers; sums of groups
//            H      sum registers; `totals`, combinational
//
// Element (b, o) of the totals is at 32 * (b * block_out + o). Registers hold while no operands come.

`default_nettype none

`include "vdla_config.vh"

module vdla_gemm #(
    parameter PACKED = 0
) (
    input  wire                            clk,
    input  wire                            rst,
    input  wire                            valid,
    input  wire [`VDLA_INP_TILE_WIDTH-1:0] inp,
    input  wire [`VDLA_WGT_TILE_WIDTH-1:0] wgt,
    output wire [`VDLA_ACC_TILE_WIDTH-1:0] totals
);

localparam SIZE = `VDLA_BLOCK_IN;
localparam ROW  = 8 * SIZE;
localparam PAIRS = (`VDLA_BLOCK_OUT + 1) / 2;

reg come_q;
reg multiply_q;
reg add_q;
reg [`VDLA_INP_TILE_WIDTH-1:0] inp_e_q;
reg [`VDLA_WGT_TILE_WIDTH-1:0] wgt_e_q;
reg [`VDLA_INP_TILE_WIDTH-1:0] inp_q;
reg [`VDLA_WGT_TILE_WIDTH-1:0] wgt_q;

always @(posedge clk)
    if (rst) begin
        come_q     <= 1'b0;
        multiply_q <= 1'b0;
        add_q      <= 1'b0;
    end else begin
        come_q     <= valid;
        multiply_q <= come_q;
        add_q      <= multiply_q;
    end

always @(posedge clk) begin
    if (valid) begin
        inp_e_q <= inp;
        wgt_e_q <= wgt;
    end
    if (come_q) begin
        inp_q <= inp_e_q;
        wgt_q <= wgt_e_q;
    end
end

genvar b;
genvar p;
generate for (b = 0; b < `VDLA_BATCH; b = b + 1) begin: row
    wire [31:0] excess; // 128 times the sum of the row, in stage H
    if (PACKED != 0) begin: packed_products
        reg [31:0] sum_q;
        reg [31:0] excess_q;
        reg [31:0] sum;
        integer i;
        always @(*) begin
            sum = 0;
            for (i = 0; i < SIZE; i = i + 1)
                sum = sum + {{24{inp_q[ROW * b + 8 * i + 7]}}, inp_q[ROW * b + 8 * i +: 8]};
        end
        always @(posedge clk)
            if (multiply_q)
                sum_q <= sum;
        always @(posedge clk)
            if (add_q)
                excess_q <= sum_q << 7;
        assign excess = excess_q;
    end else begin: plain_products
        assign excess = 32'd0;
    end

    for (p = 0; p < PAIRS; p = p + 1) begin: pair
        localparam EVEN = 2 * p;
        localparam ODD  = EVEN + 1 < `VDLA_BLOCK_OUT ? EVEN + 1 : EVEN; // block_out 1: the row pairs with itself
        wire [31:0] total_0;
        wire [31:0] total_1;
        vdla_dot #(.SIZE(SIZE), .PACKED(PACKED)) dot (
            .clk      (clk),
            .multiply (multiply_q),
            .add      (add_q),
            .x        (inp_q[ROW * b +: ROW]),
            .w0       (wgt_q[ROW * EVEN +: ROW]),
            .w1       (wgt_q[ROW * ODD +: ROW]),
            .excess   (excess),
            .total_0  (total_0),
            .total_1  (total_1)
        );
        assign totals[32 * (b * `VDLA_BLOCK_OUT + EVEN) +: 32] = total_0;
        if (ODD != EVEN) begin: odd
            assign totals[32 * (b * `VDLA_BLOCK_OUT + ODD) +: 32] = total_1;
        end else begin: single
            wire _unused = &{1'b0, total_1};
        end
    end
end endgenerate

endmodule

`default_nettype wire
