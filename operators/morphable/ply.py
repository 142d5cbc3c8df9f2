"""Meshes as Stanford .ply files, binary, little endian."""

from __future__ import annotations

import numpy as np

from operators.morphable.basis import FaceBasis
from operators.morphable.export import ExportedFace, Welded

_VERTEX = np.dtype([("place", "<f4", 3), ("normal", "<f4", 3), ("rgb", "u1", 3), ("uv", "<f4", 2)])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
_HEADER = """ply
format binary_little_endian 1.0
comment TextureFile mesh.png
element vertex {vertices}
property float x
property float y
property float z
property float nx
property float ny
property float nz
property uchar red
property uchar green
property uchar blue
property float s
property float t
element face {faces}
property list uchar int vertex_indices
end_header
"""


class PlyWriter:
    """Places, normals, colours of the texture and texture coordinates (v up) per vertex; in the basis's unit.

    A vertex on a UV seam appears once for each side of it.
    """

    def __init__(self, basis: FaceBasis):
        self._mesh = Welded.of(basis)
        self._uv = basis.uv[self._mesh.uv].astype(np.float32)
        faces = np.empty(len(self._mesh.triangles), _FACE)
        faces["count"], faces["corners"] = 3, self._mesh.triangles
        self._head = _HEADER.format(vertices=len(self._uv), faces=len(faces)).encode()
        self._faces = faces.tobytes()

    def __call__(self, face: ExportedFace) -> bytes:
        vertices = np.empty(len(self._uv), _VERTEX)
        vertices["place"], vertices["normal"] = face.vertices[self._mesh.vertex], face.normals[self._mesh.vertex]
        vertices["rgb"] = texture_at(face.texture, self._uv)
        vertices["uv"] = np.stack((self._uv[:, 0], 1 - self._uv[:, 1]), 1)
        return b"".join((self._head, vertices.tobytes(), self._faces))


def rename_texture(ply: bytes, texture: str) -> bytes:
    """The same .ply with another texture file name."""
    start = ply.index(b"comment TextureFile ") + len(b"comment TextureFile ")
    return ply[:start] + texture.encode() + ply[ply.index(b"\n", start) :]


def texture_at(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear colours (n, 3) uint8 of a uint8 texture at uv in [0, 1]."""
    px = len(texture)
    place = np.clip(uv * px - 0.5, 0, px - 1)
    low = np.minimum(place.astype(np.int64), max(px - 2, 0))
    high = np.minimum(low + 1, px - 1)
    fx, fy = (place - low)[:, :1], (place - low)[:, 1:]
    (left, top), (right, bottom) = low.T, high.T
    upper = texture[top, left] * (1 - fx) + texture[top, right] * fx
    lower = texture[bottom, left] * (1 - fx) + texture[bottom, right] * fx
    return (upper * (1 - fy) + lower * fy + 0.5).astype(np.uint8)
