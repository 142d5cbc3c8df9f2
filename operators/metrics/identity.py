"""Who a picture shows, as a vector: for the similarity of a reconstruction to the truth.

It says how like the person a guess looks to a network. It is no evidence of who anyone is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from operators.assets import AssetStore
from operators.batch import Batch
from operators.faces.geometry import warp
from operators.images import ImageError
from operators.metrics.geometry import similarity_onto
from operators.metrics.weights import ready, steps, unavailable
from operators.networks import dlib_resnet, iresnet
from operators.types import OperatorConfig, OperatorInfo, option

Kind = Literal["dlib_resnet", "arcface_r50"]


@dataclass(frozen=True)
class _Recognizer:
    """A network, its input's side, and where five points of a face lie in it (pixels, centres at +0.5)."""

    network: type[nn.Module]
    side: int
    embedding: int
    points: tuple[tuple[float, float], ...]


# dlib, get_face_chip_details with 5 points and a padding of 0.25: outer and inner eye corners of the viewer's right, then of
# the left, and the base of the nose, as shares of the chip without its padding. Ours are iBUG 45, 42, 36, 39, 33.
_DLIB = (
    (0.8595674595992, 0.2134981538014), (0.6460604764104, 0.2289674387677), (0.1205750620789, 0.2137274526848),
    (0.3340850613712, 0.2290642403242), (0.4901123135679, 0.6277975316475),
)  # fmt: skip
_DLIB_LANDMARKS, _DLIB_PADDING = (45, 42, 36, 39, 33), 0.25
# insightface: eyes, nose tip and mouth corners at 112 pixels, integer pixel centres.
_ARCFACE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))

RECOGNIZERS: dict[str, _Recognizer] = {
    "dlib_resnet": _Recognizer(
        dlib_resnet.DlibResNet,
        dlib_resnet.SIDE,
        dlib_resnet.EMBEDDING,
        tuple(
            ((x + _DLIB_PADDING) / (1 + 2 * _DLIB_PADDING) * dlib_resnet.SIDE,
             (y + _DLIB_PADDING) / (1 + 2 * _DLIB_PADDING) * dlib_resnet.SIDE)
            for x, y in _DLIB
        ),
    ),
    "arcface_r50": _Recognizer(
        iresnet.IResNet, iresnet.SIDE, iresnet.EMBEDDING, tuple((x + 0.5, y + 0.5) for x, y in _ARCFACE)
    ),
}  # fmt: skip


@dataclass(frozen=True)
class IdentityEmbedderConfig(OperatorConfig):
    """Which network of face recognition."""

    kind: Kind = option(
        "dlib_resnet", "dlib_resnet (`jobs.assets fetch dlib_resnet`) or arcface_r50 (weights that you obtain yourself)"
    )

    @property
    def weights(self) -> tuple[str, ...]:
        """Assets that the operator needs."""
        return (self.kind,)


class IdentityEmbedder:
    """Embedding of one face of every picture, unit length; NaN without a face or without the weights.

    The face is that of `result_landmarks68_px` where the batch has it, else the first (most confident) one, by its
    `landmarks68_px`.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="IdentityEmbedder",
        version="1",
        reads=("image_bytes", "result_landmarks68_px", "landmarks68_px"),
        writes=("identity_embedding",),
        wants_gpu=True,
    )

    def __init__(
        self, config: IdentityEmbedderConfig = IdentityEmbedderConfig(), assets: AssetStore | None = None, device: str = "cpu"
    ):
        self.config, self.device = config, device
        self.network: nn.Module | None = None
        if not self.unavailable(config, assets):
            network = RECOGNIZERS[config.kind].network()
            network.load_state_dict((assets or AssetStore()).weights(config.kind))
            self.network = ready(network, device)

    @classmethod
    def unavailable(cls, config: IdentityEmbedderConfig, assets: AssetStore | None = None) -> tuple[str, ...]:
        """What this node lacks, as `weights not available: …`; then the column is NaN. Empty = all is here."""
        return unavailable(config.weights, assets)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Batch:
        found = np.full((len(batch), RECOGNIZERS[self.config.kind].embedding), np.nan, np.float32)
        if self.network is not None:
            points = _landmarks(batch)
            rows = [i for i in batch.live_rows().tolist() if usable(points[i])]
            for some in steps(rows, self.device):
                there, chips = [], []
                for i in some:
                    try:
                        chips.append(face_chip(batch.frame(i), points[i], self.config.kind))
                        there.append(i)
                    except ImageError as error:
                        batch.mark_row(i, error.status, self.info.name, type(error).__name__, str(error))
                if there:
                    found[there] = self._embed(np.stack(chips))
        batch.put_row("identity_embedding", found)
        return batch

    def _embed(self, chips: UInt8[np.ndarray, "faces side side 3"]) -> Float[np.ndarray, "faces embedding"]:
        x = torch.from_numpy(np.ascontiguousarray(chips.transpose(0, 3, 1, 2), dtype=np.float32)).to(self.device)
        if self.config.kind == "arcface_r50":
            x = x / 127.5 - 1
        assert self.network is not None
        return nn.functional.normalize(self.network(x)).cpu().numpy()


def face_chip(
    image: UInt8[np.ndarray, "h w 3"], landmarks: Float[np.ndarray, "68 2"], kind: Kind
) -> UInt8[np.ndarray, "side side 3"]:
    """The face as the network was trained to see it: five points by a similarity (least squares) onto its template."""
    return warp(image, similarity_onto(five_points(landmarks, kind), np.array(RECOGNIZERS[kind].points)), RECOGNIZERS[kind].side)


def five_points(landmarks: Float[np.ndarray, "68 2"], kind: Kind) -> Float[np.ndarray, "5 2"]:
    """Those of iBUG-68 that the network's template has."""
    marks = landmarks.astype(np.float64)
    if kind == "dlib_resnet":
        return marks[list(_DLIB_LANDMARKS)]
    return np.stack([marks[36:42].mean(0), marks[42:48].mean(0), marks[30], marks[48], marks[54]])


def usable(landmarks: Float[np.ndarray, "68 2"]) -> bool:
    """Whether a face can be aligned by them: finite, and not all in one place."""
    return bool(np.isfinite(landmarks).all() and np.ptp(landmarks, axis=0).max() > 1)


def identity_similarity(
    a: Float[np.ndarray, "faces embedding"], b: Float[np.ndarray, "faces embedding"]
) -> Float[np.ndarray, " faces"]:
    """Cosine of the angle between embeddings, face by face; NaN where either is missing."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.where(norms > 0, (x * y).sum(1) / np.where(norms > 0, norms, 1), np.nan)


def _landmarks(batch: Batch) -> Float[np.ndarray, "rows 68 2"]:
    if "result_landmarks68_px" in batch.rows:
        return np.asarray(batch.rows["result_landmarks68_px"], np.float64)
    points = np.full((len(batch), 68, 2), np.nan)
    if "landmarks68_px" in batch.faces:
        first = batch.face_offsets
        for i in range(len(batch)):
            if first[i] < first[i + 1]:
                points[i] = batch.faces["landmarks68_px"][first[i]]
    return points
