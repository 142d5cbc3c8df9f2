"""Decide the hole: which pixels of the crop are filled, how much of the face that is, and the edges to fill along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from operators import masks
from operators.assets import AssetStore
from operators.batch import Batch
from operators.edges import canny, fused
from operators.segment.prompts import eye_line_and_scale, landmarks_in_crop
from operators.segment.regions import LEFT_EYE, OVAL, RIGHT_EYE, hulls, polygons
from operators.types import NOTHING_TO_FILL, OperatorConfig, OperatorInfo, option


@dataclass(frozen=True)
class HolePlannerConfig(OperatorConfig):
    """Settings of `HolePlanner`; lengths are shares of the distance from the eyes' middle to the chin."""

    margin: float = option(0.05, "the hole is dilated by this so that no rim of the occluder survives")
    closing: float = option(0.08, "gaps and notches of the hole narrower than twice this are closed")
    face_margin: float = option(0.15, "the projected face is dilated by this: masks bulge and a fit under a mask is uncertain")
    reach: float = option(2.0, "occluder connected to the hole is included up to this far outside the face")
    strap: float = option(0.04, "parts of the occluder outside the face thinner than twice this stay: straps and strings")
    min_coverage: float = option(0.03, "share of the face that must be covered; below it there is nothing to fill")
    exact_given: bool = option(True, "a mask that came with the photo is taken as it is: neither dilated nor closed")
    edge_sigma_px: float = option(2.0, "Gaussian of the Canny edge map, at a crop of 256 pixels")
    edge_agreement: float = option(
        0.3, "share of the views that must have an edge, where the renderer looked at several (render.edge_views_deg)"
    )


class HolePlanner:
    """Hole, edge map and mask coverage of every live face; a face with too little covered becomes nothing_to_fill.

    Works without a render: the projected face is then the hull of the face-oval landmarks, and the hole has no edges.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="HolePlanner",
        version="2",
        reads=(
            "given_mask_bytes", "landmarks468_px", "crop_from_image", "crop", "crop_valid", "occluder", "render", "render_mask",
            "edge_votes",
        ),
        writes=("hole", "edge_map", "mask_coverage"),
    )  # fmt: skip

    def __init__(self, config: HolePlannerConfig = HolePlannerConfig(), assets: AssetStore | None = None, device: str = "cpu"):
        self.config = config

    def __call__(self, batch: Batch) -> Batch:
        faces = batch.live_faces()
        if not len(faces):
            return batch
        crops, valid, occluder = (batch.faces[name][faces] for name in ("crop", "crop_valid", "occluder"))
        size = crops.shape[1]
        landmarks = landmarks_in_crop(batch, faces)
        unit = np.linalg.norm(eye_line_and_scale(landmarks)[1], axis=1)
        face = batch.faces["render_mask"][faces] if "render_mask" in batch.faces else np.zeros(occluder.shape, bool)
        missing = np.logical_not(face.any(axis=(1, 2)))
        face = np.where(missing[:, None, None], hulls(landmarks[:, OVAL], size), face)
        coverage = (occluder & face).sum((1, 2)) / np.maximum(face.sum((1, 2)), 1)
        eyes = polygons(landmarks[:, LEFT_EYE], size) | polygons(landmarks[:, RIGHT_EYE], size)
        hole = plan_hole(occluder, face, eyes, unit, self.config, self._exact(batch, faces)) & valid
        empty = (coverage < self.config.min_coverage) | ~hole.any((1, 2))
        hole[empty] = False

        sigma = self.config.edge_sigma_px * size / 256
        edges = canny(crops, sigma) & ~masks.dilate(hole, 1.5 * sigma)
        if "render" in batch.faces:
            edges |= self._drawn(batch, faces, face, sigma) & hole & ~missing[:, None, None]
        batch.put("hole", hole, faces)
        batch.put("edge_map", edges, faces)
        batch.put("mask_coverage", coverage, faces)
        for face_index, share in zip(faces[empty], coverage[empty], strict=True):
            batch.mark_face(int(face_index), NOTHING_TO_FILL, f"{share:.1%} of the face is covered: nothing to fill")
        left = set(batch.face_row[batch.live_faces()].tolist())
        for row in sorted(set(batch.face_row[faces[empty]].tolist()) - left):
            batch.mark_row(row, NOTHING_TO_FILL, self.info.name, "NothingToFill", "no face of this image has anything to fill")
        return batch

    def _drawn(self, batch: Batch, faces: np.ndarray, face: np.ndarray, sigma: float) -> Bool[np.ndarray, "faces h w"]:
        """Edges of the rendered face. With votes of several views: those that they agree on, and the outline of this one."""
        edges = canny(batch.faces["render"][faces], sigma)
        if "edge_votes" not in batch.faces:
            return edges
        return (edges & ~masks.erode(face, 2 * sigma)) | fused(batch.faces["edge_votes"][faces], self.config.edge_agreement)

    def _exact(self, batch: Batch, faces: np.ndarray) -> Bool[np.ndarray, " faces"]:
        """Which faces lie in photos that a mask came with."""
        given = batch.rows.get("given_mask_bytes")
        if given is None or not self.config.exact_given:
            return np.zeros(len(faces), bool)
        return np.array([bool(given[row]) for row in batch.face_row[faces]])


def plan_hole(
    occluder: Bool[np.ndarray, "faces h w"],
    face: Bool[np.ndarray, "faces h w"],
    eyes: Bool[np.ndarray, "faces h w"],
    unit: Float[np.ndarray, " faces"],
    config: HolePlannerConfig,
    exact: Bool[np.ndarray, " faces"] | None = None,
) -> Bool[np.ndarray, "faces h w"]:
    """Occluder on the face and what hangs on it outside, closed and dilated; the margin never grows over an open eye.

    `face` is the projected face, `unit` the pixels from the eyes' middle to the chin. Faces that are `exact` keep their
    occluder's outline: no closing, no margin.
    """
    grown = unit if exact is None else np.where(exact, 0.0, unit)
    near = masks.dilate(face, config.face_margin * unit)
    on_face = occluder & near
    body = masks.opening(occluder, config.strap * unit) & masks.dilate(near, config.reach * unit)
    hole = on_face | masks.components_touching(on_face | body, on_face)
    hole = masks.fill_holes(masks.closing(hole, config.closing * grown))
    return masks.dilate(hole, config.margin * grown) & ~(eyes & ~occluder)
