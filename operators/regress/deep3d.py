"""What Deep3D's 257 numbers mean: shape, texture, light, pose and camera (Deng et al. 2019), as its PyTorch code computes them.

Angles are pitch, yaw and roll in radians, R = Rz Ry Rx, in the axes of our face frame. The camera looks at the face from 10 dm:
depth = 10 - z, focal length 1015 px, centre of the 224 px picture. Landmarks of this module are y up with pixel centres
whole, as there; the picture that is drawn has its centre at (112, 112) from its upper left edge, and that is what is used here.

The TensorFlow original (microsoft/Deep3DFaceReconstruction) has the same 257 numbers in the same order; it takes BGR from 0 to
255 and stores its network as a frozen graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as nnf

from operators.morphable import camera
from operators.morphable.basis import BasisError
from operators.morphable.light import sh_basis
from operators.morphable.model import LinearPoints, MorphableModel
from operators.networks.deep3d import PARTS, SIDE, fold_norms
from operators.regress.alignment import deep3d_alignment
from operators.regress.base import Regressed, need_basis, own_coefficients

FOCAL_PX, CAMERA_DM = 1015.0, 10.0
AMBIENT = 0.8
"""Added to the first light coefficient of each channel: the network says how far the light is from plain white."""
_A = (np.pi, 2 * np.pi / np.sqrt(3), 2 * np.pi / np.sqrt(8))
_C = (1 / np.sqrt(4 * np.pi), np.sqrt(3) / np.sqrt(4 * np.pi), 3 * np.sqrt(5) / np.sqrt(12 * np.pi))
_BAND = tuple(a * c for a, c in zip(_A, _C, strict=True))
LIGHT_SCALE = (
    _BAND[0], -_BAND[1], _BAND[1], -_BAND[1], _BAND[2], -_BAND[2], _BAND[2] / np.sqrt(12), -_BAND[2], _BAND[2] / 2,
)  # fmt: skip
"""Of each of the nine harmonics, in the order of `operators.morphable.light.sh_basis`: irradiance (Ramamoorthi and Hanrahan 2001)
times normalisation and sign."""


@dataclass(frozen=True)
class Deep3dVector:
    """The parts of the network's output."""

    identity: Float[Tensor, "faces 80"]
    expression: Float[Tensor, "faces 64"]
    texture: Float[Tensor, "faces 80"]
    angles: Float[Tensor, "faces 3"]
    light: Float[Tensor, "faces 3 9"]
    shift: Float[Tensor, "faces 3"]

    @property
    def rotation(self) -> Float[Tensor, "faces 3 3"]:
        """R; a vertex turns as R v (the official code stores its transpose)."""
        return camera.rotation_from_deg(torch.rad2deg(self.angles))

    @property
    def translation(self) -> Float[Tensor, "faces 3"]:
        """t of our camera (y down, z away): v_camera = F (R v) + t."""
        x, y, z = self.shift.unbind(-1)
        return torch.stack((x, -y, CAMERA_DM - z), -1)

    @property
    def irradiance(self) -> Float[Tensor, "faces 9 3"]:
        """The light in our terms: shading = `sh_basis` of the turned normal times this."""
        light = self.light.mT.clone()
        light[:, 0] += AMBIENT
        return light * light.new_tensor(LIGHT_SCALE)[:, None]


def split(vector: Float[Tensor, "faces 257"]) -> Deep3dVector:
    """The parts by their places. Errors: ValueError for another length."""
    if vector.ndim != 2 or vector.shape[1] != 257:
        raise ValueError(f"expected faces 257, got {tuple(vector.shape)}")
    identity, expression, texture, angles, light, shift = vector.split((80, 64, 80, 3, 27, 3), 1)
    return Deep3dVector(identity, expression, texture, angles, light.unflatten(1, (3, 9)), shift)


@dataclass(frozen=True)
class Deep3dFace:
    """The face of a vector: vertices in the official camera frame (x right, y up, z = distance from the camera), dm."""

    vertices: Float[Tensor, "faces vertices 3"]
    texture: Float[Tensor, "faces vertices 3"]
    colour: Float[Tensor, "faces vertices 3"]
    landmarks: Float[Tensor, "faces 68 2"]
    rotation: Float[Tensor, "faces 3 3"]


