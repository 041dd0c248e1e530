# Zynq-7000 (Pynq-Z1, Pynq-Z2): GP0 for registers, HP0 to HP3 for memory, FCLK0, interrupt 0. Pynq's boot loader has set up
# DRAM and pins, so the defaults of the processing system are never applied to them.

set processor [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7 ps]
apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 -config {make_external "FIXED_IO, DDR"} $processor
set_property -dict [list \
    CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ $clock_mhz \
    CONFIG.PCW_USE_M_AXI_GP0 1 \
    CONFIG.PCW_USE_FABRIC_INTERRUPT 1 \
    CONFIG.PCW_IRQ_F2P_INTR 1 \
] $processor

set clock   [get_bd_pins ps/FCLK_CLK0]
set reset_n [get_bd_pins ps/FCLK_RESET0_N]
set control [get_bd_intf_pins ps/M_AXI_GP0]
connect_bd_net $clock [get_bd_pins ps/M_AXI_GP0_ACLK]

set memories {}
for {set k 0} {$k < [llength $masters]} {incr k} {
    set_property -dict [list CONFIG.PCW_USE_S_AXI_HP$k 1 CONFIG.PCW_S_AXI_HP${k}_DATA_WIDTH 64] $processor
    connect_bd_net $clock [get_bd_pins ps/S_AXI_HP${k}_ACLK]
    lappend memories [get_bd_intf_pins ps/S_AXI_HP$k]
}

set interrupt [get_bd_pins ps/IRQ_F2P]
