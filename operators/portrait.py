"""People who do not exist: random coefficients of a face base, lit, and drawn on a plain bust, with their exact landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from operators.morphable import camera
from operators.morphable.atlas import AlbedoModel, TextureAtlas
from operators.morphable.basis import FaceBasis
from operators.morphable.draw import draw_textured, supersampled
from operators.morphable.light import to_viewer
from operators.morphable.model import MorphableModel
from operators.morphable.texture import model_texture
from operators.rasterize import select

_FACE_SHARE = 0.42
_FOCAL = 4.0


@dataclass(frozen=True)
class Portrait:
    """A drawn person: 468 mesh points in the picture, pose (pitch, yaw, roll), and the coefficients of the base."""

    image: UInt8[np.ndarray, "size size 3"]
    landmarks_px: Float[np.ndarray, "468 3"]
    rotation_deg: Float[np.ndarray, "3"]
    identity: Float[np.ndarray, " identity"]
    expression: Float[np.ndarray, " expression"]
    albedo: Float[np.ndarray, " albedo"]


class PortraitMaker:
    """Draws portraits from one base; the same seed gives the same person."""

    def __init__(self, basis: FaceBasis, size: int = 512, texture_px: int = 256, most_yaw_deg: float = 28.0):
        if not len(basis.landmarks468):
            raise ValueError(f"basis {basis.name} has no correspondence to the 468-point mesh")
        self.basis, self.size, self.most_yaw_deg = basis, size, most_yaw_deg
        self.model = MorphableModel(basis)
        self.atlas = TextureAtlas(basis, AlbedoModel(basis), texture_px)
        self.corner_uv = torch.as_tensor(basis.uv[basis.uv_triangles], dtype=torch.float32)
        self.rasterizer = select("auto", "cpu")

    def __call__(self, seed: int) -> Portrait:
        rng = np.random.default_rng(seed)
        basis, size = self.basis, self.size
        coefficients = np.concatenate(
            [rng.normal(0, 0.8, len(basis.identity)), rng.normal(0, 0.2, len(basis.expression))]
        ).astype(np.float32)
        albedo = torch.from_numpy(rng.normal(0, 0.7, (1, len(basis.albedo))).astype(np.float32))
        light = basis.light_mean + rng.normal(0, 0.5, (9, 1)) * basis.light_std
        angles = np.array(
            [rng.uniform(-8, 8), rng.uniform(-self.most_yaw_deg, self.most_yaw_deg), rng.uniform(-6, 6)], np.float32
        )
        vertices = self.model.vertices(torch.from_numpy(coefficients[None]))
        rotation = camera.rotation_from_deg(torch.from_numpy(angles[None]))
        mean = basis.mean
        height = float(np.ptp(mean[:, 1]))
        distance = _FOCAL * height / _FACE_SHARE
        middle = torch.as_tensor((mean.max(0) + mean.min(0)) / 2, dtype=torch.float32)
        inside = camera.to_camera(vertices - middle, rotation, torch.tensor([[0.0, 0.0, distance]]))
        placed = camera.project_with_depth(inside, torch.tensor([_FOCAL * size]), float(size))
        normals = to_viewer(self.model.normals(vertices), rotation)
        texels = model_texture(self.atlas, albedo, normals, torch.as_tensor(light[None], dtype=torch.float32))
        texture = self.atlas.spread(texels)
        fragments = supersampled(self.rasterizer, placed, self.model.triangles, size, 2)
        drawing = draw_textured(fragments, self.corner_uv, texture, 2)
        points = placed[0].numpy()[basis.landmarks468]
        skin = np.median(drawing.colour[0][drawing.coverage[0] > 0.9].numpy(), axis=0)
        image = _bust(points, skin, drawing.colour[0].numpy(), drawing.coverage[0].numpy(), rng)
        image = image + rng.normal(0, 0.008, image.shape)
        depth = (points[:, 2] - points[:, 2].mean()) * (_FOCAL * size / distance)
        landmarks = np.concatenate((points[:, :2], depth[:, None]), 1).astype(np.float32)
        picture = np.clip(np.round(image * 255), 0, 255).astype(np.uint8)
        own = np.split(coefficients, [len(basis.identity)])
        return Portrait(picture, landmarks, angles, own[0], own[1], albedo[0].numpy())


def _ellipse(size: int, middle: tuple[float, float], axes: tuple[float, float], blur: float) -> np.ndarray:
    """Soft-edged coverage of an ellipse, (size, size, 1) float32."""
    mask, shift = np.zeros((size, size), np.float32), 16
    centre = (round(middle[0] * shift), round(middle[1] * shift))
    cv2.ellipse(mask, centre, (round(axes[0] * shift), round(axes[1] * shift)), 0, 0, 360, 1.0, -1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), blur * size / 256)[..., None]


def _bust(
    points: np.ndarray, skin: np.ndarray, face: np.ndarray, coverage: np.ndarray, rng: np.random.Generator
) -> Float[np.ndarray, "size size 3"]:
    """The face between background, hair, ears, neck and shoulders, all soft plain shapes; in [0, 1]."""
    size = len(face)
    x, y = points[:, 0], points[:, 1]
    cx, width, height = float((x.min() + x.max()) / 2), float(np.ptp(x)), float(np.ptp(y))
    top, chin = float(y.min()), float(y.max())
    back = rng.uniform(0.35, 0.85) + rng.normal(0, 0.07, 3)
    picture = np.clip(back * (1.08 - 0.2 * np.linspace(0, 1, size)[:, None, None]), 0, 1) * np.ones((size, size, 3))
    hair = (np.array([0.22, 0.15, 0.10]) * rng.uniform(0.3, 2.0)).clip(0, 0.7)
    head = _ellipse(size, (cx, top + 0.32 * height), (0.64 * width, 0.60 * height), 2.0)
    layers = [
        (head, hair),
        (_ellipse(size, (cx, chin + 0.95 * height), (1.25 * width, 0.72 * height), 2.0), rng.uniform(0.1, 0.7, 3)),
        (_ellipse(size, (cx, chin + 0.10 * height), (0.36 * width, 0.42 * height), 3.0), skin * 0.72),
    ]
    for side in (-1, 1):
        ear = _ellipse(size, (cx + side * 0.51 * width, top + 0.50 * height), (0.06 * width, 0.13 * height), 1.5)
        layers.append((ear, skin * 0.85))
    layers.append((_ellipse(size, (cx, top + 0.12 * height), (0.50 * width, 0.24 * height), 4.0), skin * 0.95))
    layers.append((coverage[..., None], face))
    opening = _ellipse(size, (cx, top + 0.62 * height), (0.53 * width, 0.57 * height), 2.0)
    layers.append((head * (1 - opening), hair * rng.normal(1, 0.05, (size, size, 1))))
    for mask, colour in layers:
        picture = picture + mask * (colour - picture)
    return picture
