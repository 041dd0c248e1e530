// For each of the four units: cycles busy, cycles waiting, instructions started. They count while `running` and hold then.
// What happens in one cycle is counted in the next.

`default_nettype none

module vdla_counters (
    input  wire         clk,
    input  wire         rst,
    input  wire         running,
    input  wire [3:0]   busy,
    input  wire [3:0]   waiting,
    input  wire [3:0]   start,
    output wire [127:0] busy_cycles,  // 32 bits for each unit
    output wire [127:0] wait_cycles,
    output wire [127:0] instructions
);

genvar u;
generate for (u = 0; u < 4; u = u + 1) begin: unit
    reg        busy_now_q;
    reg        waiting_now_q;
    reg        start_now_q;
    reg [31:0] busy_q;
    reg [31:0] waiting_q;
    reg [31:0] start_q;
    always @(posedge clk) begin
        busy_now_q    <= busy[u] && running;
        waiting_now_q <= waiting[u] && running;
        start_now_q   <= start[u] && running;
    end
    always @(posedge clk)
        if (rst) begin
            busy_q    <= 0;
            waiting_q <= 0;
            start_q   <= 0;
        end else begin
            if (busy_now_q)
                busy_q <= busy_q + 1;
            if (waiting_now_q)
                waiting_q <= waiting_q + 1;
            if (start_now_q)
                start_q <= start_q + 1;
        end
    assign busy_cycles[32 * u +: 32]  = busy_q;
    assign wait_cycles[32 * u +: 32]  = waiting_q;
    assign instructions[32 * u +: 32] = start_q;
end endgenerate

endmodule

`default_nettype wire
