// vdla_store against a memory that takes and answers when it likes: requests and data keep the ready/valid promise; every
// request is a legal burst; each burst has as many beats as it asked for, the last one marked, none before the request of
// its burst is on the bus; `done` comes only when every burst has its response. The transfer is the parameters'; what is
// arbitrary is when the memory does what. (That the bursts of every transfer are legal is bursts_proof.)

`default_nettype none

`include "vdla_config.vh"

module store_proof #(
    parameter X_SIZE    = 6,
    parameter Y_SIZE    = 1,
    parameter X_STRIDE  = 7,
    parameter DRAM_BASE = 1021 // three beats before the end of a block, and of 4 KiB
) (
    input wire                               clk,
    input wire                               aw_ready,
    input wire                               w_ready,
    input wire                               b_valid,
    input wire [`VDLA_OUT_TILE_WIDTH-1:0]    rd_data
);

localparam A = `VDLA_ADDRESS_WIDTH;

reg rst = 1'b1;
reg begun = 1'b0;
reg idle_q = 1'b1; // one instruction, at once
always @(posedge clk) begin
    rst    <= 1'b0;
    begun  <= rst && idle_q;
    idle_q <= rst;
end

reg [`VDLA_INSTRUCTION_WIDTH-1:0] insn;
always @(*) begin
    insn = 0;
    insn[`VDLA_DMA_X_SIZE_BITS]    = X_SIZE;
    insn[`VDLA_DMA_Y_SIZE_BITS]    = Y_SIZE;
    insn[`VDLA_DMA_X_STRIDE_BITS]  = X_STRIDE;
    insn[`VDLA_DMA_DRAM_BASE_BITS] = DRAM_BASE;
end

wire          aw_valid, w_valid, w_last, rd_valid, sram_fault, dram_fault, quiet, done;
wire [A-1:0]  aw_address;
wire [7:0]    aw_length;
wire [`VDLA_BUS_WIDTH-1:0] w_data;
wire [`VDLA_BUS_BYTES-1:0] w_strobe;
wire [`VDLA_ACC_INDEX_WIDTH-1:0] rd_entry;

vdla_store #(.LANES(1), .INDEX(`VDLA_ACC_INDEX_WIDTH)) dut (
    .clk(clk), .rst(rst), .halt(1'b0), .begun(begun), .insn(insn), .done(done),
    .dram_base({A{1'b0}}), .dram_end({1'b1, {A{1'b0}}}),
    .aw_valid(aw_valid), .aw_ready(aw_ready), .aw_address(aw_address), .aw_length(aw_length),
    .w_valid(w_valid), .w_ready(w_ready), .w_data(w_data), .w_strobe(w_strobe), .w_last(w_last), .b_valid(b_valid),
    .rd_valid(rd_valid), .rd_entry(rd_entry), .rd_data(rd_data),
    .sram_fault(sram_fault), .dram_fault(dram_fault), .quiet(quiet)
);

check_stream #(.WIDTH(A + 8)) requests (
    .clk(clk), .rst(rst), .valid(aw_valid), .ready(aw_ready), .payload({aw_address, aw_length})
);
check_stream #(.WIDTH(`VDLA_BUS_WIDTH + `VDLA_BUS_BYTES + 1)) beats (
    .clk(clk), .rst(rst), .valid(w_valid), .ready(w_ready), .payload({w_last, w_strobe, w_data})
);
check_burst bursts (.rst(rst), .valid(aw_valid), .address(aw_address), .length(aw_length));

// The lengths asked for, in order
reg [7:0] lengths [0:7];
reg [2:0] asked_q = 0;    // requests taken
reg [2:0] written_q = 0;  // bursts whose last beat is taken
reg [2:0] answered_q = 0;
reg [7:0] beat_q = 0;

wire      waits  = aw_valid; // a request is on the bus, and may be the one these data belong to
wire [7:0] length = written_q == asked_q ? aw_length : lengths[written_q];

always @(posedge clk)
    if (!rst) begin
        if (aw_valid && aw_ready) begin
            lengths[asked_q] <= aw_length;
            asked_q <= asked_q + 1;
        end
        if (w_valid && w_ready) begin
            beat_q    <= w_last ? 0 : beat_q + 1;
            written_q <= written_q + w_last;
        end
        answered_q <= answered_q + b_valid;
    end

always @(*) begin
    assume (!b_valid || answered_q != written_q && answered_q != asked_q);
    if (!rst) begin
        if (w_valid) begin
            assert (written_q < asked_q || written_q == asked_q && waits);
            assert (w_last == (beat_q == length));
        end
        if (done && !begun) begin
            assert (asked_q == written_q && asked_q == answered_q + b_valid);
            assert (!aw_valid && !w_valid);
        end
    end
end

always @(posedge clk)
    if (!rst)
        cover (done && written_q == 2);

endmodule

`default_nettype wire
