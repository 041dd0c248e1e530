.design tiny 4fb09fd6b99891be
.dram 736
.segment micro-ops 704
.uop (4,0,0) (4,16,1) (4,32,2) (4,0,0) (36,0,6) (36,16,7) (36,32,8) (36,0,0)
.input x.packed 320 (1,3,4,4,1,4) int8
.output y.packed 512 (1,3,4,4,1,4) int8
.layer layer qconv2d macs=576 gemm_uops=144 unique_bytes=624
.layer_output y.packed 512 (1,3,4,4,1,4) int8
LOAD uop sram=0 dram=176 y=1 x=8 stride=0
LOAD wgt sram=0 dram=0 y=1 x=6 stride=0
LOAD inp sram=0 dram=80 y=1 x=48 stride=0 push_next
GEMM overwrite uop=0:1 loops=(2,16) dst=(16,1) src=(0,1) wgt=(3,0) pop_prev
GEMM accumulate uop=1:3 loops=(2,16) dst=(16,1) src=(0,1) wgt=(3,0)
LOAD acc sram=0 dram=12 y=1 x=4 stride=0
ALU requantise clip=(-128,127) uop=3:4 loops=(2,16) dst=(16,1) src=(2,0) push_next
STORE out sram=4 dram=128 y=1 x=32 stride=0 pop_prev
LOAD wgt sram=6 dram=6 y=1 x=3 stride=0 push_next
GEMM overwrite uop=4:5 loops=(1,16) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev
GEMM accumulate uop=5:7 loops=(1,16) dst=(0,1) src=(0,1) wgt=(0,0)
LOAD acc sram=0 dram=16 y=1 x=2 stride=0
ALU requantise clip=(-128,127) uop=7:8 loops=(1,16) dst=(0,1) src=(0,0) push_next
STORE out sram=36 dram=160 y=1 x=16 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
