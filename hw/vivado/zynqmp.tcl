# Zynq UltraScale+ (KV260): HPM0 for registers, HP0 to HP3 for memory, PL clock 0, interrupt 0.

set processor [create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps]
apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset "0"} $processor
set_property -dict [list \
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ $clock_mhz \
    CONFIG.PSU__USE__M_AXI_GP0 1 \
    CONFIG.PSU__USE__M_AXI_GP1 0 \
    CONFIG.PSU__USE__M_AXI_GP2 0 \
    CONFIG.PSU__USE__IRQ0 1 \
] $processor

set clock   [get_bd_pins ps/pl_clk0]
set reset_n [get_bd_pins ps/pl_resetn0]
set control [get_bd_intf_pins ps/M_AXI_HPM0_FPD]
connect_bd_net $clock [get_bd_pins ps/maxihpm0_fpd_aclk]

# The ports HP0 to HP3 are S_AXI_GP2 to S_AXI_GP5 to the configuration
set memories {}
for {set k 0} {$k < [llength $masters]} {incr k} {
    set_property -dict [list CONFIG.PSU__USE__S_AXI_GP[expr {$k + 2}] 1 CONFIG.PSU__SAXIGP[expr {$k + 2}]__DATA_WIDTH 128] $processor
    connect_bd_net $clock [get_bd_pins ps/saxihp${k}_fpd_aclk]
    lappend memories [get_bd_intf_pins ps/S_AXI_HP${k}_FPD]
}

set interrupt [get_bd_pins ps/pl_ps_irq0]
