"""Random networks through the whole path: compiled, checked, simulated, compared with integers and with floats.

`VDLA_LONG=1` runs hundreds of seeds.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness import check_sanitizer, check_saved, checked_run
from random_models import FAMILIES, random_model

LONG = bool(os.environ.get("VDLA_LONG"))
SEEDS = range(400 if LONG else 2 * len(FAMILIES))
OTHER_SEEDS = range(1000, 1000 + (8 if LONG else 1) * len(FAMILIES))


@pytest.mark.parametrize("design", ["tiny", "pynq_z1"])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_model(seed: int, design: str, tmp_path: Path) -> None:
    where = f"random_model({seed}) on {design}"
    run = checked_run(random_model(seed), design, where, seed=seed)
    if seed % 4 == 0:
        check_sanitizer(run, where)
        check_saved(run, tmp_path, where)


@pytest.mark.parametrize("seed", OTHER_SEEDS)
def test_random_model_elsewhere(seed: int) -> None:
    """The other designs in turn, the one with 16 rows in its tiles with 16 images and with fewer."""
    design = ("datacenter", "kv260", "zynq_4port", "datacenter")[seed // 2 % 4]
    batch = 16 if design == "datacenter" and seed % 2 else None
    where = f"random_model({seed}, {batch}) on {design}"
    check_sanitizer(checked_run(random_model(seed, batch), design, where, seed=seed), where)


@pytest.mark.parametrize("seed", SEEDS[::5])
def test_random_model_without_latency_hiding(seed: int) -> None:
    where = f"random_model({seed}) on tiny, serial"
    checked_run(random_model(seed), "tiny", where, seed=seed, latency_hiding=False)
