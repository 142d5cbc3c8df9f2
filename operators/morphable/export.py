"""Meshes as files: Wavefront .obj and .mtl, and what every format shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, no_type_check, runtime_checkable

import numba
import numpy as np
from jaxtyping import Float, Int, UInt8

from operators.morphable.basis import FaceBasis


@dataclass(frozen=True)
class ExportedFace:
    """What a file is made from, in the face frame (y up, z towards the viewer) and the basis's unit; light as in `texture`."""

    vertices: Float[np.ndarray, "vertices 3"]
    normals: Float[np.ndarray, "vertices 3"]
    texture: UInt8[np.ndarray, "px px 3"]


@runtime_checkable
class MeshWriter(Protocol):
    """Writes meshes of one basis; all that they share is formatted once. Same face, same bytes."""

    def __call__(self, face: ExportedFace) -> bytes: ...


@dataclass(frozen=True)
class Welded:
    """The mesh with one texture coordinate per vertex: vertices on UV seams are doubled, unused ones left out.

    `vertex` and `uv` say which of the basis's vertices and UV points each one is.
    """

    vertex: Int[np.ndarray, " points"]
    uv: Int[np.ndarray, " points"]
    triangles: Int[np.ndarray, "triangles 3"]

    @classmethod
    def of(cls, basis: FaceBasis) -> Welded:
        """In the order of the basis's vertices."""
        corners = np.stack((basis.triangles, basis.uv_triangles), -1).reshape(-1, 2)
        pairs, which = np.unique(corners, axis=0, return_inverse=True)
        return cls(pairs[:, 0], pairs[:, 1], which.reshape(-1, 3))


class ObjWriter:
    """Wavefront .obj: texture coordinates with v up, places to a millionth of the face's size."""

    def __init__(self, basis: FaceBasis):
        uv = "".join(f"vt {u:.5f} {1 - v:.5f}\n" for u, v in basis.uv.tolist())
        pairs = np.stack((basis.triangles, basis.uv_triangles), -1).reshape(-1, 6) + 1
        faces = "".join("f {}/{} {}/{} {}/{}\n".format(*row) for row in pairs.tolist())
        self._head, self._rest = b"mtllib mesh.mtl\n", f"{uv}usemtl face\n{faces}".encode()
        self._decimals = min(max(6 - math.floor(math.log10(float(np.ptp(basis.mean, 0).max()))), 0), 9)

    def __call__(self, face: ExportedFace) -> bytes:
        lines = np.empty(len(face.vertices) * 3 * 24 + 2, np.uint8)
        length = _print_vertices(np.asarray(face.vertices, np.float64), self._decimals, lines)
        return b"".join((self._head, lines[:length].tobytes(), self._rest))


def rename_material(obj: bytes, material: str) -> bytes:
    """The same .obj with another .mtl file name."""
    return b"mtllib " + material.encode() + obj[obj.index(b"\n") :]


def mtl(texture: str) -> bytes:
    """A matte material that shows the image file `texture`."""
    return f"newmtl face\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture}\n".encode()


@numba.njit(cache=True)
@no_type_check
def _print_vertices(vertices, decimals, out):
    """Lines `v x y z` with fixed decimals; the bytes written. A number that is not finite is written as 0."""
    scale = 10.0**decimals
    digits = np.empty(20, np.uint8)
    at = 0
    for v in range(len(vertices)):
        out[at] = 118
        at += 1
        for k in range(3):
            out[at] = 32
            at += 1
            value = vertices[v, k]
            if not abs(value) < 1e8:
                value = 0.0
            whole = np.int64(np.rint(abs(value) * scale))
            if value < 0 and whole > 0:
                out[at] = 45
                at += 1
            count = 0
            while whole > 0 or count <= decimals:
                digits[count] = 48 + whole % 10
                whole //= 10
                count += 1
            for i in range(count - 1, -1, -1):
                out[at] = digits[i]
                at += 1
                if i == decimals and decimals > 0:
                    out[at] = 46
                    at += 1
        out[at] = 10
        at += 1
    return at
