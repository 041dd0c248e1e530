"""Comparisons, and what chooses by their outcome."""

from __future__ import annotations

import numpy as np

from vdla.compiler import te
from vdla.compiler.operators.elementwise import binary, broadcasting
from vdla.compiler.operators.operator import ANY, BOOL, NUMBER, Fusion, Input, Operator
from vdla.compiler.operators.shapes import broadcast

WHERE = Operator(
    name="where",
    inputs=(Input("condition", BOOL), Input("a", ANY), Input("b", ANY, like="a")),
    infer=broadcast,
    define=broadcasting(te.select, "condition", "a", "b"),
    kernel=lambda inputs, a: np.where(*inputs),
    fusion=Fusion.ELEMENTWISE,
    slope=1,
)

FAMILY = (
    binary("equal", te.equal, np.equal, dtypes=(*NUMBER, "bool"), output="bool"),
    binary("greater", lambda x, y: x > y, np.greater, dtypes=NUMBER, output="bool"),
    binary("less", lambda x, y: x < y, np.less, dtypes=NUMBER, output="bool"),
    binary("greater_or_equal", lambda x, y: x >= y, np.greater_equal, dtypes=NUMBER, output="bool"),
    binary("less_or_equal", lambda x, y: x <= y, np.less_equal, dtypes=NUMBER, output="bool"),
    WHERE,
)
