"""Text for people and for programs: names that fit, and JSON that any reader accepts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(document: Any) -> str:
    """One indented document, ending with a line break. Numbers that JSON cannot write (NaN, infinity) become null."""
    return json.dumps(plain(document), indent=2, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """`value` of mappings, sequences, NumPy scalars and arrays as what JSON knows; anything else as its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def shortened(name: str, width: int) -> str:
    """`name`, its middle left out when it is longer than `width`."""
    if len(name) <= width:
        return name
    head = (width - 1) * 2 // 3
    return f"{name[:head]}…{name[head + 1 - width :]}"


def duration(seconds: float) -> str:
    """Three digits of it, in ms or µs."""
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"
