"""Meshes as files: Wavefront .obj and .mtl."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from operators.morphable.basis import FaceBasis


class ObjWriter:
    """Writes meshes of one basis; all that they share is formatted once.

    Face frame, y up, in the basis's unit; texture coordinates with v up, as the format wants.
    """

    def __init__(self, basis: FaceBasis):
        uv = "".join(f"vt {u:.5f} {1 - v:.5f}\n" for u, v in basis.uv.tolist())
        pairs = np.stack((basis.triangles, basis.uv_triangles), -1).reshape(-1, 6) + 1
        faces = "".join("f {}/{} {}/{} {}/{}\n".format(*row) for row in pairs.tolist())
        self._rest = f"{uv}usemtl face\n{faces}".encode()
        self._lines = "v %.4f %.4f %.4f\n" * len(basis.mean)

    def obj(self, vertices: Float[np.ndarray, "vertices 3"], material: str = "mesh.mtl") -> bytes:
        """The mesh; `material` is the name of the .mtl file that lies beside it."""
        head = f"mtllib {material}\n".encode()
        return head + (self._lines % tuple(vertices.ravel().tolist())).encode() + self._rest


def rename_material(obj: bytes, material: str) -> bytes:
    """The same .obj with another .mtl file name."""
    return b"mtllib " + material.encode() + obj[obj.index(b"\n") :]


def mtl(texture: str) -> bytes:
    """A matte material that shows the image file `texture`."""
    return f"newmtl face\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture}\n".encode()
