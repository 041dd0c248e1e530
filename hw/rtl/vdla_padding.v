// Writes the padding of a LOAD: of the rows and columns that y_pad_* and x_pad_* put round the data, the entries in order,
// one a cycle, and none of the data's. `begin_valid` loads the counts; the first entry is ready in the next cycle.
//
// Padding is a sequence of runs of consecutive entries: the rows above the data, then for each row of data what lies to
// its left and right, then the rows below. Between runs the entry number skips a row of data, or the whole data when
// there is nothing at its sides.
//
//     above             rows of x_total
//     left  DATA right
//     left  DATA right
//     below             rows of x_total
//
// `last` is high in the cycle in which the last entry is taken. What `begin_any` says (combinational): there is padding.

`default_nettype none

`include "vdla_config.vh"

module vdla_padding (
    input  wire                          clk,
    input  wire                          rst,

    input  wire                          begin_valid,
    input  wire [`VDLA_ENTRY_WIDTH-1:0]  begin_entry,
    input  wire [`VDLA_DMA_X_SIZE_WIDTH-1:0] x_size,   // these hold until the last entry is taken
    input  wire [`VDLA_DMA_Y_SIZE_WIDTH-1:0] y_size,
    input  wire [`VDLA_DMA_X_PAD_BEFORE_WIDTH-1:0] left,
    input  wire [`VDLA_DMA_X_PAD_AFTER_WIDTH-1:0]  right,
    input  wire [`VDLA_DMA_Y_PAD_BEFORE_WIDTH-1:0] above,
    input  wire [`VDLA_DMA_Y_PAD_AFTER_WIDTH-1:0]  below,
    output wire                          begin_any,

    output reg                           pad_valid,
    input  wire                          pad_ready,
    output wire [`VDLA_ENTRY_WIDTH-1:0]  pad_entry,
    output wire                          last
);

localparam X = `VDLA_DMA_X_SIZE_WIDTH;
localparam Y = `VDLA_DMA_Y_SIZE_WIDTH;
localparam P = `VDLA_DMA_Y_PAD_BEFORE_WIDTH;
localparam ENTRY = `VDLA_ENTRY_WIDTH;

localparam [1:0] ABOVE = 2'd0, LEFT = 2'd1, RIGHT = 2'd2, BELOW = 2'd3;
localparam [1:0] SKIP_NONE = 2'd0, SKIP_ROW = 2'd1, SKIP_DATA = 2'd2;

wire         sides   = |left || |right;
wire [X:0]   x_total = {1'b0, x_size} + {{X + 1 - P{1'b0}}, left} + {{X + 1 - P{1'b0}}, right};
wire         rows    = |y_size;
wire [ENTRY-1:0] row_skip  = {{ENTRY - X{1'b0}}, x_size};
reg  [ENTRY-1:0] data_skip;

assign begin_any = (|above || |below) && |x_total || sides && rows;

// ----------------------------------------------------------------------------
// Where the next entry lies

reg [1:0]       phase_q;
reg [Y-1:0]     rows_q;  // of this phase (LEFT and RIGHT are one), after this one
reg [X:0]       run_q;   // entries left in this run, after this one
reg [1:0]       skip_q;  // what lies between the entry before and this one
reg [ENTRY-1:0] entry_q; // the entry this one would be without that

assign pad_entry = entry_q + (skip_q == SKIP_ROW ? row_skip : skip_q == SKIP_DATA ? data_skip : {ENTRY{1'b0}});

// The phase that follows when a row of padding or data has ended, and the skip before its first entry.
reg [1:0] row_phase;
reg [1:0] row_skip_kind;
wire      into_data = begin_valid ? above == 0 : phase_q == ABOVE && rows_q == 0 || phase_q != BELOW && phase_q != ABOVE;
wire      in_data   = phase_q == LEFT || phase_q == RIGHT;
wire      data_left = begin_valid || phase_q == ABOVE ? rows : rows_q != 0;

always @(*) begin
    row_phase     = begin_valid ? ABOVE : phase_q;
    row_skip_kind = SKIP_NONE;
    if (into_data) begin
        if (!data_left)
            row_phase = BELOW;
        else if (|left)
            row_phase = LEFT;
        else if (|right) begin
            row_phase     = RIGHT;
            row_skip_kind = SKIP_ROW;
        end else begin
            row_phase     = BELOW;
            row_skip_kind = SKIP_DATA;
        end
    end
end

reg [1:0]   phase_d;
reg [1:0]   skip_d;
reg [Y-1:0] rows_d;
reg [X:0]   run_d;
reg         more;

always @(*) begin
    phase_d = phase_q;
    skip_d  = SKIP_NONE;
    rows_d  = rows_q;
    run_d   = run_q - 1;
    more    = 1'b1;
    if (begin_valid || run_q == 0) begin
        if (!begin_valid && phase_q == LEFT && |right) begin
            phase_d = RIGHT;
            skip_d  = SKIP_ROW;
        end else begin
            phase_d = row_phase;
            skip_d  = !begin_valid && phase_q == LEFT ? SKIP_ROW : row_skip_kind;
            if (begin_valid || phase_d != phase_q && !(in_data && phase_d != BELOW))
                rows_d = phase_d == ABOVE ? {{Y - P{1'b0}}, above - 1'b1}
                       : phase_d == BELOW ? {{Y - P{1'b0}}, below - 1'b1}
                       : y_size - 1;
            else
                rows_d = rows_q - 1;
            more = phase_d == BELOW ? (phase_q == BELOW && !begin_valid ? rows_q != 0 : |below) : 1'b1;
        end
        case (phase_d)
            LEFT:    run_d = {{X + 1 - P{1'b0}}, left - 1'b1};
            RIGHT:   run_d = {{X + 1 - P{1'b0}}, right - 1'b1};
            default: run_d = x_total - 1;
        endcase
    end
end

wire take = pad_valid && pad_ready;
assign last = take && !more;

always @(posedge clk)
    if (rst)
        pad_valid <= 1'b0;
    else if (begin_valid)
        pad_valid <= begin_any;
    else if (last)
        pad_valid <= 1'b0;

always @(posedge clk)
    if (begin_valid || take) begin
        phase_q <= phase_d;
        rows_q  <= rows_d;
        run_q   <= run_d;
        skip_q  <= skip_d;
        entry_q <= begin_valid ? begin_entry : pad_entry + 1;
    end

always @(posedge clk)
    if (begin_valid)
        data_skip <= {{ENTRY - X{1'b0}}, x_size} * {{ENTRY - Y{1'b0}}, y_size};

endmodule

`default_nettype wire
