"""Small ONNX models, at least one for every importer: where the fuzzer begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 23
MICROSOFT, CLASSICAL, TRAINING = "com.microsoft", "ai.onnx.ml", "ai.onnx.preview.training"
QONNX, OPENVINO = "qonnx.custom_op.general", "org.openvinotoolkit"
VERSIONS = {MICROSOFT: 1, "local": 1, CLASSICAL: 5, TRAINING: 1, QONNX: 1, OPENVINO: 1}


class Input:
    """A graph input."""

    def __init__(self, *shape: int | str, dtype: int = TensorProto.FLOAT) -> None:
        self.shape, self.dtype = shape, dtype


def x(*shape: int | str) -> Input:
    return Input(*shape)


def integers(*shape: int | str) -> Input:
    return Input(*shape, dtype=TensorProto.INT64)


def bits(*shape: int | str) -> Input:
    return Input(*shape, dtype=TensorProto.BOOL)


def bytes_in(*shape: int | str) -> Input:
    return Input(*shape, dtype=TensorProto.UINT8)


def w(*shape: int) -> np.ndarray:
    """A weight."""
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def k(*values: int) -> np.ndarray:
    """A known int64 vector."""
    return np.array(values, np.int64)


def n(value: float, dtype: str = "float32") -> np.ndarray:
    return np.array(value, dtype)


Operand = Input | np.ndarray | None


def one(
    op: str, *operands: Operand, outputs: int = 1, domain: str = "", opset: int = OPSET, **attributes: Any
) -> onnx.ModelProto:
    """A model of one node."""
    names, declared, stored = [], [], []
    for number, operand in enumerate(operands):
        names.append("" if operand is None else f"in{number}")
        if isinstance(operand, Input):
            declared.append(helper.make_tensor_value_info(names[-1], operand.dtype, list(operand.shape)))
        elif operand is not None:
            stored.append(numpy_helper.from_array(operand, names[-1]))
    results = [f"out{number}" for number in range(outputs)]
    node = helper.make_node(op, names, results, name="node", domain=domain, **attributes)
    return model([node], declared, results, stored, opset)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    stored: Sequence[onnx.TensorProto] = (),
    opset: int = OPSET,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["d"]) for name in outputs]
    graph = helper.make_graph(list(nodes), "fuzzed", list(inputs), results, list(stored))
    opsets = [helper.make_opsetid(domain, version) for domain, version in {"": opset, **VERSIONS}.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))


UNARY = """
    Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Compress Cos Cosh Det Dropout Elu Erf Exp EyeLike Flatten Floor
    Gelu Hardmax HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log LogSoftmax MeanVarianceNormalization Mish Neg NonZero
    Not Reciprocal Relu Round Selu Shape Shrink Sigmoid Sign Sin Sinh Size Softmax Softplus Softsign Sqrt Tan Tanh
    ThresholdedRelu Transpose Unique
