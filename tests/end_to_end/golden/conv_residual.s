.design tiny 4fb09fd6b99891be
.dram 1056
.segment micro-ops 960
.uop (0,0,18) (0,54,0) (18,18,0) (18,19,1) (18,20,2) (18,26,3) (18,27,4) (18,28,5)
.uop (18,34,6) (18,35,7) (18,36,8) (18,0,0) (18,56,0) (36,58,0) (36,59,1) (36,60,2)
.uop (36,66,3) (36,67,4) (36,68,5) (36,74,6) (36,75,7) (36,76,8) (36,0,0) (36,56,0)
.input x.packed 576 (1,1,6,6,1,4) int8
.input r.packed 384 (1,1,6,6,1,4) int8
.output y.packed 768 (1,1,6,6,1,4) int8
.layer layer qconv2d macs=5184 gemm_uops=360 unique_bytes=656
.layer_output y.packed 768 (1,1,6,6,1,4) int8
LOAD uop sram=0 dram=240 y=1 x=24 stride=0
LOAD wgt sram=18 dram=20 y=1 x=1 stride=0
LOAD acc sram=54 dram=16 y=1 x=2 stride=0
LOAD acc sram=56 dram=12 y=1 x=2 stride=0
LOAD wgt sram=0 dram=0 y=1 x=9 stride=0
LOAD inp sram=0 dram=96 y=1 x=18 stride=0 push_next
GEMM overwrite uop=0:1 loops=(1,18) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev push_prev
ALU rescale uop=1:2 loops=(1,18) dst=(0,1) src=(0,0)
LOAD inp sram=18 dram=144 y=4 x=6 stride=6 pad=(1,0,1,1) value=-3 push_next
GEMM overwrite uop=2:3 loops=(3,6) dst=(6,1) src=(8,1) wgt=(0,0) pop_prev
GEMM accumulate uop=3:11 loops=(3,6) dst=(6,1) src=(8,1) wgt=(0,0)
ALU add uop=11:12 loops=(1,18) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=12:13 loops=(1,18) dst=(0,1) src=(0,0) push_next
STORE out sram=18 dram=192 y=1 x=18 stride=0 pop_prev
LOAD inp sram=0 dram=114 y=1 x=18 stride=0 pop_next push_next
GEMM overwrite uop=0:1 loops=(1,18) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev
ALU rescale uop=1:2 loops=(1,18) dst=(0,1) src=(0,0)
LOAD inp sram=58 dram=156 y=4 x=6 stride=6 pad=(0,1,1,1) value=-3 push_next
GEMM overwrite uop=13:14 loops=(3,6) dst=(6,1) src=(8,1) wgt=(0,0) pop_prev
GEMM accumulate uop=14:22 loops=(3,6) dst=(6,1) src=(8,1) wgt=(0,0)
ALU add uop=22:23 loops=(1,18) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=23:24 loops=(1,18) dst=(0,1) src=(0,0) push_next
STORE out sram=36 dram=210 y=1 x=18 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
