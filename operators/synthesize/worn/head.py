"""The fitted face as something to lay cloth on: distances from a centre inside the head, and a head behind the face's rim."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int

from operators.faces.canonical import canonical_mesh
from operators.morphable.basis import UNIT_MM, FaceBasis
from operators.rasterize.numba_backend import NumbaRasterizer

_STEP_DEG = 1.5
_SIDE_DEG, _LOW_DEG, _HIGH_DEG = 120.0, -84.0, 66.0
_FAR = 1000.0
_BACK_MM = (25.0, 60.0)


def mirrored_landmarks() -> Int[np.ndarray, "468"]:
    """The landmark on the other side of the face, for each of the 468."""
    mesh = canonical_mesh()
    flipped = mesh * (-1.0, 1.0, 1.0)
    return np.square(mesh[None] - flipped[:, None]).sum(-1).argmin(1)


def rim(triangles: Int[np.ndarray, "triangles 3"], points: Float[np.ndarray, "vertices 3"]) -> Int[np.ndarray, " rim"]:
    """The longest open edge of a mesh as a closed loop of vertices; empty when the mesh is closed."""
    after: dict[int, int] = {}
    edges = {(int(t[i]), int(t[(i + 1) % 3])) for t in triangles for i in range(3)}
    for a, b in edges:
        if (b, a) not in edges:
            after[a] = b
    best: list[int] = []
    seen: set[int] = set()
    extents: defaultdict[int, float] = defaultdict(float)
    for start in sorted(after):
        loop, at = [], start
        while at in after and at not in seen:
            seen.add(at)
            loop.append(at)
            at = after[at]
        if len(loop) > 2:
            extents[start] = float(np.ptp(points[loop], axis=0).max())
            if extents[start] >= max(extents.values()):
                best = loop
    return np.array(best, np.int64)


class HeadMaker:
    """Vertices of a face and of a plain head behind its rim, in millimetres of the face frame."""

    def __init__(self, basis: FaceBasis):
        self.unit_mm = UNIT_MM[basis.unit]
        self.mean = np.ascontiguousarray(basis.mean.reshape(-1), np.float32) * np.float32(self.unit_mm)
        modes = np.concatenate((basis.identity, basis.expression)).reshape(len(basis.identity) + len(basis.expression), -1)
        self.modes = np.ascontiguousarray(modes, np.float32) * np.float32(self.unit_mm)
        self.rim = rim(basis.triangles, basis.mean)
        self.anchors = basis.surface_points("468")
        count, n = len(basis.mean), len(self.rim)
        quads = []
        for ring in range(len(_BACK_MM)):
            inner = self.rim if ring == 0 else count + (ring - 1) * n + np.arange(n)
            outer = count + ring * n + np.arange(n)
            # The rim runs with the face on its left; what continues outward turns the other way round.
            quads += [
                np.stack((np.roll(inner, -1), inner, outer), 1),
                np.stack((np.roll(inner, -1), outer, np.roll(outer, -1)), 1),
            ]
        self.triangles = np.concatenate((basis.triangles, *quads)).astype(np.int32) if n else basis.triangles.astype(np.int32)
        self.rasterizer = NumbaRasterizer(perspective=False)

    def __call__(self, coefficients: Float[np.ndarray, " modes"]) -> Head:
        """The head of one face from its identity and expression."""
        flat = self.mean.copy()
        for value, mode in zip(coefficients.astype(np.float32), self.modes, strict=True):
            flat += value * mode
        face = flat.reshape(-1, 3)
        landmarks = self.anchors.at(face)
        edge = face[self.rim]
        low = np.clip((landmarks[234, 1] + landmarks[454, 1]) / 2 - edge[:, 1], 0, 90) / 90
        rings = [
            np.stack(
                (edge[:, 0] * (1 - (0.03 + 0.2 * low) * back / 60), edge[:, 1] - 0.12 * low * back, edge[:, 2] - back), 1
            )
            for back in _BACK_MM
        ]  # fmt: skip
        vertices = np.concatenate((face, *rings)).astype(np.float32)
        centre = np.array([0.0, landmarks[2, 1], 0.5 * (landmarks[234, 2] + landmarks[454, 2]) + 7.0])
        return Head(vertices, self.triangles, landmarks, centre, self._distances(vertices, centre), len(face))

    def _distances(self, vertices: np.ndarray, centre: np.ndarray) -> Float[np.ndarray, "rows columns"]:
        """Distance of the outermost surface from the centre by direction, in steps of 1.5 degrees."""
        offset = vertices - centre.astype(np.float32)
        radius = np.linalg.norm(offset, axis=1)
        side = np.degrees(np.arctan2(offset[:, 0], offset[:, 2]))
        high = np.degrees(np.arcsin(offset[:, 1] / np.maximum(radius, 1e-6)))
        columns, rows = round(2 * _SIDE_DEG / _STEP_DEG), round((_HIGH_DEG - _LOW_DEG) / _STEP_DEG)
        placed = np.stack(((side + _SIDE_DEG) / _STEP_DEG, (_HIGH_DEG - high) / _STEP_DEG, _FAR - radius), 1)
        # A triangle behind the head that spans the cut at 180 degrees would lie across the whole picture.
        spans = np.ptp(side[self.triangles], axis=1) < 90
        kept = torch.from_numpy(np.ascontiguousarray(self.triangles[spans]))
        depth = self.rasterizer(torch.from_numpy(placed.astype(np.float32))[None], kept, rows, columns).depth[0].numpy()
        found = np.where(np.isfinite(depth), _FAR - depth, 0.0).astype(np.float32)
        return _filled(found)


def _filled(distances: np.ndarray) -> np.ndarray:
    """Directions without a surface take those of the nearest ones in their column, then in their row."""
    out = distances.copy()
    for array in (out.T, out):
        for line in array:
            hit = np.flatnonzero(line > 0)
            if 0 < len(hit) < len(line):
                line[:] = np.interp(np.arange(len(line)), hit, line[hit])
    return out


@dataclass(frozen=True)
class Head:
    """`vertices` holds the face (`count` of them), then the plain head behind it; mm, face frame."""

    vertices: Float[np.ndarray, "vertices 3"]
    triangles: Int[np.ndarray, "triangles 3"]
    landmarks: Float[np.ndarray, "468 3"]
    centre: Float[np.ndarray, "3"]
    distances: Float[np.ndarray, "rows columns"]
    count: int

    def angles(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 2"]:
        """Directions of points from the centre: degrees to the viewer's right and upwards."""
        offset = points - self.centre
        radius = np.maximum(np.linalg.norm(offset, axis=-1), 1e-6)
        return np.degrees(np.stack((np.arctan2(offset[..., 0], offset[..., 2]), np.arcsin(offset[..., 1] / radius)), -1))

    def skin(self, angles: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n"]:
        """Distance of the skin in those directions, bilinear, mm."""
        shape = angles.shape[:-1]
        x = ((angles[..., 0] + _SIDE_DEG) / _STEP_DEG - 0.5).astype(np.float32).reshape(1, -1)
        y = ((_HIGH_DEG - angles[..., 1]) / _STEP_DEG - 0.5).astype(np.float32).reshape(1, -1)
        return (
            cv2.remap(self.distances, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(shape).astype(np.float64)
        )


def unit(angles: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 3"]:
    """Unit vectors of directions."""
    side, high = np.radians(angles[..., 0]), np.radians(angles[..., 1])
    return np.stack((np.cos(high) * np.sin(side), np.sin(high), np.cos(high) * np.cos(side)), -1)
