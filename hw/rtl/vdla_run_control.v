// What a run is: checked at the start, running until the program has ended or something is wrong, then stopped.
//
//     cycle
//     -3         `start`, while idle: refused with a fault unless EXPECTED_HASH is ours and the program fits its buffer
//     -1         the core is reset
//     0          `running` rises
//     f          the core's last instruction has finished
//     f + 1      `core_ended`
//     f + LAG    the run is over, well or with a fault: those of the last instruction have come by now
//     f + LAG + 1  `running` falls; `cycles` is f
//
// So `cycles` is LAG cycles behind while the core runs. A fault of the core ends the run in the cycle it comes in. The first
// fault is kept until the next reset. From the cycle after that `halt` is high, and the core asks the bus for nothing more;
// `reset` waits until nothing it has asked for is outstanding.
//
// The checks of the start and of the watchdog are made all the time, and are a cycle or two behind their registers, which
// the host cannot change and use in so short a time.

`default_nettype none

`include "vdla_config.vh"

module vdla_run_control (
    input  wire        clk,
    input  wire        rst,

    // From the registers
    input  wire        start,
    input  wire        reset,
    input  wire        irq_clear,
    input  wire [63:0] expected_hash,
    input  wire [31:0] program_length,
    input  wire [31:0] program_capacity,
    input  wire [31:0] watchdog,

    // To the registers
    output wire        idle,
    output wire        active,         // from the start to the end
    output reg         running,
    output reg         done,
    output reg  [3:0]  fault,
    output reg  [1:0]  fault_unit,
    output reg  [1:0]  fault_response,
    output reg  [31:0] fault_instruction,
    output reg         irq,
    output reg  [63:0] cycles,

    // The core
    output reg         halt,           // not running; after the end, from one cycle later on
    output reg         core_rst,
    input  wire        core_quiet,     // in the cycle before
    input  wire        core_ended,     // every instruction had finished in the cycle before
    input  wire        core_finished,  // one of them was FINISH
    input  wire        core_moving,    // something happened, or was under way, in the cycle before
    input  wire [3:0]  core_fault,     // NONE: all is well
    input  wire [1:0]  core_fault_unit,
    input  wire [1:0]  core_fault_response,
    input  wire [31:0] core_fault_instruction
);

localparam SETTLE = 3; // cycles from core_ended to the end
localparam LAG    = SETTLE + 1;

reg [1:0]        starting_q;
reg              resetting_q;
reg [SETTLE-1:0] ended_q; // core_ended, so many cycles ago
reg [LAG-1:0]    ran_q;   // running, so many cycles ago
reg [31:0]       still_q; // cycles since the core last moved

wire takes_start = start && idle;
wire ended       = ended_q[SETTLE-1];

// ----------------------------------------------------------------------------
// Checks

reg wrong_hash_q;
reg no_length_q;
reg long_q;
reg watched_q;
reg still_long_q;

always @(posedge clk) begin
    wrong_hash_q <= expected_hash != `VDLA_DESIGN_HASH;
    no_length_q  <= program_length == 0;
    long_q       <= program_length > program_capacity;
    watched_q    <= watchdog != 0;
    still_long_q <= running && still_q >= watchdog;
end

// ----------------------------------------------------------------------------
// Faults: of the core, or of the run as a whole

reg [3:0] new_fault;
always @(*) begin
    new_fault = `VDLA_FAULT_NONE;
    if (takes_start) begin
        if (wrong_hash_q)
            new_fault = `VDLA_FAULT_HASH_MISMATCH;
        else if (no_length_q || long_q)
            new_fault = `VDLA_FAULT_PROGRAM_LENGTH;
    end else if (running) begin
        if (core_fault != `VDLA_FAULT_NONE)
            new_fault = core_fault;
        else if (ended && !core_finished)
            new_fault = `VDLA_FAULT_PROGRAM_END;
        else if (still_long_q && watched_q)
            new_fault = `VDLA_FAULT_DEADLOCK;
    end
end

wire faults  = new_fault != `VDLA_FAULT_NONE;
wire ends    = running && (ended || faults);
wire of_core = running && core_fault != `VDLA_FAULT_NONE;

// ----------------------------------------------------------------------------
// The run. What the core says is of the cycle before, so it is quiet only if it was told to halt before that.

reg  halted_q;
wire clears = resetting_q && core_quiet && !running && halted_q;

always @(posedge clk) begin
    halt     <= rst || clears || !(starting_q[1] || running);
    halted_q <= halt;
end

assign idle   = !running && starting_q == 0 && !resetting_q && fault == `VDLA_FAULT_NONE;
assign active = running || starting_q != 0 || takes_start;

always @(posedge clk)
    core_rst <= rst || starting_q[0] || clears;

always @(posedge clk)
    if (rst || clears) begin
        running     <= 1'b0;
        starting_q  <= 2'b00;
        resetting_q <= 1'b0;
        done        <= 1'b0;
        fault       <= `VDLA_FAULT_NONE;
    end else begin
        starting_q  <= {starting_q[0], takes_start && !faults};
        resetting_q <= resetting_q || reset;
        running     <= starting_q[1] || running && !ends && !resetting_q;
        if (takes_start)
            done <= 1'b0;
        else if (ends && !faults)
            done <= 1'b1;
        if (faults)
            fault <= new_fault;
    end

always @(posedge clk)
    if (!running) begin
        ended_q <= 0;
        ran_q   <= 0;
    end else begin
        ended_q <= {ended_q[SETTLE-2:0], core_ended};
        ran_q   <= {ran_q[LAG-2:0], 1'b1};
    end

always @(posedge clk)
    if (rst) begin
        fault_unit        <= 0;
        fault_response    <= 0;
        fault_instruction <= 0;
    end else if (faults) begin
        fault_unit        <= of_core ? core_fault_unit : 2'd0;
        fault_response    <= of_core ? core_fault_response : 2'd0;
        fault_instruction <= of_core ? core_fault_instruction : 32'd0;
    end

always @(posedge clk)
    if (rst)
        irq <= 1'b0;
    else if (ends || takes_start && faults)
        irq <= 1'b1;
    else if (irq_clear)
        irq <= 1'b0;

always @(posedge clk)
    if (rst || starting_q[0])
        cycles <= 0;
    else if (running && ran_q[LAG-1] && !ends)
        cycles <= cycles + 1;

always @(posedge clk)
    if (!running || core_moving || core_ended)
        still_q <= 0;
    else
        still_q <= still_q + 1;

endmodule

`default_nettype wire
