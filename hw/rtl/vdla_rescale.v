// One lane of the long ALU operations: MUL, SHL, SHR, CLIP, REQUANTISE and RESCALE are all
//
//     clip(round((x + bias) * multiplier / 2^shift) + zero_point)
//
// with the parts that an operation does not use at 0 or 1. `stage` says which stages have something to do:
//
//     0   x, y, bias and scale are there; x + bias and the multiplier are registered
//     1   registered once more: a multiplier's operands come from afar
//     2   two partial products, of the low 17 bits of x + bias and of the rest
//     3   their sum: the product, 51 bits
//     4   shifted by the multiple of eight in the shift, one bit below the point kept
//     5   and by the rest of it; whether any bit below that one was set
//     6   rounded half to even by these, and the zero point added
//     7   saturated
//     8   compared with the bounds
//     9   clipped: `result` is a register
//
// The multiplier has 20 bits with its sign, and a magnitude below 2^19: what a scale word says is 2^18 and its fraction.
// MUL by a tensor multiplies twice, by the low 19 bits of y and by the rest, in consecutive cycles (stage 0 is busy at most
// every other cycle); the second product is added in stage 6. SHL multiplies by a power of two.

`default_nettype none

`include "vdla_config.vh"

module vdla_rescale (
    input  wire        clk,
    input  wire [9:0]  stage,

    input  wire        op_multiply, // these hold for the whole instruction
    input  wire        op_left,
    input  wire        op_right,
    input  wire        op_scale,    // REQUANTISE or RESCALE: saturates, where the others wrap
    input  wire        op_clip,     // REQUANTISE and CLIP: to [low, high]
    input  wire        immediate,   // y is 16 bits
    input  wire [7:0]  low,
    input  wire [7:0]  high,

    input  wire [31:0] x,
    input  wire [31:0] y,
    input  wire [31:0] bias,
    input  wire [31:0] scale,
    output reg  [31:0] result
);

