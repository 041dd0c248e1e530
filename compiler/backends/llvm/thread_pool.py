"""`vdla_parallel_for` for compiled code in this process: persistent threads that call outlined loop bodies.

The threads are Python's, but they hold no lock of Python's while they compute: ctypes releases it around every call.
"""

from __future__ import annotations

import ctypes
import os
import threading
from queue import SimpleQueue

CHUNK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
PARALLEL_FOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
CHUNKS_PER_THREAD = 4
"""More chunks than threads, so that a thread the system delays is helped by the others."""


def thread_count() -> int:
    """VDLA_THREADS, or the cores this process may use."""
    wanted = os.environ.get("VDLA_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Job:
    """One parallel loop: ranges are handed out until none is left; `done` is set when the last one ends."""

    def __init__(self, chunk: int, context: int | None, extent: int, pieces: int) -> None:
        self.function, self.context = CHUNK(chunk), context
        self.bounds = [extent * i // pieces for i in range(pieces + 1)]
        self.next, self.unfinished = 0, pieces
        self.lock, self.done = threading.Lock(), threading.Event()

    def run(self) -> None:
        """Take ranges and compute them until none is left."""
        pieces = len(self.bounds) - 1
        while True:
            with self.lock:
                i = self.next
                self.next += 1
            if i >= pieces:
                return
            self.function(self.context, self.bounds[i], self.bounds[i + 1])
            with self.lock:
                self.unfinished -= 1
                if self.unfinished == 0:
                    self.done.set()


class ThreadPool:
    """`threads` workers, the caller included. Helpers start at the first parallel loop and are daemons."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.owner = 0  # process that started the helpers: a forked child has none

    def parallel_for(self, chunk: int, context: int | None, extent: int) -> None:
        """Run `chunk` on ranges covering 0..extent; returns when all have ended."""
        if self.threads == 1 or extent == 1:
            CHUNK(chunk)(context, 0, extent)
            return
        if self.owner != os.getpid():
            self._start()
        job = _Job(chunk, context, extent, min(extent, self.threads * CHUNKS_PER_THREAD))
        for _ in range(min(self.threads, extent) - 1):
            self.jobs.put(job)
        job.run()
        job.done.wait()

    def _start(self) -> None:
        self.owner, self.jobs = os.getpid(), SimpleQueue()
        for i in range(self.threads - 1):
            threading.Thread(target=self._help, args=(self.jobs,), name=f"vdla-{i}", daemon=True).start()

    @staticmethod
    def _help(jobs: SimpleQueue[_Job]) -> None:
        while True:
            jobs.get().run()


POOL = ThreadPool(thread_count())
CALLBACK = PARALLEL_FOR(POOL.parallel_for)
ADDRESS: int = ctypes.cast(CALLBACK, ctypes.c_void_p).value or 0
"""Address of `vdla_parallel_for`, for the linker."""
