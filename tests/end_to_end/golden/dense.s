.design tiny 4fb09fd6b99891be
.dram 560
.segment micro-ops 512
.uop (4,0,0) (4,1,1) (4,2,2) (4,3,3) (4,4,4) (4,0,0) (6,0,10) (6,1,11)
.uop (6,2,12) (6,3,13) (6,4,14) (6,0,0)
.input x.packed 384 (1,5,1,1,1,4) int8
.output y.packed 448 (1,3,1,1,1,4) int8
.layer layer qdense macs=200 gemm_uops=15 unique_bytes=368
.layer_output y.packed 448 (1,3,1,1,1,4) int8
LOAD uop sram=0 dram=128 y=1 x=12 stride=0
LOAD wgt sram=0 dram=0 y=1 x=10 stride=0
LOAD inp sram=0 dram=96 y=1 x=5 stride=0 push_next
GEMM overwrite uop=0:1 loops=(1,2) dst=(0,1) src=(0,0) wgt=(0,5) pop_prev
GEMM accumulate uop=1:5 loops=(1,2) dst=(0,1) src=(0,0) wgt=(0,5)
LOAD acc sram=0 dram=16 y=1 x=4 stride=0
ALU requantise clip=(0,127) uop=5:6 loops=(1,2) dst=(0,1) src=(0,2) push_next
STORE out sram=4 dram=112 y=1 x=2 stride=0 pop_prev
LOAD wgt sram=10 dram=10 y=1 x=5 stride=0 push_next
GEMM overwrite uop=6:7 loops=(1,1) dst=(0,0) src=(0,0) wgt=(0,0) pop_prev
GEMM accumulate uop=7:11 loops=(1,1) dst=(0,0) src=(0,0) wgt=(0,0)
LOAD acc sram=0 dram=20 y=1 x=2 stride=0
ALU requantise clip=(0,127) uop=11:12 loops=(1,1) dst=(0,0) src=(0,0) push_next
STORE out sram=6 dram=114 y=1 x=1 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
