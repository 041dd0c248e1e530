// What a read of acc is for (no include guard: these are localparams of each module that includes them)
localparam [1:0] READ_DST   = 2'd0; // the tile to work on
localparam [1:0] READ_SRC   = 2'd1; // a tensor operand
localparam [1:0] READ_BIAS  = 2'd2; // of REQUANTISE and RESCALE
localparam [1:0] READ_SCALE = 2'd3;
