"""A drawn face with a mask on it, and the same face rendered in other colours: input with a known answer."""

from __future__ import annotations

import numpy as np
import torch

from operators.batch import Batch
from operators.inpaint.base import FillInput


def drawn(size: int = 128, seed: int = 0) -> dict[str, np.ndarray]:
    """truth, crop (truth with a blue mask), hole, render (truth darker and bluer), render_mask, visible_face, crop_valid."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    shift = 0.01 * (seed % 5)
    face = ((x - 0.5 - shift) / 0.28) ** 2 + ((y - 0.5) / 0.38) ** 2 < 1
    skin = np.stack([0.75 - 0.2 * x, 0.55 - 0.1 * x, 0.45 + 0.05 * y], -1)
    mouth = ((x - 0.5) / 0.1) ** 2 + ((y - 0.72) / 0.03) ** 2 < 1
    skin = np.where(mouth[..., None], [0.6, 0.25, 0.25], skin)
    background = np.stack([0.3 + 0 * x, 0.5 + 0.2 * y, 0.35 + 0 * x], -1)
    truth = np.where(face[..., None], skin, background)
    truth = truth + np.random.default_rng(seed).normal(0, 0.01, truth.shape)
    occluder = (((x - 0.5) / 0.31) ** 2 + ((y - 0.68) / 0.25) ** 2 < 1) & (y > 0.55)
    hole = (((x - 0.5) / 0.33) ** 2 + ((y - 0.68) / 0.27) ** 2 < 1) & (y > 0.53)
    level = lambda picture: np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)  # noqa: E731
    return {
        "truth": level(truth),
        "crop": level(np.where(occluder[..., None], [0.2, 0.4, 0.9], truth)),
        "hole": hole,
        "render": level(np.where(face[..., None], skin * [0.7, 0.75, 0.9] + [0.0, 0.03, 0.1], 0)),
        "render_mask": face,
        "visible_face": face & ~hole,
        "crop_valid": np.ones_like(face),
        "occluder": occluder,
    }


def given(*faces: dict[str, np.ndarray]) -> FillInput:
    """As the operator shell hands it to a system."""

    def stack(name: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([face[name] for face in faces]))

    def picture(name: str) -> torch.Tensor:
        return stack(name).permute(0, 3, 1, 2).float() / 255

    return FillInput(
        image=torch.where(stack("hole")[:, None], 0.5, picture("crop")),
        hole=stack("hole"),
        seeds=torch.arange(len(faces)),
        prior=picture("render"),
        prior_mask=stack("render_mask"),
        visible_face=stack("visible_face"),
        valid=stack("crop_valid"),
    )


def batch_of(*faces: dict[str, np.ndarray], images: list[bytes] | None = None) -> Batch:
    """One row per face with the columns that inpainting reads."""
    batch = Batch.from_images(images or [b"x"] * len(faces))
    batch.set_faces(np.arange(len(faces)))
    for name in ("crop", "crop_valid", "hole", "render", "render_mask", "visible_face", "occluder"):
        batch.put(name, np.stack([face[name] for face in faces]))
    return batch


def hole_psnr_db(filled: np.ndarray, face: dict[str, np.ndarray]) -> float:
    error = (filled.astype(float) - face["truth"])[face["hole"]]
    return float(10 * np.log10(255**2 / np.mean(error**2)))
