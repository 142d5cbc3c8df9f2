"""Classical segmentation of mask and visible skin: a skin model from the upper face, then GrabCut seeded by the prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from operators import masks
from operators.assets import AssetStore
from operators.batch import Batch
from operators.segment.base import READS, WRITES
from operators.segment.given import given_occluders
from operators.segment.presence import EVIDENCE_LEAST, EVIDENCE_THRESHOLD, is_covered, occluder_evidence
from operators.segment.prompts import Prompts, eye_line_and_scale, face_prompts, landmarks_in_crop, occluder_prompts
from operators.segment.regions import CORE, LEFT_CHEEK, LOWER_FACE, NOSE_ROOT, OVAL, RIGHT_CHEEK, hulls, polygons
from operators.segment.rim import rim_remnants
from operators.segment.skin import eyes_and_brows, lit_skin, roughness, shaded_skin, skin_distance
from operators.types import OperatorConfig, OperatorInfo, option

# Under a mask the face mesh puts the chin too high by about this share of the distance from the eyes' middle to it.
_CHIN_STRETCH = 0.12
# CIE L* of local contrast that skin seldom has.
_ROUGH = 6.0
# Log brightness over the nose root's down to which skin in shadow is told from hair.
_DIM = -0.8
_BIN_BLUR = np.einsum("i,j,k->ijk", *[np.array([0.25, 0.5, 0.25])] * 3)


@dataclass(frozen=True)
class GrabcutSegmenterConfig(OperatorConfig):
    """Settings of `GrabcutSegmenter`."""

    kind: Literal["grabcut"] = option("grabcut", "classical segmentation: skin model and GrabCut, no trained weights")
    working_px: int = option(144, "side of the picture on which GrabCut runs; the crop is shrunk to it")
    iterations: int = option(3, "GrabCut iterations in each of its two passes")
    evidence_threshold: float = option(EVIDENCE_THRESHOLD, "evidence of a covered lower face below which there is no occluder")
    batch_size: int = option(32, "faces whose working pictures are held at a time")


class GrabcutSegmenter:
    """Occluder and visible skin of every live face, without trained weights.

    The predicted IoUs are NaN: GrabCut has no such estimate. Stability is an IoU in [0, 1]: of the occluder's two passes
    (seeded by the prompts, then by the first pass), and of the skin at a strict and at a lenient limit; NaN where there is
    no occluder. Rother, Kolmogorov & Blake, "GrabCut", SIGGRAPH 2004, as in OpenCV.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo("GrabcutSegmenter", "4", READS, WRITES)

    def __init__(
        self, config: GrabcutSegmenterConfig = GrabcutSegmenterConfig(), assets: AssetStore | None = None, device: str = "cpu"
    ):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        faces = batch.live_faces()
        if not len(faces):
            return batch
        crops, valid = batch.faces["crop"][faces], batch.faces["crop_valid"][faces]
        landmarks = landmarks_in_crop(batch, faces)
        given, is_given = given_occluders(batch, faces, crops.shape[1])
        occluder, visible = np.zeros(valid.shape, bool), np.zeros(valid.shape, bool)
        stability = np.full((2, len(faces)), np.nan, np.float32)
        for start in range(0, len(faces), self.config.batch_size):
            part = slice(start, start + self.config.batch_size)
            scenes = Scenes.of(crops[part], landmarks[part], self.config.working_px)
            occluder[part], stability[0, part] = self._occluders(scenes, crops[part], landmarks[part], is_given[part])
            occluder[part] |= given[part]
            visible[part], stability[1, part] = scenes.visible_skin(occluder[part])
            rim = rim_remnants(crops[part], occluder[part], visible[part], landmarks[part]) & ~is_given[part, None, None]
            occluder[part], visible[part] = occluder[part] | rim, visible[part] & ~rim
        stability[0, is_given] = 1.0
        batch.put("occluder", occluder & valid, faces)
        batch.put("occluder_iou", np.where(is_given, 1.0, np.nan), faces)
        batch.put("occluder_stability", stability[0], faces)
        batch.put("visible_face", visible & valid, faces)
        batch.put("visible_face_iou", np.full(len(faces), np.nan), faces)
        batch.put("visible_face_stability", stability[1], faces)
        return batch

    def _occluders(self, scenes: Scenes, crops: np.ndarray, landmarks: np.ndarray, skip: np.ndarray) -> tuple:
        """Occluders (faces h w) and stabilities of the faces that are not to be skipped and turn out to be covered."""
        config, size = self.config, crops.shape[1]
        evidence = occluder_evidence(crops, landmarks)
        occluders, stability = np.zeros(crops.shape[:3], bool), np.full(len(crops), np.nan, np.float32)
        prompts, opposite = occluder_prompts(landmarks, size), face_prompts(landmarks, size)
        for i in np.flatnonzero(~skip & (evidence > EVIDENCE_LEAST)).tolist():
            occluders[i], stability[i] = scenes.occluder(i, prompts, opposite, config.iterations)
        covered = is_covered(evidence, crops, landmarks, occluders, config.evidence_threshold)
        return occluders & covered[:, None, None], np.where(covered, stability, np.nan)


