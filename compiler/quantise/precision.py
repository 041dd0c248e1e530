"""Mixed precision: the layers that cost most are left in float until the outputs' error is within a budget.

What a layer costs is the noise at the outputs when it alone is quantised. Noise of many layers adds up, nearly, so that the
order of costs says which to leave and the sums how many to begin with; each choice is then measured whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vdla.compiler.quantise.plan import LAYERS, Group
from vdla.errors import RunError

Measure = Callable[[frozenset[str]], float]
"""Anchors' names that stay float → dB of signal to noise at the outputs."""


def layers_left_in_float(groups: Sequence[Group], budget_db: float, measure: Measure, quick: Measure) -> frozenset[str]:
    """The fewest of the costliest layers without which the budget is met. quick: a measure on fewer samples.

    Raises `RunError` when it is not met even with the cheapest layer alone in int8.
    """
    layers = [group.anchor.name for group in groups if group.form in LAYERS and group.quantised]
    noise = {name: 10 ** (-quick(frozenset(layers) - {name}) / 10) for name in layers}
    order = sorted(layers, key=lambda name: -noise[name])
    left, count = sum(noise.values()), min(1, len(order))
    while count < len(order) - 1 and left > 10 ** (-budget_db / 10):
        left -= noise[order[count - 1]]
        count += 1
    step, reached = 1, float("-inf")
    while count < len(order):
        reached = measure(frozenset(order[:count]))
        if reached >= budget_db:
            return frozenset(order[:count])
        if count == len(order) - 1:
            break
        count = min(count + step, len(order) - 1)
        step *= 2
    raise RunError(
        "the error budget cannot be met",
        where=f"{len(order)} layers",
        found=f"{reached:.1f} dB with all but the cheapest of them in float",
        expected=f"{budget_db:.1f} dB",
        hint="a lower budget, or calibration inputs that are more like what the model meets",
    )
