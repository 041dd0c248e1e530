"""Machines to compile for, optimisation and object code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

from vdla.errors import CompileError

EXAMPLES = "such as armv7-unknown-linux-gnueabihf, aarch64-unknown-linux-gnu or x86_64-unknown-linux-gnu"


@dataclass(frozen=True, slots=True)
class Target:
    """A machine: triple, CPU name ("" for the triple's baseline) and features ("+avx2,…"), and what follows for kernels.

    A triple without a vendor, as compilers are called by (`arm-linux-gnueabihf`), is taken too; `triple` is the full form.
    Raises `CompileError` for one that does not name a machine LLVM compiles for.
    """

    triple: str
    cpu: str = ""
    features: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "triple", full_triple(self.triple))

    @property
    def architecture(self) -> str:
        """LLVM's name of the family: x86_64, aarch64, arm …"""
        return llvm.get_triple_parts(self.triple).Arch

    @property
    def vector_bytes(self) -> int:
        """Width of the vector registers worth using."""
        if "+avx512f" in self.features:
            return 64
        return 32 if "+avx2" in self.features else 16

    @property
    def lanes(self) -> int:
        """Elements of 32 bits in a vector register."""
        return self.vector_bytes // 4

    @property
    def vector_registers(self) -> int:
        """Vector registers of that width that code can name."""
        return 32 if self.architecture == "aarch64" or "+avx512f" in self.features else 16

    @property
    def cache_bytes_per_cycle(self) -> int:
        """What the second-level cache streams, about: measured on x86 servers, for Arm the width of the cache's bus."""
        return 20 if self.architecture.startswith("x86") else 8

    @property
    def multiplies_bytes(self) -> bool:
        """Whether one instruction multiplies four bytes in each lane of a 512-bit register and adds them up (VNNI)."""
        return "+avx512vnni" in self.features

    @property
    def converts_half(self) -> bool:
        """Whether the processor is known to convert float16 itself; else LLVM would call a function of its runtime library."""
        return self.architecture == "aarch64" or self.architecture.startswith("x86") and "+f16c" in self.features


@cache
def full_triple(triple: str) -> str:
    """`triple` with its vendor. LLVM's code generators read a triple by position: in `armv7-linux-gnueabihf` they would take
    the environment, which holds Arm's calling convention, for the system, and pass floats in the wrong registers."""
    parts, pieces = llvm.get_triple_parts(triple), triple.split("-")
    environment = parts.Env != "unknown"
    if parts.Arch == "unknown" or not environment and (parts.OS == "unknown" or parts.Arch in ("arm", "thumb")):
        raise CompileError("not the triple of a machine", found=triple, expected=EXAMPLES)
    if len(pieces) < 3 + environment:
        pieces.insert(1, "unknown")
    return "-".join(pieces)


@cache
def host_target() -> Target:
    """This machine, with all it can do."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return Target(llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())


@cache
def _initialize_all() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@cache
def target_machine(target: Target) -> llvm.TargetMachine:
    """Raises `CompileError` for a triple LLVM does not know."""
    if target != host_target():
        _initialize_all()
    try:
        found = llvm.Target.from_triple(target.triple)
    except RuntimeError as error:
        raise CompileError("LLVM cannot compile for this triple", found=target.triple, expected=EXAMPLES) from error
    return found.create_target_machine(cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="default")


def object_code(assembly: str, target: Target) -> bytes:
    """LLVM assembly → a relocatable object file."""
    machine = target_machine(target)
    return machine.emit_object(_optimised(assembly, target))


def assembly_code(assembly: str, target: Target) -> str:
    """LLVM assembly → the machine's assembly text, for people."""
    return target_machine(target).emit_assembly(_optimised(assembly, target))


def data_layout(target: Target) -> llvm.TargetData:
    """Sizes and alignments of pointers and numbers in the machine's memory; `str` of it is LLVM's text form."""
    return target_machine(target).target_data


def _optimised(assembly: str, target: Target) -> llvm.ModuleRef:
    """The default pipeline at level 2, vectorising loops but not straight-line code (vectorised loops are vectors already)."""
    machine = target_machine(target)
    module = llvm.parse_assembly(assembly)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.loop_interleaving = True
    options.slp_vectorization = False
    options.loop_unrolling = False  # schedules unroll
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module
