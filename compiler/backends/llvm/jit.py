"""Linking object code into this process, and the caches: by the text of the module, in memory and on disk."""

from __future__ import annotations

import contextlib
import ctypes.util
import hashlib
import itertools
from functools import cache, lru_cache

import llvmlite.binding as llvm

from vdla.compiler.backends.llvm import outline, thread_pool
from vdla.compiler.backends.llvm.target import Target, host_target, object_code, target_machine
from vdla.files import cache_folder, keep

DIGEST_BYTES = hashlib.sha256().digest_size
_serial = itertools.count()


@cache
def _jit() -> llvm.LLJIT:
    if library := ctypes.util.find_library("m"):
        llvm.load_library_permanently(library)
    return llvm.create_lljit_compiler(target_machine(host_target()))


def cached_object(assembly: str, target: Target) -> bytes:
    """`object_code`, remembered on disk under a hash of all it is made from, behind a hash of itself.

    A cache that cannot be read or written, and an entry that is damaged, are passed over.
    """
    version = ".".join(map(str, llvm.llvm_version_info))
    key = hashlib.sha256("\0".join([version, target.triple, target.cpu, target.features, assembly]).encode()).hexdigest()
    folder = cache_folder("objects")
    if folder is None:
        return object_code(assembly, target)
    path = folder / f"{key}.obj"
    with contextlib.suppress(OSError):
        kept = path.read_bytes()
        if hashlib.sha256(kept[DIGEST_BYTES:]).digest() == kept[:DIGEST_BYTES]:
            return kept[DIGEST_BYTES:]
    code = object_code(assembly, target)
    keep(path, hashlib.sha256(code).digest() + code)
    return code


@lru_cache(maxsize=1024)
def load_function(assembly: str, name: str, target: Target) -> tuple[llvm.ResourceTracker, int]:
    """Compile a module for this machine and link it: the tracker that keeps it loaded, and the address of `name`."""
    library = llvm.JITLibraryBuilder().add_object_img(cached_object(assembly, target)).add_current_process()
    library.import_symbol(outline.PARALLEL_FOR, thread_pool.ADDRESS).export_symbol(name)
    tracker = library.link(_jit(), f"vdla{next(_serial)}")
    return tracker, tracker[name]
