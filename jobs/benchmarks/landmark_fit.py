"""The landmark fit: how far off, how fast, and how its cost grows."""

from __future__ import annotations

import os
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import torch

from jobs.bench import Figures, Options, benchmark
from jobs.benchmarks.landmark_truth import SIZE, Conditions, LandmarkTruth
from jobs.benchmarks.photometric_scenes import stand_in
from operators.morphable.bases import load_basis
from operators.morphable.fit import LandmarkFit, fit_landmarks
from operators.morphable.landmark_cost import FaceState, LandmarkCost
from operators.morphable.model import MorphableModel

BATCH = 64


def fit_model(points: str) -> MorphableModel:
    """The stand-in with 80 identity and 64 expression modes for 68 points, the base that ships for 468."""
    return MorphableModel(stand_in() if points == "68" else load_basis("open_face"))


def _measure(points: str, faces: int, seconds: float) -> dict[str, Any]:
    torch.set_num_threads(1)
    truth = LandmarkTruth(fit_model(points), faces, Conditions(points))
    fit = truth.fit()
    assert bool(fit.converged.all())
    cpu: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or len(cpu) < 3:
        before = time.process_time()
        truth.fit()
        cpu.append(time.process_time() - before)
    wall = time.perf_counter() - start
    return {
        "cpu_ms": 1e3 * statistics.median(cpu) / faces,
        "faces_per_s": len(cpu) * faces / wall,
        "steps": float(fit.steps.float().mean()),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def fit_rate(points: str, processes: int, faces: int = BATCH, seconds: float = 4.0) -> dict[str, Any]:
    """Faces per second of `processes` processes side by side, one thread each; CPU time per face is the median batch's."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        runs = list(pool.map(_measure, *zip(*[(points, faces, seconds)] * processes, strict=True)))
    return {
        "processes": processes,
        "faces_per_s": sum(run["faces_per_s"] for run in runs),
        "cpu_ms_per_face": statistics.median(run["cpu_ms"] for run in runs),
        "steps": statistics.mean(run["steps"] for run in runs),
        "peak_mib": max(run["peak_mib"] for run in runs),
    }


def adam_fit(
    truth: LandmarkTruth, steps: tuple[int, int] = (1000, 500), rates: tuple[float, float] = (0.03, 0.01)
) -> LandmarkFit:
    """The same cost by Adam and automatic gradients, as single-photo fits commonly do: first the pose, then everything."""
    begin = fit_landmarks(
        truth.points, truth.target, truth.weights, truth.focal_px, SIZE, replace(truth.settings, max_steps=0)
    )  # fmt: skip
    ones = torch.ones_like(begin.coefficients)
    cost = LandmarkCost(truth.points, truth.target, truth.weights, ones, truth.focal_px, SIZE, truth.settings)
    distance = begin.translation[:, 2:].abs()
    start = FaceState(begin.coefficients, begin.rotation, begin.translation, truth.focal_px)
    step = torch.zeros(truth.n, ones.shape[1] + 7, requires_grad=True)
    scale = torch.cat((ones, torch.ones(truth.n, 3), distance.expand(-1, 3), torch.zeros(truth.n, 1)), 1)
    pose = torch.cat((0 * ones, torch.ones(truth.n, 7)), 1)
    for count, rate, free in ((steps[0], rates[0], pose), (steps[1], rates[1], torch.ones_like(pose))):
        optimizer = torch.optim.Adam([step], lr=rate)
        for _ in range(count):
            optimizer.zero_grad()
            cost.value(start.moved(step * scale)).sum().backward()
            step.grad *= free  # type: ignore[operator]
            optimizer.step()
    end = start.moved((step * scale).detach())
    return replace(
        begin, coefficients=end.coefficients, rotation=end.rotation, translation=end.translation, cost=cost.value(end)
    )  # fmt: skip


@benchmark("the landmark fit beside Adam on the same cost and the same faces", group="engine")
def fit_beside_adam(options: Options) -> Figures:
    """One thread, one batch; the ratio is of CPU times. Noise 1 pixel, nothing hidden."""
    figures: Figures = []
    torch.set_num_threads(1)
    n = max(4, round(BATCH * options.scale))
    for points in ("68", "468"):
        truth = LandmarkTruth(fit_model(points), n, Conditions(points))
        truth.fit()
        taken = {}
        for name, run in (("levenberg-marquardt", LandmarkTruth.fit), ("adam 1000 + 500 steps", adam_fit)):
            before = time.process_time()
            fit = run(truth)
            taken[name] = 1e3 * (time.process_time() - before) / n
            errors = truth.errors(fit)
            figures.append(
                {
                    "points": points,
                    "method": name,
                    "n": n,
                    "cpu_ms_per_face": taken[name],
                    "times_slower": taken[name] / taken["levenberg-marquardt"],
                    "cost": float(fit.cost.mean()),
                    "vertex": errors.vertex,
                    "landmark_px": errors.seen_px,
                }
            )
    return figures


@benchmark("accuracy of the landmark fit by pose and by share of landmarks hidden, on synthetic truth", group="engine")
def fit_accuracy(options: Options) -> Figures:
    """Faces drawn from the base's own priors; noise 1 pixel of a 256-pixel crop; the lowest landmarks are hidden."""
    figures: Figures = []
    n = max(4, round(64 * options.scale))
    for points in ("68", "468"):
        model = MorphableModel(load_basis("open_face"))
        for hidden in (0.0, 0.3, 0.6):
            for yaw in ((0.0, 20.0), (20.0, 40.0), (40.0, 60.0)):
                for noise in (0.0, 1.0):
                    truth = LandmarkTruth(model, n, Conditions(points, noise, yaw, hidden))
                    fit = truth.fit()
                    row = {"points": points, "hidden": hidden, "yaw_deg": f"{yaw[0]:.0f}-{yaw[1]:.0f}", "noise_px": noise, "n": n}
                    figures.append({**row, "ok": int(fit.ok.sum()), **vars(truth.errors(fit))})
    return figures


@benchmark("faces/s of the landmark fit: one process, and one for every core", group="engine")
def fit_speed(options: Options) -> Figures:
    """68 points: 80 identity and 64 expression modes; 468 points: the base that ships. To convergence, noise 1 pixel.

    Every process has one thread; CPU time per face is that of the median batch.
    """
    figures: Figures = []
    faces = max(1, round(BATCH * options.scale))
    for points in ("68", "468"):
        for processes in sorted({1, len(os.sched_getaffinity(0))}):
            figures.append({"points": points, "batch": faces, **fit_rate(points, processes, faces)})
    return figures


@benchmark("cost of the landmark fit as the batch grows from 1 to 4096 faces, one thread", group="engine")
def fit_scaling(options: Options) -> Figures:
    """CPU time per face and the process's peak memory; each size in a process of its own."""
    figures: Figures = []
    for points in ("68", "468"):
        for faces in (1, 8, 64, 512, 4096):
            count = max(1, round(faces * options.scale))
            figures.append({"points": points, "faces": count, **fit_rate(points, 1, count, seconds=2.0)})
    return figures
