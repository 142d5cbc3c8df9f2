"""Where a fit begins: the pose of the mean face from its landmarks, in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from operators.morphable import camera
from operators.morphable.model import LinearPoints


def initial_pose(
    points: LinearPoints, target: Float[Tensor, "faces points 2"], weights: Float[Tensor, "faces points"],
    focal_px: Float[Tensor, " faces"], size: int | float,
) -> tuple[Float[Tensor, "faces 3 3"], Float[Tensor, "faces 3"]]:  # fmt: skip
    """Scaled-orthographic pose of the mean face (POS; DeMenthon and Davis 1995), orthonormalised.

    The 2 x 3 affine map from weighted least squares is replaced by its polar factor.
    """
    w = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    centre_3d = (w[..., None] * points.mean).sum(1)
    centre_2d = (w[..., None] * target).sum(1)
    x = points.mean - centre_3d[:, None]
    y = (target - centre_2d[:, None]) * target.new_tensor([1.0, -1.0])
    wx = w[..., None] * x
    spread = wx.mT @ x
    extent = spread.diagonal(dim1=1, dim2=2).sum(1)[:, None, None].clamp_min(1e-6)  # one landmark alone has none
    ridge = 1e-3 * extent * torch.eye(3, dtype=x.dtype, device=x.device)
    affine = torch.linalg.solve(spread + ridge, wx.mT @ y).mT
    p = affine @ affine.mT
    root_det = (p[:, 0, 0] * p[:, 1, 1] - p[:, 0, 1] ** 2).clamp_min(1e-12).sqrt()[:, None, None]
    trace = (p[:, 0, 0] + p[:, 1, 1])[:, None, None]
    root = (p + root_det * torch.eye(2, dtype=p.dtype, device=p.device)) / (trace + 2 * root_det).sqrt()
    rows = torch.linalg.solve(root, affine)
    scale = 0.5 * (root[:, 0, 0] + root[:, 1, 1])
    rotation = torch.cat((rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]), 1)
    depth = focal_px / scale
    offset = torch.cat(((centre_2d - size / 2) / scale[:, None], depth[:, None]), 1)
    translation = offset - (camera.camera_axes(rotation) * centre_3d[:, None]).sum(-1)
    return rotation, translation


def spread_px(target: Float[Tensor, "faces points 2"], weights: Float[Tensor, "faces points"]) -> Float[Tensor, " faces"]:
    """Weighted standard deviation of the landmarks' places."""
    w = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    centre = (w[..., None] * target).sum(1, keepdim=True)
    return (w * (target - centre).square().sum(-1)).sum(1).sqrt()


def orthonormal(rotation: Float[Tensor, "faces 3 3"]) -> Float[Tensor, "faces 3 3"]:
    """Gram-Schmidt on rows: removes the rounding that repeated updates gather."""
    x = torch.nn.functional.normalize(rotation[:, 0], dim=-1)
    y = rotation[:, 1] - (rotation[:, 1] * x).sum(-1, keepdim=True) * x
    y = torch.nn.functional.normalize(y, dim=-1)
    return torch.stack((x, y, torch.linalg.cross(x, y)), 1)
