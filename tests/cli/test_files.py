"""Modules and programs on disk: what is read is what was written, equal modules are equal files, damage is refused."""

from __future__ import annotations

import io
import json
import os
import random
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vdla
from vdla.compiler.model import CompiledModel
from vdla.errors import OutputError, RunError, VdlaError
from vdla.files import keep, keep_newest, locked, write_file
from vdla.flows import compile_to_model
from vdla.isa.program import Program
from vdla.runtime.program_file import module_to_bytes, program_to_bytes, read_module, read_programs


def same_program(a: Program, b: Program) -> None:
    assert a.design == b.design
    assert (a.dram_bytes, a.inputs, a.outputs, a.layers) == (b.dram_bytes, b.inputs, b.outputs, b.layers)
    np.testing.assert_array_equal(a.words, b.words)
    assert [(s.name, s.address) for s in a.segments] == [(s.name, s.address) for s in b.segments]
    for mine, other in zip(a.segments, b.segments, strict=True):
        np.testing.assert_array_equal(mine.data, other.data)


def test_program_round_trip(digits, program_file):
    (loaded,) = read_programs(program_file)
    same_program(loaded, digits.programs[0])
    assert program_to_bytes(loaded) == program_file.read_bytes()


def test_module_round_trip(digits, digits_file):
    loaded = read_module(digits_file)
    assert loaded.design == digits.design
    assert loaded.placement == digits.placement
    assert (loaded.inputs, loaded.outputs) == (digits.inputs, digits.outputs)
    for mine, other in zip(loaded.steps, digits.steps, strict=True):
        assert (mine.target, mine.name, mine.nodes) == (other.target, other.name, other.nodes)
        assert (mine.program is None) == (other.program is None)
        if mine.program is not None and other.program is not None:
            same_program(mine.program, other.program)
    assert module_to_bytes(loaded) == digits_file.read_bytes()
    same_program(read_programs(digits_file)[0], digits.programs[0])


def test_equal_compilations_are_equal_files(digits_bytes):
    assert module_to_bytes(compile_to_model("digits", "tiny")) == digits_bytes


def test_weights_are_stored_once(digits, digits_bytes):
    with zipfile.ZipFile(io.BytesIO(digits_bytes)) as archive:
        arrays = [np.load(io.BytesIO(archive.read(name))) for name in archive.namelist() if name.endswith(".npy")]
    segments = sum(segment.data.nbytes for segment in digits.programs[0].segments)
    on_host = sum(digits.placed.constants[name].nbytes for name in digits.run_constants)
    assert sum(a.nbytes for a in arrays) == segments + on_host + digits.programs[0].words.nbytes


def test_host_constants_are_kept(tmp_path):
    """A network with an operator on the host that has weights: they must come back."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1) + 1
    nodes = [helper.make_node("Mul", ["x", "w"], ["s"]), helper.make_node("Softmax", ["s"], ["y"], axis=1)]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 2, 2]) for name in "xy")
    graph = helper.make_graph(nodes, "host", [x], [y], [numpy_helper.from_array(weight, "w")])
    module = vdla.compile(helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), "tiny")
    inputs = {"x": np.random.default_rng(0).standard_normal((1, 3, 2, 2)).astype(np.float32)}
    loaded = vdla.load(module.save(tmp_path / "m.vdla"))
    np.testing.assert_array_equal(loaded.run(inputs).outputs["y"], module.run(inputs).outputs["y"])


def test_every_truncation_is_refused(digits_bytes, tmp_path):
    path = tmp_path / "m.vdla"
    for length in [0, 1, 4, 100, len(digits_bytes) // 2, len(digits_bytes) - 1]:
        path.write_bytes(digits_bytes[:length])
        with pytest.raises(RunError, match="m.vdla: not a VDLA program or module, or damaged"):
            read_module(path)


def test_flipped_bits_are_refused_or_harmless(digits_bytes, tmp_path):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    path = tmp_path / "m.vdla"
    refused = 0
    for _ in range(300):
        damaged = bytearray(digits_bytes)
        place, bit = chance.randrange(len(damaged)), chance.randrange(8)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            assert module_to_bytes(read_module(path)) == digits_bytes, f"seed {seed}: bit {bit} of byte {place} went unseen"
        except RunError:
            refused += 1
    assert refused > 250, f"seed {seed}"  # the others are bits of the container that carry nothing


def rewritten(data: bytes, manifest: Any) -> bytes:
    """The archive with another manifest, its checksums right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(manifest) if name == "manifest.json" else old.read(name))
    return out.getvalue()


def manifest_of(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return json.loads(archive.read("manifest.json"))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in [(value, key), *places(item)]]


