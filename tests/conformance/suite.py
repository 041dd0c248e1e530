"""The ONNX project's own test suite on our CPU backend: which tests pass, which are refused and why, and whether any is wrong.

    python tests/conformance/suite.py [--kind node] [--filter gather] [--jobs 2] [--docs docs/conformance.md] [--verbose]

Each test runs in a worker process with a time limit, so that a crash or a hang is a result too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import DATA_DIR, load_model_tests
from onnx.backend.test.runner import Runner

from vdla.errors import VdlaError

KINDS = ("node", "simple", "light", "pytorch-converted", "pytorch-operator")
PASS, REFUSED, WRONG, CRASH, SLOW = "pass", "refused", "wrong", "crash", "slow"
LIMIT_S = {"node": 30, "light": 120}
"""Seconds that one test may take; others as node tests."""


def limit_of(kind: str) -> int:
    return LIMIT_S.get(kind, LIMIT_S["node"])


@dataclass(frozen=True)
class Outcome:
    """status: one of the five; reason: the refusal, or what differs. operators: those of the model's own graph."""

    name: str
    kind: str
    status: str
    reason: str
    seconds: float
    operators: str


def cases(kind: str, pattern: str = "") -> list[str]:
    """The names of a kind's tests that match."""
    if kind == "light":
        names = sorted(path.stem for path in Path(DATA_DIR, "light").glob("*.onnx"))
    else:
        names = [case.name for case in loaded(kind)]
    return [name for name in names if re.search(pattern, name)]


def model_and_data(kind: str, name: str) -> tuple[onnx.ModelProto, Iterator[tuple[list[Any], list[Any]]], float, float]:
    """The model, pairs of inputs and expected outputs, and the tolerances the suite sets."""
    if kind == "light":
        return light_case(name)
    case = next(case for case in loaded(kind) if case.name == name)
    if case.model is not None:
        data = [([*map(array_of, inputs)], [*map(array_of, outputs)]) for inputs, outputs in case.data_sets]
        return case.model, iter(data), case.rtol, case.atol
    model = onnx.load(os.path.join(case.model_dir, "model.onnx"))
    return model, stored_data(Path(case.model_dir), model), case.rtol, case.atol


_loaded: dict[str, list[Any]] = {}


def loaded(kind: str) -> list[Any]:
    if kind not in _loaded:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _loaded[kind] = load_model_tests(kind=kind)
    return _loaded[kind]


def light_case(name: str) -> tuple[onnx.ModelProto, Iterator[tuple[list[Any], list[Any]]], float, float]:
    """A network whose weights are all one number; the suite feeds it a ramp, and stores the output."""
    folder = Path(DATA_DIR, "light")
    model = onnx.load(folder / f"{name}.onnx")
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = []
    for info in model.graph.input:
        if info.name not in stored:
            shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            inputs.append((np.arange(count).astype(np.float32) / np.float32(count)).reshape(shape))
    expected = onnx.load_tensor(folder / f"{name}_output_0.pb")
    return model, iter([(inputs, [numpy_helper.to_array(expected)])]), 1e-3, 1e-7


def stored_data(folder: Path, model: onnx.ModelProto) -> Iterator[tuple[list[Any], list[Any]]]:
    for data in sorted(folder.glob("test_data_set*")):
        read = [
            [read_proto(data / f"{what}_{i}.pb", info.type) for i, info in enumerate(infos)]
            for what, infos in (("input", model.graph.input), ("output", model.graph.output))
        ]
        yield [x for x in read[0] if x is not None], [x for x in read[1] if x is not None]


def array_of(value: Any) -> Any:
    """Of types that NumPy lacks the suite has messages."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def read_proto(path: Path, kind: onnx.TypeProto) -> Any:
    if not path.exists():  # an initialiser that is listed as an input
        return None
    if kind.HasField("sequence_type"):
        sequence = onnx.SequenceProto()
        sequence.ParseFromString(path.read_bytes())
        return numpy_helper.to_list(sequence)
    if kind.HasField("optional_type"):
        optional = onnx.OptionalProto()
        optional.ParseFromString(path.read_bytes())
        return numpy_helper.to_optional(optional)
    return numpy_helper.to_array(onnx.load_tensor(path))


def flattened(expected: list[Any], found: list[Any]) -> tuple[list[Any], list[Any]]:
    """Sequences as so many outputs: the suite's own comparison takes their tensors apart too."""
    pairs: list[tuple[Any, Any]] = []
    assert len(expected) == len(found), f"{len(found)} outputs of {len(expected)}"
    for wanted, given in zip(expected, found, strict=True):
        if isinstance(given, list):
            assert len(wanted) == len(given), f"{len(given)} tensors of {len(wanted)}"
            pairs += zip(wanted, given, strict=True)
        else:
            pairs.append((wanted, given))
    return [as_array(wanted) for wanted, _ in pairs], [given for _, given in pairs]


