"""From what a file holds to a whole `FaceBasis`: everything that the file leaves open is worked out here, once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int, UInt8

from operators.morphable.bases.borrowed import borrowed_albedo
from operators.morphable.bases.cylinder import cylindrical_uv
from operators.morphable.bases.labels import label_by_mesh, region
from operators.morphable.bases.register import register_mesh
from operators.morphable.bases.surface import mirror_about_middle, nearest_vertices, outward
from operators.morphable.basis import FaceBasis, NativeCoefficients, SurfacePoints
from operators.morphable.light import frontal_light

LIGHT_STD = 0.3
"""Spread of the light where nothing is known of the photos: wide."""


def assemble(
    name: str,
    licence: str,
    unit: str,
    mean: Float[np.ndarray, "vertices 3"],
    identity: Float[np.ndarray, "identity vertices 3"],
    expression: Float[np.ndarray, "expression vertices 3"],
    triangles: Int[np.ndarray, "triangles 3"],
    landmarks68: Int[np.ndarray, "68 2"] | SurfacePoints,
    albedo_mean: Float[np.ndarray, "texels 3"] | None = None,
    albedo: Float[np.ndarray, "albedo texels 3"] | None = None,
    texture_px: int = 0,
    uv: Float[np.ndarray, "uvs 2"] | None = None,
    uv_triangles: Int[np.ndarray, "triangles 3"] | None = None,
    regions: UInt8[np.ndarray, " vertices"] | None = None,
    known468: tuple[Int[np.ndarray, " known"], SurfacePoints] | None = None,
    native: NativeCoefficients | None = None,
) -> FaceBasis:
    """A checked base. Modes are already scaled by their standard deviation; axes are the face frame.

    Missing albedo: the shipped base's, carried over by the face mesh, with its light. Missing UV: a cylinder. Missing regions:
    polygons of the face mesh. `known468` are face-mesh points whose place the source tells; the others come from registration.
    """
    turned = outward(mean, triangles)
    if turned is not triangles:
        triangles = turned
        uv_triangles = None if uv_triangles is None else np.ascontiguousarray(uv_triangles[:, ::-1])
    anchors68 = landmarks68 if isinstance(landmarks68, SurfacePoints) else None
    if anchors68 is not None:
        vertex = nearest_vertices(anchors68)
        landmarks68 = np.stack((vertex, vertex), 1)
    points = anchors68.at(mean) if anchors68 is not None else mean[landmarks68].mean(1)  # type: ignore[index]
    known = None if known468 is None else (known468[0], known468[1].at(mean).astype(np.float64))
    anchors468 = register_mesh(mean, triangles, points, known)
    if known468 is not None:
        anchors468.vertices[known468[0]], anchors468.weights[known468[0]] = known468[1].vertices, known468[1].weights
    if uv is None or uv_triangles is None:
        uv, uv_triangles = cylindrical_uv(mean, triangles, points)
    light_mean, light_std = frontal_light().numpy(), np.full((9, 3), LIGHT_STD, np.float32)
    if albedo_mean is None or albedo is None:
        albedo_mean, albedo, lender = borrowed_albedo(mean, anchors468.at(mean))
        texture_px, light_mean, light_std = 0, lender.light_mean, lender.light_std
        if native is not None:
            ones = np.ones(len(albedo), np.float32)
            native = replace(native, albedo_scale=ones, albedo_offset=0 * ones)
    basis = FaceBasis(
        name=name, licence=licence, unit=unit, mean=mean.astype(np.float32), identity=identity.astype(np.float32),
        expression=expression.astype(np.float32), triangles=triangles.astype(np.int32), uv=uv.astype(np.float32),
        uv_triangles=uv_triangles.astype(np.int32), albedo_mean=albedo_mean.astype(np.float32),
        albedo=albedo.astype(np.float32), texture_px=texture_px, landmarks68=np.asarray(landmarks68, np.int32),
        landmarks468=nearest_vertices(anchors468), mirror=mirror_about_middle(mean, points),
        light_mean=light_mean, light_std=light_std,
        regions=label_by_mesh(mean, anchors468.at(mean)) if regions is None else regions,
        anchors68=anchors68, anchors468=anchors468, native=native,
    )  # fmt: skip
    return basis


def mix_regions(labels: UInt8[np.ndarray, " vertices"], own: dict[str, np.ndarray]) -> UInt8[np.ndarray, " vertices"]:
    """Labels with a source's own regions (name to vertices) written over them, in order."""
    out = labels.copy()
    for name, vertices in own.items():
        out[vertices] = region(name)
    return out
