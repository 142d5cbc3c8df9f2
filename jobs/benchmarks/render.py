"""What a face costs to texture, draw and write, stage by stage, in CPU time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from jobs.bench import Figures, Options, benchmark
from operators.batch import Batch
from operators.morphable import camera, render
from operators.morphable.draw import Drawing
from operators.morphable.export import ExportedFace, MeshWriter
from operators.morphable.views import placed
from operators.segment.regions import LOWER_FACE, polygons

_FACES, _SIZE, _ROUNDS = 32, 256, 5


def make_batch(renderer: render.FaceRenderer, count: int, size: int = _SIZE, seed: int = 0) -> Batch:
    """Fitted faces that do not exist, in crops of noise about skin colour, their lower halves covered."""
    basis, rng = renderer.model.basis, np.random.default_rng(seed)
    values: dict[str, np.ndarray] = {
        "identity": rng.normal(0, 0.8, (count, len(basis.identity))),
        "expression": rng.normal(0, 0.2, (count, len(basis.expression))),
        "albedo": rng.normal(0, 0.7, (count, len(basis.albedo))),
        "light": basis.light_mean + 0.5 * rng.normal(size=(count, 9, 1)) * basis.light_std,
        "rotation_deg": rng.uniform(-1, 1, (count, 3)) * [10, 35, 8],
        "translation": np.tile([0, 0, 4.0 * np.ptp(basis.mean[:, 1]) / 0.6], (count, 1)),
        "focal_px": np.full(count, 4.0 * size),
    }
    values = {name: value.astype(np.float32) for name, value in values.items()}
    coefficients = torch.from_numpy(np.concatenate((values["identity"], values["expression"]), 1))
    rotation = camera.rotation_from_deg(torch.from_numpy(values["rotation_deg"]))
    points = renderer.model.points("468").at(coefficients)
    translation, focal = torch.from_numpy(values["translation"]), torch.from_numpy(values["focal_px"])
    values["landmarks468_px"] = placed(points, rotation, translation, focal, size).numpy()
    values["crop_from_image"] = np.repeat(np.eye(2, 3, dtype=np.float32)[None], count, 0)
    values["crop"] = rng.integers(120, 200, (count, size, size, 3), dtype=np.uint8)
    values["crop_valid"] = np.ones((count, size, size), bool)
    values["occluder"] = polygons(values["landmarks468_px"][:, LOWER_FACE, :2], size)
    batch = Batch.from_images([b""] * count)
    batch.set_faces(np.arange(count))
    for name, value in values.items():
        batch.put(name, value)
    return batch


@contextmanager
def _clocked(spent: dict[str, float], calls: dict[str, tuple[Any, str]]) -> Iterator[None]:
    """Adds the CPU time of these attributes (owner, name) to `spent` by stage while inside."""
    before = {stage: getattr(*call) for stage, call in calls.items()}

    def clocked(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                spent[stage] += time.process_time() - start

        return call

    for stage, (owner, name) in calls.items():
        setattr(owner, name, clocked(stage, before[stage]))
    try:
        yield
    finally:
        for stage, (owner, name) in calls.items():
            setattr(owner, name, before[stage])


@benchmark("CPU-ms per face of texturing, drawing and five views on the shipped base, by stage; best of several rounds", "render")
def render_stages(options: Options) -> Figures:
    """Stages of the whole are timed inside one run of the operator; formats of a mesh one by one."""
    count = max(1, round(_FACES * options.scale))
    renderer = render.FaceRenderer(render.FaceRendererConfig(mesh=False))
    batch = make_batch(renderer, count)
    calls: dict[str, tuple[Any, str]] = {
        "rasterize": (type(renderer.rasterizer), "__call__"),
        "model texture": (render, "model_texture"),
        "unwrap": (render, "unwrap"),
        "usable pixels": (render.FaceRenderer, "_usable"),
        "complete": (render, "complete"),
        "draw": (render, "draw_textured"),
        "blend": (Drawing, "picture"),
        "normals": (type(renderer.model), "normals"),
    }
    rounds: list[dict[str, float]] = []
    renderer(batch.copy())
    for _ in range(_ROUNDS * options.repeat):
        spent: dict[str, float] = defaultdict(float)
        start = time.process_time()
        with _clocked(spent, calls):
            drawn = renderer(batch.copy()).faces
        rounds.append({"whole operator": time.process_time() - start, **spent})
    best = min(rounds, key=lambda r: r["whole operator"])
    figures = [{"stage": stage, "cpu_ms_per_face": 1e3 * seconds / count, "faces": count} for stage, seconds in best.items()]
    return figures + [_writing(kind, writer(renderer.model.basis), drawn, renderer) for kind, writer in render.WRITERS.items()]


def _writing(kind: str, writer: MeshWriter, drawn: dict[str, np.ndarray], renderer: render.FaceRenderer) -> dict[str, Any]:
    names = ("identity", "expression")
    vertices = renderer.model.vertices(torch.from_numpy(np.concatenate([drawn[name] for name in names], 1)))
    normals = renderer.model.normals(vertices).numpy()
    texture = np.full((256, 256, 3), 128, np.uint8)
    texture[::2] = drawn["render"][0][::2]
    faces = [ExportedFace(v, n, texture) for v, n in zip(vertices.numpy(), normals, strict=True)]
    times = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        sizes = [len(writer(face)) for face in faces]
        times.append(time.process_time() - start)
    return {
        "stage": f"write .{kind}",
        "cpu_ms_per_face": 1e3 * min(times) / len(faces),
        "faces": len(faces),
        "kilobytes": sum(sizes) / len(sizes) / 1e3,
    }
