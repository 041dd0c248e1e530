"""Process replay: do two checkouts compile the zoo to the same programs and report the same results?

    python tests/replay/compare_checkouts.py ../before .
    python tests/replay/compare_checkouts.py ../before . --model digits --design tiny --design pynq_z1

A refactoring proves itself with it. Every zoo network is compiled for every shipped design, with and without latency hiding,
and run; compared are the bytes of each program (instructions, constants, addresses, slots, layers) and the JSON of
`vdla run --json` but for wall times, the command and the design's hashes. Exit code 1 when anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PACKAGES = ("isa", "sim", "hw", "designs", "compiler")
"""Folders beside vdla/ that are its subpackages (pyproject's package-dir)."""
IGNORED = ("wall", "provenance.design_hash", "provenance.build_hash", "provenance.command")


def package_links(checkout: Path, folder: Path) -> Path:
    """A folder from which `import vdla` finds the sources of `checkout`, whatever is installed."""
    package = folder / "vdla"
    package.mkdir(parents=True)
    for entry in (checkout / "vdla").iterdir():
        (package / entry.name).symlink_to(entry)
    for name in PACKAGES:
        (package / name).symlink_to(checkout / name)
    return folder


def worker(model: str, design: str) -> None:
    """In a process of one checkout: print digests and results of one network on one design as JSON."""
    import hashlib
    from dataclasses import asdict

    import vdla

    assert Path(str(vdla.__file__)).is_relative_to(Path.cwd()), f"another installation was imported: {vdla.__file__}"
    from vdla.flows import CompileOptions, run_model

    def digest(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()[:16]

    found = {}
    for hiding in (True, False):
        run = run_model(model, design, CompileOptions(latency_hiding=hiding))
        facts = {}
        for k, program in enumerate(run.model.programs):
            constants = {f"constant {s.name} at {s.address}": digest(s.data.tobytes()) for s in program.segments}
            facts[f"program {k}"] = {
                "instructions": f"{len(program.words)} {digest(program.words.tobytes())}",
                "dram_bytes": program.dram_bytes,
                "inputs": [asdict(slot) for slot in program.inputs],
                "outputs": [asdict(slot) for slot in program.outputs],
                "layers": [asdict(layer) for layer in program.layers],
                **constants,
            }
        found["hiding" if hiding else "serial"] = {**facts, "report": run.report.json()}
    print(json.dumps(found))


def facts_of(links: Path, model: str, design: str) -> dict[str, object]:
    """What `worker` finds in the checkout behind `links`, flattened to path → value."""
    command = [sys.executable, __file__, "--worker", model, design]
    environment = {**os.environ, "PYTHONPATH": str(links)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=links, check=False)
    if done.returncode:
        raise SystemExit(f"{model} on {design} failed in {(links / 'vdla' / 'isa').resolve().parent}:\n{done.stderr}")
    return {path: value for path, value in flattened(json.loads(done.stdout)).items() if not path.endswith(IGNORED)}


def flattened(value: object, path: str = "") -> dict[str, object]:
    """Leaves of nested JSON by dotted path; subtrees named in IGNORED are left out."""
    if path.endswith(IGNORED):
        return {}
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flattened(item, f"{path}.{key}" if path else str(key)).items()}
    if isinstance(value, list):
        return {k: v for i, item in enumerate(value) for k, v in flattened(item, f"{path}[{i}]").items()}
    return {path: value}


def compare(before: Path, after: Path, model: str, design: str) -> list[str]:
    """The differences of one network on one design, a line each."""
    with ThreadPoolExecutor(2) as pool:
        old, new = pool.map(lambda links: facts_of(links, model, design), (before, after))
    lines = []
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            lines.append(f"{model} on {design}: {path}: {old.get(path, 'absent')} → {new.get(path, 'absent')}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("--model", action="append", help="a zoo network (default: all); repeatable")
    parser.add_argument("--design", action="append", help="a shipped design (default: all); repeatable")
    parser.add_argument("--most", type=int, default=20, metavar="N", help="differences shown of each pair (default 20)")
    options = parser.parse_args()
    models = options.model or ["digits", "mobilenet", "resnet18"]
    designs = options.design or sorted(path.stem for path in (options.before / "designs").glob("*.yaml"))
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        checkouts = {"before": options.before, "after": options.after}
        links = [package_links(checkout.resolve(), Path(folder) / name) for name, checkout in checkouts.items()]
        for model in models:
            for design in designs:
                lines = compare(*links, model, design)
                differing += bool(lines)
                print(f"{model} on {design}: {f'{len(lines)} differences' if lines else 'the same'}", flush=True)
                print("".join(f"  {line}\n" for line in lines[: options.most]), end="", flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        raise SystemExit(main())