@dataclass(frozen=True)
class Deep3dModel:
    """The arrays of `BFM_model_front.mat`, counted from 0: the face model as Deep3D trains with it. Texture 0..255."""

    mean: Float[Tensor, "vertices 3"]
    identity: Float[Tensor, "coordinates 80"]
    expression: Float[Tensor, "coordinates 64"]
    texture_mean: Float[Tensor, "vertices 3"]
    texture: Float[Tensor, "coordinates 80"]
    triangles: Int[Tensor, "triangles 3"]
    corners: Int[Tensor, "vertices 8"]
    """Triangles around each vertex, filled up with the number of triangles: the one that has no normal."""
    landmarks: Int[Tensor, "68"]
    skin: Float[Tensor, " vertices"]

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], device: str = "cpu") -> Deep3dModel:
        """From the file's arrays (which count from 1); the mean is shifted so that its vertices' mean is the origin."""

        def modes(name: str) -> Tensor:
            return torch.as_tensor(np.asarray(arrays[name], np.float32), device=device)

        def plain(name: str) -> Tensor:
            return torch.as_tensor(np.asarray(arrays[name], np.float32).reshape(-1, 3), device=device)

        def places(name: str) -> Tensor:
            return torch.as_tensor(np.asarray(arrays[name]).astype(np.int64) - 1, device=device)

        mean = np.asarray(arrays["meanshape"], np.float32).reshape(-1, 3)
        mean = torch.as_tensor(mean - mean.mean(0, keepdims=True), device=device)
        skin = torch.as_tensor(np.asarray(arrays["skinmask"], np.float32).ravel(), device=device)
        return cls(
            mean, modes("idBase"), modes("exBase"), plain("meantex"), modes("texBase"), places("tri"),
            places("point_buf"), places("keypoints").flatten(), skin,
        )  # fmt: skip

    def shape(self, identity: Float[Tensor, "faces 80"], expression: Float[Tensor, "faces 64"]) -> Tensor:
        """Vertices in the face frame, dm."""
        # Summed in the official order: where a triangle is collapsed, its normal is made of rounding.
        moved = identity @ self.identity.T + expression @ self.expression.T
        return (moved + self.mean.flatten()).unflatten(1, (-1, 3))

    def albedo(self, texture: Float[Tensor, "faces 80"]) -> Tensor:
        """RGB in [0, 1], not clamped."""
        return ((texture @ self.texture.T + self.texture_mean.flatten()) / 255).unflatten(1, (-1, 3))

    def normals(self, vertices: Float[Tensor, "faces vertices 3"]) -> Tensor:
        """Unit normals of the vertices: the mean of the unit normals of their triangles."""
        a, b, c = (vertices[:, self.triangles[:, k]] for k in range(3))
        flat = nnf.normalize(torch.linalg.cross(a - b, b - c), dim=-1)
        return nnf.normalize(nnf.pad(flat, (0, 0, 0, 1))[:, self.corners].sum(2), dim=-1)

    def __call__(self, vector: Float[Tensor, "faces 257"]) -> Deep3dFace:
        """Everything that the losses and the renderer want."""
        parts = split(vector)
        shape, albedo, rotation = self.shape(parts.identity, parts.expression), self.albedo(parts.texture), parts.rotation
        turned = shape @ rotation.mT + parts.shift[:, None]
        vertices = torch.cat((turned[..., :2], CAMERA_DM - turned[..., 2:]), -1)
        shading = sh_basis(self.normals(shape) @ rotation.mT) @ parts.irradiance
        marks = vertices[:, self.landmarks]
        landmarks = marks[..., :2] / marks[..., 2:] * FOCAL_PX + SIDE / 2
        return Deep3dFace(vertices, albedo, shading * albedo, landmarks, rotation)


class Deep3dRegressor:
    """Deep3D as a `Regressor`: its network, and its coefficients as those of `bfm2009_front`.

    Errors: CheckpointError; BasisError when the basis is another one.
    """

    def __init__(self, network: nn.Module, model: MorphableModel, samples: LinearPoints):
        counts = {"identity": PARTS["identity"], "expression": PARTS["expression"], "albedo": PARTS["texture"]}
        use = "bfm2009_front_face, or bfm2009_front"
        basis = need_basis(model.basis, "Deep3D", "Deep3DFaceRecon", counts, use)
        if basis.native is None or np.abs(basis.native.origin).max() > 0:
            raise BasisError(f"basis {basis.name}: Deep3D's pose is about the middle of another cut of the face: use {use}")
        self.network, self.basis, self.samples = fold_norms(network).to(model.device), basis, samples

    align = staticmethod(deep3d_alignment)

    def __call__(self, pictures: Float[Tensor, "faces 3 224 224"]) -> Regressed:
        parts = split(self.network(pictures))
        own = own_coefficients(self.basis, {"identity": parts.identity, "expression": parts.expression, "albedo": parts.texture})
        coefficients = torch.cat((own["identity"], own["expression"]), 1)
        focal = torch.full_like(parts.angles[:, 0], FOCAL_PX)
        inside = camera.to_camera(self.samples.at(coefficients), parts.rotation, parts.translation)
        projected = camera.project(inside, focal, SIDE)
        return Regressed(coefficients, own["albedo"], parts.irradiance, parts.rotation, parts.rotation, projected, focal)
