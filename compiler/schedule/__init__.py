"""Schedules: rewriting the loop IR step by step, each step leaving a legal program that computes the same thing."""

from vdla.compiler.schedule.schedule import Schedule
from vdla.compiler.schedule.tensor_intrinsic import TensorIntrinsic, tile_function

__all__ = ["Schedule", "TensorIntrinsic", "tile_function"]
