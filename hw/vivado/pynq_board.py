"""The accelerator on a Pynq board, behind the same driver as the simulated RTL. Not run here: there is no board.

    board = PynqMachine("pynq_z1.bit")
    outputs, counters = board.run(program, {"x": x})

`pynq` is on the board's own system and is imported only there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from vdla.errors import RunError
from vdla.hw.driver import Counters, Driver, Job, design_hash
from vdla.isa.binding import bind_inputs, read_outputs
from vdla.isa.program import Program

POLL_S = 20e-6
PAGE = 4096


class MmioRegisters:
    """`Registers` of the driver on `pynq.MMIO`."""

    def __init__(self, mmio: Any) -> None:
        self._mmio = mmio

    def read(self, offset: int) -> int:
        return int(self._mmio.read(offset))

    def write(self, offset: int, value: int) -> None:
        self._mmio.write(offset, value)


class PynqMachine:
    """The bitstream's accelerator. Raises `RunError` when there is no Pynq here or no VDLA in the bitstream."""

    def __init__(self, bitstream: str) -> None:
        try:
            import pynq  # type: ignore[import-not-found]
        except ImportError:
            raise RunError("running on a board needs pynq", where="pynq", hint="run this on the board") from None
        self._allocate = pynq.allocate
        overlay = pynq.Overlay(bitstream)
        if "vdla" not in overlay.ip_dict:
            raise RunError("the bitstream has no VDLA", where=bitstream, found=sorted(overlay.ip_dict))
        address = overlay.ip_dict["vdla"]
        registers = MmioRegisters(pynq.MMIO(address["phys_addr"], PAGE))
        self.driver = Driver(registers, lambda: time.sleep(POLL_S))

    def run(self, program: Program, inputs: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], Counters]:
        """The outputs, and the machine's own figures. Raises what `bind_inputs` and `Driver.run` do.

        The buffers of `pynq.allocate` begin on a page, as the registers ask.
        """
        image = bind_inputs(program, inputs)
        dram = self._allocate(shape=(len(image),), dtype=np.uint8)
        words = self._allocate(shape=program.words.shape, dtype=np.uint64)
        try:
            dram[:], words[:] = image, program.words
            dram.flush()
            words.flush()
            count = len(program.words)
            job = Job(words.physical_address, count, count, dram.physical_address, len(image), design_hash(program.design))
            counters = self.driver.run(job, program)
            dram.invalidate()
            return read_outputs(program, np.array(dram)), counters
        finally:
            dram.freebuffer()
            words.freebuffer()
