// One block RAM: a write port with an enable for each chunk of CHUNK bits, and a synchronous read port.
//
// Chunk c is written from bits (c * CHUNK) mod SLICE of wr_data. A read of the entry written in the same cycle is
// undefined; who needs it forwards. rd_data holds while rd_valid is low. The contents are undefined at first.

`default_nettype none

module vdla_ram #(
    parameter DEPTH = 16,
    parameter WIDTH = 32,
    parameter CHUNK = WIDTH,
    parameter SLICE = WIDTH,
    parameter ADDRESS_WIDTH = 4
) (
    input  wire                     clk,

    input  wire [WIDTH/CHUNK-1:0]   wr_chunks,
    input  wire [ADDRESS_WIDTH-1:0] wr_address,
    input  wire [SLICE-1:0]         wr_data,

    input  wire                     rd_valid,
    input  wire [ADDRESS_WIDTH-1:0] rd_address,
    output reg  [WIDTH-1:0]         rd_data
);

// no_rw_check: Yosys, too, may leave undefined what a read of the entry being written gives, or it builds the old value
// round the RAM
(* ram_style = "block", no_rw_check *)
reg [WIDTH-1:0] memory [0:DEPTH-1];

integer c;

always @(posedge clk) begin
    if (|wr_chunks) begin
        for (c = 0; c < WIDTH / CHUNK; c = c + 1)
            if (wr_chunks[c])
                memory[wr_address][c * CHUNK +: CHUNK] <= wr_data[(c * CHUNK) % SLICE +: CHUNK];
    end
end

always @(posedge clk)
    if (rd_valid)
        rd_data <= memory[rd_address];

endmodule

`default_nettype wire
