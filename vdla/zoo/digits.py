"""The trained digits network and the images it was never shown. `train_digits.py` made both files."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import onnx

from vdla.zoo.random_numbers import stream


def build(batch: int) -> onnx.ModelProto:
    model = onnx.load_model_from_string(files("vdla.zoo").joinpath("digits.onnx").read_bytes())
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.shape.dim[0].dim_value = batch
    return model


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    """Training images, so that what calibrates on them stays honest about the held-out ones."""
    images = as_input(arrays()["training_images"])
    chosen = np.asarray(stream(seed, "digits").random_raw(count)) % np.uint64(len(images))
    return {"input": images[chosen.astype(np.int64)]}


def held_out() -> tuple[np.ndarray, np.ndarray]:
    """Images float32[360, 1, 8, 8] and labels int64[360]."""
    stored = arrays()
    return as_input(stored["images"]), stored["labels"].astype(np.int64)


def as_input(images: np.ndarray) -> np.ndarray:
    """uint8[count, 8, 8] of 0..16 → float32[count, 1, 8, 8] of 0..1."""
    return (images[:, None].astype(np.float32) / np.float32(16)).astype(np.float32)


def arrays() -> dict[str, np.ndarray]:
    with files("vdla.zoo").joinpath("digits_test.npz").open("rb") as file, np.load(file) as stored:
        return dict(stored)
