// vdla_store, any transfers one after the other, against a memory that takes and answers when it likes, with `halt` at any
// time: requests and data keep the ready/valid promise; every request is a legal burst; each burst has as many beats as it
// asked for, the last one marked, none before the request of its burst is on the bus; the entries are read in order, each
// for all its beats, what is read is what is queued, and has strobes unless an entry of the transfer is outside acc, which
// is when there is a fault; `done` comes only when every burst of the transfer has been asked for, written and answered;
// after `halt` nothing new is asked for, and once it is `quiet` too nothing comes.
//
// By induction of one step. vdla_bursts and vdla_fifo are replaced by what is proved of them (contract_*.v); vdla_beats is
// the real one. The requests may be any number of bursts ahead of the data, so no register tells which those are: `bursts`
// does, a table of where each burst of a transfer begins. Its contents are arbitrary, but that the first begins where the
// transfer does, and that each is followed by the one vdla_bursts makes next: every transfer has such a table. Nothing that
// is asserted between transfers speaks of it, so each transfer has its own.
//
// Transfers of fewer than 65535 bursts, that is, more than acc holds. A beat holds one tile or part of one (LANES is 1), and
// a burst whole tiles.

`default_nettype none

`include "vdla_config.vh"

module store_transfers_proof (
    input wire                               clk,
    input wire                               halt_any,
    input wire                               begun_any,
    input wire [`VDLA_INSTRUCTION_WIDTH-1:0] insn_any,
    input wire [`VDLA_ADDRESS_WIDTH-1:12]    page_any,
    input wire                               aw_ready,
    input wire                               w_ready,
    input wire                               b_valid,
    input wire [`VDLA_OUT_TILE_WIDTH-1:0]    rd_data,
    input wire                               change_table,
    input wire [15:0]                        change_index
);

localparam A      = `VDLA_ADDRESS_WIDTH;
localparam X      = `VDLA_DMA_X_SIZE_WIDTH;
localparam Y      = `VDLA_DMA_Y_SIZE_WIDTH;
localparam ENTRY  = `VDLA_ENTRY_WIDTH;
localparam INDEX  = `VDLA_ACC_INDEX_WIDTH;
localparam BYTES  = `VDLA_BUS_BYTES;
localparam SHIFT  = `VDLA_BUS_SHIFT;
localparam PARTS  = `VDLA_OUT_TILE_BYTES / BYTES; // beats of a tile
localparam PART   = $clog2(PARTS) + 1;
localparam BURST  = `VDLA_MAX_BURST;
localparam PLACE  = $clog2(BURST);
localparam LEFT   = X + PART;
localparam N      = 16;                           // width of a burst's number
localparam BURSTS = 26;                           // and of those in the RTL
localparam WORD   = 8 * BYTES + BYTES + 1;        // a beat in the queue

// ----------------------------------------------------------------------------
// What surrounds it: reset once; halted until reset, as run_control does; an instruction at a time, as vdla_issue does

reg rst = 1'b1;
always @(posedge clk)
    rst <= 1'b0;

reg  halted_q;
wire halt = !rst && (halt_any || halted_q);
always @(posedge clk)
    halted_q <= halt;

wire done;
reg  busy_q;
wire begun = begun_any && !busy_q && !rst;
always @(posedge clk)
    busy_q <= begun || !rst && busy_q && !done;

reg [`VDLA_INSTRUCTION_WIDTH-1:0] insn;
reg [A-1:12]                      page;
always @(posedge clk)
    if (!busy_q && !begun) begin
        insn <= insn_any;
        page <= page_any;
    end

wire          aw_valid, w_valid, w_last, rd_valid, sram_fault, dram_fault, quiet;
wire [A-1:0]  aw_address;
wire [7:0]    aw_length;
wire [`VDLA_BUS_WIDTH-1:0] w_data;
wire [BYTES-1:0]           w_strobe;
wire [INDEX-1:0]           rd_entry;

vdla_store #(.LANES(1), .INDEX(INDEX)) dut (
    .clk(clk), .rst(rst), .halt(halt), .begun(begun), .insn(insn), .done(done),
    .dram_base({page, 12'b0}), .dram_end({1'b1, {A{1'b0}}}),
    .aw_valid(aw_valid), .aw_ready(aw_ready), .aw_address(aw_address), .aw_length(aw_length),
    .w_valid(w_valid), .w_ready(w_ready), .w_data(w_data), .w_strobe(w_strobe), .w_last(w_last), .b_valid(b_valid),
    .rd_valid(rd_valid), .rd_entry(rd_entry), .rd_data(rd_data),
    .sram_fault(sram_fault), .dram_fault(dram_fault), .quiet(quiet)
);

check_stream #(.WIDTH(A + 8)) requests (
    .clk(clk), .rst(rst), .valid(aw_valid), .ready(aw_ready), .payload({aw_address, aw_length})
);
check_stream #(.WIDTH(WORD)) beats (
    .clk(clk), .rst(rst), .valid(w_valid), .ready(w_ready), .payload({w_last, w_strobe, w_data})
);
check_burst legal (.rst(rst), .valid(aw_valid), .address(aw_address), .length(aw_length));

// ----------------------------------------------------------------------------
// The transfer, and its bursts

wire [X-1:0] x_size   = insn[`VDLA_DMA_X_SIZE_BITS];
wire [Y-1:0] y_size   = insn[`VDLA_DMA_Y_SIZE_BITS];
wire         moves    = x_size != 0 && y_size != 0;
wire [LEFT-1:0]  row_beats    = x_size * PARTS;
wire [PLACE-1:0] first_place  = insn[`VDLA_DMA_DRAM_BASE_LSB +: 8] * PARTS;
wire [PLACE-1:0] stride_place = insn[`VDLA_DMA_X_STRIDE_LSB +: 8] * PARTS;
wire [ENTRY-1:0] first_entry  = insn[`VDLA_DMA_SRAM_BASE_BITS];

// Where a burst begins: rows left, with its own; beats of its row from there; its place and its row's in their blocks
localparam TABLE = Y + LEFT + 2 * PLACE;

function [8:0] length_of(input [TABLE-1:0] burst); // in beats
    reg [PLACE-1:0] place;
    reg [LEFT-1:0]  left;
    begin
        {place, left} = burst[Y +: PLACE + LEFT];
        length_of = left < BURST - place ? left : BURST - place;
    end
endfunction

function [TABLE-1:0] following(input [TABLE-1:0] burst, input [LEFT-1:0] beats, input [PLACE-1:0] stride);
    reg [PLACE-1:0] row_place, place, next_place;
    reg [LEFT-1:0]  left;
    reg [Y-1:0]     rows;
    begin
        {row_place, place, left, rows} = burst;
        next_place = row_place + stride;
        if (left == length_of(burst))
            following = {next_place, next_place, beats, rows - 1'b1};
        else
            following = {row_place, {PLACE{1'b0}}, left - length_of(burst), rows};
    end
endfunction

(* oracle *) reg [TABLE-1:0] bursts [0:2**N-1];
(* anyconst *) wire [N-1:0]  count; // of bursts
always @(posedge clk)
    if (change_table) // never, but Yosys must not know
        bursts[change_index] <= 0;

// ----------------------------------------------------------------------------
// How far they are: asked for, read, written, answered

reg [N-1:0] asked_q, read_q, written_q, answered_q; // bursts
reg [7:0]   read_beat_q, written_beat_q;            // and beats of the next
reg [ENTRY-1:0] tiles_q;                            // read
reg [ENTRY-1:0] entries_q;                          // that are read in all
reg         setup_q;                                // the cycle after `begun`
reg         waiting_q;                              // a request was offered and not taken

wire [TABLE-1:0] asked_burst = bursts[asked_q], after_asked = bursts[asked_q + 1'b1];
wire [TABLE-1:0] read_burst  = bursts[read_q],  after_read  = bursts[read_q + 1'b1];
wire [TABLE-1:0] first_burst = bursts[0],       written_burst = bursts[written_q];

wire [PLACE-1:0] read_place, read_row_place;
wire [LEFT-1:0]  read_left;
wire [Y-1:0]     read_rows;
assign {read_row_place, read_place, read_left, read_rows} = read_burst;

wire aw_fire    = aw_valid && aw_ready;
wire w_fire     = w_valid && w_ready;
wire read_over  = rd_valid && read_beat_q + 1 == length_of(read_burst);
wire [LEFT-1:0] row_left = read_left - read_beat_q; // beats of the row from the next that is read

always @(posedge clk) begin
    if (begun)
        entries_q <= {{ENTRY - X{1'b0}}, x_size} * {{ENTRY - Y{1'b0}}, y_size};
    setup_q   <= begun;
    waiting_q <= !rst && aw_valid && !aw_ready;
    if (rst || begun) begin
        asked_q        <= 0;
        read_q         <= 0;
        written_q      <= 0;
        answered_q     <= 0;
        read_beat_q    <= 0;
        written_beat_q <= 0;
        tiles_q        <= 0;
    end else begin
        asked_q        <= asked_q + aw_fire;
        read_q         <= read_q + read_over;
        written_q      <= written_q + (w_fire && w_last);
        answered_q     <= answered_q + b_valid;
        read_beat_q    <= read_over ? 0 : read_beat_q + rd_valid;
        written_beat_q <= !w_fire ? written_beat_q : w_last ? 0 : written_beat_q + 1;
        tiles_q        <= tiles_q + (rd_valid && row_left % PARTS == (1 % PARTS));
    end
end

always @(*) begin
    assume (!change_table);
    assume (!b_valid || answered_q != written_q && answered_q != asked_q);
    if ((busy_q || begun) && moves) begin
        assume (count != 2**N - 1);
        assume (first_burst == {first_place, first_place, row_beats, y_size});
        assume ((read_burst[Y-1:0] == 0) == (read_q >= count));
        assume ((asked_burst[Y-1:0] == 0) == (asked_q >= count));
        assume (read_q >= count || after_read == following(read_burst, row_beats, stride_place));
        assume (asked_q >= count || after_asked == following(asked_burst, row_beats, stride_place));
    end
end

// ----------------------------------------------------------------------------
// What it promises

always @(*)
    if (!rst) begin
        if (aw_valid)
            assert (asked_q < count && aw_length == length_of(asked_burst) - 1);
        if (rd_valid)
            assert (rd_entry == first_entry[INDEX-1:0] + tiles_q[INDEX-1:0]);
        if (w_valid) begin
            assert (written_q < asked_q || written_q == asked_q && aw_valid);
            assert (w_last == (written_beat_q + 1 == length_of(written_burst)));
            assert (w_strobe == {BYTES{!sram_fault}});
        end
        if (busy_q && !setup_q)
            assert (sram_fault == (moves && first_entry + entries_q > `VDLA_ACC_DEPTH));
        if (done) begin
            assert (asked_q == (moves ? count : 0));
            assert (asked_q == read_q && asked_q == written_q && asked_q == answered_q + b_valid);
            assert (!aw_valid && !w_valid && !rd_valid);
        end
        assert (!halt || waiting_q || !aw_valid);
        if (quiet) begin
            assert (answered_q == asked_q && written_q == asked_q && written_beat_q == 0 && !waiting_q && !w_valid);
            assert (!halt || !aw_valid && !rd_valid);
        end
    end

reg again_q = 1'b0; // a transfer with data has ended
always @(posedge clk)
    again_q <= !rst && (again_q || done && moves);

always @(posedge clk)
    if (!rst) begin
        cover (done && asked_q == 2 && again_q);
        cover (asked_q == read_q + 3);
        cover (read_q == asked_q + 1);
    end

// ----------------------------------------------------------------------------
// For the induction: the beats on their way, oldest first, each with its burst and its place in it

localparam SLOTS = 4;
reg [SLOTS*N-1:0] slot_burst_q;
reg [SLOTS*8-1:0] slot_beat_q;
(* hierconn *) wire [2:0]            \dut.held_q ;
wire [2:0] free = \dut.held_q - w_fire; // the slot for the beat that is read

integer k;
always @(posedge clk)
    for (k = 0; k < SLOTS; k = k + 1)
        if (rd_valid && free == k) begin
            slot_burst_q[k * N +: N] <= read_q;
            slot_beat_q[k * 8 +: 8]  <= read_beat_q;
        end else if (w_fire) begin
            slot_burst_q[k * N +: N] <= slot_burst_q[(k + 1) % SLOTS * N +: N];
            slot_beat_q[k * 8 +: 8]  <= slot_beat_q[(k + 1) % SLOTS * 8 +: 8];
        end

(* hierconn *) wire [SLOTS*WORD-1:0] \dut.queue.words_q ;
(* hierconn *) wire [2:0]            \dut.queue.count_q ;
(* hierconn *) wire [8*BYTES-1:0]    \dut.read_data ;
(* hierconn *) wire                  \dut.read_q , \dut.read_last_q , \dut.read_mask_q , \dut.space_q ;

genvar s;
generate for (s = 0; s < SLOTS; s = s + 1) begin: slot
    wire         queued   = s < \dut.queue.count_q ;
    wire         full     = s < \dut.held_q ;
    wire [N-1:0] burst    = slot_burst_q[s * N +: N];
    wire [7:0]   beat     = slot_beat_q[s * 8 +: 8];
    wire [TABLE-1:0] entry = bursts[burst];
    wire         last     = queued ? \dut.queue.words_q [s * WORD + WORD - 1] : \dut.read_last_q ;
    wire [N+7:0] next     = last ? {burst + 1'b1, 8'b0} : {burst, beat + 8'b1};
    wire [N+7:0] expected = s + 1 == \dut.held_q ? {read_q, read_beat_q}
                          : {slot_burst_q[(s + 1) % SLOTS * N +: N], slot_beat_q[(s + 1) % SLOTS * 8 +: 8]};
    always @(*)
        if (!rst && full) begin
            assert (last == (beat + 1 == length_of(entry)));
            assert (next == expected);
            assert (beat < BURST);
            if (queued)
                assert (\dut.queue.words_q [s * WORD + 8 * BYTES +: BYTES] == {BYTES{!sram_fault}});
            else
                assert (\dut.read_data == rd_data[beat % PARTS * 8 * BYTES +: 8 * BYTES]);
        end
end endgenerate

always @(*)
    if (!rst) begin
        assert (\dut.held_q <= SLOTS && \dut.queue.count_q <= SLOTS);
        assert (\dut.held_q == \dut.queue.count_q + \dut.read_q );
        assert (\dut.space_q == (\dut.held_q != SLOTS));
        assert (\dut.held_q == 0 ? {written_q, written_beat_q} == {read_q, read_beat_q}
                                 : {written_q, written_beat_q} == {slot_burst_q[N-1:0], slot_beat_q[7:0]});
        assert (!\dut.read_q || \dut.read_mask_q );
    end

// ----------------------------------------------------------------------------
// And what the registers are

(* hierconn *) wire \dut.setup_q , \dut.moves_q , \dut.pending_q , \dut.data_q , \dut.ahead_q , \dut.behind_q ;
(* hierconn *) wire \dut.none_q , \dut.one_q , \dut.active_q , \dut.ends_block_q ;
(* hierconn *) wire [BURSTS-1:0]    \dut.lead_q , \dut.flying_q ;
(* hierconn *) wire [7:0]           \dut.place_q ;
(* hierconn *) wire [SHIFT+7:0]     \dut.row_q ;

(* hierconn *) wire [ENTRY-1:0]     \dut.entries_q ;
(* hierconn *) wire [ENTRY:0]       \dut.room_q ;

(* hierconn *) wire                 \dut.requests.burst_valid , \dut.requests.out_of_range , \dut.requests.fresh_q ;
(* hierconn *) wire [SHIFT+PLACE-1:0] \dut.requests.row_q , \dut.requests.stride_q ;
(* hierconn *) wire [31:0]          \dut.requests.size_q , \dut.requests.left_q ;
(* hierconn *) wire [Y-1:0]         \dut.requests.rows_q ;
(* hierconn *) wire [PLACE-1:0]     \dut.requests.place_q ;

(* hierconn *) wire [ENTRY-1:0]     \dut.beats.row_entry_q , \dut.beats.entry ;
(* hierconn *) wire [Y-1:0]         \dut.beats.rows_q ;
(* hierconn *) wire [X-1:0]         \dut.beats.last_tile_q ;
(* hierconn *) wire [X:0]           \dut.beats.groups_q ;
(* hierconn *) wire [PART-1:0]      \dut.beats.part_q ;
(* hierconn *) wire                 \dut.beats.row_pos_q , \dut.beats.from_q , \dut.beats.to_q , \dut.beats.end_pos_q ;
(* hierconn *) wire                 \dut.beats.last_row_q , \dut.beats.fill_q , \dut.beats.last_group_q ;
(* hierconn *) wire                 \dut.beats.in_last_q , \dut.beats.ends_tile_q ;

wire [PLACE-1:0] asked_place, asked_row_place;
wire [LEFT-1:0]  asked_left;
wire [Y-1:0]     asked_rows;
assign {asked_row_place, asked_place, asked_left, asked_rows} = asked_burst;

wire [PLACE-1:0] next_row_place = read_row_place + stride_place;
wire [ENTRY:0]   room           = `VDLA_ACC_DEPTH - first_entry;
wire [X:0]       row_tiles      = (row_left + PARTS - 1) / PARTS; // from that of the next beat

always @(*)
    if (!rst) begin
        assert (\dut.active_q == busy_q && (!setup_q || busy_q));
        assert (\dut.setup_q == setup_q && \dut.beats.fill_q == setup_q);
        assert (\dut.pending_q == waiting_q && (!waiting_q || \dut.requests.burst_valid ));
        assert (\dut.requests.fresh_q + \dut.requests.burst_valid + \dut.requests.out_of_range <= 2'd1);
        assert ((\dut.requests.rows_q != 0)
                == (\dut.requests.fresh_q || \dut.requests.burst_valid || \dut.requests.out_of_range ));

        // Asked for, read, written, answered
        if (\dut.behind_q )
            assert (\dut.lead_q == 0 && !\dut.ahead_q && read_q == asked_q + 1'b1 && read_beat_q == 0);
        else
            assert (read_q <= asked_q && \dut.lead_q == asked_q - read_q && \dut.ahead_q == (asked_q != read_q));
        assert (!(\dut.behind_q || read_q == asked_q && read_beat_q != 0) || waiting_q);
        assert (written_q <= read_q && answered_q <= written_q && answered_q <= asked_q);
        assert (\dut.flying_q == asked_q - answered_q);
        assert (\dut.none_q == (asked_q == answered_q) && \dut.one_q == (asked_q == answered_q + 1'b1));

        // Nothing is under way but in a transfer
        assert (busy_q || !\dut.data_q && \dut.requests.rows_q == 0 && \dut.held_q == 0);
        assert (busy_q || asked_q == read_q && asked_q == answered_q && read_beat_q == 0);
        if (busy_q && (setup_q || !moves)) begin
            assert (setup_q && asked_q == 0 && read_q == 0 && read_beat_q == 0 && tiles_q == 0 && \dut.held_q == 0);
            assert (!\dut.data_q && \dut.moves_q == moves && \dut.requests.fresh_q == moves);
            assert (moves || \dut.requests.rows_q == 0);
            assert (\dut.entries_q == entries_q && \dut.room_q == room);
        end
        if (busy_q && moves) begin
            assert (\dut.requests.fresh_q == setup_q);
            assert (asked_q <= count && read_q <= count);
            assert (\dut.requests.rows_q == asked_rows);
            if (asked_q < count) begin
                assert (\dut.requests.row_q == {asked_row_place, {SHIFT{1'b0}}});
                assert (\dut.requests.stride_q == {stride_place, {SHIFT{1'b0}}});
                assert (\dut.requests.size_q == row_beats * BYTES && \dut.requests.left_q == asked_left);
                assert (\dut.requests.place_q == asked_place);
                assert (asked_left != 0 && asked_left <= row_beats);
            end
            assert (\dut.beats.last_tile_q == x_size - 1'b1 && \dut.beats.row_pos_q == 0);
            assert (\dut.row_q [SHIFT-1:0] == 0);
            if (setup_q) begin
                assert (\dut.beats.rows_q == y_size - 1'b1 && \dut.beats.last_row_q == (y_size == 1));
                assert (\dut.beats.row_entry_q == first_entry);
                assert (\dut.row_q [SHIFT +: PLACE] == first_place);
            end else
                assert (\dut.data_q == (read_q < count) && (\dut.data_q || read_beat_q == 0));
            if (\dut.data_q ) begin
                assert (read_left != 0 && read_left <= row_beats && read_left % PARTS == 0 && read_place % PARTS == 0);
                assert (read_row_place % PARTS == 0);
                assert (read_beat_q < length_of(read_burst));
                assert (\dut.place_q == read_place + read_beat_q);
                assert (\dut.ends_block_q == (\dut.place_q == BURST - 1));
                assert (\dut.row_q [SHIFT +: PLACE] == next_row_place);
                assert (\dut.beats.rows_q == read_rows - 2'd2 && \dut.beats.in_last_q == (read_rows == 1));
                assert (read_rows == 1 || \dut.beats.last_row_q == (read_rows == 2));
                assert (\dut.beats.groups_q == row_tiles - 1'b1 && \dut.beats.last_group_q == (row_tiles == 1));
                assert (\dut.beats.part_q == (PARTS - row_left % PARTS) % PARTS);
                assert (\dut.beats.ends_tile_q == (\dut.beats.part_q == PARTS - 1));
                assert (\dut.beats.from_q == 0 && \dut.beats.to_q == 0 && \dut.beats.end_pos_q == 0);
                assert (\dut.beats.entry == first_entry + tiles_q);
                assert (\dut.beats.row_entry_q == \dut.beats.entry + row_tiles);
            end
        end
    end

endmodule

`default_nettype wire
