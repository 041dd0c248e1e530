"""Machines to compile for, optimisation and object code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

from vdla.errors import CompileError


@dataclass(frozen=True, slots=True)
class Target:
    """What LLVM needs to know of a machine: triple, CPU name ("" for the triple's baseline) and features ("+avx2,…")."""

    triple: str
    cpu: str = ""
    features: str = ""

    @property
    def vector_bytes(self) -> int:
        """Width of the vector registers worth using."""
        if "+avx512f" in self.features:
            return 64
        return 32 if "+avx2" in self.features else 16


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
        expected = "such as armv7-linux-gnueabihf"
        raise CompileError("LLVM cannot compile for this triple", found=target.triple, expected=expected) from error
    return found.create_target_machine(cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="default")


def object_code(assembly: str, target: Target) -> bytes:
    """LLVM assembly → a relocatable object file."""
    machine = target_machine(target)
    return machine.emit_object(_optimised(assembly, target))


def assembly_code(assembly: str, target: Target) -> str:
    """LLVM assembly → the machine's assembly text, for people."""
    return target_machine(target).emit_assembly(_optimised(assembly, target))


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
