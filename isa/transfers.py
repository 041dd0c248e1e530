"""What instructions move between DRAM and the SRAMs, for whole programs of COLUMNS[n] at once."""

from __future__ import annotations

import numpy as np

from vdla.design import Design
from vdla.isa.definition import Opcode, Scratchpad, tile_bytes


def tile_widths(columns: np.ndarray, design: Design) -> np.ndarray:
    """int64[n]: DRAM bytes of one tile of each instruction's buffer."""
    return np.array([tile_bytes(design, buffer) for buffer in Scratchpad], np.int64)[columns["buffer"]]


def tiles_moved(columns: np.ndarray) -> np.ndarray:
    """int64[n]: tiles each LOAD and STORE moves; 0 for the rest."""
    is_transfer = (columns["opcode"] == Opcode.LOAD) | (columns["opcode"] == Opcode.STORE)
    return np.where(is_transfer, columns["y_size"].astype(np.int64) * columns["x_size"], 0)


def padded_entries(columns: np.ndarray) -> np.ndarray:
    """int64[n]: SRAM entries each LOAD fills with padding; 0 for the rest."""
    c = {name: columns[name].astype(np.int64) for name in ("y_size", "x_size", *_PADS)}
    rows = c["y_pad_before"] + c["y_size"] + c["y_pad_after"]
    entries = rows * (c["x_pad_before"] + c["x_size"] + c["x_pad_after"])
    return np.where(columns["opcode"] == Opcode.LOAD, entries - c["y_size"] * c["x_size"], 0)


_PADS = ("y_pad_before", "y_pad_after", "x_pad_before", "x_pad_after")
