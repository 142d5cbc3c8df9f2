"""Photos of faces that do not exist, whose shape, albedo and light are known: a dense stand-in base, drawn and shaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from operators.morphable import camera
from operators.morphable.atlas import AlbedoModel
from operators.morphable.bases import load_basis
from operators.morphable.basis import FaceBasis
from operators.morphable.light import shade, to_viewer
from operators.morphable.model import MorphableModel
from operators.morphable.subdivide import midpoint_split
from operators.rasterize import interpolate, select

SIZE = 256
TRIANGLES = 70_710
"""As many as the cut of the Basel face model that single-photo fits commonly use (35,709 vertices)."""


def stand_in(base: str | Path = "open_face", identity: int = 80, expression: int = 64, albedo: int = 80) -> FaceBasis:
    """A base of about the size of that cut: triangles split in four once more, the farthest from the middle left out.

    Albedo lies on the vertices. A base without learned albedo borrows open_face's by way of the 68 landmarks. Modes that a
    base lacks are made up: smooth waves of the base's smallest mode's size.
    """
    basis = load_basis(base)
    colours = _vertex_albedo(basis) if len(basis.albedo) > 10 else _borrowed_albedo(basis)
    fields = [basis.mean[None], basis.identity, basis.expression, *colours]
    triangles, edges = midpoint_split(basis.triangles.astype(np.int64), len(basis.mean))
    fields = [np.concatenate((f, f[:, edges].mean(2)), 1) for f in fields]
    triangles = triangles[np.argsort(_distance(fields[0][0], triangles, basis), kind="stable")[:TRIANGLES]]
    used, renumbered = np.unique(triangles, return_inverse=True)
    place = np.full(len(fields[0][0]), -1)
    place[used] = np.arange(len(used))
    mean, identities, expressions, albedo_mean, modes = (np.ascontiguousarray(f[:, used]) for f in fields)
    triangles = renumbered.reshape(-1, 3).astype(np.int32)
    light = load_basis("open_face")
    return replace(
        basis,
        mean=mean[0],
        identity=_fit_count(identities, identity, mean[0]),
        expression=_fit_count(expressions, expression, mean[0]),
        triangles=triangles,
        uv=np.zeros((len(used), 2), np.float32),
        uv_triangles=triangles,
        albedo_mean=albedo_mean[0],
        albedo=_fit_count(modes, albedo, mean[0]),
        texture_px=0,
        landmarks68=place[basis.landmarks68].astype(np.int32),
        landmarks468=place[basis.landmarks468].astype(np.int32),
        mirror=np.arange(len(used), dtype=np.int32),
        light_mean=light.light_mean,
        light_std=light.light_std,
    )


def _distance(points: np.ndarray, triangles: np.ndarray, basis: FaceBasis) -> np.ndarray:
    """Of each triangle from the nose tip; those around landmarks stay."""
    tip = points[basis.landmarks68[30]].mean(0)
    distance = np.linalg.norm(points[triangles].mean(1) - tip, axis=1)
    kept = np.isin(triangles, basis.landmarks68).any(1)
    return np.where(kept, 0, distance)


def _vertex_albedo(basis: FaceBasis) -> tuple[np.ndarray, np.ndarray]:
    values = AlbedoModel(basis).at_vertices().numpy().transpose(2, 0, 1)
    return values[:1], values[1:]


def _borrowed_albedo(basis: FaceBasis) -> tuple[np.ndarray, np.ndarray]:
    """open_face's albedo on another base: a thin-plate warp of the 68 landmarks, then the nearest vertex."""
    from scipy.interpolate import RBFInterpolator
    from scipy.spatial import KDTree

    source = load_basis("open_face")
    here, there = (b.mean[b.landmarks68].mean(1) for b in (basis, source))
    unique = np.unique(here, axis=0, return_index=True)[1]
    warp = RBFInterpolator(here[unique], there[unique], kernel="linear", smoothing=0.1)
    nearest = KDTree(source.mean).query(warp(basis.mean))[1]
    mean, modes = _vertex_albedo(source)
    return mean[:, nearest], modes[:, nearest]


def _fit_count(modes: np.ndarray, count: int, mean: np.ndarray) -> np.ndarray:
    if len(modes) >= count:
        return modes[:count]
    rng = np.random.default_rng(len(modes))
    place = (mean - mean.mean(0)) / mean.std(0)
    waves = np.stack([np.cos(place @ rng.normal(size=3) * 1.5 + rng.uniform(0, 6.3)) for _ in range(3 * (count - len(modes)))])
    size = np.sqrt(np.square(modes).mean((1, 2)).min())
    extra = waves.reshape(-1, 3, len(mean)).transpose(0, 2, 1) * size
    return np.concatenate((modes, extra.astype(np.float32)))


