"""VDLA: a co-design toolkit for deep-learning accelerators.

    design = vdla.load_design("pynq_z1")
    module = vdla.compile("model.onnx", design)
    result = module.run({"x": x})

Imports are lazy so that `vdla --help` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from vdla.version import __version__ as __version__

__all__ = ["Design", "VdlaError", "compile", "from_torch", "load", "load_design", "prepare"]

if TYPE_CHECKING:
    from vdla.design import Design
    from vdla.design_file import load_design
    from vdla.errors import VdlaError
    from vdla.flows import compile, load, prepare
    from vdla.torch_export import from_torch

_HOMES = {
    "Design": "vdla.design",
    "load_design": "vdla.design_file",
    "VdlaError": "vdla.errors",
    "compile": "vdla.flows",
    "from_torch": "vdla.torch_export",
    "load": "vdla.flows",
    "prepare": "vdla.flows",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'vdla' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
