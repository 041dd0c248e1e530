"""The functions of the timing contract (`isa.timing`) as the kernels call them: compiled into the caller."""

from __future__ import annotations

from numba.extending import register_jitable

from vdla.isa import timing

first_beat = register_jitable(timing.first_beat)
end_beat = register_jitable(timing.end_beat)
burst_beats = register_jitable(timing.burst_beats)
request_time = register_jitable(timing.request_time)
load_finish = register_jitable(timing.load_finish)
store_finish = register_jitable(timing.store_finish)