@dataclass(frozen=True)
class SceneSettings:
    """What the photos show. `hidden` is the share of the lower face (nose root to chin) that an occluder covers."""

    hidden: float = 0.0
    yaw_deg: float = 40.0
    pitch_deg: float = 20.0
    light_spread: float = 1.0
    noise: float = 2 / 255
    trouble: str = ""
    """Things the model does not know: beard, glasses, shadow, shine, or several joined by +."""


@dataclass(frozen=True)
class Scenes:
    """Photos and their truth. `visible` is where the face's own skin shows: not occluded, not background."""

    image: Tensor
    visible: Tensor
    hidden: Tensor
    landmarks: Tensor
    coefficients: Tensor
    rotation: Tensor
    translation: Tensor
    focal: Tensor
    albedo: Tensor
    light: Tensor
    vertices: Tensor
    tint: Tensor

    def __len__(self) -> int:
        return len(self.image)


def make_scenes(model: MorphableModel, n: int, seed: int = 0, settings: SceneSettings = SceneSettings()) -> Scenes:
    """`n` photos of SIZE px: random people, poses to the settings' limits, light and albedo from the base's priors."""
    parts = [_make_part(model, min(4, n - i), seed * 1000 + i, settings) for i in range(0, n, 4)]
    names = Scenes.__dataclass_fields__
    return Scenes(**{name: torch.cat([getattr(p, name) for p in parts]) for name in names})


def _make_part(model: MorphableModel, n: int, seed: int, settings: SceneSettings) -> Scenes:
    g = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    basis = model.basis
    coefficients = torch.randn(n, model.shape.modes.shape[-1], generator=g)
    limits = torch.tensor([settings.pitch_deg, settings.yaw_deg, 10.0])
    rotation = camera.rotation_from_deg((torch.rand(n, 3, generator=g) * 2 - 1) * limits)
    eyes = np.linalg.norm(np.subtract(*basis.mean[basis.landmarks68[[36, 45]]].mean(1)))
    focal = torch.full((n,), 4.0 * SIZE)
    middle = torch.as_tensor(basis.mean[basis.landmarks68].mean((0, 1)))
    depth = 4.0 * SIZE * float(eyes) / (0.36 * SIZE)
    offset = torch.randn(n, 3, generator=g) * torch.tensor([0.05, 0.05, 0.2]) * float(eyes) + torch.tensor([0, 0, depth])
    translation = offset - (camera.camera_axes(rotation) * middle).sum(-1)
    albedo = torch.randn(n, len(basis.albedo), generator=g)
    common, own = torch.randn(n, 9, 1, generator=g), torch.randn(n, 9, 3, generator=g)
    mixed = np.sqrt(0.97) * common + np.sqrt(0.03) * own
    light = torch.as_tensor(basis.light_mean) + settings.light_spread * torch.as_tensor(basis.light_std) * mixed

    vertices = model.vertices(coefficients)
    values = torch.as_tensor(np.concatenate((basis.albedo_mean[None], basis.albedo)).reshape(len(basis.albedo) + 1, -1))
    tint = (torch.cat((torch.ones(n, 1), albedo), 1) @ values).unflatten(1, (-1, 3)).clamp(0.02, 1.2)
    painted = tint.clone()
    if "beard" in settings.trouble:
        painted *= _beard(basis, rng)[None, :, None]
    placed = camera.project_with_depth(camera.to_camera(vertices, rotation, translation), focal, SIZE)
    by = 3
    fragments = select("numba")(placed * placed.new_tensor([by, by, 1.0]), model.triangles, SIZE * by, SIZE * by)
    attributes = torch.cat((painted, to_viewer(model.normals(vertices), rotation)), -1)
    pixels = interpolate(attributes, fragments, model.triangles)
    normal = torch.nn.functional.normalize(pixels[..., 3:], dim=-1).flatten(1, 2)
    colour = pixels[..., :3] * shade(normal, light).unflatten(1, (SIZE * by, SIZE * by))
    if "shine" in settings.trouble:
        half = torch.nn.functional.normalize(torch.tensor([0.3, 0.4, 1.0]), dim=0)
        colour = colour + 0.3 * (normal @ half).clamp_min(0).pow(30).unflatten(1, (SIZE * by, SIZE * by))[..., None]
    hit = (fragments.pix_to_face >= 0).float()[..., None]
    image = _shrink(colour * hit + _background(n, rng, SIZE * by) * (1 - hit), by)
    coverage = _shrink(hit, by)[..., 0]
    points = model.points("68")
    landmarks = camera.project(camera.to_camera(points.at(coefficients), rotation, translation), focal, SIZE)
    pictures = image.numpy()
    if "shadow" in settings.trouble:
        pictures = pictures * _cast_shadow(n, rng)
    if "glasses" in settings.trouble:
        for picture, marks in zip(pictures, landmarks.numpy(), strict=True):
            _draw_glasses(picture, marks)
    hidden = _hidden(landmarks, settings.hidden)
    pictures = np.where(hidden.numpy()[..., None], np.float32([0.45, 0.6, 0.7]), pictures)
    pictures = pictures + settings.noise * rng.normal(size=pictures.shape).astype(np.float32)
    eight_bit = torch.as_tensor(np.rint(np.clip(pictures, 0, 1) * 255).astype(np.uint8))
    visible = (coverage > 0.99) & ~hidden
    return Scenes(
        eight_bit, visible, hidden, landmarks, coefficients, rotation, translation, focal, albedo, light, vertices, tint
    )


