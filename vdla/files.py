"""Writing files whole or not at all: beside the target first, then renamed onto it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from vdla.errors import OutputError


def write_file(path: Path | str, data: bytes | str) -> Path:
    """Write `data`, or leave what was there. Raises `OutputError` when the folder cannot be written or the disk is full."""
    path = Path(path)
    raw = data.encode() if isinstance(data, str) else data
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise OutputError(
            f"cannot write the file ({error.strerror or type(error).__name__})",
            where=str(path),
            hint="another folder, or free some space",
        ) from None
    return path


def require_writable_folder(path: Path | str) -> Path:
    """Create `path` if need be and see that a file can be made in it, before long work is done for it."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write into the folder ({error.strerror or type(error).__name__})", where=str(folder), hint="another folder"
        ) from None
    return folder


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
