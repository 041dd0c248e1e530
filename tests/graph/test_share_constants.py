"""Equal constants are one, others are not."""

from __future__ import annotations

import numpy as np
from small_graphs import Net, check_pass

from vdla.compiler.graph.share_constants import share_constants


def test_equal_ones_alone() -> None:
    net = Net()
    large = net.random.standard_normal((16, 64))
    x, flat = net.input(1, 64), net.input(1, 1024)
    for value in (large, large, np.where(large == large.max(), 0, large)):
        net.op("dense", x, net.constant(value))
    net.op("dense", flat, net.constant(large.reshape(1, 1024)))
    after = check_pass(share_constants, net.graph())
    assert [node.inputs[1] for node in after.nodes] == ["c0", "c0", "c2", "c3"]
    assert set(after.constants) == {"c0", "c2", "c3"}
