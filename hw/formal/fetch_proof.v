// vdla_fetch against a memory that answers when it likes: its requests keep the promise and are legal bursts, at most
// VDLA_OUTSTANDING in flight, never for more than the buffer has room for, in all exactly the program; it dispatches
// nothing that has not come, and what it dispatches stays until a queue takes it, or until it is halted.

`default_nettype none

`include "vdla_config.vh"

module fetch_proof (
    input wire                       clk,
    input wire                       halt,
    input wire                       ar_ready,
    input wire                       r_valid,
    input wire [`VDLA_BUS_WIDTH-1:0] r_data,
    input wire                       r_last,
    input wire [2:0]                 dispatch_ready
);

localparam A           = `VDLA_ADDRESS_WIDTH;
localparam BLOCK       = `VDLA_FETCH_BLOCK;
localparam INSN_BYTES  = `VDLA_INSTRUCTION_WIDTH / 8;
localparam BLOCK_BEATS = BLOCK * INSN_BYTES / `VDLA_BUS_BYTES;
localparam BURST       = `VDLA_MAX_BURST < BLOCK_BEATS ? `VDLA_MAX_BURST : BLOCK_BEATS;
localparam ROOM        = `VDLA_FETCH_BLOCKS * BLOCK_BEATS / BURST; // bursts in the buffer
localparam SLOTS       = `VDLA_FETCH_BLOCKS * BLOCK;
localparam N           = 12; // width of the numbers here

(* anyconst *) wire [27:0] page;
(* anyconst *) wire [5:0]  some_length;
wire [N-1:0] length = some_length;

reg [1:0] rst_q = 2'b11;
wire      rst   = rst_q[1];
always @(posedge clk)
    rst_q <= rst_q << 1;

wire         ar_valid;
wire [A-1:0] ar_address;
wire [7:0]   ar_length;
wire [2:0]   dispatch_valid;
wire [`VDLA_INSTRUCTION_WIDTH-1:0] dispatch_insn;
wire         bad, waiting, all_dispatched, quiet;
wire [31:0]  dispatched;

vdla_fetch dut (
    .clk(clk), .rst(rst), .halt(halt), .program_address({page, 12'b0}), .program_length({{32 - N{1'b0}}, length}),
    .ar_valid(ar_valid), .ar_ready(ar_ready), .ar_address(ar_address), .ar_length(ar_length),
    .r_valid(r_valid), .r_data(r_data), .r_last(r_last),
    .dispatch_valid(dispatch_valid), .dispatch_ready(dispatch_ready), .dispatch_insn(dispatch_insn),
    .bad(bad), .waiting(waiting), .dispatched(dispatched), .all_dispatched(all_dispatched), .quiet(quiet)
);

wire [6:0] flying;
check_reads memory (
    .clk(clk), .rst(rst), .ar_valid(ar_valid), .ar_ready(ar_ready), .ar_address(ar_address), .ar_length(ar_length),
    .r_over(r_valid && r_last), .flying(flying)
);

check_stream #(.WIDTH(`VDLA_INSTRUCTION_WIDTH)) insn (
    .clk(clk), .rst(rst || halt), .valid(|dispatch_valid), .ready(|(dispatch_valid & dispatch_ready)), .payload(dispatch_insn)
);

// ----------------------------------------------------------------------------
// What there should be: the program's bursts, and how far asking, answering and dispatching are

