"""Models that cannot be imported: the words of each refusal, and that damaged files get nothing else."""

from __future__ import annotations

import random as python_random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data
from onnx_models import model_of, node, random

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.reference import run_reference
from vdla.errors import ModelError
from vdla.zoo import build

X = {"x": random(1, 4, 6, 6)}


def refused(nodes, words: str, constants=None, opset: int = 17, inputs=None, shapes=None, dtype: str = "float32") -> None:
    """Every part of `words`, separated by " … ", stands in the message in that order."""
    check_words(lambda: import_onnx(model_of(nodes, inputs or X, ["y"], constants, opset, dtype), shapes), words)


def check_words(function, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        function()
    message, at = str(caught.value), 0
    assert "\n" not in message
    for part in words.split(" … "):
        at = message.find(part, at)
        assert at >= 0, f"{part!r} is not (in order) in {message!r}"


def test_unsupported_operator_names_itself_and_the_nearest() -> None:
    words = "unsupported operator; found 'Relu9'; try: the nearest operator is Relu"
    refused([node("Relu9", "x")], f"test: node 'y_Relu9' (Relu9, opset 17): {words}")


def test_a_damaged_name_stays_on_one_line() -> None:
    refused([helper.make_node("Re\nlu", ["x"], ["y"], name="n\n")], r"node 'n\n' ('Re\nlu', opset 17): unsupported operator")


def test_everything_in_the_way_is_named_at_once() -> None:
    nodes = [
        node("RandomNormalLike", "x", "a"),
        helper.make_node("Trunc", ["x"], ["b"], name="q", domain="qonnx.custom_op.general"),
        node("Add", "a b", "c"),  # reads what is refused: no problem of its own
        node("Softmax", "x", "d", axis=9),
        node("RandomNormalLike", "d", "e"),
        node("RandomNormalLike", "x", "f"),
        node("Sum", "c d e f"),
    ]
    refused(
        nodes,
        "test: 3 problems: node 'a_RandomNormalLike' (RandomNormalLike, opset 17) and 1 more: unsupported operator … is random"
        " … node 'q' (Trunc): unsupported operator; found 'qonnx.custom_op.general::Trunc' … qonnx-convert"
        " … node 'd_Softmax' (Softmax, opset 17): axis of Softmax is out of range",
    )


def test_operator_of_another_domain() -> None:
    custom = helper.make_node("Fancy", ["x"], ["y"], name="f", domain="com.example")
    refused([custom], "node 'f' … unsupported operator; found 'com.example::Fancy'")


W = {"w": random(5, 4, 3, 3)}
REFUSALS = {
    "attribute value": (
        [node("CausalConvWithState", "x w", activation="relu")],
        "unsupported activation of CausalConvWithState; found 'relu'",
    ),
    "unknown attribute": (
        [node("Relu", "x", alpha=1.0)],
        "(Relu, opset 17): unsupported attribute of Relu in opset 17; found 'alpha'",
    ),
    "attribute type": ([node("Conv", "x w", strides=2.0)], "attribute strides of Conv has the wrong type"),
    "pad mode": (
        [node("Pad", "x p", mode="mirror")],
        "unknown mode of Pad; found 'mirror'; expected constant, reflect, edge or wrap",
    ),
    "stride": ([node("Conv", "x w", strides=[0, 1])], "strides of Conv is not 2 positive numbers; found (0, 1)"),
    "pads": ([node("Conv", "x w", pads=[1, 1])], "pads of Conv are not 4 non-negative numbers; found (1, 1)"),
    "groups": ([node("Conv", "x w", group=3)], "channels and groups disagree"),
    "window": (
        [node("AveragePool", "x", kernel_shape=[9, 9])],
        "the window is larger than its padded input; found 9; expected at most 6",
    ),
    "wholly padded": ([node("MaxPool", "x", kernel_shape=[2, 2], pads=[2, 0, 0, 0])], "windows wholly in the padding"),
    "kernel": ([node("MaxPool", "x")], "kernel_shape of MaxPool is not 2 positive numbers"),
    "kernel mismatch": (
        [node("Conv", "x w", kernel_shape=[1, 1])],
        "kernel_shape does not fit the weight; found (1, 1); expected (3, 3)",
    ),
    "axis": ([node("Softmax", "x", axis=4)], "axis of Softmax is out of range; found 4; expected -4..3"),
    "broadcast": ([node("Add", "x w")], "shapes do not broadcast"),
    "absent input": ([node("Conv", "x")], "input 1 of Conv is absent"),
    "perm": ([node("Transpose", "x", perm=[0, 1, 1, 2])], "perm is not a permutation of the axes; found (0, 1, 1, 2)"),
    "computed shape": (
        [node("Reshape", "x x")],
        "shape of Reshape is not a constant; found 'x'; expected a value known when compiling; try: give the value: --bind x=…",
    ),
    "reshape": ([node("Reshape", "x s")], "element counts disagree; found '(1, 4, 6, 6) to (5, -1)'"),
    "two unknowns": ([node("Reshape", "x m")], "more than one -1"),
    "squeeze": ([node("Squeeze", "x one")], "a squeezed dimension is not 1"),
    "norm": ([node("LpNormalization", "x", p=3)], "p of LpNormalization is neither 1 nor 2; found 3"),
    "parameters": ([node("BatchNormalization", "x v v v w")], "parameters do not fit the input"),
    "scale": ([node("QuantizeLinear", "x zero z")], "scale of QuantizeLinear is not finite and positive"),
    "zero point": (
        [node("DequantizeLinear", "q s z")],
        "zero point and data of DequantizeLinear differ in dtype; found 'uint8 and int8'",
    ),
    "integer data": ([node("Add", "x i")], "unsupported dtype of input 1 of Add; found 'int64'; expected float32"),
    "double data": (
        [node("Conv", "x d")],
        "found 'float64'; expected float32",
    ),
    "nowhere": ([node("Relu", "ghost")], "node 'y_Relu' (Relu): a node reads a tensor that nothing computes; found 'ghost'"),
    "twice": ([node("Relu", "x"), node("Tanh", "x")], "a tensor is computed twice; found 'y'"),
    "cycle": ([node("Add", "x y", "a"), node("Relu", "a", "y")], "the graph has a cycle; found"),
    "no output": ([node("Relu", "x", "a")], "an output is computed by no node; found 'y'"),
    "gigantic": ([node("Pad", "x huge")], "pad gives a tensor of impossible size; found (1, 4, 1099511627782, 6)"),
}
CONSTANTS = {
    **W,
    "p": np.array([0, 0, 1, 1] * 2),
    "s": np.float32([0.1]),
    "m": np.array([-1, -1]),
    "one": np.array([1]),
    "v": random(4, low=0.1),
    "z": np.array(3, np.uint8),
    "q": np.ones(3, np.int8),
    "zero": np.float32(0),
    "i": np.ones(3, np.int64),
    "d": random(5, 4, 3, 3).astype(float),
    "huge": np.array([0, 0, 1 << 40, 0, 0, 0, 0, 0]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(name: str) -> None:
    nodes, words = REFUSALS[name]
    constants = {**CONSTANTS, "s": np.array([5, -1])} if name == "reshape" else CONSTANTS
    refused(nodes, words, constants)


def test_convolution_of_a_matrix() -> None:
    refused(
        [node("Conv", "x w")],
        "Conv works on maps; found 'input of shape (4, 9)'; expected (N, C, …)",
        {"w": random(5, 4, 3)},
        inputs={"x": random(4, 9)},
    )


def test_strings() -> None:
    model = model_of([node("Identity", "x")], {"x": random(2)}, ["y"])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    check_words(lambda: import_onnx(model), "input 'x': unsupported dtype; found 'string' … compute on strings before")


def open_model(*dims: int | str | None) -> onnx.ModelProto:
    model = model_of([node("Relu", "image")], {"image": random(1)}, ["y"])
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, None if dims == (None,) else dims))
    return model


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        (
            ("batch", 3, 32, 32),
            "test: input 'image': dimension 0 is dynamic; found 'batch' … try: --dim batch=1 or --input-shape image=1,3,32,32",
        ),
        ((1, 3, "h", "w"), "dimension 2 is dynamic; found 'h' … --input-shape image=1,3,224,224"),
        ((4, ""), "dimension 1 is dynamic; found '?' … --input-shape image=4,1"),
        ((None,), "the shape is missing … try: --input-shape image=1,3,224,224"),
    ],
)
def test_open_shapes(dims, words: str) -> None:
    check_words(lambda: import_onnx(open_model(*dims)), words)


