"""Synthesis: what the RTL of a design costs on an FPGA, by Yosys and nextpnr from PyPI."""
