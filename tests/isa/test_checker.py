"""The checker: good programs pass, every broken one is explained, and a slow twin agrees on random programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from isa_programs import (
    double_buffered,
    double_buffered_uops,
    naive_accesses,
    naive_before,
    naive_queue,
    naive_races,
    program_of,
    random_program,
)

from vdla.design_file import load_design, shipped_designs
from vdla.errors import IsaError, ProblemList
from vdla.isa import (
    FIFOS,
    CheckReport,
    LayerSpan,
    Opcode,
    Program,
    Segment,
    Slot,
    assemble,
    check_program,
    precedence_of,
    queues_of,
)

TINY = load_design("tiny")
TOKEN_BITS = ("pop_prev", "pop_next", "push_prev", "push_next")
LOADED = "LOAD uop sram=0 dram=0 y=1 x=4\n"
UOPS = [(0, 0, 0), (1, 1, 1), (2, 2, 2), (250, 250, 120)]


def check(text: str, uops: list[tuple[int, int, int]] = UOPS, **changes: object) -> CheckReport:
    program = program_of(TINY, assemble(text, TINY), uops)
    return check_program(replace(program, **changes))  # type: ignore[arg-type]


def kinds(report: CheckReport) -> list[str]:
    return sorted({problem.kind for problem in report.problems})


def messages(report: CheckReport) -> str:
    return "\n".join(map(str, report.problems))


# -- good programs and their mutants -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiles", [1, 2, 3, 7, 150])
def test_double_buffering_passes(tiles: int) -> None:
    report = check(double_buffered(tiles), double_buffered_uops())
    assert report.ok, messages(report)
    assert report.require() is report
    assert (report.instructions, report.gemm_uops, report.alu_uops) == (4 * tiles + 2, 4 * tiles, 0)


@pytest.mark.parametrize("name", shipped_designs())
def test_double_buffering_passes_on_every_design(name: str) -> None:
    """64-bit micro-ops, wide tiles, deep SRAMs."""
    design = load_design(name)
    report = check_program(program_of(design, assemble(double_buffered(9), design), double_buffered_uops(), 16 << 20))
    assert report.ok, messages(report)


@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_every_cleared_token_bit_is_caught(tiles: int) -> None:
    columns = assemble(double_buffered(tiles), TINY)
    for bit in TOKEN_BITS:
        for i in np.flatnonzero(columns[bit]):
            mutant = columns.copy()
            mutant[bit][i] = 0
            report = check_program(program_of(TINY, mutant, double_buffered_uops()))
            assert set(kinds(report)) & {"token", "deadlock", "race"}, f"{bit} of instruction {i} of {tiles} tiles"


@pytest.mark.parametrize("tiles", [3, 5])
def test_every_cleared_token_is_caught(tiles: int) -> None:
    """A push and its pop cleared together leave the program balanced: only the order of accesses shows it."""
    columns = assemble(double_buffered(tiles), TINY)
    queue = queues_of(columns)
    for fifo in FIFOS:
        pushes = np.flatnonzero((queue == fifo.producer) & (columns[fifo.push] != 0))
        pops = np.flatnonzero((queue == fifo.consumer) & (columns[fifo.pop] != 0))
        for push, pop in zip(pushes, pops, strict=True):
            mutant = columns.copy()
            mutant[fifo.push][push] = mutant[fifo.pop][pop] = 0
            report = check_program(program_of(TINY, mutant, double_buffered_uops()))
            assert kinds(report) == ["race"], f"token {push}→{pop} of {fifo.name}: {messages(report)}"


def test_a_token_moved_later_is_caught() -> None:
    text = double_buffered(4).splitlines()
    text[1], text[2] = f"{text[1]} push_next", text[2].replace("push_next", "")  # pushed by inp, before wgt is loaded
    report = check("\n".join(text), double_buffered_uops())
    assert kinds(report) == ["race"]
    assert "instruction 3" in messages(report)
    assert "reads wgt[0] with no token to say that instruction 2 `LOAD wgt" in messages(report)


# -- one problem at a time -----------------------------------------------------------------------------------------------

RESET = "GEMM reset uop=0:1 "
BOTH = "LOAD inp sram=0 dram=0 y=1 x=1\nLOAD wgt sram=0 dram=0 y=1 x=1 push_next\n"
PROBLEMS = [
    # fields and structure
    ("STORE out sram=0 dram=400 y=1 x=1 pad=(1,0,0,0)\nFINISH", "field", "STORE has no padding"),
    (LOADED + RESET + "\nALU clip clip=(0,1) use_imm=0 uop=0:1\nFINISH", "field", "CLIP has no tensor operand"),
    (LOADED + RESET + "\nALU lookup uop=0:1\nFINISH", "unwritten", "reads table[0], which nobody wrote"),
    (LOADED, "structure", "does not end with FINISH"),
    ("", "structure", "does not end with FINISH"),
    ("FINISH\nFINISH", "structure", "FINISH before the end"),
    # ranges
    ("LOAD inp sram=250 dram=0 y=1 x=7\nFINISH", "range", "reaches outside inp; found 256; expected 0..255"),
    ("LOAD inp sram=250 dram=0 y=1 x=5 pad=(0,0,1,1)\nFINISH", "range", "reaches outside inp; found 256"),
    ("LOAD wgt sram=127 dram=0 y=2 x=1\nFINISH", "range", "reaches outside wgt; found 128; expected 0..127"),
    ("LOAD acc sram=0 dram=511 y=1 x=2\nFINISH", "range", "reaches outside DRAM; found 8207; expected 0..8191"),
    ("LOAD out sram=0 dram=0 y=3 x=1 stride=1024\nFINISH", "range", "reaches outside DRAM; found 8195"),
    ("LOAD uop sram=255 dram=0 y=1 x=2\nFINISH", "range", "reaches outside uop; found 256"),
    ("LOAD inp sram=0 dram=4294967295 y=8191 x=1 stride=268435455\nFINISH", "range", "reaches outside inp"),
    ("LOAD inp sram=0 dram=4294967295 y=200 x=1 stride=268435455\nFINISH", "range", "reaches outside DRAM"),
    ("STORE out sram=255 dram=0 y=1 x=2\nFINISH", "range", "reaches outside acc; found 256"),
    ("STORE out sram=0 dram=2048 y=1 x=1\nFINISH", "range", "reaches outside DRAM; found 8195"),
    (LOADED + "GEMM reset uop=3:4 loops=(1,7) dst=(0,1)\nFINISH", "range", "reaches outside acc; found 256"),
    (LOADED + "GEMM overwrite uop=3:4 loops=(1,7) src=(0,1)\nFINISH", "range", "reaches outside inp; found 256"),
    (LOADED + "GEMM overwrite uop=3:4 loops=(2,5) wgt=(4,1)\nFINISH", "range", "reaches outside wgt; found 128"),
    (LOADED + "ALU mov uop=3:4 loops=(2,2) src=(5,1)\nFINISH", "range", "reaches outside acc; found 256"),
    (LOADED + "ALU requantise clip=(0,1) uop=3:4 loops=(1,6) src=(0,1)\nFINISH", "range", "reaches outside acc; found 256"),
    (LOADED + "GEMM reset uop=0:5\nFINISH", "range", "uses a micro-op nobody loaded; found 4"),
    ("GEMM reset uop=255:257\nFINISH", "range", "reaches outside uop; found 256"),
    ("LOAD uop sram=0 dram=3 y=1 x=2\nFINISH", "range", "loads a micro-op at DRAM byte 16 that no segment holds"),
    # never written
    (LOADED + "GEMM accumulate uop=0:1\nFINISH", "unwritten", "reads inp[0], which nobody wrote"),
    (LOADED + "GEMM overwrite uop=1:2\nFINISH", "unwritten", "reads wgt[1], which nobody wrote"),
    (LOADED + BOTH + "GEMM accumulate uop=0:1 pop_prev\nFINISH", "unwritten", "reads acc[0], which nobody wrote"),
    (LOADED + RESET + "\nALU add uop=1:2\nFINISH", "unwritten", "reads acc[1], which nobody wrote"),
    (LOADED + RESET + "\nALU rescale uop=0:1\nFINISH", "unwritten", "reads acc[1], which nobody wrote"),
    (LOADED + RESET + "\nALU max imm=0 uop=0:2\nFINISH", "unwritten", "reads acc[1], which nobody wrote"),
    (LOADED + "ALU mov uop=1:2 loops=(3,1) dst=(1,0)\nFINISH", "unwritten", "reads acc[1], which nobody wrote"),
    # tokens
    ("LOAD inp sram=0 dram=0 y=1 x=1 pop_prev\nFINISH", "token", "pop_prev: there is no queue before LOAD"),
    ("LOAD inp sram=0 dram=0 y=1 x=1 push_next\nFINISH", "token", "FIFO load→compute is unbalanced: 1 pushes, 0 pops"),
    ("FINISH pop_prev", "deadlock", "COMPUTE waits for a token from LOAD at instruction 0 `FINISH pop_prev`"),
    ("FINISH push_prev", "token", "FIFO compute→load is unbalanced: 1 pushes, 0 pops"),
]


@pytest.mark.parametrize(("text", "kind", "message"), PROBLEMS)
def test_problems(text: str, kind: str, message: str) -> None:
    report = check(text)
    assert kind in kinds(report)
    assert message in messages(report)
    with pytest.raises(IsaError, match="the program checker refuses"):
        report.require()


def test_a_chain_of_moves_reads_only_what_it_wrote() -> None:
    """acc[1] = acc[0], acc[2] = acc[1], …: each step reads what the one before it wrote."""
    text = LOADED + RESET + "\nALU mov uop=4:5 loops=(1,9) dst=(0,1) src=(0,1)\nFINISH"
    uops = [*UOPS, (1, 0, 0)]
    assert check(text.replace("x=4", "x=5"), uops).ok
    backwards = [*UOPS, (0, 1, 0)]
    assert kinds(check(text.replace("x=4", "x=5"), backwards)) == ["unwritten"]


def test_padding_alone_writes() -> None:
    """A LOAD of no data fills its padding; padded micro-ops are zero and known."""
    text = "LOAD uop sram=0 dram=9999 y=0 x=0 pad=(1,1,1,1)\nLOAD acc sram=0 dram=0 y=0 x=2 pad=(1,1,0,0)\n"
    assert check(text + "ALU add imm=1 uop=0:4 loops=(1,4) dst=(0,1)\nFINISH").ok


def test_empty_loops_touch_nothing() -> None:
    assert check("GEMM accumulate uop=200:200 loops=(1,1)\nALU add uop=9:99 loops=(0,5)\nFINISH").ok


def test_huge_loops_cost_nothing() -> None:
    text = LOADED + "GEMM reset uop=0:3 loops=(16383,16383) src=(255,255)\nFINISH"
    report = check(text)
    assert report.ok, messages(report)
    assert report.gemm_uops == 3 * 16383 * 16383


def test_micro_ops_overwritten_by_a_store_are_unknown() -> None:
    text = (
        LOADED
        + RESET
        + "push_next\nSTORE out sram=0 dram=1 y=1 x=1 pop_prev push_prev\nLOAD uop sram=0 dram=0 y=1 x=2 pop_next\n"
    )
    report = check(text + "GEMM reset uop=0:2\nFINISH")
    assert "DRAM byte 4 that no segment holds or that a STORE has overwritten" in messages(report)


def test_deadlock_is_explained() -> None:
    text = (
        "LOAD inp sram=0 dram=0 y=1 x=1 pop_next push_next\n"
        "LOAD wgt sram=0 dram=0 y=1 x=1\n" + LOADED + "GEMM overwrite uop=0:1 pop_prev push_prev push_next\n"
        "STORE out sram=0 dram=400 y=1 x=1 pop_prev push_prev\n"
        "FINISH pop_next"
    )
    report = check(text, layers=(LayerSpan("conv1", "conv2d", 0, 5),))
    story = next(str(problem) for problem in report.problems if problem.kind == "deadlock")
    assert "LOAD waits for a token from COMPUTE at instruction 0 `LOAD inp sram=0" in story
    assert "COMPUTE waits for a token from LOAD at instruction 3 `GEMM overwrite uop=0:1" in story
    assert "STORE waits for a token from COMPUTE at instruction 4 `STORE out" in story
    assert "of layer conv1" in story
    assert [problem.kind for problem in report.problems] == ["token", "deadlock"]  # the pop comes before its push


def test_a_token_pushed_later_than_it_is_popped_needs_endless_queues() -> None:
    """The queues alone would run this, but FETCH may be stuck behind the first instruction."""
    report = check("LOAD inp sram=0 dram=0 y=1 x=1 pop_next\n" + LOADED + RESET + "push_prev\nFINISH")
    assert kinds(report) == ["token"]
    assert "before instruction 2 `GEMM reset" in messages(report)


def test_races_name_both_instructions_and_layers() -> None:
    text = (
        LOADED
        + "LOAD inp sram=0 dram=0 y=1 x=2\nLOAD wgt sram=0 dram=0 y=1 x=1 push_next\n"
        + "GEMM overwrite uop=0:1 pop_prev\nLOAD inp sram=0 dram=64 y=1 x=1\nFINISH"
    )
    report = check(text, layers=(LayerSpan("conv1", "conv2d", 0, 4), LayerSpan("conv2", "conv2d", 4, 6)))
    (problem,) = report.problems
    assert (problem.kind, problem.instruction) == ("race", 4)
    assert str(problem).startswith("instruction 4 `LOAD inp sram=0 dram=64 y=1 x=1 stride=0` of layer conv2: writes inp[0]")
    assert "instruction 3 `GEMM overwrite uop=0:1" in str(problem)
    assert "of layer conv1, which read it, has finished" in str(problem)


@pytest.mark.parametrize(("dram", "races"), [(400, True), (403, True), (399, False), (404, False)])
def test_dram_conflicts_are_exact(dram: int, races: bool) -> None:
    """One acc tile is 16 bytes: out tiles 400 to 403."""
    text = LOADED + RESET + f"push_next\nSTORE out sram=0 dram={dram} y=1 x=1 pop_prev push_prev\n"
    text += "LOAD acc sram=4 dram=100 y=1 x=1\nFINISH pop_next"
    report = check(text)
    assert kinds(report) == (["race"] if races else [])
    if races:
        assert f"reads DRAM byte {4 * dram} with no token to say that instruction 2 `STORE out" in messages(report)


def test_finish_waits_for_the_last_store() -> None:
    report = check(LOADED + RESET + "push_next\nSTORE out sram=0 dram=400 y=1 x=1 pop_prev\nFINISH")
    assert kinds(report) == ["race"]
    assert "FINISH does not wait for instruction 2 `STORE out" in messages(report)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segments": (Segment("w", 8190, np.zeros(3, np.uint8)),)}, "segment w: outside DRAM; found '8190..8193'"),
        ({"dram_bytes": 1 << 60, "segments": ()}, "DRAM of an impossible size; found 1152921504606846976"),
        ({"segments": (Segment("w", -1, np.zeros(3, np.uint8)),)}, "segment w: outside DRAM"),
        ({"inputs": (Slot("x", 8000, (100, 2), "int8"),)}, "tensor x: outside DRAM; found '8000..8200'; expected 0..8192"),
        ({"layers": (LayerSpan("a", "b", 0, 1), LayerSpan("c", "d", 2, 2))}, "layer c: layer out of place"),
        ({"layers": (LayerSpan("a", "b", 0, 9),)}, "layer a: layer out of place; found '0..9'"),
        (
            {"segments": (Segment("a", 0, np.zeros(8, np.uint8)), Segment("b", 7, np.zeros(8, np.uint8)))},
            "segment b: overlaps segment a",
        ),
    ],
)
def test_what_surrounds_the_instructions(changes: dict[str, object], message: str) -> None:
    report = check("FINISH", **changes)
    assert kinds(report) == ["structure"]
    assert message in messages(report)


def test_words_that_do_not_decode() -> None:
    report = check_program(Program(TINY, np.array([[7, 0]], np.uint64), 64))
    assert kinds(report) == ["field"]
    assert "instruction 0: bad opcode; found 7" in messages(report)
    assert report.order is None


def test_many_problems_are_counted_but_not_all_told() -> None:
    report = check("LOAD inp sram=250 dram=0 y=1 x=7\n" * 600 + "FINISH")
    assert (len(report.problems), report.found) == (50, 600)
    with pytest.raises(ProblemList, match=r"600 problems: instruction 0 .* and 595 more"):
        report.require()


def test_queues_are_those_of_the_definition() -> None:
    columns = assemble(double_buffered(2) + "\nLOAD acc sram=0 dram=0 y=1 x=1\nALU add imm=1 uop=0:1", TINY)
    assert queues_of(columns).tolist() == [naive_queue(record) for record in columns]


# -- against slow twins --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_happens_before_is_the_transitive_closure(seed: int) -> None:
    columns, _ = random_program(np.random.default_rng(seed), TINY, 30)
    order, expected = precedence_of(columns), naive_before(columns)
    assert not order.blocked()
    found = np.array([[order.before(i, j) for j in range(len(columns))] for i in range(len(columns))])
    assert np.array_equal(found, expected), f"seed {seed}"


@pytest.mark.parametrize("seed", range(400))
def test_races_and_unwritten_reads_are_those_of_a_slow_check(seed: int) -> None:
    """The same instructions race with an earlier one, and the same read what nobody wrote."""
    design = load_design(["tiny", "tiny", "tiny", "kv260"][seed % 4])
    columns, uops = random_program(np.random.default_rng(seed), design, 12)
    report = check_program(program_of(design, columns, uops, 1 << 20))
    assert set(kinds(report)) <= {"race", "unwritten"}, f"seed {seed}: {messages(report)}"
    accesses = [naive_accesses(design, record, uops) for record in columns]
    races = naive_races(columns, accesses)
    late_stores = {i for i, r in enumerate(columns) if r["opcode"] == Opcode.STORE and not naive_before(columns)[i, -1]}
    expected = {later for _, later in races} | ({len(columns) - 1} if late_stores else set())
    assert {p.instruction for p in report.problems if p.kind == "race"} == expected, f"seed {seed}"
    written: set[tuple[str, int]] = set()
    unwritten = set()
    for i, (reads, writes) in enumerate(accesses):
        if any(memory != "dram" and (memory, entry) not in written for memory, entry in reads):
            unwritten.add(i)
        written |= set(writes)
    assert {p.instruction for p in report.problems if p.kind == "unwritten"} == unwritten, f"seed {seed}"
