// What a run is: checked at the start, running until the program has ended or something is wrong, then stopped.
//
// A start is taken while idle. If EXPECTED_HASH is ours and the program fits its buffer, the core is reset for a cycle
// and `running` rises in the next one: cycle 0. It falls after every instruction has finished, or after a fault, which is
// kept (the first one) until the next reset. While `running` is low the core asks the bus for nothing more; `reset`
// waits until nothing it has asked for is outstanding.

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
    output wire        core_rst,
    input  wire        core_quiet,
    input  wire        core_ended,     // every instruction has finished
    input  wire        core_finished,  // one of them was FINISH
    input  wire        core_moving,    // something happens, or is under way
    input  wire [3:0]  core_fault,     // NONE: all is well
    input  wire [1:0]  core_fault_unit,
    input  wire [1:0]  core_fault_response,
    input  wire [31:0] core_fault_instruction
);

reg        starting_q;
reg        resetting_q;
reg [31:0] still_q; // cycles since the core last moved

wire wrong_hash   = expected_hash != `VDLA_DESIGN_HASH;
wire wrong_length = program_length == 0 || program_length > program_capacity;
wire takes_start  = start && idle;
wire stuck        = watchdog != 0 && still_q >= watchdog;

// ----------------------------------------------------------------------------
// Faults: of the core, or of the run as a whole

reg [3:0] new_fault;
always @(*) begin
    new_fault = `VDLA_FAULT_NONE;
    if (takes_start) begin
        if (wrong_hash)
            new_fault = `VDLA_FAULT_HASH_MISMATCH;
        else if (wrong_length)
            new_fault = `VDLA_FAULT_PROGRAM_LENGTH;
    end else if (running) begin
        if (core_fault != `VDLA_FAULT_NONE)
            new_fault = core_fault;
        else if (core_ended && !core_finished)
            new_fault = `VDLA_FAULT_PROGRAM_END;
        else if (stuck)
            new_fault = `VDLA_FAULT_DEADLOCK;
    end
end

wire faults      = new_fault != `VDLA_FAULT_NONE;
wire ends        = running && (core_ended || faults);
wire clears      = resetting_q && core_quiet && !running;
wire of_core     = running && core_fault != `VDLA_FAULT_NONE;

assign idle     = !running && !starting_q && !resetting_q && fault == `VDLA_FAULT_NONE;
assign active   = running || starting_q || takes_start;
assign core_rst = rst || starting_q || clears;

always @(posedge clk)
    if (rst || clears) begin
        running     <= 1'b0;
        starting_q  <= 1'b0;
        resetting_q <= 1'b0;
        done        <= 1'b0;
        fault       <= `VDLA_FAULT_NONE;
    end else begin
        starting_q  <= takes_start && !faults;
        resetting_q <= resetting_q || reset;
        running     <= starting_q || running && !ends && !resetting_q;
        if (takes_start)
            done <= 1'b0;
        else if (ends && !faults)
            done <= 1'b1;
        if (faults)
            fault <= new_fault;
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
    if (rst || starting_q) begin
        cycles  <= 0;
        still_q <= 0;
    end else if (running && !ends) begin
        cycles  <= cycles + 1;
        still_q <= core_moving ? 32'd0 : still_q + 1;
    end

endmodule

`default_nettype wire
