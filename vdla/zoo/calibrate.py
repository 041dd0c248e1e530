"""Measure the zoo's batch-norm statistics: `python -m vdla.zoo.calibrate` (needs onnxruntime) rewrites statistics.npz."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from vdla.zoo import mobilenet, resnet18
from vdla.zoo.images import photographs

IMAGES = 8


def measure(module: ModuleType) -> np.ndarray:
    """float16[2, channels]: mean and variance of every batch norm's input over a few images."""
    import onnxruntime

    session = onnxruntime.InferenceSession(module.network(IMAGES, None).SerializeToString(), providers=["CPUExecutionProvider"])
    _, *measured = session.run(None, {"input": photographs(IMAGES, seed=1000)})
    means, variances = (np.concatenate([array.ravel() for array in measured[i::2]]) for i in (0, 1))
    return np.stack([means, np.maximum(variances, 1e-3)]).astype(np.float16)


def main() -> None:
    path = Path(__file__).with_name("statistics.npz")
    np.savez_compressed(path, resnet18=measure(resnet18), mobilenet=measure(mobilenet))


if __name__ == "__main__":
    main()
