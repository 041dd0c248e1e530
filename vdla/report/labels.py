"""Labels that do not collide: points close together share one, and each is put where nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

NEAR = 8.0  # pixels between points that share a label
HEIGHT, CHARACTER = 11.0, 5.0  # of a label and of one of its characters, in pixels
DISTANCES = (14, 22, 32, 44, 58, 74, 92, 112)
DIRECTIONS = tuple((float(np.cos(a)), float(np.sin(a))) for a in np.pi / 180 * np.array([90, 45, 135, 0, 180, -45, -135, -90]))
Box = tuple[float, float, float, float]  # left, bottom, right, top


@dataclass(frozen=True)
class Cluster:
    """Points that share a label. at: their mean, in pixels."""

    at: tuple[float, float]
    text: str


def grouped(pixels: np.ndarray, numbers: Sequence[int]) -> list[Cluster]:
    """Chains of points closer than NEAR, as clusters. pixels: float[n, 2]."""
    members: list[list[int]] = []
    for k in range(len(pixels)):
        near = [group for group in members if np.hypot(*(pixels[group] - pixels[k]).T).min() < NEAR]
        members = [group for group in members if group not in near] + [[k, *(i for group in near for i in group)]]
    return [
        Cluster((float(pixels[group, 0].mean()), float(pixels[group, 1].mean())), ranges([numbers[k] for k in group]))
        for group in members
    ]


def ranges(numbers: Sequence[int]) -> str:
    """`[3, 4, 5, 9]` → "3–5, 9"."""
    ordered = sorted(numbers)
    cuts = [0, *(k + 1 for k, (a, b) in enumerate(pairwise(ordered)) if b != a + 1), len(ordered)]
    runs = [ordered[a:b] for a, b in pairwise(cuts)]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def place_labels(clusters: Sequence[Cluster], obstacles: np.ndarray, inside: Box) -> list[tuple[float, float]]:
    """A centre for each label: the nearest place within `inside` where it covers no obstacle (float[n, 2]) and no other label.

    Where there is none, the one that covers least.
    """
    taken: list[Box] = [(x - 3, y - 3, x + 3, y + 3) for x, y in obstacles]
    centres: list[tuple[float, float]] = []
    for cluster in clusters:
        half = CHARACTER * len(cluster.text) / 2 + 2
        candidates = [
            (cluster.at[0] + dx * (distance + half * abs(dx)), cluster.at[1] + dy * distance)
            for distance in DISTANCES
            for dx, dy in DIRECTIONS
        ]
        boxes = [(x - half, y - HEIGHT / 2, x + half, y + HEIGHT / 2) for x, y in candidates]
        costs = [sum(overlap(box, other) for other in taken) + outside(box, inside) for box in boxes]
        best = int(np.argmin(costs))  # the first of equals: the nearest
        centres.append(candidates[best])
        taken.append(boxes[best])
    return centres


def overlap(a: Box, b: Box) -> float:
    """The area they share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def outside(box: Box, inside: Box) -> float:
    """The area of `box` beyond `inside`."""
    return (box[2] - box[0]) * (box[3] - box[1]) - overlap(box, inside)
