"""What the README shows is so: its Python and its commands run, its design is the shipped one, its table is right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from vdla.design_file import design_from_dict, load_design, shipped_designs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("python")
    names: dict[str, object] = {}
    exec(block, names)
    assert (tmp_path / "digits.vdla").is_file()
    assert "output" in capsys.readouterr().out


def test_commands(vdla, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("vdla ")]
    assert len(lines) == 12
    for line in lines:
        command = shlex.split(line, comments=True)[1:]
        ended = vdla(*command)
        assert ended.code == 0, (line, ended.err)


def test_design():
    (block,) = blocks("yaml")
    assert design_from_dict(yaml.safe_load(block), "README") == load_design("pynq_z1")


def test_table_of_designs():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.MULTILINE))
    assert rows.keys() == shipped_designs().keys()
    for name, row in rows.items():
        d = load_design(name)
        macs, _, _, memory, _ = (cell.strip() for cell in row.split("|"))
        assert macs == f"{d.macs_per_cycle:,}"
        assert memory.startswith(f"{d.bytes_per_cycle * d.clock_mhz / 1000:g} GB/s")
        assert ("one port" in memory) == (d.port_count == 1)


@pytest.mark.parametrize(
    "page", ["README.md", "docs/index.md", "docs/design_file.md", "docs/report.md", "docs/cpu.md", "docs/tensors.md"]
)
def test_links_lead_somewhere(page):
    path = ROOT / page
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()) if not link.startswith("http")]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_index_lists_every_page():
    pages = {p.name for p in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(re.findall(r"\]\(([^)/]+\.md)\)", (ROOT / "docs" / "index.md").read_text()))
