"""`Module.run`'s result as users hold it."""

from __future__ import annotations

import json

import pytest

import vdla
from vdla.errors import RunError
from vdla.zoo import sample_inputs


def test_result_has_outputs_profiles_and_a_trace() -> None:
    module = vdla.compile("digits", "tiny")
    result = module.run(sample_inputs("digits", 1, seed=3))
    assert result.cycles == sum(profile.cycles for profile in result.profiles) > 0
    names = {event.get("name") for event in json.loads(result.trace())["traceEvents"]}
    assert {"conv1", "conv2", "fc"} <= names
    with pytest.raises(RunError, match="not timed"):
        module.run(sample_inputs("digits", 1, seed=3), timing=False).trace()