def _shrink(image: Tensor, by: int) -> Tensor:
    return torch.nn.functional.avg_pool2d(image.movedim(-1, 1), by).movedim(1, -1)


def _background(n: int, rng: np.random.Generator, size: int) -> Tensor:
    coarse = rng.uniform(0.05, 0.95, (n, 6, 6, 3)).astype(np.float32)
    return torch.as_tensor(np.stack([cv2.resize(c, (size, size), interpolation=cv2.INTER_CUBIC) for c in coarse])).clamp(0, 1)


def _hidden(landmarks: Tensor, share: float) -> Tensor:
    """Everything below a line across the face, in the direction from nose root to chin."""
    top, chin = landmarks[:, 27], landmarks[:, 8]
    down = chin - top
    y, x = torch.meshgrid(*(2 * [torch.arange(SIZE) + 0.5]), indexing="ij")
    along = ((torch.stack((x, y), -1) - top[:, None, None]) * down[:, None, None]).sum(-1) / down.square().sum(-1)[:, None, None]
    return along > (1 - share if share else 1e9)


_BEARD_LINE = [*((i, i + 1) for i in range(3, 13)), *((i, i + 1) for i in range(48, 59))]


def _beard(basis: FaceBasis, rng: np.random.Generator) -> Tensor:
    marks = basis.mean[basis.landmarks68].mean(1)
    eyes = np.linalg.norm(marks[36] - marks[45])
    line = np.concatenate([0.25 * k * marks[a] + (1 - 0.25 * k) * marks[b] for a, b in _BEARD_LINE for k in range(4)]).reshape(
        -1, 3
    )
    near = np.linalg.norm(basis.mean[:, None] - line[None], axis=-1).min(1) / eyes
    under = basis.mean[:, 1] < marks[33, 1]
    lips = np.linalg.norm(basis.mean[:, None] - marks[None, 48:], axis=-1).min(1) / eyes < 0.05
    dark = np.clip(1.4 - near / 0.12, 0, 1) * under * ~lips
    return torch.as_tensor(1 - 0.65 * dark * rng.uniform(0.8, 1, len(dark)), dtype=torch.float32)


def _cast_shadow(n: int, rng: np.random.Generator) -> np.ndarray:
    """A soft-edged half plane, 0.5 times as bright, across the face."""
    y, x = np.meshgrid(*(2 * [np.arange(SIZE) + 0.5]), indexing="ij")
    out = np.empty((n, SIZE, SIZE, 1), np.float32)
    for i in range(n):
        angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(10, 40)
        side = (x - SIZE / 2) * np.cos(angle) + (y - SIZE / 2) * np.sin(angle) - shift
        out[i, ..., 0] = 1 - 0.5 / (1 + np.exp(-side / 2))
    return out


def _draw_glasses(picture: np.ndarray, marks: np.ndarray) -> None:
    centres = [marks[36:42].mean(0), marks[42:48].mean(0)]
    radius = float(np.linalg.norm(centres[1] - centres[0]))
    for centre in centres:
        ring = tuple(int(v) for v in np.rint(centre))
        cv2.ellipse(picture, ring, (round(0.38 * radius), round(0.3 * radius)), 0, 0, 360, (0.05, 0.04, 0.04), 4, cv2.LINE_AA)
    ends = [
        tuple(int(v) for v in np.rint(c + s * 0.38 * (centres[1] - centres[0]))) for c, s in zip(centres, (1, -1), strict=True)
    ]
    cv2.line(picture, ends[0], ends[1], (0.05, 0.04, 0.04), 4, cv2.LINE_AA)
