"""Ten thousand mutated models: always a graph or a VdlaError that names the place, in 10 s and 2 GiB. Seeds are printed."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from corpus import CLASSICAL, corpus, integers, k, model, one, w, x
from fuzz import SHARE, run
from onnx import TensorProto, helper, numpy_helper

from vdla.compiler.frontend.importers import DOMAINS
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.errors import ModelError
from vdla.onnx_backend import prepare

COUNT = 10_000


@pytest.mark.parametrize("part", range(COUNT // SHARE))
def test_mutated_models(part: int) -> None:
    found, results = run(first=random.randrange(1 << 40), count=SHARE, jobs=1)
    assert not found, "\n".join(map(str, found))
    assert results["graph"] > SHARE // 50 and results["refused"] > SHARE // 2, results


def test_the_corpus_has_every_importer() -> None:
    names = {node.op_type for model in corpus() for node in model.graph.node}
    importers = {name for importers in DOMAINS.values() for name in importers}
    assert sorted(importers - names) == []


def loop_of_concat(state: int, trips: int) -> onnx.ModelProto:
    """A loop that doubles a constant `trips` times."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go2"]), helper.make_node("Concat", ["s", "s"], ["s2"], axis=0)],
        "body",
        [helper.make_tensor_value_info(name, kind, None) for name, kind in (("i", 7), ("go", 9), ("s", 1))],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in (("go2", 9), ("s2", 1))],
    )
    known = {"trips": np.array(trips), "go": np.array(True), "start": np.ones(state, np.float32)}
    stored = [numpy_helper.from_array(array, name) for name, array in known.items()]
    return model([helper.make_node("Loop", list(known), ["y"], name="loop", body=body)], [], ["y"], stored)


def test_a_loop_that_fills_the_memory() -> None:
    with pytest.raises(ModelError, match="a constant of impossible size; found .*; expected at most 536870912 bytes"):
        import_onnx(loop_of_concat(8, 60))


def test_integer_matrix_product_with_a_constant() -> None:
    a = np.array([[2**30, 3], [-7, 5]], np.int64)
    (found,) = prepare(one("MatMul", integers(2, 2), k(1, 2, 3, 4).reshape(2, 2))).run([a])
    np.testing.assert_array_equal(found, a @ np.array([[1, 2], [3, 4]]))


@pytest.mark.parametrize("given", ["Split", "Empty"])
def test_sequence_map(given: str) -> None:
    """onnx's own code for it ends the process when the type of the sequence is unknown."""
    body = helper.make_graph(
        [helper.make_node("Neg", ["e"], ["f"])],
        "body",
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("f", TensorProto.FLOAT, None)],
    )
    first = {"Split": ("SplitToSequence", ["x"]), "Empty": ("SequenceEmpty", [])}[given]
    nodes = [helper.make_node(*first, ["q"]), helper.make_node("SequenceMap", ["q"], ["m"], body=body)]
    nodes.append(helper.make_node("SequenceLength", ["m"], ["n"]))
    declared = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])]
    graph = import_onnx(model(nodes, declared, ["n"]))
    assert graph.constants[graph.outputs[0]] == (4 if given == "Split" else 0) if graph.outputs[0] in graph.constants else True


def test_an_absent_attribute_of_a_standard_function() -> None:
    with pytest.raises(ModelError, match="node 'node' .*SequenceMap.*"):
        import_onnx(one("SequenceMap", x(2)))


def test_thousands_of_parts() -> None:
    nodes = [helper.make_node("SplitToSequence", ["x"], ["q"]), helper.make_node("SequenceLength", ["q"], ["n"])]
    graph = import_onnx(model(nodes, [helper.make_tensor_value_info("x", TensorProto.FLOAT, [65536, 2])], ["n"]))
    assert graph.constants[graph.outputs[0]] == 65536


def test_a_converter_that_crashes_is_no_crash_of_ours() -> None:
    """onnx's converter of old models does on one whose only input is absent and whose data is shorter than its shape."""
    short = TensorProto(dims=[65536], data_type=TensorProto.FLOAT, raw_data=bytes(4))
    with pytest.raises(ModelError, match="opset is too old, and onnx cannot convert it; found .*opset 1: it ended with -11"):
        import_onnx(one("TreeEnsemble", None, domain=CLASSICAL, opset=1, nodes_splits=short))


def test_names_of_several_lines() -> None:
    declared = helper.make_tensor_value_info("a\nb", TensorProto.FLOAT, ["d"])
    with pytest.raises(ModelError, match=r"try: .*--input-shape a\\nb=") as error:
        import_onnx(model([helper.make_node("Relu", ["a\nb"], ["y"])], [declared], ["y"]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dims", [33, 60])
def test_more_dimensions_than_numpy_broadcasts(dims: int) -> None:
    with pytest.raises(ModelError, match=f"input 'in0': a tensor of too many dimensions; found {dims}; expected at most 32"):
        import_onnx(one("Add", x(*[1] * dims), w(1)))
