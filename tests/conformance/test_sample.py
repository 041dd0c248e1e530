"""300 of the ONNX project's tests, drawn anew each time: refused are those that docs/conformance.md names, all others pass."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from record import reason_of, refused_tests
from suite import KINDS, PASS, REFUSED, cases, run_suite

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
PARTS, SIZE = 10, 30


@pytest.mark.parametrize("part", range(PARTS))
def test_drawn(part: int) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    every = [(kind, name) for kind in KINDS if kind != "light" for name in cases(kind)]
    refused = refused_tests(PAGE.read_text(encoding="utf-8"))
    chosen = chance.sample(every, SIZE)
    for kind in KINDS:
        names = [name for of, name in chosen if of == kind]
        for outcome in run_suite(kind, names, fused=chance.random() < 0.5):
            expected = REFUSED if outcome.name in refused else PASS
            assert outcome.status == expected, f"seed {seed}: {outcome.name}: {outcome.status}: {outcome.reason}"
            assert outcome.status == PASS or reason_of(outcome)


def test_every_test_is_drawn_from() -> None:
    assert len(cases("node")) >= 1800 and {len(cases(kind)) > 0 for kind in KINDS} == {True}
