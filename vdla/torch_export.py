"""PyTorch modules as ONNX models, through PyTorch's own exporter: `vdla.compile(vdla.from_torch(module, (x,)), "pynq_z1")`."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import onnx

from vdla.errors import ModelError


def from_torch(module: Any, example_inputs: Any, *, opset: int | None = None) -> onnx.ModelProto:
    """What `module` computes in evaluation mode, as an ONNX model whose shapes are those of `example_inputs`.

    example_inputs: the arguments of `forward` as a tuple or list of tensors, or the tensor where it takes one. opset: of ONNX's
    own operators; None takes the exporter's default. Inputs have the names of `forward`'s parameters. The module is left in the
    mode it was in. Raises `ModelError` when torch is not installed, the module fails on its inputs, or the exporter refuses.
    """
    torch = imported_torch()
    if not isinstance(module, torch.nn.Module):
        raise ModelError("not a PyTorch module", found=type(module).__name__, expected="a torch.nn.Module")
    name = type(module).__name__
    arguments = tuple(example_inputs) if isinstance(example_inputs, Sequence) else (example_inputs,)
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with quiet(), torch.no_grad():
            run_once(module, arguments, name)
            try:
                model = torch.onnx.export(module, arguments, dynamo=True, verbose=False, opset_version=opset).model_proto
            except Exception as error:  # the exporter wraps, and lets through, many types
                raise refusal(str(error), name) from error
    finally:
        for part, training in modes.items():
            part.training = training
    model.graph.name = name
    return model


def imported_torch() -> Any:
    """The torch package, when it and what its exporter needs can be imported. Raises `ModelError`."""
    try:
        import onnxscript  # noqa: F401 - the exporter's, imported here so that its absence has the same words
        import torch
    except ImportError as error:
        hint = "pip install 'vdla[torch]'"
        raise ModelError("PyTorch's exporter is not installed", found=f"no module {error.name}", hint=hint) from None
    return torch


def run_once(module: Any, arguments: tuple[Any, ...], name: str) -> None:
    """A module that fails on its own says so more clearly than its export does. Raises `ModelError`."""
    try:
        module(*arguments)
    except Exception as error:
        shapes = ", ".join(str(list(x.shape)) if hasattr(x, "shape") else type(x).__name__ for x in arguments)
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ModelError(f"the module does not run on example inputs {shapes}", where=name, found=found) from error


def refusal(message: str, name: str) -> ModelError:
    """The exporter's pages of advice in one line: the operator, or what it could not follow."""
    summary = re.search(r"## Exception summary\s+(?:<class '[^']*'>: )?([^\n]*)", message)
    reason = summary[1] if summary else " ".join(message.split())
    operator = re.search(r"OpOverload\(op='([^']+)'", message) or re.search(r"torch\.ops\.([\w.]+)", message)
    if operator and "No ONNX function" in message:
        hint = "compute it outside the model, or from operators that ONNX has"
        return ModelError("PyTorch's exporter has no ONNX for an operator", where=name, found=operator[1], hint=hint)
    hint = "control flow on tensors' values cannot be exported; torch.where or torch.cond can"
    data_dependent = "data-dependent" in message or "dynamic control flow" in message
    return ModelError("PyTorch's exporter refused", where=name, found=reason, hint=hint if data_dependent else "")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, logs or prints of the exporter: what matters of them is in the error."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