"""
BINARY = "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow PRelu Sub Sum Xor"
BITWISE = ["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift"]
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
ALL_BITS = {"Not", "And", "Or", "Xor"}
SPECIAL = {  # attributes and operands that a plain call lacks
    "Mod": {"fmod": 1},
    "BitShift": {"direction": "LEFT"},
    "Dropout": {"outputs": 2},
}


def elementwise() -> list[onnx.ModelProto]:
    models = []
    for op in UNARY.split():
        operand = bits(2, 3) if op in ALL_BITS else integers(2, 3) if op.startswith("Bitwise") else x(1, 2, 4, 4)
        operands: list[Operand] = [operand]
        if op in ("Det", "EyeLike"):
            operands = [x(3, 3)]
        if op in ("NonZero", "Unique"):
            operands = [w(2, 3)]
        if op == "Compress":
            operands = [x(3, 4), np.array([True, False, True])]
        models.append(one(op, *operands, **SPECIAL.get(op, {})))
    for op in BINARY.split():
        pair = (bits(2, 3), bits(3)) if op in ALL_BITS else (x(2, 4, 3), w(4, 1))
        models.append(one(op, *pair, **SPECIAL.get(op, {})))
    for op in BITWISE:
        operand = Input(2, 3, dtype=TensorProto.UINT32)
        models.append(one(op, operand, np.array([1, 2, 3], np.uint32), **SPECIAL.get(op, {})))
    models += [one(f"Reduce{name}", x(2, 3, 4), k(1), keepdims=0) for name in REDUCTIONS]
    models += [one(op, x(2, 3, 4), axis=1, keepdims=0) for op in ("ArgMax", "ArgMin")]
    return [
        *models,
        one("Cast", x(2, 3), to=TensorProto.INT8),
        one("CastLike", x(2, 3), np.zeros(1, np.float16)),
        one("BitCast", x(2, 3), to=TensorProto.INT32, opset=26),
        one("Clip", x(2, 3), n(-1), n(1)),
        one("Where", bits(3), x(2, 3), w(1)),
        one("CumSum", x(2, 3), n(1, "int64"), reverse=1),
        one("CumProd", x(2, 3), n(1, "int64"), opset=26),
        one("Swish", x(2, 3), alpha=0.5, opset=24),
    ]


def layers() -> list[onnx.ModelProto]:
    return [
        one("Conv", x(1, 4, 6, 6), w(6, 2, 3, 3), w(6), group=2, pads=[1, 1, 1, 1], strides=[2, 2], dilations=[1, 1]),
        one("Conv", x(1, 2, 9), w(3, 2, 3), auto_pad="SAME_UPPER"),
        one("Conv", x(1, 1, 4, 5, 6), w(2, 1, 2, 2, 2)),
        one("ConvTranspose", x(1, 2, 4, 4), w(2, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
        one("DeformConv", x(1, 1, 3, 3), w(1, 1, 2, 2), x(1, 8, 2, 2), kernel_shape=[2, 2]),
        one("ConvInteger", bytes_in(1, 1, 4, 4), np.ones((1, 1, 2, 2), np.uint8), n(1, "uint8")),
        one("MaxPool", x(1, 2, 6, 6), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, outputs=2),
        one("AveragePool", x(1, 2, 6, 6), kernel_shape=[2, 2], pads=[1, 0, 1, 0], count_include_pad=1),
        one("LpPool", x(1, 2, 6, 6), kernel_shape=[2, 2], p=2),
        one("MaxUnpool", x(1, 1, 2, 2), k(0, 3, 8, 11).reshape(1, 1, 2, 2), kernel_shape=[2, 2], strides=[2, 2]),
        one("MaxRoiPool", x(1, 1, 8, 8), np.array([[0, 0, 0, 4, 4]], np.float32), pooled_shape=[2, 2]),
        one("RoiAlign", x(1, 1, 8, 8), w(1, 4), k(0), output_height=2, output_width=2),
        one("GlobalAveragePool", x(1, 2, 4, 4)),
        one("GlobalMaxPool", x(1, 2, 4, 4)),
        one("GlobalLpPool", x(1, 2, 4, 4)),
        one("BatchNormalization", x(1, 2, 3, 3), w(2), w(2), w(2), np.ones(2, np.float32)),
        one("InstanceNormalization", x(1, 2, 3, 3), w(2), w(2)),
        one("LayerNormalization", x(2, 3, 4), w(4), w(4), axis=-1, outputs=3),
        one("GroupNormalization", x(1, 4, 3, 3), w(4), w(4), num_groups=2),
        one("RMSNormalization", x(2, 4), w(4)),
        one("LRN", x(1, 5, 3, 3), size=3),
        one("LpNormalization", x(2, 3), axis=1),
        one("CausalConvWithState", x(1, 2, 5), w(2, 1, 3), opset=27),
        one("Gemm", x(2, 3), w(4, 3), w(4), transB=1, alpha=0.5),
        one("MatMul", x(2, 3, 4), w(4, 5)),
        one("MatMulInteger", bytes_in(2, 3), np.ones((3, 2), np.uint8), n(1, "uint8"), n(2, "uint8")),
        one("Einsum", x(2, 3), w(3, 4), equation="ij,jk->ik"),
        one("LSTM", x(3, 1, 2), w(1, 12, 2), w(1, 12, 3), w(1, 24), hidden_size=3, outputs=3),
        one("GRU", x(3, 1, 2), w(1, 9, 2), w(1, 9, 3), hidden_size=3, linear_before_reset=1, outputs=2),
        one("RNN", x(3, 1, 2), w(2, 3, 2), w(2, 3, 3), hidden_size=3, direction="bidirectional", outputs=2),
        one("Attention", x(1, 2, 4, 8), x(1, 2, 6, 8), x(1, 2, 6, 8)),
        one("RotaryEmbedding", x(1, 2, 3, 4), x(1, 3, 2), x(1, 3, 2)),
        one("NegativeLogLikelihoodLoss", x(3, 5), integers(3)),
        one("SoftmaxCrossEntropyLoss", x(3, 5), integers(3), reduction="mean"),
    ]


def movement() -> list[onnx.ModelProto]:
    return [
        one("Reshape", x(2, 6), k(3, -1)),
        one("Squeeze", x(1, 3, 1), k(0)),
        one("Unsqueeze", x(2, 3), k(0, 3)),
        one("Concat", x(2, 3), w(2, 1), axis=1),
        one("Split", x(2, 6), k(2, 4), axis=1, outputs=2),
        one("Split", x(7, 2), num_outputs=3, outputs=3),
        one("Slice", x(4, 6), k(0, -1), k(3, -7), k(0, 1), k(1, -2)),
        one("Pad", x(1, 2, 3), k(0, 0, 1, 0, 0, 2), n(0.5)),
        one("Pad", x(1, 2, 4), k(0, 0, 1, 0, 0, 2), mode="reflect"),
        one("Tile", x(2, 3), k(2, 2)),
        one("Expand", x(3, 1), k(2, 1, 4)),
        one("Gather", x(4, 3), integers(2), axis=0),
        one("GatherElements", x(2, 3), integers(2, 3), axis=1),
        one("GatherND", x(2, 3), integers(2, 1)),
        one("Scatter", x(2, 3), k(0, 1, 0).reshape(1, 3), w(1, 3), opset=10),
        one("ScatterElements", x(2, 3), k(0, 1, 2).reshape(1, 3), w(1, 3), axis=1),
        one("ScatterND", x(4, 3), k(1, 3).reshape(2, 1), w(2, 3), reduction="add"),
        one("TensorScatter", x(1, 2, 4, 3), w(1, 2, 1, 3), k(1), opset=24),
        one("DepthToSpace", x(1, 8, 2, 2), blocksize=2),
        one("SpaceToDepth", x(1, 2, 4, 4), blocksize=2),
        one("Col2Im", x(1, 4, 4), k(3, 3), k(2, 2)),
        one("CenterCropPad", x(4, 6), k(2, 8)),
        one("Resize", x(1, 1, 3, 3), None, np.array([1, 1, 2, 2], np.float32), mode="linear"),
        one("Resize", x(1, 1, 3, 3), None, None, k(1, 1, 5, 5), mode="nearest", coordinate_transformation_mode="asymmetric"),
        one("Upsample", x(1, 1, 3, 3), np.array([1, 1, 2, 2], np.float32), opset=9),
        one("GridSample", x(1, 1, 4, 4), x(1, 3, 3, 2)),
        one("AffineGrid", x(1, 2, 3), k(1, 1, 4, 4)),
        one("ReverseSequence", x(3, 2), k(2, 3), batch_axis=1, time_axis=0),
        one("Trilu", x(3, 4), n(1, "int64"), upper=0),
        one("TopK", x(2, 5), k(3), outputs=2),
        one("OneHot", integers(3), n(4, "int64"), w(2)),
        one("NonMaxSuppression", w(1, 4, 4), w(1, 2, 4), k(2), n(0.5), n(0.1)),
        one("Range", n(0, "int64"), n(6, "int64"), n(2, "int64")),
        one("ConstantOfShape", k(2, 3), value=numpy_helper.from_array(np.array([5], np.int64))),
        one("Constant", value=numpy_helper.from_array(w(2, 3))),
        one("Constant", value_ints=[1, 2]),
        one("DFT", x(1, 4, 1)),
        one("STFT", x(1, 8, 1), n(2, "int64"), w(4)),
        one("MelWeightMatrix", *(n(v, "int64") for v in (4, 8, 8000)), n(0), n(4000)),
        one("HannWindow", n(6, "int64")),
        one("HammingWindow", n(6, "int64")),
        one("BlackmanWindow", n(6, "int64")),
        one("ImageDecoder", np.zeros(8, np.uint8)),
    ]


def quantised() -> list[onnx.ModelProto]:
    byte, zero = np.array([[1, 2], [3, 4]], np.uint8), n(1, "uint8")
    first, second, last = ((n(scale), zero) for scale in (0.5, 0.25, 0.1))
    narrow, two = (np.full((1, 2, 4), 3, np.int8), np.full((1, 1, 4), 3, np.int8)), (w(1) + 2, np.zeros(1, np.int8))
    return [
        one("QuantizeLinear", x(2, 4), n(0.1), zero),
        one("QuantizeLinear", x(2, 4), w(2, 2) + 2, block_size=2, axis=1, output_dtype=TensorProto.INT4),
        one("DequantizeLinear", bytes_in(2, 4), n(0.1), zero),
        one("DynamicQuantizeLinear", x(2, 4), outputs=3),
        one("QLinearMatMul", bytes_in(3, 2), *first, byte, *second, *last),
        one("QLinearConv", bytes_in(1, 1, 4, 4), *first, byte[None, None], *second, *last),
        one("QLinearAdd", bytes_in(2, 2), *first, byte, *second, *last, domain=MICROSOFT),
        one("QLinearMul", bytes_in(2, 2), *first, byte, *second, *last, domain=MICROSOFT),
        one("QLinearSigmoid", bytes_in(2, 2), *first, *last, domain=MICROSOFT),
        one("QLinearLeakyRelu", bytes_in(2, 2), *first, *last, domain=MICROSOFT, alpha=0.1),
        one("QLinearGlobalAveragePool", bytes_in(1, 2, 4, 4), *first, *last, domain=MICROSOFT),
        one("QLinearAveragePool", bytes_in(1, 2, 4, 4), *first, *last, domain=MICROSOFT, kernel_shape=[2, 2]),
        one("QLinearConcat", *first, bytes_in(2, 2), *second, byte, *last, domain=MICROSOFT, axis=0),
        one("QLinearSoftmax", bytes_in(2, 2), *first, *last, domain=MICROSOFT, axis=1, opset=13),
        one("DynamicQuantizeLSTM", x(2, 1, 2), *narrow, *(None,) * 5, *two, *two, outputs=3, domain=MICROSOFT, hidden_size=1),
        one("QGemm", bytes_in(3, 2), *first, byte, *second, None, *last, domain=MICROSOFT),
        one("QLinearReduceMean", bytes_in(2, 4), *first, *last, domain=MICROSOFT, axes=[1], keepdims=1),
        one("QLinearWhere", np.array([True, False]), bytes_in(2, 2), *first, byte, *second, *last, domain=MICROSOFT),
        one("DynamicQuantizeMatMul", x(3, 2), byte, *second, domain=MICROSOFT),
        one("MatMulIntegerToFloat", bytes_in(3, 2), byte, n(0.5), n(0.25), zero, zero, domain=MICROSOFT),
        *fused(),
        *dialects(),
    ]


def fused() -> list[onnx.ModelProto]:
    """What onnxruntime makes of several operators."""
    return [
        one("FusedConv", x(1, 1, 4, 4), w(1, 1, 2, 2), domain=MICROSOFT, activation="Relu"),
        one("FusedGemm", x(2, 2), w(2, 2), w(2), domain=MICROSOFT, activation="LeakyRelu", activation_alpha=0.1),
        one("FusedMatMul", x(2, 3), w(3, 2), domain=MICROSOFT, alpha=2.0),
    ]


def dialects() -> list[onnx.ModelProto]:
    """Fake quantisation by other names."""
    return [
        *(
            one(op, x(2, 4), n(0.125), n(0), n(4), domain=QONNX, signed=1, narrow=0, rounding_mode="ROUND")
            for op in ("Quant", "IntQuant")
        ),
        one("BipolarQuant", w(2), n(0.5), domain=QONNX),
        one("FakeQuantize", x(2, 4), n(-1), n(1), n(-1), n(1), domain=OPENVINO, levels=255),
    ]


def stored_list(*values: float, dtype: str = "float32") -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype))


def classical() -> list[onnx.ModelProto]:
    """Features, labels, trees and steps of training."""
    tree = {
        "tree_roots": [0],
        "nodes_featureids": [1],
        "nodes_modes": stored_list(0, dtype="uint8"),
        "nodes_splits": stored_list(0.5),
        "nodes_truenodeids": [0],
        "nodes_trueleafs": [1],
        "nodes_falsenodeids": [1],
        "nodes_falseleafs": [1],
        "leaf_targetids": [0, 1],
        "leaf_weights": stored_list(1, 2),
        "n_targets": 2,
    }
    labels = {"keys_int64s": [1, 5], "values_floats": [0.5, 0.25]}
    grams = {"ngram_counts": [0, 2], "ngram_indexes": [0, 1, 2], "pool_int64s": [5, 6, 5, 6], "weights": [1.0, 2.0, 3.0]}
    lengths = {"mode": "TFIDF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 1}
    rate, step = x(), integers()
    moments = {"alpha": 0.9, "beta": 0.8, "norm_coefficient": 0.01}
    return [
        one("ArrayFeatureExtractor", x(2, 4), k(1, 3), domain=CLASSICAL),
        one("Binarizer", x(2, 4), domain=CLASSICAL, threshold=0.5),
        one("LabelEncoder", integers(2, 3), domain=CLASSICAL, **labels),
        one("TreeEnsemble", x(3, 2), domain=CLASSICAL, **tree),
        one("TfIdfVectorizer", integers(2, 5), **grams, **lengths),
        one("Adagrad", rate, step, x(3), x(3), x(3), domain=TRAINING, outputs=2),
        one("Adam", rate, step, *(x(3) for _ in range(4)), domain=TRAINING, outputs=3, **moments),
        one("Momentum", rate, step, x(3), x(3), x(3), domain=TRAINING, outputs=2, mode="standard", **moments),
    ]


def body(nodes: Sequence[onnx.NodeProto], inputs: Sequence[tuple[str, int]], outputs: Sequence[str]) -> onnx.GraphProto:
    """A subgraph: (name, type) in, names out."""
    infos = [helper.make_tensor_value_info(name, kind, None) for name, kind in inputs]
    return helper.make_graph(list(nodes), "body", infos, [onnx.ValueInfoProto(name=name) for name in outputs])


def structures() -> list[onnx.ModelProto]:
    """Branches, loops, functions, sequences, and networks of several nodes."""
    node = helper.make_node
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])
    vector = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    branches = {
        "then_branch": body([node("Relu", ["x"], ["t"])], [], ["t"]),
        "else_branch": body([node("Neg", ["x"], ["e"])], [], ["e"]),
    }
    step = [node("Add", ["s", "x"], ["s2"]), node("Identity", ["go"], ["go2"])]
    loop = body(step, [("i", TensorProto.INT64), ("go", TensorProto.BOOL), ("s", TensorProto.FLOAT)], ["go2", "s2", "s2"])
    scan = body([node("Add", ["s", "r"], ["s2"])], [("s", TensorProto.FLOAT), ("r", TensorProto.FLOAT)], ["s2", "s2"])
    trips = numpy_helper.from_array(np.array(3, np.int64), "trips")
    true = numpy_helper.from_array(np.array(True), "true")
    start = numpy_helper.from_array(np.zeros(4, np.float32), "start")
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 4])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("local", 1)]
    twice = helper.make_function("local", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], opsets)
    four = helper.make_function(
        "local", "Four", ["a"], ["c"], [node("Twice", [p], [q], domain="local") for p, q in ("ab", "bc")], opsets
    )
    weights = [numpy_helper.from_array(array, name) for name, array in (("w", w(2, 2, 3, 3)), ("b", w(2)), ("d", w(5, 2)))]
    network = [
        node("Conv", ["x", "w", "b"], ["a"], name="conv", pads=[1] * 4),
        node("Relu", ["a"], ["r"], name="relu"),
        node("Add", ["r", "x"], ["s"], name="add"),
        node("GlobalAveragePool", ["s"], ["g"], name="pool"),
        node("Flatten", ["g"], ["f"], name="flat"),
        node("Gemm", ["f", "d"], ["y"], name="dense", transB=1),
    ]
    shapes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["batch"]),
        node("Unsqueeze", ["batch", "axes"], ["b"]),
        node("Concat", ["b", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["y"]),
    ]
    known = [numpy_helper.from_array(np.array(a, np.int64), name) for name, a in (("zero", 0), ("axes", [0]), ("rest", [-1]))]
    sequence = [
        node("SplitToSequence", ["x"], ["q"], axis=0),
        node("SequenceAt", ["q", "trips"], ["y"]),
        node("ConcatFromSequence", ["q"], ["z"], axis=0),
        node("SequenceLength", ["q"], ["l"]),
        node("SequenceErase", ["q"], ["q2"]),
        node("SequenceInsert", ["q2", "y"], ["q3"]),
        node("SequenceEmpty", [], ["q4"]),
        node("SequenceConstruct", ["x", "x"], ["q5"]),
        node("Optional", ["x"], ["o"]),
        node("OptionalHasElement", ["o"], ["h"]),
        node("OptionalGetElement", ["o"], ["p"]),
        node("SequenceMap", ["q"], ["m"], body=body([node("Neg", ["e"], ["f"])], [("e", TensorProto.FLOAT)], ["f"])),
    ]
    five = helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 2])
    return [
        model([node("If", ["true"], ["y"], **branches)], [vector], ["y"], [true]),
        model([node("If", ["c"], ["y"], **branches)], [vector, condition], ["y"]),
        model([node("Loop", ["trips", "", "start"], ["y", "all"], body=loop)], [helper.make_tensor_value_info(
            "x", TensorProto.FLOAT, [4])], ["y", "all"], [trips, start]),
        model([node("Scan", ["start", "x"], ["y", "all"], body=scan, num_scan_inputs=1)], [rows], ["y", "all"], [start]),
        model([node("Four", ["x"], ["y"], domain="local")], [vector], ["y"], functions=[twice, four]),
        model(network, [image], ["y"], weights),
        model(list(reversed(network)), [image], ["y", "r"], weights),
        model(shapes, [image], ["y"], known),
        model(sequence, [five], ["y", "z", "l", "p"], [trips]),
        model([node("Relu", ["x"], ["y"])], [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])], ["y"]),
    ]  # fmt: skip


def corpus() -> list[onnx.ModelProto]:
    """The same models in the same order every time."""
    return [*elementwise(), *layers(), *movement(), *quantised(), *classical(), *structures()]
