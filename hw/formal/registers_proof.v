// vdla_registers: an AXI4-Lite slave. Responses keep the ready/valid promise, there is one for each access and none
// without; no second access is taken while a response waits or is made; a write that is not whole changes nothing, and one
// that is whole has taken effect in the second cycle after it. A read gives what was written.

`default_nettype none

`include "vdla_config.vh"

module registers_proof (
    input wire        clk,
    input wire [11:0] aw_address,
    input wire        aw_valid,
    input wire [31:0] w_data,
    input wire [3:0]  w_strobe,
    input wire        w_valid,
    input wire        b_ready,
    input wire [11:0] ar_address,
    input wire        ar_valid,
    input wire        r_ready
);

reg rst = 1'b1;
always @(posedge clk)
    rst <= 1'b0;

wire        aw_ready, w_ready, b_valid, ar_ready, r_valid;
wire [31:0] r_data, program_length, program_capacity, watchdog;
wire        start, reset, irq_clear, irq_enable;

vdla_registers dut (
    .clk(clk), .rst(rst),
    .aw_address(aw_address), .aw_valid(aw_valid), .aw_ready(aw_ready),
    .w_data(w_data), .w_strobe(w_strobe), .w_valid(w_valid), .w_ready(w_ready), .b_valid(b_valid), .b_ready(b_ready),
    .ar_address(ar_address), .ar_valid(ar_valid), .ar_ready(ar_ready),
    .r_data(r_data), .r_valid(r_valid), .r_ready(r_ready),
    .start(start), .reset(reset), .irq_clear(irq_clear), .irq_enable(irq_enable),
    .program_address(), .program_length(program_length), .program_capacity(program_capacity),
    .dram_base(), .dram_limit(), .expected_hash(), .watchdog(watchdog),
    .idle(1'b0), .running(1'b0), .done(1'b0), .irq(1'b0), .fault(4'd0), .fault_unit(2'd0), .fault_response(2'd0),
    .fault_instruction(32'd0), .cycles(64'd0), .busy_cycles(128'd0), .wait_cycles(128'd0), .instructions(128'd0)
);

check_stream #(.WIDTH(1)) written (.clk(clk), .rst(rst), .valid(b_valid), .ready(b_ready), .payload(1'b0));
check_stream #(.WIDTH(32)) read (.clk(clk), .rst(rst), .valid(r_valid), .ready(r_ready), .payload(r_data));

reg [1:0] writes_q = 0; // addresses taken and not answered
reg [1:0] beats_q = 0;
reg [1:0] reads_q = 0;

always @(posedge clk)
    if (!rst) begin
        writes_q <= writes_q + (aw_valid && aw_ready) - (b_valid && b_ready);
        beats_q  <= beats_q + (w_valid && w_ready) - (b_valid && b_ready);
        reads_q  <= reads_q + (ar_valid && ar_ready) - (r_valid && r_ready);
    end

// What a write of PROGRAM_LENGTH leaves, and that START is one cycle
reg        taken_q = 1'b0;
reg [11:0] address_q;
reg [31:0] data_q;
reg [31:0] length_q = 0;
reg        started_q = 1'b0;
wire       taken = aw_valid && aw_ready && w_valid && w_ready;

always @(posedge clk)
    if (!rst) begin
        taken_q   <= taken && &w_strobe;
        address_q <= aw_address;
        data_q    <= w_data;
        if (taken_q && address_q == `VDLA_REG_PROGRAM_LENGTH)
            length_q <= data_q;
        started_q <= taken_q && address_q == `VDLA_REG_CONTROL && data_q[`VDLA_REG_CONTROL_START_LSB];
    end

// What a read of PROGRAM_LENGTH gives: the length of two cycles before
reg [11:0] read_q;
reg [31:0] length_1_q, length_2_q;

always @(posedge clk) begin
    if (ar_valid && ar_ready)
        read_q <= ar_address;
    length_1_q <= length_q;
    length_2_q <= length_1_q;
end

// For the induction: where a read is, and what is known of it there
(* hierconn *) wire        \dut.asked_q , \dut.chosen_q , \dut.whole_q , \dut.to_control_q , \dut.to_length_q ;
(* hierconn *) wire [11:2] \dut.address_q ;
(* hierconn *) wire [31:0] \dut.data_q , \dut.word_0_q ;
(* hierconn *) wire [2:0]  \dut.in_q ;
wire [2:0] stages = {\dut.asked_q , \dut.chosen_q , r_valid};

reg        answered_q = 1'b0; // the read answered now was answered before
reg [31:0] answer_q;
always @(posedge clk) begin
    answered_q <= r_valid && !r_ready;
    answer_q   <= r_data;
end

always @(*)
    if (!rst) begin
        assert (writes_q == b_valid && beats_q == b_valid);
        assert (stages == 0 || stages == 1 || stages == 2 || stages == 4);
        assert (reads_q == (stages != 0));
        assert (\dut.to_control_q == (taken_q && address_q == `VDLA_REG_CONTROL));
        assert (\dut.to_length_q == (taken_q && address_q == `VDLA_REG_PROGRAM_LENGTH));
        assert (\dut.data_q == data_q || !taken_q);
        assert (program_length == length_q);
        assert (start == started_q);
        if (\dut.asked_q )
            assert (\dut.address_q == read_q[11:2] && \dut.whole_q == (read_q[1:0] == 0));
        if (\dut.chosen_q && read_q == `VDLA_REG_PROGRAM_LENGTH)
            assert (\dut.in_q == 3'b001 && \dut.word_0_q == length_1_q);
        if (r_valid && read_q == `VDLA_REG_PROGRAM_LENGTH)
            assert (r_data == (answered_q ? answer_q : length_2_q));
        if (r_valid && b_valid)
            assert (!aw_ready && !w_ready && !ar_ready);
    end

endmodule

`default_nettype wire
