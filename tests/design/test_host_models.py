"""Hosts by name, and the time an operator is estimated to take there."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from vdla.design_file import design_from_dict, load_design, shipped_designs
from vdla.errors import DesignError, VdlaError
from vdla.host_models import DEFAULT_HOST, HOST_MODELS, arithmetic_seconds, host_model, kernel_seconds, memory_seconds

A9 = HOST_MODELS["cortex-a9"]


def test_every_shipped_design_has_a_host_with_a_source():
    for name in shipped_designs():
        model = host_model(load_design(name).host_name)
        assert model.source
        assert all(getattr(model, field.name) for field in fields(model))
    assert DEFAULT_HOST in HOST_MODELS


def test_an_unknown_host_is_refused_with_those_there_are():
    design = load_design("pynq_z1").to_dict()
    design["board"]["host"] = "cortex-a35"
    with pytest.raises(VdlaError, match="board.host: .*cortex-a9.*cortex-a53.*did you mean cortex-a53") as refused:
        design_from_dict(design, "d.yaml")
    assert "\n" not in str(refused.value)
    with pytest.raises(DesignError, match="no such host model; found 'cortex-a35'; expected cortex-a9 or .*did you mean"):
        host_model("cortex-a35")


def test_a_million_products_by_hand():
    """Two cores at 650 MHz, two float products a cycle each, half of them reached: 1.3 billion a second."""
    assert arithmetic_seconds(A9, 1.3e9, 0, floats=True) == pytest.approx(1.0)
    assert arithmetic_seconds(A9, 2.6e9, 0, floats=False) == pytest.approx(1.0)
    assert arithmetic_seconds(A9, 0, 2.6e9, floats=True) == pytest.approx(1.0)
    assert memory_seconds(A9, 0.7e9) == pytest.approx(1.0)


def test_arithmetic_or_memory_and_the_call():
    assert kernel_seconds(A9, 0, 0, 0, True) == pytest.approx(1e-5)
    assert kernel_seconds(A9, 1.3e9, 0, 0.35e9, True) == pytest.approx(1 + 1e-5)
    assert kernel_seconds(A9, 0.65e9, 0, 0.7e9, True) == pytest.approx(1 + 1e-5)


def test_a_faster_host_takes_no_longer():
    slow = kernel_seconds(A9, 1e6, 1e6, 1e6, True)
    for key in ("cores", "clock_mhz", "float_macs", "lanes", "memory_gbs"):
        assert kernel_seconds(replace(A9, **{key: 2 * getattr(A9, key)}), 1e6, 1e6, 1e6, True) <= slow