def as_array(value: Any) -> Any:
    """Types that NumPy lacks come as ONNX's own tensors."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def run_case(kind: str, name: str, fused: bool = True) -> Outcome:
    """One test, judged as the suite judges it."""
    from vdla.onnx_backend import prepare  # after the fork: LLVM

    begun = time.perf_counter()
    operators = ""

    def outcome(status: str, reason: str = "") -> Outcome:
        return Outcome(name, kind, status, reason, time.perf_counter() - begun, operators)

    try:
        model, data, rtol, atol = model_and_data(kind, name)
        operators = " ".join(sorted({node.op_type for node in model.graph.node}))
        rep = prepare(model, fused=fused)
        for inputs, expected in data:
            found = rep.run(inputs)
            Runner.assert_similar_outputs(*flattened(expected, list(found)), rtol, atol)
    except VdlaError as error:
        return outcome(REFUSED, str(error))
    except AssertionError as error:
        return outcome(WRONG, " ".join(str(error).split())[:400])
    except TimeoutError:
        return outcome(SLOW, f"more than {limit_of(kind)} s")
    except Exception as error:  # noqa: BLE001 - a crash is a result
        return outcome(CRASH, f"{type(error).__name__}: {error}"[:400])
    return outcome(PASS)


def worker(kind: str, names: Sequence[str], fused: bool, pipe: Any) -> None:
    """Run `names` in turn, sending what starts and each outcome."""

    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    np.seterr(all="ignore")
    warnings.simplefilter("ignore")
    for name in names:
        pipe.send(name)
        signal.alarm(limit_of(kind))
        found = run_case(kind, name, fused)
        signal.alarm(0)
        pipe.send(found)
    pipe.close()


def run_share(kind: str, names: list[str], fused: bool) -> Iterator[Outcome]:
    """Outcomes of `names`, from worker processes started anew after each that dies."""
    pending = list(names)
    while pending:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=worker, args=(kind, pending, fused, sender))
        process.start()
        sender.close()
        current = None
        try:
            while True:
                message = receiver.recv() if receiver.poll(2 * limit_of(kind)) else None
                if message is None:
                    process.kill()
                    break
                if isinstance(message, Outcome):
                    yield message
                    pending.remove(message.name)
                    current = None
                else:
                    current = message
        except EOFError:
            pass
        process.join()
        if current is not None:
            yield Outcome(current, kind, CRASH, f"the process ended with {process.exitcode}", 0.0, "")
            pending.remove(current)


def run_suite(kind: str, names: list[str], jobs: int = 1, fused: bool = True) -> list[Outcome]:
    """Every outcome, in the order of `names`."""
    from concurrent.futures import ThreadPoolExecutor

    if names:
        cases(kind)  # loaded once, before the workers fork
    with ThreadPoolExecutor(jobs) as pool:
        shares = list(pool.map(lambda share: list(run_share(kind, share, fused)), [names[i::jobs] for i in range(jobs)]))
    by_name = {outcome.name: outcome for share in shares for outcome in share}
    return [by_name[name] for name in names if name in by_name]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, action="append", help="only these kinds of tests")
    parser.add_argument("--filter", default="", help="a regular expression of test names")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--separate", action="store_true", help="each node a kernel of its own")
    parser.add_argument("--verbose", action="store_true", help="every test that does not pass")
    parser.add_argument("--json", type=Path, help="write all outcomes")
    options = parser.parse_args()
    everything: list[Outcome] = []
    for kind in options.kind or KINDS:
        found = run_suite(kind, cases(kind, options.filter), options.jobs, not options.separate)
        everything += found
        count = Counter(outcome.status for outcome in found)
        print(f"{kind}: {count[PASS]} of {len(found)} pass; " + ", ".join(f"{n} {s}" for s, n in count.items() if s != PASS))
        for outcome in found:
            if outcome.status in (WRONG, CRASH, SLOW) or (options.verbose and outcome.status == REFUSED):
                print(f"  {outcome.status:8s} {outcome.name} [{outcome.operators}]: {outcome.reason}")
    if options.json:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in everything], indent=1))
    return int(any(outcome.status in (WRONG, CRASH, SLOW) for outcome in everything))


if __name__ == "__main__":
    sys.exit(main())
