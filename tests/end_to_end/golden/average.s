.design tiny 4fb09fd6b99891be
.dram 456
.segment micro-ops 320
.uop (0,0,0) (0,1,0) (0,2,0) (0,3,0) (0,4,0) (0,5,0) (0,6,0) (0,7,0)
.uop (0,8,0) (0,9,0) (0,10,0) (0,11,0) (0,12,0) (0,13,0) (0,14,0) (0,15,0)
.uop (0,2,0) (1,16,1) (1,17,1) (1,18,1) (1,19,1) (1,20,1) (1,21,1) (1,22,1)
.uop (1,23,1) (1,24,1) (1,25,1) (1,26,1) (1,27,1) (1,28,1) (1,29,1) (1,30,1)
.uop (1,31,1) (1,2,0)
.input x.packed 128 (1,2,4,4,1,4) int8
.output y.packed 256 (1,2,1,1,1,4) int8
.layer layer qavg_pool2d gemm_uops=32 unique_bytes=216
.layer_output y.packed 256 (1,2,1,1,1,4) int8
LOAD uop sram=0 dram=80 y=1 x=34 stride=0
LOAD wgt sram=0 dram=0 y=1 x=1 stride=0
LOAD acc sram=2 dram=4 y=1 x=2 stride=0
LOAD inp sram=0 dram=32 y=1 x=16 stride=0 push_next
GEMM overwrite uop=0:1 loops=(1,1) dst=(0,0) src=(0,0) wgt=(0,0) pop_prev
GEMM accumulate uop=1:16 loops=(1,1) dst=(0,0) src=(0,0) wgt=(0,0)
ALU requantise clip=(-128,127) uop=16:17 loops=(1,1) dst=(0,0) src=(0,0) push_next
STORE out sram=0 dram=64 y=1 x=1 stride=0 pop_prev
LOAD wgt sram=1 dram=0 y=1 x=1 stride=0
LOAD acc sram=2 dram=6 y=1 x=2 stride=0
LOAD inp sram=16 dram=48 y=1 x=16 stride=0 push_next
GEMM overwrite uop=17:18 loops=(1,1) dst=(0,0) src=(0,0) wgt=(0,0) pop_prev
GEMM accumulate uop=18:33 loops=(1,1) dst=(0,0) src=(0,0) wgt=(0,0)
ALU requantise clip=(-128,127) uop=33:34 loops=(1,1) dst=(0,0) src=(0,0) push_next
STORE out sram=1 dram=65 y=1 x=1 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
