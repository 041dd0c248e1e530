"""`--dump-ir DIR`: every stage of the graph and of each kernel as numbered text files."""

from __future__ import annotations

import re
from pathlib import Path

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.text import graph_text
from vdla.files import write_file


class Dumper:
    """Writes stages below `folder`, or nothing when it is None. A stage that changed nothing is one line."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.written: dict[str, tuple[int, str]] = {}

    def graph(self, stage: str, graph: Graph) -> None:
        if self.folder is not None:
            self._write("graph", stage, graph_text(graph))

    def kernel(self, path: str, text: str) -> None:
        """path: kernel/stage."""
        kernel, _, stage = path.rpartition("/")
        self._write(kernel, stage, text)

    def _write(self, group: str, stage: str, text: str) -> None:
        assert self.folder is not None
        count, before = self.written.get(group, (0, ""))
        self.written[group] = (count + 1, text)
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{count:02}_{stage}.txt")
        folder = self.folder / re.sub(r"[^A-Za-z0-9_.-]+", "_", group)
        write_file(folder / name, "(unchanged)\n" if text == before else text + "\n")