@dataclass(frozen=True)
class Scenes:
    """Faces at working size: pictures, regions, and how far each pixel is from the face's skin."""

    full: int
    landmarks: Float[np.ndarray, "faces 468 2"]
    unit: Float[np.ndarray, " faces"]
    images: UInt8[np.ndarray, "faces size size 3"]
    unlike_skin: Float[np.ndarray, "faces size size"]
    shaded: Bool[np.ndarray, "faces size size"]
    dim: Bool[np.ndarray, "faces size size"]
    lit: Bool[np.ndarray, "faces size size"]
    eyes: Bool[np.ndarray, "faces size size"]
    brows: Bool[np.ndarray, "faces size size"]
    rough: Float[np.ndarray, "faces size size"]

    @classmethod
    def of(cls, crops: UInt8[np.ndarray, "faces h w 3"], landmarks: Float[np.ndarray, "faces 468 2"], size: int) -> Scenes:
        points = landmarks * (size / crops.shape[1])
        images = np.stack([cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in crops])
        unit = np.linalg.norm(eye_line_and_scale(points)[1], axis=1)
        shaded, dim, lit = shaded_skin(images, points), shaded_skin(images, points, _DIM), lit_skin(images, points)
        eyes, brows = eyes_and_brows(points, size)
        unlike, rough = skin_distance(images, points), roughness(images, points)
        return cls(crops.shape[1], points, unit, images, unlike, shaded, dim, lit, eyes, brows, rough)

    @property
    def size(self) -> int:
        return self.images.shape[1]

    def occluder(self, i: int, prompts: Prompts, opposite: Prompts, iterations: int) -> tuple[np.ndarray, float]:
        """One face's occluder (h, w) in crop pixels and its stability."""
        points, unit, size, unlike_skin = self.landmarks[i], float(self.unit[i]), self.size, self.unlike_skin[i]
        eyes, down = (value[0] for value in eye_line_and_scale(points[None]))
        outline = points[list(LOWER_FACE)]
        outline = outline + _CHIN_STRETCH * np.clip((outline - eyes) @ down / down.dot(down), 0, 1)[:, None] ** 2 * down
        core, lower = polygons(points[None, list(CORE)], size)[0], polygons(outline[None], size)[0]
        middle = points[[0, 4, 152, 50, 280]].mean(0)
        wide = hulls((middle + 1.2 * (outline - middle))[None], size)[0] | lower
        reach = masks.dilate(wide[None], 0.13 * unit)[0]
        depth = (np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1) + 0.5 - eyes) @ down / down.dot(down)
        neck = (depth > 1) & self.shaded[i] & ~polygons(points[None, list(LOWER_FACE)], size)[0]
        never = ~reach | (depth < 0) | self.eyes[i] | self._spots(opposite, i) | neck
        sure = (core | self._spots(prompts, i)) & (unlike_skin > 1)
        likely = lower & (core | (unlike_skin >= 0.7))

        first = self._tidy(self._grabcut(i, sure, likely, never, iterations), core, unit)
        sure = masks.erode(first[None], 0.06 * unit)[0] & (core | (unlike_skin > 1))
        alike = _likelihood_ratio(self.images[i], first, never | (reach & ~wide & (unlike_skin <= 1))) > 0.5
        likely = first | (reach & (unlike_skin > 1) & alike)
        second = self._tidy(self._grabcut(i, sure, likely, never, iterations), core, unit)
        return self._enlarge(second), float(np.nan_to_num(masks.iou(first[None], second[None])[0]))

    def visible_skin(
        self, occluder: Bool[np.ndarray, "faces h w"]
    ) -> tuple[Bool[np.ndarray, "faces h w"], Float[np.ndarray, " faces"]]:
        """Trustworthy skin in crop pixels and its stability: inside the oval; no eyes, brows, hair, shadow or occluder."""
        small = np.stack(
            [cv2.resize(mask.astype(np.float32), (self.size, self.size), interpolation=cv2.INTER_AREA) for mask in occluder]
        )
        oval = masks.erode(polygons(self.landmarks[:, OVAL], self.size), 0.03 * self.unit)
        allowed = oval & ~masks.dilate(small > 0, 0.04 * self.unit) & ~self.eyes & ~self.brows & (self.rough < _ROUGH)
        alike = self.unlike_skin < 0.9, (self.unlike_skin < 1.3) | self.dim | self.lit
        strict, lenient = (masks.opening(allowed & skin, 0.015 * self.unit) for skin in alike)
        strict, lenient = self._anchored(strict), self._anchored(lenient)
        visible = np.stack([self._enlarge(mask) for mask in lenient]) & ~occluder
        return visible, np.nan_to_num(masks.iou(strict, lenient))

    def _anchored(self, skin: Bool[np.ndarray, "faces size size"]) -> Bool[np.ndarray, "faces size size"]:
        """Skin connected to nose root or cheeks below the eyes, where no fringe hangs; of the rest, what is hardly different."""
        anchors = polygons(self.landmarks[:, NOSE_ROOT], self.size) | polygons(self.landmarks[:, LEFT_CHEEK], self.size)
        anchors |= polygons(self.landmarks[:, RIGHT_CHEEK], self.size)
        sure = masks.components_touching(skin, anchors)
        out = sure.copy()
        for i, rest in enumerate(skin & ~sure):
            count, labels = cv2.connectedComponents(rest.astype(np.uint8), connectivity=8)
            typical = np.array([1.0, *(np.median(self.unlike_skin[i][labels == k]) for k in range(1, count))])
            out[i] |= (typical < 0.6)[labels]
        return out

    def _spots(self, prompts: Prompts, i: int) -> np.ndarray:
        """Small discs around one face's positive points."""
        spots = np.zeros((self.size, self.size), bool)
        at = prompts.points_px[i][prompts.labels[i] == 1] * (self.size / self.full)
        x, y = np.floor(at).astype(int).clip(0, self.size - 1).T
        spots[y, x] = True
        return masks.dilate(spots[None], 0.03 * self.unit[i])[0]

    def _grabcut(self, i: int, sure: np.ndarray, likely: np.ndarray, never: np.ndarray, iterations: int) -> np.ndarray:
        trimap = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        trimap[sure] = cv2.GC_FGD
        trimap[never] = cv2.GC_BGD
        wanted = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
        if wanted.sum() < 20 or (~wanted).sum() < 20:
            return np.zeros(sure.shape, bool)
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(self.images[i], trimap, (0, 0, 1, 1), *models, iterations, cv2.GC_INIT_WITH_MASK)
        return (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)

    @staticmethod
    def _tidy(mask: np.ndarray, core: np.ndarray, unit: float) -> np.ndarray:
        """What a broad brush reaches from the core, with its corners but without straps; closed, filled and smooth."""
        broad = masks.components_touching(masks.opening(mask[None], 0.09 * unit), core[None], most=True)
        corners = masks.dilate(broad, 0.06 * unit) & masks.opening(mask[None], 0.02 * unit)
        solid = masks.fill_holes(masks.closing(corners | broad, 0.08 * unit))[0]
        return cv2.GaussianBlur(solid.astype(np.float32), (0, 0), 0.025 * unit) > 0.5

    def _enlarge(self, mask: np.ndarray) -> np.ndarray:
        return cv2.resize(mask.astype(np.float32), (self.full, self.full), interpolation=cv2.INTER_LINEAR) > 0.5


def _likelihood_ratio(
    image: UInt8[np.ndarray, "h w 3"], inside: Bool[np.ndarray, "h w"], outside: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w"]:
    """Log-likelihood ratio of each pixel's colour between two regions, from smoothed histograms of 16 bins a channel."""
    bins = (image // 16).astype(np.int64)
    index = (bins[..., 0] * 16 + bins[..., 1]) * 16 + bins[..., 2]
    logs = []
    for region in (inside, outside):
        counts = np.bincount(index[region], minlength=16**3).reshape(16, 16, 16).astype(np.float64)
        counts = ndimage.convolve(counts, _BIN_BLUR, mode="constant")
        logs.append(np.log((counts.reshape(-1) + 1e-3) / (counts.sum() + 1e-3 * 16**3)))
    return cv2.GaussianBlur((logs[0] - logs[1])[index], (0, 0), 1.5)
