"""From the face frame to a photo's pixels, with what the fit left over at the landmarks put right."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float

from operators.morphable import camera
from operators.synthesize.worn.fitted import FittedFace
from operators.synthesize.worn.head import Head, unit

_STEP_DEG, _SIDE_DEG, _LOW_DEG, _HIGH_DEG = 10.0, 120.0, -90.0, 70.0
_REACH_DEG = 9.0
_LEAST = 0.08


def _directions_of_field() -> Float[np.ndarray, "rows columns 2"]:
    side = np.arange(-_SIDE_DEG, _SIDE_DEG + 1, _STEP_DEG)
    high = np.arange(_HIGH_DEG, _LOW_DEG - 1, -_STEP_DEG)
    return np.stack(np.meshgrid(side, high), -1)


_FIELD = _directions_of_field()
_FIELD_DIRECTIONS = unit(_FIELD)


@dataclass(frozen=True)
class View:
    """One face's camera; `residual_px` is how far the photo's landmarks lie from the fit, by direction from the head's centre."""

    rotation: Float[np.ndarray, "3 3"]
    translation_mm: Float[np.ndarray, "3"]
    focal_px: float
    middle_px: float
    image_from_crop: Float[np.ndarray, "2 3"]
    residual_px: Float[np.ndarray, "rows columns 2"]

    @classmethod
    def of(cls, head: Head, face: FittedFace, unit_mm: float) -> View:
        """The camera of a fitted face, corrected by the landmarks that it shows; `unit_mm` is the base's unit."""
        rotation = camera.rotation_from_deg(torch.as_tensor(face.rotation_deg, dtype=torch.float64)[None])[0].numpy()
        whole = np.vstack((np.asarray(face.crop_from_image, np.float64), (0, 0, 1)))
        inverse = np.linalg.inv(whole)[:2]
        translation = np.asarray(face.translation, np.float64) * unit_mm
        exact = np.zeros((*_FIELD.shape[:2], 2))
        bare = cls(rotation, translation, float(face.focal_px), face.crop_px / 2, inverse, exact)
        residual = np.nan_to_num(face.points_px - bare.place(head, head.landmarks)[:, :2])
        directions = unit(head.angles(head.landmarks))
        facing = np.clip((directions @ rotation[2] + 0.05) / 0.3, 0, 1) * np.isfinite(face.points_px).all(1)
        # einsum adds in one fixed order, whatever the number of threads
        cosine = np.einsum("rck,lk->rcl", _FIELD_DIRECTIONS, directions)
        near = np.exp((cosine - 1) / np.square(np.radians(_REACH_DEG))) * facing
        total = near.sum(-1, keepdims=True) + _LEAST
        return replace(bare, residual_px=np.einsum("rcl,lk->rck", near, residual) / total)

    def viewer(self, vectors: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Directions of the face frame in the viewer's: x right, y up, z towards the camera."""
        return vectors @ self.rotation.T.astype(vectors.dtype)

    def place(self, head: Head, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """x and y in pixels of the photo, and camera depth in mm."""
        turned = points.astype(np.float64) @ self.rotation.T * (1, -1, -1) + self.translation_mm
        depth = turned[:, 2]
        crop = turned[:, :2] * (self.focal_px / np.where(depth > 1, depth, 1))[:, None] + self.middle_px
        image = crop @ self.image_from_crop[:, :2].T + self.image_from_crop[:, 2]
        if self.residual_px.any():
            angles = head.angles(points)
            x = ((angles[:, 0] + _SIDE_DEG) / _STEP_DEG).astype(np.float32)[None]
            y = ((_HIGH_DEG - angles[:, 1]) / _STEP_DEG).astype(np.float32)[None]
            for k in range(2):
                field = np.ascontiguousarray(self.residual_px[..., k], np.float32)
                image[:, k] += cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        return np.column_stack((image, depth))

    @property
    def px_per_mm(self) -> float:
        """Photo pixels per millimetre at the head's distance."""
        scale = float(np.sqrt(abs(np.linalg.det(self.image_from_crop[:, :2]))))
        return scale * self.focal_px / max(float(self.translation_mm[2]), 1.0)


def hull(
    landmarks_px: Float[np.ndarray, "468 k"], height: int, width: int, scale: float = 1.0
) -> Bool[np.ndarray, "height width"]:
    """The face's region: pixels inside the convex hull of its landmarks."""
    points = landmarks_px[np.isfinite(landmarks_px[:, :2]).all(1), :2]
    out = np.zeros((height, width), np.uint8)
    if len(points) > 2:
        outline = cv2.convexHull(points.astype(np.float32))[:, 0] * scale - 0.5
        cv2.fillConvexPoly(out, np.clip(np.round(outline * 16), -(2**24), 2**24).astype(np.int32), 1, shift=4)
    return out > 0


def covered_share(alpha: Float[np.ndarray, "h w"], landmarks_px: Float[np.ndarray, "468 k"]) -> float:
    """Share of the face's region inside the picture that is hidden; 0 where none is."""
    inside = hull(landmarks_px, *alpha.shape)
    return float((alpha[inside] >= 0.5).mean()) if inside.any() else 0.0
