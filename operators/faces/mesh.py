"""The face mesh: 468 landmarks and a presence score from a square crop.

Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019; with attention to lips
and eyes: Grishchenko et al., "Attention Mesh", 2020.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from operators.assets import AssetStore
from operators.faces.graph import GraphNetwork

INPUT_PX = 192
N_LANDMARKS = 468
LEFT_EYE_OUTER, RIGHT_EYE_OUTER = 33, 263  # the viewer's left and right

MeshKind = Literal["attention", "plain"]
ASSETS: dict[MeshKind, str] = {"attention": "face_mesh_attention", "plain": "face_mesh"}
_MESH = {"attention": "output_mesh_identity", "plain": "conv2d_21"}
_PRESENCE = {"attention": "conv_faceflag", "plain": "conv2d_31"}
_REFINED = ("output_lips", "output_left_eye", "output_right_eye")


class FaceMesh:
    """Landmarks of a batch of crops; the refined lips and eyes replace the mesh's own x and y."""

    def __init__(self, kind: MeshKind, assets: AssetStore, device: str, batch_size: int):
        self.kind: MeshKind = kind
        self.network = GraphNetwork.load(assets, ASSETS[kind], device)
        self.batch_size = batch_size
        windows = [node for node in self.network.nodes if node["op"] == "landmark_window"]
        self.refined = list(zip(_REFINED, (node["subset"] for node in windows), strict=False))

    def __call__(self, crops: Float[Tensor, "crops 3 192 192"]) -> tuple[Float[Tensor, "crops 468 3"], Float[Tensor, " crops"]]:
        """Landmarks in crop pixels (z in the same scale), and the probability that the crop shows a face.

        `crops` are in [0, 1].
        """
        out = self.network.in_chunks(crops, self.batch_size)
        mesh = out[_MESH[self.kind]].reshape(-1, N_LANDMARKS, 3).clone()
        for name, subset in self.refined:
            mesh[:, subset, :2] = out[name].reshape(len(mesh), -1, 2)
        return mesh, torch.sigmoid(out[_PRESENCE[self.kind]].reshape(-1))
