"""Running compiled models: host operators on the CPU, programs on any device."""

from vdla.runtime.module import Module, Result

__all__ = ["Module", "Result"]
