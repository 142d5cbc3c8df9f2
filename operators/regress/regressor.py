"""Operator: fits a face basis to every face in one pass of a network, instead of by optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from operators.batch import Batch
from operators.morphable import camera
from operators.morphable.bases import load_basis
from operators.morphable.fitter import landmarks_in_view
from operators.morphable.model import MorphableModel
from operators.regress.estimate import Estimate, Estimator
from operators.types import LOW_CONFIDENCE, OperatorConfig, OperatorInfo, option


@dataclass(frozen=True)
class FaceRegressorConfig(OperatorConfig):
    """Which regressor, and the basis that its coefficients belong to."""

    kind: Literal["regressor"] = option("regressor", "the basis's coefficients as a network reads them off the photo")
    network: Literal["deep3d", "inverse_rendering"] = option(
        "deep3d", "Deep3D (257 numbers by ResNet-50), or the ResNet-18 of Inverse Rendering 3DMM"
    )
    checkpoint: str = option(
        "", "its official files (see docs/networks.md), or the name of a network that `jobs.assets convert` made"
    )
    basis: str = option(
        "bfm2009_front_face",
        "face basis of the network's coefficients: bfm2009_front_face for deep3d, bfm2009_full_face of its own files for "
        "inverse_rendering",
    )
    focal: float = option(4.0, "focal length in crop sizes for a network whose camera has none (inverse_rendering)")
    batch_size: int = option(32, "faces regressed together")

    @property
    def checkpoints(self) -> dict[str, str]:
        """Field -> system of every official checkpoint that the config names."""
        return {"checkpoint": self.network}


class FaceRegressor:
    """Pose, shape, albedo and light from a regressor, in our conventions; the photo is aligned as in its training.

    The columns are those of `MorphableFitter`; `fit_rmse_px` is how far visible landmarks lie from the face's, and what a network
    does not know (`lower_face_std`, `lower_face_guess`) stays blank. Faces without landmarks to align by, or whose pose is none,
    get status low_confidence. `network` takes the place of the checkpoint. Errors: CheckpointError, BasisError.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="FaceRegressor",
        version="1",
        reads=("image_bytes", "crop", "crop_from_image", "landmarks468_px", "landmarks68_px", "occluder", "crop_valid"),
        writes=(
            "identity", "expression", "albedo", "light", "rotation_deg", "translation", "focal_px", "fit_rmse_px",
            "hidden_fraction", "lower_face_std", "lower_face_guess",
        ),
        wants_gpu=True,
    )  # fmt: skip

    def __init__(
        self,
        config: FaceRegressorConfig = FaceRegressorConfig(),
        assets: Any = None,
        device: str = "cpu",
        network: nn.Module | None = None,
    ):
        self.config, self.device = config, torch.device(device)
        basis = load_basis(config.basis)
        self.model = MorphableModel(basis, device)
        self.estimator = Estimator(config.network, config.checkpoint, self.model, assets, network)
        self.kind = "468" if len(basis.landmarks468) or basis.anchors468 is not None else "68"
        self.points = self.model.points(self.kind)

    def __call__(self, batch: Batch) -> Batch:
        live = batch.live_faces()
        for start in range(0, len(live), self.config.batch_size):
            self._fit(batch, live[start : start + self.config.batch_size])
        return batch

    def _fit(self, batch: Batch, index: np.ndarray) -> None:
        found = self.estimator(batch, index, focal=self.config.focal)
        for j, reason in zip(index, found.reason, strict=True):
            if reason:
                batch.mark_face(int(j), LOW_CONFIDENCE, f"{self.info.name}: {reason}")
        target, hidden = landmarks_in_view(batch, index, f"landmarks{self.kind}_px", self.device)
        none, identity = torch.full_like(found.focal_px, torch.nan), self.model.identity_count
        columns = {
            "identity": found.coefficients[:, :identity],
            "expression": found.coefficients[:, identity:],
            "albedo": found.albedo,
            "light": found.light,
            "rotation_deg": camera.deg_from_rotation(found.rotation),
            "translation": found.translation,
            "focal_px": found.focal_px,
            "fit_rmse_px": self._off(found, target, hidden, batch.faces["crop"].shape[1]),
            "lower_face_std": none,
            "lower_face_guess": none,
        }
        kept = found.ok.cpu().numpy()
        for name, values in columns.items():
            batch.put(name, values.cpu().numpy()[kept], index[kept])
        batch.put("hidden_fraction", hidden.float().mean(1).cpu().numpy(), index)

    def _off(
        self, found: Estimate, target: Float[Tensor, "faces points 2"], hidden: Bool[Tensor, "faces points"], size: int
    ) -> Float[Tensor, " faces"]:
        """Root mean square distance of the visible landmarks from the face's; NaN where none is visible."""
        inside = camera.to_camera(self.points.at(found.coefficients), found.rotation, found.translation)
        square = (camera.project(inside, found.focal_px, size) - target).square().sum(-1)
        seen = ~hidden & torch.isfinite(square)
        return (torch.where(seen, square, 0).sum(1) / seen.sum(1)).sqrt()
