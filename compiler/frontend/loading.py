"""The door for ONNX models: bytes, a file or a `ModelProto` in, a parsed model with its weights out, or a `ModelError`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from vdla.errors import ModelError

OLDEST_OPSET = 7
"""Older models are converted to it first, by onnx's own converter."""
CONVERT = """
import onnx, sys
from onnx import version_converter
model = version_converter.convert_version(onnx.load_model_from_string(sys.stdin.buffer.read()), int(sys.argv[1]))
sys.stdout.buffer.write(model.SerializeToString())
"""
"""In a process of its own: models that are not valid make the converter crash."""
LATER = "re-export with a later opset"
ModelSource = str | Path | bytes | onnx.ModelProto


def load_model(source: ModelSource) -> tuple[onnx.ModelProto, str]:
    """The parsed model, and the words that name it in messages.

    Raises `ModelError` when it cannot be read, is not ONNX, is of an opset that cannot be converted or lacks external data.
    """
    if isinstance(source, onnx.ModelProto):
        model, where, folder = source, " ".join(source.graph.name.split()) or "model", None
    elif isinstance(source, bytes):
        model, where, folder = parse(source, "model"), "model", None
    else:
        path = Path(source)
        model, where, folder = parse(read_file(path), str(path)), str(path), path.parent
    check_model(model, where)
    load_external_data(model, where, folder)
    return modern(model, where), where


def read_file(path: Path) -> bytes:
    """The file's bytes. Raises `ModelError` when the file cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            "cannot read the model file", where=str(path), found=error.strerror or str(error), expected="a readable .onnx file"
        ) from None


def parse(data: bytes, where: str) -> onnx.ModelProto:
    """Raises `ModelError` when the bytes are not a protobuf message of ONNX's schema."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, UnicodeDecodeError, ValueError):
        hint = "check that the download or export finished, and that this is the .onnx file"
        raise ModelError("not an ONNX model, or truncated", where=where, found=f"{len(data)} bytes", hint=hint) from None
    return model


def check_model(model: onnx.ModelProto, where: str) -> None:
    """Any bytes that happen to be protobuf parse; a model has a graph, and says which operator set it uses."""
    if not model.HasField("graph") or not model.opset_import:
        raise ModelError("not an ONNX model, or truncated", where=where, expected="a graph and an opset_import")
    if model.graph.sparse_initializer:
        raise ModelError("sparse initialisers are not supported", where=where, hint="store the weights dense")


def modern(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """The model, of opset 7 at least. Raises `ModelError` when onnx cannot convert it."""
    found = opset_of(model)
    if not 0 < found < OLDEST_OPSET:
        return model
    try:
        data = model.SerializeToString()
    except Exception as error:  # protobuf has several types for what is larger than 2 GiB
        raise ModelError("too large for onnx to convert", where=where, found=f"opset {found}: {error}", hint=LATER) from None
    done = subprocess.run([sys.executable, "-c", CONVERT, str(OLDEST_OPSET)], input=data, capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {done.returncode}"]
        reason = f"opset {found}: {lines[-1].split(': ')[-1].strip()}"  # onnx puts names of its own files before it
        raise ModelError("opset is too old, and onnx cannot convert it", where=where, found=reason, hint=LATER)
    return parse(done.stdout, where)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operator set (domain ""); 0 when the model does not import it."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def load_external_data(model: onnx.ModelProto, where: str, folder: Path | None) -> None:
    """Read weights kept beside the model file into it. Raises `ModelError` when they are not there."""
    external = [tensor.name for tensor in all_tensors(model) if uses_external_data(tensor)]
    if not external:
        return
    if folder is None:
        hint = "give the path of the .onnx file, or onnx.load it with its external data"
        raise ModelError("weights are in external files", where=where, found=external[0], hint=hint)
    try:
        load_external_data_for_model(model, str(folder))
    except Exception as error:  # onnx raises many types here: missing files, wrong lengths, paths that leave the folder
        hint = f"put the model's data files into {folder}"
        raise ModelError("external data cannot be read", where=where, found=f"{external[0]}: {error}", hint=hint) from None


def all_tensors(model: onnx.ModelProto) -> Iterable[onnx.TensorProto]:
    """Every tensor stored in the main graph: initialisers and attributes."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
