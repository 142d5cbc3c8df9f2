"""The base that ships: a compact .npz of coarse modes and 8-bit albedo, expanded to a smooth `FaceBasis` when read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operators.morphable.bases.labels import label_by_mesh
from operators.morphable.basis import FaceBasis
from operators.morphable.subdivide import Refinement
from operators.morphable.uv import build_atlas, fold_atlas

FORMAT = "open_face/3"
LICENCE = "Apache-2.0 (data: public domain and CC BY 4.0; see operators/models/open_face.md)"


def save_open_face(
    path: Path,
    mean: np.ndarray,
    identity: np.ndarray,
    expression: np.ndarray,
    triangles: np.ndarray,
    uv: np.ndarray,
    mirror: np.ndarray,
    mouth: np.ndarray,
    landmarks68: np.ndarray,
    levels: int,
    texture_px: int,
    albedo_mean: np.ndarray,
    albedo: np.ndarray,
    light_mean: np.ndarray,
    light_std: np.ndarray,
) -> None:
    """Write the compact file. Shapes as in `FaceBasis`, but on the coarse mesh, and albedo on the left half of the covered texels
    only (`fold_atlas`): it is symmetric.

    Modes of shape are float16 (mm), albedo modes 8-bit with one scale per mode, the mean albedo 16-bit. Same arrays, same bytes.
    """
    scale = np.maximum(np.abs(albedo).max((1, 2)), 1e-9) / 127
    np.savez_compressed(
        path,
        format=np.array(FORMAT),
        mean=mean.astype(np.float32),
        identity=identity.astype(np.float16),
        expression=expression.astype(np.float16),
        triangles=triangles.astype(np.uint16),
        uv=uv.astype(np.float32),
        mirror=mirror.astype(np.uint16),
        mouth=mouth.astype(bool),
        landmarks68=landmarks68.astype(np.uint16),
        levels=np.array(levels, np.uint8),
        texture_px=np.array(texture_px, np.uint16),
        albedo_mean=np.round(np.clip(albedo_mean, 0, 1) * 65535).astype(np.uint16),
        albedo=np.round(albedo / scale[:, None, None]).astype(np.int8),
        albedo_scale=scale.astype(np.float32),
        light_mean=light_mean.astype(np.float32),
        light_std=light_std.astype(np.float32),
    )


def load_open_face(path: Path) -> FaceBasis:
    """Read and expand. Errors: ValueError when the file is of another format."""
    with np.load(path, allow_pickle=False) as file:
        if "format" not in file or str(file["format"]) != FORMAT:
            raise ValueError(f"{path}: expected an .npz with format {FORMAT!r}")
        data = {name: file[name] for name in file.files}
    mean = data["mean"].astype(np.float64)
    coarse = data["triangles"].astype(np.int64)
    refined = Refinement(mean, coarse, int(data["levels"]), data["mouth"])
    uv = data["uv"].astype(np.float64)
    px = int(data["texture_px"])
    atlas = build_atlas(uv, coarse, px)
    scale = data["albedo_scale"]
    slot = fold_atlas(atlas).slot
    albedo = np.empty((len(scale), px * px, 3), np.float32)
    for k, mode in enumerate(data["albedo"]):
        albedo[k] = atlas.spread(mode[slot].astype(np.float32) * scale[k])
    smooth = (refined.smooth @ mean).astype(np.float32)
    return FaceBasis(
        name=Path(path).stem,
        licence=LICENCE,
        unit="mm",
        mean=smooth,
        identity=_carry(refined.smooth, data["identity"]),
        expression=_carry(refined.smooth, data["expression"]),
        triangles=refined.triangles.astype(np.int32),
        uv=(refined.linear @ uv).astype(np.float32),
        uv_triangles=refined.triangles.astype(np.int32),
        albedo_mean=atlas.spread(data["albedo_mean"][slot].astype(np.float32) / np.float32(65535)),
        albedo=albedo,
        texture_px=px,
        landmarks68=data["landmarks68"].astype(np.int32),
        landmarks468=np.arange(len(mean), dtype=np.int32),
        mirror=refined.mirror(data["mirror"].astype(np.int64)).astype(np.int32),
        light_mean=data["light_mean"],
        light_std=data["light_std"],
        regions=label_by_mesh(smooth, smooth[: len(mean)]) if len(mean) == 468 else np.zeros(0, np.uint8),
    )


def _carry(smooth: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Coarse modes on the fine mesh."""
    count, vertices, _ = modes.shape
    columns = modes.astype(np.float64).transpose(1, 0, 2).reshape(vertices, -1)
    return (smooth @ columns).reshape(-1, count, 3).transpose(1, 0, 2).astype(np.float32)
