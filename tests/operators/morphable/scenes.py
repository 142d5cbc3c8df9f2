"""Rendered synthetic faces with known truth, as a batch of crops."""

from __future__ import annotations

import numpy as np
import torch

from operators.batch import Batch
from operators.morphable import camera
from operators.morphable.atlas import AlbedoModel, TextureAtlas
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.draw import draw_textured, supersampled, to_uint8
from operators.morphable.light import to_viewer
from operators.morphable.model import MorphableModel
from operators.morphable.texture import model_texture
from operators.rasterize import select

SIZE = 128


def make_scene(n: int = 4, seed: int = 0) -> tuple[Batch, dict[str, torch.Tensor]]:
    """`n` faces, one per row, and the truth. The occluder covers the lower half of each face."""
    basis = synthetic_basis()
    model, albedo_model = MorphableModel(basis), AlbedoModel(basis)
    atlas = TextureAtlas(basis, albedo_model, 64)
    g = torch.Generator().manual_seed(seed)
    coefficients = torch.randn(n, 16, generator=g)
    albedo = torch.randn(n, len(basis.albedo), generator=g)
    light = torch.tensor(basis.light_mean).repeat(n, 1, 1)
    light[:, 1:4] += 0.15 * torch.randn(n, 3, 1, generator=g)
    angles = (torch.rand(n, 3, generator=g) * 2 - 1) * torch.tensor([10.0, 25.0, 8.0])
    rotation, focal = camera.rotation_from_deg(angles), torch.full((n,), 4.0 * SIZE)
    translation = torch.tensor([0.0, 0, 120]).repeat(n, 1)
    vertices = model.vertices(coefficients)
    placed = camera.project_with_depth(camera.to_camera(vertices, rotation, translation), focal, SIZE)
    fragments = supersampled(select("numba"), placed, model.triangles, SIZE)
    texture = atlas.spread(model_texture(atlas, albedo, to_viewer(model.normals(vertices), rotation), light))
    corner_uv = torch.as_tensor(basis.uv[basis.uv_triangles])
    drawing = draw_textured(fragments, corner_uv, texture)
    crop = to_uint8(drawing.over(torch.full((SIZE, SIZE, 3), 0.3))).numpy()
    face = drawing.coverage.numpy() > 0.99
    occluder = face & (np.arange(SIZE)[:, None] > 0.55 * SIZE)

    def landmarks(kind: str) -> np.ndarray:
        inside = camera.to_camera(model.points(kind).at(coefficients), rotation, translation)
        return camera.project_with_depth(inside, focal, SIZE).numpy()

    batch = Batch.from_images([b""] * n)
    batch.set_faces(np.arange(n))
    warp = np.array([[0.5, 0, -3], [0, 0.5, 4]], np.float32)
    offset, mesh = np.array([-3, 4]), landmarks("468")
    mesh[..., :2] = (mesh[..., :2] - offset) / 0.5
    batch.put("landmarks468_px", mesh)
    batch.put("landmarks68_px", (landmarks("68")[..., :2] - offset) / 0.5)
    batch.put("crop_from_image", np.repeat(warp[None], n, 0))
    covered = np.where(occluder[..., None], np.uint8([40, 90, 160]), crop)
    for name, values in (("crop", covered), ("crop_valid", np.ones_like(face)), ("occluder", occluder)):
        batch.put(name, values)
    batch.put("visible_face", face & ~occluder)
    truth = {
        "coefficients": coefficients, "albedo": albedo, "light": light, "angles": angles, "translation": translation,
        "uncovered": torch.as_tensor(crop), "face": torch.as_tensor(face), "vertices": vertices, "placed": placed,
    }  # fmt: skip
    return batch, truth
