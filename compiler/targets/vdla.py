"""The accelerator as a target: programs for whatever device runs the design."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vdla.compiler.graph.flatten import flatten_to_convolution
from vdla.compiler.graph.fold_tables import tables_into_convolutions
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.product_images import products_as_images
from vdla.compiler.ops.vdla.first_layer import fold_first_layers
from vdla.compiler.ops.vdla.packing import packed_shape, unpack_activation
from vdla.compiler.targets.backend import Backend, Bound, Judge, Observe, Placed, Run, Runner, Step, StepResult, host
from vdla.compiler.targets.vdla_cost import layer_seconds
from vdla.compiler.targets.vdla_layout import insert_layout_operators, quantised_name
from vdla.design import Design
from vdla.errors import CompileError, RunError
from vdla.isa.program import LayerSpan, Slot

NAME = "vdla"


def needed(design: Design | None) -> Design:
    """Raises `CompileError` when there is none to build for."""
    if design is None:
        raise CompileError("the accelerator needs a design", hint='a design\'s name or file, or targets=("cpu",)')
    return design


def refusal(node: Node, graph: Graph, design: Design | None) -> str:
    from vdla.compiler.ops.vdla import layers  # schedules and tensor expressions: not for who only runs a program

    return layers.refusal(node, graph, needed(design))


def rewrite(graph: Graph, design: Design | None) -> Graph:
    """Dense layers behind a flatten as convolutions, products as those of images, rearrangements in whole tiles, first layers
    of few channels folded, tables as ends of convolutions."""
    from vdla.compiler.ops.vdla.rearranging import rearrange_in_tiles

    design = needed(design)

    def accepts(node: Node, around: Graph) -> bool:
        return not refusal(node, around, design)

    with_products = products_as_images(flatten_to_convolution(graph, accepts), design.channel_block, accepts)
    rearranged = rearrange_in_tiles(with_products, design, accepts)
    return tables_into_convolutions(fold_first_layers(rearranged, design), accepts)


def judge(graph: Graph, design: Design | None) -> Judge:
    from vdla.compiler.targets.vdla_views import judge_with_moves  # schedules

    return judge_with_moves(lambda node: refusal(node, graph, design))


def idle(nodes: Sequence[Node], graph: Graph) -> bool:
    from vdla.compiler.targets.vdla_views import moves  # schedules

    return all(moves(node) for node in nodes)


def layout(graph: Graph, runs: Sequence[Run], design: Design | None) -> tuple[Graph, list[Run]]:
    return insert_layout_operators(graph, runs, needed(design), NAME, host().name)


def build(placed: Placed) -> Callable[[Run], list[Step]]:
    """Each run is one program."""
    from vdla.compiler.program import build_program

    originals = {node.name: node for node in placed.graph.nodes}
    design, options = needed(placed.design), placed.options

    def steps(run: Run) -> list[Step]:
        nodes = [originals[node.name] for node in run.nodes]
        program = build_program(nodes, placed.graph, design, options.latency_hiding, options.dump, options.configs)
        return [Step(NAME, run.nodes[0].name, run.nodes, program)]

    return steps


def template_of(workload: Any) -> Any:
    from vdla.compiler.ops.vdla import kernels  # schedules

    return kernels.template_of(workload)


def check(step: Step, quantised: Graph, placed: Graph, known: set[str]) -> None:
    """A program's slots against the tensors they hold; adds its outputs to `known`."""
    program = step.program
    if program is None:
        raise RunError("a step of the accelerator has no program", where=step.name)
    for slot in (*program.inputs, *program.outputs):
        _check_slot(step, slot, placed.tensors.get(slot.name))
    for slot in (*program.inputs, *(slot for layer in program.layers for slot in layer.outputs)):
        if (held := quantised.tensors.get(quantised_name(slot.name))) is not None:  # what observers are shown
            packable = 2 <= len(held.shape) <= 4
            _check_slot(step, slot, TensorType(packed_shape(held.shape, program.design), held.dtype) if packable else None)
    if unknown := [slot.name for slot in program.inputs if slot.name not in known]:
        raise RunError("a program reads what nothing has computed", where=step.name, found=unknown[0])
    known.update(slot.name for slot in program.outputs)


def _check_slot(step: Step, slot: Slot, tensor: TensorType | None) -> None:
    if tensor != TensorType(slot.shape, slot.dtype):
        found = f"{slot.dtype}{list(slot.shape)}"
        expected = f"{tensor.dtype}{list(tensor.shape)}" if tensor else "a tensor that can be packed"
        raise RunError("a slot's type is not its tensor's", where=f"{step.name}: {slot.name}", found=found, expected=expected)


def runner(step: Step, bound: Bound) -> Runner:
    program, quantised, device = step.program, bound.quantised, bound.device
    assert program is not None
    assert device is not None

    def run(values: Mapping[str, np.ndarray], timing: bool, observe: Observe | None) -> StepResult:
        def show(slot: Slot, packed: np.ndarray) -> None:
            name = quantised_name(slot.name)
            if observe is not None and name in quantised.tensors:
                observe(name, unpack_activation(packed, quantised.type_of(name).shape))

        def after_layer(layer: LayerSpan, dram: np.ndarray) -> None:
            for slot in layer.outputs:
                show(slot, dram[slot.address : slot.address + slot.bytes].view(slot.dtype).reshape(slot.shape))

        inputs = {slot.name: values[slot.name] for slot in program.inputs}
        for slot in program.inputs:
            show(slot, inputs[slot.name])
        result = device.run(program, inputs, timing=timing, observe=after_layer if observe else None)
        return StepResult(result.outputs, result.profile)

    return run


BACKEND = Backend(
    name=NAME,
    refusal=refusal,
    build=build,
    runner=runner,
    rewrite=rewrite,
    judge=judge,
    idle=idle,
    layout=layout,
    check=check,
    template_of=template_of,
    seconds=layer_seconds,
    has_programs=True,
)
