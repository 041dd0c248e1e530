"""Kernels are compiled anew in these tests: nothing is read from or left in the user's cache."""

import pytest


@pytest.fixture(autouse=True)
def _no_cache_on_disk(monkeypatch):
    monkeypatch.setenv("VDLA_CACHE", "")
