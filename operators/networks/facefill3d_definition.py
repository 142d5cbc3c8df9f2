"""3DFaceFill's face definition: the raw files of `datasets/3DMM_definition`, and the parameter statistics beside them.

All are little-endian; MATLAB wrote them, so indices count from 1 and 0 means none. Sizes follow from the files: the official ones
describe 53,215 vertices and 105,840 triangles of the Basel Face Model, 199 identity and 29 expression modes, in micrometres.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from operators.checkpoints.errors import CheckpointError

ROWS, COLUMNS, BORDER = 192, 224, 16
"""Size of `3DMM_tri_2d.dat`, and the empty columns that the networks' UV pictures have on both sides of it."""
RAW = {
    "3DMM_tri.dat": "<i4",
    "3DMM_vertex_tri.dat": "<i4",
    "3DMM_tri_2d.dat": "<i4",
    "vertices_2d_u.dat": "<f4",
    "vertices_2d_v.dat": "<f4",
    "3DMM_shape_basis.dat": "<f4",
    "3DMM_exp_basis.dat": "<f4",
}
STATISTICS = ("shape_para_mean.npy", "shape_para_std.npy")
_GIVE = "unpack 3DMM_definition.zip of the project's page into datasets/, and copy datasets/*.npy of its repository beside it"


class FaceDefinition(nn.Module):
    """The face's mesh, its modes and its UV layout. Indices count from 0.

    `mean` is the face at coefficients 0, `modes` are per normalised coefficient: `shape * std + mean` is folded in.
    `vertex_triangles` lists up to 8 triangles of each vertex, the number of triangles meaning none; `texel_triangle` is the
    triangle of each texel, -1 where there is none. `texel_of_vertex` is each vertex' row and column in the UV picture.
    """

    triangles: Int[Tensor, "triangles 3"]
    vertex_triangles: Int[Tensor, "vertices 8"]
    texel_triangle: Int[Tensor, "rows columns"]
    texel_of_vertex: Float[Tensor, "vertices 2"]
    mean: Float[Tensor, "vertices 3"]
    modes: Float[Tensor, "coefficients xyz_of_vertices"]

    def __init__(self, arrays: Mapping[str, Tensor]):
        super().__init__()
        basis, expression = arrays["3DMM_shape_basis.dat"], arrays["3DMM_exp_basis.dat"]
        offset, spread = (arrays[name].float() for name in STATISTICS)
        modes = torch.cat((basis[1:], expression[1:]))
        mean = (basis[0].double() + expression[0].double() + offset.double() @ modes.double()).float().reshape(-1, 3)
        triangles = arrays["3DMM_tri.dat"].long().T - 1
        listed = arrays["3DMM_vertex_tri.dat"].long().T
        if _turned_in(mean, triangles):
            triangles = triangles[:, [0, 2, 1]]
        texels = nn.functional.pad(arrays["3DMM_tri_2d.dat"].long() - 1, (BORDER, BORDER), value=-1)
        place = torch.stack((arrays["vertices_2d_u.dat"] - 1, arrays["vertices_2d_v.dat"] - 1 + BORDER), 1)
        for name, value in (
            ("triangles", triangles.contiguous()),
            ("vertex_triangles", torch.where(listed == 0, len(triangles), listed - 1).contiguous()),
            ("texel_triangle", texels),
            ("texel_of_vertex", place.float()),
            ("mean", mean),
            ("modes", (modes * spread[:, None]).contiguous()),
        ):
            self.register_buffer(name, value, persistent=False)


def _turned_in(mean: Tensor, triangles: Tensor) -> bool:
    """Whether most of the mean face's triangles look towards its centre: the published code then turns all normals round."""
    a, b, c = (mean[triangles[:, k]] for k in range(3))
    out = (torch.linalg.cross(b - a, c - a) * ((a + b + c) / 3 - mean.mean(0))).double()
    return bool(out.sum() < 0)


def read_definition(files: Mapping[str, Path]) -> dict[str, Tensor]:
    """The arrays of the files, checked against each other, as stored. Errors: CheckpointError."""
    arrays = {name: _raw(files[name], kind) for name, kind in RAW.items()}
    vertices = len(arrays["vertices_2d_u.dat"])
    for name, rows in (("3DMM_shape_basis.dat", None), ("3DMM_exp_basis.dat", None), ("vertices_2d_v.dat", 1)):
        width = vertices if rows else 3 * vertices
        if arrays[name].size % max(width, 1) or arrays[name].size < (1 if rows else 2) * width or not width:
            raise _error(files[name], f"rows of {width:,} numbers ({vertices:,} vertices)", f"{arrays[name].size:,} numbers")
        arrays[name] = arrays[name].reshape(-1, width) if rows is None else arrays[name]
    triangles = _indices(files, arrays, "3DMM_tri.dat", 3, 1, vertices)
    _indices(files, arrays, "3DMM_vertex_tri.dat", 8, 0, triangles)
    _indices(files, arrays, "3DMM_tri_2d.dat", ROWS, 0, triangles)
    for name, expected in (("3DMM_vertex_tri.dat", (8, vertices)), ("3DMM_tri_2d.dat", (ROWS, COLUMNS))):
        if arrays[name].shape != expected:
            raise _error(files[name], f"{expected[0]:,} x {expected[1]:,} numbers", f"{arrays[name].size:,}")
    modes = sum(len(arrays[f"3DMM_{part}_basis.dat"]) - 1 for part in ("shape", "exp"))
    for name in STATISTICS:
        arrays[name] = _npy(files[name], modes)
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise _error(files[name], "finite numbers", "infinite ones or none")
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}


def _raw(path: Path, kind: str) -> np.ndarray:
    size = path.stat().st_size
    if size == 0 or size % 4:
        raise _error(path, "a raw file of 4-byte numbers", f"{size} bytes")
    return np.fromfile(path, np.dtype(kind)).astype(np.dtype(kind).newbyteorder("="), copy=False)


def _indices(files: Mapping[str, Path], arrays: dict[str, np.ndarray], name: str, rows: int, least: int, most: int) -> int:
    """Shape the array to that many rows, check its range, and say how many columns it has."""
    values = arrays[name]
    if values.size % rows:
        raise _error(files[name], f"{rows} rows", f"{values.size:,} numbers")
    low, high = int(values.min()), int(values.max())
    if low < least or high > most:
        raise _error(files[name], f"indices from {least} to {most:,}", f"{low} to {high:,}")
    arrays[name] = values.reshape(rows, -1)
    return arrays[name].shape[1]


def _npy(path: Path, count: int) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError) as error:
        raise _error(path, "an .npy file of plain numbers", type(error).__name__) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or values.size != count:
        size = values.shape if isinstance(values, np.ndarray) else type(values).__name__
        raise _error(path, f"{count} numbers, one for each mode of 3DMM_shape_basis.dat and 3DMM_exp_basis.dat", str(size))
    return values.reshape(-1).astype(np.float32)


def _error(path: Path, expected: str, found: str) -> CheckpointError:
    return CheckpointError(path, expected, found, f"truncated, or another file of that name: {_GIVE}")
