// Two dot products of SIZE int8 pairs with the same x. Product registers, then registers of sums over groups; the totals
// are combinational, two cycles after the operands. A stage holds while its enable is low.
//
// PACKED: the two rows share each multiplier. The operand {w1, 8'b0, w0 + 128} is w1 * 2^16 + (w0 + 128): 24 bits, signed.
// Of its product with x, the low 16 bits are (w0 + 128) * x exactly, as a signed number, and the high 16 bits are w1 * x,
// less one when the low ones are negative. What the 128 adds to the total, 128 * sum(x), comes as `excess`.

`default_nettype none

module vdla_dot #(
    parameter SIZE   = 16,
    parameter PACKED = 0
) (
    input  wire              clk,
    input  wire              multiply, // x and w are there: their products in the next cycle
    input  wire              add,      // products are there: their sums in the next cycle

    input  wire [8*SIZE-1:0] x,
    input  wire [8*SIZE-1:0] w0,
    input  wire [8*SIZE-1:0] w1,
    input  wire [31:0]       excess,   // PACKED only, with the totals

    output wire [31:0]       total_0,
    output wire [31:0]       total_1
);

localparam GROUP  = 1 << (($clog2(SIZE) + 1) / 2);
localparam GROUPS = (SIZE + GROUP - 1) / GROUP;

reg  [32*SIZE-1:0]   products_q; // of each term, row 1 over row 0, 16 bits each
reg  [32*GROUPS-1:0] sums_0_q;
reg  [32*GROUPS-1:0] sums_1_q;

// ----------------------------------------------------------------------------
// Products

function [31:0] apart(input signed [7:0] factor, input signed [7:0] row_0, input signed [7:0] row_1);
    reg signed [15:0] product_0, product_1;
    begin
        product_0 = row_0 * factor;
        product_1 = row_1 * factor;
        apart = {product_1, product_0};
    end
endfunction

function [31:0] together(input signed [7:0] factor, input [7:0] row_0, input [7:0] row_1);
    reg signed [23:0] pair;
    reg signed [31:0] product;
    begin
        pair = {row_1, 8'b0, !row_0[7], row_0[6:0]};
        product = pair * factor;
        together = product;
    end
endfunction

integer i;
always @(posedge clk)
    if (multiply)
        for (i = 0; i < SIZE; i = i + 1)
            products_q[32 * i +: 32] <= PACKED != 0 ? together(x[8 * i +: 8], w0[8 * i +: 8], w1[8 * i +: 8])
                                                    : apart(x[8 * i +: 8], w0[8 * i +: 8], w1[8 * i +: 8]);

// ----------------------------------------------------------------------------
// Sums of groups. The group's terms come as one word; SIZE is a multiple of GROUP or below it.

localparam TERMS = SIZE < GROUP ? SIZE : GROUP;

function [31:0] sum_0(input [32*TERMS-1:0] terms);
    integer k;
    begin
        sum_0 = 0;
        for (k = 0; k < TERMS; k = k + 1)
            sum_0 = sum_0 + {{16{terms[32 * k + 15]}}, terms[32 * k +: 16]};
    end
endfunction

function [31:0] sum_1(input [32*TERMS-1:0] terms);
    integer k;
    begin
        sum_1 = 0;
        for (k = 0; k < TERMS; k = k + 1) begin
            sum_1 = sum_1 + {{16{terms[32 * k + 31]}}, terms[32 * k + 16 +: 16]};
            if (PACKED != 0)
                sum_1 = sum_1 + {31'b0, terms[32 * k + 15]};
        end
    end
endfunction

integer g;
always @(posedge clk)
    if (add)
        for (g = 0; g < GROUPS; g = g + 1) begin
            sums_0_q[32 * g +: 32] <= sum_0(products_q[32 * TERMS * g +: 32 * TERMS]);
            sums_1_q[32 * g +: 32] <= sum_1(products_q[32 * TERMS * g +: 32 * TERMS]);
        end

// ----------------------------------------------------------------------------
// Totals

function [31:0] sum(input [32*GROUPS-1:0] sums);
    integer k;
    begin
        sum = 0;
        for (k = 0; k < GROUPS; k = k + 1)
            sum = sum + sums[32 * k +: 32];
    end
endfunction

assign total_0 = sum(sums_0_q) - (PACKED != 0 ? excess : 32'd0);
assign total_1 = sum(sums_1_q);

endmodule

`default_nettype wire
