// vdla_read_requests against a memory that answers when it likes: its requests keep the ready/valid promise, with the
// bus held back and with `halt` at any time; no more than VDLA_OUTSTANDING bursts are ever in flight; `quiet` says exactly
// when none is and no request is on the bus; after `halt` nothing new is asked for.

`default_nettype none

`include "vdla_config.vh"

module read_requests_proof (
    input wire                             clk,
    input wire                             halt_any,
    input wire                             begin_valid,
    input wire                             begin_any,
    input wire [`VDLA_REACH_WIDTH-1:0]     begin_address,
    input wire [`VDLA_REACH_WIDTH-1:0]     begin_stride,
    input wire [31:0]                      begin_row_bytes,
    input wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] begin_rows,
    input wire                             ar_ready,
    input wire                             r_over
);

reg rst = 1'b1;
always @(posedge clk)
    rst <= 1'b0;

// As run_control does: once halted, until reset
reg  halted_q = 1'b0;
wire halt = halt_any || halted_q;
always @(posedge clk)
    halted_q <= !rst && halt;

wire                           ar_valid;
wire [`VDLA_ADDRESS_WIDTH-1:0] ar_address;
wire [7:0]                     ar_length;
wire                           out_of_range;
wire                           quiet;
wire [6:0]                     flying;

(* hierconn *) wire [6:0] \dut.flying_q ;
(* hierconn *) wire       \dut.room_q ;
(* hierconn *) wire       \dut.pending_q ;
(* hierconn *) wire       \dut.active ;

vdla_read_requests dut (
    .clk(clk), .rst(rst), .halt(halt),
    .begin_valid(begin_valid), .begin_any(begin_any), .begin_address(begin_address), .begin_stride(begin_stride),
    .begin_row_bytes(begin_row_bytes), .begin_rows(begin_rows), .limit({1'b1, {`VDLA_ADDRESS_WIDTH{1'b0}}}),
    .ar_valid(ar_valid), .ar_ready(ar_ready), .ar_address(ar_address), .ar_length(ar_length), .r_over(r_over),
    .out_of_range(out_of_range), .quiet(quiet)
);

check_reads memory (
    .clk(clk), .rst(rst), .ar_valid(ar_valid), .ar_ready(ar_ready), .ar_address(ar_address), .ar_length(ar_length),
    .r_over(r_over), .flying(flying)
);

reg waiting_q = 1'b0; // a request is on the bus
always @(posedge clk)
    waiting_q <= !rst && ar_valid && !ar_ready;

// What bursts_proof proves of the bursts, as far as legal ones need it
(* hierconn *) wire \dut.burst_valid ;
wire [`VDLA_ADDRESS_WIDTH-1:0] place = (ar_address >> `VDLA_BUS_SHIFT) % `VDLA_MAX_BURST;

always @(*) begin
    assume (!begin_valid || !\dut.active );
    assume (begin_row_bytes != 0 && begin_rows != 0 && begin_row_bytes < 32'h4000_0000);
    if (!rst) begin
        assume (!\dut.burst_valid || place + ar_length < `VDLA_MAX_BURST);
        assert (\dut.flying_q == flying && \dut.room_q == (flying < `VDLA_OUTSTANDING));
        assert (\dut.pending_q == waiting_q);
        assert (quiet == (flying == 0 && !waiting_q));
        assert (!(halt && !waiting_q) || !ar_valid);
    end
end

always @(posedge clk)
    if (!rst)
        cover (flying == `VDLA_OUTSTANDING && \dut.active );

endmodule

`default_nettype wire
