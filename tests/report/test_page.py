"""The HTML report: whole, well formed, self-contained, and telling the truth of the record it is made from."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from vdla.flows import Run, run_model, write_report
from vdla.flows.report import report_page

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks nesting, and collects text, tags and addresses."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def run() -> Run:
    return run_model("digits", "tiny")


def test_the_page_is_whole_and_self_contained(run):
    source = report_page(run)
    page = Page(source)
    assert page.open == []
    assert page.tags.count("svg") == 3
    assert page.tags.count("table") == 4
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert "url(http" not in source
    assert "@import" not in source
    assert len(source) < 1_000_000


def test_the_page_says_what_the_record_says(run):
    report = run.report
    text = Page(report_page(run)).text
    for value in (f"{report.cycles:,}", f"{report.ms:.2f} ms", f"{report.gops:.1f} GOPS", "bit-exact", f"{report.rel_err:.4f}"):
        assert value in text
    for layer in report.layers:
        assert layer.short_label in text
        assert f"{layer.cycles:,}" in text
        if layer.target != "vdla":
            assert layer.why in text
    for value in report.provenance.values():
        assert str(value) in text
    for cause in report.placement.causes:
        assert cause.cause in text
    assert f"{report.placement.switches} times" in text
    assert report.placement.estimate in text
    for heading in ("Placement", "Where the cycles go", "Roofline", "Timeline", "Layers on the accelerator", "On the host"):
        assert heading in text
    assert "not bit-exact" not in text


def test_a_difference_is_said(run):
    bad = replace(run.report, bit_exact=False, layers=(replace(run.report.layers[3], bit_exact=False),))
    text = Page(report_page(replace(run, report=bad))).text
    assert "not bit-exact" in text
    assert "differ" in text


def test_names_are_escaped(run):
    odd = '<script>alert("x")</script>&'
    layers = tuple(replace(layer, source=odd, op=odd, why=odd) for layer in run.report.layers)
    page = Page(report_page(replace(run, report=replace(run.report, model=odd, layers=layers))))
    assert page.open == []
    assert "script" not in page.tags


def test_a_run_without_the_accelerator_has_a_page(run):
    host = tuple(layer for layer in run.report.layers if layer.target != "vdla")
    nothing = replace(run, report=replace(run.report, layers=host, cycles=0, bound_cycles=0))
    assert "None." in Page(report_page(nothing)).text


def test_equal_runs_have_equal_pages(run):
    assert report_page(run) == report_page(run)


def test_the_folder(run, tmp_path):
    write_report(tmp_path / "a" / "b", run)
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["index.html", "run.json", "trace.json"]
