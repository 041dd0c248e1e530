"""The simulator: bit-exact results, and cycles with reasons."""

from vdla.sim.device import Simulator
from vdla.sim.naive import NaiveSimulator

__all__ = ["NaiveSimulator", "Simulator"]
