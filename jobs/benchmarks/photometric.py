"""The fit with albedo, light and photometric steps, on photos whose truth is known.

python -m jobs.bench photometric
python -m jobs.benchmarks.photometric --base ict_facekit.npz --faces 32
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jobs.bench import Figures, Options, benchmark, table
from jobs.benchmarks.photometric_scenes import SIZE, Scenes, SceneSettings, make_scenes, stand_in
from operators.metrics.geometry import rotation_error_deg, vertex_errors
from operators.morphable.appearance import AppearanceSettings
from operators.morphable.atlas import AlbedoModel
from operators.morphable.fit import FitSettings, fit_landmarks
from operators.morphable.landmark_cost import landmark_cost
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
    mean, std = (torch.as_tensor(v, dtype=torch.float32) for v in (basis.light_mean, basis.light_std))
    fitter = PhotometricFitter(bench.model, bench.samples, select("numba"), mean, std, settings)
    term = landmark_cost(points, target, weights, scenes.focal, SIZE, fit_settings)
    photo, skin = scenes.image.float() / 255, scenes.visible.float()
    seconds = []
    begin = time.perf_counter()
    for _ in range(repeat):
        start = time.process_time()
        fit = fit_landmarks(points, target, weights, scenes.focal, SIZE, fit_settings)
        middle = time.process_time()
        full = fitter(photo, skin, (fit.coefficients, fit.rotation, fit.translation), term)
        seconds.append((middle - start, time.process_time() - middle))
    wall = (time.perf_counter() - begin) / repeat
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
        "wall_s": wall,
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


def _rate(base: str, faces: int, seconds: float) -> tuple[float, float, float]:
    torch.set_num_threads(1)
    bench = Bench.of(base)
    scenes = make_scenes(bench.model, faces)
    measure(bench, scenes, 1.0, SETTINGS)
    times: list[float] = []
    start = time.perf_counter()
    wall = 0.0
    while time.perf_counter() - start < seconds or len(times) < 2:
        row = measure(bench, scenes, 1.0, SETTINGS)
        times.append(row["landmark_ms"] + row["photometric_ms"])
        wall += row["wall_s"]
    return len(times) * faces / wall, statistics.median(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@benchmark("the full fit (landmarks, albedo, light, photometric steps) as 1 and 2 processes of one thread", group="engine")
def photometric_rate(options: Options) -> Figures:
    """On the base that ships, refined to the size of the usual cut of the Basel face model."""
    figures: Figures = []
    for processes in (1, 2):
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            runs = list(pool.map(_rate, *zip(*[("open_face", 32, 6.0 * options.scale)] * processes, strict=True)))
        rates, cpu, memory = zip(*runs, strict=True)
        row = {"processes": processes, "faces_per_s": sum(rates), "cpu_ms_per_face": statistics.median(cpu)}
        figures.append({**row, "peak_mib": max(memory)})
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m jobs.benchmarks.photometric", description="The benchmark on another base.")
    parser.add_argument("--base", default="open_face", help="a face base by name, or a file")
    parser.add_argument("--faces", type=int, default=32, help="photos per condition")
    arguments = parser.parse_args()
    print(table(run(arguments.base, arguments.faces, 1)))
