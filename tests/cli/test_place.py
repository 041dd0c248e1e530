"""`--place`: operators where the user wants them, and what is said when they cannot be there."""

from __future__ import annotations

import pytest

from vdla.compiler.targets.wishes import parse_wishes
from vdla.errors import CompileError
from vdla.flows import CompileOptions, run_model

TARGETS = ("vdla", "cpu")


def targets(vdla, *options: object) -> dict[str, str]:
    """Source of a layer → its target; the exit code must be 0."""
    ended = vdla("run", "digits", "--design", "tiny", "--json", *options)
    assert (ended.code, ended.err) == (0, "")
    assert ended.json["bit_exact"] is True
    return {layer["source"]: layer["target"] for layer in ended.json["layers"] if layer["op"].startswith(("qconv", "qmax"))}


@pytest.mark.parametrize(
    ("options", "moved"),
    [
        ([], set()),
        (["--place", "pool=cpu"], {"pool"}),
        (["--place", "conv2.relu=cpu"], {"conv2+conv2.relu"}),  # a part of a fused layer
        (["--place", "conv*=cpu", "--place", "conv3=vdla"], {"conv1+conv1.relu", "conv2+conv2.relu"}),  # the last one counts
        (["--place", "*=vdla"], set()),
    ],
)
def test_what_is_asked_for_is_done(vdla, options, moved):
    found = targets(vdla, *options)
    assert {source for source, target in found.items() if target == "cpu"} == moved


def test_the_reason_is_that_it_was_asked_for(vdla):
    document = vdla("run", "digits", "--design", "tiny", "--json", "--place", "pool=cpu").json
    assert [layer["why"] for layer in document["layers"] if layer["name"] == "pool"] == ["asked for: --place pool=cpu"]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("conv9=cpu", "no such node; found 'conv9'; .*did you mean conv3 or conv2 or conv1?"),
        ("nothing.like.it=cpu", "no such node; .*vdla run MODEL -v lists them"),
        ("conv1=gpu", "not a placement; found 'conv1=gpu'; expected node=vdla or node=cpu"),
        ("conv1", "not a placement"),
        ("=cpu", "not a placement"),
        ("output=vdla", "output.dequantize cannot run on vdla: int8 becomes floats on the host"),
    ],
)
@pytest.mark.parametrize("command", [["run"], ["compile", "-o", "never.vdla"], ["cosim"], ["graph"]])
def test_refusals(vdla, command, wish, words, tmp_path, monkeypatch):
    import re

    monkeypatch.chdir(tmp_path)
    ended = vdla(command[0], "digits", *command[1:], "--design", "tiny", "--place", wish)
    assert (ended.code, ended.out) == (2, "")
    assert re.search(words, ended.err), ended.err
    assert not list(tmp_path.iterdir())


def test_without_a_design_there_is_nothing_to_place(vdla):
    ended = vdla("run", "digits", "--target", "cpu", "--place", "conv1=cpu")
    assert ended.code == 2
    assert "--place with --target cpu" in ended.err


def test_in_python():
    options = CompileOptions(place=parse_wishes(["pool=cpu"], TARGETS))
    report = run_model("digits", "tiny", options).report
    assert next(layer for layer in report.layers if layer.name == "pool").target == "cpu"
    with pytest.raises(CompileError, match="no such node"):
        run_model("digits", "tiny", CompileOptions(place=parse_wishes(["pol=cpu"], TARGETS)))
