"""`make zoo`: every network of the zoo on a design and on this machine's CPU, by the command line.

    python tests/models/record_zoo.py [--design pynq_z1] [--filter resnet] [--docs docs/models.md]

A network that is refused, not bit-exact, or on the CPU not what the reference computes is named, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from model_page import replace, table, where_and_when

from vdla.zoo import zoo_models

COLUMNS = (
    "network",
    "what it is",
    ">MMAC on the accelerator",
    ">of all",
    ">operators there",
    ">on the host",
    ">in between",
    ">cycles",
    ">ms",
    "bit-exact",
    ">int8 error",
    ">CPU ms, float",
    ">CPU error",
)


def run(name: str, *options: str) -> dict[str, Any] | str:
    """The document of `vdla run`, or what it said on the way out."""
    command = [sys.executable, "-m", "vdla.cli", "run", name, "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()


def cells(accelerator: dict[str, Any] | str, cpu: dict[str, Any] | str) -> list[str]:
    """Of the row of a network, without its name; what failed says so where its figures would be."""
    if isinstance(accelerator, str):
        left = ["", "", "", "", "", accelerator, "", "no", ""]
    else:
        placed = [layer for layer in accelerator["layers"] if layer["target"] == "vdla"]
        macs, of_all = (sum(layer["macs"] for layer in layers) for layers in (placed, accelerator["layers"]))
        counts = [f"{macs / 1e6:,.1f}", f"{macs / of_all:.1%}", str(len(placed)), str(len(accelerator["layers"]) - len(placed))]
        counts.append(str(in_between([layer["target"] for layer in accelerator["layers"]])))
        speed = [f"{accelerator['cycles']:,}", f"{accelerator['ms']:.2f}"]
        exact = f"{accelerator['exact_layers']} of {accelerator['compared_layers']}"
        left = [*counts, *speed, exact, f"{accelerator['rel_err']:.3f}"]
    right = [cpu, ""] if isinstance(cpu, str) else [f"{1e3 * cpu['seconds']:.1f}", f"{cpu['rel_err']:.1e}"]
    return [*left, *right]


def in_between(targets: list[str]) -> int:
    """Operators that the host runs after the first of the accelerator's layers and before the last."""
    there = [place for place, target in enumerate(targets) if target == "vdla"]
    return sum(target != "vdla" for target in targets[there[0] : there[-1]]) if there else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--design", default="pynq_z1")
    parser.add_argument("--filter", default="", help="a regular expression of names")
    parser.add_argument("--docs", type=Path, help="the page whose table is replaced")
    options, begun = parser.parse_args(), where_and_when()
    rows, failed = [], []
    for name, about in zoo_models().items():
        if not re.search(options.filter, name):
            continue
        accelerator, cpu = run(name, "--design", options.design), run(name, "--target", "cpu")
        rows.append([f"`{name}`", about.replace(", seeded weights", ""), *cells(accelerator, cpu)])
        good = not isinstance(accelerator, str) and not isinstance(cpu, str) and accelerator["bit_exact"] and cpu["agrees"]
        failed += [] if good else [name]
        print(f"{'' if good else 'FAILED '}{' | '.join(rows[-1])}", flush=True)
    if options.docs:
        replace(options.docs, "make zoo", f"{begun} On `{options.design}`.\n\n{table(COLUMNS, rows)}")
    return int(bool(failed) or not rows)


if __name__ == "__main__":
    sys.exit(main())
