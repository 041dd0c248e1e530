"""The simulator: bit-exact results, and cycles with reasons."""

from vdla.sim.device import Simulator

__all__ = ["Simulator"]
