"""Dense landmarks: the 468-point face mesh on a turned crop around each detected face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float

from operators.assets import AssetStore
from operators.batch import Batch
from operators.faces.canonical import whole_face_from_upper
from operators.faces.geometry import invert_similarity, square_to_crop, transform_points, warp
from operators.faces.ibug68 import ibug68_from_mesh
from operators.faces.tflite_network import TfliteNetwork
from operators.types import LOW_CONFIDENCE, OperatorConfig, OperatorInfo, option

INPUT_PX = 192
_EYE_LEFT, _EYE_RIGHT = 33, 263
# Pairs of mesh vertices whose mean lies where BlazeFace puts its first four keypoints: eyes, nose, mouth.
_KEYPOINTS = ((33, 133), (362, 263), (1, 1), (13, 14))

# Mesh vertices that the attention heads place anew (MediaPipe's attention-mesh graph; the heads' own order).
# fmt: off
_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 78, 95, 88, 178, 87, 14,
    317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415, 76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306,
    184, 74, 73, 72, 11, 302, 303, 304, 408, 62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268,
    271, 272, 407,
)
_EYE_A = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26, 112, 243,
    247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189, 35, 124,
    46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)
_EYE_B = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253, 252, 256,
    341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442,
    441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336,
    285, 417,
)
# fmt: on


@dataclass(frozen=True)
class FaceLandmarkerConfig(OperatorConfig):
    """Which mesh network, and when its answer is believed."""

    network: Literal["attention", "plain"] = option(
        "attention", "attention places lips and eyes anew and accepts more masked faces; plain is smaller"
    )
    score_threshold: float = option(0.5, "faces with a lower presence probability get status low_confidence")
    roi_scale: float = option(1.5, "side of the crop relative to the face box")
    retries: tuple[tuple[float, float, float], ...] = option(
        ((2.0, 0.0, 0.0), (1.2, 0.0, 0.0), (1.8, 0.0, 0.0), (1.2, 0.0, -0.15), (1.5, 0.15, 0.0), (1.5, -0.15, 0.0)),
        "other crops to try for faces that are not confident: scale, and shift to the right and down in box sides",
    )
    max_offset: float = option(
        0.31, "a mesh whose eyes, nose and mouth are on average farther from the detected ones, in box sides, is not believed"
    )
    retry_max_offset: float = option(0.2, "the same for a mesh that was found in a retry")
    size_range: tuple[float, float] = option((0.6, 1.6), "nor one whose larger side is not within this range, in box sides")
    refine_passes: int = option(
        1, "look again so many times in a crop around the whole face that the landmarks of the upper face imply"
    )
    batch_size: int = option(8, "faces per forward pass; up to 8 give the same bits on a CPU however they are grouped")


@dataclass(frozen=True)
class Squares:
    """Turned squares in full-image pixels."""

    centre_px: Float[np.ndarray, "faces 2"]
    side_px: Float[np.ndarray, "faces"]
    angle_rad: Float[np.ndarray, "faces"]

    def shifted(self, right: float, down: float) -> Squares:
        """Moved along their own edges by a share of their side."""
        cos, sin = np.cos(self.angle_rad), np.sin(self.angle_rad)
        step = np.stack((right * cos - down * sin, right * sin + down * cos), -1)
        return Squares(self.centre_px + step * self.side_px[:, None], self.side_px, self.angle_rad)


def mesh_against_detection(
    mesh_px: Float[np.ndarray, "faces 468 3"],
    box_xyxy_px: Float[np.ndarray, "faces 4"],
    keypoints_px: Float[np.ndarray, "faces 6 2"],
) -> tuple[Float[np.ndarray, "faces"], Float[np.ndarray, "faces"]]:
    """Mean distance of the mesh's eyes, nose and mouth from the detected ones, and the mesh's larger side, both in box sides."""
    side = np.maximum((box_xyxy_px[:, 2:] - box_xyxy_px[:, :2]).max(1), 1e-6)
    offset = mesh_px[:, np.array(_KEYPOINTS), :2].mean(2) - keypoints_px[:, :4]
    size = (mesh_px[..., :2].max(1) - mesh_px[..., :2].min(1)).max(1)
    return np.linalg.norm(offset, axis=2).mean(1) / side, size / side


def squares_from_detections(
    box_xyxy_px: Float[np.ndarray, "faces 4"], keypoints_px: Float[np.ndarray, "faces 6 2"], scale: float
) -> Squares:
    """Square around each box, turned so that the line through the eyes is level."""
    x, y = (keypoints_px[:, 1] - keypoints_px[:, 0]).T
    size = box_xyxy_px[:, 2:] - box_xyxy_px[:, :2]
    return Squares((box_xyxy_px[:, :2] + box_xyxy_px[:, 2:]) / 2, size.max(1) * scale, np.arctan2(y, x))


def squares_from_mesh(mesh_px: Float[np.ndarray, "faces 468 3"], scale: float) -> Squares:
    """Square around the mesh's upright bounding box, turned so that the line through the eyes is level."""
    x, y = (mesh_px[:, _EYE_RIGHT, :2] - mesh_px[:, _EYE_LEFT, :2]).T
    low, high = mesh_px[..., :2].min(1), mesh_px[..., :2].max(1)
    return Squares((low + high) / 2, (high - low).max(1) * scale, np.arctan2(y, x))


