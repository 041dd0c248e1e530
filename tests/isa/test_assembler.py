"""Text round-trips, and what is wrong with it is said."""

from __future__ import annotations

import numpy as np
import pytest
from isa_programs import double_buffered, random_columns, random_design

from vdla.design_file import load_design, shipped_designs
from vdla.errors import IsaError, ProblemList, VdlaError
from vdla.isa import (
    COLUMNS,
    LayerSpan,
    Opcode,
    Program,
    Segment,
    Slot,
    assemble,
    assemble_program,
    disassemble,
    disassemble_program,
    layout_of,
    new_columns,
)
from vdla.isa.assembler import FLAGS, KIND, OPERANDS
from vdla.isa.definition import FIELDS
from vdla.isa.emit_manual import EXAMPLES

TINY = load_design("tiny")


@pytest.mark.parametrize("name", shipped_designs())
def test_round_trip_of_shipped_designs(name: str) -> None:
    design = load_design(name)
    columns = random_columns(np.random.default_rng(2), design, 300)
    assert np.array_equal(assemble(disassemble(columns, design), design), columns)


@pytest.mark.parametrize("seed", range(20))
def test_round_trip_of_random_designs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    design = random_design(rng)
    columns = random_columns(rng, design, 60)
    assert np.array_equal(assemble(disassemble(columns, design), design), columns), f"seed {seed}"


@pytest.mark.parametrize("opcode", Opcode)
def test_operands_cover_the_fields_exactly(opcode: Opcode) -> None:
    written = [name for operand in OPERANDS[opcode] for name in operand.fields]
    written += [*FLAGS, "opcode", *([KIND[opcode]] if opcode in KIND else [])]
    assert sorted(written) == sorted(field.name for field in FIELDS[opcode])


def test_a_line_means_what_it_says() -> None:
    text = "LOAD inp sram=2 dram=0x80 y=4 x=14 stride=56 pad=(1, 0, 2, 3) value=-128 pop_next push_next ; comment"
    (record,) = assemble(text, load_design("pynq_z1"))
    expected = new_columns(1, Opcode.LOAD)
    expected["buffer"], expected["sram_base"], expected["dram_base"] = 2, 2, 128
    expected["y_size"], expected["x_size"], expected["x_stride"], expected["pad_value"] = 4, 14, 56, -128
    expected["y_pad_before"], expected["x_pad_before"], expected["x_pad_after"] = 1, 2, 3
    expected["pop_next"] = expected["push_next"] = 1
    assert record == expected[0]


@pytest.mark.parametrize(
    ("text", "imm", "use_imm"),
    [
        ("ALU add imm=-5 uop=0:1", -5, 1),
        ("ALU add uop=0:1", 0, 0),
        ("ALU add imm=5 use_imm=0 uop=0:1", 5, 0),
        ("ALU lookup uop=0:1", 0, 1),
        ("ALU tabulate imm=-128 uop=0:1", -128, 1),
        ("ALU clip clip=(-1,2) uop=0:1", 0x02FF, 1),
        ("ALU requantise clip=(-128,127) uop=0:1", 0x7F80, 0),
        ("ALU rescale uop=0:1", 0, 0),
    ],
)
def test_immediates(text: str, imm: int, use_imm: int) -> None:
    (record,) = assemble(text, TINY)
    assert (record["imm"], record["use_imm"], record["loop_outer"], record["loop_inner"]) == (imm, use_imm, 1, 1)


@pytest.mark.parametrize("opcode", Opcode)
def test_the_manuals_examples_are_canonical(opcode: Opcode) -> None:
    design = load_design("pynq_z1")
    assert disassemble(assemble(EXAMPLES[opcode], design), design) == EXAMPLES[opcode] + "\n"


def test_layers_are_comment_lines() -> None:
    columns = assemble("FINISH\nFINISH pop_next", TINY)
    text = disassemble(columns, TINY, [LayerSpan("conv1", "conv2d", 1, 2)])
    assert text == "FINISH\n; layer conv1\nFINISH pop_next\n"
    assert np.array_equal(assemble(text, TINY), columns)


def test_nothing_is_a_program_of_no_instructions() -> None:
    assert len(assemble("\n ; only a comment\n", TINY)) == 0
    assert disassemble(np.zeros(0, COLUMNS), TINY) == ""


def test_illegal_columns_are_not_disassembled() -> None:
    columns = new_columns(1, Opcode.GEMM)
    columns["uop_begin"] = 256
    with pytest.raises(IsaError, match="uop_begin; found 256"):
        disassemble(columns, TINY)


