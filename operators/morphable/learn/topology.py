"""The face mesh that a base is learned on: 468 points, triangles, UV layout, symmetry and the iBUG-68 points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

OUTER_EYES = (33, 263)
"""Mesh points at the outer corners of the eyes."""


EYE_CONTOUR = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
"""Lid edge of one eye, in order; the other eye's are the mirror partners."""

MOUTH_CONTOUR = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""Inner edge of the lips, in order."""

HAIRLINE = (10, 109, 67, 103, 54, 21, 338, 297, 332, 284, 251)
"""Upper rim of the mesh, which no expression moves."""


@dataclass(frozen=True)
class Topology:
    """Connectivity of the face mesh and its standard shape (any unit, face frame)."""

    points: Float[np.ndarray, "vertices 3"]
    triangles: Int[np.ndarray, "triangles 3"]
    uv: Float[np.ndarray, "vertices 2"]
    """In [0, 1], v down, left-right symmetric about u = 0.5."""
    mirror: Int[np.ndarray, " vertices"]
    mouth: Bool[np.ndarray, " triangles"]
    """Triangles between the lips."""


def read_topology(path: Path) -> Topology:
    """A Wavefront .obj with triangles and one UV point per vertex, symmetric about x = 0, or the same numbers as .npz.

    Errors: ValueError when a vertex has two UV points or no mirror partner.
    """
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            vertices, uv, triangles = file["vertices_cm"], file["uv"], file["triangles"].astype(np.int64)
        mouth = np.asarray(np.isin(triangles, MOUTH_CONTOUR).all(1))
        return Topology(vertices, triangles, uv, mirror_partners(vertices), mouth)
    points, coordinates, corners, uv_corners = [], [], [], []
    for line in path.read_text().splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            points.append([float(f) for f in fields[:3]])
        elif kind == "vt":
            coordinates.append([float(f) for f in fields[:2]])
        elif kind == "f":
            pairs = [f.split("/") for f in fields]
            corners.append([int(p[0]) - 1 for p in pairs])
            uv_corners.append([int(p[1]) - 1 for p in pairs])
    vertices, triangles = np.array(points), np.array(corners)
    uv_of = np.full(len(vertices), -1)
    uv_of[triangles.ravel()] = np.array(uv_corners).ravel()
    if (uv_of < 0).any() or (uv_of[triangles] != np.array(uv_corners)).any():
        raise ValueError(f"{path}: expected exactly one UV point per vertex")
    mirror = mirror_partners(vertices)
    uv = np.array(coordinates)[uv_of] * [1.0, -1.0] + [0.0, 1.0]
    uv = (uv + uv[mirror] * [-1.0, 1.0] + [1.0, 0.0]) / 2
    uv[:, 1] += 0.5 - (uv[:, 1].min() + uv[:, 1].max()) / 2
    return Topology(
        vertices,
        triangles,
        uv.astype(np.float32).astype(np.float64),
        mirror,
        np.asarray(np.isin(triangles, MOUTH_CONTOUR).all(1)),
    )


def mirror_partners(points: Float[np.ndarray, "vertices 3"], tolerance: float = 1e-3) -> Int[np.ndarray, " vertices"]:
    """For each vertex the one at its mirror image in x = 0, to `tolerance` of the mesh's width."""
    flipped = points * [-1.0, 1.0, 1.0]
    distance = np.linalg.norm(flipped[:, None] - points[None], axis=-1)
    partner = distance.argmin(1)
    far = distance.min(1) > tolerance * np.ptp(points[:, 0])
    if far.any() or (partner[partner] != np.arange(len(points))).any():
        raise ValueError(f"{int(far.sum())} vertices have no mirror partner: expected a mesh symmetric about x = 0")
    return partner
