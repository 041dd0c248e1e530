.design tiny 4fb09fd6b99891be
.dram 388
.segment micro-ops 320
.uop (0,0,0) (0,1,0) (0,2,0) (0,3,0) (0,4,0) (0,5,0) (0,6,0) (0,7,0)
.uop (0,8,0) (0,9,0) (0,10,0) (0,11,0) (0,12,0) (0,13,0) (0,14,0) (0,15,0)
.uop (0,4,0)
.input x.packed 128 (1,2,4,4,1,4) int8
.output y.packed 256 (1,2,1,1,1,4) int8
.layer layer qavg_pool2d gemm_uops=32 unique_bytes=216
.layer_output y.packed 256 (1,2,1,1,1,4) int8
LOAD uop sram=0 dram=80 y=1 x=17 stride=0
LOAD wgt sram=0 dram=0 y=1 x=1 stride=0
LOAD acc sram=4 dram=4 y=1 x=4 stride=0
LOAD inp sram=0 dram=32 y=1 x=32 stride=0 push_next
GEMM overwrite uop=0:1 loops=(1,2) dst=(0,1) src=(0,16) wgt=(0,0) pop_prev
GEMM accumulate uop=1:16 loops=(1,2) dst=(0,1) src=(0,16) wgt=(0,0)
ALU requantise clip=(-128,127) uop=16:17 loops=(1,2) dst=(0,1) src=(0,2) push_next
STORE out sram=0 dram=64 y=1 x=2 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
