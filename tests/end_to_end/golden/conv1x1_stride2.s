.design tiny 4fb09fd6b99891be
.dram 524
.segment micro-ops 512
.uop (0,0,0) (0,15,1) (0,18,0)
.input x.packed 128 (1,2,6,6,1,4) int8
.output y.packed 448 (1,1,3,3,1,4) int8
.layer layer qconv2d macs=288 gemm_uops=18 unique_bytes=388
.layer_output y.packed 448 (1,1,3,3,1,4) int8
LOAD uop sram=0 dram=128 y=1 x=3 stride=0
LOAD wgt sram=0 dram=0 y=1 x=1 stride=0
LOAD acc sram=18 dram=4 y=1 x=2 stride=0
LOAD inp sram=0 dram=32 y=3 x=5 stride=12 push_next
GEMM overwrite uop=0:1 loops=(3,3) dst=(3,1) src=(5,2) wgt=(0,0) pop_prev
LOAD inp sram=15 dram=68 y=3 x=5 stride=12
LOAD wgt sram=1 dram=1 y=1 x=1 stride=0 push_next
GEMM accumulate uop=1:2 loops=(3,3) dst=(3,1) src=(5,2) wgt=(0,0) pop_prev
ALU requantise clip=(-128,127) uop=2:3 loops=(1,9) dst=(0,1) src=(0,0) push_next
STORE out sram=0 dram=112 y=1 x=9 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
