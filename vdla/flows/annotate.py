"""`vdla run --annotate`: the model's own file with what a run found written onto its nodes, as metadata that viewers show.

Each node bears the target it runs on and why, the scale of its output's levels, its cycles or estimated time. A fused layer is
written onto every node that it was made of; what was simplified away says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from vdla.compiler.frontend.loading import check_model, load_external_data, parse, read_file
from vdla.compiler.model import CompiledModel
from vdla.errors import ModelError, OutputError
from vdla.files import write_file
from vdla.flows.compilation import CompileOptions, Prepared
from vdla.flows.run import Run
from vdla.report.run_report import LayerReport
from vdla.version import __version__
from vdla.zoo import build, zoo_models

PREFIX = "vdla."
GONE = "simplified away: a constant, or part of another layer"
LARGEST = (1 << 31) - 1
"""Bytes of a protobuf message."""


def write_annotated(path: Path, model: object, options: CompileOptions, run: Run) -> Path:
    """The model of `run` as one file with its weights inside. Raises `OutputError` when it cannot be written."""
    marked = annotated(original(model, options), run)
    if (size := marked.ByteSize()) > LARGEST:
        raise OutputError("too large for one file", where=str(path), found=f"{size:,} bytes", expected=f"at most {LARGEST:,}")
    return write_file(path, marked.SerializeToString())


def original(model: object, options: CompileOptions) -> onnx.ModelProto:
    """As it was given, not converted and not simplified; a network of the zoo as it is built."""
    if isinstance(model, Prepared):
        return original(model.model, options)
    if isinstance(model, str) and model in zoo_models():
        return build(model, options.batch)
    if isinstance(model, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy
    file = Path(str(model))
    proto = parse(read_file(file), str(file))
    check_model(proto, str(file))
    load_external_data(proto, str(file), file.parent)
    return proto


def refuse_to_overwrite(path: Path, model: str) -> None:
    """Raise `ModelError` when what is to be written is the model that is read."""
    if Path(model).exists() and path.exists() and path.samefile(model):
        raise ModelError("this is the model itself", where="--annotate", found=str(path), expected="another file")


def annotated(model: onnx.ModelProto, run: Run) -> onnx.ModelProto:
    """`model`, with metadata on it and on each of its nodes."""
    by_node = layers_by_node([node_key(node, k) for k, node in enumerate(model.graph.node)], run.report.layers)
    scales, views = scales_of(run.model), views_by_node(list(by_node), run.model)
    for index, node in enumerate(model.graph.node):
        layers = by_node[key := node_key(node, index)]
        set_properties(node.metadata_props, node_facts(layers, scales) if layers else views.get(key, {"reason": GONE}))
    set_properties(model.metadata_props, model_facts(run))
    return model


def node_key(node: onnx.NodeProto, index: int) -> str:
    """What sources call a node: its name, or its first output's."""
    return str(node.name or next((name for name in node.output if name), f"{node.op_type}_{index}"))


def layers_by_node(nodes: Iterable[str], layers: Iterable[LayerReport]) -> dict[str, list[LayerReport]]:
    """Node of the model → the layers it is part of, the one that is most of its work first."""
    found: dict[str, list[LayerReport]] = {name: [] for name in nodes}
    for layer in layers:
        for name in owners(layer.source, found):
            found[name].append(layer)
    for members in found.values():
        members.sort(key=lambda layer: (layer.on_device, layer.macs, layer.seconds), reverse=True)
    return found


def views_by_node(nodes: Sequence[str], model: CompiledModel) -> dict[str, dict[str, str]]:
    """Node of the model → where a node of the placed graph lies that is no layer: it moves nothing."""
    known = dict.fromkeys(nodes)
    placement = model.placement
    return {
        name: {"target": placement.targets[node.name], "operator": node.op, "reason": placement.reasons[node.name]}
        for node in model.placed.nodes
        if node.name in placement.targets
        for name in owners(node.source, known)
    }


def owners(source: str, nodes: Mapping[str, Any]) -> Iterator[str]:
    """The model's nodes that a layer's source names: itself, its parts, or what encloses a part."""
    for part in dict.fromkeys([source] if source in nodes else source.split("+")):
        if part in nodes:
            yield part
        else:
            enclosing = [name for name in nodes if part.startswith((f"{name}.", f"{name}/"))]
            yield from sorted(enclosing, key=len)[-1:]


def scales_of(model: CompiledModel) -> dict[str, tuple[float, int]]:
    """Layer → scale and zero point of its output's levels."""
    made = {node.name: node.outputs[0] for node in model.quantised.nodes}
    affines = {name: model.levels[tensor][1] for name, tensor in made.items() if tensor in model.levels}
    return {name: (affine.scale, affine.zero_point) for name, affine in affines.items()}


def node_facts(layers: list[LayerReport], scales: Mapping[str, tuple[float, int]]) -> dict[str, str]:
    """Of one node, from the layers it is part of."""
    main, *others = layers
    facts = {"target": main.target, "layer": main.source, "operator": main.op, "reason": main.why}
    if main.on_device:
        facts |= {"cycles": str(main.cycles), "bound_cycles": str(main.bound_cycles), "utilization": f"{main.utilization:.4f}"}
        if main.bit_exact is not None:
            facts["bit_exact"] = str(main.bit_exact).lower()
    else:
        facts["estimated_seconds"] = f"{main.seconds:.3g}"
    if main.macs:
        facts["macs"] = str(main.macs)
    facts["bytes"] = str(main.bytes)
    if main.name in scales:
        scale, zero_point = scales[main.name]
        facts |= {"output_scale": f"{scale:.9g}", "output_zero_point": str(zero_point)}
    if others:
        facts["also"] = ", ".join(f"{layer.op} on {layer.target}" for layer in others)
    return facts


def model_facts(run: Run) -> dict[str, str]:
    """Of the whole run."""
    report, placement = run.report, run.report.placement
    shares = {f"{share.target}_{key}": str(getattr(share, key)) for share in placement.targets for key in ("operators", "macs")}
    return {
        "version": __version__,
        "design": report.design,
        "build_hash": str(report.provenance["build_hash"]),
        "cycles": str(report.cycles),
        "ms": f"{report.ms:.4f}",
        "exactness": report.exactness,
        "switches": str(placement.switches),
        "host": placement.host,
        **shares,
    }


def set_properties(properties: Any, facts: Mapping[str, str]) -> None:
    """Under our own prefix, in place of what an earlier run wrote there."""
    kept = [(entry.key, entry.value) for entry in properties if not entry.key.startswith(PREFIX)]
    del properties[:]
    for key, value in [*kept, *((PREFIX + key, value) for key, value in facts.items())]:
        properties.add(key=key, value=value)
