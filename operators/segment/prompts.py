"""Landmarks become prompts: where the occluder is likely to be, where it is not, and the same for the visible face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from operators.batch import Batch
from operators.faces.geometry import transform_points
from operators.segment.regions import LOWER_FACE, OVAL

# MediaPipe face-mesh vertices.
NOSE = (4, 195)
MOUTH = (13, 14, 61, 291)
CHIN = (152, 199)
EYES = (33, 133, 362, 263, 159, 386)
FOREHEAD = (151, 109, 338)

Landmarks = Float[np.ndarray, "faces landmarks 2"]


@dataclass(frozen=True)
class Prompts:
    """Prompts of all faces of a batch, in crop pixels; labels are 1 = the wanted thing, 0 = not it."""

    points_px: Float[np.ndarray, "faces n 2"]
    labels: Int[np.ndarray, "faces n"]
    box_xyxy_px: Float[np.ndarray, "faces 4"]

    def __len__(self) -> int:
        return len(self.points_px)


def landmarks_in_crop(batch: Batch, faces: np.ndarray, name: str = "landmarks468_px") -> Landmarks:
    """x, y of a landmark column of these faces in crop pixels, float32."""
    to_crop = batch.faces["crop_from_image"][faces].astype(np.float64)
    points = batch.faces[name][faces][..., :2].astype(np.float64)
    return transform_points(to_crop, points).astype(np.float32)


def eye_line_and_scale(landmarks: Landmarks) -> tuple[Float[np.ndarray, "faces 2"], Float[np.ndarray, "faces 2"]]:
    """Middle of the eyes, and the vector from there to the chin: the face's own ruler, steady from frontal to profile."""
    eyes = landmarks[:, (33, 133, 362, 263)].mean(1)
    return eyes, landmarks[:, 152] - eyes


def occluder_prompts(landmarks: Landmarks, size: int) -> Prompts:
    """Prompts for whatever covers the lower face.

    Box: the lower face (cheeks to chin) enlarged by a fifth, clipped to the crop of `size` pixels. Positive points on nose,
    mouth and chin, negative ones on eyes and forehead.
    """
    return _prompts(landmarks, LOWER_FACE, 0.2, (*NOSE, *MOUTH, *CHIN), (*EYES, *FOREHEAD), size)


def face_prompts(landmarks: Landmarks, size: int) -> Prompts:
    """The complement: prompts for the visible face; same number of points as `occluder_prompts`.

    Box: the face oval enlarged by a twentieth. Positive points on eyes and forehead, negative ones on nose, mouth and chin.
    """
    return _prompts(landmarks, OVAL, 0.05, (*EYES, *FOREHEAD), (*NOSE, *MOUTH, *CHIN), size)


def _prompts(landmarks: np.ndarray, outline: tuple, grow: float, wanted: tuple, unwanted: tuple, size: int) -> Prompts:
    low, high = landmarks[:, outline].min(1), landmarks[:, outline].max(1)
    margin = grow * (high - low) / 2
    box = np.concatenate([low - margin, high + margin], 1).clip(0, size)
    labels = np.array([1] * len(wanted) + [0] * len(unwanted), np.int64)
    points = landmarks[:, (*wanted, *unwanted)].clip(0, size)
    return Prompts(points.astype(np.float32), np.broadcast_to(labels, points.shape[:2]).copy(), box.astype(np.float32))
