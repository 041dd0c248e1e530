"""The container of .vprog and .vdla files: a zip of one JSON manifest and numbered NumPy arrays.

Equal contents are equal bytes. Reading trusts nothing: whatever is wrong with a file is one `RunError`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vdla.errors import RunError, VdlaError
from vdla.files import reason

FORMAT = 5
BYTES_MAX = 1 << 33
"""Of all entries unpacked, so that a small file cannot fill the memory."""
MANIFEST = "manifest.json"
EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip entry has a date; a fixed one, so that equal modules are equal files
T = TypeVar("T")


class Writer:
    """Collects arrays by number and closes the archive with the manifest."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []

    def array(self, value: np.ndarray) -> int:
        """The number under which the manifest refers to `value`."""
        self.arrays.append(np.asarray(value))
        return len(self.arrays) - 1

    def finish(self, kind: str, manifest: dict[str, Any]) -> bytes:
        raw = io.BytesIO()
        with zipfile.ZipFile(raw, "w") as archive:
            for k, value in enumerate(self.arrays):
                buffer = io.BytesIO()
                np.save(buffer, value, allow_pickle=False)
                archive.writestr(_entry(f"{k}.npy"), buffer.getvalue(), compresslevel=1)
            text = json.dumps({"kind": kind, "format": FORMAT, **manifest}, sort_keys=True)
            archive.writestr(_entry(MANIFEST), text, compresslevel=1)
        return raw.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EARLIEST)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


class Reader:
    """The manifest and the arrays it refers to."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self.archive = path, archive
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > BYTES_MAX:
            raise RunError(
                "the file unpacks to too much", where=str(path), found=unpacked, expected=f"at most {BYTES_MAX} bytes"
            )
        self.manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))

    def array(self, number: int) -> np.ndarray:
        return np.load(io.BytesIO(self.archive.read(f"{int(number)}.npy")), allow_pickle=False)

    def expect(self, *kinds: str) -> str:
        """The kind of file, one of `kinds`."""
        kind, form = self.manifest["kind"], self.manifest["format"]
        if kind not in kinds:
            raise RunError("another kind of file", where=str(self.path), found=kind, expected=" or ".join(kinds))
        if form != FORMAT:
            hint = "compile the model again with this version of vdla"
            raise RunError("another version of the format", where=str(self.path), found=form, expected=str(FORMAT), hint=hint)
        return kind


def read_archive(path: Path, read: Callable[[Reader], T]) -> T:
    """What `read` makes of the file. Whatever goes wrong in it becomes one `RunError`."""
    try:
        if path.exists() and not path.is_file():
            raise RunError("not a file", where=str(path), expected="a .vprog or .vdla file")
        with zipfile.ZipFile(path) as archive:
            return read(Reader(path, archive))
    except RunError:
        raise
    except VdlaError as error:
        raise RunError(f"damaged file: {error}", where=str(path), hint="compile the model again") from None
    except OSError as error:
        hint = "vdla compile MODEL -o FILE.vdla"
        raise RunError(
            f"cannot read the file ({reason(error)})", where=str(path), expected="a readable file", hint=hint
        ) from None
    except Exception as error:  # noqa: BLE001 - zipfile, zlib, json and numpy each raise their own on a damaged file
        raise RunError(
            f"not a VDLA program or module, or damaged ({type(error).__name__})",
            where=str(path),
            expected="a .vprog or .vdla file written by this version",
            hint="vdla compile MODEL -o FILE.vdla",
        ) from None
