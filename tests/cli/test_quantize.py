"""`vdla quantize`."""

from __future__ import annotations

import json

import numpy as np

from vdla.zoo import build, sample_inputs


def test_report(vdla, tmp_path):
    """Every layer's range, saturation and signal to noise; ranges from noise are announced, and shown what else would do."""
    (tmp_path / "model.onnx").write_bytes(build("digits").SerializeToString())
    done = vdla("quantize", tmp_path / "model.onnx", "--report")
    assert done.code == 0
    assert done.err.startswith("vdla: warning: the ranges of int8 come from generated noise")
    for word in ("conv1+conv1.relu", "SQNR dB", "inputs uniform in 0 … 255", "dB of signal to noise at the outputs"):
        assert word in done.out
    found = json.loads(vdla("quantize", tmp_path / "model.onnx", "--json").out)
    assert found["ranges_from_noise"] is True
    worst = {other["inputs"]: other["clipped"] for other in found["other_inputs"]}
    assert worst["uniform in 0 … 255"] > 0.5


def test_calibration_data_of_any_form(vdla, tmp_path):
    """An .npz, an .npy and a folder of samples give the same, at the batch of the model too."""
    images = sample_inputs("digits", 6, seed=3)["input"]
    np.savez(tmp_path / "a.npz", input=images)
    np.save(tmp_path / "b.npy", images)
    (tmp_path / "folder").mkdir()
    for k in (0, 3):
        np.save(tmp_path / "folder" / f"{k}.npy", images[k : k + 3])
    ways = [("a.npz", 1), ("b.npy", 1), ("folder", 1), ("a.npz", 3), ("a.npz", 4)]
    found = [
        json.loads(vdla("quantize", "digits", "--calibration", tmp_path / name, "--batch", str(batch), "--json").out)
        for name, batch in ways
    ]
    assert [f["samples"] for f in found] == [6, 6, 6, 2, 2]
    assert not any(f["ranges_from_noise"] for f in found)
    assert found[0]["layers"] == found[1]["layers"] == found[2]["layers"]


def test_what_is_refused(vdla, tmp_path):
    vdla("quantize", "digits", "--budget", "300").refused("budget cannot be met", "dB with all but the cheapest", "300.0 dB")
    vdla("quantize", "digits", "--method", "guess").refused("--method", "guess", "minmax")
    bad = sample_inputs("digits", 2, seed=3)["input"]
    bad[1, 0, 2, 3] = np.nan
    np.savez(tmp_path / "bad.npz", input=bad)
    vdla("quantize", "digits", "--calibration", tmp_path / "bad.npz").refused("sample 1: input[0, 0, 2, 3]", "nan")
    np.savez(tmp_path / "wrong.npz", input=bad[..., :4])
    vdla("quantize", "digits", "--calibration", tmp_path / "wrong.npz").refused("sample 0: input", "float32[1, 1, 8, 8]")
