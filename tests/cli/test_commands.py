"""Every command on good input: what it prints, what it writes, its exit code."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import yaml
from cli_models import relu

import vdla as package
from vdla.cli.main import app
from vdla.cli.run_commands import run_text
from vdla.design_file import shipped_designs
from vdla.flows import run_model

RUN_KEYS = {
    "model", "design", "cycles", "ms", "gops", "utilization", "bound_cycles", "bit_exact", "max_abs_err", "rel_err", "layers",
    "wall", "provenance",
}  # fmt: skip
LAYER_KEYS = {
    "name", "op", "target", "why", "macs", "cycles", "bound_cycles", "utilization", "dram_bytes", "stalls",
}  # fmt: skip


def test_run_json_is_one_document_with_the_promised_keys(vdla, tmp_path):
    ended = vdla("run", "digits", "--design", "tiny", "--json", "--report", tmp_path / "report", "--trace", tmp_path / "t.json")
    assert (ended.code, ended.err) == (0, "")
    document = ended.json  # fails when anything else is on stdout
    assert document.keys() >= RUN_KEYS
    assert all(layer.keys() >= LAYER_KEYS for layer in document["layers"])
    assert document["bit_exact"] is True
    on_accelerator = sum(layer["target"] == "vdla" for layer in document["layers"])
    assert document["exact_layers"] == document["compared_layers"] == on_accelerator
    assert 0 < document["bound_cycles"] <= document["cycles"] == sum(layer["cycles"] for layer in document["layers"])
    assert document["rel_err"] < 0.05
    assert document["provenance"].keys() >= {"version", "design_hash", "build_hash", "model_hash", "seed", "command"}
    assert document["wall"].keys() >= {"compile_s", "simulate_s", "reference_s"}
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["index.html", "run.json", "trace.json"]
    assert json.loads((tmp_path / "report" / "run.json").read_text())["cycles"] == document["cycles"]
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]


def test_run_text_is_an_aligned_table_within_120_columns(vdla):
    ended = vdla("run", "digits", "--design", "tiny", "--verbose")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].split() == ["layer", "op", "MMAC", "cycles", "bound", "util", "KiB", "waits", "for"]
    assert max(map(len, lines)) <= 120
    assert any(line.startswith("digits on tiny: ") and " cycles, " in line for line in lines)
    assert any(line.startswith("bit-exact: 5 of 5 accelerator layers; against the float model") for line in lines)
    for word in ("busy cycles", "DRAM traffic, KiB", "on the host", "design_hash"):
        assert word in ended.out


def test_a_difference_from_the_reference_is_shown_and_is_exit_code_1(vdla, monkeypatch):
    import vdla.compiler.targets.vdla as target

    honest = target.unpack_activation
    monkeypatch.setattr(target, "unpack_activation", lambda packed, shape: honest(packed, shape) ^ 1)
    ended = vdla("run", "digits", "--design", "tiny")
    assert ended.code == 1
    assert "DIFFERS" in ended.out
    assert "NOT bit-exact" in ended.out


def test_a_model_wholly_on_the_host_is_not_called_bit_exact(vdla, tmp_path):
    ended = vdla(
        "run", relu(tmp_path / "relu.onnx", ["N", 2, 3, 3]), "--input-shape", "x=1,2,3,3", "--design", "tiny", "--json"
    )
    assert ended.code == 0
    hosted = [layer["target"] for layer in ended.json["layers"]]
    assert (ended.json["cycles"] > 0) == ("vdla" in hosted) == (ended.json["bit_exact"] is True)


def test_no_latency_hiding_is_slower_and_equal(vdla):
    hidden = vdla("run", "digits", "--design", "tiny", "--json").json
    serial = vdla("run", "digits", "--design", "tiny", "--json", "--no-latency-hiding").json
    assert serial["bit_exact"]
    assert serial["cycles"] > hidden["cycles"]
    assert serial["max_abs_err"] == hidden["max_abs_err"]


def test_equal_commands_give_equal_results(vdla):
    first, second = (vdla("run", "digits", "--design", "tiny", "--seed", 7, "--json").json for _ in range(2))
    for document in (first, second):
        document.pop("wall")
    assert first == second


def test_calibration_from_a_file_is_used(vdla, tmp_path):
    np.savez(tmp_path / "c.npz", input=np.full((2, 1, 8, 8), 100, np.float32))
    odd = vdla("run", "digits", "--design", "tiny", "--json", "--calibration", tmp_path / "c.npz").json
    assert odd["bit_exact"]
    assert odd["rel_err"] > vdla("run", "digits", "--design", "tiny", "--json").json["rel_err"]


def test_dump_ir_writes_every_stage(vdla, tmp_path):
    vdla("compile", "digits", "-o", tmp_path / "d.vdla", "--design", "tiny", "--dump-ir", tmp_path / "ir")
    groups = {folder.name: sorted(p.name for p in folder.iterdir()) for folder in (tmp_path / "ir").iterdir()}
    stages = [name.split("_", 1)[1] for name in groups.pop("graph")]
    assert stages[0] == "import.txt"
    assert stages[-2:] == ["quantised.txt", "placed.txt"]
    assert len(groups) == 5  # the kernels: three convolutions, the pool, the classifier
    assert all(names[0] == "00_input.txt" and len(names) > 3 for names in groups.values())
    text = "".join(p.read_text() for p in (tmp_path / "ir").rglob("*.txt"))
    assert "qconv2d" in text
    assert "vdla.gemm" in text


def test_compile_simulate_disassemble_assemble_check(vdla, tmp_path):
    module, text, program = tmp_path / "d.vdla", tmp_path / "d.s", tmp_path / "d.vprog"
    compiled = vdla("compile", "digits", "-o", module, "--design", "tiny", "--json").json
    assert compiled["bytes"] == module.stat().st_size
    timed = vdla("simulate", module, "--timing-only", "--json").json
    assert vdla("isa", "disassemble", module, "-o", text).code == 0
    assert vdla("isa", "assemble", text, "-o", program).out == f"{program}: {compiled['instructions']} instructions\n"
    for path in (module, text, program):
        assert vdla("isa", "check", path).out == f"{path}: ok, {compiled['instructions']} instructions\n"
        assert vdla("simulate", path, "--timing-only", "--json").json["cycles"] == timed["cycles"]
    assert vdla("isa", "disassemble", program).out == text.read_text()


def test_simulate_values_depend_on_the_seed_only(vdla, program_file, tmp_path):
    runs = [vdla("simulate", program_file, "--seed", seed, "--json").json for seed in (1, 1, 2)]
    outputs = [run["programs"][0]["outputs"] for run in runs]
    assert outputs[0] == outputs[1] != outputs[2]
    assert runs[0]["cycles"] == runs[2]["cycles"]
    ended = vdla("simulate", program_file, "--trace", tmp_path / "t.json")
    assert f"{runs[0]['cycles']:,} cycles" in ended.out
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]


def test_simulate_on_another_clock_and_memory(vdla, program_file, tmp_path):
    """The program of one design in the time of another that runs it too."""
    slower = package.load_design("tiny").varied(name="slower", clock_mhz=10, memory={"read_latency": 300})
    (tmp_path / "slower.yaml").write_text(yaml.safe_dump(slower.to_dict()))
    here = vdla("simulate", program_file, "--json").json["programs"][0]
    there = vdla("simulate", program_file, "--design", tmp_path / "slower.yaml", "--json").json["programs"][0]
    assert there["outputs"] == here["outputs"]
    assert (there["design"], there["ms"]) == ("slower", there["cycles"] / 10e3)
    assert there["cycles"] > 2 * here["cycles"]


def test_isa_check_lists_problems_with_exit_code_1(vdla, program_file, tmp_path):
    text = vdla("isa", "disassemble", program_file).out
    line = next(line for line in text.splitlines() if "push_next" in line)
    bad = tmp_path / "bad.s"
    bad.write_text(text.replace(line, line.replace("push_next", ""), 1))
    ended = vdla("isa", "check", bad)
    assert ended.code == 1
    assert "token" in ended.out
    report = vdla("isa", "check", bad, "--json")
    assert (report.code, report.json["ok"]) == (1, False)
    assert report.json["problems"]


def test_isa_show_accounts_for_every_bit(vdla):
    fields = vdla("isa", "show", "--design", "tiny", "--json").json["instructions"]
    for name, slices in fields.items():
        bits = sorted(bit for s in slices for bit in range(s["lsb"], s["lsb"] + s["bits"]))
        assert bits == list(range(32 if name == "MICRO-OP" else 128)), name
    assert "opcode" in vdla("isa", "show", "--design", "tiny").out


def test_design_commands(vdla):
    listed = vdla("design", "list", "--json").json
    assert [d["name"] for d in listed] == list(shipped_designs())
    shown = vdla("design", "show", "kv260", "--json").json
    assert shown["derived"]["macs_per_cycle"] == 1024
    text = vdla("design", "show", "kv260").out
    assert "1,024 MAC a cycle" in text
    assert "409.6 GOPS" in text
    checked = vdla("design", "check", *shipped_designs())
    assert checked.out.count(": ok, ") == 5


def test_help_shows_examples_line_by_line(vdla):
    for command in (
        ["run"],
        ["compile"],
        ["graph"],
        ["compare-tensors"],
        ["simulate"],
        ["design", "check"],
        ["design", "show"],
        ["isa", "check"],
        ["isa", "show"],
    ):
        text = vdla(*command, "--help").out
        examples = [line for line in text.splitlines() if line.startswith(f"    vdla {' '.join(command)} ")]
        assert examples, text
    assert vdla().out == vdla("--help").out
    assert "  run " in vdla("--help").out
    assert "  check " in vdla("design").out
    assert vdla("--version").out == f"vdla {package.__version__}\n"


def test_every_command_has_help():
    assert all(command.callback.__doc__ for command in app.registered_commands)


def test_long_names_do_not_widen_the_table():
    report = run_model("digits", "tiny").report
    long = replace(report.layers[3], source="a_very_long_scope_name." * 9 + "conv+" + "a_very_long_scope_name." * 9 + "relu")
    assert max(map(len, run_text(replace(report, layers=(long,)), verbose=True).splitlines())) <= 120


def test_python_interface(tmp_path):
    design = package.load_design("tiny")
    module = package.compile("digits", design)
    x = {"input": np.random.default_rng(0).random((1, 1, 8, 8), np.float32)}
    result = module.run(x)
    again = package.load(module.save(tmp_path / "m.vdla")).run(x)
    assert again.cycles == result.cycles > 0
    for output, value in result.outputs.items():
        np.testing.assert_array_equal(again.outputs[output], value)


def test_two_designs_are_told_apart_by_key(vdla, tmp_path):
    mine = package.load_design("tiny").varied(name="mine", about="Twice the weights.", sram={"wgt": 4096})
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine.to_dict()))
    ended = vdla("design", "diff", "tiny", tmp_path / "mine.yaml")
    assert ended.code == 1
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["sram.wgt", "*", "2KiB", "4KiB"] in rows
    assert "programs of one do not run on the other" in ended.out
    assert "about" not in ended.out
    document = vdla("design", "diff", "tiny", tmp_path / "mine.yaml", "--json").json
    assert not document["programs_compatible"]
    assert [d["key"] for d in document["differences"]] == ["name", "about", "sram.wgt"]
    slower = vdla("design", "diff", "pynq_z1", "zynq_4port")
    assert slower.code == 1
    assert "programs of one run on the other" in slower.out
    same = vdla("design", "diff", "tiny", "tiny")
    assert (same.code, same.out) == (0, "tiny and tiny are the same machine\n")
