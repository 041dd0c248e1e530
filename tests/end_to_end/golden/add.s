.design tiny 4fb09fd6b99891be
.dram 1072
.segment micro-ops 1024
.uop (26,26,1) (26,54,0) (0,0,0) (0,52,0) (0,26,0) (0,56,0) (39,39,1) (39,54,0)
.uop (13,13,0) (13,52,0) (13,39,0) (13,56,0)
.input a.packed 256 (1,2,5,5,1,4) int8
.input b.packed 512 (1,2,5,5,1,4) int8
.output y.packed 768 (1,2,5,5,1,4) int8
.layer layer qadd gemm_uops=100 unique_bytes=808
.layer_output y.packed 768 (1,2,5,5,1,4) int8
LOAD uop sram=0 dram=256 y=1 x=12 stride=0
LOAD wgt sram=0 dram=0 y=1 x=1 stride=0
LOAD acc sram=52 dram=4 y=1 x=2 stride=0
LOAD wgt sram=1 dram=0 y=1 x=1 stride=0
LOAD acc sram=54 dram=8 y=1 x=2 stride=0
LOAD acc sram=56 dram=12 y=1 x=2 stride=0
LOAD inp sram=26 dram=128 y=1 x=13 stride=0 push_next
GEMM overwrite uop=0:1 loops=(1,13) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev
ALU rescale uop=1:2 loops=(1,13) dst=(0,1) src=(0,0)
LOAD inp sram=0 dram=64 y=1 x=13 stride=0 push_next
GEMM overwrite uop=2:3 loops=(1,13) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev
ALU rescale uop=3:4 loops=(1,13) dst=(0,1) src=(0,0)
ALU add uop=4:5 loops=(1,13) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=5:6 loops=(1,13) dst=(0,1) src=(0,0) push_next
STORE out sram=0 dram=192 y=1 x=13 stride=0 pop_prev push_prev
LOAD inp sram=39 dram=141 y=1 x=12 stride=0 push_next
GEMM overwrite uop=6:7 loops=(1,12) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev
ALU rescale uop=7:8 loops=(1,12) dst=(0,1) src=(0,0)
LOAD inp sram=13 dram=77 y=1 x=12 stride=0 push_next
GEMM overwrite uop=8:9 loops=(1,12) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev push_prev
ALU rescale uop=9:10 loops=(1,12) dst=(0,1) src=(0,0)
ALU add uop=10:11 loops=(1,12) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=11:12 loops=(1,12) dst=(0,1) src=(0,0) push_next
STORE out sram=13 dram=205 y=1 x=12 stride=0 pop_prev push_prev
LOAD wgt sram=0 dram=0 y=1 x=1 stride=0 pop_next
LOAD acc sram=52 dram=6 y=1 x=2 stride=0
LOAD wgt sram=1 dram=0 y=1 x=1 stride=0
LOAD acc sram=54 dram=10 y=1 x=2 stride=0
LOAD acc sram=56 dram=14 y=1 x=2 stride=0
LOAD inp sram=26 dram=153 y=1 x=13 stride=0 push_next
GEMM overwrite uop=0:1 loops=(1,13) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev
ALU rescale uop=1:2 loops=(1,13) dst=(0,1) src=(0,0)
LOAD inp sram=0 dram=89 y=1 x=13 stride=0 push_next
GEMM overwrite uop=2:3 loops=(1,13) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev pop_next
ALU rescale uop=3:4 loops=(1,13) dst=(0,1) src=(0,0)
ALU add uop=4:5 loops=(1,13) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=5:6 loops=(1,13) dst=(0,1) src=(0,0) push_next
STORE out sram=0 dram=217 y=1 x=13 stride=0 pop_prev
LOAD inp sram=39 dram=166 y=1 x=12 stride=0 push_next
GEMM overwrite uop=6:7 loops=(1,12) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev
ALU rescale uop=7:8 loops=(1,12) dst=(0,1) src=(0,0)
LOAD inp sram=13 dram=102 y=1 x=12 stride=0 push_next
GEMM overwrite uop=8:9 loops=(1,12) dst=(0,1) src=(0,1) wgt=(0,0) pop_prev pop_next
ALU rescale uop=9:10 loops=(1,12) dst=(0,1) src=(0,0)
ALU add uop=10:11 loops=(1,12) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=11:12 loops=(1,12) dst=(0,1) src=(0,0) push_next
STORE out sram=13 dram=230 y=1 x=12 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
