"""Mutated ONNX files through the importer: always a graph that verifies, or a VdlaError that names the place.

    python tests/fuzz/fuzz.py [--count 1000000] [--seed 0] [--jobs 2]    seeds 0, 1, 2 ...
    python tests/fuzz/fuzz.py --replay 4711 [--write model.onnx]          one of them again

Each case has 10 s and 2 GiB more than the process had, in processes that are started anew when one dies.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import onnx
from corpus import corpus
from mutate import mutated

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.verify import verify_graph
from vdla.errors import ModelProblems, VdlaError

LIMIT_S = 10
LIMIT_BYTES = 2 << 30
SHARE = 2000  # cases a process runs: what one leaves behind, the next one has not


class TooSlow(BaseException):
    """Past the limit; not an Exception, so that nothing under test can catch it."""


@dataclass(frozen=True)
class Found:
    """A case that broke the promise."""

    seed: int
    what: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.what}; again: python tests/fuzz/fuzz.py --replay {self.seed}"


def case(seed: int, models: list[onnx.ModelProto]) -> bytes:
    chance = random.Random(seed)
    return mutated(chance.choice(models), chance)


def outcome(data: bytes) -> str:
    """ "graph" or "refused". Raises whatever else happens, AssertionError for an error that does not name its place."""
    try:
        graph = optimise(import_onnx(data))
    except VdlaError as error:
        refusal = error
    else:
        verify_graph(graph, "fuzz")
        return "graph"
    problems = refusal.problems if isinstance(refusal, ModelProblems) else [refusal]
    assert all(problem.where for problem in problems), f"no place: {refusal}"
    assert "\n" not in str(refusal), f"several lines: {refusal}"
    return "refused"


def run_share(first: int, count: int) -> None:
    """Cases in this process; each line printed is a seed begun, or what is wrong with it."""
    models = corpus()

    def too_slow(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGPROF, too_slow)  # of the processor's time, so that other processes do not count
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES, used + LIMIT_BYTES))
    results: Counter[str] = Counter()
    for seed in range(first, first + count):
        print(f"at {seed}", flush=True)
        data = case(seed, models)
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        try:
            results[outcome(data)] += 1
        except TooSlow:
            print(f"found {seed} took more than {LIMIT_S} s", flush=True)
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            print(f"found {seed} {text}", flush=True)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    print(f"done {results['graph']} {results['refused']}", flush=True)


def share_results(first: int, count: int) -> Iterator[Found | Counter[str]]:
    """Cases in processes of their own, a new one after each that dies."""
    end = first + count
    while first < end:
        command = [sys.executable, __file__, "--share", str(first), str(end - first)]
        quiet = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=quiet)
        assert process.stdout is not None
        at = first
        done = False
        for line in process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "at":
                at = int(rest)
            elif word == "found":
                seed, _, what = rest.partition(" ")
                yield Found(int(seed), what)
            elif word == "done":
                graphs, refused = map(int, rest.split())
                yield Counter(graph=graphs, refused=refused)
                done = True
        code = process.wait()
        if done:
            return
        yield Found(at, f"the process ended with {code}")
        first = at + 1


def run(
    first: int, count: int, jobs: int, on_progress: Callable[[int], None] = lambda done: None
) -> tuple[list[Found], Counter[str]]:
    """All that broke the promise among `count` cases from seed `first` on, and how many gave graphs and refusals."""
    shares = [(start, min(SHARE, first + count - start)) for start in range(first, first + count, SHARE)]
    found: list[Found] = []
    results: Counter[str] = Counter()
    with ThreadPoolExecutor(jobs) as pool:
        for number, share in enumerate(pool.map(lambda s: list(share_results(*s)), shares), 1):
            for item in share:
                if isinstance(item, Found):
                    found.append(item)
                else:
                    results += item
            on_progress(min(number * SHARE, count))
    return found, results


def replay(seed: int, path: Path | None) -> None:
    data = case(seed, corpus())
    if path is not None:
        path.write_bytes(data)
    print(outcome(data))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0, help="the first; others follow it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--replay", type=int, metavar="SEED")
    parser.add_argument("--write", type=Path, help="with --replay: the mutated model as a file")
    parser.add_argument("--share", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.share:
        run_share(*options.share)
        return 0
    if options.replay is not None:
        replay(options.replay, options.write)
        return 0
    begun = time.perf_counter()
    found, results = run(options.seed, options.count, options.jobs, lambda done: print(f"{done} cases", file=sys.stderr))
    for item in found:
        print(item)
    seconds = time.perf_counter() - begun
    counts = f"{results['graph']} graphs, {results['refused']} refused, {len(found)} wrong"
    print(f"{options.count} cases: {counts}, {seconds:.0f} s")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