def test_given_shapes() -> None:
    model = open_model("batch", 3)
    check_words(lambda: import_onnx(model, {"x": (1, 3)}), "an input the model does not have; found 'x'; expected image")
    check_words(
        lambda: import_onnx(model, {"image": (1, 4)}),
        "the given shape contradicts the model's; found (1, 4); expected ('batch', 3)",
    )
    check_words(lambda: import_onnx(model, {"image": (1, 3, 1)}), "the given shape contradicts the model's")
    check_words(lambda: import_onnx(model, {"image": (-1, 3)}), "a given dimension is negative")


def test_opset_too_old() -> None:
    """onnx's converter does not know along which axis Add broadcast then."""
    inputs, constants = {"x": random(2, 3, 4)}, {"b": random(3)}
    words = "opset is too old, and onnx cannot convert it; found … opset 6: … try: re-export with a later opset"
    refused([node("Add", "x b", broadcast=1, axis=1)], words, constants, 6, inputs)


def test_old_opset() -> None:
    """Converted: before opset 7, an operand was broadcast only if an attribute said so."""
    model = model_of([node("Add", "x b", broadcast=1)], {"x": random(2, 3, 4)}, ["y"], {"b": random(4)}, opset=6)
    actual = run_reference(import_onnx(model), {"x": random(2, 3, 4)})["y"]
    np.testing.assert_array_equal(actual, random(2, 3, 4) + random(4))


