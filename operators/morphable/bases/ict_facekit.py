"""ICT-FaceKit (USC ICT, MIT licence; Li et al. 2020) as a face basis: the face region, closed at eyes and mouth; centimetres.

From the kit's own folder (`FaceXModel/*.obj` and `vertex_indices.json`: 26,719 vertices, quads, 100 identity shapes and 55 or 57
blendshapes, each a whole mesh) or from one .npz with the same as arrays (`neutral`, `identity`, `expression`, ...).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from jaxtyping import Int

from operators.morphable.bases.assemble import assemble
from operators.morphable.bases.holes import close_holes
from operators.morphable.bases.labels import label_by_mesh, region
from operators.morphable.bases.register import register_mesh
from operators.morphable.bases.sources import SourceFiles, expect, read_npz
from operators.morphable.bases.surface import mirror_by_position as mirror_by_position
from operators.morphable.basis import BasisError, FaceBasis, NativeCoefficients

VERTICES = 26719
FACE_VERTICES = 9409
"""The face region is the first vertices of the file."""
NARROW_VERTICES = 6706
"""The face without ears, temples and neck comes first in it."""
EXPRESSION_STD = 0.3
"""Spread given to blendshape activations, which the kit leaves open: one unit of a coefficient moves a shape by this much."""
LICENCE = "MIT"
# Multi-PIE 68 points, from the kit's own documentation; used when vertex_indices.json names none.
# fmt: off
LANDMARKS68 = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268, 493, 1914,
    2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542, 1537,
    1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957,
    5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)
# fmt: on


def load_ict_facekit(path: str | Path, identity: int = 100, expression: int = 57) -> FaceBasis:
    """Basis from `ict_facekit.npz` with the first `identity` and `expression` modes.

    The kit has no albedo: the shipped base's stands in, carried over by the face mesh.
    """
    names = ("neutral", "faces", "faces_uv", "uv", "identity", "expression", "landmarks68")
    data = read_npz(Path(path), names)
    face = slice(0, FACE_VERTICES)
    expect(Path(path), "neutral", data["neutral"][face], (FACE_VERTICES, 3))
    return _basis(
        data["neutral"][face], data["identity"][:identity, face], data["expression"][:expression, face],
        data["faces"], data["faces_uv"], data["uv"], data["landmarks68"],
    )  # fmt: skip


def read_ict_facekit(files: SourceFiles, modes: tuple[int, int, int] | None = None) -> FaceBasis:
    """`ict_facekit` from the folder `FaceXModel`, or from `ict_facekit.npz`; 100 identity modes and all blendshapes.

    Errors: BasisError naming the file that is missing, truncated, or of another mesh.
    """
    keep = modes or (100, 57, 0)
    npz = files.get("ict_facekit.npz")
    if npz:
        return load_ict_facekit(npz, keep[0], keep[1])
    neutral_path = files.need("generic_neutral_mesh.obj")
    names = _shape_names(files, keep)
    vertices, uv, polygons, polygon_uv = read_obj(neutral_path)
    expect(neutral_path, "vertices", vertices, (VERTICES, 3))
    faces, faces_uv = _fans(polygons), _fans(polygon_uv)
    neutral = vertices[:FACE_VERTICES]
    parts = []
    for group in names:
        shapes = np.empty((len(group), FACE_VERTICES, 3), np.float32)
        for k, name in enumerate(group):
            path = files.need(f"{name}.obj")
            shapes[k] = expect(path, "vertices", _vertices(path), (VERTICES, 3))[:FACE_VERTICES] - neutral
        parts.append(shapes)
    return _basis(neutral, parts[0], parts[1], faces, faces_uv, uv, np.array(LANDMARKS68))


def _shape_names(files: SourceFiles, keep: tuple[int, int, int]) -> tuple[list[str], list[str]]:
    """Identity and expression shapes; the order of expressions is that of vertex_indices.json, others follow by name."""
    stems = {p.stem for p in files.find(".obj")}
    identity = [f"identity{k:03d}" for k in range(100) if f"identity{k:03d}" in stems]
    if len(identity) < min(keep[0], 100):
        missing = next(k for k in range(100) if f"identity{k:03d}" not in stems)
        raise BasisError(f"{files.name}: identity{missing:03d}.obj is missing: the folder FaceXModel has 100 of them")
    listed: list[str] = []
    table = files.get("vertex_indices.json")
    if table:
        try:
            listed = [str(name) for name in json.loads(table.read_text(encoding="utf-8")).get("expressions", [])]
        except (ValueError, AttributeError) as error:
            raise BasisError(f"{table}: is not the kit's table ({error})") from error
    others = sorted(s for s in stems if not s.startswith("identity") and s != "generic_neutral_mesh" and s not in listed)
    return identity[: keep[0]], (listed + others)[: keep[1]]


def _basis(neutral, identity, expression, faces, faces_uv, uv, landmarks) -> FaceBasis:
    mean = neutral.astype(np.float32)
    inside = (faces < FACE_VERTICES).all(1)
    triangles, uv_triangles = close_holes(mean, faces[inside].astype(np.int32), faces_uv[inside].astype(np.int32))
    used, uv_index = np.unique(uv_triangles, return_inverse=True)
    pairs = np.stack((landmarks, landmarks), 1).astype(np.int32)
    mesh = register_mesh(mean, triangles, mean[landmarks])
    regions = label_by_mesh(mean, mesh.at(mean).astype(np.float32))
    regions[NARROW_VERTICES:] = region("head")
    counts = len(identity), len(expression)
    ones, zeros = np.ones, np.zeros
    native = NativeCoefficients(
        "ICT-FaceKit: identity coefficients, then blendshape activations (1 = the whole shape)",
        ones(counts[0], np.float32), zeros(counts[0], np.float32), np.full(counts[1], EXPRESSION_STD, np.float32),
        zeros(counts[1], np.float32), ones(0, np.float32), zeros(0, np.float32), zeros(3, np.float32),
    )  # fmt: skip
    expression = expression.astype(np.float32) * np.float32(EXPRESSION_STD)
    return assemble(
        "ict_facekit", LICENCE, "cm", mean, identity.astype(np.float32), expression, triangles, pairs, regions=regions,
        uv=(uv[used] * [1, -1] + [0, 1]).astype(np.float32), uv_triangles=uv_index.reshape(-1, 3), native=native,
    )  # fmt: skip


def _vertices(path: Path) -> np.ndarray:
    """Only the vertices of an .obj. Errors: BasisError when a line is cut off."""
    data = path.read_bytes()
    start = data.find(b"\nv ")
    end = data.rfind(b"\nv ")
    stop = data.find(b"\n", end + 1)
    if start < 0 or stop < 0:
        raise BasisError(f"{path}: has no whole list of vertices: truncated, or not an .obj")
    try:
        numbers = np.array(data[start + 3 : stop].replace(b"\nv ", b" ").split(), dtype=np.float64)
        return numbers.reshape(-1, 3).astype(np.float32)
    except ValueError as error:
        raise BasisError(f"{path}: its list of vertices cannot be read ({error}): truncated, or not an .obj") from error


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, list[list[int]], list[list[int]]]:
    """Vertices, UVs (v up), polygons and their UV polygons of a Wavefront .obj, counted from 0. Errors: BasisError."""
    vertices, uv, polygons, polygon_uv = [], [], [], []
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(x) for x in rest.split()[:3]])
            elif kind == "vt":
                uv.append([float(x) for x in rest.split()[:2]])
            elif kind == "f":
                corners = [corner.split("/") for corner in rest.split()]
                polygons.append([int(c[0]) - 1 for c in corners])
                polygon_uv.append([int(c[1]) - 1 for c in corners])
        points, places = np.array(vertices, np.float32).reshape(-1, 3), np.array(uv, np.float32).reshape(-1, 2)
    except (ValueError, IndexError) as error:
        raise BasisError(f"{path}: is not a whole .obj with texture coordinates ({error}): get it again") from error
    top = max((max(p) for p in polygons), default=-1), max((max(p) for p in polygon_uv), default=-1)
    if not polygons or top[0] >= len(points) or top[1] >= len(places) or min(map(min, polygons)) < 0:
        raise BasisError(f"{path}: polygons name vertices that are not there: truncated?")
    return points, places, polygons, polygon_uv


def _fans(polygons: list[list[int]]) -> Int[np.ndarray, "triangles 3"]:
    """Polygons cut into triangles from their first corner."""
    return np.array([(p[0], p[k], p[k + 1]) for p in polygons for k in range(1, len(p) - 1)], np.int32)
