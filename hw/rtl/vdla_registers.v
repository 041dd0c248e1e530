// The AXI4-Lite registers of docs/registers.md. One access at a time each way. Ready waits for valid. Every response is OKAY.
//
//     cycle
//     w          address and data of a write are both there: taken
//     w + 1      it is answered, from now on
//     w + 2      it has taken effect
//     r          the address of a read is taken, if none is under way
//     r + 1      the word is looked for in each third of the map
//     r + 2      it is found
//     r + 3      it is answered, from now on

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

// What a write goes to is known a cycle before the register takes it.
wire       whole = !rst && write && &w_strobe;
reg [31:0] data_q;
reg        to_control_q;
reg        to_program_low_q;
reg        to_program_high_q;
reg        to_length_q;
reg        to_capacity_q;
reg        to_base_low_q;
reg        to_base_high_q;
reg        to_limit_low_q;
reg        to_limit_high_q;
reg        to_hash_low_q;
reg        to_hash_high_q;
reg        to_watchdog_q;

always @(posedge clk) begin
    data_q            <= w_data;
    to_control_q      <= whole && aw_address == `VDLA_REG_CONTROL;
    to_program_low_q  <= whole && aw_address == `VDLA_REG_PROGRAM_ADDRESS_LO;
    to_program_high_q <= whole && aw_address == `VDLA_REG_PROGRAM_ADDRESS_HI;
    to_length_q       <= whole && aw_address == `VDLA_REG_PROGRAM_LENGTH;
    to_capacity_q     <= whole && aw_address == `VDLA_REG_PROGRAM_CAPACITY;
    to_base_low_q     <= whole && aw_address == `VDLA_REG_DRAM_BASE_LO;
    to_base_high_q    <= whole && aw_address == `VDLA_REG_DRAM_BASE_HI;
    to_limit_low_q    <= whole && aw_address == `VDLA_REG_DRAM_LIMIT_LO;
    to_limit_high_q   <= whole && aw_address == `VDLA_REG_DRAM_LIMIT_HI;
    to_hash_low_q     <= whole && aw_address == `VDLA_REG_EXPECTED_HASH_LO;
    to_hash_high_q    <= whole && aw_address == `VDLA_REG_EXPECTED_HASH_HI;
    to_watchdog_q     <= whole && aw_address == `VDLA_REG_WATCHDOG;
end

always @(posedge clk)
    if (rst)
        b_valid <= 1'b0;
    else
        b_valid <= write || b_valid && !b_ready;

always @(posedge clk)
    if (rst) begin
        start      <= 1'b0;
        reset      <= 1'b0;
        irq_clear  <= 1'b0;
        irq_enable <= 1'b0;
    end else begin
        start     <= to_control_q && data_q[`VDLA_REG_CONTROL_START_LSB];
        reset     <= to_control_q && data_q[`VDLA_REG_CONTROL_RESET_LSB];
        irq_clear <= to_control_q && data_q[`VDLA_REG_CONTROL_IRQ_CLEAR_LSB];
        if (to_control_q)
            irq_enable <= data_q[`VDLA_REG_CONTROL_IRQ_ENABLE_LSB];
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
    end else begin
        if (to_program_low_q)
            program_low_q <= data_q[31:12];
        if (to_program_high_q)
            program_high_q <= data_q[HIGH-1:0];
        if (to_length_q)
            program_length <= data_q;
        if (to_capacity_q)
            program_capacity <= data_q;
        if (to_base_low_q)
            base_low_q <= data_q[31:12];
        if (to_base_high_q)
            base_high_q <= data_q[HIGH-1:0];
        if (to_limit_low_q)
            limit_low_q <= data_q;
        if (to_limit_high_q)
            limit_high_q <= data_q[HIGH-1:0];
        if (to_hash_low_q)
            hash_low_q <= data_q;
        if (to_hash_high_q)
            hash_high_q <= data_q;
        if (to_watchdog_q)
            watchdog <= data_q;
    end

// ----------------------------------------------------------------------------
// Reads

wire [63:0] design_hash = `VDLA_DESIGN_HASH;
wire        error       = fault != `VDLA_FAULT_NONE;

// The words of a third are told apart by four bits of the address; whether it is in that third is known a cycle later.

reg        asked_q;  // the address is in address_q
reg        chosen_q; // the word is in word_k_q if in_q[k]; if in none, it is 0
reg [11:2] address_q;
reg        whole_q;  // the address is that of a word
reg [31:0] word_0_q;
reg [31:0] word_1_q;
reg [31:0] word_2_q;
reg [2:0]  in_q;

wire       read  = ar_valid && !asked_q && !chosen_q && !r_valid;
wire [3:0] place = address_q[5:2];

assign ar_ready = read;

