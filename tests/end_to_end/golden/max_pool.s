.design tiny 4fb09fd6b99891be
.dram 412
.segment micro-ops 384
.uop (0,0,1) (21,7,0) (0,21,0) (0,28,0) (63,0,0) (63,1,0) (63,2,0)
.input x.packed 64 (1,1,7,7,1,4) int8
.output y.packed 320 (1,1,3,3,1,4) int8
.layer layer qmax_pool2d gemm_uops=63 unique_bytes=248
.layer_output y.packed 320 (1,1,3,3,1,4) int8
LOAD uop sram=0 dram=96 y=1 x=7 stride=0
LOAD wgt sram=0 dram=0 y=1 x=1 stride=0
LOAD wgt sram=1 dram=0 y=1 x=1 stride=0
LOAD inp sram=0 dram=16 y=6 x=6 stride=7 pad=(1,0,1,0) value=-128 push_next
GEMM overwrite uop=0:1 loops=(3,7) dst=(7,1) src=(14,1) wgt=(0,0) pop_prev
GEMM overwrite uop=1:2 loops=(1,42) dst=(0,1) src=(0,1) wgt=(0,0)
ALU max uop=2:3 loops=(3,7) dst=(7,1) src=(14,1)
ALU max uop=3:4 loops=(3,7) dst=(7,1) src=(14,1)
ALU mov uop=4:5 loops=(3,3) dst=(3,1) src=(7,2)
ALU max uop=5:6 loops=(3,3) dst=(3,1) src=(7,2)
ALU max uop=6:7 loops=(3,3) dst=(3,1) src=(7,2) push_next
STORE out sram=63 dram=80 y=1 x=9 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
