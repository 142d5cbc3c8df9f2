"""Classical segmentation of mask and visible skin: a skin model from the upper face, then GrabCut seeded by the prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators import masks
from operators.batch import Batch
from operators.segment.given import given_occluders
from operators.segment.presence import occluder_evidence
from operators.segment.prompts import (
    Prompts,
    eye_line_and_scale,
    face_prompts,
    landmarks_in_crop,
    occluder_prompts,
)
from operators.segment.regions import (
    CORE,
    FOREHEAD,
    LEFT_BROW,
    LEFT_EYE,
    LOWER_FACE,
    NOSE_ROOT,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
    hulls,
    polygons,
)
from operators.types import OperatorConfig, OperatorInfo, option

# One unit of skin distance: this far in CIE L*, or this far in a*b*.
_LIGHTNESS_UNIT, _CHROMA_UNIT = 18.0, 9.0
# Evidence that a segmented occluder adds: per unit of its contrast to the skin, against an even contrast, up to a most.
_CONTRAST_GAIN, _CONTRAST_EVEN, _CONTRAST_MOST = 3.0, 1.1, 2.0


@dataclass(frozen=True)
class GrabcutSegmenterConfig(OperatorConfig):
    """Settings of `GrabcutSegmenter`."""

    kind: Literal["grabcut"] = option("grabcut", "classical segmentation: skin model and GrabCut, no trained weights")
    working_px: int = option(144, "side of the picture on which GrabCut runs; the crop is shrunk to it")
    iterations: int = option(3, "GrabCut iterations in each of its two passes")
    evidence_threshold: float = option(0.3, "evidence that something covers the lower face below which there is no occluder")


class GrabcutSegmenter:
    """Occluder and visible skin of every live face, without trained weights.

    The predicted IoUs are NaN: GrabCut has no such estimate. Stability is the IoU of the two passes' masks (seeded by the
    prompts, then by the first pass). Rother, Kolmogorov & Blake, "GrabCut", SIGGRAPH 2004, as in OpenCV.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="grabcut_segmenter",
        version="1",
        reads=("given_mask_bytes", "landmarks468_px", "crop_from_image", "crop", "crop_valid"),
        writes=(
            *("occluder", "occluder_iou", "occluder_stability"),
            *("visible_face", "visible_face_iou", "visible_face_stability"),
        ),
    )

    def __init__(self, config: GrabcutSegmenterConfig = GrabcutSegmenterConfig(), assets=None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        faces = batch.live_faces()
        if not len(faces):
            return batch
        crops, valid = batch.faces["crop"][faces], batch.faces["crop_valid"][faces]
        landmarks = landmarks_in_crop(batch, faces)
        size = crops.shape[1]
        given, is_given = given_occluders(batch, faces, size)
        evidence = occluder_evidence(crops, landmarks)
        wanted, unwanted = occluder_prompts(landmarks, size), face_prompts(landmarks, size)
        occluder, visible = np.zeros(valid.shape, bool), np.zeros(valid.shape, bool)
        stability = np.full((2, len(faces)), np.nan, np.float32)
        for i in range(len(faces)):
            scene = _Scene(crops[i], landmarks[i], self.config)
            if is_given[i]:
                occluder[i], stability[0, i] = given[i], 1.0
            elif evidence[i] + _CONTRAST_GAIN * (_CONTRAST_MOST - _CONTRAST_EVEN) > self.config.evidence_threshold:
                found, stability[0, i] = scene.occluder(wanted, i)
                contrast = _CONTRAST_GAIN * (min(scene.contrast(found), _CONTRAST_MOST) - _CONTRAST_EVEN)
                occluder[i] = found & bool(evidence[i] + contrast > self.config.evidence_threshold)
            visible[i], stability[1, i] = scene.visible_skin(occluder[i], unwanted, i)
        unknown = np.full(len(faces), np.nan, np.float32)
        batch.put("occluder", occluder & valid, faces)
        batch.put("occluder_iou", np.where(is_given, 1.0, unknown), faces)
        batch.put("occluder_stability", stability[0], faces)
        batch.put("visible_face", visible & valid, faces)
        batch.put("visible_face_iou", unknown, faces)
        batch.put("visible_face_stability", stability[1], faces)
        return batch


def _dilate(mask: np.ndarray, radius: float) -> np.ndarray:
    return masks.dilate(mask[None], radius)[0]


class _Scene:
    """One face at working size: its regions, its colours, and how far each pixel is from its skin."""

    def __init__(self, crop: UInt8[np.ndarray, "h w 3"], landmarks: Float[np.ndarray, "468 2"], config: GrabcutSegmenterConfig):
        self.full, self.size, self.iterations = crop.shape[0], config.working_px, config.iterations
        self.image = cv2.resize(crop, (self.size, self.size), interpolation=cv2.INTER_AREA)
        self.scale = self.size / self.full
        points = self.points = landmarks * self.scale
        eyes, down = (value[0] for value in eye_line_and_scale(points[None]))
        self.unit = float(np.linalg.norm(down))
        grid = np.stack(np.meshgrid(np.arange(self.size), np.arange(self.size)), -1) + 0.5
        self.depth = (grid - eyes) @ down / self.unit**2
        self.eyes = _dilate(self._polygon(LEFT_EYE) | self._polygon(RIGHT_EYE), 0.05 * self.unit)
        self.brows = _dilate(self._polygon(LEFT_BROW) | self._polygon(RIGHT_BROW), 0.02 * self.unit)
        self.lab = cv2.cvtColor(self.image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        self.skin_distance = self._skin_distance()

    def _polygon(self, vertices: tuple) -> np.ndarray:
        return polygons(self.points[None, list(vertices)], self.size)[0]

    def _skin_distance(self) -> np.ndarray:
        """(size, size) distance from the skin of forehead and nose root, in units of what light does to skin."""
        smooth = cv2.GaussianBlur(self.lab, (0, 0), 1.0)
        units = np.array([_LIGHTNESS_UNIT, _CHROMA_UNIT, _CHROMA_UNIT], np.float32)
        root = self._polygon(NOSE_ROOT)
        region = (hulls(self.points[None, list(FOREHEAD)], self.size)[0] & ~self.eyes | root) & ~self.brows
        samples = smooth[region] / units
        centre = np.median(smooth[root], 0) / units if root.any() else np.median(samples, 0)
        for _ in range(3):
            near = samples[np.linalg.norm(samples - centre, axis=1) < 1.2]
            centre = near.mean(0) if len(near) > 20 else centre
        return np.linalg.norm(smooth / units - centre, axis=-1)

    def occluder(self, prompts: Prompts, i: int) -> tuple[np.ndarray, float]:
        """Occluder mask in crop pixels and its stability."""
        lower, core = self._polygon(LOWER_FACE), self._polygon(CORE)
        middle = self.points[[0, 4, 152, 50, 280]].mean(0)
        wide = hulls((middle + 1.25 * (self.points[list(LOWER_FACE)] - middle))[None], self.size)[0] | lower
        reach = _dilate(wide, 0.18 * self.unit)
        never = ~reach | (self.depth < 0) | self.eyes | self._spots(prompts, i, 0)
        unlike_skin = self.skin_distance > 1
        likely = lower & ~((self.skin_distance < 0.7) & ~core)
        sure = core & unlike_skin | self._spots(prompts, i, 1) & unlike_skin
        first = self._clean(self._grabcut(sure, likely, never), core)
        if not first.any():
            return np.zeros((self.full, self.full), bool), 0.0
        second = first | (reach & unlike_skin & (self._likelier(first, never | (reach & ~wide & ~unlike_skin)) > 0.5))
        sure = masks.erode(first[None], 0.06 * self.unit)[0] & (core | unlike_skin)
        second = self._clean(self._grabcut(sure, second, never), core)
        stability = float(masks.iou(first[None], second[None])[0])
        return self._enlarge(second), stability if second.any() else 0.0

    def contrast(self, occluder: np.ndarray) -> float:
        """Skin distance that four fifths of the occluder exceed; 0 when it is empty."""
        small = cv2.resize(occluder.astype(np.uint8), (self.size, self.size), interpolation=cv2.INTER_NEAREST) > 0
        return float(np.percentile(self.skin_distance[small], 20)) if small.any() else 0.0

    def visible_skin(self, occluder: np.ndarray, prompts: Prompts, i: int) -> tuple[np.ndarray, float]:
        """Trustworthy skin in crop pixels and its stability: inside the face oval, not eyes, brows, hair or occluder."""
        small = cv2.resize(occluder.astype(np.float32), (self.size, self.size), interpolation=cv2.INTER_AREA) > 0
        hidden = _dilate(small, 0.04 * self.unit)
        oval = masks.erode(self._polygon(OVAL)[None], 0.03 * self.unit)[0] & ~hidden
        never = ~oval | self.eyes | self.brows
        if occluder.any():
            never |= self._polygon(LOWER_FACE) & hidden
        tight, loose = ((self.skin_distance < limit) & ~never for limit in (1.1, 1.5))
        clean = [masks.opening(fit[None], 0.015 * self.unit)[0] for fit in (tight, loose)]
        stability = float(np.nan_to_num(masks.iou(clean[0][None], clean[1][None])[0]))
        return self._enlarge(clean[1]) & ~occluder, stability

    def _spots(self, prompts: Prompts, i: int, label: int) -> np.ndarray:
        spots = np.zeros((self.size, self.size), bool)
        at = (prompts.points_px[i][prompts.labels[i] == label] * self.scale).astype(int).clip(0, self.size - 1)
        spots[at[:, 1], at[:, 0]] = True
        return _dilate(spots, 0.03 * self.unit)

    def _likelier(self, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
        """Log-likelihood ratio of each pixel's colour: histograms of `inside` over `outside`, 16 bins a channel, smoothed."""
        bins = self.image.astype(np.int64) // 16
        index = (bins[..., 0] * 16 + bins[..., 1]) * 16 + bins[..., 2]
        density = []
        for region in (inside, outside):
            counts = np.bincount(index[region], minlength=4096).astype(np.float32).reshape(16, 16, 16)
            for axis in range(3):
                padded = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)])
                low, mid, high = (np.take(padded, np.arange(16) + k, axis) for k in range(3))
                counts = 0.25 * low + 0.5 * mid + 0.25 * high
            density.append((counts.reshape(-1) + 1e-3) / (counts.sum() + 4.096))
        ratio = np.log(density[0] / density[1])[index].astype(np.float32)
        return cv2.GaussianBlur(ratio, (0, 0), 1.5)

    def _grabcut(self, sure: np.ndarray, likely: np.ndarray, never: np.ndarray) -> np.ndarray:
        trimap = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        trimap[sure] = cv2.GC_FGD
        trimap[never] = cv2.GC_BGD
        wanted = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
        if wanted.sum() < 20 or (~wanted).sum() < 20:
            return np.zeros(sure.shape, bool)
        cv2.setRNGSeed(0)
        cv2.grabCut(self.image, trimap, None, np.zeros((1, 65)), np.zeros((1, 65)), self.iterations, cv2.GC_INIT_WITH_MASK)
        return (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)

    def _clean(self, mask: np.ndarray, core: np.ndarray) -> np.ndarray:
        """Without straps and specks: what a broad brush can reach from the core, gaps closed and holes filled."""
        broad = masks.components_touching(masks.opening(mask[None], 0.07 * self.unit), core[None], most=True)
        near = masks.dilate(broad, 0.05 * self.unit) & masks.opening(mask[None], 0.02 * self.unit)
        return masks.fill_holes(masks.closing(near | broad, 0.08 * self.unit))[0]

    def _enlarge(self, mask: np.ndarray) -> np.ndarray:
        size = (self.full, self.full)
        return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
