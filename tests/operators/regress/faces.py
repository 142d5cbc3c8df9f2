"""A made-up face base in Deep3D's coefficients, and photos that say which face they show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from operators.batch import Batch
from operators.faces.geometry import square_to_crop, transform_points
from operators.morphable import camera
from operators.morphable.bases import load_basis
from operators.morphable.bases.stored import save_basis
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.basis import NativeCoefficients
from operators.morphable.model import MorphableModel
from operators.networks.deep3d import SIDE
from operators.regress.alignment import REFERENCE, five_points, place_by_five
from operators.regress.deep3d import CAMERA_DM, FOCAL_PX, split
from tests.operators.encoded import saved

CROP = 128
CONVENTION = "Deep3DFaceRecon: as the converter of the Basel Face Model writes it"


def save_base(path: Path, convention: str = CONVENTION, counts=(80, 64, 80), origin=(0.0, 0.0, 0.0), stats=None) -> Path:
    """A face of about Deep3D's size, in decimetres; `stats` (offset, scale) by part where official numbers are not ours."""
    small = synthetic_basis(1, identity=counts[0], expression=counts[1], albedo=counts[2], texture_px=0)
    native: dict = {"convention": convention, "origin": np.array(origin, np.float32)}
    for part, count in zip(("identity", "expression", "albedo"), counts, strict=True):
        offset, scale = (stats or {}).get(part, (np.zeros(count), np.ones(count)))
        native |= {f"{part}_offset": np.float32(offset), f"{part}_scale": np.float32(scale)}
    mean = small.mean * 0.1
    marks = small.surface_points("68").at(mean)
    shift = REFERENCE.mean(0) - np.append(five_points(marks[:, :2]).mean(0), marks[30, 2])
    basis = replace(
        small, name="made_up", unit="dm", mean=(mean + shift).astype(np.float32), identity=0.02 * small.identity,
        expression=0.02 * small.expression, albedo=0.3 * small.albedo, native=NativeCoefficients(**native),
    )  # fmt: skip
    return save_basis(path, basis)


def vectors(count: int, seed: int = 0) -> Tensor:
    """Deep3D's 257 numbers of made-up faces that look about into the camera."""
    g = torch.Generator().manual_seed(seed)

    def drawn(width: int, size: float) -> Tensor:
        return size * torch.randn(count, width, generator=g)

    angles = (torch.rand(count, 3, generator=g) * 2 - 1) * torch.tensor([0.2, 0.5, 0.3])
    light = drawn(27, 0.2)
    return torch.cat((drawn(80, 0.7), drawn(64, 0.7), drawn(80, 0.7), angles, light, drawn(3, 0.02)), 1)


class ToldApart(nn.Module):
    """In place of a network: the row of `outputs` that the grey level at the picture's middle names, plus what its pixels add."""

    outputs: Tensor
    weights: Tensor

    def __init__(self, outputs: Tensor, by_pixels: float = 0.0):
        super().__init__()
        self.register_buffer("outputs", outputs)
        g = torch.Generator().manual_seed(5)
        self.register_buffer("weights", by_pixels * torch.randn(48, outputs.shape[1], generator=g))

    def forward(self, pictures: Tensor) -> Tensor:
        row = (pictures[:, 0, SIDE // 2, SIDE // 2] * 255 / 20).round().long() % len(self.outputs)
        small = nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1)
        return self.outputs[row] + torch.stack([(face[:, None] * self.weights).sum(0) for face in small])


def centred(path: Path, vector: Tensor) -> Tensor:
    """The same faces moved so that Deep3D's alignment of their own landmarks is the picture that it sees them in."""
    model, vector = MorphableModel(load_basis(path)), vector.clone()
    for _ in range(30):
        marks = projected(model, vector, "68")
        for face, points in zip(vector, marks, strict=True):
            five = five_points(points) - 0.5
            five[:, 1] = SIDE - 1 - five[:, 1]
            placed = place_by_five(five, SIDE, SIDE)
            depth = CAMERA_DM - float(face[256])
            face[254:256] += torch.tensor((SIDE / 2 - placed.centre) * depth / FOCAL_PX)
            face[256] = CAMERA_DM - depth / placed.scale
    return vector


def projected(model: MorphableModel, vector: Tensor, kind: str) -> np.ndarray:
    """Landmarks in Deep3D's picture."""
    parts = split(vector)
    points = model.points(kind).at(torch.cat((parts.identity, parts.expression), 1))
    inside = camera.to_camera(points, parts.rotation, parts.translation)
    return camera.project(inside, torch.full((len(vector),), FOCAL_PX), SIDE).double().numpy()


def photos(path: Path, vector: Tensor, width: int = 300, height: int = 340) -> Batch:
    """One photo per face, flat grey of 20 times its number, with the landmarks that the face has there, and our crop of it."""
    model, count = MorphableModel(load_basis(path)), len(vector)
    to_photo = np.repeat(np.array([[[0.8, 0, 61.3], [0, 0.8, 74.9]]]), count, 0)
    marks68, marks468 = (transform_points(to_photo, projected(model, vector, kind)) for kind in ("68", "468"))
    angle = np.linspace(-0.3, 0.3, count)
    encoded = [saved(_flat(20 * k, width, height), "PNG") for k in range(count)]
    batch = Batch.from_images(encoded)
    batch.set_faces(np.arange(count))
    low, high = marks468.min(1), marks468.max(1)
    to_crop = square_to_crop((low + high) / 2, 1.6 * (high - low).max(1), angle, CROP)
    batch.put("landmarks68_px", marks68)
    batch.put("landmarks468_px", np.concatenate((marks468, 0 * marks468[..., :1]), -1))
    batch.put("crop_from_image", to_crop)
    empty = np.zeros((count, CROP, CROP), bool)
    batch.put(
        "crop", np.repeat(np.repeat((20 * np.arange(count, dtype=np.uint8))[:, None, None, None], CROP, 1), CROP, 2).repeat(3, 3)
    )
    for name, values in (("occluder", empty), ("crop_valid", ~empty), ("visible_face", ~empty)):
        batch.put(name, values)
    return batch


def _flat(level: int, width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (level, level, level))
