.design tiny 4fb09fd6b99891be
.dram 992
.segment micro-ops 960
.uop (26,54,0) (0,52,0) (0,26,0) (0,56,0) (39,54,0) (13,52,0) (13,39,0) (13,56,0)
.input a.packed 192 (1,2,5,5,1,4) int8
.input b.packed 448 (1,2,5,5,1,4) int8
.output y.packed 704 (1,2,5,5,1,4) int8
.layer layer qadd unique_bytes=792
.layer_output y.packed 704 (1,2,5,5,1,4) int8
LOAD uop sram=0 dram=240 y=1 x=8 stride=0
LOAD acc sram=52 dram=0 y=1 x=2 stride=0
LOAD acc sram=54 dram=4 y=1 x=2 stride=0
LOAD acc sram=56 dram=8 y=1 x=2 stride=0
LOAD out sram=26 dram=112 y=1 x=13 stride=0
ALU rescale uop=0:1 loops=(1,13) dst=(0,1) src=(0,0)
LOAD out sram=0 dram=48 y=1 x=13 stride=0
ALU rescale uop=1:2 loops=(1,13) dst=(0,1) src=(0,0)
ALU add uop=2:3 loops=(1,13) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=3:4 loops=(1,13) dst=(0,1) src=(0,0) push_next
STORE out sram=0 dram=176 y=1 x=13 stride=0 pop_prev push_prev
LOAD out sram=39 dram=125 y=1 x=12 stride=0
ALU rescale uop=4:5 loops=(1,12) dst=(0,1) src=(0,0)
LOAD out sram=13 dram=61 y=1 x=12 stride=0
ALU rescale uop=5:6 loops=(1,12) dst=(0,1) src=(0,0)
ALU add uop=6:7 loops=(1,12) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=7:8 loops=(1,12) dst=(0,1) src=(0,0) push_next
STORE out sram=13 dram=189 y=1 x=12 stride=0 pop_prev push_prev
LOAD acc sram=52 dram=2 y=1 x=2 stride=0
LOAD acc sram=54 dram=6 y=1 x=2 stride=0
LOAD acc sram=56 dram=10 y=1 x=2 stride=0
LOAD out sram=26 dram=137 y=1 x=13 stride=0
ALU rescale uop=0:1 loops=(1,13) dst=(0,1) src=(0,0)
LOAD out sram=0 dram=73 y=1 x=13 stride=0 pop_next
ALU rescale uop=1:2 loops=(1,13) dst=(0,1) src=(0,0)
ALU add uop=2:3 loops=(1,13) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=3:4 loops=(1,13) dst=(0,1) src=(0,0) push_next
STORE out sram=0 dram=201 y=1 x=13 stride=0 pop_prev
LOAD out sram=39 dram=150 y=1 x=12 stride=0
ALU rescale uop=4:5 loops=(1,12) dst=(0,1) src=(0,0)
LOAD out sram=13 dram=86 y=1 x=12 stride=0 pop_next
ALU rescale uop=5:6 loops=(1,12) dst=(0,1) src=(0,0)
ALU add uop=6:7 loops=(1,12) dst=(0,1) src=(0,1)
ALU requantise clip=(-128,127) uop=7:8 loops=(1,12) dst=(0,1) src=(0,0) push_next
STORE out sram=13 dram=214 y=1 x=12 stride=0 pop_prev push_prev
FINISH pop_next
.end_layer