def test_files(tmp_path: Path) -> None:
    missing = tmp_path / "missing.onnx"
    check_words(lambda: import_onnx(missing), f"{missing}: cannot read the model file; found 'No such file or directory'")
    check_words(lambda: import_onnx(tmp_path), "cannot read the model file")
    text = tmp_path / "notes.onnx"
    text.write_text("this is not a model\n")
    check_words(
        lambda: import_onnx(str(text)),
        f"{text}: not an ONNX model, or truncated; found '20 bytes'; try: check that the download",
    )
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")
    check_words(lambda: import_onnx(empty), "not an ONNX model, or truncated")
    whole = build("digits").SerializeToString()
    text.write_bytes(whole[: len(whole) // 2])
    check_words(lambda: import_onnx(text), "not an ONNX model, or truncated")


def test_external_data(tmp_path: Path) -> None:
    model = build("digits")
    convert_model_to_external_data(model, all_tensors_to_one_file=True, location="weights.bin", size_threshold=0)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    graph = import_onnx(path)
    assert (
        graph.constants["conv1.weight"].tobytes() == onnx.numpy_helper.to_array(build("digits").graph.initializer[0]).tobytes()
    )
    check_words(lambda: import_onnx(path.read_bytes()), "weights are in external files … try: give the path of the .onnx file")
    (tmp_path / "weights.bin").unlink()
    check_words(
        lambda: import_onnx(path),
        f"{path}: external data cannot be read; found 'conv1.weight … try: put the model's data files into {tmp_path}",
    )


def every_operator() -> bytes:
    """A model with many operators and attributes, for damaging."""
    constants = {
        "w": random(6, 2, 3, 3),
        "b": random(6),
        "v": random(6, low=0.1),
        "one": np.array([1]),
        "g": random(6, 5),
        "s": np.float32([0.1]),
        "z": np.array([3], np.uint8),
        "shape": np.array([0, -1]),
        "zero": np.float32(0),
        "six": np.float32(6),
        "p": np.array([0, 0, 1, 1] * 2),
    }
    nodes = [
        node("Pad", "x p zero", "n0"),
        node("Conv", "n0 w b", "n1", group=2, pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", "n1 b b b v", "n2", epsilon=1e-3),
        node("Clip", "n2 zero six", "n3"),
        node("QuantizeLinear", "n3 s z", "n4"),
        node("DequantizeLinear", "n4 s z", "n5"),
        node("MaxPool", "n5", "n6", kernel_shape=[2, 2], ceil_mode=1),
        node("LRN", "n6", "n7", size=3),
        node("Shape", "n7", "n8"),
        node("ConstantOfShape", "n8", "n9"),
        node("Add", "n7 n9", "n10"),
        node("ReduceMean", "n10", "n11", axes=[2, 3]),
        node("Reshape", "n11 shape", "n12"),
        node("Gemm", "n12 g", "n13", alpha=0.5),
        node("Softmax", "n13", "n14", axis=-1),
        node("Unsqueeze", "n14 one", "n15"),
        node("Concat", "n15 n15", "n16", axis=1),
        node("Transpose", "n16", "y", perm=[0, 2, 1]),
    ]
    return model_of(nodes, X, ["y"], constants).SerializeToString()


def damaged(data: bytes, rng: python_random.Random) -> bytes:
    """One to eight bytes changed, cut out, doubled or put in; or the end cut off."""
    array = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(array))
        kind = rng.randrange(6)
        if kind == 0:
            array[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            array[at] = rng.randrange(256)
        elif kind == 2:
            del array[at : at + rng.randint(1, 4)]
        elif kind == 3:
            array[at:at] = array[at : at + rng.randint(1, 40)]
        elif kind == 4:
            array[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
        elif rng.random() < 0.2:
            del array[at:]
        if not array:
            return bytes(array)
    return bytes(array)


def mutated(data: bytes, rng: python_random.Random) -> bytes:
    """Still ONNX, but with sizes, indices, names or kinds changed to other plausible or absurd ones."""
    model = onnx.ModelProto.FromString(data)
    numbers = [-(1 << 63), -7, -1, 0, 1, 2, 3, 5, 1 << 31, (1 << 63) - 1]
    for _ in range(rng.randint(1, 3)):
        target = rng.choice(model.graph.node)
        kind = rng.randrange(8)
        if kind == 0 and target.attribute:
            attribute = rng.choice(target.attribute)
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(numbers)
            attribute.i = rng.choice(numbers)
        elif kind == 1 and target.input:
            names = [i for n in model.graph.node for i in (*n.input, *n.output)]
            target.input[rng.randrange(len(target.input))] = rng.choice(names)
        elif kind == 2:
            target.op_type = rng.choice(model.graph.node).op_type
        elif kind == 3:
            tensor = rng.choice(model.graph.initializer)
            tensor.dims[:] = [rng.choice(numbers) for _ in range(rng.randint(0, 4))]
        elif kind == 4:
            rng.choice(model.graph.initializer).data_type = rng.randrange(26)
        elif kind == 5:
            model.graph.input[0].type.tensor_type.shape.dim[rng.randrange(4)].dim_value = rng.choice(numbers)
        elif kind == 6:
            model.opset_import[0].version = rng.choice([7, 10, 11, 13, 18, 21, 1 << 40])
        elif target.input:
            del target.input[rng.randrange(len(target.input)) :]
    return model.SerializeToString()


@pytest.mark.parametrize("damage", [damaged, mutated])
def test_damaged_models_give_model_errors_only(damage) -> None:
    """A fresh seed each run, printed on failure. Some damage is harmless (a name, a weight's bits): those import."""
    seed = python_random.SystemRandom().randrange(1 << 32)
    rng = python_random.Random(seed)
    whole = every_operator()
    import_onnx(whole)
    errors = 0
    for trial in range(400):
        try:
            import_onnx(damage(whole, rng))
        except ModelError as caught:
            errors += 1
            if "\n" in str(caught):
                raise AssertionError(f"seed {seed}, trial {trial}: not one line: {caught}") from caught
        except BaseException as error:
            raise AssertionError(f"seed {seed}, trial {trial}: {type(error).__name__}: {error}") from error
    assert errors > 100, f"seed {seed}"
