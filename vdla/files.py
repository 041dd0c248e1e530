"""Writing files whole or not at all, beside the target first and then renamed onto it; and the cache.

Everything kept between runs lies in one folder, by kind: objects, rtl, cocotb, synth, numba. Losing any of it costs time only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vdla.errors import OutputError


def write_file(path: Path | str, data: bytes | str) -> Path:
    """Write `data`, or leave what was there. A link is followed; a device or pipe is written to directly.

    Raises `OutputError` when the folder cannot be written or the disk is full.
    """
    path = Path(path)
    raw = data.encode() if isinstance(data, str) else data
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(raw)
        else:
            _replace(Path(os.path.realpath(path)), raw)
    except OSError as error:
        raise OutputError(
            f"cannot write the file ({reason(error)})", where=str(path), hint="another folder, or free some space"
        ) from None
    return path


def _replace(path: Path, raw: bytes, *, durable: bool = True) -> None:
    with replacing(path, durable=durable) as file:
        file.write(raw)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file beside `path` to write to, renamed onto it at the end. Whatever interrupts it, Ctrl-C too, leaves no file behind.

    durable: on the disk before it is renamed, so that not even a power failure leaves half a file. Raises `OSError`.
    """
    if path.is_dir():  # before the data is written to disk, not after
        raise IsADirectoryError(21, "it is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def require_writable_folder(path: Path | str) -> None:
    """See that files can be made in `path`, before long work is done for them. Nothing is left behind.

    Raises `OutputError` when `path`, or the folder it would be created in, cannot be written.
    """
    folder = Path(os.path.abspath(path))
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(20, f"{folder} is a file, not a folder")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write into the folder ({reason(error)})", where=str(path), hint="another folder") from None


def require_writable_file(path: Path | str) -> None:
    """`require_writable_folder` for the folder of `path`, which is not itself a folder."""
    if Path(path).is_dir():
        raise OutputError("cannot write the file (it is a folder)", where=str(path), hint="a file name inside it")
    require_writable_folder(Path(path).parent)


def reason(error: OSError) -> str:
    """The system's words for what went wrong."""
    return error.strerror or type(error).__name__


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def cache_folder(kind: str) -> Path | None:
    """Where things of one `kind` are kept between runs: below VDLA_CACHE, or vdla in the user's cache folder; None when
    VDLA_CACHE is empty: nothing is kept."""
    chosen = os.environ.get("VDLA_CACHE")
    if chosen is not None:
        return Path(chosen) / kind if chosen else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vdla" / kind


def keep(path: Path, data: bytes) -> bool:
    """Write an entry of the cache whole, for other processes to find. False when that cannot be: the folder cannot be written
    or the disk is full. The work that needed the entry goes on without it."""
    try:
        _replace(path, data, durable=False)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Of several processes that want the same entry of the cache, one makes it and the others wait. `path`: a file for the
    lock, beside the entry. Where there can be none, nobody waits."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(open(path, "w", encoding="utf-8")), fcntl.LOCK_EX)
        yield


def keep_newest(folder: Path, count: int) -> None:
    """Forget all folders in `folder` but the `count` last touched: a cache of what can be made again stays small.

    Whoever uses an entry touches it (`os.utime`). What cannot be removed stays.
    """

    def touched(path: Path) -> float:
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
        return 0.0

    try:
        entries = sorted((path for path in folder.iterdir() if path.is_dir()), key=touched, reverse=True)
    except OSError:
        return
    for old in entries[count:]:
        shutil.rmtree(old, ignore_errors=True)
