"""Recorded tables of a page."""

from __future__ import annotations

from pathlib import Path

from model_page import between, replace


def test_replacing_leaves_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- written by x -->\nold\n<!-- end of x -->\nb\n", encoding="utf-8")
    for text in ("new", "newer"):
        replace(page, "x", text)
        assert between(page, "x") == text
    assert page.read_text(encoding="utf-8") == "a\n<!-- written by x -->\n\nnewer\n\n<!-- end of x -->\nb\n"
