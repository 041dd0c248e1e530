"""Constants of every element type survive the files that hold graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vdla.archive import Writer, read_archive
from vdla.compiler.graph.graph import Graph, TensorType
from vdla.compiler.graph.manifest import TENSOR_TYPES, graph_from, graph_manifest
from vdla.element_types import ELEMENT_TYPES, numpy_dtype
from vdla.errors import RunError


def graph_of(constants: dict[str, np.ndarray]) -> Graph:
    types = {name: TensorType(value.shape, str(value.dtype)) for name, value in constants.items()}
    return Graph("constants", (), tuple(constants), (), types, constants)


def through_a_file(graph: Graph, path: Path, changes: dict[str, str] | None = None) -> Graph:
    """changes: tensor → the dtype that the file claims."""
    writer = Writer()
    manifest = graph_manifest(graph, sorted(graph.constants), writer)
    for name, dtype in (changes or {}).items():
        manifest["tensors"][name]["dtype"] = dtype
    path.write_bytes(writer.finish("module", {"graph": manifest}))
    return read_archive(path, lambda reader: graph_from(reader.manifest["graph"], reader))


def test_every_type_survives(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    constants = {}
    for dtype in TENSOR_TYPES:
        element = ELEMENT_TYPES[dtype]
        if element.is_float and element.bits <= 16:
            codes = rng.integers(0, 1 << element.bits, (3, 5))
            constants[dtype] = codes.astype(f"uint{8 * element.item_bytes}").view(numpy_dtype(dtype))
        else:
            constants[dtype] = rng.integers(0, 2, (3, 5)).astype(numpy_dtype(dtype))
        constants[f"{dtype} scalar"] = np.ones((), numpy_dtype(dtype))
        constants[f"{dtype} turned"] = constants[dtype].T
    found = through_a_file(graph_of(constants), tmp_path / "x").constants
    for name, value in constants.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        assert found[name].tobytes() == value.tobytes(), name


def test_memory_is_counted_by_the_element() -> None:
    for dtype in TENSOR_TYPES:
        assert TensorType((3, 5), dtype).bytes == np.zeros((3, 5), numpy_dtype(dtype)).nbytes


@pytest.mark.parametrize("claimed", ["float16", "int16", "bfloat16", "bipolar", "string"])
def test_a_constant_of_another_type_is_refused(claimed: str, tmp_path: Path) -> None:
    graph = graph_of({"w": np.ones((2, 2), numpy_dtype("int4"))})
    with pytest.raises(RunError, match="constant's type is wrong|not a tensor's type"):
        through_a_file(graph, tmp_path / "x", {"w": claimed})
