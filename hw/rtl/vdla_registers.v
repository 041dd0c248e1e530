// The AXI4-Lite registers of docs/registers.md. One access at a time each way; a write is taken when its address and its
// data are both there. Ready waits for valid. Every response is OKAY.

`default_nettype none

`include "vdla_config.vh"

module vdla_registers (
    input  wire                           clk,
    input  wire                           rst,

    input  wire [11:0]                    aw_address,
    input  wire                           aw_valid,
    output wire                           aw_ready,
    input  wire [31:0]                    w_data,
    input  wire [3:0]                     w_strobe,
    input  wire                           w_valid,
    output wire                           w_ready,
    output reg                            b_valid,
    input  wire                           b_ready,
    input  wire [11:0]                    ar_address,
    input  wire                           ar_valid,
    output wire                           ar_ready,
    output reg  [31:0]                    r_data,
    output reg                            r_valid,
    input  wire                           r_ready,

    // What the host asks for
    output reg                            start,     // one cycle each
    output reg                            reset,
    output reg                            irq_clear,
    output reg                            irq_enable,
    output wire [`VDLA_ADDRESS_WIDTH-1:0] program_address,
    output reg  [31:0]                    program_length,
    output reg  [31:0]                    program_capacity,
    output wire [`VDLA_ADDRESS_WIDTH-1:0] dram_base,
    output wire [`VDLA_ADDRESS_WIDTH-1:0] dram_limit,
    output wire [63:0]                    expected_hash,
    output reg  [31:0]                    watchdog,

    // What it can see
    input  wire                           idle,
    input  wire                           running,
    input  wire                           done,
    input  wire                           irq,
    input  wire [3:0]                     fault,
    input  wire [1:0]                     fault_unit,
    input  wire [1:0]                     fault_response,
    input  wire [31:0]                    fault_instruction,
    input  wire [63:0]                    cycles,
    input  wire [127:0]                   busy_cycles,
    input  wire [127:0]                   wait_cycles,
    input  wire [127:0]                   instructions
);

localparam HIGH = `VDLA_ADDRESS_WIDTH - 32;

// ----------------------------------------------------------------------------
// Writes

wire write = aw_valid && w_valid && !b_valid;
assign aw_ready = write;
assign w_ready  = write;

wire writes = write && &w_strobe;

always @(posedge clk)
    if (rst)
        b_valid <= 1'b0;
    else
        b_valid <= write || b_valid && !b_ready;

wire control = writes && aw_address == `VDLA_REG_CONTROL;

always @(posedge clk)
    if (rst) begin
        start      <= 1'b0;
        reset      <= 1'b0;
        irq_clear  <= 1'b0;
        irq_enable <= 1'b0;
    end else begin
        start     <= control && w_data[`VDLA_REG_CONTROL_START_LSB];
        reset     <= control && w_data[`VDLA_REG_CONTROL_RESET_LSB];
        irq_clear <= control && w_data[`VDLA_REG_CONTROL_IRQ_CLEAR_LSB];
        if (control)
            irq_enable <= w_data[`VDLA_REG_CONTROL_IRQ_ENABLE_LSB];
    end

reg [31:12]     program_low_q;
reg [HIGH-1:0]  program_high_q;
reg [31:12]     base_low_q;
reg [HIGH-1:0]  base_high_q;
reg [31:0]      limit_low_q;
reg [HIGH-1:0]  limit_high_q;
reg [31:0]      hash_low_q;
reg [31:0]      hash_high_q;

assign program_address = {program_high_q, program_low_q, 12'b0};
assign dram_base       = {base_high_q, base_low_q, 12'b0};
assign dram_limit      = {limit_high_q, limit_low_q};
assign expected_hash   = {hash_high_q, hash_low_q};

always @(posedge clk)
    if (rst) begin
        program_low_q    <= 0;
        program_high_q   <= 0;
        program_length   <= 0;
        program_capacity <= 0;
        base_low_q       <= 0;
        base_high_q      <= 0;
        limit_low_q      <= 0;
        limit_high_q     <= 0;
        hash_low_q       <= 0;
        hash_high_q      <= 0;
        watchdog         <= `VDLA_REG_WATCHDOG_RESET;
    end else if (writes)
        case (aw_address)
            `VDLA_REG_PROGRAM_ADDRESS_LO: program_low_q    <= w_data[31:12];
            `VDLA_REG_PROGRAM_ADDRESS_HI: program_high_q   <= w_data[HIGH-1:0];
            `VDLA_REG_PROGRAM_LENGTH:     program_length   <= w_data;
            `VDLA_REG_PROGRAM_CAPACITY:   program_capacity <= w_data;
            `VDLA_REG_DRAM_BASE_LO:       base_low_q       <= w_data[31:12];
            `VDLA_REG_DRAM_BASE_HI:       base_high_q      <= w_data[HIGH-1:0];
            `VDLA_REG_DRAM_LIMIT_LO:      limit_low_q      <= w_data;
            `VDLA_REG_DRAM_LIMIT_HI:      limit_high_q     <= w_data[HIGH-1:0];
            `VDLA_REG_EXPECTED_HASH_LO:   hash_low_q       <= w_data;
            `VDLA_REG_EXPECTED_HASH_HI:   hash_high_q      <= w_data;
            `VDLA_REG_WATCHDOG:           watchdog         <= w_data;
            default: ;
        endcase

// ----------------------------------------------------------------------------
// Reads

wire [63:0] design_hash = `VDLA_DESIGN_HASH;
wire        error       = fault != `VDLA_FAULT_NONE;

wire read = ar_valid && !r_valid;
assign ar_ready = read;

always @(posedge clk)
    if (rst)
        r_valid <= 1'b0;
    else
        r_valid <= read || r_valid && !r_ready;

always @(posedge clk)
    if (read)
        case (ar_address)
            `VDLA_REG_CONTROL:              r_data <= {31'b0, irq_enable} << `VDLA_REG_CONTROL_IRQ_ENABLE_LSB;
            `VDLA_REG_STATUS:               r_data <= {20'b0, fault, 3'b0, irq, error, done, running, idle};
            `VDLA_REG_ERROR_INFO:           r_data <= {22'b0, fault_response, 6'b0, fault_unit};
            `VDLA_REG_ERROR_INSTRUCTION:    r_data <= fault_instruction;
            `VDLA_REG_PROGRAM_ADDRESS_LO:   r_data <= {program_low_q, 12'b0};
            `VDLA_REG_PROGRAM_ADDRESS_HI:   r_data <= {{32 - HIGH{1'b0}}, program_high_q};
            `VDLA_REG_PROGRAM_LENGTH:       r_data <= program_length;
            `VDLA_REG_PROGRAM_CAPACITY:     r_data <= program_capacity;
            `VDLA_REG_DRAM_BASE_LO:         r_data <= {base_low_q, 12'b0};
            `VDLA_REG_DRAM_BASE_HI:         r_data <= {{32 - HIGH{1'b0}}, base_high_q};
            `VDLA_REG_DRAM_LIMIT_LO:        r_data <= limit_low_q;
            `VDLA_REG_DRAM_LIMIT_HI:        r_data <= {{32 - HIGH{1'b0}}, limit_high_q};
            `VDLA_REG_EXPECTED_HASH_LO:     r_data <= hash_low_q;
            `VDLA_REG_EXPECTED_HASH_HI:     r_data <= hash_high_q;
            `VDLA_REG_DESIGN_HASH_LO:       r_data <= design_hash[31:0];
            `VDLA_REG_DESIGN_HASH_HI:       r_data <= design_hash[63:32];
            `VDLA_REG_CYCLES_LO:            r_data <= cycles[31:0];
            `VDLA_REG_CYCLES_HI:            r_data <= cycles[63:32];
            `VDLA_REG_WATCHDOG:             r_data <= watchdog;
            `VDLA_REG_VERSION:              r_data <= `VDLA_REG_VERSION_RESET;
            `VDLA_REG_FETCH_BUSY:           r_data <= busy_cycles[31:0];
            `VDLA_REG_FETCH_STALL:          r_data <= wait_cycles[31:0];
            `VDLA_REG_FETCH_INSTRUCTIONS:   r_data <= instructions[31:0];
            `VDLA_REG_LOAD_BUSY:            r_data <= busy_cycles[63:32];
            `VDLA_REG_LOAD_STALL:           r_data <= wait_cycles[63:32];
            `VDLA_REG_LOAD_INSTRUCTIONS:    r_data <= instructions[63:32];
            `VDLA_REG_COMPUTE_BUSY:         r_data <= busy_cycles[95:64];
            `VDLA_REG_COMPUTE_STALL:        r_data <= wait_cycles[95:64];
            `VDLA_REG_COMPUTE_INSTRUCTIONS: r_data <= instructions[95:64];
            `VDLA_REG_STORE_BUSY:           r_data <= busy_cycles[127:96];
            `VDLA_REG_STORE_STALL:          r_data <= wait_cycles[127:96];
            `VDLA_REG_STORE_INSTRUCTIONS:   r_data <= instructions[127:96];
            default:                        r_data <= 32'd0;
        endcase

endmodule

`default_nettype wire
