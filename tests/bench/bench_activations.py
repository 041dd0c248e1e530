"""Activation memory beside the largest live set, network by network: the accelerator's DRAM plans and the host's values.

    python tests/bench/bench_activations.py [--model NAME ...] [--design NAME ...]      prints one JSON document

A live set is what must be in memory at one step: tensors computed by then that it or a later step reads, and what it
computes. The host holds tensors by the steps after which `Module.run` drops them; a program's plan sets aside bytes of DRAM for
activations. Of a network it is the largest sum of the two.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence

from vdla.compiler import program
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.memory_plan import Lifetime, plan_memory
from vdla.compiler.targets import Step
from vdla.design_file import shipped_designs
from vdla.errors import VdlaError
from vdla.flows.compilation import CompileOptions, Prepared, compile_to_model, prepare
from vdla.runtime.module import dead_after
from vdla.zoo import zoo_models

CPU = CompileOptions(targets=("cpu",))


def live_set(lifetimes: Sequence[Lifetime]) -> int:
    """The largest sum of sizes at one step."""
    steps = {step for tensor in lifetimes for step in (tensor.first, tensor.last)}
    return max((sum(t.bytes for t in lifetimes if t.first <= step <= t.last) for step in steps), default=0)


def on_design(prepared: Prepared, design: str) -> dict[str, float]:
    """What a whole network takes at most and what is live at most: between the steps the host's values, and in a step the
    activations of its program. With the largest ratio of one program, whose tensors begin at multiples of an alignment."""
    seen: list[tuple[list[Lifetime], int]] = []

    def recording(lifetimes: Sequence[Lifetime], alignment: int) -> tuple[Mapping[str, int], int]:
        found = plan_memory(lifetimes, alignment)
        seen.append((list(lifetimes), found[1]))
        return found

    program.plan_memory = recording  # type: ignore[assignment]
    try:
        model = compile_to_model(prepared, design)
    finally:
        program.plan_memory = plan_memory
    pairs = iter([(total, live_set(lifetimes)) for lifetimes, total in seen])
    extra = [next(pairs) if step.program is not None else (0, 0) for step in model.steps]
    inside = [Lifetime("", live, step, step) for step, (_, live) in enumerate(extra)]
    taken = held(model.steps, model.placed, [taken for taken, _ in extra])
    found = entry(taken, live_set([*host_lifetimes(model.steps, model.placed), *inside]))
    return found | {"worst_program": max((entry(*pair)["ratio"] for pair in extra if pair[1]), default=1.0)}


def entry(taken: int, live: int) -> dict[str, float]:
    return {"bytes": taken, "live": live, "ratio": round(taken / live, 4) if live else 1.0}


def host(prepared: Prepared) -> dict[str, float]:
    """What running on the CPU alone holds."""
    model = compile_to_model(prepared, None, CPU)
    return entry(held(model.steps, model.placed, [0] * len(model.steps)), live_set(host_lifetimes(model.steps, model.placed)))


def held(steps: Sequence[Step], graph: Graph, programs: Sequence[int]) -> int:
    """The most that is there at once if each step's outputs are added and what is dead after it dropped. programs: bytes that
    each step takes besides, on the accelerator."""
    values = {name: graph.type_of(name).bytes for name in graph.inputs}
    most = 0
    for step, dead, taken in zip(steps, dead_after(steps, graph), programs, strict=True):
        values.update({name: graph.type_of(name).bytes for name in step.nodes[-1].outputs})
        most = max(most, sum(values.values()) + taken)
        for name in dead:
            values.pop(name, None)
    return most


def host_lifetimes(steps: Sequence[Step], graph: Graph) -> list[Lifetime]:
    """Of each tensor between steps, from the nodes' own inputs and outputs."""
    end = len(steps)
    made = dict.fromkeys(graph.inputs, 0)
    last: dict[str, int] = {}
    for number, step in enumerate(steps):
        inside = {name for node in step.nodes for name in node.outputs}
        for node in step.nodes:
            last.update({name: number for name in node.inputs if name not in inside})
        made.update(dict.fromkeys(step.nodes[-1].outputs, number))
    last.update(dict.fromkeys(graph.outputs, end))
    return [Lifetime(name, graph.type_of(name).bytes, first, last.get(name, first)) for name, first in made.items()]


def measured(name: str, designs: Sequence[str]) -> dict[str, dict[str, float]]:
    """For the CPU and each design what is taken and what is live; raises `VdlaError` for a network that is refused."""
    rows = {"cpu": host(prepare(name, CPU))}
    if designs:
        quantised = prepare(name)
        rows |= {design: on_design(quantised, design) for design in designs}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", nargs="*", default=list(zoo_models()), choices=zoo_models())
    parser.add_argument("--design", nargs="*", default=list(shipped_designs()))
    options = parser.parse_args()
    networks: dict[str, object] = {}
    worst = 0.0
    for name in options.model:
        try:
            rows = measured(name, options.design)
        except VdlaError as error:
            networks[name] = {"refused": str(error)[:200]}
            continue
        networks[name] = rows
        worst = max([worst, *(entry["ratio"] for entry in rows.values())])
    json.dump({"networks": networks, "worst": worst}, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
