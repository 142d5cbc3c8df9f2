"""Masks that came with the input override the segmentation."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool

from operators.batch import Batch
from operators.faces.geometry import to_integer_centres
from operators.images import decode_rgb


def given_occluders(
    batch: Batch, faces: np.ndarray, size: int
) -> tuple[Bool[np.ndarray, "faces h w"], Bool[np.ndarray, " faces"]]:
    """Occluders of these faces from the rows' `given_mask_bytes`, and which faces such a mask touches.

    A given mask is white (>= 128) where the occluder is, and is scaled to its image's size when that differs. A face that
    the mask does not touch is segmented as if there were none.
    Errors: `operators.images.ImageError` when the bytes cannot be decoded.
    """
    occluders, touched = np.zeros((len(faces), size, size), bool), np.zeros(len(faces), bool)
    decoded: dict[int, np.ndarray] = {}
    for i, face in enumerate(faces):
        row = int(batch.face_row[face])
        data = batch.rows["given_mask_bytes"][row] if "given_mask_bytes" in batch.rows else None
        if not data:
            continue
        if row not in decoded:
            mask = decode_rgb(data)
            extent = (int(batch.rows["width_px"][row]), int(batch.rows["height_px"][row]))
            if min(extent) > 0 and mask.shape[1::-1] != extent:
                mask = cv2.resize(mask, extent, interpolation=cv2.INTER_LINEAR)
            decoded = {row: mask.max(-1).astype(np.float32)}
        to_crop = to_integer_centres(batch.faces["crop_from_image"][face])
        occluders[i] = cv2.warpAffine(decoded[row], to_crop, (size, size), flags=cv2.INTER_LINEAR) >= 128
        touched[i] = occluders[i].any()
    return occluders, touched
