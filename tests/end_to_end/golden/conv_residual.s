.design tiny 4fb09fd6b99891be
.dram 1012
.segment micro-ops 960
.uop (0,0,18) (0,108,0) (36,36,0) (36,37,1) (36,38,2) (36,44,3) (36,45,4) (36,46,5)
.uop (36,52,6) (36,53,7) (36,54,8) (36,0,0) (36,110,0)
.input x.packed 576 (1,1,6,6,1,4) int8
.input r.packed 384 (1,1,6,6,1,4) int8
.output y.packed 768 (1,1,6,6,1,4) int8
.layer layer qconv2d macs=5184 gemm_uops=360 unique_bytes=656
.layer_output y.packed 768 (1,1,6,6,1,4) int8
LOAD uop sram=0 dram=240 y=1 x=13 stride=0
LOAD wgt sram=18 dram=20 y=1 x=1 stride=0
LOAD acc sram=108 dram=16 y=1 x=2 stride=0
LOAD acc sram=110 dram=12 y=1 x=2 stride=0
LOAD wgt sram=0 dram=0 y=1 x=9 stride=0
LOAD inp sram=0 dram=96 y=1 x=36 stride=0 push_next
GEMM overwrite uop=0:1 loops=(1,36) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev
ALU rescale uop=1:2 loops=(1,36) dst=(0,1) src=(0,0)
LOAD inp sram=36 dram=144 y=6 x=6 stride=6 pad=(1,1,1,1) value=-3 push_next
GEMM overwrite uop=2:3 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0) pop_prev
GEMM accumulate uop=3:11 loops=(6,6) dst=(6,1) src=(8,1) wgt=(0,0)
ALU add uop=11:12 loops=(1,36) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=12:13 loops=(1,36) dst=(0,1) src=(0,0) push_next
STORE out sram=36 dram=192 y=1 x=36 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
