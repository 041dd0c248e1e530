"""Operators on VDLA: tensor expressions over packed tiles, their schedules, and the packing of their constants."""
