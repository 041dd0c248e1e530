"""What a layer computes is told from types; its constants are packed once, its configuration is chosen once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_layers import KINDS, random_design, random_layer

sys.path.insert(0, str(Path(__file__).parents[1] / "end_to_end"))
from random_models import Network, model_of  # noqa: E402

from vdla.compiler.driver import BuildOptions, build_model  # noqa: E402
from vdla.compiler.frontend.onnx_import import import_onnx  # noqa: E402
from vdla.compiler.graph.graph import Graph  # noqa: E402
from vdla.compiler.graph.pipeline import optimise  # noqa: E402
from vdla.compiler.ops.vdla import (  # noqa: E402
    conv_template,
    convolution_layers,
    elementwise_template,
    kernels,
    operands,
    pool_template,
)
from vdla.compiler.ops.vdla.first_layer import fold_first_layers  # noqa: E402
from vdla.compiler.ops.vdla.layers import refusal, workload_of  # noqa: E402
from vdla.compiler.program import build_program  # noqa: E402
from vdla.compiler.quantise.quantise import quantise  # noqa: E402
from vdla.design_file import load_design  # noqa: E402

TINY = load_design("tiny")


@pytest.fixture(scope="module")
def small_resnet() -> Graph:
    """Quantised: a convolution and a pool, two residual blocks alike and a wider one, the average and the classifier."""
    net = Network(np.random.default_rng(0))
    x = net.same("Relu", net.conv(net.input(1, 3, 20, 20), 8, (3, 3), strides=(2, 2)))
    x = net.pool("MaxPool", x, (3, 3), (2, 2), (1, 1, 1, 1))
    for out in (8, 8, 16):
        shortcut = x if out == 8 else net.conv(x, out, (1, 1))
        y = net.same("Relu", net.conv(x, out, (3, 3)))
        x = net.same("Relu", net.same("Add", net.conv(y, out, (3, 3)), shortcut))
    net.outputs.append(net.dense(net.flatten(net.global_pool(x)), 10))
    graph = optimise(import_onnx(model_of(net, "small_resnet")))
    samples = {name: np.random.default_rng(1).standard_normal(graph.type_of(name).shape) for name in graph.inputs}
    return quantise(graph, [{name: value.astype(np.float32) for name, value in samples.items()}])


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, key: Callable[[Any], object]) -> Counter[object]:
    """How often `module.name` is called, by `key` of its first argument."""
    counts: Counter[object] = Counter()
    original = getattr(module, name)

    def counting(first: Any, *others: Any, **named: Any) -> Any:
        counts[key(first)] += 1
        return original(first, *others, **named)

    monkeypatch.setattr(module, name, counting)
    return counts


def test_compiling_packs_each_constant_and_chooses_each_configuration_once(
    small_resnet: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    for template in (conv_template, elementwise_template, pool_template):
        template.default.cache_clear()
    kernels._emission.cache_clear()
    weights = counted(monkeypatch, convolution_layers, "pack_conv_weights", lambda w: w.tobytes())
    parameters = counted(monkeypatch, operands, "pack_parameters", lambda bias: bias.tobytes())
    estimates = counted(monkeypatch, conv_template, "estimate_cycles", lambda workload: workload)
    choices = counted(monkeypatch, pool_template, "choose", lambda workload: workload)
    choices_elementwise = counted(monkeypatch, elementwise_template, "choose", lambda workload: workload)
    emissions = counted(monkeypatch, kernels, "emit", lambda function: id(function))

    model = build_model(small_resnet, TINY, BuildOptions())

    layers = [layer.op for program in model.programs for layer in program.layers]
    convolutions = layers.count("qconv2d") + layers.count("qdense")
    assert Counter(layers) >= Counter(qconv2d=8, qdense=1, qmax_pool2d=1, qavg_pool2d=1)
    assert set(weights.values()) == {1}
    assert weights.total() == convolutions
    residuals = sum(len(node.inputs) > 4 and bool(node.inputs[4]) for node in model.quantised.nodes if node.op == "qconv2d")
    assert parameters.total() == convolutions + residuals + layers.count("qavg_pool2d") + 3 * layers.count("qadd")
    chosen = estimates + choices + choices_elementwise
    assert set(chosen.values()) == {1}
    assert len(chosen) == emissions.total() < len(layers)  # the two blocks alike share

    build_model(small_resnet, TINY, BuildOptions())
    assert (estimates + choices + choices_elementwise).total() == len(chosen)
    assert emissions.total() == len(chosen)


def test_asking_packs_nothing(small_resnet: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((convolution_layers, "pack_conv_weights"), (operands, "pack_parameters"), (np, "eye")):
        monkeypatch.delattr(module, name)
    for node in small_resnet.nodes:
        refusal(node, small_resnet, TINY)


@pytest.mark.parametrize("seed", range(40))
def test_workloads_follow_from_types(seed: int) -> None:
    rng = np.random.default_rng(seed)
    design = random_design(rng)
    node, graph, _ = random_layer(rng, KINDS[seed % len(KINDS)])
    if refusal(node, graph, design):
        node, graph, _ = random_layer(rng, "requantize")
    valueless = replace(graph, constants=dict.fromkeys(graph.constants))
    assert workload_of(node, valueless, design) == workload_of(node, graph, design), f"seed {seed}"


@pytest.mark.parametrize("name", ["tiny", "pynq_z1"])
def test_first_layers_fold_by_types(small_resnet: Graph, name: str) -> None:
    folded = fold_first_layers(small_resnet, load_design(name))
    by_types = fold_first_layers(replace(small_resnet, constants={}), load_design(name))
    assert any(node.op == "im2col" for node in folded.nodes)
    assert by_types.nodes == folded.nodes
    assert by_types.tensors == folded.tensors


def test_a_dump_lowers_a_kernel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers of one workload: each is dumped, and the program is that of a run without a dump."""
    _, graph, _ = random_layer(np.random.default_rng(3), "requantize")
    (first,) = graph.nodes
    nodes = [first, replace(first, name="second", inputs=("y", *first.inputs[1:]), outputs=("z",))]
    graph = replace(graph.with_nodes(nodes, {"z": graph.type_of("y")}), outputs=("z",))
    plain = build_program(nodes, graph, TINY, True, None)
    kernels._dumped_emission.cache_clear()
    built = counted(monkeypatch, kernels, "lower", lambda function: function.name)
    stages: list[str] = []
    dumped = build_program(nodes, graph, TINY, True, lambda stage, text: stages.append(f"{stage}: {text[:4]}"))
    assert built.total() == 1
    assert np.array_equal(plain.words, dumped.words)
    names = [stage.split("/")[0] for stage in stages]
    assert names[: len(names) // 2] == ["00_layer"] * (len(names) // 2)
    assert names[len(names) // 2 :] == ["01_second"] * (len(names) // 2)
