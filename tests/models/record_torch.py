"""`make torch-exports`: every family of torch_modules.py at full size through both exporters, against PyTorch's own numbers.

    python tests/models/record_torch.py [--filter resnet] [--docs docs/models.md]

A network that is refused, or further off than the tolerance, is named, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from model_page import replace, table, where_and_when
from torch_check import EXPORTERS, TOLERANCE, Compared, compare
from torch_modules import FAMILIES, FULL, built

from vdla.errors import VdlaError

COLUMNS = (
    "network",
    "exporter",
    ">operators",
    ">largest difference",
    ">relative error",
    ">export s",
    ">import + compile s",
    ">ms a run",
)


def compared(name: str, exporter: str) -> Compared | str:
    """Or why there is no result."""
    try:
        return compare(*built(name, FULL), exporter)
    except (VdlaError, AssertionError) as error:
        return " ".join(str(error).split()) or type(error).__name__


def row(name: str, exporter: str, found: Compared | str) -> list[str]:
    if isinstance(found, str):
        return [name, exporter, "", found, "", "", "", ""]
    differences = [f"{found.largest:.1e}", f"{found.relative:.1e}"]
    seconds = [f"{found.export_s:.1f}", f"{found.first_s:.1f}", f"{1e3 * found.run_s:.1f}"]
    return [name, exporter, str(found.operators), *differences, *seconds]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="a regular expression of families")
    parser.add_argument("--docs", type=Path, help="the page whose table is replaced")
    options, begun = parser.parse_args(), where_and_when()
    os.environ["VDLA_CACHE"] = ""  # seconds of compilation are those of the first time
    rows, failed = [], []
    for name in filter(re.compile(options.filter).search, FAMILIES):
        for exporter in EXPORTERS:
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                found = process.submit(compared, name, exporter).result()
            rows.append(row(name, exporter, found))
            good = isinstance(found, Compared) and found.largest < TOLERANCE
            failed += [] if good else [f"{name} by {exporter}"]
            print(f"{'' if good else 'FAILED '}{' | '.join(rows[-1])}", flush=True)
    summary = f"{len(rows) - len(failed)} of {len(rows)} agree with PyTorch {torch.__version__}."
    print(summary, *(f"\n  failed: {what}" for what in failed))
    if options.docs:
        replace(options.docs, "make torch-exports", f"{begun} {summary}\n\n{table(COLUMNS, rows)}")
    return int(bool(failed) or not rows)


if __name__ == "__main__":
    sys.exit(main())
