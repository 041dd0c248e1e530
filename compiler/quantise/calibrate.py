"""Calibration: run sample inputs through the float graph and choose the range each activation is quantised over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.reference import Observe, run_reference
from vdla.compiler.quantise.histogram import Histogram
from vdla.errors import ModelError, RunError

Array = np.ndarray
Inputs = Mapping[str, Array]


def calibrate(
    graph: Graph,
    calibration: Sequence[Inputs],
    tensors: Collection[str],
    observe: Observe = lambda name, value: None,
) -> dict[str, Histogram]:
    """What each of `tensors` is over all calibration inputs. observe: is shown all activations too.

    Raises `RunError` when there are no inputs to observe them with, or they are not those the graph takes.
    """
    if not tensors:
        return {}
    if not calibration:
        raise RunError("no calibration inputs", expected="at least one dict of input name to array")
    histograms = {name: Histogram() for name in tensors}

    def count(name: str, values: Array) -> None:
        if name in histograms:
            histograms[name].add(values)
        observe(name, values)

    for inputs in calibration:
        run_reference(graph, inputs, observe=count)
    return histograms


def require_finite(arrays: Mapping[str, Array], where: str) -> None:
    """Raise `RunError` for the first float that is NaN or infinite, naming array, place and value."""
    for name, array in arrays.items():
        array = np.asarray(array)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise RunError("a value is not finite", where=f"{where}: {name}{list(at)}", found=array[at], expected="numbers")


def generate_calibration(graph: Graph, count: int = 4, seed: int = 0) -> list[dict[str, Array]]:
    """Standard normal inputs, for a model that comes without data. Inputs that are not float32 are refused."""
    generator = np.random.default_rng(seed)
    for name in graph.inputs:
        if graph.tensors[name].dtype != "float32":
            raise ModelError(
                "calibration data can be generated for float32 inputs only", where=name, found=graph.tensors[name].dtype
            )
    return [
        {name: generator.standard_normal(graph.tensors[name].shape, dtype=np.float32) for name in graph.inputs}
        for _ in range(count)
    ]
