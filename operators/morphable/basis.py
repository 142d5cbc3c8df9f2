"""A linear 3D face model in memory, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int, UInt8

UNIT_MM = {"mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0}
"""Millimetres in each unit that a basis may have."""

REGIONS = (
    "skin", "nose", "lips", "mouth", "left_eye", "right_eye", "left_brow", "right_brow", "ear", "neck", "scalp", "head",
)  # fmt: skip
"""Names of the region labels. Left and right are the viewer's; mouth is what lies behind the lips; head is what lies outside
the face's oval where the source does not tell ears, neck and scalp apart."""


class BasisError(ValueError):
    """A face base that cannot be used; the message names the file, what is wrong with it and what to do."""


@dataclass(frozen=True)
class SurfacePoints:
    """Points anchored in a mesh: `point = sum_k weights[k] * vertices[k]` (barycentric; weights sum to 1)."""

    vertices: Int[np.ndarray, "points corners"]
    weights: Float[np.ndarray, "points corners"]

    def at(self, vertices: Float[np.ndarray, "vertices 3"]) -> Float[np.ndarray, "points 3"]:
        """The points on a mesh."""
        return (vertices[self.vertices] * self.weights[..., None]).sum(1)


@dataclass(frozen=True)
class NativeCoefficients:
    """How the source counts its coefficients: `official = offset + scale * ours`, mode by mode.

    Official vertices are `ours + origin` in the basis's unit. `convention` says in words which vector this is.
    """

    convention: str
    identity_scale: Float[np.ndarray, " identity"]
    identity_offset: Float[np.ndarray, " identity"]
    expression_scale: Float[np.ndarray, " expression"]
    expression_offset: Float[np.ndarray, " expression"]
    albedo_scale: Float[np.ndarray, " albedo"]
    albedo_offset: Float[np.ndarray, " albedo"]
    origin: Float[np.ndarray, "3"]

    def to_official(self, part: str, coefficients: Float[np.ndarray, "*n modes"]) -> Float[np.ndarray, "*n modes"]:
        """Official coefficients of a part (`identity`, `expression` or `albedo`) from unit-variance ones."""
        return getattr(self, f"{part}_offset") + getattr(self, f"{part}_scale") * coefficients

    def from_official(self, part: str, coefficients: Float[np.ndarray, "*n modes"]) -> Float[np.ndarray, "*n modes"]:
        """Unit-variance coefficients of a part from official ones."""
        return (coefficients - getattr(self, f"{part}_offset")) / getattr(self, f"{part}_scale")


@dataclass(frozen=True)
class FaceBasis:
    """Mean face, its modes of variation, and what is needed to fit, texture and draw it.

    Face frame: x to the viewer's right, y up, z towards the camera (see operators.types). Modes are scaled by their
    standard deviation, so that coefficients have unit variance: `vertices = mean + identity.T c_i + expression.T c_e`.
    Triangles turn counter-clockwise seen from outside.

    Albedo lives on `texels`: on the vertices when `texture_px` is 0 (texels = vertices), else on a square UV texture of
    `texture_px` pixels a side in row order (texels = texture_px ** 2, texel (row r, column c) covers
    u in [c, c+1] / texture_px and v in [r, r+1] / texture_px, so v runs down). Albedo is linear-light-free RGB in [0, 1].
    """

    name: str
    licence: str
    unit: str
    mean: Float[np.ndarray, "vertices 3"]
    identity: Float[np.ndarray, "identity vertices 3"]
    expression: Float[np.ndarray, "expression vertices 3"]
    triangles: Int[np.ndarray, "triangles 3"]
    uv: Float[np.ndarray, "uvs 2"]
    uv_triangles: Int[np.ndarray, "triangles 3"]
    albedo_mean: Float[np.ndarray, "texels 3"]
    albedo: Float[np.ndarray, "albedo texels 3"]
    texture_px: int
    landmarks68: Int[np.ndarray, "68 2"]
    """Two vertices whose mean is the landmark (twice the same where one suffices)."""
    landmarks468: Int[np.ndarray, "mesh_points"]
    """Vertex of each face-mesh point; empty when the basis has no such correspondence."""
    mirror: Int[np.ndarray, "vertices"]
    """Vertex on the other side of the face; an involution where the mesh itself is symmetric, the nearest vertex elsewhere."""
    light_mean: Float[np.ndarray, "9 3"]
    """Mean spherical-harmonics light over the training photos; frontal white light when unknown."""
    light_std: Float[np.ndarray, "9 3"]
    regions: UInt8[np.ndarray, "labelled"] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """Index into `REGIONS` per vertex; empty when unlabelled."""
    anchors68: SurfacePoints | None = None
    """The 68 landmarks inside triangles, where vertices are too coarse; `landmarks68` are then the nearest vertices."""
    anchors468: SurfacePoints | None = None
    """The same for the face mesh."""
    native: NativeCoefficients | None = None

    @property
    def unit_mm(self) -> float:
        """Millimetres per unit."""
        return UNIT_MM[self.unit]

    def surface_points(self, kind: str) -> SurfacePoints:
        """The `68` or `468` landmarks as weighted vertices: the anchors where there are any, the vertex tables elsewhere.

        Errors: ValueError when the basis has no face-mesh correspondence.
        """
        anchors = self.anchors68 if kind == "68" else self.anchors468
        if anchors is not None:
            return anchors
        if kind == "68":
            return SurfacePoints(self.landmarks68, np.full((68, 2), 0.5, np.float32))
        if not len(self.landmarks468):
            raise ValueError(f"basis {self.name!r} has no face-mesh correspondence: ask for points 68")
        return SurfacePoints(self.landmarks468[:, None], np.ones((len(self.landmarks468), 1), np.float32))

    def check(self, source: str = "") -> FaceBasis:
        """Itself, when every part fits every other.

        Errors: BasisError that names `source`, the part and what to do.
        """
        problem = _problem(self)
        if problem:
            raise BasisError(f"{source or self.name}: {problem}: convert it again (`python -m jobs.assets explain {self.name}`)")
        return self