wire [N-1:0] beats      = (length * INSN_BYTES + `VDLA_BUS_BYTES - 1) / `VDLA_BUS_BYTES;
wire [N-1:0] bursts     = (beats + BURST - 1) / BURST;
wire [N-1:0] last_beats = beats - (bursts - 1) * BURST; // of the last burst

reg [N-1:0] asked_q    = 0; // bursts
reg [N-1:0] over_q     = 0;
reg [N-1:0] beat_q     = 0; // of the burst that comes
reg [N-1:0] received_q = 0; // beats
reg [N-1:0] taken_q    = 0; // instructions dispatched

always @(posedge clk)
    if (rst) begin
        asked_q    <= 0;
        over_q     <= 0;
        beat_q     <= 0;
        received_q <= 0;
        taken_q    <= 0;
    end else begin
        asked_q    <= asked_q + (ar_valid && ar_ready);
        over_q     <= over_q + (r_valid && r_last);
        beat_q     <= !r_valid ? beat_q : r_last ? 0 : beat_q + 1;
        received_q <= received_q + r_valid;
        taken_q    <= taken_q + |(dispatch_valid & dispatch_ready);
    end

wire [N-1:0] asks   = asked_q == bursts - 1 ? last_beats : BURST; // beats of the burst asked for now
wire [N-1:0] comes  = over_q == bursts - 1 ? last_beats : BURST;  // beats of the burst that comes
wire [N-1:0] freed  = taken_q / BLOCK * BLOCK_BEATS / BURST;      // bursts whose place is free again

always @(*) begin
    assume (length != 0);
    assume (!r_valid || flying != 0 && r_last == (beat_q == comes - 1));
    if (!rst) begin
        assert (!ar_valid || asked_q < bursts);
        assert (!ar_valid || ar_length == asks - 1);
        assert (!ar_valid || ar_address == {page, 12'b0} + asked_q * (BURST * `VDLA_BUS_BYTES));
        assert (asked_q + ar_valid <= freed + ROOM);
        assert (dispatch_valid == 0 || (taken_q + 1) * INSN_BYTES <= received_q * `VDLA_BUS_BYTES);
        assert (taken_q + (dispatch_valid != 0) <= length);
        assert (dispatched == {{32 - N{1'b0}}, taken_q});
        assert (all_dispatched == (taken_q == length));
    end
end

always @(posedge clk)
    if (!rst)
        cover (taken_q == 1);

// ----------------------------------------------------------------------------
// For the induction: the registers say the same

(* hierconn *) wire [31:0] \dut.last_insn_q , \dut.unread_q ;
(* hierconn *) wire [6:0]  \dut.flying_q ;
(* hierconn *) wire [36 - $clog2(BURST * `VDLA_BUS_BYTES) - 1:0] \dut.left_q ;
(* hierconn *) wire [A-1:$clog2(BURST * `VDLA_BUS_BYTES)]        \dut.address_q ;
(* hierconn *) wire [$clog2(ROOM):0]                             \dut.room_q ;
(* hierconn *) wire [$clog2(`VDLA_FETCH_BLOCKS):0]               \dut.ready_q ;
(* hierconn *) wire [$clog2(`VDLA_FETCH_BLOCKS * BLOCK_BEATS)-1:0] \dut.write_q ;
(* hierconn *) wire [$clog2(SLOTS)-1:0]                          \dut.read_q ;
(* hierconn *) wire \dut.more_q , \dut.final_q , \dut.may_ask_q , \dut.pending_q ;
(* hierconn *) wire \dut.read_last_q , \dut.head_valid_q , \dut.head_ends_q , \dut.head_last_q ;

wire [N-1:0] read       = taken_q + \dut.head_valid_q ;                                         // instructions
wire [N-1:0] blocks_in  = received_q / BLOCK_BEATS + (received_q == beats && beats % BLOCK_BEATS != 0);
wire [N-1:0] blocks_out = read / BLOCK + (read == length && length % BLOCK != 0);

always @(*) begin
    if (!rst_q[0])
        assert (\dut.last_insn_q == length - 1);
    if (!rst) begin
        assert (rst_q == 0);
        assert (asked_q <= bursts && over_q <= asked_q);
        assert (beat_q < BURST && (beat_q == 0 || over_q != asked_q && beat_q < comes));
        assert (received_q == (over_q == bursts ? beats : over_q * BURST + beat_q));
        assert (flying == \dut.flying_q && flying == asked_q - over_q);
        assert (\dut.address_q == (({page, 12'b0} >> $clog2(BURST * `VDLA_BUS_BYTES)) + asked_q));
        assert (\dut.more_q == (asked_q != bursts));
        assert (\dut.final_q == (asked_q == bursts - 1));
        assert (!\dut.more_q || \dut.left_q == bursts - 1 - asked_q);
        assert (\dut.room_q + asked_q == ROOM + freed);
        assert (\dut.may_ask_q == (\dut.more_q && \dut.room_q != 0 && flying < `VDLA_OUTSTANDING));
        assert (!\dut.pending_q || \dut.may_ask_q );
        assert (quiet == (flying == 0 && !\dut.pending_q ));
        assert (\dut.write_q == received_q % (`VDLA_FETCH_BLOCKS * BLOCK_BEATS) || over_q == bursts);
        assert (read <= length);
        assert (\dut.read_q == read % SLOTS);
        assert (read == length || \dut.unread_q == length - 1 - read && \dut.read_last_q == (read == length - 1));
        assert (blocks_in == blocks_out + \dut.ready_q );
        assert (read % BLOCK == 0 || read == length || \dut.ready_q != 0);
        assert (\dut.ready_q <= `VDLA_FETCH_BLOCKS);
        if (\dut.head_valid_q ) begin
            assert (\dut.head_ends_q == (read % BLOCK == 0));
            assert (\dut.head_last_q == (read == length));
        end
    end
end

endmodule

`default_nettype wire
