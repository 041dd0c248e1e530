"""The RTL's libraries in the cache, and without one. Nothing is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdla.design_file import load_design
from vdla.hw import build


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Building takes no time; the list grows with each."""
    made: list[str] = []
    monkeypatch.setattr(build, "_built", lambda *_: made.append("built") or b"library")
    return made


def test_a_library_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builds: list[str]) -> None:
    monkeypatch.setenv("VDLA_CACHE", str(tmp_path))
    libraries = {build.rtl_library(load_design("tiny")) for _ in range(3)}
    assert len(builds) == len(libraries) == 1
    library = libraries.pop()
    assert library.read_bytes() == b"library"
    assert library.is_relative_to(tmp_path / "rtl")
    assert build.rtl_library(load_design("pynq_z1")) != library


@pytest.mark.parametrize("cache", ["", "/dev/null/folder"])
def test_without_a_cache_it_lasts_as_long_as_the_process(
    cache: str, monkeypatch: pytest.MonkeyPatch, builds: list[str]
) -> None:
    monkeypatch.setenv("VDLA_CACHE", cache)
    design = load_design("tiny").varied(name=f"cache_{bool(cache)}".lower())
    libraries = {build.rtl_library(design) for _ in range(3)}
    assert len(builds) == len(libraries) == 1
    assert libraries.pop().read_bytes() == b"library"
