"""The proofs hold, and each can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdla.hw.formal.proofs import FORMAL, PROOFS, Proof, ProofFailed, run_proof, sby_text

ALL = [pytest.param(proof, id=proof.title, marks=[pytest.mark.slow] if proof.slow else []) for proof in PROOFS]

MUTANTS = (
    ("fifo", "more_q && count_q != 2;", "more_q;"),
    ("token", "available <= count_q != ONE;", "available <= 1'b1;"),
    ("bursts", "&& !low_sum[BLOCK]", ""),
    ("read_requests", "flying_q != OUTSTANDING - 1", "flying_q != OUTSTANDING"),
    ("arbiter", "wire [2:0] unit  = held_q ? unit_q : first;", "wire [2:0] unit  = first;"),
    ("store", "behind_q <= !ahead_q;", "behind_q <= 1'b0;"),
    ("store_transfers", "(pending_q || !halt)", "!halt"),
    ("store_transfers", "behind_q <= !ahead_q;", "behind_q <= 1'b0;"),
    ("store_transfers", "ends_block_q <= next_place == FULL;", "ends_block_q <= 1'b0;"),
    ("store_transfers", "read_last_q <= ends_burst;", "read_last_q <= ends_row;"),
    ("store_transfers", "one_q    <= flying_q == 2;", "one_q    <= flying_q[1];"),
    ("store_transfers", "space_q <= !held_d[2];", "space_q <= !held_q[2];"),
    ("store_transfers", "last_row_q  <= rows_q == 1;", "last_row_q  <= rows_q == 0;"),
    ("fetch", "(ar_fire ? OUTSTANDING - 1 : OUTSTANDING)", "OUTSTANDING"),
    ("run_control", "halt     <= rst || clears ||", "halt     <= rst ||"),
    ("store_transfers", "entries_q > room_q", "entries_q >= room_q"),
    ("registers", "!chosen_q && !r_valid;", "!chosen_q;"),
)
"""Mistakes for the proofs to find: the proof, text of the RTL and what to put in its place."""


@pytest.mark.parametrize("proof", ALL)
def test_proof(proof: Proof, tmp_path: Path) -> None:
    run_proof(proof, tmp_path)


@pytest.mark.parametrize(("name", "text", "mistake"), MUTANTS, ids=[f"{name}-{mistake}" for name, _, mistake in MUTANTS])
def test_a_mistake_is_found(name: str, text: str, mistake: str, tmp_path: Path) -> None:
    proof = next(p for p in PROOFS if p.name == name and p.mode != "cover")
    with pytest.raises(ProofFailed, match=r"(?s)fails.*Assert failed"):
        run_proof(proof, tmp_path, replace=(text, mistake))


def test_every_proof_has_a_mistake() -> None:
    assert {proof.name for proof in PROOFS} == {name for name, _, _ in MUTANTS}


def test_every_proof_is_run() -> None:
    assert {path.stem.removesuffix("_proof") for path in FORMAL.glob("*_proof.v")} == {proof.name for proof in PROOFS}
    checkers = {name for proof in PROOFS for name in proof.checkers}
    contracts = {name for proof in PROOFS for name in proof.contracts}
    assert {path.stem.removeprefix("check_") for path in FORMAL.glob("check_*.v")} == checkers
    assert {path.stem.removeprefix("contract_") for path in FORMAL.glob("contract_*.v")} == contracts


def test_the_task_names_its_parameters() -> None:
    proof = Proof("fifo", "prove", 3, ("fifo",), parameters={"DEPTH": 8})
    text = sby_text(proof, ["fifo_proof.v", "vdla_isa.vh"])
    assert "hierarchy -check -top fifo_proof -chparam DEPTH 8" in text
    assert "read_verilog -formal -I. fifo_proof.v\n" in text
    assert proof.title == "fifo-prove3-depth8"
