.design tiny 4fb09fd6b99891be
.dram 1432
.segment micro-ops 1280
.uop (0,0,0) (0,1,1) (0,2,2) (0,8,3) (0,9,4) (0,10,5) (0,16,6) (0,17,7)
.uop (0,18,8) (0,64,9) (0,65,10) (0,66,11) (0,72,12) (0,73,13) (0,74,14) (0,80,15)
.uop (0,81,16) (0,82,17) (0,72,0) (36,0,0) (36,1,1) (36,2,2) (36,8,3) (36,9,4)
.uop (36,10,5) (36,16,6) (36,17,7) (36,18,8) (36,64,9) (36,65,10) (36,66,11) (36,72,12)
.uop (36,73,13) (36,74,14) (36,80,15) (36,81,16) (36,82,17) (36,72,0)
.input x.packed 640 (1,2,6,6,1,4) int8
.output y.packed 960 (1,2,6,6,1,4) int8
.layer layer qconv2d macs=20736 gemm_uops=1296 unique_bytes=1216
.layer_output y.packed 960 (1,2,6,6,1,4) int8
LOAD uop sram=0 dram=320 y=1 x=38 stride=0
LOAD wgt sram=0 dram=0 y=1 x=9 stride=0
LOAD acc sram=72 dram=36 y=1 x=2 stride=0
LOAD inp sram=0 dram=160 y=6 x=6 stride=6 pad=(1,1,1,1) value=-3 push_next
GEMM overwrite uop=0:1 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0) pop_prev
GEMM accumulate uop=1:9 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0) push_prev
LOAD inp sram=64 dram=196 y=6 x=6 stride=6 pad=(1,1,1,1) value=-3
LOAD wgt sram=9 dram=9 y=1 x=9 stride=0 push_next
GEMM accumulate uop=9:18 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0) pop_prev push_prev
ALU requantise clip=(-128,127) uop=18:19 loops=(1,36) dst=(0,1) src=(0,0) push_next
STORE out sram=0 dram=240 y=1 x=36 stride=0 pop_prev
LOAD acc sram=72 dram=38 y=1 x=2 stride=0
LOAD inp sram=0 dram=160 y=6 x=6 stride=6 pad=(1,1,1,1) value=-3 pop_next
LOAD wgt sram=0 dram=18 y=1 x=9 stride=0 push_next
GEMM overwrite uop=19:20 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0) pop_prev
GEMM accumulate uop=20:28 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0)
LOAD inp sram=64 dram=196 y=6 x=6 stride=6 pad=(1,1,1,1) value=-3 pop_next
LOAD wgt sram=9 dram=27 y=1 x=9 stride=0 push_next
GEMM accumulate uop=28:37 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0) pop_prev
ALU requantise clip=(-128,127) uop=37:38 loops=(1,36) dst=(0,1) src=(0,0) push_next
STORE out sram=36 dram=276 y=1 x=36 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
