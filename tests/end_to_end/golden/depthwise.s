.design tiny 4fb09fd6b99891be
.dram 1104
.segment micro-ops 1024
.uop (0,0,0) (0,1,1) (0,2,2) (0,8,3) (0,9,4) (0,10,5) (0,16,6) (0,17,7)
.uop (0,18,8) (0,72,0) (36,64,9) (36,65,10) (36,66,11) (36,72,12) (36,73,13) (36,74,14)
.uop (36,80,15) (36,81,16) (36,82,17) (36,72,0)
.input x.packed 384 (1,2,6,6,1,4) int8
.output y.packed 704 (1,2,6,6,1,4) int8
.layer layer qconv2d macs=2592 gemm_uops=648 unique_bytes=928
.layer_output y.packed 704 (1,2,6,6,1,4) int8
LOAD uop sram=0 dram=256 y=1 x=20 stride=0
LOAD wgt sram=0 dram=0 y=1 x=9 stride=0
LOAD acc sram=72 dram=20 y=1 x=2 stride=0
LOAD inp sram=0 dram=96 y=6 x=6 stride=6 pad=(1,1,1,1) value=-3 push_next
GEMM overwrite uop=0:1 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0) pop_prev
GEMM accumulate uop=1:9 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0)
ALU requantise clip=(-128,127) uop=9:10 loops=(1,36) dst=(0,1) src=(0,0) push_next
STORE out sram=0 dram=176 y=1 x=36 stride=0 pop_prev
LOAD acc sram=72 dram=22 y=1 x=2 stride=0
LOAD wgt sram=9 dram=9 y=1 x=9 stride=0
LOAD inp sram=64 dram=132 y=6 x=6 stride=6 pad=(1,1,1,1) value=-3 push_next
GEMM overwrite uop=10:11 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0) pop_prev
GEMM accumulate uop=11:19 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0)
ALU requantise clip=(-128,127) uop=19:20 loops=(1,36) dst=(0,1) src=(0,0) push_next
STORE out sram=36 dram=212 y=1 x=36 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
