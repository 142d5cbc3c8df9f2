"""A face whose fit is the truth, for masks to lie on."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from operators.morphable import camera
from operators.morphable.bases import load_basis
from operators.morphable.light import frontal_light
from operators.morphable.model import MorphableModel
from operators.synthesize.worn import FittedFace, MaskWearer
from operators.synthesize.worn.head import Head

SIZE, _FOCAL, _DISTANCE_MM = 256, 1024.0, 1100.0


@lru_cache(maxsize=1)
def wearer() -> MaskWearer:
    return MaskWearer("open_face")


@lru_cache(maxsize=1)
def model() -> MorphableModel:
    return MorphableModel(load_basis("open_face"))


def face(yaw_deg: float = 0.0, shift_px: float = 0.0, seed: int = 0, pitch_deg: float = 4.0) -> FittedFace:
    """A face whose fit is the truth: landmarks are its own, in a picture that is the crop."""
    rng = np.random.default_rng(seed)
    identity = rng.normal(0, 0.6, model().identity_count).astype(np.float32)
    expression = np.zeros(model().expression_count, np.float32)
    rotation_deg = np.array([pitch_deg, yaw_deg, 0], np.float32)
    translation = np.array([0, 0, _DISTANCE_MM], np.float32)
    points = model().points("468").at(torch.from_numpy(np.concatenate((identity, expression)))[None])
    rotation = camera.rotation_from_deg(torch.from_numpy(rotation_deg)[None])
    placed = camera.project(camera.to_camera(points, rotation, torch.from_numpy(translation)[None]), torch.tensor([_FOCAL]), SIZE)
    crop_from_image = np.array([[1, 0, -shift_px], [0, 1, 0]], np.float32)
    landmarks = placed[0].numpy() + np.array([shift_px, 0], np.float32)
    light = frontal_light().numpy()
    return FittedFace(
        identity, expression, light, rotation_deg, translation, _FOCAL, crop_from_image, SIZE, landmarks.astype(np.float32)
    )


def photo(width: int = SIZE, height: int = SIZE) -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.clip(np.array((190, 150, 130)) + rng.normal(0, 2, (height, width, 3)), 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def mean_head() -> Head:
    """The head of the mean face."""
    return wearer().maker(np.zeros(model().identity_count + model().expression_count, np.float32))
