// vdla_fetch against a memory that answers when it likes: its requests keep the promise and are legal bursts, at most
// VDLA_OUTSTANDING in flight, never for more than the buffer has room for, in all exactly the program; it dispatches
// nothing that has not come, and what it dispatches stays until a queue takes it.

`default_nettype none

`include "vdla_config.vh"

module fetch_proof (
    input wire                       clk,
    input wire [27:0]                page,
    input wire [5:0]                 length,
    input wire                       ar_ready,
    input wire                       r_valid,
    input wire [`VDLA_BUS_WIDTH-1:0] r_data,
    input wire                       r_last,
    input wire [2:0]                 dispatch_ready
);

localparam A        = `VDLA_ADDRESS_WIDTH;
localparam PER_INSN = `VDLA_INSTRUCTION_WIDTH / `VDLA_BUS_WIDTH;
localparam ROOM     = `VDLA_FETCH_BLOCKS * `VDLA_FETCH_BLOCK * PER_INSN;

reg rst = 1'b1;
reg [27:0] page_q;
reg [5:0]  length_q;
always @(posedge clk) begin
    rst <= 1'b0;
    if (rst) begin
        page_q   <= page;
        length_q <= length;
    end
end

wire         ar_valid;
wire [A-1:0] ar_address;
wire [7:0]   ar_length;
wire [2:0]   dispatch_valid;
wire [`VDLA_INSTRUCTION_WIDTH-1:0] dispatch_insn;
wire         bad, waiting, all_dispatched, quiet;
wire [31:0]  dispatched;

vdla_fetch dut (
    .clk(clk), .rst(rst), .halt(1'b0), .program_address({page_q, 12'b0}), .program_length({26'b0, length_q}),
    .ar_valid(ar_valid), .ar_ready(ar_ready), .ar_address(ar_address), .ar_length(ar_length),
    .r_valid(r_valid), .r_data(r_data), .r_last(r_last),
    .dispatch_valid(dispatch_valid), .dispatch_ready(dispatch_ready), .dispatch_insn(dispatch_insn),
    .bad(bad), .waiting(waiting), .dispatched(dispatched), .all_dispatched(all_dispatched), .quiet(quiet)
);

// The memory: bursts come back in order, with as many beats as were asked for
wire [6:0] flying;
check_reads memory (
    .clk(clk), .rst(rst), .ar_valid(ar_valid), .ar_ready(ar_ready), .ar_address(ar_address), .ar_length(ar_length),
    .r_over(r_valid && r_last), .flying(flying)
);

localparam DEPTH = 4; // more bursts than are in flight
reg [7:0] lengths [0:DEPTH-1];
reg [1:0] asked_q = 0, answered_q = 0;
reg [7:0] beat_q = 0;
reg [9:0] requested_q = 0, received_q = 0; // beats in all

always @(posedge clk)
    if (!rst) begin
        if (ar_valid && ar_ready) begin
            lengths[asked_q] <= ar_length;
            asked_q     <= asked_q + 1;
            requested_q <= requested_q + ar_length + 1;
        end
        if (r_valid) begin
            beat_q     <= r_last ? 0 : beat_q + 1;
            answered_q <= answered_q + r_last;
            received_q <= received_q + 1;
        end
    end

wire [9:0] total = length_q * PER_INSN;
wire [9:0] taken = (dispatched & ~32'd7) * PER_INSN; // whole blocks that are free again
wire [9:0] asked = requested_q + (ar_valid ? ar_length + 1 : 0);

check_stream #(.WIDTH(`VDLA_INSTRUCTION_WIDTH)) insn (
    .clk(clk), .rst(rst), .valid(|dispatch_valid), .ready(|(dispatch_valid & dispatch_ready)), .payload(dispatch_insn)
);

always @(*) begin
    assume (!r_valid || flying != 0 && r_last == (beat_q == lengths[answered_q]));
    assume (rst || length_q != 0);
    if (!rst) begin
        assert (asked <= total);
        assert (asked <= taken + ROOM);
        assert (ar_address == {page_q, 12'b0} + requested_q * `VDLA_BUS_BYTES);
        assert (dispatch_valid == 0 || (dispatched + 1) * PER_INSN <= received_q);
        assert (dispatched <= length_q);
        assert (quiet == (flying == 0 && !(ar_valid && !ar_ready)) || ar_valid);
    end
end

always @(posedge clk)
    if (!rst)
        cover (dispatched == 2);

endmodule

`default_nettype wire
