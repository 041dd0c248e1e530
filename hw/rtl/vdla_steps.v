// Turns the sequencer's steps into reads of acc, one a cycle.
//
// A GEMM step reads acc[dst] three cycles after stage C, while its operands go through the GEMM core. An ALU step reads
// at once: acc[dst] alone with an immediate operand; acc[src], then acc[dst] with a tensor operand; and per channel,
// bias and scale words at acc[src] and acc[src + 1] first, unless the step before left them in place. Meanwhile
// `advance` is low.
//
// The long ALU operations write acc LATENCY cycles after their read. A step that would read a tile before it is written
// waits. (GEMM and the other operations forward, see vdla_vector, and never wait.)

`default_nettype none

`include "vdla_config.vh"

module vdla_steps #(
    parameter SRC_WIDTH = `VDLA_UOP_SRC_WIDTH,
    parameter LATENCY   = 7
) (
    input  wire                             clk,
    input  wire                             rst,

    input  wire                             alu,         // these hold for the whole instruction
    input  wire                             tensor,
    input  wire                             per_channel,
    input  wire                             long,

    input  wire                             step_valid,
    input  wire [`VDLA_ACC_INDEX_WIDTH-1:0] step_dst,
    input  wire [SRC_WIDTH-1:0]             step_src,
    input  wire                             step_same_src,
    output wire                             advance,

    output wire                             gemm_valid,  // the operands of a GEMM step can be read

    output wire                             read_valid,
    output wire [1:0]                       read_what,
    output wire [`VDLA_ACC_INDEX_WIDTH-1:0] read_entry,

    output wire                             write_valid, // the long operation whose result comes now
    output wire [`VDLA_ACC_INDEX_WIDTH-1:0] write_entry,
    output wire [LATENCY:1]                 flying       // age of the long operations under way
);

`include "vdla_reads.vh"

localparam ACC = `VDLA_ACC_INDEX_WIDTH;

// ----------------------------------------------------------------------------
// GEMM: the read of acc is three cycles behind

reg [2:0]       gemm_valid_q;
reg [3*ACC-1:0] gemm_dst_q;

assign gemm_valid = step_valid && !alu;

always @(posedge clk)
    if (rst)
        gemm_valid_q <= 3'b0;
    else
        gemm_valid_q <= {gemm_valid_q[1:0], gemm_valid};

always @(posedge clk)
    gemm_dst_q <= {gemm_dst_q[2*ACC-1:0], step_dst};

// ----------------------------------------------------------------------------
// ALU: the reads of a step

wire           alu_valid = step_valid && alu;
wire [ACC-1:0] src       = step_src[ACC-1:0];
wire [ACC-1:0] src_next  = src + 1;

reg       later_q;      // not the first read of this step
reg       scale_next_q; // of the later reads, that of the scale words
reg       cached_q;     // bias and scale words are those of last step's src

wire fetch = per_channel && !(step_same_src && cached_q);
reg  [1:0]     what;
reg  [ACC-1:0] entry;

always @(*) begin
    what  = READ_DST;
    entry = step_dst;
    if (!later_q && tensor) begin
        what  = READ_SRC;
        entry = src;
    end else if (!later_q && fetch) begin
        what  = READ_BIAS;
        entry = src;
    end else if (later_q && scale_next_q) begin
        what  = READ_SCALE;
        entry = src_next;
    end
end

wire hazard;
wire read      = alu_valid && !hazard;
wire step_read = read && what == READ_DST;

assign advance = !alu_valid || step_read;

always @(posedge clk)
    if (rst) begin
        later_q      <= 1'b0;
        scale_next_q <= 1'b0;
    end else if (read) begin
        later_q      <= what != READ_DST;
        scale_next_q <= what == READ_BIAS;
    end

always @(posedge clk)
    if (step_read)
        cached_q <= step_dst != src && step_dst != src_next;

assign read_valid = alu ? read : gemm_valid_q[2];
assign read_what  = alu ? what : READ_DST;
assign read_entry = alu ? entry : gemm_dst_q[3*ACC-1:2*ACC];

// ----------------------------------------------------------------------------
// Long operations: the tiles they will write, by age

reg [LATENCY:1]     flying_q;
reg [LATENCY*ACC:1] flying_dst_q;
wire [LATENCY:1]    conflict;

genvar age;
generate for (age = 1; age <= LATENCY; age = age + 1) begin: ages
    assign conflict[age] = flying_q[age] && flying_dst_q[age * ACC -: ACC] == entry;
end endgenerate

assign hazard      = |conflict;
assign flying      = flying_q;
assign write_valid = flying_q[LATENCY];
assign write_entry = flying_dst_q[LATENCY * ACC -: ACC];

always @(posedge clk)
    if (rst)
        flying_q <= 0;
    else
        flying_q <= {flying_q[LATENCY-1:1], long && step_read};

always @(posedge clk)
    flying_dst_q <= {flying_dst_q[(LATENCY-1)*ACC:1], step_dst};

endmodule

`default_nettype wire
