// The padding of a LOAD: of the rows and columns that y_pad_* and x_pad_* put round the data, the entries in order, one a
// cycle, and none of the data's. The counts are there a cycle before `begin_valid`; the first entry is ready a cycle after.
//
// Padding is a sequence of runs of consecutive entries: the rows above the data, then for each row of data what lies to
// its left and right, then the rows below. Between runs the entry number skips a row of data, or the whole data when
// there is nothing at its sides.
//
//     above             rows of left + x_size + right
//     left  DATA right
//     left  DATA right
//     below             rows of left + x_size + right
//
// `last` is high in the cycle in which the last entry is taken. `begin_any`, from `begin_valid` on: there is padding.

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
    output reg                           begin_any,

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

// ----------------------------------------------------------------------------
// The instruction

wire sides     = |left || |right;
wire columns   = |x_size || sides;
wire has_sides = |y_size && sides;
wire has_below = |below && columns;

wire [P:0] both_sides = {1'b0, left} + {1'b0, right};

reg             has_above_q;
reg             has_sides_q;
reg             has_left_q;
reg             has_right_q;
reg             has_below_q;
reg [X:0]       total_1_q; // entries of a whole row, less 1
reg             single_q;  // a whole row is one entry
reg [ENTRY-1:0] data_q;    // entries of the whole data

always @(posedge clk) begin
    begin_any   <= |above && columns || has_below || has_sides;
    has_above_q <= |above;
    has_sides_q <= has_sides;
    has_left_q  <= |left;
    has_right_q <= |right;
    has_below_q <= has_below;
    total_1_q   <= {1'b0, x_size} + {{X - P{1'b0}}, both_sides} - 1;
    single_q    <= x_size == 1 && !sides || x_size == 0 && both_sides == 1;
    data_q      <= {{ENTRY - X{1'b0}}, x_size} * {{ENTRY - Y{1'b0}}, y_size};
end

// ----------------------------------------------------------------------------
// Runs: which the next entry belongs to

reg [1:0]   phase_q;
reg [Y-1:0] rows_q;     // of this phase (LEFT and RIGHT are one), after this one
reg         last_row_q; // there are none
reg [X:0]   run_q;      // entries of this run, after this one
reg         run_over_q; // there are none
reg         whole_q;    // neither is known yet: it is a whole row, and the first run of all
reg [1:0]   skip_q;     // what lies between the entry before and this one

wire [X:0] run      = whole_q ? total_1_q : run_q;
wire       run_over = whole_q ? single_q : run_over_q;

// The first phase, of a transfer with padding at all, and the one after the rows above
wire [1:0] first_phase = has_above_q ? ABOVE : !has_sides_q ? BELOW : has_left_q ? LEFT : RIGHT;
wire [1:0] side_phase  = !has_sides_q ? BELOW : has_left_q ? LEFT : RIGHT;

reg [1:0] next_phase; // the phase of the run after this one
reg [1:0] next_skip;
reg       more;       // there is such a run

always @(*) begin
    next_phase = phase_q;
    next_skip  = SKIP_NONE;
    more       = 1'b1;
    case (phase_q)
        ABOVE:
            if (last_row_q) begin
                next_phase = side_phase;
                next_skip  = side_phase == BELOW ? SKIP_DATA : side_phase == RIGHT ? SKIP_ROW : SKIP_NONE;
                more       = has_sides_q || has_below_q;
            end
        LEFT: begin
            next_skip = SKIP_ROW;
            if (has_right_q)
                next_phase = RIGHT;
            else if (last_row_q) begin
                next_phase = BELOW;
                more       = has_below_q;
            end
        end
        RIGHT:
            if (last_row_q) begin
                next_phase = BELOW;
                more       = has_below_q;
            end else if (has_left_q)
                next_phase = LEFT;
            else
                next_skip = SKIP_ROW;
        default:
            more = !last_row_q;
    endcase
end

wire take     = pad_valid && pad_ready;
wire same_row = phase_q == LEFT && next_phase == RIGHT;
wire same     = phase_q == next_phase || phase_q == RIGHT && next_phase == LEFT;

assign last = take && run_over && !more;

always @(posedge clk)
    if (rst)
        pad_valid <= 1'b0;
    else if (begin_valid)
        pad_valid <= begin_any;
    else if (last)
        pad_valid <= 1'b0;

always @(posedge clk)
    if (begin_valid) begin
        phase_q    <= first_phase;
        skip_q     <= first_phase == BELOW ? SKIP_DATA : first_phase == RIGHT ? SKIP_ROW : SKIP_NONE;
        whole_q    <= first_phase == ABOVE || first_phase == BELOW;
        run_q      <= {{X + 1 - P{1'b0}}, (has_left_q ? left : right) - 1'b1};
        run_over_q <= has_left_q ? left == 1 : right == 1;
    end else if (take) begin
        skip_q     <= SKIP_NONE;
        whole_q    <= 1'b0;
        run_q      <= run - 1;
        run_over_q <= run == 1;
        if (run_over) begin
            phase_q <= next_phase;
            skip_q  <= next_skip;
            case (next_phase)
                LEFT: begin
                    run_q      <= {{X + 1 - P{1'b0}}, left - 1'b1};
                    run_over_q <= left == 1;
                end
                RIGHT: begin
                    run_q      <= {{X + 1 - P{1'b0}}, right - 1'b1};
                    run_over_q <= right == 1;
                end
                default: begin
                    run_q      <= total_1_q;
                    run_over_q <= single_q;
                end
            endcase
        end
    end

always @(posedge clk)
    if (begin_valid) begin
        rows_q     <= has_above_q ? {{Y - P{1'b0}}, above - 1'b1}
                    : has_sides_q ? y_size - 1 : {{Y - P{1'b0}}, below - 1'b1};
        last_row_q <= has_above_q ? above == 1 : has_sides_q ? y_size == 1 : below == 1;
    end else if (take && run_over && !same_row) begin
        rows_q     <= same ? rows_q - 1 : next_phase == BELOW ? {{Y - P{1'b0}}, below - 1'b1} : y_size - 1;
        last_row_q <= same ? rows_q == 1 : next_phase == BELOW ? below == 1 : y_size == 1;
    end

// ----------------------------------------------------------------------------
// Entries

reg  [ENTRY-1:0] entry_q; // the one this would be without the skip
wire [ENTRY-1:0] skip = skip_q == SKIP_ROW ? {{ENTRY - X{1'b0}}, x_size} : skip_q == SKIP_DATA ? data_q : {ENTRY{1'b0}};

assign pad_entry = entry_q + skip;

always @(posedge clk)
    if (begin_valid)
        entry_q <= begin_entry;
    else if (take)
        entry_q <= entry_q + skip + 1;

endmodule

`default_nettype wire