def test_forged_manifests_give_an_error_or_run(digits_bytes, tmp_path):
    """Valid archives whose manifest says something else: reading and running gives an error that we meant, or works."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    path = tmp_path / "m.vdla"
    x = {"input": np.zeros((1, 1, 8, 8), np.float32)}
    odd = [None, -1, 0, 1, 2**40, 10**30, 1.5, "", "x", [], {}, [1, 2], True, float("inf")]
    refused = 0
    for trial in range(150):
        manifest = manifest_of(digits_bytes)
        container, key = chance.choice(places(manifest))
        old = container[key]
        if chance.random() < 0.3:
            del container[key]
        else:
            container[key] = chance.choice(odd)
        path.write_bytes(rewritten(digits_bytes, manifest))
        try:
            module = vdla.load(path)
            if trial % 5 == 0:
                module.run(x, timing=False)
        except VdlaError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {key} was {old!r}: {type(error).__name__}: {error}") from error
    assert refused > 60, f"seed {seed}"  # 88 ± 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(format=99), "another version of the format; found 99; expected "),
        (lambda m: m.update(kind="other"), "another kind of file; found 'other'"),
        (lambda m: m["design"]["gemm"].update(block_in=3), "gemm.block_in"),
        (lambda m: m["steps"].pop(), "an output is computed by nothing"),
        (lambda m: m["steps"][0]["nodes"].append("other"), "a step has a node that is not in the graph; found 'other'"),
        (lambda m: m["quantised"]["tensors"].pop("input"), "a tensor has no type; found 'input'"),
        (lambda m: m["quantised"]["tensors"].pop("output"), "a tensor has no type; found 'output'"),
        (lambda m: m["placed"]["tensors"].pop("input_q"), "a tensor has no type; found 'input_q'"),
        (lambda m: m["quantised"]["tensors"]["output"].update(shape=[2, 10]), "another type in each graph"),
        (lambda m: m["quantised"]["tensors"]["output_q"].update(shape=[1, 10, 1, 1, 7]), "a slot's type is not its tensor's"),
        (lambda m: m["quantised"]["tensors"]["conv2_relu_q"]["shape"].pop(0), "a slot's type is not its tensor's"),
        (lambda m: program(m)["layers"][2]["outputs"][0]["shape"].pop(), "a slot's type is not its tensor's"),
        (lambda m: m["steps"].pop(0), "not yet computed|nothing has computed"),
        (lambda m: program(m).update(dram_bytes=10), "lies outside the program's DRAM"),
        (lambda m: program(m)["layers"][0].update(end=10**9), "layers overlap, or reach beyond"),
        (lambda m: program(m)["outputs"][0].update(dtype="object"), "not a tensor's type"),
        (lambda m: program(m)["inputs"][0].update(address=-64), "lies outside"),
        (lambda m: program(m).update(words=program(m)["segments"][0]["data"]), "not instructions"),
        (
            lambda m: program(m)["design"]["sram"].update(uop=2048),
            "built for another design, tiny: sram.uop: 2KiB in .*, 1KiB in the design",
        ),
    ],
)
def test_what_is_said_of_forged_manifests(digits_bytes, tmp_path, change, words):
    manifest = manifest_of(digits_bytes)
    change(manifest)
    path = tmp_path / "m.vdla"
    path.write_bytes(rewritten(digits_bytes, manifest))
    with pytest.raises(RunError, match=words):
        read_module(path)


def program(manifest: Any) -> Any:
    return next(step["program"] for step in manifest["steps"] if "program" in step)


def test_a_file_that_unpacks_to_too_much_is_refused(digits_bytes, tmp_path, monkeypatch):
    import vdla.archive as archive

    path = tmp_path / "m.vdla"
    path.write_bytes(digits_bytes)
    monkeypatch.setattr(archive, "BYTES_MAX", 1000)
    with pytest.raises(RunError, match="unpacks to too much"):
        read_module(path)


def test_a_loaded_module_reports_no_float_model(digits_file):
    assert read_module(digits_file).float_graph is None


def test_host_steps_only(digits: CompiledModel):
    """Constants of a module without host steps that read any are not stored."""
    assert replace(digits, steps=()).run_constants == []
    assert digits.run_constants == []  # weights are in the program


# -- write_file ----------------------------------------------------------------------------------------------------------


def test_write_file_replaces_whole_files_and_follows_links(tmp_path):
    target = tmp_path / "a" / "b.txt"
    assert write_file(target, "one") == target
    link = tmp_path / "link"
    link.symlink_to(target)
    write_file(link, b"two")
    assert link.is_symlink()
    assert target.read_text() == "two"
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask()
    write_file("/dev/null", "nothing")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OutputError, match="it is a folder"):
        write_file(tmp_path, "x")
    with pytest.raises(OutputError, match="File name too long"):
        write_file(tmp_path / ("n" * 300), "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "link"]
    assert [p.name for p in target.parent.iterdir()] == ["b.txt"]


def umask() -> int:
    import os

    current = os.umask(0)
    os.umask(current)
    return current


def test_a_cache_forgets_what_was_not_used_for_longest(tmp_path):
    for age in range(5):
        folder = tmp_path / f"entry{age}"
        folder.mkdir()
        (folder / "library").write_bytes(b"1")
        os.utime(folder, (1000 - age, 1000 - age))
    (tmp_path / "entry0.lock").touch()
    os.utime(tmp_path / "entry4", (2000, 2000))  # used again
    keep_newest(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entry0", "entry0.lock", "entry4"]


def test_an_entry_of_the_cache_is_written_whole_or_not_at_all(tmp_path):
    assert keep(tmp_path / "kind" / "entry", b"12")
    assert (tmp_path / "kind" / "entry").read_bytes() == b"12"
    assert [path.name for path in (tmp_path / "kind").iterdir()] == ["entry"]


@pytest.mark.parametrize("place", ["/dev/null/entry", "/dev/full/entry", "folder"])
def test_a_cache_that_cannot_be_written_is_passed_over(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert not keep(Path(place), b"12")
    with locked(Path("/dev/null/lock")):
        pass
    keep_newest(tmp_path / "nothing", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_leaves_no_part_of_an_entry(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert not keep(tmp_path / "entry", b"12")
    assert not list(tmp_path.iterdir())


def test_a_lock_lets_one_in_at_a_time(tmp_path):
    order = []

    def work(name: str) -> None:
        with locked(tmp_path / "kind" / "lock"):
            order.append(name)
            time.sleep(0.05)
            order.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order[0::2] == order[1::2]