def _problem(basis: FaceBasis) -> str | None:
    """The first thing that is wrong, in words."""
    n, texels = len(basis.mean), basis.texture_px**2 or len(basis.mean)
    shapes = {
        "mean": (n, 3), "identity": (None, n, 3), "expression": (None, n, 3), "triangles": (None, 3),
        "uv": (None, 2), "uv_triangles": basis.triangles.shape, "albedo_mean": (texels, 3), "albedo": (None, texels, 3),
        "landmarks68": (68, 2), "mirror": (n,), "light_mean": (9, 3), "light_std": (9, 3),
    }  # fmt: skip
    for name, shape in shapes.items():
        got = getattr(basis, name).shape
        if len(got) != len(shape) or any(want not in (None, have) for want, have in zip(shape, got, strict=True)):
            return f"{name} has shape {got}, expected {tuple('any' if s is None else s for s in shape)}"
    if basis.unit not in UNIT_MM:
        return f"unit {basis.unit!r} is not one of {', '.join(UNIT_MM)}"
    for name in ("mean", "identity", "expression", "uv", "albedo_mean", "albedo", "light_mean", "light_std"):
        if not np.isfinite(getattr(basis, name)).all():
            return f"{name} holds numbers that are not finite"
    if n == 0 or len(basis.triangles) == 0:
        return "the mesh is empty"
    indices = {
        "triangles": (basis.triangles, n), "uv_triangles": (basis.uv_triangles, len(basis.uv)),
        "landmarks68": (basis.landmarks68, n), "landmarks468": (basis.landmarks468, n), "mirror": (basis.mirror, n),
        "regions": (basis.regions, len(REGIONS)),
    }  # fmt: skip
    for name, anchors in (("anchors68", basis.anchors68), ("anchors468", basis.anchors468)):
        if anchors is not None:
            indices[name] = (anchors.vertices, n)
            if len(anchors.vertices) != int(name.removeprefix("anchors")):
                return f"{name} has {len(anchors.vertices)} points"
            if anchors.vertices.shape != anchors.weights.shape or not np.allclose(anchors.weights.sum(1), 1, atol=1e-3):
                return f"{name} has weights that do not sum to 1"
    for name, (index, count) in indices.items():
        if index.size and (index.min() < 0 or index.max() >= count):
            return f"{name} points outside 0..{count - 1}"
    for name, counts in (("landmarks468", (0, 468)), ("regions", (0, n))):
        if len(getattr(basis, name)) not in counts:
            return f"{name} has {len(getattr(basis, name))} entries, expected {counts[0]} or {counts[1]}"
    return _pose_problem(basis)


def _pose_problem(basis: FaceBasis) -> str | None:
    """Whether the landmarks of the mean face lie as they do on a face that looks into the camera."""
    points = basis.surface_points("68").at(basis.mean)
    right_of = points[45, 0] - points[36, 0]
    up = points[17:27, 1].mean() - points[8, 1]
    towards = points[30, 2] - points[[0, 16], 2].mean()
    if min(right_of, up, towards) <= 0:
        return (
            "the landmarks of the mean face do not look into the camera (x to the viewer's right, y up, z towards the camera): "
            "axes or landmark indices are wrong"
        )
    return None
