"""The command as a process of its own: streams, signals, start-up time."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

COMMAND = [sys.executable, "-m", "vdla.cli"]


def vdla(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False, **options)


def test_error_is_one_line_on_stderr():
    ended = vdla("run", "no_such_model")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"vdla: error: no_such_model: no such model; expected .*\n", ended.stderr)


def test_json_is_alone_on_stdout():
    ended = vdla("design", "show", "tiny", "--json")
    assert json.loads(ended.stdout)["name"] == "tiny"
    assert ended.stderr == ""


def test_a_reader_who_leaves_is_no_error():
    process = subprocess.Popen([*COMMAND, "isa", "show"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (141, "")


def test_a_full_disk_behind_stdout():
    with open("/dev/full", "w") as full:
        ended = subprocess.run([*COMMAND, "design", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "vdla: error: cannot write the output (No space left on device); try: free some space\n"


def test_closed_streams():
    ended = subprocess.run(f"{' '.join(COMMAND)} design list >&-", shell=True, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_interrupt(tmp_path):
    arguments = ["run", "resnet18", "--batch", "8", "--report", str(tmp_path / "report")]
    started = (
        "import signal, sys; from vdla.cli.main import main; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "print('ready', flush=True); sys.exit(main(sys.argv[1:]))"
    )  # the handler, since shells have what they start in the background ignore the signal
    command = [sys.executable, "-c", started, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(1)  # into the run, which takes many times that
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert errors.strip() == "vdla: error: interrupted"
    assert not list(tmp_path.iterdir())


def test_progress_is_shown_on_a_terminal_only(tmp_path):
    command = ["compile", "digits", "--design", "tiny", "-o", str(tmp_path / "m.vdla")]
    assert vdla(*command).stderr == ""
    ours, theirs = pty.openpty()
    subprocess.run([*COMMAND, *command], stdout=subprocess.DEVNULL, stderr=theirs, timeout=120, check=True)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux's end of file on a terminal
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert b"compiling for tiny" in shown


@pytest.mark.parametrize("heavy", ["numpy", "numba", "llvmlite", "onnx", "matplotlib", "pydantic", "yaml"])
def test_help_imports_nothing_heavy(heavy):
    probe = f"import sys, vdla.cli; vdla.cli.main(['--help']); sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False).returncode == 0
