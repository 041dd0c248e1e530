"""The one decorator of compiled functions, and where their machine code is kept between processes.

Numba throws away a cached function when its own source file changes, but not when a constant it imports or a function it
calls does. So the cache lives in a folder named by a hash of every source that a compiled function can depend on.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import njit

import vdla.isa.definition as definition

_config: Any = numba.config


def jit(function: Callable[..., Any]) -> Any:
    """Compile `function` on its first call, without the interpreter lock, and keep the code for the next process."""
    dispatcher = njit(nogil=True)(function)
    saved, folder = _config.CACHE_DIR, cache_folder()
    if folder is None:
        return dispatcher
    _config.CACHE_DIR = str(folder)
    try:
        dispatcher.enable_caching()
    finally:
        _config.CACHE_DIR = saved
    return dispatcher


@cache
def cache_folder() -> Path | None:
    """Beside the sources, else in the user's cache, else None: nothing is kept."""
    name = f"vdla-{_source_hash()}"
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vdla"
    for parent in (Path(_config.CACHE_DIR or Path(__file__).parent / "__pycache__"), user):
        try:
            (parent / name).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=parent / name).close()
            return parent / name
        except OSError:
            continue
    return None


def _source_hash() -> str:
    """Over the modules of this package that define compiled functions, and the numbers of the instruction set."""
    digest = hashlib.sha256(f"numba {numba.__version__}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source = path.read_bytes()
        if b"jit" in source:
            digest.update(source)
    digest.update(Path(definition.__file__).read_bytes())
    return digest.hexdigest()[:16]
