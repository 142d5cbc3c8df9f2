"""Operator: fits a face basis to the visible landmarks and skin pixels of every face."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as nnf

from operators.batch import Batch
from operators.morphable import camera
from operators.morphable.appearance import AppearanceSettings
from operators.morphable.atlas import AlbedoModel
from operators.morphable.bases import load_basis
from operators.morphable.fit import FitSettings, LandmarkFit, fit_landmarks
from operators.morphable.landmark_cost import FaceState, LandmarkCost, landmark_cost
from operators.morphable.model import MorphableModel
from operators.morphable.photometric import PhotometricFit, PhotometricFitter, PhotometricSettings
from operators.morphable.pose import initial_pose
from operators.morphable.surface import SurfaceSamples
from operators.morphable.texture import usable_pixels
from operators.morphable.uncertainty import uncertainty
from operators.rasterize import select
from operators.segment.prompts import landmarks_in_crop
from operators.segment.regions import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE
from operators.segment.skin import eyes_and_brows
from operators.types import LOW_CONFIDENCE, OperatorConfig, OperatorInfo, option

FILM_DIAGONAL_MM = 43.2666
"""Of a 36 x 24 mm frame."""


@dataclass(frozen=True)
class MorphableFitterConfig(OperatorConfig):
    """Which basis to fit, how far to trust landmarks and pixels."""

    kind: Literal["morphable"] = option("morphable", "the basis fitted to landmarks and photo by optimisation")
    basis: str = option(
        "open_face",
        "face basis: open_face, a converted one (ict_facekit_face, bfm2009_front_face, flame2023_face …), or an .npz",
    )
    points: Literal["auto", "468", "68"] = option("auto", "landmarks to fit; auto takes 468 where the basis knows them")
    focal: float = option(4.0, "focal length in crop sizes, where nothing better is known")
    focal_from: Literal["guess", "exif"] = option(
        "guess", "exif = what the camera wrote, where it did; only for photos that were not cropped since"
    )
    focal_log_std: float = option(
        0.0, "how far the focal length may be from that, as the standard deviation of its logarithm; 0 takes it as known"
    )
    shared_identity: bool = option(True, "one identity for the photos of a `subject` that go through the pipeline together")
    noise: float = option(0.012, "standard deviation of a landmark, as a share of the crop size")
    hidden_weight: float = option(0.002, "weight of a landmark under the occluder or outside the photo; visible ones have 1")
    covered_weight: float = option(
        0.002, "weight of a visible landmark beside eyes and brows when the lower face is covered: a mask pulls it along"
    )
    turned_weight: float = option(
        0.3, "weight of a landmark on a side of the face that is turned away; it is a guess of the mesh"
    )
    covered_share: float = option(0.3, "the lower face counts as covered when this share of its landmarks is hidden")
    pitch_prior_deg: tuple[float, float] = option(
        (4.5, 4.0), "mean and standard deviation of the head's pitch: eyes and brows alone say little about it"
    )
    huber: float = option(3.0, "residual, in standard deviations, beyond which a landmark loses weight")
    identity_prior: float = option(1.0, "strength of the identity prior; larger stays closer to the mean face")
    expression_prior: float = option(1.0, "strength of the expression prior where the mouth is visible")
    hidden_expression_prior: float = option(3.0, "the same where the mouth is hidden: keeps it closed")
    max_steps: int = option(20, "most Levenberg-Marquardt steps; a face stops as soon as it has converged")
    appearance: bool = option(True, "also fit albedo and light")
    appearance_px: int = option(64, "side of the shrunken photo in which surface samples read their colour")
    appearance_samples: int = option(1000, "points of the surface at which albedo and light are fitted")
    occluder_margin: float = option(0.02, "band around the occluder that is not skin, as a share of the crop size")
    pixel_noise: float = option(0.06, "standard deviation of a sample's colour against the albedo and light priors")
    start: Literal["mean", "deep3d", "inverse_rendering"] = option(
        "mean", "where the fit begins: the mean face, or what a regressor makes of the photo (needs its basis)"
    )
    start_prior: bool = option(
        False, "identity is pulled towards the regressor's instead of the mean face's: what is hidden stays as it says"
    )
    checkpoint: str = option("", "official files of the regressor that the fit begins with (see docs/networks.md)")
    photometric_steps: int = option(0, "steps that refine pose and shape by the photo itself; 0 = landmarks alone")
    photometric_noise: float = option(0.05, "standard deviation of a sample's colour in those steps")
    rasterizer: Literal["auto", "numba", "triton", "pytorch3d"] = option("auto", "rasterizer backend")
    batch_size: int = option(64, "faces fitted together")

    @property
    def checkpoints(self) -> dict[str, str]:
        """Field -> system of every official checkpoint that the config names."""
        return {} if self.start == "mean" else {"checkpoint": self.start}


def landmarks_in_view(batch: Batch, index: np.ndarray, column: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Landmarks in crop pixels, and which of them the occluder or the picture's rim hides."""
    warp, image, occluder, valid = (
        torch.as_tensor(batch.faces[name][index], device=device) for name in ("crop_from_image", column, "occluder", "crop_valid")
    )
    target = (image[..., None, :2] * warp[:, None, :, :2]).sum(-1) + warp[:, None, :, 2]
    blocked = occluder | ~valid
    size = blocked.shape[-1]
    grid = torch.nan_to_num(target)[:, None] / size * 2 - 1
    at = nnf.grid_sample(blocked[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    return target, at[:, 0, 0] > 0.5


def on_eyes_and_brows(kind: str) -> np.ndarray:
    """Which of the 68 or 468 landmarks lie on eyes and brows."""
    if kind == "68":
        return np.isin(np.arange(68), (*range(17, 27), *range(36, 48)))
    return np.isin(np.arange(468), (*LEFT_EYE, *RIGHT_EYE, *LEFT_BROW, *RIGHT_BROW))


def together(person: np.ndarray, most: int) -> list[np.ndarray]:
    """Indices in parts of up to `most`, in order, each person's photos in one part."""
    _, first, number = np.unique(person, return_index=True, return_inverse=True)
    order = np.argsort(first[number], kind="stable")
    parts: list[np.ndarray] = []
    start = 0
    for end in [*(np.flatnonzero(np.diff(number[order])) + 1), len(order)]:
        if parts and len(parts[-1]) + end - start <= most:
            parts[-1] = np.concatenate((parts[-1], order[start:end]))
        elif end > start:
            parts.append(order[start:end])
        start = end
    return parts


class MorphableFitter:
    """Pose, identity and expression by Levenberg-Marquardt on landmarks; albedo and light by linear least squares.

    Faces that cannot be fitted get status low_confidence and keep blank coefficients.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="MorphableFitter",
        version="3",
        reads=(
            "image_bytes", "subject", "focal_35mm", "width_px", "height_px", "face_index", "mesh_score", "crop",
            "crop_from_image", "landmarks468_px", "landmarks68_px", "occluder", "visible_face", "crop_valid",
        ),
        writes=(
            "identity", "expression", "albedo", "light", "rotation_deg", "translation", "focal_px", "fit_rmse_px",
            "hidden_fraction", "lower_face_std", "lower_face_guess",
        ),
        wants_gpu=True,
    )  # fmt: skip

    def __init__(self, config: MorphableFitterConfig = MorphableFitterConfig(), assets: Any = None, device: str = "cpu"):
        self.config, self.device = config, torch.device(device)
        basis = load_basis(config.basis)
        self.model = MorphableModel(basis, device)
        kind = config.points if config.points != "auto" else ("468" if len(basis.landmarks468) else "68")
        self.column, self.points = f"landmarks{kind}_px", self.model.points(kind)
        self.mouth = self.model.mouth(kind)
        self.steady = torch.as_tensor(on_eyes_and_brows(kind), device=self.device)
        nose_tip = float(basis.mean[basis.landmarks68[30], 1].mean())
        self.lower = self.points.mean[:, 1] < nose_tip
        self.outward = self._outward()
        ibug = self.model.points("68")
        self.lower_face = ibug.only(ibug.mean[:, 1] < nose_tip)
        self.outer_eyes = ibug.only([36, 45])
        self.photometric = self._photometric(device) if config.appearance else None
        self.estimator = self._estimator(assets)

    def _estimator(self, assets: Any) -> Any:
        if self.config.start == "mean":
            return None
        from operators.regress.estimate import Estimator

        return Estimator(self.config.start, self.config.checkpoint, self.model, assets)

    def _start(self, batch: Batch, index: np.ndarray, focal: Tensor) -> FaceState:
        """What the regressor makes of the photos; NaN where it has nothing."""
        found = self.estimator(batch, index, focal)
        coefficients = torch.where(found.ok[:, None], found.coefficients, torch.nan)
        return FaceState(coefficients, found.rotation, found.translation, found.focal_px)

    def _centre(self, start: FaceState | None, person: Tensor) -> Float[Tensor, "faces modes"] | None:
        """The identity that the prior pulls to: the mean of what the regressor makes of a person's photos."""
        if start is None or not self.config.start_prior:
            return None
        centre, identity = torch.zeros_like(start.coefficients), self.model.identity_count
        known = torch.isfinite(start.coefficients).all(1)
        for one in person.unique():
            same = person == one
            if (same & known).any():
                centre[same, :identity] = start.coefficients[same & known, :identity].mean(0)
        return centre

    def _outward(self) -> Float[Tensor, "points 3"]:
        """Normals of the mean face at the landmarks."""
        mean = self.model.shape.mean
        nearest = torch.cdist(self.points.mean, mean).argmin(1)
        return self.model.normals(mean[None])[0, nearest]

    def _photometric(self, device: str) -> PhotometricFitter:
        config, basis = self.config, self.model.basis
        samples = SurfaceSamples(self.model, AlbedoModel(basis, device), config.appearance_samples)
        mean, std = (torch.as_tensor(v, dtype=torch.float32, device=self.device) for v in (basis.light_mean, basis.light_std))
        settings = PhotometricSettings(
            steps=config.photometric_steps,
            px=config.appearance_px,
            first=AppearanceSettings(noise=config.pixel_noise),
            joint=AppearanceSettings(noise=config.photometric_noise),
        )
        return PhotometricFitter(self.model, samples, select(config.rasterizer, device), mean, std, settings)

    def __call__(self, batch: Batch) -> Batch:
        live = batch.live_faces()
        person = self._people(batch, live)
        for part in together(person, self.config.batch_size):
            self._fit(batch, live[part], torch.as_tensor(person[part], device=self.device))
        return batch

    def _people(self, batch: Batch, live: np.ndarray) -> np.ndarray:
        """A number for the person that each face shows: the first face of a photo with a subject is that subject."""
        own = -1 - np.arange(len(live))
        if not self.config.shared_identity:
            return own
        subject = np.array([batch.rows["subject"][row] for row in batch.face_row[live]], dtype=object)
        named = (subject != "") & (batch.faces["face_index"][live] == 0)
        return np.where(named, np.unique(subject.astype(str), return_inverse=True)[1], own)

    def _fit(self, batch: Batch, index: np.ndarray, person: Tensor) -> None:
        size = batch.faces["crop"].shape[1]
        target, hidden = landmarks_in_view(batch, index, self.column, self.device)
        focal = self._focal(batch, index, size)
        weights = self._weights(hidden) * self._confidence(batch, index)[:, None]
        weights = weights * self._facing(target, weights, focal, size)
        config = self.config
        settings = FitSettings(
            noise_px=config.noise * size,
            huber=config.huber,
            identity_prior=config.identity_prior,
            max_steps=config.max_steps,
            pitch_prior_deg=config.pitch_prior_deg,
            focal_log_std=config.focal_log_std,
        )
        unseen = hidden[:, self.mouth].float().mean(1)
        prior = config.expression_prior + unseen * (config.hidden_expression_prior - config.expression_prior)
        start = None if self.estimator is None else self._start(batch, index, focal)
        centre = self._centre(start, person)
        fit = fit_landmarks(self.points, target, weights, focal, float(size), settings, prior, person, start, centre)
        for j, reason in zip(index, fit.reason, strict=True):
            if reason:
                batch.mark_face(int(j), LOW_CONFIDENCE, f"{self.info.name}: {reason}")
        kept = fit.ok.cpu().numpy()
        columns = {
            "identity": fit.coefficients[:, : self.model.identity_count],
            "expression": fit.coefficients[:, self.model.identity_count :],
            "rotation_deg": camera.deg_from_rotation(fit.rotation),
            "translation": fit.translation,
            "focal_px": fit.focal_px,
            "fit_rmse_px": fit.rmse_px,
            **self._unknown(fit, size, prior),
        }
        if self.photometric is not None:
            known = replace(settings, focal_log_std=0.0)
            term = landmark_cost(self.points, target, weights, fit.focal_px, float(size), known, prior, centre)
            found = self._appearance(batch, index, fit, term, (person[:, None] == person).sum(1) > 1)
            columns |= {"albedo": found.albedo, "light": found.light, "translation": found.translation}
            columns["identity"] = found.coefficients[:, : self.model.identity_count]
            columns["expression"] = found.coefficients[:, self.model.identity_count :]
            columns["rotation_deg"] = camera.deg_from_rotation(found.rotation)
        for name, values in columns.items():
            batch.put(name, values.cpu().numpy()[kept], index[kept])
        batch.put("hidden_fraction", hidden.float().mean(1).cpu().numpy(), index)

    def _focal(self, batch: Batch, index: np.ndarray, size: int) -> Float[Tensor, " faces"]:
        """Focal length in crop pixels: from its 35 mm equivalent by the photo's diagonal (CIPA DCG-001), or the guess."""
        focal = np.full(len(index), self.config.focal * size, np.float32)
        if self.config.focal_from == "exif":
            row = batch.face_row[index]
            film, width, height = (batch.rows[name][row].astype(np.float64) for name in ("focal_35mm", "width_px", "height_px"))
            scale = np.linalg.norm(batch.faces["crop_from_image"][index, 0, :2], axis=1)
            told = film / FILM_DIAGONAL_MM * np.hypot(width, height) * scale
            focal = np.where(told > size, told, focal).astype(np.float32)
        return torch.as_tensor(focal, device=self.device)

    def _unknown(self, fit: LandmarkFit, size: int, expression_prior: Float[Tensor, " faces"]) -> dict[str, Tensor]:
        """How far the lower face may be from where it was put."""
        precision = torch.ones_like(fit.coefficients)
        precision[:, : self.model.identity_count] = self.config.identity_prior**2
        precision[:, self.model.identity_count :] = expression_prior[:, None].square()
        unsure = uncertainty(self.lower_face, fit, float(size), precision)
        face = camera.to_camera(self.outer_eyes.at(fit.coefficients), fit.rotation, fit.translation)
        # The distance as a frontal face would show it.
        eyes = (face[:, 0] - face[:, 1]).norm(dim=-1) * fit.focal_px / face[..., 2].mean(1)
        return {"lower_face_std": unsure.std_px.square().mean(1).sqrt() / eyes, "lower_face_guess": unsure.guess}

    def _tensor(self, batch: Batch, name: str, index: np.ndarray) -> Tensor:
        return torch.as_tensor(batch.faces[name][index], device=self.device)

    def _weights(self, hidden: Tensor) -> Tensor:
        """Trust in each landmark; under a mask the mesh draws contour and nose along, eyes and brows stay."""
        config = self.config
        covered = hidden[:, self.lower].float().mean(1) > config.covered_share
        beside = torch.where(self.steady, 1.0, config.covered_weight)
        weights = torch.where(covered[:, None], beside, 1.0)
        return torch.where(hidden, torch.full_like(weights, config.hidden_weight), weights)

    def _confidence(self, batch: Batch, index: np.ndarray) -> Tensor:
        """The mesh network's own confidence in each face, not below a tenth."""
        if "mesh_score" not in batch.faces:
            return torch.ones(len(index), device=self.device)
        return torch.nan_to_num(self._tensor(batch, "mesh_score", index), nan=1.0).clamp(0.1, 1)

    def _facing(self, target: Tensor, weights: Tensor, focal: Tensor, size: int) -> Tensor:
        """1 for landmarks that the camera can see if the face is turned as the mean face fits best, less for those behind."""
        known = torch.isfinite(target).all(-1)
        rough = torch.where(known | ~known.any(1, keepdim=True), weights.clamp_min(0.02), torch.zeros_like(weights))
        rotation, _ = initial_pose(self.points, torch.where(known[..., None], target, size / 2), rough, focal, size)
        towards = (rotation[:, 2, None] * self.outward).sum(-1)
        seen = ((towards + 0.5) / 0.4).clamp(0, 1)
        return torch.nan_to_num(self.config.turned_weight + (1 - self.config.turned_weight) * seen, nan=1.0)

    def _appearance(
        self, batch: Batch, index: np.ndarray, fit: LandmarkFit, term: LandmarkCost, shared: Tensor
    ) -> PhotometricFit:
        """Photos that share an identity keep their shapes: steps of one alone would part them."""
        assert self.photometric is not None
        photo = self._tensor(batch, "crop", index).float() / 255
        start = (fit.coefficients, fit.rotation, fit.translation)
        return self.photometric(photo, self._skin(batch, index), start, term, shared)

    def _skin(self, batch: Batch, index: np.ndarray) -> Float[Tensor, "faces height width"]:
        """Visible skin, eyes and brows; where the segmenter found hardly any skin, every pixel that is not hidden."""
        occluder, valid = (self._tensor(batch, name, index) for name in ("occluder", "crop_valid"))
        size = occluder.shape[-1]
        open_ = usable_pixels(occluder, valid, round(self.config.occluder_margin * size)) > 0
        skin = self._tensor(batch, "visible_face", index) & open_
        features = (
            torch.as_tensor(eyes_and_brows(np.nan_to_num(landmarks_in_crop(batch, index)), size).any(0), device=self.device)
            & open_
        )
        enough = skin.flatten(1).float().mean(1) > 0.01
        return torch.where(enough[:, None, None], skin | features, open_).float()
