"""The fit with albedo, light and photometric steps, on photos whose truth is known.

python -m jobs.bench photometric
python -m jobs.benchmarks.photometric --base ict_facekit.npz --faces 32
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jobs.bench import Figures, Options, benchmark, table
from jobs.benchmarks.photometric_scenes import SIZE, Scenes, SceneSettings, make_scenes, stand_in
from operators.metrics import rotation_error_deg, vertex_errors
from operators.morphable.appearance import AppearanceSettings
from operators.morphable.atlas import AlbedoModel
from operators.morphable.fit import FitSettings, fit_landmarks
from operators.morphable.landmark_term import LandmarkTerm
from operators.morphable.model import MorphableModel
from operators.morphable.photometric import PhotometricFitter, PhotometricSettings
from operators.morphable.surface import SurfaceSamples
from operators.rasterize import select

SHARP = AppearanceSettings(noise=0.03)
SETTINGS = PhotometricSettings(steps=4, px=128, first=SHARP, joint=SHARP)
"""For photos that the model explains but for noise; real ones want a larger noise."""
SAMPLES, BLUR = 1500, 0.011

CONDITIONS: tuple[tuple[str, SceneSettings], ...] = (
    ("plain", SceneSettings()),
    ("hidden 30 %", SceneSettings(hidden=0.3)),
    ("hidden 60 %", SceneSettings(hidden=0.6)),
    ("light x 2", SceneSettings(light_spread=2.0)),
    ("beard+glasses", SceneSettings(trouble="beard+glasses")),
    ("cast shadow", SceneSettings(trouble="shadow")),
    ("shine", SceneSettings(trouble="shine")),
)


@dataclass(frozen=True)
class Bench:
    """The stand-in and what is made from it once."""

    model: MorphableModel
    samples: SurfaceSamples
    albedo: Tensor
    eyes: tuple[int, int]

    @staticmethod
    def of(base: str) -> Bench:
        model = MorphableModel(stand_in(base))
        basis = model.basis
        albedo = AlbedoModel(basis)
        samples = SurfaceSamples(model, albedo, SAMPLES, BLUR)
        return Bench(model, samples, albedo.values, (int(basis.landmarks68[36, 0]), int(basis.landmarks68[45, 0])))

    def tint(self, coefficients: Tensor) -> Tensor:
        """Albedo at every vertex."""
        return self.albedo[..., 0] + (self.albedo[..., 1:].flatten(0, 1) @ coefficients.T).T.unflatten(1, (-1, 3))


def measure(bench: Bench, scenes: Scenes, noise_px: float, settings: PhotometricSettings, repeat: int = 1) -> dict[str, Any]:
    """Errors of the landmark fit and of the full fit, and CPU time per face of both (the least of `repeat`)."""
    n = len(scenes)
    g = torch.Generator().manual_seed(99)
    target = scenes.landmarks + noise_px * torch.randn(scenes.landmarks.shape, generator=g)
    at = scenes.landmarks.clamp(0, SIZE - 1).long()
    hidden = scenes.hidden[torch.arange(n)[:, None], at[..., 1], at[..., 0]]
    weights = (~hidden).float()
    fit_settings = FitSettings(noise_px=max(noise_px, 0.3))
    points, basis = bench.model.points("68"), bench.model.basis
    light = (torch.as_tensor(v, dtype=torch.float32) for v in (basis.light_mean, basis.light_std))
    fitter = PhotometricFitter(bench.model, bench.samples, select("numba"), *light, settings)
    term = LandmarkTerm(points, target, weights, scenes.focal, SIZE, fit_settings, torch.ones(n))
    photo, skin = scenes.image.float() / 255, scenes.visible.float()
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        fit = fit_landmarks(points, target, weights, scenes.focal, SIZE, fit_settings)
        middle = time.process_time()
        full = fitter(photo, skin, (fit.coefficients, fit.rotation, fit.translation), term)
        seconds.append((middle - start, time.process_time() - middle))
    truth = scenes.vertices.numpy()

    def vertex(coefficients: Tensor) -> np.ndarray:
        return vertex_errors(bench.model.vertices(coefficients).numpy(), truth, bench.eyes).rms

    def albedo(coefficients: Tensor) -> float:
        return float((bench.tint(coefficients) - scenes.tint).square().mean((1, 2)).sqrt().mean() * 255)

    tint = bench.tint(full.albedo)
    gain = (tint * scenes.tint).sum((1, 2)) / tint.square().sum((1, 2))
    free = (tint * gain[:, None, None] - scenes.tint).square().mean((1, 2)).sqrt().mean() * 255
    by_landmarks, by_photo = vertex(fit.coefficients), vertex(full.coefficients)
    turned = rotation_error_deg(full.rotation.numpy(), scenes.rotation.numpy())
    return {
        "n": n,
        "vertex_mean_face": float(vertex(torch.zeros_like(fit.coefficients)).mean()),
        "vertex_landmarks": float(by_landmarks.mean()),
        "vertex_full": float(by_photo.mean()),
        "better": float((by_photo < by_landmarks).mean()),
        "pose_deg": float(np.mean(turned)),
        "albedo_mean_face": albedo(torch.zeros_like(full.albedo)),
        "albedo_rms": albedo(full.albedo),
        "albedo_rms_up_to_gain": float(free),
        "light_rms": float((full.light - scenes.light).square().mean((1, 2)).sqrt().mean()),
        "landmark_ms": 1e3 * min(s[0] for s in seconds) / n,
        "photometric_ms": 1e3 * min(s[1] for s in seconds) / n,
    }


def run(base: str, faces: int, repeat: int) -> Figures:
    """Every condition with exact and with 1 px-noisy landmarks."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        bench = Bench.of(base)
        figures: Figures = []
        for name, condition in CONDITIONS:
            scenes = make_scenes(bench.model, faces, 0, condition)
            for noise_px in (0.0, 1.0):
                row = measure(bench, scenes, noise_px, SETTINGS, repeat if name != "plain" else max(repeat, 3))
                figures.append({"photos": name, "noise_px": noise_px, **row})
        return figures
    finally:
        torch.set_num_threads(before)


@benchmark(
    "albedo, light and geometry from synthetic photos, against the truth: errors, and CPU time on one thread", group="engine"
)
def photometric(options: Options) -> Figures:
    """On the base that ships, refined to the size of the usual cut of the Basel face model."""
    return run("open_face", max(4, round(32 * options.scale)), options.repeat)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m jobs.benchmarks.photometric", description="The benchmark on another base.")
    parser.add_argument("--base", default="open_face", help="a face base by name, or a file")
    parser.add_argument("--faces", type=int, default=32, help="photos per condition")
    arguments = parser.parse_args()
    print(table(run(arguments.base, arguments.faces, 1)))