always @(posedge clk)
    if (rst) begin
        asked_q  <= 1'b0;
        chosen_q <= 1'b0;
        r_valid  <= 1'b0;
    end else begin
        asked_q  <= read;
        chosen_q <= asked_q;
        r_valid  <= chosen_q || r_valid && !r_ready;
    end

always @(posedge clk)
    if (read) begin
        address_q <= ar_address[11:2];
        whole_q   <= ar_address[1:0] == 2'b00;
    end

always @(posedge clk) begin
    in_q     <= {address_q[11:6] == 6'd2, address_q[11:6] == 6'd1, address_q[11:6] == 6'd0} & {3{whole_q}};
    case ({6'd0, place, 2'b00})
        `VDLA_REG_CONTROL:               word_0_q <= {31'b0, irq_enable} << `VDLA_REG_CONTROL_IRQ_ENABLE_LSB;
        `VDLA_REG_STATUS:                word_0_q <= {20'b0, fault, 3'b0, irq, error, done, running, idle};
        `VDLA_REG_ERROR_INFO:            word_0_q <= {22'b0, fault_response, 6'b0, fault_unit};
        `VDLA_REG_ERROR_INSTRUCTION:     word_0_q <= fault_instruction;
        `VDLA_REG_PROGRAM_ADDRESS_LO:    word_0_q <= {program_low_q, 12'b0};
        `VDLA_REG_PROGRAM_ADDRESS_HI:    word_0_q <= {{32 - HIGH{1'b0}}, program_high_q};
        `VDLA_REG_PROGRAM_LENGTH:        word_0_q <= program_length;
        `VDLA_REG_PROGRAM_CAPACITY:      word_0_q <= program_capacity;
        `VDLA_REG_DRAM_BASE_LO:          word_0_q <= {base_low_q, 12'b0};
        `VDLA_REG_DRAM_BASE_HI:          word_0_q <= {{32 - HIGH{1'b0}}, base_high_q};
        `VDLA_REG_DRAM_LIMIT_LO:         word_0_q <= limit_low_q;
        `VDLA_REG_DRAM_LIMIT_HI:         word_0_q <= {{32 - HIGH{1'b0}}, limit_high_q};
        `VDLA_REG_EXPECTED_HASH_LO:      word_0_q <= hash_low_q;
        `VDLA_REG_EXPECTED_HASH_HI:      word_0_q <= hash_high_q;
        `VDLA_REG_DESIGN_HASH_LO:        word_0_q <= design_hash[31:0];
        `VDLA_REG_DESIGN_HASH_HI:        word_0_q <= design_hash[63:32];
        default:                         word_0_q <= 32'd0;
    endcase
    case ({6'd1, place, 2'b00})
        `VDLA_REG_CYCLES_LO:             word_1_q <= cycles[31:0];
        `VDLA_REG_CYCLES_HI:             word_1_q <= cycles[63:32];
        `VDLA_REG_WATCHDOG:              word_1_q <= watchdog;
        `VDLA_REG_VERSION:               word_1_q <= `VDLA_REG_VERSION_RESET;
        default:                         word_1_q <= 32'd0;
    endcase
    case ({6'd2, place, 2'b00})
        `VDLA_REG_FETCH_BUSY:            word_2_q <= busy_cycles[31:0];
        `VDLA_REG_FETCH_STALL:           word_2_q <= wait_cycles[31:0];
        `VDLA_REG_FETCH_INSTRUCTIONS:    word_2_q <= instructions[31:0];
        `VDLA_REG_LOAD_BUSY:             word_2_q <= busy_cycles[63:32];
        `VDLA_REG_LOAD_STALL:            word_2_q <= wait_cycles[63:32];
        `VDLA_REG_LOAD_INSTRUCTIONS:     word_2_q <= instructions[63:32];
        `VDLA_REG_COMPUTE_BUSY:          word_2_q <= busy_cycles[95:64];
        `VDLA_REG_COMPUTE_STALL:         word_2_q <= wait_cycles[95:64];
        `VDLA_REG_COMPUTE_INSTRUCTIONS:  word_2_q <= instructions[95:64];
        `VDLA_REG_STORE_BUSY:            word_2_q <= busy_cycles[127:96];
        `VDLA_REG_STORE_STALL:           word_2_q <= wait_cycles[127:96];
        `VDLA_REG_STORE_INSTRUCTIONS:    word_2_q <= instructions[127:96];
        default:                         word_2_q <= 32'd0;
    endcase
end

always @(posedge clk)
    if (chosen_q)
        r_data <= word_0_q & {32{in_q[0]}} | word_1_q & {32{in_q[1]}} | word_2_q & {32{in_q[2]}};

endmodule

`default_nettype wire
