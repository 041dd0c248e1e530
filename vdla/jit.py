"""The one decorator of compiled functions, and where their machine code is kept between processes.

Numba throws away a kept function when its own source file changes, but not when a constant it imports or a function it
calls does. So the functions of a package live in a folder of the cache named by a hash of every source they can depend on:
the modules of their own package that compile something, and the constants of the instruction set and of the timing contract.
Within it Numba keeps processors apart. A test holds the rule.

Imports Numba: to be imported by modules of kernels only, which are themselves imported when they are needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from inspect import isfunction
from pathlib import Path
from typing import Any

import numba
from numba import njit

from vdla.files import cache_folder, keep_newest

CONSTANTS = ("definition.py", "timing.py")
"""Modules of vdla.isa that compiled functions of any package may import from."""
KEPT = 12
"""Folders in the cache: a few states of the sources of each package."""

_config: Any = numba.config


def jit(what: Any = None, **options: Any) -> Any:
    """Compile a function without the interpreter lock, and keep its code for the next process.

    `@jit`: on its first call. `@jit(signature, **options)`: at once, for the types of `signature`; options as of
    `numba.njit`. With NUMBA_DISABLE_JIT it stays what it was.
    """
    if isfunction(what):
        return _kept(what, njit(nogil=True)(what))
    return partial(_compiled, signature=what, options=options)


def _compiled(function: Callable[..., Any], signature: Any, options: dict[str, Any]) -> Any:
    dispatcher = _kept(function, njit(nogil=True, **options)(function))
    if signature is not None and dispatcher is not function:
        dispatcher.compile(signature)
        dispatcher.disable_compile()
    return dispatcher


def _kept(function: Callable[..., Any], dispatcher: Any) -> Any:
    folder = machine_code_folder(Path(function.__code__.co_filename).parent)
    if folder is None or dispatcher is function:
        return dispatcher
    saved, _config.CACHE_DIR = _config.CACHE_DIR, str(folder)
    try:
        dispatcher.enable_caching()
    finally:
        _config.CACHE_DIR = saved
    return dispatcher


@cache
def machine_code_folder(package: Path) -> Path | None:
    """Where the code of the functions defined in the folder `package` is kept; None when nothing can be."""
    parent = cache_folder("numba")
    if parent is None:
        return None
    folder = parent / f"{package.name}-{source_hash(package)}"
    try:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(folder)
    if new:
        keep_newest(parent, KEPT)
    return folder


def source_hash(package: Path) -> str:
    """Over all that the functions of `package` are compiled from, and what compiles them."""
    digest = hashlib.sha256(f"numba {numba.__version__}".encode())
    for path in sources(package):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def sources(package: Path) -> Iterator[Path]:
    """This module, those of `package` that compile something, and the constants."""
    yield Path(__file__)
    isa = importlib.util.find_spec("vdla.isa")
    assert isa is not None and isa.origin is not None
    yield from (Path(isa.origin).parent / name for name in CONSTANTS)
    yield from (path for path in sorted(package.glob("*.py")) if b"jit" in path.read_bytes())
