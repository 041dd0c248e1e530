"""Files of a model's tensors: an .npz of arrays by name, in the order in which they were computed.

`about` is an array of one string, JSON: whose tensors they are, and why others are missing.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vdla.element_types import ELEMENT_TYPES
from vdla.errors import OutputError, RunError, VdlaError
from vdla.files import reason, replacing

ABOUT = "vdla:about"
LEVELS = "levels:"
"""Before the name of a tensor that was computed as int8: its levels. Under the name itself are the values they stand for."""
EXPECTED = "an .npz of tensors, as `vdla run --save-tensors` or numpy.savez write it"


@dataclass
class TensorWriter:
    """Writes each tensor as it comes, and none twice. What NumPy's files have no type for is widened: bfloat16 to float32, int4
    to int8."""

    archive: zipfile.ZipFile
    names: list[str] = field(default_factory=list)

    def add(self, name: str, value: np.ndarray) -> None:
        if name not in self.names:
            self.names.append(name)
            self._write(name, value)

    def about(self, facts: Mapping[str, Any]) -> None:
        self._write(ABOUT, np.array(json.dumps(facts)))

    def _write(self, name: str, value: np.ndarray) -> None:
        with self.archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, _storable(value), allow_pickle=False)


def _storable(value: np.ndarray) -> np.ndarray:
    element = ELEMENT_TYPES.get(str(value.dtype))
    if element is None or element.native:
        return value
    return value.astype(np.float32 if element.is_float else element.storage)


@contextmanager
def writing(path: Path) -> Iterator[TensorWriter]:
    """The file, whole or not at all. Raises `OutputError` when it cannot be written."""
    try:
        with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
            yield TensorWriter(archive)
    except OSError as error:
        raise OutputError(f"cannot write the tensors ({reason(error)})", where=str(path), hint="another folder") from None


class TensorFile:
    """A file of tensors that was opened. names: in the order of the file.

    Raises `RunError` when it is no .npz, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._told():
            if path.exists() and not path.is_file():
                raise RunError("not a file", where=str(path), expected=EXPECTED)
            with zipfile.ZipFile(path):  # numpy.load would take an .npy too, and give an array
                pass
            self.archive: Any = np.load(path, allow_pickle=False)
            self.names = [name for name in self.archive.files if name != ABOUT]

    def __getitem__(self, name: str) -> np.ndarray:
        """Read now. Raises `RunError` when it is not an array, or damaged."""
        with self._told():
            value = self.archive[name]
        if not isinstance(value, np.ndarray):
            raise RunError("not an array", where=str(self.path), found=name, expected=EXPECTED)
        return value

    def close(self) -> None:
        self.archive.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Whatever goes wrong in the file as one `RunError` naming it."""
        where = str(self.path)
        try:
            yield
        except VdlaError:
            raise
        except OSError as error:
            raise RunError(f"cannot read the tensors ({reason(error)})", where=where, expected=EXPECTED) from None
        except Exception as error:  # noqa: BLE001 - numpy and zipfile raise many kinds on a damaged file
            what = f"not a file of tensors, or damaged ({type(error).__name__})"
            raise RunError(what, where=where, expected=EXPECTED) from None
