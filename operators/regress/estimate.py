"""From photos and landmarks to faces of our basis in our crop, by a regressor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from operators.assets import AssetStore
from operators.batch import Batch
from operators.checkpoints.open import open_network
from operators.faces.geometry import invert_similarity
from operators.morphable import camera
from operators.morphable.model import MorphableModel
from operators.regress.alignment import SIDE, AlignmentError
from operators.regress.base import Regressed, Regressor, some_vertices
from operators.regress.deep3d import Deep3dRegressor
from operators.regress.inverse_rendering import InverseRenderingRegressor
from operators.regress.pose import pose_like, turned_light

_TOGETHER = 32
REGRESSORS = {"deep3d": Deep3dRegressor, "inverse_rendering": InverseRenderingRegressor}


@dataclass(frozen=True)
class Estimate:
    """Faces in our conventions; where `reason` is not empty there is none, and the numbers are a stand-in.

    `residual_px` is how far (root mean square, crop pixels) points of the face lie from where the network's own camera puts them.
    """

    coefficients: Float[Tensor, "faces modes"]
    albedo: Float[Tensor, "faces albedo"]
    light: Float[Tensor, "faces 9 3"]
    rotation: Float[Tensor, "faces 3 3"]
    translation: Float[Tensor, "faces 3"]
    focal_px: Float[Tensor, " faces"]
    residual_px: Float[Tensor, " faces"]
    reason: tuple[str, ...]

    @property
    def ok(self) -> Bool[Tensor, " faces"]:
        """Which faces there are."""
        return torch.tensor([not reason for reason in self.reason], device=self.focal_px.device)


class Estimator:
    """A regressor's network with its alignment, its conventions, and the way into our crop.

    `network` takes the place of the checkpoint: one that is built already. Errors: CheckpointError, BasisError.
    """

    def __init__(
        self,
        name: str,
        checkpoint: str,
        model: MorphableModel,
        assets: AssetStore | None = None,
        network: nn.Module | None = None,
    ):
        self.device, self.samples = model.device, some_vertices(model.shape)
        network = network or open_network(name, checkpoint, assets)
        self.regressor: Regressor = REGRESSORS[name](network, model, self.samples)

    @torch.inference_mode()
    def __call__(self, batch: Batch, index: np.ndarray, focal_px: Tensor | None = None, focal: float = 4.0) -> Estimate:
        """The faces `index` of a batch. `focal_px` fixes the focal length in the crop; else it is the network's own, and
        `focal` crop sizes where its camera has none."""
        size = batch.faces["crop"].shape[1]
        pictures, to_crop, reason = self._aligned(batch, index)
        seen = self._regressed(pictures)
        linear, shift = to_crop[:, :, :2], to_crop[:, :, 2]
        target = (seen.projected.double()[:, :, None, :] * linear[:, None]).sum(-1) + shift[:, None]
        if focal_px is None:
            zoom = torch.linalg.det(linear).abs().sqrt()
            own = seen.focal_px * zoom.float()
            focal_px = torch.where(torch.isfinite(own), own, torch.full_like(own, focal * size))
        turn = torch.atan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1])
        level = torch.stack((torch.zeros_like(turn), torch.zeros_like(turn), -torch.rad2deg(turn)), -1)
        start = (camera.rotation_from_deg(level)[:, :, :, None] * seen.rotation.double()[:, None]).sum(2)
        rotation, translation, left = pose_like(self.samples, seen.coefficients, target, start, focal_px, size)
        lit = (rotation[:, :, None, :] * seen.light_rotation[:, None]).sum(-1)
        light = turned_light(seen.light, lit)
        fine = torch.isfinite(torch.cat((rotation.flatten(1), translation, seen.coefficients, light.flatten(1)), 1)).all(1)
        fine &= translation[:, 2] > 0
        reason = [
            why or ("" if good else "the network gave no usable face") for why, good in zip(reason, fine.tolist(), strict=True)
        ]
        return Estimate(
            seen.coefficients, seen.albedo, light, rotation, translation, focal_px.to(rotation), left, tuple(reason)
        )  # fmt: skip

    def _aligned(self, batch: Batch, index: np.ndarray) -> tuple[Tensor, Tensor, list[str]]:
        """Pictures, the maps from their pixels to the crop's, and why a face has none (it gets a grey one)."""
        pictures = np.full((len(index), SIDE, SIDE, 3), 128, np.uint8)
        maps = np.repeat(np.eye(2, 3)[None], len(index), 0)
        reason = [""] * len(index)
        for k, j in enumerate(index):
            try:
                aligned = self.regressor.align(batch.frame(int(batch.face_row[j])), batch.faces["landmarks68_px"][j])
            except AlignmentError as error:
                reason[k] = str(error)
                continue
            back = invert_similarity(aligned.from_photo)
            to_crop = batch.faces["crop_from_image"][j].astype(np.float64)
            maps[k] = np.concatenate((to_crop[:, :2] @ back[:, :2], to_crop[:, :2] @ back[:, 2:] + to_crop[:, 2:]), 1)
            pictures[k] = aligned.picture
        tensor = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float().div(255)
        return tensor, torch.from_numpy(maps).to(self.device), reason

    def _regressed(self, pictures: Tensor) -> Regressed:
        """On a CPU one by one, on a GPU in parts of one size: a face's bits must not depend on who comes with it."""
        size = 1 if self.device.type == "cpu" else _TOGETHER
        parts = []
        for start in range(0, len(pictures), size):
            some = pictures[start : start + size]
            missing = size - len(some)
            full = torch.cat((some, some[-1:].expand(missing, -1, -1, -1))) if missing else some
            found = self.regressor(full)
            parts.append({name: getattr(found, name)[: len(some)] for name in Regressed.__dataclass_fields__})
        return Regressed(**{name: torch.cat([part[name] for part in parts]) for name in Regressed.__dataclass_fields__})
