# Builds <design>.bit and <design>.hwh in this folder: vivado -mode batch -source build.tcl
# Written for Vivado 2022.1 or later. Not run by the project's tests, which have no Vivado.

set here [file dirname [file normalize [info script]]]
source $here/settings.tcl

create_project -force $design_name $here/project -part $part
add_files [glob $here/rtl/*.v]
add_files [glob $here/rtl/*.vh]
set_property file_type {Verilog Header} [get_files *.vh]
set_property include_dirs $here/rtl [current_fileset]
add_files -fileset constrs_1 $here/constraints.xdc
update_compile_order -fileset sources_1

# ---------------------------------------------------------------------------------------------------------------------
# Block design: the processing system, the accelerator, and what joins them

create_bd_design system
create_bd_cell -type module -reference vdla_shell vdla
set_property CONFIG.PACKED_PRODUCTS 1 [get_bd_cells vdla]

# Defines: processor, clock, reset_n, control (its master for registers), memories (its ports into DRAM), interrupt
source $here/processor.tcl

create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset reset
connect_bd_net $clock [get_bd_pins reset/slowest_sync_clk]
connect_bd_net $reset_n [get_bd_pins reset/ext_reset_in]
connect_bd_net $clock [get_bd_pins vdla/aclk]
connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins vdla/aresetn]
connect_bd_net [get_bd_pins vdla/irq] $interrupt

# A SmartConnect between any two AXI interfaces: it converts protocols (AXI3 of Zynq-7000), widths and ID widths.
proc connect_axi {name from to} {
    global clock
    create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect $name
    set_property -dict {CONFIG.NUM_SI 1 CONFIG.NUM_MI 1} [get_bd_cells $name]
    connect_bd_net $clock [get_bd_pins $name/aclk]
    connect_bd_net [get_bd_pins reset/interconnect_aresetn] [get_bd_pins $name/aresetn]
    connect_bd_intf_net $from [get_bd_intf_pins $name/S00_AXI]
    connect_bd_intf_net [get_bd_intf_pins $name/M00_AXI] $to
}

connect_axi registers $control [get_bd_intf_pins vdla/s_axil]
foreach master $masters memory $memories {
    if {$master eq ""} { break }
    connect_axi ${master}_path [get_bd_intf_pins vdla/$master] $memory
}

assign_bd_address
validate_bd_design
save_bd_design

make_wrapper -files [get_files system.bd] -top -import
set_property top system_wrapper [current_fileset]

# ---------------------------------------------------------------------------------------------------------------------
# Bitstream, reports, and the hardware description that Pynq reads

launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
open_run impl_1
report_utilization -hierarchical -file $here/utilization.txt
report_timing_summary -file $here/timing.txt
if {[get_property SLACK [get_timing_paths]] < 0} {
    puts "WARNING: the clock of $clock_mhz MHz is not met; see timing.txt"
}

file copy -force [get_property DIRECTORY [get_runs impl_1]]/system_wrapper.bit $here/$design_name.bit
file copy -force [lindex [glob $here/project/$design_name.gen/sources_1/bd/system/hw_handoff/system.hwh] 0] $here/$design_name.hwh
puts "$design_name.bit and $design_name.hwh are in $here (design hash $design_hash)"
