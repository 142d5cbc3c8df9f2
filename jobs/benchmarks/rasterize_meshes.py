"""Meshes for the benchmarks of the rasterizers: posed faces, and a relief of any number of vertices."""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from operators.morphable import camera
from operators.morphable.bases import load_basis

ICT_VARIABLE = "UNMASK_ICT_FACEKIT"
"""Environment variable with the path of an ict_facekit .npz; without it only the base that ships is measured."""


def bases() -> list[str]:
    """Names or paths of the face bases at hand."""
    path = os.environ.get(ICT_VARIABLE)
    return ["open_face", path] if path else ["open_face"]


@lru_cache(maxsize=8)
def posed_faces(base: str, count: int, size: int, yaw_deg: float = 20.0, height: float = 0.95) -> tuple[Tensor, Tensor]:
    """(count, vertices, 3) in pixels and depth, and triangles: other people, poses spread over +-`yaw_deg`, the face `height`
    times as high as the picture."""
    basis = load_basis(base)
    rng = np.random.default_rng(0)
    mean = basis.mean.astype(np.float32)
    low, high = mean.min(0), mean.max(0)
    shape = mean - (low + high) / 2
    people = [
        shape
        + 0.7 * np.tensordot(rng.standard_normal(len(basis.identity)), basis.identity, 1)
        + 0.3 * np.tensordot(rng.standard_normal(len(basis.expression)), basis.expression, 1)
        for _ in range(count)
    ]
    yaw = np.linspace(-yaw_deg, yaw_deg, count) if count > 1 else np.zeros(1)
    angles = np.stack((rng.uniform(-15, 15, count), yaw, rng.uniform(-10, 10, count)), 1)
    shift = torch.tensor([0.0, 0.0, 4.0 * float((high - low)[1]) / height]).expand(count, 3)
    turned = camera.rotation_from_deg(torch.tensor(angles, dtype=torch.float32))
    inside = camera.to_camera(torch.tensor(np.stack(people), dtype=torch.float32), turned, shift)
    return camera.project_with_depth(inside, torch.full((count,), 4.0 * size), size).contiguous(), torch.as_tensor(
        basis.triangles
    )


@lru_cache(maxsize=16)
def relief(vertices: int, count: int, size: int) -> tuple[Tensor, Tensor]:
    """A wavy disc of about `vertices` vertices that fills 40 % of the picture, as a face in a crop does."""
    n = round(vertices**0.5)
    v, u = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    x, y = u * np.sqrt(1 - v**2 / 2), v * np.sqrt(1 - u**2 / 2)
    depth = 10 - np.sqrt(np.maximum(1.2 - x**2 - y**2, 0)) + 0.05 * np.sin(9 * x) * np.cos(7 * y)
    place = np.stack((size * (0.5 + 0.357 * x), size * (0.5 + 0.357 * y), depth), -1).reshape(1, -1, 3)
    cells = np.arange(n * n).reshape(n, n)
    a, b, c, d = (part.ravel() for part in (cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]))
    triangles = np.stack((np.stack((a, c, b), 1), np.stack((b, c, d), 1)), 1).reshape(-1, 3)
    shifts = np.random.default_rng(0).uniform(-2, 2, (count, 1, 3)) * [1, 1, 0]
    return torch.tensor(place + shifts, dtype=torch.float32), torch.tensor(triangles.astype(np.int32))