localparam F = `VDLA_SCALE_FRACTION_WIDTH;
localparam M = F + 2;
localparam PRODUCT = 31 + M;
localparam BYTES = (PRODUCT + 8) / 8; // of the product with a bit below the point

// ----------------------------------------------------------------------------
// 0: operands

wire [M-1:0] power = {{M - 1{1'b0}}, 1'b1} << y[3:0];

reg signed [31:0]  a_q;
reg signed [M-1:0] m_q;
reg signed [M-1:0] m_high_q; // of y, for the second product
reg [5:0]          shift_0_q;
reg [7:0]          zero_0_q;

always @(posedge clk)
    if (stage[0]) begin
        a_q       <= op_scale ? x + bias : op_left && y[4] ? {x[15:0], 16'b0} : x;
        m_q       <= op_scale ? {2'b01, scale[`VDLA_SCALE_FRACTION_BITS]}
                   : op_left ? power
                   : !op_multiply ? {{M - 1{1'b0}}, 1'b1}
                   : immediate ? y[M-1:0] : {1'b0, y[M-2:0]};
        m_high_q  <= {{2 * M - 33{y[31]}}, y[31:M-1]};
        shift_0_q <= op_scale ? scale[`VDLA_SCALE_SHIFT_BITS] : op_right ? {1'b0, y[4:0]} : 6'd0;
        zero_0_q  <= op_scale ? scale[`VDLA_SCALE_ZERO_POINT_BITS] : 8'd0;
    end else
        m_q <= m_high_q;

// ----------------------------------------------------------------------------
// 1, 2, 3: the product, from two that fit a DSP block's 25x18 multiplier

reg signed [31:0]   a_1_q;
reg signed [M-1:0]  m_1_q;
reg signed [M+16:0] low_q;
reg signed [M+13:0] high_q;
reg [PRODUCT-1:0]   product_q;

wire signed [17:0] a_low  = {1'b0, a_1_q[16:0]};
wire signed [14:0] a_high = a_1_q[31:17];

// From the multiplier on, a stage and the one after it: the second product of MUL.
always @(posedge clk) begin
    m_1_q <= m_q;
    if (stage[1])
        a_1_q <= a_q;
    if (stage[2] || stage[3]) begin
        low_q  <= a_low * m_1_q;
        high_q <= a_high * m_1_q;
    end
    if (stage[3] || stage[4])
        product_q <= {high_q, 17'b0} + {{PRODUCT - M - 17{low_q[M+16]}}, low_q};
end

// ----------------------------------------------------------------------------
// Shift and zero point on their way

reg [5:0] shift_1_q;
reg [5:0] shift_2_q;
reg [5:0] shift_3_q;
reg [2:0] shift_4_q;
reg [7:0] zero_1_q;
reg [7:0] zero_2_q;
reg [7:0] zero_3_q;
reg [7:0] zero_4_q;
reg [7:0] zero_5_q;

always @(posedge clk) begin
    if (stage[1]) begin
        shift_1_q <= shift_0_q;
        zero_1_q  <= zero_0_q;
    end
    if (stage[2]) begin
        shift_2_q <= shift_1_q;
        zero_2_q  <= zero_1_q;
    end
    if (stage[3]) begin
        shift_3_q <= shift_2_q;
        zero_3_q  <= zero_2_q;
    end
    if (stage[4]) begin
        shift_4_q <= shift_3_q[2:0];
        zero_4_q  <= zero_3_q;
    end
    if (stage[5])
        zero_5_q <= zero_4_q;
end

// ----------------------------------------------------------------------------
// 4, 5, 6: shift, round

reg signed [PRODUCT:0] coarse_q;
reg signed [PRODUCT:0] shifted_q;
reg [BYTES-1:0]        lost_q;   // which of the bytes shifted out are not 0
reg                    sticky_q; // a bit below the half is set
reg [32-M:0]           second_q; // of the second product of MUL, what is not lost in the end
reg [PRODUCT:0]        rounded_q;

wire signed [PRODUCT:0] product_half = {product_q, 1'b0};
wire [8*BYTES-1:0] padded = {{8 * BYTES - PRODUCT - 1{1'b0}}, product_half};
wire [BYTES-1:0] nonzero;
genvar i;
generate
    for (i = 0; i < BYTES; i = i + 1) begin : byte_of_product
        assign nonzero[i] = padded[8*i +: 8] != 8'b0;
    end
endgenerate

wire [BYTES-1:0] lost_bytes = ~({BYTES{1'b1}} << shift_3_q[5:3]);
wire [6:0]       lost_bits  = ~(7'h7f << shift_4_q);
wire             round_up   = shifted_q[0] && (sticky_q || shifted_q[1]);

wire [PRODUCT:0] second = {{PRODUCT - 31{second_q[32-M]}}, second_q, {M - 1{1'b0}}};
wire [PRODUCT:0] addend = op_multiply ? (immediate ? {PRODUCT + 1{1'b0}} : second)
                                      : {{PRODUCT - 7{zero_5_q[7]}}, zero_5_q};

always @(posedge clk) begin
    if (stage[4]) begin
        coarse_q <= product_half >>> {shift_3_q[5:3], 3'b0};
        lost_q   <= nonzero & lost_bytes;
    end
    if (stage[5]) begin
        shifted_q <= coarse_q >>> shift_4_q;
        sticky_q  <= lost_q != 0 || (coarse_q[6:0] & lost_bits) != 0;
        second_q  <= product_q[32-M:0];
    end
    if (stage[6])
        rounded_q <= {shifted_q[PRODUCT], shifted_q[PRODUCT:1]} + addend + {{PRODUCT{1'b0}}, round_up};
end

// ----------------------------------------------------------------------------
// 7, 8, 9: saturate, clip

reg signed [31:0] bounded_q;
reg [31:0]        unclipped_q;
reg               below_q;
reg               above_q;
reg               inverted_q; // low > high

wire               negative = rounded_q[PRODUCT];
wire               wide     = rounded_q[PRODUCT:31] != {PRODUCT - 30{negative}};
wire signed [31:0] low_w    = {{24{low[7]}}, low};
wire signed [31:0] high_w   = {{24{high[7]}}, high};

always @(posedge clk) begin
    inverted_q <= $signed(low) > $signed(high);
    if (stage[7])
        bounded_q <= op_scale && wide ? {negative, {31{!negative}}} : rounded_q[31:0];
    if (stage[8]) begin
        unclipped_q <= bounded_q;
        below_q     <= bounded_q < low_w;
        above_q     <= bounded_q > high_w || inverted_q; // clipped from above last, as np.clip: the upper bound wins
    end
    if (stage[9])
        result <= !op_clip ? unclipped_q : above_q ? high_w : below_q ? low_w : unclipped_q;
end

endmodule

`default_nettype wire