class FaceLandmarker:
    """Face mesh in full-image pixels with its presence score; retried on other crops where it is not confident.

    z has the scale of x and y, smaller is nearer (Kartynnik et al. 2019; attention heads: Grishchenko et al. 2020).
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="FaceLandmarker",
        version="2",
        reads=("image_bytes", "box_xyxy_px", "detection_keypoints_px"),
        writes=("landmarks468_px", "landmarks68_px", "mesh_score"),
        assets=("face_mesh_attention", "face_mesh"),
        wants_gpu=True,
    )

    def __init__(
        self, config: FaceLandmarkerConfig = FaceLandmarkerConfig(), assets: AssetStore | None = None, device: str = "cpu"
    ):
        self.config = config
        self.device = torch.device(device)
        name = "face_mesh_attention" if config.network == "attention" else "face_mesh"
        self._network = TfliteNetwork(*(assets or AssetStore()).network(name)).to(self.device).eval()

    def __call__(self, batch: Batch) -> Batch:
        live = batch.live_faces()
        if not len(live):
            return batch
        boxes, keypoints = batch.faces["box_xyxy_px"][live], batch.faces["detection_keypoints_px"][live]
        mesh, score = self._look(
            batch,
            live,
            boxes,
            keypoints,
            squares_from_detections(boxes, keypoints, self.config.roi_scale),
            self.config.max_offset,
        )
        for scale, right, down in self.config.retries:
            unsure = np.flatnonzero(score < self.config.score_threshold)
            if not len(unsure):
                break
            squares = squares_from_detections(boxes[unsure], keypoints[unsure], scale).shifted(right / scale, down / scale)
            new = self._look(batch, live[unsure], boxes[unsure], keypoints[unsure], squares, self.config.retry_max_offset)
            self._improve(mesh, score, unsure, *new)
        for _ in range(self.config.refine_passes):
            sure = np.flatnonzero(score >= self.config.score_threshold)
            if len(sure):
                squares = squares_from_mesh(whole_face_from_upper(mesh[sure]), self.config.roi_scale)
                again, again_score = self._look(batch, live[sure], boxes[sure], keypoints[sure], squares, self.config.max_offset)
                good = again_score >= self.config.score_threshold
                mesh[sure[good]], score[sure[good]] = again[good], again_score[good]
        batch.put("landmarks468_px", mesh, live)
        batch.put("landmarks68_px", ibug68_from_mesh(mesh), live)
        batch.put("mesh_score", score, live)
        self._mark(batch, live, score)
        return batch

    @staticmethod
    def _improve(mesh: np.ndarray, score: np.ndarray, where: np.ndarray, new: np.ndarray, new_score: np.ndarray) -> None:
        better = new_score > score[where]
        mesh[where[better]], score[where[better]] = new[better], new_score[better]

    def _mark(self, batch: Batch, live: np.ndarray, score: np.ndarray) -> None:
        for k in np.flatnonzero(score < self.config.score_threshold):
            message = f"the face mesh is {score[k]:.2f} sure, below {self.config.score_threshold}; 0 contradicts the detection"
            batch.mark_face(live[k], LOW_CONFIDENCE, message)
        for i in np.unique(batch.face_row[live]):
            mine = batch.face_row == i
            if not (batch.faces["face_status"][mine] == "ok").any():
                message = f"none of {int(mine.sum())} detected faces has landmarks that can be trusted"
                batch.mark_row(int(i), LOW_CONFIDENCE, self.info.name, "LowConfidence", message)

    def _look(
        self, batch: Batch, faces: np.ndarray, boxes: np.ndarray, keypoints: np.ndarray, squares: Squares, max_offset: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Like `_run`; the probability of a mesh that contradicts its detection is 0."""
        mesh, score = self._run(batch, faces, squares)
        low, high = self.config.size_range
        offset, size = mesh_against_detection(mesh, boxes, keypoints)
        return mesh, np.where((offset <= max_offset) & (size >= low) & (size <= high), score, np.float32(0))

    def _run(self, batch: Batch, faces: np.ndarray, squares: Squares) -> tuple[np.ndarray, np.ndarray]:
        """Mesh in full-image pixels and presence probability of these faces."""
        matrices = square_to_crop(squares.centre_px, np.maximum(squares.side_px, 1.0), squares.angle_rad, INPUT_PX)
        meshes, scores = [], []
        for start in range(0, len(faces), self.config.batch_size):
            part = slice(start, start + self.config.batch_size)
            rows = batch.face_row[faces[part]]
            crops = np.stack([warp(batch.frame(int(i)), m, INPUT_PX) for i, m in zip(rows, matrices[part], strict=True)])
            images = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255
            mesh, score = mesh_from_outputs(self._network(images))
            meshes.append(transform_points(invert_similarity(matrices[part]), mesh))
            scores.append(score)
        return np.concatenate(meshes).astype(np.float32), np.concatenate(scores)


def mesh_from_outputs(out: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Mesh (faces 468 3) in network input pixels and presence probability; attention heads replace x and y of their points."""
    values = {name: value.cpu().numpy().astype(np.float64) for name, value in out.items()}
    if "output_mesh_identity" in values:
        mesh = values["output_mesh_identity"].reshape(-1, 468, 3)
        for name, points in (("output_lips", _LIPS), ("output_left_eye", _EYE_A), ("output_right_eye", _EYE_B)):
            mesh[:, list(points), :2] = values[name].reshape(len(mesh), -1, 2)
        logit = values["conv_faceflag"]
    else:
        mesh, logit = values["conv2d_21"].reshape(-1, 468, 3), values["conv2d_31"]
    return mesh, (1 / (1 + np.exp(-logit.reshape(-1)))).astype(np.float32)