ERRORS = [
    (
        "LAOD inp sram=0",
        "line 1: unknown instruction; found 'LAOD'; expected one of LOAD, STORE, GEMM, FINISH, ALU; try: did you",
    ),
    (
        "LOAD imp sram=0",
        "found 'imp'; expected one of uop, wgt, inp, acc, out; try: did you mean inp?",
    ),
    ("STORE acc sram=0", "line 1: unknown STORE buffer; found 'acc'; expected one of out"),
    ("LOAD", "line 1: LOAD without its buffer; expected one of uop, wgt, inp, acc, out"),
    ("GEMM accumulate uop=0:1 dest=(1,1)", "found 'dest'; expected one of uop, loops, dst, src, wgt, pop_prev"),
    ("GEMM accumulate uop=0:1 dest=(1,1)", "did you mean dst?"),
    ("GEMM accumulate", "line 1: GEMM without uop; expected uop=uop_begin:uop_end"),
    ("GEMM accumulate uop=0", "line 1: unreadable operand uop; found 'uop=0'; expected uop=uop_begin:uop_end"),
    ("GEMM accumulate uop=0:1 loops=(1,2,3)", "found 'loops=(1,2,3)'; expected loops=(loop_outer,loop_inner)"),
    ("GEMM accumulate uop=0:1 loops=(1,two)", "found 'loops=(1,two)'"),
    ("GEMM accumulate uop=0:1 loops=(1,2", "found 'loops=(1,2'"),
    ("GEMM accumulate uop=0:1 loops", "unreadable operand loops; found 'loops'"),
    ("GEMM accumulate uop=0:1 uop=1:2", "line 1: uop_begin, uop_end set twice; found 'uop=1:2'"),
    ("GEMM accumulate uop=0:1 pop_prev pop_prev", "pop_prev set twice"),
    ("GEMM accumulate uop=0:1 pop_prev=1", "pop_prev takes no value; found 'pop_prev=1'"),
    ("GEMM accumulate uop=256:257", "line 1: GEMM field uop_begin does not fit; found 256; expected 0..255 (8 bits)"),
    (
        "\n\nFINISH sram=1",
        "line 3: unknown FINISH operand; found 'sram'; expected one of pop_prev, pop_next, push_prev",
    ),
    ("ALU clip clip=(-129,1) uop=0:1", "a clip bound does not fit its byte; found -129; expected -128..127"),
    ("ALU clip clip=(1,2) imm=3 uop=0:1", "imm set twice"),
    ("ALU add clip=(1,2) uop=0:1", "unknown ALU operand; found 'clip'"),
    ("ALU add imm=40000 uop=0:1", "ALU field imm does not fit; found 40000; expected -32768..32767 (16 bits)"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(IsaError) as error:
        assemble(text, TINY)
    assert message in str(error.value)


def test_all_bad_lines_are_reported_at_once() -> None:
    with pytest.raises(ProblemList) as error:
        assemble("FOO\nFINISH\nBAR", TINY, source="file.s:")
    assert isinstance(error.value, IsaError)
    assert [problem.where for problem in error.value.problems] == ["file.s:1", "file.s:3"]


# -- whole programs ------------------------------------------------------------------------------------------------------


def random_program(rng: np.random.Generator) -> Program:
    design = random_design(rng)
    layout = layout_of(design)
    columns = random_columns(rng, design, 12)
    names = ["conv1", "a b", 'say "x;y"', "", "ü/\u2028:0", "(1)", ".dot", "back\\slash", "new\nline"]

    def slot() -> Slot:
        shape = tuple(int(n) for n in rng.integers(0, 9, rng.integers(0, 4)))
        return Slot(str(rng.choice(names)), int(rng.integers(0, 1000)), shape, str(rng.choice(["int8", "int32", "float32"])))

    address, segments = 0, []
    for _ in range(3):
        data = rng.integers(0, 256, int(rng.integers(0, 400)), np.uint8)
        data[40 : int(rng.integers(40, 400))] = 0
        segments.append(Segment(str(rng.choice(names)), address, data))
        address += len(data) + int(rng.integers(0, 9))
    cuts = sorted(int(c) for c in rng.integers(0, 13, 4))
    layers = [
        LayerSpan(str(rng.choice(names)), "conv2d", begin, end, (slot(),), *(int(n) for n in rng.integers(0, 99, 3)))
        for begin, end in zip(cuts, cuts[1:], strict=False)
    ]
    return Program(design, layout.encode(columns), 4096, tuple(segments), (slot(), slot()), (slot(),), tuple(layers))


def assert_same(first: Program, second: Program) -> None:
    assert np.array_equal(first.words, second.words)
    assert (first.design, first.dram_bytes) == (second.design, second.dram_bytes)
    assert (first.inputs, first.outputs, first.layers) == (second.inputs, second.outputs, second.layers)
    assert [(s.name, s.address, bytes(s.data)) for s in first.segments] == [
        (s.name, s.address, bytes(s.data)) for s in second.segments
    ]


@pytest.mark.parametrize("seed", range(40))
def test_whole_programs_round_trip(seed: int) -> None:
    program = random_program(np.random.default_rng(seed))
    assert_same(assemble_program(disassemble_program(program), program.design), program)


def test_micro_ops_are_written_as_micro_ops() -> None:
    text = f".design tiny\n.dram 4096\n.segment uops 0\n.uop (0,1,2) (3,4,5)\n{double_buffered(1, 1)}"
    program = assemble_program(text, load_design)
    assert bytes(program.segments[0].data) == bytes([0, 1, 2, 0, 3, 4, 5, 0])
    assert ".uop (0,1,2) (3,4,5)" in disassemble_program(program)
    assert_same(assemble_program(disassemble_program(program), load_design), program)


HEAD = ".design tiny\n.dram 4096\n"
PROGRAM_ERRORS = [
    ("FINISH", "line 1: no design; expected .design NAME"),
    (".design no_such\nFINISH", "line 1: cannot load the design"),
    (".design tiny 0123\n.dram 64", "the program is for another design (tiny); found '0123'"),
    (".design tiny\nFINISH", "a program without .dram; expected .dram BYTES"),
    (HEAD + ".dram 0", "number out of range; found 0; expected 1..4294967296"),
    (HEAD + ".dram many", "line 3: not a number; found 'many'; expected .dram BYTES"),
    (HEAD + ".dram 1 )", "too many arguments; found ')'"),
    (HEAD + ".segmnt x 0", "unknown directive; found '.segmnt'"),
    (HEAD + ".segmnt x 0", "did you mean .segment?"),
    (HEAD + ".hex 00", "contents without a segment; expected .segment NAME ADDRESS before it"),
    (HEAD + ".segment x 0\n.hex 0g", "line 4: not bytes in hexadecimal; found '0g'"),
    (HEAD + ".segment x 4000\n.zero 97", "line 3: segment x ends outside DRAM; found 4097; expected 0..4096"),
    (HEAD + ".segment x 0\n.zero 9999999999", "number out of range"),
    (HEAD + ".segment x 0\n.uop (1,2)", "a micro-op has three indices; found (1, 2)"),
    (HEAD + ".segment x 0\n.uop (1,2,128)", "micro-op wgt does not fit; found 128; expected 0..127"),
    (HEAD + ".input x 0 4 int8", "not a bracketed list; found '4'; expected .input NAME ADDRESS (SHAPE) TYPE"),
    (HEAD + ".input x 0 (4)", "too few arguments; expected .input NAME ADDRESS (SHAPE) TYPE"),
    (HEAD + ".input x 0 (4) in8", "unknown type; found 'in8'"),
    (HEAD + ".input x 0 (99999999,99999999) int8", "a tensor larger than DRAM can be"),
    (HEAD + '.input "x 0 (4) int8', "unterminated string"),
    (HEAD + r'.input "\q" 0 (4) int8', "unreadable string"),
    (HEAD + ".layer a", "too few arguments; expected .layer NAME OP"),
    (HEAD + ".layer a conv mac=3", "did you mean macs?"),
    (HEAD + ".layer_output y 0 (1) int8", ".layer_output outside a layer"),
    (HEAD + "LOAD imp", "line 3: unknown LOAD buffer"),
]


@pytest.mark.parametrize(("text", "message"), PROGRAM_ERRORS)
def test_errors_of_whole_programs(text: str, message: str) -> None:
    with pytest.raises(IsaError) as error:
        assemble_program(text, load_design)
    assert message in str(error.value)


@pytest.mark.parametrize("seed", range(300))
def test_damaged_text_is_refused_or_read_never_worse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = HEAD + ".segment u 0\n.uop (0,0,0)\n.layer a b\n" + double_buffered(2, 1)
    text = list(disassemble_program(assemble_program(source, TINY)))
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(len(text)))
        text[place : place + int(rng.integers(0, 3))] = rng.choice(list('0129=:(),;.-x"\\ \n\x00é'), int(rng.integers(0, 3)))
    try:
        program = assemble_program("".join(text), TINY)
    except VdlaError:
        return
    assert_same(assemble_program(disassemble_program(program), TINY), program)
