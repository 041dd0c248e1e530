// vdla_run_control, round a core that asks the bus only while it is not halted and says truly what it is: nothing is
// outstanding when the core is reset; a run begins three cycles after a start while idle, with the right hash and a program
// that fits its buffer, and not otherwise; while it does not run the core is halted, from one cycle later on; the first
// fault stays, and no run that has one is `done`.

`default_nettype none

`include "vdla_config.vh"

module run_control_proof (
    input wire        clk,
    input wire        start,
    input wire        reset,
    input wire        irq_clear,
    input wire [63:0] expected_hash,
    input wire [31:0] program_length,
    input wire [31:0] program_capacity,
    input wire [31:0] watchdog,
    input wire        asks,    // the core puts a request on the bus
    input wire        answered,
    input wire        ends,    // every instruction of the core has finished
    input wire        finished,
    input wire        moving,
    input wire [3:0]  core_fault
);

reg rst = 1'b1;
always @(posedge clk)
    rst <= 1'b0;

wire        idle, active, running, done, irq, halt, core_rst;
wire [3:0]  fault;
wire [1:0]  fault_unit, fault_response;
wire [31:0] fault_instruction;
wire [63:0] cycles;

// ----------------------------------------------------------------------------
// The core: what is outstanding, and what it says of the cycle before

reg [3:0] outstanding_q = 0;
reg       quiet_q = 1'b1;
reg       ended_q = 1'b0;

always @(posedge clk) begin
    outstanding_q <= rst || core_rst ? 4'd0 : outstanding_q + asks - answered;
    quiet_q       <= outstanding_q == 0;
    ended_q       <= ends;
end

always @(*) begin
    assume (!asks || !halt && outstanding_q != 15);
    assume (!answered || outstanding_q != 0);
    assume (!ends || outstanding_q == 0 && !asks);
    if (core_rst)
        assume (core_fault == `VDLA_FAULT_NONE && !ends);
end

// A core that has ended asks for nothing more
reg over_q = 1'b0;
always @(posedge clk)
    over_q <= !rst && !core_rst && (over_q || ends);
always @(*)
    assume (!over_q || ends);

vdla_run_control dut (
    .clk(clk), .rst(rst), .start(start), .reset(reset), .irq_clear(irq_clear), .expected_hash(expected_hash),
    .program_length(program_length), .program_capacity(program_capacity), .watchdog(watchdog),
    .idle(idle), .active(active), .running(running), .done(done), .fault(fault), .fault_unit(fault_unit),
    .fault_response(fault_response), .fault_instruction(fault_instruction), .irq(irq), .cycles(cycles),
    .halt(halt), .core_rst(core_rst), .core_quiet(quiet_q), .core_ended(ended_q), .core_finished(finished),
    .core_moving(moving), .core_fault(core_fault), .core_fault_unit(2'd1), .core_fault_response(2'd2),
    .core_fault_instruction(32'd3)
);

// ----------------------------------------------------------------------------
// What has been

reg [3:0] taken_q   = 4'b0; // starts that were right, so many cycles ago
reg       right_q   = 1'b0; // what the registers held in the cycle before was right
reg       ran_q     = 1'b0;
reg [3:0] fault_q   = `VDLA_FAULT_NONE;
reg [1:0] past_q    = 2'b0;
reg       clears_q  = 1'b0;

always @(posedge clk) begin
    right_q  <= expected_hash == `VDLA_DESIGN_HASH && program_length != 0 && program_length <= program_capacity;
    taken_q  <= rst ? 4'b0 : {taken_q[2:0], start && idle && right_q};
    ran_q    <= !rst && running;
    fault_q  <= rst ? `VDLA_FAULT_NONE : fault;
    past_q   <= {past_q[0], !rst};
end

always @(*)
    if (!rst && past_q[0]) begin
        assert (!core_rst || past_q[1] == 1'b0 || outstanding_q == 0 && !asks);
        assert (!running || ran_q || taken_q[2]);
        assert (running || ran_q || halt);
        assert (!(idle && running));
        assert (!(done && fault != `VDLA_FAULT_NONE));
        if (fault_q != `VDLA_FAULT_NONE)
            assert (fault == fault_q || fault == `VDLA_FAULT_NONE && core_rst);
        if (running)
            assert (fault == `VDLA_FAULT_NONE);
    end

// ----------------------------------------------------------------------------
// For the induction: how its registers go together

(* hierconn *) wire [1:0] \dut.starting_q ;
(* hierconn *) wire [2:0] \dut.ended_q ;
(* hierconn *) wire       \dut.resetting_q , \dut.halted_q ;
(* hierconn *) wire       \dut.wrong_hash_q , \dut.no_length_q , \dut.long_q ;

always @(*)
    if (!rst && past_q[0]) begin
        assert (right_q == !(\dut.wrong_hash_q || \dut.no_length_q || \dut.long_q ));
        assert (!\dut.starting_q [0] || taken_q[0]);
        assert (!\dut.starting_q [1] || taken_q[1]);
        assert (\dut.starting_q != 3);
        if (\dut.starting_q != 0)
            assert (!running && !ran_q && !done && halt && outstanding_q == 0 && fault == `VDLA_FAULT_NONE);
        assert (!running || !halt && !done && \dut.starting_q == 0);
        assert (halt || running || ran_q);
        assert (!\dut.halted_q || !ran_q);
        assert (!\dut.halted_q || !quiet_q || outstanding_q == 0);
        assert (!ended_q || over_q);
        assert (\dut.ended_q == 0 || over_q);
        assert (!over_q || outstanding_q == 0);
        assert (!done || over_q);
        assert (!idle || outstanding_q == 0 && (halt || over_q));
    end

always @(posedge clk)
    if (!rst) begin
        cover (done);
        cover (fault == `VDLA_FAULT_DEADLOCK);
        cover (fault_q != `VDLA_FAULT_NONE && idle); // reset, and ready again
    end

endmodule

`default_nettype wire
