"""What the figures are drawn from: shares of time, stacked parts, labels that do not collide."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vdla.device import Profile
from vdla.report.breakdown import COLOURS, parts
from vdla.report.figures import busy_fractions
from vdla.report.labels import NEAR, Cluster, grouped, overlap, place_labels, ranges
from vdla.report.run_report import LayerReport, label
from vdla.text import json_text, shortened


def layer(**changes) -> LayerReport:
    values = {
        "name": "n", "source": "a.conv+a.bn", "op": "qconv2d", "target": "vdla", "why": "", "macs": 1000, "cycles": 100,
        "bound_cycles": 80, "utilization": 0.5, "dram_bytes": 64, "bit_exact": True,
        "seconds": 1e-6, "bytes": 64, "gemm_cycles": 50, "alu_cycles": 10,
        "stalls": {"token_from_load": 20, "token_from_compute": 0, "token_from_store": 5, "bus": 2, "queue": 1},
        "unit_busy": {"load": 30, "compute": 64, "store": 8}, "traffic": {"inp": 64}, "operations_per_byte": 4.0,
    }  # fmt: skip
    return LayerReport(**{**values, **changes})


def test_parts_sum_to_the_layers_cycles():
    shares = parts(layer())
    assert shares == {
        "GEMM": 50, "ALU": 10, "DMA": 4, "waits for load": 20, "waits for store": 5, "bus": 2, "queue": 1, "idle": 8,
    }  # fmt: skip
    assert sum(shares.values()) == 100
    assert shares.keys() == COLOURS.keys()
    assert parts(layer(cycles=10))["idle"] == 0  # COMPUTE worked ahead of the layer before


def test_busy_fractions_against_counting_every_cycle():
    seed = np.random.SeedSequence().entropy
    random = np.random.default_rng(seed)
    for _ in range(20):
        cycles, bins = int(random.integers(10, 300)), int(random.integers(1, 40))
        edges = np.sort(random.choice(cycles + 1, 2 * int(random.integers(1, min(12, cycles // 2))), replace=False))
        start, finish = edges[::2], edges[1::2]
        chosen = random.random(len(start)) < 0.7
        busy = np.zeros(cycles * bins)  # each cycle as `bins` parts, so that bin edges fall between parts
        for a, b in zip(start[chosen], finish[chosen], strict=True):
            busy[a * bins : b * bins] = 1
        profile = Profile(cycles, (), {}, start, finish)
        expected = busy.reshape(bins, cycles).mean(axis=1)
        np.testing.assert_allclose(busy_fractions(profile, chosen, bins), expected, atol=1e-9, err_msg=f"seed {seed}")


@pytest.mark.parametrize(
    ("numbers", "text"), [([3, 4, 5, 9], "3–5, 9"), ([7], "7"), ([2, 1], "1–2"), ([1, 3, 5], "1, 3, 5"), ([9, 8, 1], "1, 8–9")]
)
def test_ranges(numbers, text):
    assert ranges(numbers) == text


def test_near_points_share_a_label():
    pixels = np.array([[0, 0], [NEAR - 1, 0], [2 * NEAR - 3, 0], [100, 100]], float)
    clusters = grouped(pixels, [1, 2, 3, 4])
    assert sorted(cluster.text for cluster in clusters) == ["1–3", "4"]


def test_labels_cover_neither_points_nor_one_another():
    seed = np.random.SeedSequence().entropy
    pixels = np.random.default_rng(seed).uniform(60, 700, (24, 2))
    clusters = grouped(pixels, range(1, 25))
    inside = (0.0, 0.0, 760.0, 760.0)
    centres = place_labels(clusters, pixels, inside)
    boxes = [
        (x - 2.5 * len(c.text) - 2, y - 5.5, x + 2.5 * len(c.text) + 2, y + 5.5)
        for c, (x, y) in zip(clusters, centres, strict=True)
    ]
    assert all(overlap(a, b) == 0 for k, a in enumerate(boxes) for b in boxes[:k]), f"seed {seed}"
    assert all(not (b[0] < x < b[2] and b[1] < y < b[3]) for b in boxes for x, y in pixels), f"seed {seed}"
    assert all(overlap(box, inside) == (box[2] - box[0]) * (box[3] - box[1]) for box in boxes), f"seed {seed}"


def test_a_label_without_a_free_place_is_still_placed():
    crowd = np.array([[x, y] for x in range(0, 40, 4) for y in range(0, 40, 4)], float)
    assert len(place_labels([Cluster((20.0, 20.0), "1")], crowd, (0.0, 0.0, 40.0, 40.0))) == 1


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("layer1.0.conv2+layer1.0.bn2+layer1.0.add+layer1.0.relu2", "layer1.0.conv2+bn2+add+relu2"),
        ("layer2.0.downsample.conv+layer2.0.downsample.bn+layer2.0.add", "layer2.0.downsample.conv+bn+add"),
        ("/features/conv+/features/relu+/head/add", "/features/conv+relu+head/add"),
        ("conv+relu", "conv+relu"),
        ("a.b+b", "a.b+b"),
        ("", ""),
    ],
)
def test_labels_leave_out_what_the_parts_share(source, text):
    assert label(source) == text


def test_shortened():
    assert shortened("abc", 3) == "abc"
    for width in range(2, 30):
        assert len(shortened("abcdefghijklmnopqrstuvwxyz" * 2, width)) == width
    assert shortened("abcdefghij", 6) == "abc…ij"


def test_json_text_is_strict():
    text = json_text({"a": np.float32(1.5), "b": float("nan"), "c": [np.int64(3), (float("inf"), None)], 4: np.arange(2)})
    assert text.endswith("}\n")
    assert json.loads(text, parse_constant=pytest.fail) == {"a": 1.5, "b": None, "c": [3, [None, None]], "4": [0, 1]}
