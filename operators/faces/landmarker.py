"""Dense landmarks of every detected face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from operators.assets import AssetStore
from operators.batch import Batch
from operators.faces.geometry import invert_similarity, square_to_crop, transform_points, warp_to_crop
from operators.faces.ibug68 import ibug68_from_mesh
from operators.faces.mesh import ASSETS, INPUT_PX, LEFT_EYE_OUTER, RIGHT_EYE_OUTER, FaceMesh
from operators.types import LOW_CONFIDENCE, OK, OperatorConfig, OperatorInfo, option

# Further looks at a face that the mesh is not sure of: the region's side multiplied, and its centre moved along the
# face's own x and y in shares of the side. Larger for tight boxes, smaller for loose ones, down for boxes that a mask
# pushes up to the forehead.
_RETRIES = ((1.25, 0.0, 0.0), (0.8, 0.0, 0.0), (1.0, 0.0, 0.12), (1.0, 0.0, -0.12), (1.0, 0.12, 0.0), (1.0, -0.12, 0.0))


@dataclass(frozen=True)
class FaceLandmarkerConfig(OperatorConfig):
    """Which network, and how sure it must be."""

    kind: Literal["attention", "plain"] = option("attention", "face mesh with or without attention to lips and eyes")
    presence_threshold: float = option(0.5, "least probability that the mesh lies on a face")
    region_scale: float = option(1.5, "side of the region the mesh sees, in sides of the detected or meshed face's box")
    retry: bool = option(True, "look again with larger, smaller and shifted regions when not sure")
    refine: bool = option(True, "look once more at the region that the first landmarks give")
    batch_size: int = option(4, "crops per network call")


class Regions(NamedTuple):
    """Rotated squares of the image, one per face."""

    centre_px: Float[np.ndarray, "faces 2"]
    side_px: Float[np.ndarray, " faces"]
    angle_rad: Float[np.ndarray, " faces"]

    def varied(self, scale: float, right: float, down: float) -> Regions:
        """The same squares scaled, and moved along their own axes by shares of the side."""
        cos, sin = np.cos(self.angle_rad), np.sin(self.angle_rad)
        move = np.stack([right * cos - down * sin, right * sin + down * cos], -1) * self.side_px[:, None]
        return Regions(self.centre_px + move, self.side_px * scale, self.angle_rad)

    def at(self, index: np.ndarray) -> Regions:
        return Regions(*(values[index] for values in self))


def regions_of_detections(
    boxes: Float[np.ndarray, "faces 4"], keypoints: Float[np.ndarray, "faces 6 2"], scale: float
) -> Regions:
    """Squares around detected boxes, turned so that the eyes are level."""
    eyes = keypoints[:, 1] - keypoints[:, 0]
    side = (boxes[:, 2:] - boxes[:, :2]).max(1) * scale
    return Regions((boxes[:, :2] + boxes[:, 2:]) / 2, side, np.arctan2(eyes[:, 1], eyes[:, 0]))


def regions_of_meshes(mesh: Float[np.ndarray, "faces 468 n"], scale: float) -> Regions:
    """Squares around the bounding boxes that meshes have once their eyes are level."""
    eyes = mesh[:, RIGHT_EYE_OUTER, :2] - mesh[:, LEFT_EYE_OUTER, :2]
    angle = np.arctan2(eyes[:, 1], eyes[:, 0])
    cos, sin = np.cos(angle), np.sin(angle)
    upright_from_image = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    upright = mesh[..., :2] @ np.swapaxes(upright_from_image, -1, -2)
    low, high = upright.min(1), upright.max(1)
    centre = np.einsum("fi,fij->fj", (low + high) / 2, upright_from_image)
    return Regions(centre, (high - low).max(1) * scale, angle)


class FaceLandmarker:
    """Writes 468 and 68 landmarks and the mesh's presence score; unsure faces get the status low_confidence.

    A row none of whose faces is ok gets that status too.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="face_landmarker",
        version="1",
        reads=("image_bytes", "box_xyxy_px", "detection_keypoints_px"),
        writes=("landmarks468_px", "landmarks68_px", "mesh_score", "face_status", "face_message"),
        assets=tuple(ASSETS.values()),
        wants_gpu=True,
    )

    def __init__(
        self, config: FaceLandmarkerConfig = FaceLandmarkerConfig(), assets: AssetStore | None = None, device: str = "cpu"
    ):
        self.config, self.device = config, device
        self.mesh = FaceMesh(config.kind, assets or AssetStore(), device, config.batch_size)

    def __call__(self, batch: Batch) -> Batch:
        index = batch.live_faces()
        if not len(index):
            return batch
        frames = [batch.frame(int(i)) for i in batch.face_row[index]]
        boxes = batch.faces["box_xyxy_px"][index].astype(np.float64)
        keypoints = batch.faces["detection_keypoints_px"][index].astype(np.float64)
        mesh, scores = self.locate(frames, boxes, keypoints)
        batch.put("landmarks468_px", mesh, index)
        batch.put("landmarks68_px", ibug68_from_mesh(mesh)[..., :2], index)
        batch.put("mesh_score", scores, index)
        threshold = self.config.presence_threshold
        for j, score in zip(index, scores, strict=True):
            if score < threshold:
                batch.mark_face(int(j), LOW_CONFIDENCE, f"face mesh presence {score:.2f}, needs {threshold:g}")
        for i in np.unique(batch.face_row[index]):
            mine = batch.face_row == i
            if not (batch.faces["face_status"][mine] == OK).any():
                best = np.nanmax(batch.faces["mesh_score"][mine])
                message = f"no face mesh is sure enough: best presence {best:.2f}, needs {threshold:g}"
                batch.mark_row(int(i), LOW_CONFIDENCE, self.info.name, "LowConfidence", message)
        return batch

    def locate(
        self, frames: list[np.ndarray], boxes: Float[np.ndarray, "faces 4"], keypoints: Float[np.ndarray, "faces 6 2"]
    ) -> tuple[Float[np.ndarray, "faces 468 3"], Float[np.ndarray, " faces"]]:
        """Meshes in image pixels and presence scores; `frames` holds each face's image."""
        config = self.config
        start = regions_of_detections(boxes, keypoints, config.region_scale)
        mesh, scores = self.look(frames, start)
        unsure = np.flatnonzero(scores < config.presence_threshold)
        if config.retry and len(unsure):
            tries = [start.at(unsure).varied(*retry) for retry in _RETRIES]
            regions = Regions(*(np.concatenate(values) for values in zip(*tries, strict=True)))
            again = [frames[j] for j in unsure] * len(tries)
            new_mesh, new_scores = self.look(again, regions)
            new_mesh = new_mesh.reshape(len(tries), len(unsure), *new_mesh.shape[1:])
            new_scores = new_scores.reshape(len(tries), len(unsure))
            best = new_scores.argmax(0), np.arange(len(unsure))
            mesh, scores = _better(mesh, scores, unsure, new_mesh[best], new_scores[best], np.zeros(len(unsure)))
        if config.refine:
            everyone = np.arange(len(scores))
            new_mesh, new_scores = self.look(frames, regions_of_meshes(mesh, config.region_scale))
            slack = np.where(new_scores >= config.presence_threshold, 1.0, 0.0)
            mesh, scores = _better(mesh, scores, everyone, new_mesh, new_scores, slack)
        return mesh, scores

    def look(
        self, frames: list[np.ndarray], regions: Regions
    ) -> tuple[Float[np.ndarray, "faces 468 3"], Float[np.ndarray, " faces"]]:
        """One pass of the mesh over these regions; `frames` holds each region's image."""
        matrices = square_to_crop(regions.centre_px, regions.side_px, regions.angle_rad, INPUT_PX)
        crops = np.stack([warp_to_crop(f, m, INPUT_PX) for f, m in zip(frames, matrices, strict=True)])
        images = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255
        mesh, scores = (values.cpu().numpy() for values in self.mesh(images))
        mesh = mesh.astype(np.float64)
        mesh[..., :2] = transform_points(invert_similarity(matrices), mesh[..., :2])
        mesh[..., 2] *= (regions.side_px / INPUT_PX)[:, None]
        return mesh.astype(np.float32), scores


def _better(
    mesh: np.ndarray, scores: np.ndarray, index: np.ndarray, new_mesh: np.ndarray, new_scores: np.ndarray, slack: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The candidates, where their scores exceed the old ones less `slack`."""
    take = new_scores > scores[index] - slack
    mesh, scores = mesh.copy(), scores.copy()
    mesh[index[take]], scores[index[take]] = new_mesh[take], new_scores[take]
    return mesh, scores
