"""The simulator: bit-exact results, and cycles with reasons.

Imports are lazy: the naive simulator needs no Numba, and runs where there is none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__all__ = ["NaiveSimulator", "Simulator"]

if TYPE_CHECKING:
    from vdla.sim.device import Simulator
    from vdla.sim.naive import NaiveSimulator

_HOMES = {"NaiveSimulator": "vdla.sim.naive", "Simulator": "vdla.sim.device"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'vdla.sim' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
